# SPDX-License-Identifier: GPL-2.0-only
# shellcheck shell=bash
# What building a package has in common, whatever kind it is. To be sourced after setup.sh.

# copy_tree DIRECTORY: the working tree, as it is now, without what was built or fetched in it.
copy_tree() {
    mkdir -p "$1"
    tar -c -C "$ROOT" --exclude='./.*' --exclude=./build --exclude=./dist --exclude=__pycache__ \
        --exclude='*.egg-info' . | tar -x -C "$1"
}

# fetch_cysystemd DIRECTORY: the source of cysystemd that is wanted. Once fetched it is kept in the user's
# cache, so the next build needs no network.
fetch_cysystemd() {
    local wanted=$ROOT/packaging/cysystemd/requirements.txt kept part
    kept=${XDG_CACHE_HOME:-$HOME/.cache}/mcelog-build/$(sha256sum <"$wanted" | cut -c 1-16)
    if ! [ -d "$kept" ]; then
        say "Fetching the source of cysystemd"
        mkdir -p "${kept%/*}"
        part=$(mktemp -d "$kept.XXXXXX")
        python3 -m pip download --quiet --disable-pip-version-check --no-deps --no-binary :all: \
            --require-hashes --dest "$part" --requirement "$wanted" >&2 || {
            rm -rf "$part"
            die "pip could not fetch cysystemd: does it reach a package index?"
        }
        mv -T "$part" "$kept" 2>/dev/null || rm -rf "$part" # somebody else was quicker
    fi
    mkdir -p "$1"
    cp "$kept"/*.tar.gz "$1"
}

# build_quietly LOG COMMAND...: shows its last words only if it fails.
build_quietly() {
    local log=$1
    shift
    if ! "$@" >"$log" 2>&1; then
        tail -n 30 "$log" >&2
        die "$1 failed; its last words are above"
    fi
}
