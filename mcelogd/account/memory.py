# SPDX-License-Identifier: GPL-2.0-only
"""Memory errors per DIMM and per socket."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account.bucket import Bucket
from mcelogd.event import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

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


class MemoryErrors:
    """The two counters of one MemoryKey."""

    __slots__ = ("corrected", "key", "label", "label_location", "uncorrected")

    def __init__(self, key: MemoryKey, now: int) -> None:
        self.key = key
        self.corrected = Counter(Bucket(now))
        self.uncorrected = Counter(Bucket(now))
        self.label: str | None = None
        self.label_location: str | None = None


class Crossing(NamedTuple):
    """A threshold that was crossed: whose, which counter, and the rate it has."""

    errors: MemoryErrors
    counter: Counter
    rate: Rate
    is_corrected: bool
    time: int
    lost: int = 0
    """Corrected errors the hardware counted beyond the one it recorded, where those crossed."""


class MemoryTable:
    """Every DIMM and socket that had an error or is known from SMBIOS.

    `track_dimms` and `track_sockets` switch counting on or off; None leaves it
    to the CPU: on where it has its own memory controller.
    """

    def __init__(
        self, dimm: Rates, socket: Rates, *, track_dimms: bool | None, track_sockets: bool | None
    ) -> None:
        self.rates = {False: dimm, True: socket}
        self.track_dimms = track_dimms
        self.track_sockets = track_sockets
        self._rows: dict[MemoryKey, MemoryErrors] = {}
        self._changed: dict[MemoryKey, MemoryErrors] = {}

    def __iter__(self) -> Iterator[MemoryErrors]:
        """In the order of socket, channel, DIMM; ANY comes first."""
        return (self._rows[key] for key in sorted(self._rows))

    def get(self, key: MemoryKey, now: int) -> MemoryErrors:
        """The row of `key`, made when it is new."""
        row = self._rows.get(key)
        if row is None:
            row = self._rows[key] = MemoryErrors(key, now)
        return row

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
            key = _key(record.socketid, location)
            if track_dimms and not key.is_socket:
                crossed += self._count(self.get(key, now), event)
            if track_sockets:
                row = self.get(MemoryKey(record.socketid, ANY, ANY), now)
                crossed += self._count_lost(row, event)
                crossed += self._count(row, event)
        return crossed

    def total(self, event: Event) -> int | None:
        """Errors of the event's severity that its DIMM has had, or its socket where no DIMM is counted."""
        socketid = event.record.socketid
        if socketid is None or not event.finding.locations:
            return None
        keys = (_key(socketid, event.finding.locations[0]), MemoryKey(socketid, ANY, ANY))
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
            self._rows[row.key] = row

    def _count(self, row: MemoryErrors, event: Event) -> list[Crossing]:
        is_corrected = event.severity.is_corrected
        counter = row.corrected if is_corrected else row.uncorrected
        return self._add(row, counter, 1, event, is_corrected=is_corrected)

    def _count_lost(self, row: MemoryErrors, event: Event) -> list[Crossing]:
        """Errors the hardware counted but did not record: where they were is not known, so only the
        socket gets them."""
        lost = (event.finding.corrected_count or 0) - 1
        if lost <= 0:
            return []
        crossed = self._add(row, row.corrected, lost, event, is_corrected=True)
        return [crossing._replace(lost=lost) for crossing in crossed]

    def _add(
        self, row: MemoryErrors, counter: Counter, errors: int, event: Event, *, is_corrected: bool
    ) -> list[Crossing]:
        self._changed[row.key] = row
        counter.total += errors
        rates = self.rates[row.key.is_socket]
        rate = rates.corrected if is_corrected else rates.uncorrected
        if not counter.bucket.add(rate, errors, event.record.time):
            return []
        return [Crossing(row, counter, rate, is_corrected, event.record.time)]


def _key(socket: int, location: Location) -> MemoryKey:
    channel = ANY if location.channel is None else location.channel
    dimm = ANY if location.dimm is None else location.dimm
    return MemoryKey(socket, channel, dimm)
