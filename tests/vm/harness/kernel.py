# SPDX-License-Identifier: GPL-2.0-only
"""A small kernel with /dev/mcelog, and the rawmce module for it, from Debian's own source package."""

from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING, NamedTuple

from harness import apt
from harness.cache import cached
from harness.common import VM, VmError, call, digest

if TYPE_CHECKING:
    from pathlib import Path

    from harness.systems import System

FRAGMENT = VM / "kernel.config"
MODULE = VM / "rawmce"
RECIPE = "1"
"""Counted up when the way of building changes, so that cached kernels are built anew."""


class Kernel(NamedTuple):
    """What QEMU boots and the guest loads."""

    image: Path
    module: Path
    initrd: Path | None = None


def own_kernel(system: System, source: str, *, fresh: bool = False) -> Kernel:
    """The system's kernel, built if it is not in the cache.

    The cache is keyed by package name, not by its version: a new point release of Debian's kernel must not
    cost every test run a build. `fresh` takes the newest one.
    """
    key = digest(RECIPE, source, system.suite, FRAGMENT, MODULE / "rawmce.c", MODULE / "Kbuild")

    def build(result: Path, scratch: Path) -> None:
        tree = _unpacked(source, system.suite, scratch)
        _configure(tree, scratch / "log")
        _compile(tree, result, scratch)

    made = cached("kernel", key, build, fresh=fresh)
    return Kernel(made / "bzImage", made / "rawmce.ko")


def _unpacked(source: str, suite: str, scratch: Path) -> Path:
    log = scratch / "log"
    deb = apt.download(source, suite, scratch, log)
    call(["dpkg-deb", "-x", deb, scratch / "deb"], log)
    call(["tar", "xf", next((scratch / "deb/usr/src").glob("*.tar.xz")), "-C", scratch], log)
    return scratch / source


def _configure(tree: Path, log: Path) -> None:
    call(["make", "-s", "tinyconfig"], log, cwd=tree)
    call(["scripts/kconfig/merge_config.sh", "-m", ".config", FRAGMENT], log, cwd=tree)
    call(["make", "-s", "olddefconfig"], log, cwd=tree)
    have = set((tree / ".config").read_text().splitlines())
    lost = [
        line for line in FRAGMENT.read_text().splitlines() if line.startswith("CONFIG_") and line not in have
    ]
    if lost:
        raise VmError(f"this kernel does not take {', '.join(lost)} of {FRAGMENT.name}")


def _compile(tree: Path, result: Path, scratch: Path) -> None:
    log = scratch / "log"
    call(["make", "-s", f"-j{os.cpu_count()}", "bzImage", "modules_prepare"], log, cwd=tree)
    module = scratch / "rawmce"
    shutil.copytree(MODULE, module)
    # without a full modules build there is no Module.symvers; the symbols are resolved when it is loaded
    call(["make", "-s", "-C", tree, f"M={module}", "KBUILD_MODPOST_WARN=1", "modules"], log)
    shutil.copy(tree / "arch/x86/boot/bzImage", result)
    shutil.copy(tree / ".config", result / "config")
    shutil.copy(module / "rawmce.ko", result)


def take_stock(root: Path, result: Path, log: Path) -> None:
    """Copy the kernel of a Debian tree that has one, and compile the module for it in there."""
    version = next((root / "lib/modules").iterdir()).name
    shutil.copy(root / f"boot/vmlinuz-{version}", result / "bzImage")
    shutil.copy(root / f"boot/initrd.img-{version}", result / "initrd")
    module = root / "usr/src/rawmce"
    shutil.copytree(MODULE, module)
    inside = ["make", "-s", "-C", f"/lib/modules/{version}/build", "M=/usr/src/rawmce", "modules"]
    # newer kernels' objtool asks /proc for its stack
    call(["unshare", f"--mount-proc={root}/proc", "chroot", root, *inside], log)
    shutil.copy(module / "rawmce.ko", result)


def stock_kernel(made: Path) -> Kernel:
    """What take_stock() left there."""
    return Kernel(made / "bzImage", made / "rawmce.ko", made / "initrd")
