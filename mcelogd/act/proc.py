# SPDX-License-Identifier: GPL-2.0-only
"""What /proc says of memory, of a page in it, and of the kernel's settings for both."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

from mcelogd.act.caps import PAGE_SIZE, Memory
from mcelogd.act.kpageflags import HWPOISON, PageKind, page_kind, read_flags

LARGEST = 65536
"""Bytes of a file that are looked at."""


class View(NamedTuple):
    """A page at one instant; `problem` is why its flags are None."""

    memory: Memory | None
    flags: int | None
    problem: str = ""

    @property
    def kind(self) -> PageKind | None:
        return None if self.flags is None else page_kind(self.flags)

    @property
    def is_marked(self) -> bool:
        """Whether the kernel has marked the page as bad."""
        return self.flags is not None and bool(self.flags & HWPOISON)


class Proc:
    """/proc, wherever it is mounted."""

    def __init__(self, root: str) -> None:
        self.root = root

    def view(self, address: int) -> View:
        """The page at a physical byte address, and the memory all in all."""
        memory = self.memory()
        try:
            return View(memory, read_flags(self.root, address // PAGE_SIZE))
        except OSError as error:
            return View(memory, None, f"{self.root}/kpageflags cannot be read: {error.strerror}")

    def memory(self) -> Memory | None:
        """MemTotal and HardwareCorrupted; a kernel that cannot off-line pages has only the former."""
        found: dict[str, int] = {}
        for line in self._read("meminfo").splitlines():
            name, _, value = line.partition(":")
            number = value.removesuffix("kB").strip()
            if number.isascii() and number.isdigit():
                found[name] = int(number[:20]) * 1024
        if "MemTotal" not in found:
            return None
        return Memory(found["MemTotal"], found.get("HardwareCorrupted", 0))

    def sysctl(self, name: str) -> str:
        """A setting by its path below /proc/sys; empty for one that this kernel has not."""
        return self._read(f"sys/{name}").strip()

    def _read(self, name: str) -> str:
        try:
            with Path(self.root, name).open(encoding="ascii", errors="replace") as file:
                return file.read(LARGEST)
        except OSError:
            return ""
