# SPDX-License-Identifier: GPL-2.0-only
"""Physical memory of the guest: a page of our own, and what the kernel says of any page.

Source: Linux Documentation/admin-guide/mm/pagemap.rst.
"""

from __future__ import annotations

import ctypes
import mmap
import os
from pathlib import Path
from typing import TYPE_CHECKING

from guest import mce
from guest.shell import run

if TYPE_CHECKING:
    from collections.abc import Iterator

PAGE = 4096
ENTRY = 8
PRESENT, FRAME = 1 << 63, (1 << 55) - 1
SLAB, BUDDY, HWPOISON = 1 << 7, 1 << 10, 1 << 19
UNPOISON = Path("/sys/kernel/debug/hwpoison/unpoison-pfn")
TEST_PATTERN = b"what this page holds stays as it is."


class OwnPage:
    """A page of this process, with known contents: `address` is where it is in physical memory now."""

    def __init__(self) -> None:
        self._memory = mmap.mmap(-1, PAGE, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
        self._memory[: len(TEST_PATTERN)] = TEST_PATTERN
        self._virtual = ctypes.addressof(ctypes.c_char.from_buffer(self._memory))

    @property
    def address(self) -> int:
        entry = _entry("/proc/self/pagemap", self._virtual // PAGE)
        assert entry & PRESENT, "our page is not in memory"
        return (entry & FRAME) * PAGE

    @property
    def is_intact(self) -> bool:
        return self._memory[: len(TEST_PATTERN)] == TEST_PATTERN


def flags(address: int) -> int:
    """The kernel's flags of the page at a physical address."""
    return _entry("/proc/kpageflags", address // PAGE)


def is_poisoned(address: int) -> bool:
    return bool(flags(address) & HWPOISON)


def pages_with(flag: int, start: int = 0) -> Iterator[int]:
    """Addresses of pages that have a flag, from the first at or after `start`."""
    with Path("/proc/kpageflags").open("rb", buffering=0) as file:
        file.seek(start // PAGE * ENTRY)
        for frame, data in enumerate(iter(lambda: file.read(ENTRY), b""), start // PAGE):
            if int.from_bytes(data, "little") & flag:
                yield frame * PAGE


def corrupted_kb() -> int:
    """HardwareCorrupted of /proc/meminfo, in kB."""
    lines = Path("/proc/meminfo").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("HardwareCorrupted"))


def give_back(*addresses: int) -> None:
    """Let the kernel use pages again that were off-lined, as far as it does."""
    if not UNPOISON.exists():
        run("modprobe", "hwpoison-inject")
    for address in addresses:
        if is_poisoned(address):
            UNPOISON.write_text(f"{address // PAGE:#x}")


def send_errors(address: int, count: int) -> None:
    """Corrected memory errors at an address, one after the other."""
    for _ in range(count):
        mce.send_raw(mce.RECORD | {"addr": address})


def _entry(path: str, number: int) -> int:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        data = os.pread(descriptor, ENTRY, number * ENTRY)
    finally:
        os.close(descriptor)
    return int.from_bytes(data, "little")
