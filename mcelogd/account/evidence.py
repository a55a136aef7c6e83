# SPDX-License-Identifier: GPL-2.0-only
"""What the errors of the last days say about one DIMM."""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account.cells import DDR4, RANK, ROW, SIZES, FaultMode, pattern_of, spots_of
from mcelogd.account.traces import DAY, HOUR, STORMS, Cell, Row, Storms
from mcelogd.account.verdicts import PRECEDENCE, Advice

if TYPE_CHECKING:
    from mcelogd.account.cells import CellKey, Pattern, Place
    from mcelogd.account.memory import MemoryKey

WINDOW = 7 * DAY
"""Corrected errors, and what follows from them, hold that long."""
UNCORRECTED_WINDOW = 30 * DAY

MOST_CELLS = 128
"""Cells remembered of a DIMM; a whole row of most memory has 128 of them."""
MOST_RANKS = 32
ENOUGH_CELLS = 16
"""With more than that, one look a second is enough: a few more change little, and many take long."""


class Opinion(NamedTuple):
    """What is thought of a DIMM."""

    mode: FaultMode
    advice: Advice


NO_OPINION = Opinion(FaultMode.UNKNOWN, Advice.NONE)


class DimmFaults:
    """Evidence about one DIMM, and the opinion of it that was last told.

    Times are seconds since the epoch and never run backwards here. `newest`
    is that of the last error; `evicted` when a cell last had to make room for
    another; `uncorrected` counts errors, the last at `uncorrected_time`;
    `channel_time` is when errors were last all over the channel,
    `channel_places` in how many DIMMs or ranks of it; 0: never.
    """

    def __init__(self, key: MemoryKey) -> None:
        self.key = key
        self.generation = DDR4
        self.cells: OrderedDict[CellKey, Cell] = OrderedDict()
        self.rows: dict[Place, Row] = {}
        self.ranks: dict[Place, int] = {}
        self.storms = Storms()
        self.newest = 0
        self.evicted = 0
        self.uncorrected = 0
        self.uncorrected_time = 0
        self.channel_time = 0
        self.channel_places = 0
        self.opinion = NO_OPINION
        self._judged = 0
        self._channel_looked_at = 0
        self._is_stale = True

    @property
    def is_empty(self) -> bool:
        """Whether nothing here needs to be remembered."""
        return not self.cells and not self.uncorrected and self.opinion == NO_OPINION

    def advance(self, time: int) -> bool:
        """Go on to the time of an error; False for one that is older than the window.

        One that comes late otherwise is counted at the time of the newest.
        """
        if time <= self.newest - WINDOW:
            return False
        self.newest = max(time, self.newest)
        self.forget_old(self.newest)
        return True

    def set_back(self, now: int) -> None:
        """Nothing was later than now: if it seems so, the clock was set back."""
        if self.newest <= now:
            return
        for cell in self.cells.values():
            cell.first = min(cell.first, now)
            cell.last = min(cell.last, now)
        for row in self.rows.values():
            row.set_back(now)
        self.ranks = {rank: min(time, now) for rank, time in self.ranks.items()}
        self.storms.set_back(now)
        self.newest = now
        self.evicted = min(self.evicted, now)
        self.uncorrected_time = min(self.uncorrected_time, now)
        self.channel_time = min(self.channel_time, now)
        self._judged = min(self._judged, now)

    def hit(self, key: CellKey, device: int | None, page: int | None, *, is_shared: bool) -> bool:
        """Count a corrected error at `newest`; True if it is reason to look at the channel.

        That is so if the cell had none within the last hour.
        """
        time = self.newest
        cell = self.cells.get(key)
        is_fresh = cell is None or time - cell.last >= HOUR
        was_looked_at = time == self._channel_looked_at and len(self.cells) > ENOUGH_CELLS
        if cell is None:
            cell = self._add(key, is_shared=is_shared)
        else:
            self.cells.move_to_end(key)
        cell.last = time
        cell.count += 1
        cell.device = cell.device if device is None else device
        cell.page = cell.page if page is None else page
        self._note_rank(key[:RANK], time)
        begins = self.storms.hit(time, self.generation.storm)
        if begins or self.opinion.advice is Advice.NONE:
            self._is_stale = True
        if not is_fresh or was_looked_at:
            return False
        self._channel_looked_at = time
        return True

    def hit_uncorrected(self) -> None:
        """Count an uncorrected error at `newest`."""
        self.uncorrected += 1
        self.uncorrected_time = self.newest
        self._is_stale = True
        self._judged = 0

    def blame_channel(self, places: int, time: int) -> None:
        """Errors were found in several DIMMs or ranks of the channel at once."""
        self.channel_places = places
        self.channel_time = time
        self._is_stale = True
        self._judged = 0

    def active_ranks(self, controller: Place, time: int) -> int:
        """How many ranks of a memory controller had errors within the last hour."""
        return sum(
            time - last < HOUR and rank[: len(controller)] == controller for rank, last in self.ranks.items()
        )

    def fresh_spots(self, controller: Place, time: int) -> list[int]:
        """For each rank of a memory controller with errors within the last hour: in how many places."""
        fresh: dict[Place, list[CellKey]] = {}
        for key, cell in reversed(self.cells.items()):
            if time - cell.last >= HOUR:
                break
            if key[: len(controller)] == controller and not cell.is_shared:
                fresh.setdefault(key[:RANK], []).append(key)
        return [_count_spots(keys) for keys in fresh.values()]

    def put_cell(self, key: CellKey, cell: Cell) -> Row | None:
        """Take over a cell that is new here; its row, if it is placed."""
        self.cells[key] = cell
        self._note_rank(key[:RANK], cell.last)
        if not key.is_placed:
            return None
        row = self.rows.get(key[:ROW])
        if row is None:
            row = self.rows[key[:ROW]] = Row(cell.last)
        row.cells += 1
        return row

    def forget_old(self, time: int) -> bool:
        """Drop what has aged out by `time`; whether there was anything."""
        old = []
        for key, cell in self.cells.items():
            if time - cell.last < WINDOW:
                break
            old.append(key)
        for key in old:
            self._remove(key)
        is_over = self.uncorrected > 0 and time - self.uncorrected_time >= UNCORRECTED_WINDOW
        if is_over:
            self.uncorrected = 0
        self._is_stale |= bool(old) or is_over
        return bool(old) or is_over

    def judge(self, time: int) -> bool:
        """Form the opinion anew where there is reason to; True if it is another, and one worth telling.

        It is not lowered as long as evidence for it may only have been pushed
        out by newer errors. A lone error is not worth telling.
        """
        if not self._is_stale and time - self._judged < HOUR:
            return False
        if time == self._judged and len(self.cells) > ENOUGH_CELLS:
            return False
        self._is_stale = False
        self._judged = time
        before = self.opinion
        mode, advice = self._conclude(pattern_of(self.cells, self.generation), time)
        if self.evicted and time - self.evicted < WINDOW and before.mode is not FaultMode.CHANNEL:
            mode = max(mode, before.mode, key=SIZES.__getitem__)
            advice = max(advice, before.advice, key=PRECEDENCE.__getitem__)
        self.opinion = Opinion(mode, advice)
        return self.opinion != before and {advice, before.advice} != {Advice.NONE}

    def is_channel_fault(self, time: int) -> bool:
        """Whether errors were all over the channel lately."""
        return bool(self.channel_time) and time - self.channel_time < WINDOW

    def _conclude(self, pattern: Pattern, time: int) -> Opinion:
        mode = pattern.mode
        if self.is_channel_fault(time):
            return Opinion(FaultMode.CHANNEL, Advice.CHANNEL)
        if (
            mode in (FaultMode.BANK, FaultMode.DEVICE)
            or pattern.rows > 1
            or self.uncorrected
            or self.storms.count(time) >= STORMS
        ):
            return Opinion(mode, Advice.REPLACE)
        repeated = len(self.cells) > 1 or any(cell.count > 1 for cell in self.cells.values())
        return Opinion(mode, Advice.WATCH if repeated else Advice.NONE)

    def _add(self, key: CellKey, *, is_shared: bool) -> Cell:
        if len(self.cells) >= MOST_CELLS:
            self._remove(next(iter(self.cells)))
            self.evicted = self.newest
        cell = Cell(self.newest, is_shared=is_shared)
        row = self.put_cell(key, cell)
        # One more cell of a row that fails anyway changes nothing, nor does one of a device that does.
        if row and row.cells <= 2 and self.opinion.mode not in (FaultMode.DEVICE, FaultMode.CHANNEL):
            self._is_stale = True
        return cell

    def _remove(self, key: CellKey) -> None:
        del self.cells[key]
        row = self.rows.get(key[:ROW])
        if row is not None and key.is_placed:
            row.cells -= 1
            if not row.cells:
                del self.rows[key[:ROW]]

    def _note_rank(self, rank: Place, time: int) -> None:
        if rank not in self.ranks and len(self.ranks) >= MOST_RANKS:
            del self.ranks[next(iter(self.ranks))]
        self.ranks[rank] = time


def _count_spots(keys: list[CellKey]) -> int:
    """In how many separate places the errors of a rank were; a page is one where no more is known."""
    placed = [key for key in keys if key.is_placed]
    return len(spots_of(placed)) + len(keys) - len(placed)
