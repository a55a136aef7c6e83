# SPDX-License-Identifier: GPL-2.0-only
"""Pages of a trace ring buffer, built as the kernel builds them (kernel/trace/ring_buffer.c)."""

from __future__ import annotations

import struct
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd.ring.format import EventFormat, PageFormat, parse_event, parse_page

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

FIXTURES = Path(__file__).parent / "fixtures" / "ring"
PAGE = parse_page((FIXTURES / "header_page").read_text())
FORMATS = {path.stem: parse_event(path.read_text()) for path in sorted(FIXTURES.glob("*.format"))}

LARGEST_SHORT = 28 * 4
VARIABLE = b"\xff" * 16
LOST, LOST_COUNTED = 1 << 31, 1 << 30
SIGN = 0xFFFFFFFF << 32
"""What setting bit 31 does to the upper half of the commit word."""


def payload(event: EventFormat, values: Mapping[str, int]) -> bytes:
    """An entry's data; fields that the event does not have are left out.

    Behind them stands what the kernel has of variable length, as `v_data`.
    """
    # A C structure whose largest member has 8 bytes.
    data = bytearray((max(field.end for field in event.fields.values()) + 7) & ~7)
    data += VARIABLE if event is FORMATS["6.14"] else b""
    for name, value in {"common_type": event.id, **values}.items():
        field = event.fields.get(name)
        if field is not None:
            data[field.offset : field.end] = (value % (1 << 8 * field.size)).to_bytes(field.size, "little")
    return bytes(data)


def entry(data: bytes, delta: int = 1) -> bytes:
    """Short if it can be, as the kernel does it; with the length in a word of its own if not."""
    padded = data.ljust((len(data) + 3) & ~3, b"\0")
    if len(padded) <= LARGEST_SHORT:
        return struct.pack("<I", delta << 5 | len(padded) // 4) + padded
    return struct.pack("<II", delta << 5, len(padded) + 4) + padded


def time_extend(delta: int) -> bytes:
    return struct.pack("<II", (delta & (1 << 27) - 1) << 5 | 30, delta >> 27 & 0xFFFFFFFF)


def time_stamp(stamp: int) -> bytes:
    return struct.pack("<II", (stamp & (1 << 27) - 1) << 5 | 31, stamp >> 27 & 0xFFFFFFFF)


def discarded(size: int) -> bytes:
    """An entry that was taken back, as by an event filter."""
    return struct.pack("<II", 1 << 5 | 29, size + 4) + bytes(size)


END = struct.pack("<I", 29)
"""Nothing follows in this page."""


def page(entries: Iterable[bytes], lost: int | None = None, form: PageFormat = PAGE) -> bytes:
    """A page as read(2) gives it; `lost` events before it, -1 for a number that is not said."""
    data = b"".join(entries)
    commit = len(data)
    if lost is not None:
        commit |= LOST | SIGN | (LOST_COUNTED if lost >= 0 else 0)
        data += struct.pack("<Q", lost) if lost >= 0 else b""
    head = struct.pack("<QQ", 1_000_000, commit)
    whole = head[: form.data] + data
    assert len(whole) <= form.page_size
    return whole.ljust(form.page_size, b"\0")
