# SPDX-License-Identifier: GPL-2.0-only
"""Rows and batches for the tests of the store."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.account.bucket import Bucket
from mcelogd.account.memory import MemoryErrors, MemoryKey
from mcelogd.account.pages import PageErrors
from mcelogd.store.rows import Batch, MemoryRow, PageRow, StoredEvent, memory_row, page_row

if TYPE_CHECKING:
    from mcelogd.store.database import Saved, Store


def event(number: int) -> StoredEvent:
    return StoredEvent(number, 1, "memory", "corrected", 0, 5, 0, 1, None, "text", b"\0\xff")


def full_size(number: int) -> StoredEvent:
    """As large as a usual one."""
    return event(number)._replace(summary="Corrected memory read error, channel 0", record=b"\x90" * 128)


def batch(*numbers: int, position: tuple[int, int] | None = None) -> Batch:
    return Batch([event(number) for number in numbers], [], [], [], {}, position)


def memory(total: int, *key: int) -> MemoryRow:
    errors = MemoryErrors(MemoryKey(*(key or (0, 0, 0))), 1)
    errors.corrected.total = total
    errors.corrected.bucket.count = total
    return memory_row(errors)


def page(frame: int, total: int = 1, used: int = 1) -> PageRow:
    return page_row(PageErrors(frame << 12, Bucket(1), total), used)


def counted(number: int) -> Batch:
    """The batch after that many errors, all on one DIMM and one page, of which the last is new."""
    return Batch(
        events=[event(number)],
        memory=[memory(number)],
        pages=[page(7, number, number)],
        dropped_frames=[],
        state={"totals": f"{number} 0 {number} 0 1"},
        position=(1, number),
        objects={("core", "3"): str(number)},
    )


def comparable(saved: Saved) -> tuple[object, ...]:
    """Saved as it can be compared: rows in place of counters."""
    pages = [page_row(page, 0) for page in saved.pages]
    return ([memory_row(errors) for errors in saved.memory], pages, *saved[2:])


def ids(store: Store) -> list[int]:
    return [one.id for one in store.events(limit=1_000_000)]


def pruned(store: Store) -> list[int]:
    """What is left when all is deleted that is beyond the limits."""
    while store.prune():
        pass
    return ids(store)
