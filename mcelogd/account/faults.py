# SPDX-License-Identifier: GPL-2.0-only
"""Which part of the memory is failing: fault modes, advice, and the row rule.

Start at FaultTable.account(). What each rule does, where it comes from and
what it cannot see: docs/prediction.md.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account import fault_state
from mcelogd.account.cells import LARGEST, ROW, cell_of, generation_of, key_of, known
from mcelogd.account.evidence import DimmFaults
from mcelogd.account.memory import ANY
from mcelogd.account.parts import key_of as key_named
from mcelogd.account.parts import name_of
from mcelogd.account.traces import HOUR, MINUTE
from mcelogd.account.verdicts import Advice, verdict_of
from mcelogd.event import Kind
from mcelogd.rate import Rate

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcelogd.account.cells import CellKey
    from mcelogd.account.memory import MemoryKey
    from mcelogd.account.verdicts import Verdict
    from mcelogd.event import Event

KIND = "faults"
"""Kind of `objects` in the store."""

ROW_RATE = Rate(3, 24 * HOUR, "h")
PAGES_OF_A_ROW = 16
"""Pages that the row rule takes of one row; more than that share a row on no common machine."""

MOST_DIMMS = 512

CHANNEL = 2
"""So many fields of a MemoryKey name the channel."""
CONTROLLER = 2
"""So many fields of a CellKey name the die and the memory controller."""


class RowCrossing(NamedTuple):
    """A DRAM row that fails. `pages` are the addresses of its pages that had errors, oldest first;
    `new_pages` those of them that no crossing named before.
    """

    key: MemoryKey
    rank: int | None
    bank_group: int | None
    bank: int
    row: int
    pages: list[int]
    new_pages: list[int]


class Findings(NamedTuple):
    """What follows from an event."""

    verdicts: tuple[Verdict, ...] = ()
    rows: tuple[RowCrossing, ...] = ()


NOTHING = Findings()


class FaultTable:
    """The evidence about every DIMM that had errors lately; the least recently hit makes room.

    `row_rate` is how many corrected errors of a row, in two columns or more,
    make its pages worth taking off line; `pages_of_a_row` how many of them.
    """

    def __init__(
        self, row_rate: Rate = ROW_RATE, pages_of_a_row: int = PAGES_OF_A_ROW, limit: int = MOST_DIMMS
    ) -> None:
        self.row_rate = row_rate
        self.pages_of_a_row = pages_of_a_row
        self.limit = max(1, limit)
        self._dimms: OrderedDict[MemoryKey, DimmFaults] = OrderedDict()
        self._channels: dict[tuple[int, ...], dict[MemoryKey, DimmFaults]] = {}
        self._changed: set[MemoryKey] = set()

    def __len__(self) -> int:
        return len(self._dimms)

    def account(self, event: Event, page: int | None, now: int) -> Findings:
        """Count a memory error for each DIMM it names; opinions that changed, and rows that fail.

        `page` is the address of its page, None where that is not exactly known.
        """
        socket = known(event.record.socketid)
        if event.kind is not Kind.MEMORY or socket is None:
            return NOTHING
        suspects: dict[MemoryKey, DimmFaults] = {}
        rows: list[RowCrossing] = []
        for number, location in enumerate(event.finding.locations):
            key = key_of(socket, location)
            dimm = None if key.is_socket else self._advance(key, event, now)
            if dimm is None:
                continue
            suspects[key] = dimm
            if not event.severity.is_corrected:
                dimm.hit_uncorrected()
                continue
            cell = cell_of(location, known(page), dimm.generation)
            if dimm.hit(cell, known(location.device), known(page), is_shared=number > 0):
                suspects.update(self._blame_channel(dimm, cell))
            rows += self._hit_row(dimm, cell, known(page))
        verdicts = [verdict_of(dimm, dimm.newest) for dimm in suspects.values() if dimm.judge(dimm.newest)]
        return Findings(tuple(verdicts), tuple(rows)) if verdicts or rows else NOTHING

    def expire(self, now: int) -> list[Verdict]:
        """Drop evidence that has aged out by `now`; the opinions that changed for that.

        To be called every hour or so, and after restore().
        """
        verdicts = []
        for key, dimm in list(self._dimms.items()):
            dimm.set_back(now)
            if dimm.forget_old(now):
                self._changed.add(key)
            if dimm.judge(now):
                self._changed.add(key)
                verdicts.append(verdict_of(dimm, now))
            if dimm.is_empty:
                self._drop(key)
        return verdicts

    def advice(self, key: MemoryKey) -> Advice:
        """What was last advised about a DIMM."""
        dimm = self._dimms.get(key)
        return Advice.NONE if dimm is None else dimm.opinion.advice

    def verdict(self, key: MemoryKey) -> Verdict | None:
        """What is thought of a DIMM; None where no error of it is remembered."""
        dimm = self._dimms.get(key)
        return None if dimm is None else verdict_of(dimm, dimm.newest)

    def acquit(self, key: MemoryKey) -> bool:
        """Someone says the DIMM is sound: forget all that was held against it. Whether there was anything."""
        return self._drop(key) is not None

    def forget(self, key: MemoryKey) -> DimmFaults | None:
        """The DIMM is gone: its evidence, for put() where it sits now.

        What could not be told apart from it, because errors of its channel
        name no DIMM, is dropped with it.
        """
        if key.dimm != ANY:
            self._drop(key._replace(dimm=ANY))
        return self._drop(key)

    def put(self, dimm: DimmFaults, key: MemoryKey) -> None:
        """The DIMM sits at `key` now; the addresses its rows had elsewhere are no longer theirs."""
        dimm.key = key
        for row in dimm.rows.values():
            row.pages.clear()
        self._drop(key)
        self._add(dimm)
        self._changed.add(key)

    def take_changed(self) -> dict[tuple[str, str], str | None]:
        """What the store is to keep of DIMMs that changed since the last call; None: nothing any more."""
        states = {}
        for key in sorted(self._changed):
            dimm = self._dimms.get(key)
            states[KIND, name_of(key)] = None if dimm is None else fault_state.dump(dimm)
        self._changed.clear()
        return states

    def restore(self, objects: Mapping[tuple[str, str], str]) -> None:
        """Take over what was saved; what is damaged is left out."""
        found = [self._load(name, text) for (kind, name), text in objects.items() if kind == KIND]
        for dimm in sorted(filter(None, found), key=lambda dimm: (dimm.newest, dimm.key)):
            self._add(dimm)

    def _load(self, name: str, text: str) -> DimmFaults | None:
        try:
            key = key_named(name)
        except ValueError:
            return None
        return fault_state.load(key, text, self.pages_of_a_row) if name_of(key) == name else None

    def _advance(self, key: MemoryKey, event: Event, now: int) -> DimmFaults | None:
        """The evidence about a DIMM, brought to the time of the event; None if that is too long ago."""
        dimm = self._dimms.get(key)
        if dimm is None:
            dimm = self._add(DimmFaults(key))
        else:
            self._dimms.move_to_end(key)
        latest = max(0, min(now, LARGEST))
        dimm.set_back(latest)
        if not dimm.advance(max(0, min(event.record.time, latest))):
            return None
        dimm.generation = generation_of(event.cpu_type)
        self._changed.add(key)
        return dimm

    def _hit_row(self, dimm: DimmFaults, cell: CellKey, page: int | None) -> list[RowCrossing]:
        row = dimm.rows.get(cell[:ROW])
        if row is None or cell.bank is None or cell.row is None:
            return []
        row.hit(cell.column, page, dimm.newest, self.row_rate, self.pages_of_a_row)
        if dimm.is_channel_fault(dimm.newest):
            return []
        new = row.take_new_pages(dimm.newest, self.row_rate)
        if not new:
            return []
        return [RowCrossing(dimm.key, cell.rank, cell.bank_group, cell.bank, cell.row, list(row.pages), new)]

    def _blame_channel(self, dimm: DimmFaults, cell: CellKey) -> dict[MemoryKey, DimmFaults]:
        """The DIMMs of a channel whose latest errors no one DIMM or rank explains."""
        time, controller = dimm.newest, cell[:CONTROLLER]
        if dimm.key.channel == ANY or time - dimm.channel_time < MINUTE:
            return {}
        others = self._channels[dimm.key[:CHANNEL]].values()
        active = [other for other in others if other.newest > time - HOUR]
        if sum(other.active_ranks(controller, time) for other in active) < 2:
            return {}
        spots = {other.key: other.fresh_spots(controller, time) for other in active}
        counts = [count for of_dimm in spots.values() for count in of_dimm]
        if not _is_scattered(counts, dimm.generation.spots):
            return {}
        blamed = {other.key: other for other in active if spots[other.key]}
        for other in blamed.values():
            other.blame_channel(len(counts), time)
        self._changed.update(blamed)
        return blamed

    def _add(self, dimm: DimmFaults) -> DimmFaults:
        if len(self._dimms) >= self.limit:
            self._drop(next(iter(self._dimms)))
        self._dimms[dimm.key] = dimm
        self._channels.setdefault(dimm.key[:CHANNEL], {})[dimm.key] = dimm
        return dimm

    def _drop(self, key: MemoryKey) -> DimmFaults | None:
        dimm = self._dimms.pop(key, None)
        if dimm is None:
            return None
        self._changed.add(key)
        of_channel = self._channels[key[:CHANNEL]]
        del of_channel[key]
        if not of_channel:
            del self._channels[key[:CHANNEL]]
        return dimm


def _is_scattered(counts: list[int], enough: int) -> bool:
    """Whether places, counted by rank, are many and no one rank's: none has three quarters of them."""
    return len(counts) > 1 and sum(counts) >= enough and 4 * max(counts) < 3 * sum(counts)
