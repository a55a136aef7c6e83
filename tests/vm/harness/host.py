# SPDX-License-Identifier: GPL-2.0-only
"""What this machine needs for building and booting guests; installed when it is missing."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from harness.common import VmError, say


class Need(NamedTuple):
    """A Debian package, and how to see that it (or something as good) is there."""

    package: str
    program: str = ""
    file: str = ""

    def missing(self) -> bool:
        path = os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin"
        if self.program and shutil.which(self.program, path=path):
            return False
        return not (self.file and any(Path("/usr/include").glob(self.file)))


BUILD = (
    Need("mmdebstrap", "mmdebstrap"),
    Need("e2fsprogs", "mke2fs"),
    Need("gcc", "gcc"),
    Need("libc6-dev", file="stdio.h"),
    Need("make", "make"),
    Need("flex", "flex"),
    Need("bison", "bison"),
    Need("bc", "bc"),
    Need("rsync", "rsync"),
    Need("cpio", "cpio"),
    Need("kmod", "depmod"),
    Need("perl", "perl"),
    Need("xz-utils", "xz"),
    Need("libelf-dev", file="libelf.h"),
    Need("libssl-dev", file="openssl/ssl.h"),
)
RUN = (
    Need("qemu-system-x86", "qemu-system-x86_64"),
    Need("meson", "meson"),
    Need("ninja-build", "ninja"),
)


def ensure() -> None:
    """Install by apt what is missing; says nothing if there is nothing to do."""
    missing = [need.package for need in (*RUN, *BUILD) if need.missing()]
    if not missing:
        return
    wanted = " ".join(missing)
    if not shutil.which("apt-get"):
        raise VmError(f"missing here, and there is no apt to install it: {wanted}")
    if os.geteuid() != 0:
        raise VmError(f"missing here: {wanted}; install it with: sudo apt-get install {wanted}")
    say(f"installing {wanted}")
    _apt(["update"])
    _apt(["install", "-y", "--no-install-recommends", *missing])


def _apt(words: list[str]) -> None:
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive"}
    done = subprocess.run(
        ["apt-get", "-q", "-o", "DPkg::Lock::Timeout=300", *words],
        capture_output=True,
        text=True,
        env=environment,
        check=False,
    )
    if done.returncode:
        last = (done.stderr.strip().splitlines() or ["?"])[-1]
        raise VmError(f"apt-get {words[0]} failed: {last}")
