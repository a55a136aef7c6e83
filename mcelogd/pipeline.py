# SPDX-License-Identifier: GPL-2.0-only
"""The way of one record: decode, account, store, report, act - start reading at `Pipeline.take`.

Everything here is synchronous and fast. What is slow (the disk, the journal,
triggers) is behind the Reporter and the batches, which never wait.
"""

from __future__ import annotations

import contextlib
import logging
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mcelogd import cpu as cpus
from mcelogd import message_ids
from mcelogd.decode import is_known_bogus
from mcelogd.decode.cache import CachedDecoder
from mcelogd.decode.self_test import is_self_test
from mcelogd.event import Event, Finding, Kind, Severity
from mcelogd.record import RecordLengthError, layout, pack
from mcelogd.report import found_in
from mcelogd.store.rows import Batch, StoredEvent, memory_row, page_row, stored

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcelogd.account.books import AnyCrossing, Books
    from mcelogd.cpu import CpuType
    from mcelogd.record import Layout, MceRecord
    from mcelogd.store.rows import Position

log = logging.getLogger(__name__)


UNDECODED = Finding(
    Kind.UNKNOWN, Severity.UNCORRECTED, "Undecoded record", ("MCA: Undecoded record",), classified=False
)


class About(NamedTuple):
    """What is known of an event besides itself.

    `number` is its place among those handled in one go, `errors` how many its
    DIMM has had; a duplicate was counted before, as another record. A self
    test's record is no error at all. `origin` says where a record of before
    was found that no source gave (mcelogd.earlier.found); else it is empty.
    """

    event_id: int
    number: int
    errors: int | None
    is_duplicate: bool = False
    is_test: bool = False
    origin: str = ""


class Listener(Protocol):
    """Who is told what happened. Nothing here may wait or raise."""

    def event(self, event: Event, about: About) -> None: ...

    def crossed(self, crossing: AnyCrossing, event: Event) -> None:
        """What the event crossed, or what is thought of a DIMM since."""


class Everyone:
    """Several listeners, told one after the other."""

    def __init__(self, *listeners: Listener) -> None:
        self.listeners = list(listeners)

    def event(self, event: Event, about: About) -> None:
        for listener in self.listeners:
            listener.event(event, about)

    def crossed(self, crossing: AnyCrossing, event: Event) -> None:
        for listener in self.listeners:
            listener.crossed(crossing, event)


class Totals(NamedTuple):
    """Counts since the store was made."""

    records_read: int = 0
    records_lost: int = 0
    corrected_errors: int = 0
    uncorrected_errors: int = 0
    last_event_time: int = 0


class CpuChoice:
    """Which CPU a record is decoded for: the one forced, else its own, else this machine's."""

    def __init__(self, forced: CpuType | None, host: CpuType) -> None:
        self.forced = forced
        self.host = host
        self._told: set[tuple[int, int]] = set()

    def of(self, record: MceRecord) -> CpuType:
        """The CPU type; what is odd about it is said once for each CPU."""
        if not record.cpuid:
            return self.forced or self.host
        own = cpus.by_cpuid(record.cpuvendor, record.cpuid)
        identity = (record.cpuvendor, record.cpuid)
        if identity not in self._told and len(self._told) < 1000:
            self._told.add(identity)
            self._tell(record, own)
        return self.forced or own

    def _tell(self, record: MceRecord, own: CpuType) -> None:
        if self.forced is not None:
            if own not in (self.forced, cpus.GENERIC):
                log.warning("forced CPU type %s, but the record is of %s", self.forced.title, own.title)
        elif not cpus.is_known(own):
            family, model, _ = cpus.parse_cpuid(record.cpuid)
            vendor = cpus.vendor_name(record.cpuvendor)
            log.warning("%s family %d model %d: decoding architectural errors only", vendor, family, model)


