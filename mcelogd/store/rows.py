# SPDX-License-Identifier: GPL-2.0-only
"""Rows of the store's tables, and the counters they are made of. Pure."""

from __future__ import annotations

from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account.bucket import Bucket
from mcelogd.account.memory import ANY, MemoryErrors, MemoryKey
from mcelogd.account.pages import PageErrors, PageState

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

Position = tuple[int, int]
"""(generation, records): how far the spool has been folded into the store."""

LARGEST = (1 << 63) - 1
"""SQLite's integers are signed, registers are not: record blobs hold those whole, pages are stored as
frame numbers, and what is left can only be out of range in a damaged record."""

_FRAMES = 1 << 52

LAST_EVENT_ID = "last_event_id"
"""Name of the entry in `state` that outlives the event with the highest id."""

ObjectKey = tuple[str, str]
"""(kind, name) of an entry in `objects`; its state is JSON that only the table it belongs to knows."""


class StoredEvent(NamedTuple):
    """A row of `events`; `record` holds the record's bytes as they were read, `origin` where it was found
    if no source gave it."""

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
    origin: str = ""


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
    reason: str
    since: int


class Batch(NamedTuple):
    """What one transaction commits: events, the counters after them, and where the spool then is.

    An object that is None is deleted.
    """

    events: list[StoredEvent]
    memory: list[MemoryRow]
    pages: list[PageRow]
    dropped_frames: list[int]
    state: dict[str, str]
    position: Position | None
    objects: Mapping[ObjectKey, str | None] = MappingProxyType({})


def memory_row(errors: MemoryErrors) -> MemoryRow:
    """The counters as they are now."""
    ce, uc = errors.corrected, errors.uncorrected
    return MemoryRow(
        *errors.key,
        *(ce.total, ce.bucket.count, ce.bucket.excess, stored(ce.bucket.stamp)),
        *(uc.total, uc.bucket.count, uc.bucket.excess, stored(uc.bucket.stamp)),
    )


def memory_errors(row: MemoryRow) -> MemoryErrors:
    """The reverse of memory_row(); raises ValueError for what no counter can be."""
    _check_numbers(row[:1] + row[3:])
    _check_numbers((row.channel - ANY, row.dimm - ANY))
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
        state=page.state.value,
        triggered=int(page.triggered),
        multiplier=page.multiplier,
        reason=page.reason,
        since=stored(page.since),
    )


def page_errors(row: PageRow) -> PageErrors:
    """The reverse of page_row(); raises ValueError for what no page can be."""
    _check_numbers((*row[:6], row.triggered, row.multiplier, row.since))
    if row.frame >= _FRAMES:
        raise ValueError(f"no page frame: {row.frame}")
    page = PageErrors(row.frame << 12, Bucket(row.stamp, row.level, row.excess), row.total)
    page.state = PageState(row.state)
    page.triggered = bool(row.triggered)
    page.multiplier = row.multiplier
    page.reason = _text(row.reason)
    page.since = row.since
    return page


def merged_memory(row: MemoryRow, earlier: MemoryRow) -> MemoryRow:
    """The counters of a DIMM with those of an earlier run added to them.

    Totals add up. The buckets of the present run stay: what leaked out of the
    earlier ones is not known here, and too high a level could off-line pages.
    """
    return row._replace(ce_total=row.ce_total + earlier.ce_total, uc_total=row.uc_total + earlier.uc_total)


def merged_page(row: PageRow, earlier: PageRow) -> PageRow:
    """As merged_memory(); what was done to the page by either run is kept."""
    merged = row._replace(
        total=row.total + earlier.total,
        triggered=max(row.triggered, earlier.triggered),
        multiplier=max(row.multiplier, earlier.multiplier),
    )
    if row.state != PageState.ONLINE.value:
        return merged
    return merged._replace(state=earlier.state, reason=earlier.reason, since=earlier.since)


def event_row(values: tuple[object, ...]) -> StoredEvent:
    """A row as it was read; raises ValueError for what no event can be."""
    row = StoredEvent._make(values)
    _check_numbers((row.id, row.time, row.cpu, row.bank))
    text_row((row.kind, row.severity, row.summary, row.origin))
    if type(row.record) is not bytes:
        raise ValueError("no record")
    return row


def text_row(values: Iterable[object]) -> tuple[str, ...]:
    """A row of texts as it was read; raises ValueError if it has anything else."""
    return tuple(_text(value) for value in values)


def storable(event: StoredEvent) -> StoredEvent:
    """The event without what is no text to SQLite: half a character, which a label may have had."""
    if event.summary.isascii():
        return event
    return event._replace(summary=event.summary.encode("utf-8", "replace").decode("utf-8"))


def stored(number: int) -> int:
    """A register's value as SQLite can hold it."""
    return min(number, LARGEST)


def _check_numbers(values: Iterable[object]) -> None:
    """SQLite gives back whatever type a damaged page seems to hold, and the counters trust theirs."""
    for value in values:
        if type(value) is not int or not 0 <= value <= LARGEST:
            raise ValueError(f"no count: {value!r:.40}")


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"no text: {value!r:.40}")
    return value
