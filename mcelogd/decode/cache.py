# SPDX-License-Identifier: GPL-2.0-only
"""Decode once what decodes alike: a storm repeats few errors at many addresses and times.

A Finding is shared by all records of one signature, if nothing but the
signature was looked at to make it, or of one signature and processor, if that
was looked at too. This is watched while decoding, not promised by the
decoders: one that looks at the address, say, is asked again for each record.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Generic, TypeVar

from mcelogd import decode
from mcelogd.event import Event
from mcelogd.record import FIELDS, MceRecord

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from mcelogd.cpu import CpuType
    from mcelogd.event import Finding

    Signature = tuple[int | str | None, ...]

T = TypeVar("T")

MOST_REMEMBERED = 8192

SIGNATURE = ("status", "misc", "mcgstatus", "bank", "cpuvendor", "cpuid", "mcgcap", "synd", "ipid")
"""Fields of the signature."""

PLACE = ("extcpu", "cpu8", "socketid", "apicid")
"""Fields that name the processor."""


def signature_of(record: MceRecord, cpu_type: CpuType) -> Signature:
    """What most records of one fault have in common."""
    return (
        record.status,
        record.misc,
        record.mcgstatus,
        record.bank,
        record.cpuvendor,
        record.cpuid,
        record.mcgcap,
        record.synd,
        record.ipid,
        cpu_type.name,
    )


class Watched(MceRecord):
    """A record that knows which fields outside the signature were looked at.

    `is_placed`: those that name the processor; `is_own`: others.
    """

    is_placed = False
    is_own = False

    def __iter__(self) -> Iterator[Any]:
        self.is_own = True
        return super().__iter__()

    def __getitem__(self, index: Any) -> Any:
        self.is_own = True
        return super().__getitem__(index)


def _watch(index: int, flag: str) -> property:
    def look(record: Watched) -> int | None:
        setattr(record, flag, True)
        return tuple.__getitem__(record, index)

    return property(look)


for _index, _field in enumerate(FIELDS):
    if _field.name not in SIGNATURE:
        setattr(Watched, _field.name, _watch(_index, "is_placed" if _field.name in PLACE else "is_own"))


class Remembered(Generic[T]):
    """What was made of records: by signature or, where that does not do, by signature and processor.

    Both are any keys that tell such apart. At most MOST_REMEMBERED of each;
    one more, and all are forgotten.
    """

    def __init__(self) -> None:
        self.shared: dict[Hashable, T] = {}
        self._placed: dict[Hashable, T] = {}

    def of_place(self, signature: Hashable, place: Hashable) -> T | None:
        """What was made of a record of that processor, None if nothing was or may be remembered."""
        return self._placed.get((signature, place))

    def keep(self, made: T, watched: Watched, signature: Hashable, place: Hashable) -> None:
        """Remember what was made of `watched`, as far as what was looked at allows it."""
        if watched.is_own:
            return
        remembered, key = (
            (self._placed, (signature, place)) if watched.is_placed else (self.shared, signature)
        )
        if len(remembered) >= MOST_REMEMBERED:
            remembered.clear()
        remembered[key] = made


class CachedDecoder:
    """`decode.decode()` with a memory."""

    def __init__(self) -> None:
        self._findings: Remembered[Finding] = Remembered()

    def decode(self, record: MceRecord, cpu_type: CpuType) -> Event:
        """The same Event as without the memory."""
        signature = signature_of(record, cpu_type)
        finding = self._findings.shared.get(signature)
        return Event(record, cpu_type, finding or self._find(record, cpu_type, signature))

    def _find(self, record: MceRecord, cpu_type: CpuType, signature: Signature) -> Finding:
        place = (record.extcpu, record.cpu8, record.socketid, record.apicid)
        finding = self._findings.of_place(signature, place)
        if finding is None:
            watched = Watched._make(record)
            finding = decode.decode(watched, cpu_type).finding
            self._findings.keep(finding, watched, signature, place)
        return finding
