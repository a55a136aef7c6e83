# SPDX-License-Identifier: GPL-2.0-only
"""Memory errors per DIMM and per socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account.bucket import Bucket
from mcelogd.event import Kind

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mcelogd.event import Event, Location
    from mcelogd.rate import Rate

ANY = -1
"""Channel or DIMM number of errors that do not name one; shown as `any`."""


class MemoryKey(NamedTuple):
    """Which DIMM: numbers as the hardware reports them, ANY where it does not."""

    socket: int
    channel: int
    dimm: int

    @property
    def is_socket(self) -> bool:
        """Whether this is the sum of a whole socket."""
        return self.channel == ANY and self.dimm == ANY


class Name(NamedTuple):
    """What firmware or the administrator calls a DIMM, and where that says it sits."""

    label: str | None = None
    location: str | None = None


UNNAMED = Name()


class Rates(NamedTuple):
    """Thresholds of corrected and uncorrected errors; rate.NEVER for one that is not set."""

    corrected: Rate
    uncorrected: Rate


class Counter:
    """Errors of one severity: a total for ever and the bucket of the current period."""

    __slots__ = ("bucket", "total")

    def __init__(self, bucket: Bucket, total: int = 0) -> None:
        self.bucket = bucket
        self.total = total

    def copy(self) -> Counter:
        bucket = self.bucket
        return Counter(Bucket(bucket.stamp, bucket.count, bucket.excess), self.total)


class MemoryErrors:
    """The two counters of one MemoryKey."""

    __slots__ = ("corrected", "key", "label", "label_location", "uncorrected")

    def __init__(self, key: MemoryKey, now: int) -> None:
        self.key = key
        self.corrected = Counter(Bucket(now))
        self.uncorrected = Counter(Bucket(now))
        self.label: str | None = None
        self.label_location: str | None = None

    def copy(self) -> MemoryErrors:
        """The counters as they are now."""
        copied = MemoryErrors(self.key, 0)
        copied.corrected, copied.uncorrected = self.corrected.copy(), self.uncorrected.copy()
        copied.label, copied.label_location = self.label, self.label_location
        return copied


class Crossing(NamedTuple):
    """A threshold that was crossed: whose counters, as they were then, which of them, and its rate."""

    errors: MemoryErrors
    counter: Counter
    rate: Rate
    is_corrected: bool
    time: int
    lost: int = 0
    """Corrected errors the hardware counted beyond the one it recorded, where those crossed."""


MOST_ROWS = 16384
"""DIMMs, channels and sockets that errors can make rows for; the largest machines have a tenth of that."""


class MemoryTable:
    """Every DIMM and socket that had an error or is known from SMBIOS.

    `track_dimms` and `track_sockets` switch counting on or off; None leaves it
    to the CPU: on where it has its own memory controller.
    """

    def __init__(
        self,
        dimm: Rates,
        socket: Rates,
        *,
        track_dimms: bool | None,
        track_sockets: bool | None,
        name: Callable[[MemoryKey], Name] = lambda _: UNNAMED,
    ) -> None:
        self.rates = {False: dimm, True: socket}
        self.track_dimms = track_dimms
        self.track_sockets = track_sockets
        self._name = name
        self._rows: dict[MemoryKey, MemoryErrors] = {}
        self._changed: dict[MemoryKey, MemoryErrors] = {}

    def __iter__(self) -> Iterator[MemoryErrors]:
        """In the order of socket, channel, DIMM; ANY comes first."""
        return (self._rows[key] for key in sorted(self._rows))

    def get(self, key: MemoryKey, now: int) -> MemoryErrors:
        """The row of `key`, made when it is new."""
        return self._rows.get(key) or self._add_row(MemoryErrors(key, now))

    def row(self, key: MemoryKey, now: int) -> MemoryErrors | None:
        """As get(), but None for one row too many: damaged records can name any place."""
        return self.get(key, now) if key in self._rows or len(self._rows) < MOST_ROWS else None

    def find(self, key: MemoryKey) -> MemoryErrors | None:
        """The row of `key`, if there is one."""
        return self._rows.get(key)

    def begin_anew(self, key: MemoryKey, now: int) -> MemoryErrors:
        """Count `key` from zero; the row there was is returned, with zeros if there was none."""
        old = self._rows.get(key) or MemoryErrors(key, now)
        self._changed[key] = self._add_row(MemoryErrors(key, now))
        return old

    def put(self, row: MemoryErrors, key: MemoryKey) -> None:
        """Go on with the counters of `row` for `key`: the DIMM sits there now."""
        row.key = key
        self._changed[key] = self._add_row(row)

    def account(self, event: Event, now: int) -> list[Crossing]:
        """Count an event for each DIMM it names; what crossed, in order.

        Nothing is counted for other kinds of events, for CPUs whose memory
        controller is elsewhere, and for records too short to name a socket.
        """
        record = event.record
        if event.kind is not Kind.MEMORY or record.socketid is None:
            return []
        own = event.cpu_type.integrated_mc
        track_dimms = own if self.track_dimms is None else self.track_dimms
        track_sockets = own if self.track_sockets is None else self.track_sockets
        crossed: list[Crossing] = []
        for location in event.finding.locations:
            key = memory_key(record.socketid, location)
            row = self.row(key, now) if track_dimms and not key.is_socket else None
            if row is not None:
                crossed += self._count(row, event, now)
            row = self.row(MemoryKey(record.socketid, ANY, ANY), now) if track_sockets else None
            if row is not None:
                crossed += self._count_lost(row, event, now)
                crossed += self._count(row, event, now)
        return crossed

    def total(self, event: Event) -> int | None:
        """Errors of the event's severity that its DIMM has had, or its socket where no DIMM is counted."""
        socketid = event.record.socketid
        if socketid is None or not event.finding.locations:
            return None
        keys = (memory_key(socketid, event.finding.locations[0]), MemoryKey(socketid, ANY, ANY))
        row = next((self._rows[key] for key in keys if key in self._rows), None)
        if row is None:
            return None
        return (row.corrected if event.severity.is_corrected else row.uncorrected).total

    def take_changed(self) -> list[MemoryErrors]:
        """The rows that changed since the last call."""
        changed = list(self._changed.values())
        self._changed.clear()
        return changed

    def restore(self, rows: Iterable[MemoryErrors]) -> None:
        """Take over rows that were saved."""
        for row in rows:
            self._add_row(row)

    def _add_row(self, row: MemoryErrors) -> MemoryErrors:
        row.label, row.label_location = self._name(row.key)
        self._rows[row.key] = row
        return row

    def _count(self, row: MemoryErrors, event: Event, now: int) -> list[Crossing]:
        is_corrected = event.severity.is_corrected
        counter = row.corrected if is_corrected else row.uncorrected
        return self._add(row, counter, 1, event, now, is_corrected=is_corrected)

    def _count_lost(self, row: MemoryErrors, event: Event, now: int) -> list[Crossing]:
        """Errors the hardware counted but did not record: where they were is not known, so only the
        socket gets them."""
        lost = (event.finding.corrected_count or 0) - 1
        if lost <= 0:
            return []
        crossed = self._add(row, row.corrected, lost, event, now, is_corrected=True)
        return [crossing._replace(lost=lost) for crossing in crossed]

    def _add(
        self,
        row: MemoryErrors,
        counter: Counter,
        errors: int,
        event: Event,
        now: int,
        *,
        is_corrected: bool,
    ) -> list[Crossing]:
        self._changed[row.key] = row
        counter.total += errors
        rates = self.rates[row.key.is_socket]
        rate = rates.corrected if is_corrected else rates.uncorrected
        if not counter.bucket.add(rate, errors, event.record.time, clock=now):
            return []
        then = row.copy()
        crossed = then.corrected if is_corrected else then.uncorrected
        return [Crossing(then, crossed, rate, is_corrected, event.record.time)]


def memory_key(socket: int, location: Location) -> MemoryKey:
    """Which DIMM a location names."""
    channel = ANY if location.channel is None else location.channel
    dimm = ANY if location.dimm is None else location.dimm
    return MemoryKey(socket, channel, dimm)
