# SPDX-License-Identifier: GPL-2.0-only
"""Debian packages of any suite, from wherever this machine gets its own.

The machine's sources are taken over with the suite's name replaced, into an apt of our own (own lists, own
cache), so nothing is added to the machine and a Debian 13 host can build a Debian 12 guest.
"""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common import VmError, call

if TYPE_CHECKING:
    from collections.abc import Iterator

ETC_APT = Path("/etc/apt")
POCKETS = ("", "-updates", "-security")
BACKPORTS = "-backports"
"""Where a Debian that is out gets newer kernels."""
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")


def host_suite() -> str:
    """This machine's Debian code name."""
    facts = dict(
        line.split("=", 1) for line in Path("/etc/os-release").read_text().splitlines() if "=" in line
    )
    if facts.get("ID", "").strip('"') != "debian":
        raise VmError("the VM tests are built from Debian's packages and need a Debian machine")
    return facts["VERSION_CODENAME"].strip('"')


def sources_for(suite: str, *, backports: bool = False) -> str:
    """The machine's own Debian sources, as deb822 text, for another suite, with its backports if wanted."""
    own = host_suite()
    found = list(dict.fromkeys(_own_sources(own)))
    if backports:
        found += [(uri, BACKPORTS, signed) for uri, pocket, signed in found if not pocket]
    stanzas = [
        f"Types: deb\nURIs: {uri}\nSuites: {suite}{pocket}\nComponents: main\n{signed}"
        for uri, pocket, signed in found
    ]
    if not stanzas:
        raise VmError(f"no Debian source for {own} found under {ETC_APT}")
    return "\n".join(stanzas)


def _own_sources(own: str) -> Iterator[tuple[str, str, str]]:
    for path in sorted([*ETC_APT.glob("*.list"), *ETC_APT.glob("sources.list.d/*.list")]):
        yield from _one_line_sources(path.read_text(), own)
    for path in sorted(ETC_APT.glob("sources.list.d/*.sources")):
        yield from _deb822_sources(path.read_text(), own)


def _one_line_sources(text: str, own: str) -> Iterator[tuple[str, str, str]]:
    for line in text.splitlines():
        kind, _, rest = line.strip().partition(" ")
        words = rest.rpartition("]")[2].split()
        if kind == "deb" and len(words) >= 2 and words[1] in [own + pocket for pocket in POCKETS]:
            yield words[0], words[1].removeprefix(own), _signed_by("")


def _deb822_sources(text: str, own: str) -> Iterator[tuple[str, str, str]]:
    for stanza in text.split("\n\n"):
        lines = [line for line in stanza.splitlines() if ":" in line and not line.startswith(("#", " "))]
        field = {key.strip().lower(): value.strip() for key, value in (line.split(":", 1) for line in lines)}
        if "deb" not in field.get("types", "").split() or field.get("enabled", "yes").lower() == "no":
            continue
        for suite in field.get("suites", "").split():
            if suite in [own + pocket for pocket in POCKETS]:
                for uri in field.get("uris", "").split():
                    yield uri, suite.removeprefix(own), _signed_by(field.get("signed-by", ""))


def _signed_by(given: str) -> str:
    key = given or (str(KEYRING) if KEYRING.exists() else "")
    return f"Signed-By: {key}\n" if key else ""


def proxy_options() -> list[str]:
    """The machine's settings on how to reach its sources (proxy, certificates), as apt.conf lines."""
    dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=False).stdout
    return [line for line in dump.splitlines() if line.startswith(("Acquire::http", "Acquire::https"))]


def download(package: str, suite: str, scratch: Path, log: Path) -> Path:
    """Fetch one package of a suite; the .deb's path."""
    root = scratch / "apt"
    for part in ("lists/partial", "archives/partial", "etc"):
        (root / part).mkdir(parents=True, exist_ok=True)
    (root / "etc/debian.sources").write_text(sources_for(suite))
    (root / "status").touch()
    options = [
        f"Dir::Etc::SourceList={root}/etc/debian.sources", f"Dir::Etc::SourceParts={root}/none",
        f"Dir::State::Lists={root}/lists", f"Dir::Cache={root}", f"Dir::State::status={root}/status",
        "APT::Sandbox::User=root",
    ]  # fmt: skip
    apt = ["apt-get", "-q", *(word for option in options for word in ("-o", option))]
    call([*apt, "update"], log)
    call([*apt, "download", package], log, cwd=root)
    found = list(root.glob(f"{package}_*.deb"))
    if len(found) != 1:
        raise VmError(f"{suite} has no package {package}")
    return found[0]
