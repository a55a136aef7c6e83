# SPDX-License-Identifier: GPL-2.0-only
"""What was found, without what is known already. Pure.

One machine check may be found several times: read by mcelog and printed all
the same (by an EDAC driver), printed in words and kept as registers (ERST), in
two dumps, and, if it was fatal, still in the CPU's bank after the reset.
"""

from __future__ import annotations

import contextlib
import enum
import struct
from typing import TYPE_CHECKING

from mcelogd.cpu import GENERIC
from mcelogd.earlier.found import Origin
from mcelogd.marks import Mark, marks_of
from mcelogd.record import LENGTH, RecordLengthError, layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcelogd.earlier.found import Found
    from mcelogd.record import MceRecord
    from mcelogd.store.rows import StoredEvent

WINDOW = 2
"""Seconds by which the times of two reports of one error may differ."""

MOST_ALIKE = 64
"""Reports compared of those that have CPU, bank, status and second in common."""

_FORM = layout(LENGTH)

_Identity = tuple[int, int, int]
_Shape = tuple[int, ...]
"""Registers that a text shows only if they are not 0."""


def unseen(found: Iterable[Found], known: Iterable[MceRecord]) -> list[Found]:
    """Those of `found` that are neither among `known` nor twice in it, by time.

    The same record has the same status, bank and CPU, the same ADDR, MISC,
    SYND and IPID as far as both show them, and the same TSC, or where one has
    none a time at most WINDOW seconds apart. Of two the fuller one is taken.
    A fatal one that survived the reset is taken for the one of the panic: if
    that is found now, it stays, and what was left over of it goes.
    """
    seen = _Seen()
    for record in known:
        seen.add(record, _Kind.LEFT_OVER if _is_left_over(record) else _Kind.OTHER)
    parsed = [(_FORM.parse(one.record), one) for one in found]
    parsed.sort(key=lambda pair: -_fullness(*pair))
    fresh = []
    for record, one in parsed:
        kind = _kind(record, one)
        if not seen.has(record, kind):
            fresh.append(one)
            seen.add(record, kind)
    return sorted(fresh, key=lambda one: one.when)


def known_from(found: Iterable[Found]) -> int:
    """The time from which on the store has to be asked for what is known; 0 if nothing was found."""
    return max(0, min((one.when for one in found), default=0) - WINDOW)


def records_of(rows: Iterable[StoredEvent]) -> Iterator[MceRecord]:
    """The records of the store's events; one that had no time has that of its row."""
    for row in rows:
        with contextlib.suppress(RecordLengthError, struct.error):
            record = layout(len(row.record)).parse(row.record)
            yield record if record.time else record._replace(time=row.time)


class _Kind(enum.Enum):
    """Whether a record can have a twin on the other side of a reset."""

    PANIC = enum.auto()
    LEFT_OVER = enum.auto()
    OTHER = enum.auto()


class _Seen:
    """An index of records: what it costs to ask does not grow with how many there are."""

    def __init__(self) -> None:
        self._tscs: set[tuple[_Identity, int]] = set()
        self._seconds: dict[tuple[_Identity, int], set[tuple[bool, _Shape]]] = {}
        self._fatal: dict[tuple[_Kind, int, int], list[MceRecord]] = {}

    def add(self, record: MceRecord, kind: _Kind) -> None:
        identity = _identity(record)
        if record.tsc:
            self._tscs.add((identity, record.tsc))
        alike = self._seconds.setdefault((identity, record.time), set())
        if len(alike) < MOST_ALIKE:
            alike.add((record.tsc != 0, _shape(record)))
        if kind is not _Kind.OTHER:
            fatal = self._fatal.setdefault((kind, record.status, record.bank), [])
            if len(fatal) < MOST_ALIKE:
                fatal.append(record)

    def has(self, record: MceRecord, kind: _Kind) -> bool:
        if self._is_known(record):
            return True
        if kind is _Kind.LEFT_OVER:
            return any(_is_same_fault(panic, record) for panic in self._twins(_Kind.PANIC, record))
        if kind is _Kind.PANIC:
            return any(_is_same_fault(record, left) for left in self._twins(_Kind.LEFT_OVER, record))
        return False

    def _twins(self, kind: _Kind, record: MceRecord) -> list[MceRecord]:
        return self._fatal.get((kind, record.status, record.bank), [])

    def _is_known(self, record: MceRecord) -> bool:
        identity = _identity(record)
        if record.tsc and (identity, record.tsc) in self._tscs:
            return True
        shape = _shape(record)
        return any(
            not (record.tsc and other_has_tsc) and _may_be_same(shape, other)
            for second in range(record.time - WINDOW, record.time + WINDOW + 1)
            for other_has_tsc, other in self._seconds.get((identity, second), ())
        )


def _identity(record: MceRecord) -> _Identity:
    return record.status, record.bank, record.cpu


def _shape(record: MceRecord) -> _Shape:
    return record.addr, record.misc, record.synd or 0, record.ipid or 0


def _may_be_same(one: _Shape, other: _Shape) -> bool:
    return all(a == b or not a or not b for a, b in zip(one, other, strict=True))


def _kind(record: MceRecord, one: Found) -> _Kind:
    if _is_left_over(record, has_tsc=not one.incomplete):
        return _Kind.LEFT_OVER
    return _Kind.PANIC if one.origin is Origin.PSTORE else _Kind.OTHER


def _is_left_over(record: MceRecord, *, has_tsc: bool = True) -> bool:
    return Mark.LEFT_OVER in marks_of(record, GENERIC, has_tsc=has_tsc)


def _is_same_fault(panic: MceRecord, left_over: MceRecord) -> bool:
    """A bank that several CPUs share is read by any CPU of the socket after the reset."""
    is_later = left_over.time >= panic.time - WINDOW
    same_place = panic.cpu == left_over.cpu or panic.socketid == left_over.socketid
    return is_later and same_place and _may_be_same(_shape(panic), _shape(left_over))


def _fullness(record: MceRecord, one: Found) -> int:
    """How much it says."""
    return sum(1 for value in record if value) - 100 * one.incomplete
