# SPDX-License-Identifier: GPL-2.0-only
"""The project as a package would install it, into a directory that the guest lays over its root."""

from __future__ import annotations

from typing import TYPE_CHECKING

from harness.common import PROJECT, VmError, call

if TYPE_CHECKING:
    from pathlib import Path

OPTIONS = (
    "--prefix=/usr", "--sysconfdir=/etc", "--localstatedir=/var", "--buildtype=plain",
    "-Dpython.purelibdir=/usr/lib/python3/dist-packages",
)  # fmt: skip


def install(stage: Path, scratch: Path) -> Path:
    """meson install of the working tree, as it is now, into the directory, which is returned."""
    if not (PROJECT / "meson.build").exists():
        raise VmError("the project cannot be installed: it has no meson.build")
    log = scratch / "meson.log"
    call(["meson", "setup", *OPTIONS, scratch / "build", PROJECT], log)
    call(["meson", "install", "-C", scratch / "build", "--destdir", stage], log)
    return stage


def package(directory: Path, scratch: Path) -> Path:
    """The Debian package of the working tree, as it is now, made in the directory."""
    call([PROJECT / "tools/build-deb", "--output", directory], scratch / "build-deb.log")
    (made,) = directory.glob("*.deb")
    return made
