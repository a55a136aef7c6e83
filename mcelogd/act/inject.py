# SPDX-License-Identifier: GPL-2.0-only
"""Injects the record of a self test: through the kernel's mce-inject, or into the FIFO that is read.

Source: Linux arch/x86/kernel/cpu/mce/inject.c (debugfs, "flags" `sw`: the
record goes the way of a real one, no bank register is touched). A command of
its own, run outside the daemon's sandbox: that may neither write to debugfs nor load
modules. Light, for it is waited for.
"""

from __future__ import annotations

import contextlib
import errno
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd.act.topology import online_cpus
from mcelogd.decode import self_test
from mcelogd.record import MceRecord, pack

if TYPE_CHECKING:
    from collections.abc import Iterator

DEBUGFS = "/sys/kernel/debug"
MODULE = "mce-inject"
MODPROBE_SECONDS = 20

FAILED, NO_DEBUGFS, NO_INJECTOR, FORBIDDEN, A_FILE = 1, 10, 11, 12, 13
"""Exit statuses: all that comes back from a unit that systemd runs."""

STATUSES = {
    FAILED: "the record could not be injected; journalctl -t mcelog-trigger says why",
    NO_DEBUGFS: f"debugfs is not mounted: mount -t debugfs none {DEBUGFS}",
    NO_INJECTOR: f"this kernel has no {MODULE} module (CONFIG_X86_MCE_INJECT)",
    FORBIDDEN: "the kernel does not allow it: not root, or locked down",
    A_FILE: "a file of records is read, and not what the kernel reports",
}


class InjectError(Exception):
    """Nothing was injected; `status` is a key of STATUSES."""

    def __init__(self, status: int, text: str = "") -> None:
        super().__init__(text or STATUSES[status])
        self.status = status


def inject(number: int, source: str, record_length: int, *, sysfs_root: str = "/sys") -> None:
    """Have the record of self test `number` arrive at `source`, a FIFO or else the kernel's own way.

    Raises InjectError.
    """
    try:
        if Path(source).is_file():
            raise InjectError(A_FILE)
        if Path(source).is_fifo():
            _into_fifo(source, number, record_length)
        else:
            with _injector() as directory:
                _by_kernel(directory, number, (online_cpus(sysfs_root) or [0])[0])
    except PermissionError as error:
        raise InjectError(FORBIDDEN) from error
    except OSError as error:
        raise InjectError(FAILED, f"{error.filename or source}: {error.strerror}") from error


def _into_fifo(path: str, number: int, record_length: int) -> None:
    record = MceRecord(status=self_test.STATUS, misc=self_test.misc_of(number), bank=self_test.BANK)
    # Kernels' records differ in how far they go on after what matters here.
    data = pack(record)[:record_length].ljust(record_length, b"\0")
    descriptor = os.open(path, os.O_WRONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)


@contextlib.contextmanager
def _injector() -> Iterator[Path]:
    """The injector's directory; its module is there for as long as it is needed."""
    directory = Path(DEBUGFS, MODULE)
    loaded = False
    if not directory.is_dir():
        if not Path(DEBUGFS).is_mount():
            raise InjectError(NO_DEBUGFS)
        loaded = _modprobe(MODULE)
        if not directory.is_dir():
            raise InjectError(NO_INJECTOR)
    try:
        yield directory
    finally:
        if loaded:
            _modprobe("-r", MODULE)


def _by_kernel(directory: Path, number: int, cpu: int) -> None:
    for name, value in (
        ("flags", "sw\n"),
        ("cpu", f"{cpu}\n"),
        ("status", f"{self_test.STATUS:#x}\n"),
        ("misc", f"{self_test.misc_of(number):#x}\n"),
        # The write to this one injects.
        ("bank", f"{self_test.BANK}\n"),
    ):
        path = directory / name
        try:
            path.write_text(value)
        except OSError as error:
            raise OSError(error.errno or errno.EIO, error.strerror, str(path)) from error


def _modprobe(*arguments: str) -> bool:
    try:
        command = ["modprobe", "-q", *arguments]
        return subprocess.run(command, check=False, timeout=MODPROBE_SECONDS).returncode == 0
    except (OSError, subprocess.TimeoutExpired):
        return False
