# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What the tools need before they can start: Debian packages and the environment .venv.
# To be sourced after `set -euo pipefail`; everything it does is idempotent, quick when there is
# nothing to do, and needs no network then.

ROOT=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
VENV=$ROOT/.venv

say() {
    printf '%s\n' "$*" >&2
}

die() {
    say "${0##*/}: $*"
    exit 1
}

# enter_setup: only one tool at a time changes this checkout's environment.
enter_setup() {
    exec {setup_lock}<"$ROOT/tools"
    flock "$setup_lock"
}

# leave_setup: lets the next one in; the descriptor is not handed on to what is started later.
leave_setup() {
    exec {setup_lock}<&-
}

# need_packages NAME...: installs the Debian packages that are missing, and says which.
need_packages() {
    local missing=()
    if ! command -v dpkg-query >/dev/null; then
        say "Not a Debian system: taking it that the likes of these are installed: $*"
        return
    fi
    mapfile -t missing < <(missing_packages "$@")
    if ((${#missing[@]})); then
        install_packages "${missing[@]}"
    fi
}

missing_packages() {
    local package
    for package; do
        # A name like meson:any or a virtual package never gets here: plain names only.
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$package" 2>/dev/null)" = installed ] \
            || printf '%s\n' "$package"
    done
}

install_packages() {
    local by_hand="apt-get install --no-install-recommends $*" log
    as_root true 2>/dev/null || die "these Debian packages are missing: as root, run: $by_hand"
    say "Installing Debian packages: $*"
    log=$(mktemp)
    # A failing update is not the end: what apt already knows may do.
    as_root apt-get -q -o DPkg::Lock::Timeout=300 update </dev/null >"$log" 2>&1 || :
    if ! as_root env DEBIAN_FRONTEND=noninteractive apt-get -q -y -o DPkg::Lock::Timeout=300 \
        install --no-install-recommends "$@" </dev/null >>"$log" 2>&1; then
        tail -n 15 "$log" >&2
        rm -f "$log"
        die "apt could not install what is missing. Its last words are above; to try by hand: $by_hand"
    fi
    rm -f "$log"
}

# as_root COMMAND...: runs it as root; asks for a password only where somebody can answer.
as_root() {
    if [ "$(id -u)" -eq 0 ]; then
        "$@"
    elif ! command -v sudo >/dev/null; then
        return 1
    elif [ -t 0 ] && [ -t 2 ]; then
        sudo "$@"
    else
        sudo -n "$@"
    fi
}

# need_environment run|dev: makes .venv with the project in it, editable; dev: for its tests too.
need_environment() {
    local for=$1 wanted log target=$ROOT
    [ -n "$(usable_python "$VENV/bin/python")" ] || make_environment
    wanted=$(stamp)
    if is_set_up dev || is_set_up "$for"; then return; fi
    if [ "$for" = dev ]; then target+='[dev]'; fi
    say "Installing the project and its Python packages in .venv"
    log=$VENV/set-up.log
    if ! "$VENV/bin/python" -m pip install --disable-pip-version-check --editable "$target" \
        </dev/null >"$log" 2>&1; then
        tail -n 15 "$log" >&2
        die "pip could not set up .venv (does it reach a package index?); the whole output is in $log"
    fi
    printf '%s\n' "$wanted" >"$VENV/.set-up-$for"
}

# is_set_up NAME: with what is $wanted now (of need_environment).
is_set_up() {
    [ "$(cat "$VENV/.set-up-$1" 2>/dev/null)" = "$wanted" ]
}

# need_unpacked NAME...: what is in these Debian packages, under .venv/debian/NAME; nothing is installed,
# and so no service of theirs is started.
need_unpacked() {
    local package
    command -v dpkg-deb apt-get >/dev/null || return 0
    for package; do
        [ -d "$VENV/debian/$package" ] || unpack "$package"
    done
}

unpack() {
    local scratch
    scratch=$(mktemp -d "$VENV/unpack.XXXXXX")
    say "Unpacking the Debian package $1 in .venv"
    if ! (cd "$scratch" && apt-get -q download "$1") >"$scratch/log" 2>&1; then
        as_root apt-get -q update </dev/null >>"$scratch/log" 2>&1 || :
        if ! (cd "$scratch" && apt-get -q download "$1") >>"$scratch/log" 2>&1; then
            tail -n 5 "$scratch/log" >&2
            rm -rf "$scratch"
            die "apt could not fetch $1: its last words are above"
        fi
    fi
    dpkg-deb --extract "$scratch"/*.deb "$scratch/content"
    mkdir -p "$VENV/debian"
    mv "$scratch/content" "$VENV/debian/$1"
    rm -rf "$scratch"
}

# stamp: changes when .venv has to be set up again - other requirements, Python or place.
stamp() {
    {
        "$VENV/bin/python" -VV
        printf '%s\n' "$ROOT"
        cat "$ROOT/pyproject.toml"
    } | sha256sum
}

make_environment() {
    local python
    python=$(find_python)
    say "Making .venv with $python ($("$python" -V 2>&1))"
    "$python" -m venv --clear "$VENV" >/dev/null || die "$python -m venv $VENV failed: see above"
}

# find_python: the system's own where it is new enough, for its headers are a package away.
find_python() {
    local python
    for python in /usr/bin/python3 python3 python3.13 python3.12 python3.11; do
        python=$(usable_python "$python")
        if [ -n "$python" ]; then
            printf '%s\n' "$python"
            return
        fi
    done
    die "no Python >= 3.11 found: Debian 12 and 13 have it as python3"
}

# usable_python NAME: its path, if it runs and is new enough.
usable_python() {
    "$1" -c 'import sys; sys.version_info >= (3, 11) and print(sys.executable)' 2>/dev/null || :
}

# What the Python packages are built with: systemd-python comes as source only.
# shellcheck disable=SC2034  # for the tools that source this
BUILD_PACKAGES=(python3 python3-venv python3-dev gcc libc6-dev pkg-config libsystemd-dev)
