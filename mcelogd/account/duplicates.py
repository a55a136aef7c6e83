# SPDX-License-Identifier: GPL-2.0-only
"""One physical error is counted once, however often it is reported.

Firmware that looks at errors first may report a corrected memory error by
ACPI (APEI) beside the record of the bank that saw it; the kernel makes a
record of bank 255 of it, older ones of bank 1 of CPU 0. And an uncorrected
error is signalled to all CPUs: more than one can read it from a bank they
share before the first has cleared it.

The other way round is worse: an error that is not counted may be the one that
mattered. So only what is known to happen is left out:

* Corrected memory errors, one with a bank's record and one from APEI, of the
  same page, at most WINDOW seconds apart, in either order. One error of a bank
  has as many copies as the bank says errors it counted. Two records of banks
  are two errors; so are two of APEI.
* Uncorrected memory errors with the same registers in all that the error
  determines, of the same socket and bank, at most one second apart, from
  different CPUs. The same CPU twice is two errors.

Which record is left out depends on the records and their order alone, so that
the same records read again after a crash are counted the same.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mcelogd.decode import physical_address
from mcelogd.decode.bits import APEI_BANK, FIRST_SOFTWARE_BANK, MCI_STATUS_ADDRV
from mcelogd.event import Kind

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.event import Event

K = TypeVar("K")
V = TypeVar("V")

WINDOW = 5
"""Seconds between a bank's record and the copy that firmware makes of it."""

BROADCAST_WINDOW = 1
"""Seconds between the records of one uncorrected error: it stops all CPUs at once, and a second may turn."""

MOST_REMEMBERED = 4096
"""Pages and uncorrected errors whose last records are remembered, each."""

MOST_TIMES = 2 * WINDOW + 2
"""Different times that are remembered of one page."""

MOST_CPUS = 8192
"""CPUs that one error can be signalled to: the most Linux can be built for on x86."""

PAGE_SHIFT = 12


class Waiting:
    """Errors of one page, from one kind of reporter, that had no counterpart yet: how many at what time."""

    __slots__ = ("_times",)

    def __init__(self) -> None:
        self._times: dict[int, int] = {}

    def add(self, errors: int, time: int) -> None:
        """`errors` more at `time`."""
        self._times[time] = self._times.get(time, 0) + errors
        if len(self._times) > MOST_TIMES:
            del self._times[next(iter(self._times))]

    def take(self, errors: int, time: int) -> bool:
        """Take out `errors` of around `time`, the first to come first; False if there are fewer."""
        near = [other for other in self._times if abs(time - other) <= WINDOW]
        if sum(self._times[other] for other in near) < errors:
            return False
        for other in near:
            taken = min(errors, self._times[other])
            errors -= taken
            self._times[other] -= taken
            if not self._times[other]:
                del self._times[other]
        return True


class Broadcast(NamedTuple):
    """When an uncorrected error was first reported, and by which CPUs."""

    time: int
    cpus: set[int]


class Duplicates:
    """Remembers the last records, to tell copies of an error from further errors."""

    def __init__(self) -> None:
        self._waiting: OrderedDict[tuple[int, bool], Waiting] = OrderedDict()
        self._broadcasts: OrderedDict[tuple[int | None, ...], Broadcast] = OrderedDict()

    def is_duplicate(self, event: Event) -> bool:
        """Whether the event is one that was counted already. To be asked once of each event, in order."""
        if event.kind is not Kind.MEMORY:
            return False
        if not event.severity.is_corrected:
            return self._is_broadcast_again(event)
        address = physical_address(event.record, event.cpu_type)
        return address is not None and self._has_counterpart(event, address >> PAGE_SHIFT)

    def _has_counterpart(self, event: Event, frame: int) -> bool:
        is_copy = is_firmware_copy(event)
        if not is_copy and event.record.bank >= FIRST_SOFTWARE_BANK:
            return False
        time = event.record.time
        errors = 1 if is_copy else max(1, event.finding.corrected_count or 0)
        others = self._waiting.get((frame, not is_copy))
        if others is not None and others.take(errors, time):
            return True
        _remembered(self._waiting, (frame, is_copy), Waiting).add(errors, time)
        return False

    def _is_broadcast_again(self, event: Event) -> bool:
        record = event.record
        if record.socketid is None or not record.status & MCI_STATUS_ADDRV:
            return False
        registers = (record.status, record.addr, record.misc, record.synd, record.ipid)
        key = (*registers, record.bank, record.socketid, record.cpuid, record.mcgcap)
        known = _remembered(self._broadcasts, key, lambda: Broadcast(record.time, set()))
        is_near = abs(record.time - known.time) <= BROADCAST_WINDOW
        if is_near and known.cpus and record.cpu not in known.cpus and len(known.cpus) < MOST_CPUS:
            known.cpus.add(record.cpu)
            return True
        self._broadcasts[key] = Broadcast(record.time, {record.cpu})
        return False


def is_firmware_copy(event: Event) -> bool:
    """Whether firmware reported a corrected memory error by APEI, not a machine-check bank."""
    return event.record.bank == APEI_BANK or is_sandy_bridge_copy(event)


def is_sandy_bridge_copy(event: Event) -> bool:
    """Whether a corrected memory error of a Sandy Bridge EP is such a copy.

    Its memory controllers' banks are 5 and up; bank 1 of CPU 0 is what old
    kernels make of APEI's records.
    """
    record = event.record
    return event.cpu_type.name == "sandybridge-ep" and record.bank == 1 and record.cpu == 0


def _remembered(table: OrderedDict[K, V], key: K, make: Callable[[], V]) -> V:
    """The entry of `key`, made if there is none; the one not asked for longest makes room."""
    if key in table:
        table.move_to_end(key)
    else:
        if len(table) >= MOST_REMEMBERED:
            table.popitem(last=False)
        table[key] = make()
    return table[key]
