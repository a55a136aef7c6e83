# SPDX-License-Identifier: GPL-2.0-only
"""A scratch sysfs and /proc for page off-lining, and threads that answer in the kernel's place."""

from __future__ import annotations

import asyncio
import os
import threading
from typing import TYPE_CHECKING

from mcelogd.act.offline import Limits, PageOffliner, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine
    from pathlib import Path

SECONDS = 10.0
PAGE = 0x12345000
MEMINFO = "MemTotal: 1048576 kB\nHardwareCorrupted: {} kB\n"
MARKED = 1 << 19
ANYTHING = Limits(0, 0, 0)


class Machine:
    """A scratch sysfs and /proc."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.sysfs = directory / "sys"
        self.proc = directory / "proc"
        memory = self.sysfs / "devices/system/memory"
        memory.mkdir(parents=True)
        (self.proc / "sys/vm").mkdir(parents=True)
        self.soft = memory / "soft_offline_page"
        self.hard = memory / "hard_offline_page"
        self.meminfo = self.proc / "meminfo"
        self.kpageflags = self.proc / "kpageflags"
        self.meminfo.write_text(MEMINFO.format(0))
        self.mark(PAGE, 0x5828)

    def mark(self, page: int, flags: int = MARKED) -> None:
        self.kpageflags.touch()
        with self.kpageflags.open("r+b") as file:
            file.seek(page // 4096 * 8)
            file.write(flags.to_bytes(8, "little"))

    def boot(self, name: str) -> None:
        path = self.proc / "sys/kernel/random/boot_id"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")

    def offliner(self, limits: Limits = ANYTHING, **options: object) -> PageOffliner:
        return PageOffliner(str(self.sysfs), str(self.proc), limits, **options)  # type: ignore[arg-type]


def renew(fifo: Path) -> None:
    """Who opens it from now on does not meet who has it open."""
    fifo.unlink()
    os.mkfifo(fifo)


class Kernel(threading.Thread):
    """Takes addresses from the FIFOs in place of the kernel's files, and marks the pages.

    The FIFO in place of meminfo puts it in step with the off-liner: that reads
    it before and after it writes an address, and before it looks at the flags.
    """

    def __init__(self, machine: Machine, work: Callable[[Kernel], None]) -> None:
        super().__init__(daemon=True)
        self.machine = machine
        self.work = work
        self.got: list[str] = []
        for path in (machine.meminfo, machine.soft, machine.hard):
            path.unlink(missing_ok=True)
            os.mkfifo(path)
        self.start()

    def run(self) -> None:
        self.work(self)

    def show_memory(self, corrupted_kb: int = 0) -> None:
        with self.machine.meminfo.open("w") as file:
            renew(self.machine.meminfo)
            file.write(MEMINFO.format(corrupted_kb))

    def accept(self, path: Path) -> None:
        with path.open() as file:
            renew(path)
            self.got.append(file.read())

    def off_line(self, page: int = PAGE, corrupted_kb: int = 4) -> None:
        """One page, softly, from the first look to the last."""
        self.show_memory(corrupted_kb - 4)
        self.accept(self.machine.soft)
        self.machine.mark(page)
        self.show_memory(corrupted_kb)


def run(steps: Coroutine[None, None, Result]) -> Result:
    return asyncio.run(asyncio.wait_for(steps, SECONDS))


def one_page(offliner: PageOffliner, how: str = "soft", page: int = PAGE) -> Result:
    async def steps() -> Result:
        try:
            return await offliner.offline(page, how)
        finally:
            offliner.close()

    return run(steps())
