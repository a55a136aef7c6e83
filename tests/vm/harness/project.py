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


def install(stage: Path, scratch: Path) -> None:
    """meson install of the working tree, as it is now, into the directory."""
    if not (PROJECT / "meson.build").exists():
        raise VmError("the project cannot be installed: it has no meson.build")
    log = scratch / "meson.log"
    call(["meson", "setup", *OPTIONS, scratch / "build", PROJECT], log)
    call(["meson", "install", "-C", scratch / "build", "--destdir", stage], log)
