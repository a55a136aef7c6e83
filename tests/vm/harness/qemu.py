# SPDX-License-Identifier: GPL-2.0-only
"""One virtual machine: its command line, its life, its certain end."""

from __future__ import annotations

import shutil
import subprocess
import threading
import time
from typing import IO, TYPE_CHECKING, NamedTuple

from harness.common import VmError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from harness.rootfs import Base
    from harness.systems import System


_ended = threading.Event()


def end_all() -> None:
    """Whatever runs or would be started yet ends at once; for good."""
    _ended.set()


def all_ended() -> bool:
    """Whether end_all() was called."""
    return _ended.is_set()


class Machine(NamedTuple):
    """What one boot needs."""

    system: System
    base: Base
    share: Path
    cpu: str | None = None
    append: str = ""
    qemu: tuple[str, ...] = ()
    reboots: bool = False


def command(machine: Machine, console: list[str]) -> list[str]:
    """The QEMU command line. Emulated, not virtualised: it must run where there is no usable /dev/kvm."""
    system = machine.system
    words = ["console=ttyS0", "root=/dev/vda", "rw", "init=/usr/lib/vm-init", "panic=-1", "quiet"]
    # nobody attacks the guest, and emulated page table isolation costs a flush at each system call
    words += ["mitigations=off", "systemd.show_status=0", "systemd.log_level=notice", *machine.append.split()]
    return [
        "qemu-system-x86_64", "-nodefaults", "-no-user-config",
        "-machine", "q35", "-accel", "tcg,thread=multi", "-smp", "2", "-m", str(system.memory_mib),
        "-cpu", machine.cpu or system.cpu,
        "-display", "none", *console,
        *([] if machine.reboots else ["-no-reboot"]),
        "-kernel", str(machine.base.kernel.image),
        *(["-initrd", str(machine.base.kernel.initrd)] if machine.base.kernel.initrd else []),
        "-append", " ".join(words),
        "-drive", f"file={machine.base.image},format=raw,if=virtio,snapshot=on",
        "-fsdev", f"local,id=share,path={machine.share},security_model=none,multidevs=remap",
        "-device", "virtio-9p-pci,fsdev=share,mount_tag=vm",
        "-device", "virtio-rng-pci",
        *machine.qemu,
    ]  # fmt: skip


def run(machine: Machine, console: Path, limit: float, look: Callable[[], None]) -> bool:
    """Boot and wait for the machine's own end; False if it had to be stopped at the limit."""
    serial = ["-serial", f"file:{console}", "-monitor", "none"]
    errors = console.with_suffix(".qemu")
    with errors.open("w") as out:
        process = _start(command(machine, serial), out)
        deadline = time.monotonic() + limit
        try:
            while process.poll() is None and time.monotonic() < deadline and not _ended.is_set():
                look()
                time.sleep(0.2)
            ended = process.poll() is not None
        finally:
            process.kill()
            process.wait()
    look()
    if ended and process.returncode not in {0, -9}:
        raise VmError(f"QEMU: {errors.read_text().strip()[-300:] or f'status {process.returncode}'}")
    return ended


def _start(words: list[str], out: IO[str]) -> subprocess.Popen[bytes]:
    if not shutil.which(words[0]):
        raise VmError(f"{words[0]} is not installed")
    # the machine dies with us, even when we are killed
    return subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", *words], stdin=subprocess.DEVNULL, stdout=out, stderr=out
    )


def interactive(machine: Machine) -> int:
    """Boot with this terminal as the guest's console; Ctrl-A X ends it at once."""
    return subprocess.run(command(machine, ["-serial", "mon:stdio"]), check=False).returncode