class Pipeline:
    """Takes records one by one and keeps what they add up to."""

    def __init__(
        self,
        *,
        cpu: CpuChoice,
        books: Books,
        reporter: Listener,
        actions: Listener,
        summarize: Callable[[Event], str],
        located: Callable[[Event], Event] = lambda event: event,
        clock: Callable[[], float],
        log_memory_errors: bool = True,
        log_known_bogus: bool = False,
    ) -> None:
        self.cpu = cpu
        self.books = books
        self.totals = Totals()
        self.next_id = 1
        self._decoder = CachedDecoder()
        self._reporter = reporter
        self._actions = actions
        self._summarize = summarize
        self._located = located
        self._clock = clock
        self.log_memory_errors = log_memory_errors
        self.log_known_bogus = log_known_bogus
        self._rows: list[StoredEvent] = []
        self._page_use = 0

    def take(
        self, layout: Layout, data: bytes, number: int = 0, *, told: bool = False, origin: str = ""
    ) -> None:
        """One record, as the kernel handed it over, through all its steps.

        `told` records were reported, but not stored, by a run that crashed in between. Nobody acts
        upon one that has an `origin`: it is of before.
        """
        now = int(self._clock())
        record = layout.parse(data)
        if not record.time:
            record = record._replace(time=now)
        event = self._decode(record)
        if is_self_test(record):
            self._take_test(
                event, data, About(self.next_id, number, None, is_test=True, origin=origin), told=told
            )
            return
        counted = self.books.account(event, now)
        self._count(event, is_duplicate=counted.is_duplicate, is_old=bool(origin))
        event_id = self._keep(event, data, origin)
        errors = self.books.memory.total(event)
        about = About(event_id, number, errors, counted.is_duplicate, origin=origin)
        if not told:
            if self._is_logged(event):
                self._reporter.event(event, about)
            for crossing in counted.crossings:
                self._reporter.crossed(crossing, event)
        if origin:
            return
        # What was reported was perhaps not acted upon yet; done twice is better than not done.
        self._actions.event(event, about)
        for crossing in counted.crossings:
            self._actions.crossed(crossing, event)

    def _take_test(self, event: Event, data: bytes, about: About, *, told: bool) -> None:
        """The record of a self test is kept and told, but is no error: nothing is counted, nobody acts."""
        self.totals = self.totals._replace(records_read=self.totals.records_read + 1)
        self._keep(event, data, about.origin)
        if not told:
            self._reporter.event(event, about)

    def remember(self, data: bytes) -> None:
        """A record that an earlier run took."""
        with contextlib.suppress(RecordLengthError):
            event = self.decoded(data)
            if not is_self_test(event.record):
                self.books.remember(event)

    def decoded(self, data: bytes) -> Event:
        """What a record of the store means; RecordLengthError if it is none."""
        return self._decode(layout(len(data)).parse(data))

    def lose(self, records: int) -> None:
        """Count records the source lost."""
        self.totals = self.totals._replace(records_lost=self.totals.records_lost + records)

    def forget_errors(self) -> None:
        """Count all errors from zero; how many records came stays true."""
        self.totals = self.totals._replace(corrected_errors=0, uncorrected_errors=0)

    def take_batch(self, position: Position | None, state: dict[str, str] | None = None) -> Batch:
        """What the store is to commit: all since the last call, and how far the spool is folded."""
        events, self._rows = self._rows, []
        changed = self.books.take_changed()
        return Batch(
            events=events,
            memory=[memory_row(row) for row in changed.memory],
            pages=[page_row(page, self._next_use()) for page in changed.pages],
            dropped_frames=[address >> 12 for address in changed.dropped_pages],
            state={
                "totals": " ".join(map(str, self.totals)),
                "page_use": str(self._page_use),
                **(state or {}),
            },
            position=position,
            objects=changed.objects,
        )

    def restore_totals(self, totals: str, page_use: str) -> None:
        """Take over the state of an earlier run, as take_batch() wrote it."""
        self.totals = _totals(totals) or self.totals
        if page_use.isdigit():
            self._page_use = int(page_use)

    def totals_with(self, state: Mapping[str, str]) -> dict[str, str]:
        """The state of another run and of this one together."""
        theirs = _totals(state.get("totals", "")) or Totals()
        ours = self.totals
        sums = Totals._make(map(sum, zip(theirs, ours, strict=True)))
        sums = sums._replace(last_event_time=max(theirs.last_event_time, ours.last_event_time))
        page_use = state.get("page_use", "")
        use = self._page_use + (int(page_use) if page_use.isdigit() else 0)
        return {"totals": " ".join(map(str, sums)), "page_use": str(use)}

    def _is_logged(self, event: Event) -> bool:
        if event.kind is Kind.MEMORY and not self.log_memory_errors:
            return False
        return self.log_known_bogus or not is_known_bogus(event.record, event.cpu_type)

    def _decode(self, record: MceRecord) -> Event:
        try:
            return self._located(self._decoder.decode(record, self.cpu.of(record)))
        except Exception:
            # Decoding is defined for every record. Should a mistake in a table prove that wrong,
            # the record is counted, told and kept all the same.
            log.exception(
                "a record could not be decoded; please report this: %s",
                record,
                extra={
                    "MESSAGE_ID": message_ids.RECORD_UNDECODED,
                    "MCE_EVENT_ID": self.next_id,
                    "MCE_RAW": pack(record).hex(),
                },
            )
            return Event(record, cpus.GENERIC, UNDECODED)

    def _count(self, event: Event, *, is_duplicate: bool, is_old: bool) -> None:
        totals = self.totals
        is_error = event.kind is not Kind.THERMAL and not is_duplicate
        is_corrected = event.severity.is_corrected
        self.totals = Totals(
            records_read=totals.records_read + 1,
            records_lost=totals.records_lost,
            corrected_errors=totals.corrected_errors + (is_error and is_corrected),
            uncorrected_errors=totals.uncorrected_errors + (is_error and not is_corrected),
            last_event_time=max(totals.last_event_time, event.record.time) if is_old else event.record.time,
        )

    def _keep(self, event: Event, data: bytes, origin: str) -> int:
        event_id = self.next_id
        self.next_id += 1
        record = event.record
        where = event.finding.locations[0] if event.finding.locations else None
        self._rows.append(
            StoredEvent(
                id=event_id,
                time=stored(record.time),
                kind=event.kind.value,
                severity=event.severity.value,
                cpu=record.cpu,
                bank=record.bank,
                socket=record.socketid,
                channel=where.channel if where else None,
                dimm=where.dimm if where else None,
                summary=self._summarize(event) + found_in(origin),
                record=data,
                origin=origin,
            )
        )
        return event_id

    def _next_use(self) -> int:
        self._page_use += 1
        return self._page_use


def _totals(text: str) -> Totals | None:
    """What take_batch() wrote; None for anything else."""
    numbers = [int(number) for number in text.split() if number.isdigit()]
    return Totals._make(numbers) if len(numbers) == len(Totals._fields) else None
