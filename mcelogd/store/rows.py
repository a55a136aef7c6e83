# SPDX-License-Identifier: GPL-2.0-only
"""Rows of the store's tables, and the counters they are made of. Pure."""

from __future__ import annotations

from typing import NamedTuple

from mcelogd.account.bucket import Bucket
from mcelogd.account.memory import MemoryErrors, MemoryKey
from mcelogd.account.pages import PageErrors, PageState

Position = tuple[int, int]
"""(generation, records): how far the spool has been folded into the store."""

LARGEST = (1 << 63) - 1
"""SQLite's integers are signed, registers are not: record blobs hold those whole, pages are stored as
frame numbers, and what is left can only be out of range in a damaged record."""


class StoredEvent(NamedTuple):
    """A row of `events`; `record` holds the record's bytes as they were read."""

    id: int
    time: int
    kind: str
    severity: str
    cpu: int
    bank: int
    socket: int | None
    channel: int | None
    dimm: int | None
    summary: str
    record: bytes


class MemoryRow(NamedTuple):
    """A row of `memory`: the two counters of a DIMM or socket at one instant."""

    socket: int
    channel: int
    dimm: int
    ce_total: int
    ce_count: int
    ce_excess: int
    ce_stamp: int
    uc_total: int
    uc_count: int
    uc_excess: int
    uc_stamp: int


class PageRow(NamedTuple):
    """A row of `pages`; `used` orders them by their last error."""

    frame: int
    used: int
    total: int
    level: int
    excess: int
    stamp: int
    state: str
    triggered: int
    multiplier: int


class Batch(NamedTuple):
    """What one transaction commits: events, the counters after them, and where the spool then is."""

    events: list[StoredEvent]
    memory: list[MemoryRow]
    pages: list[PageRow]
    dropped_frames: list[int]
    state: dict[str, str]
    position: Position | None


def memory_row(errors: MemoryErrors) -> MemoryRow:
    """The counters as they are now."""
    ce, uc = errors.corrected, errors.uncorrected
    return MemoryRow(
        *errors.key,
        *(ce.total, ce.bucket.count, ce.bucket.excess, stored(ce.bucket.stamp)),
        *(uc.total, uc.bucket.count, uc.bucket.excess, stored(uc.bucket.stamp)),
    )


def memory_errors(row: MemoryRow) -> MemoryErrors:
    """The reverse of memory_row()."""
    errors = MemoryErrors(MemoryKey(row.socket, row.channel, row.dimm), row.ce_stamp)
    errors.corrected.total = row.ce_total
    errors.corrected.bucket = Bucket(row.ce_stamp, row.ce_count, row.ce_excess)
    errors.uncorrected.total = row.uc_total
    errors.uncorrected.bucket = Bucket(row.uc_stamp, row.uc_count, row.uc_excess)
    return errors


def page_row(page: PageErrors, used: int) -> PageRow:
    """The page's counter as it is now."""
    bucket = page.bucket
    return PageRow(
        page.address >> 12,
        used,
        *(page.total, bucket.count, bucket.excess, stored(bucket.stamp)),
        *(page.state.value, int(page.triggered), page.multiplier),
    )


def page_errors(row: PageRow) -> PageErrors:
    """The reverse of page_row()."""
    page = PageErrors(row.frame << 12, Bucket(row.stamp, row.level, row.excess), row.total)
    page.state = PageState(row.state)
    page.triggered = bool(row.triggered)
    page.multiplier = row.multiplier
    return page


def stored(number: int) -> int:
    """A register's value as SQLite can hold it."""
    return min(number, LARGEST)
