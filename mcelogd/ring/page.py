# SPDX-License-Identifier: GPL-2.0-only
"""A page of the trace ring buffer -> its entries.

Source: Linux include/linux/ring_buffer.h (enum ring_buffer_type),
kernel/trace/ring_buffer.c (rb_event_length, ring_buffer_read_page: how lost
events are said); libtraceevent's kbuffer-parse.c reads the same.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcelogd.ring.format import PageFormat

LENGTH_MASK = (1 << 20) - 1
"""Bits of the commit word that hold how many bytes of data there are."""

LOST = 1 << 31
LOST_COUNTED = 1 << 30
"""Events were lost before this page; how many stands right behind the data."""

LARGEST_COUNT = 1 << 48
"""No buffer loses more; what says so is damaged."""

_LARGEST_SHORT, _PADDING, _TIME_EXTEND, _TIME_STAMP = 28, 29, 30, 31
_WORD = struct.Struct("<I")
_WORDS = struct.Struct("<II")
_COUNT = struct.Struct("<Q")


class Page(NamedTuple):
    """The payloads of a page's entries, in order.

    `lost` events were overwritten before they could be read (1 where the
    kernel does not say how many). `damaged` pages end in something that is no
    entry; what stands before it is good.
    """

    entries: list[memoryview]
    lost: int = 0
    damaged: bool = False


def read_page(data: memoryview, form: PageFormat) -> Page:
    """What read(2) of trace_pipe_raw gave, whatever that is; an empty page for nothing."""
    if not data:
        return Page([])
    if len(data) < form.data:
        return Page([], damaged=True)
    commit = int.from_bytes(data[form.commit.offset : form.commit.end], "little")
    end = form.data + (commit & LENGTH_MASK)
    lost, miscounted = _lost(data, commit, end)
    entries: list[memoryview] = []
    whole = _collect(data[form.data : end], entries)
    return Page(entries, lost, damaged=not whole or miscounted or end > len(data))


def _lost(data: memoryview, commit: int, end: int) -> tuple[int, bool]:
    """How many events were lost, and whether that cannot be right."""
    if not commit & LOST:
        return 0, False
    if not commit & LOST_COUNTED or end + _COUNT.size > len(data):
        return 1, False
    count: int = _COUNT.unpack_from(data, end)[0]
    return (count, False) if count <= LARGEST_COUNT else (1, True)


def _collect(data: memoryview, entries: list[memoryview]) -> bool:
    """Add the payloads to `entries`; whether the data ended where an entry did."""
    try:
        entries.extend(_payloads(data))
    except struct.error:
        return False
    return True


def _payloads(data: memoryview) -> Iterator[memoryview]:
    """Raises struct.error where an entry does not fit."""
    at = 0
    while at < len(data):
        word: int = _WORD.unpack_from(data, at)[0]
        kind = word & 31
        if kind == _PADDING and not word >> 5:
            return
        start = at + (8 if kind == 0 else 4)
        if 0 < kind <= _LARGEST_SHORT:
            end = at = start + 4 * kind
        else:
            length: int = _WORDS.unpack_from(data, at)[1]
            # The length counts itself; an entry that did not would be read for ever.
            end = start - 4 + length if kind == 0 else start
            at = at + 8 if kind in (_TIME_EXTEND, _TIME_STAMP) else at + 4 + _rounded(length)
        if end > len(data) or end < start or at > len(data):
            raise struct.error("an entry is longer than its page")
        if kind <= _LARGEST_SHORT:
            yield data[start:end]


def _rounded(length: int) -> int:
    """Entries begin at multiples of 4."""
    return max(4, (length + 3) & ~3)
