# SPDX-License-Identifier: GPL-2.0-only
"""/proc/kpageflags: what the kernel uses a page frame for.

Source: Linux include/uapi/linux/kernel-page-flags.h (bits 0 to 26),
include/linux/kernel-page-flags.h (bit 32), fs/proc/page.c and
Documentation/admin-guide/mm/pagemap.rst.
"""

from __future__ import annotations

import enum
import os

FILE = "kpageflags"
"""Its name below /proc. Of root alone."""

ENTRY = 8
"""Bytes of one page frame's flags."""

LRU = 1 << 5
SLAB = 1 << 7
BUDDY = 1 << 10
MMAP = 1 << 11
ANON = 1 << 12
SWAPCACHE = 1 << 13
SWAPBACKED = 1 << 14
HUGE = 1 << 17
UNEVICTABLE = 1 << 18
HWPOISON = 1 << 19
NOPAGE = 1 << 20
KSM = 1 << 21
THP = 1 << 22
ZERO_PAGE = 1 << 24
PGTABLE = 1 << 26
RESERVED = 1 << 32

KERNEL_USES = {
    SLAB: "a slab cache",
    PGTABLE: "a page table",
    RESERVED: "reserved memory",
    ZERO_PAGE: "the zero page",
}
"""What only the kernel can use, and can neither move nor do without."""

MOVABLE = LRU | BUDDY | MMAP | ANON | SWAPCACHE | SWAPBACKED | KSM | THP
"""Free, of a process, or of the page cache."""


class PageKind(enum.Enum):
    """What a page frame is, as far as taking it out of use goes.

    UNCLEAR has none of the flags that tell: memory that a driver or the kernel
    itself allocated, but also a free page on its way between two lists.
    """

    NO_MEMORY = enum.auto()
    POISONED = enum.auto()
    KERNEL = enum.auto()
    HUGE = enum.auto()
    MOVABLE = enum.auto()
    UNCLEAR = enum.auto()


def read_flags(proc_root: str, frame: int) -> int:
    """The flags of a page frame; NOPAGE beyond the last. Raises OSError where they cannot be read."""
    descriptor = os.open(f"{proc_root}/{FILE}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        data = os.pread(descriptor, ENTRY, frame * ENTRY)
    finally:
        os.close(descriptor)
    return int.from_bytes(data, "little") if len(data) == ENTRY else NOPAGE


def page_kind(flags: int) -> PageKind:
    """The kind of page that has these flags.

    POISONED only where the kernel does not go on using the page: one of its
    own it can mark, but not give up.
    """
    if flags & NOPAGE:
        return PageKind.NO_MEMORY
    if any(flags & bit for bit in KERNEL_USES):
        return PageKind.KERNEL
    if flags & HWPOISON:
        return PageKind.POISONED
    if flags & HUGE:
        return PageKind.HUGE
    return PageKind.MOVABLE if flags & MOVABLE else PageKind.UNCLEAR


def kernel_use(flags: int) -> str:
    """What the kernel uses the page for, in words; empty for a page that is none of its own."""
    return " and ".join(words for bit, words in KERNEL_USES.items() if flags & bit)
