# SPDX-License-Identifier: GPL-2.0-only
"""The guest's root file system: a minimal Debian in an ext4 image, made once and booted as a snapshot."""

from __future__ import annotations

import os
import shutil
import sys
from typing import TYPE_CHECKING, NamedTuple

from harness import apt
from harness.cache import cached
from harness.common import VM, VmError, call, digest
from harness.kernel import MODULE, own_kernel, stock_kernel, take_stock

if TYPE_CHECKING:
    from pathlib import Path

    from harness.kernel import Kernel
    from harness.systems import System

INIT = VM / "guest/init"
RECIPE = "3"
DIST_PACKAGES = "usr/lib/python3/dist-packages"
WHEEL_PLATFORMS = ("manylinux_2_34_x86_64", "manylinux_2_28_x86_64", "manylinux2014_x86_64")
"""What any guest's libc (2.36 in Debian 12) can load."""


class Base(NamedTuple):
    """What a system is booted from."""

    kernel: Kernel
    image: Path


def base(system: System, *, fresh: bool = False) -> Base:
    """The system's kernel and root file system, made if they are not in the cache."""
    inputs = [INIT, *([] if system.kernel_source else [MODULE / "rawmce.c", MODULE / "Kbuild"])]
    facts = (system.suite, system.python, system.packages, system.backports, system.wheels, system.disk_mib)
    own = own_kernel(system, system.kernel_source, fresh=fresh) if system.kernel_source else None

    def build(result: Path, scratch: Path) -> None:
        _make(system, result, scratch)

    made = cached(f"rootfs-{system.name}", digest(RECIPE, repr(facts), *inputs), build, fresh=fresh)
    return Base(own or stock_kernel(made), made / "rootfs.img")


def _make(system: System, result: Path, scratch: Path) -> None:
    if os.geteuid() != 0:
        raise VmError("making the root file system needs root; once it is made, running does not")
    root, log = scratch / "root", scratch / "log"
    _bootstrap(system, root, scratch)
    _add_wheels(system, root, log)
    if not system.kernel_source:
        take_stock(root, result, log)
    _prepare(root)
    mke2fs = ["mke2fs", "-q", "-t", "ext4", "-L", "root"]
    call([*mke2fs, "-d", root, result / "rootfs.img", f"{system.disk_mib}M"], log)


def _bootstrap(system: System, root: Path, scratch: Path) -> None:
    sources = scratch / "debian.sources"
    sources.write_text(apt.sources_for(system.suite, backports=bool(system.backports)))
    options = [f"--aptopt={line}" for line in apt.proxy_options()]
    newer = [f"{package}/{system.suite}{apt.BACKPORTS}" for package in system.backports]
    include = "--include=" + ",".join([*system.packages, *newer])
    command = ["mmdebstrap", "--mode=root", "--variant=minbase", include, *options, system.suite]
    call([*command, root, sources], scratch / "log")


def _add_wheels(system: System, root: Path, log: Path) -> None:
    if not system.wheels:
        return
    pip = [sys.executable, "-m", "pip", "install", "-q", "--root-user-action=ignore"]
    wanted = ["--only-binary=:all:", "--no-deps", f"--python-version={system.python}"]
    wanted += [f"--platform={platform}" for platform in WHEEL_PLATFORMS]
    call([*pip, *wanted, f"--target={root / DIST_PACKAGES}", *system.wheels], log)


def _prepare(root: Path) -> None:
    shutil.copy(INIT, root / "usr/lib/vm-init")
    (root / "usr/lib/vm-init").chmod(0o755)
    (root / "vm").mkdir()
    # started by the scenario that needs it
    (root / "etc/systemd/system/multi-user.target.wants/nginx.service").unlink(missing_ok=True)
    (root / "etc/fstab").write_text("")
    (root / "etc/hostname").write_text("vm\n")
    (root / "etc/machine-id").write_text("")
    # a journal under /var survives a reboot of the guest
    (root / "var/log/journal").mkdir(exist_ok=True)
    shutil.rmtree(root / "var/cache/apt", ignore_errors=True)
    shutil.rmtree(root / "var/lib/apt/lists", ignore_errors=True)
