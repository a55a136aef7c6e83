# SPDX-License-Identifier: GPL-2.0-only
"""Everything that is counted: an event in, what crossed a threshold out."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account import parts
from mcelogd.account.duplicates import Duplicates
from mcelogd.account.memory import ANY, MemoryErrors, memory_key
from mcelogd.report import page_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcelogd.account.cores import CoreCrossing, CoreTable
    from mcelogd.account.faults import FaultTable, RowCrossing
    from mcelogd.account.memory import Crossing, MemoryKey, MemoryTable
    from mcelogd.account.pages import PageCrossing, PageErrors, PageTable, ReplacementCrossing
    from mcelogd.account.parts import Changes, Part, Past
    from mcelogd.account.verdicts import Verdict
    from mcelogd.event import Event, Location

    AnyCrossing = Crossing | PageCrossing | ReplacementCrossing | CoreCrossing | RowCrossing | Verdict
    Objects = dict[tuple[str, str], str | None]


class Counted(NamedTuple):
    """What an event did to the counters: nothing, if it is a copy of one that was counted."""

    is_duplicate: bool
    crossings: tuple[AnyCrossing, ...]


class Changed(NamedTuple):
    """What the store has to take over."""

    memory: list[MemoryErrors]
    pages: list[PageErrors]
    dropped_pages: list[int]
    objects: Objects


class Books:
    """The tables of counters, and which DIMM sits where. A table that is None is not kept."""

    def __init__(
        self,
        memory: MemoryTable,
        *,
        pages: PageTable | None = None,
        cores: CoreTable | None = None,
        faults: FaultTable | None = None,
    ) -> None:
        self.memory = memory
        self.pages = pages
        self.cores = cores
        self.faults = faults
        self.sitting: dict[MemoryKey, Part] = {}
        self.history: list[Past] = []
        self._duplicates = Duplicates()
        self._notes: Objects = {}

    def account(self, event: Event, now: int) -> Counted:
        """Count an event wherever it belongs; what crossed, the DIMM before the page as v208 has it."""
        if self._duplicates.is_duplicate(event):
            return Counted(True, ())
        crossings: list[AnyCrossing] = [*self.memory.account(event, now)]
        if self.pages is not None:
            crossings += self.pages.account(event, now)
        if self.cores is not None:
            crossings += self.cores.account(event, now)
        if self.faults is not None:
            found = self.faults.account(event, page_of(event), now)
            crossings += [*found.verdicts, *found.rows]
        return Counted(False, tuple(crossings))

    def remember(self, event: Event) -> None:
        """An event that was counted by an earlier run: a copy of it that comes now is one."""
        self._duplicates.is_duplicate(event)

    def dimm_at(self, event: Event, location: Location, now: int) -> MemoryErrors | None:
        """The row of the DIMM at one of the event's locations."""
        socketid = event.record.socketid
        return None if socketid is None else self.memory.row(memory_key(socketid, location), now)

    def take_changed(self) -> Changed:
        """What changed since the last call."""
        objects, self._notes = self._notes, {}
        pages: tuple[list[PageErrors], list[int]] = ([], [])
        if self.pages is not None:
            pages = self.pages.take_changed()
            objects |= self.pages.replacements.take_changed()
        for table in (self.cores, self.faults):
            objects |= table.take_changed() if table is not None else {}
        return Changed(self.memory.take_changed(), *pages, objects)

    def note(self, objects: Objects) -> None:
        """Have other objects saved along with the counters."""
        self._notes |= objects

    def restore(
        self,
        memory: list[MemoryErrors],
        pages: list[PageErrors],
        objects: Mapping[tuple[str, str], str],
    ) -> None:
        """Take over what an earlier run saved."""
        self.memory.restore(memory)
        if self.pages is not None:
            self.pages.restore(pages)
            self.pages.replacements.restore(objects)
        for table in (self.cores, self.faults):
            if table is not None:
                table.restore(objects)
        self.sitting = parts.load_sitting(objects)
        self.history = parts.load_past(objects)

    def look_at_slots(self, present: Mapping[MemoryKey, Part], now: int) -> list[Past]:
        """Let the counters follow the DIMMs to where they sit now; those that were replaced.

        A key whose DIMM is ANY stands for the one DIMM of a channel.
        """
        gone = []
        for is_channel in (False, True):
            before = {key: part for key, part in self.sitting.items() if (key.dimm == ANY) is is_channel}
            after = {key: part for key, part in present.items() if (key.dimm == ANY) is is_channel}
            changes = parts.compare(before, after)
            gone += self._follow(changes, now)
            self.sitting |= dict.fromkeys(changes.emptied, parts.Part())
        self.sitting |= present
        self.note(parts.sitting(self.sitting))
        return gone

    def _follow(self, changes: Changes, now: int) -> list[Past]:
        gone = [self._retire(key, now, "it has another serial number") for key in changes.replaced]
        rows = {old: self.memory.begin_anew(old, now) for old in changes.moved.values()}
        evidence = {old: self.faults.forget(old) for old in rows} if self.faults is not None else {}
        for key, old in changes.moved.items():
            self.memory.put(rows[old], key)
            known = evidence.get(old)
            if self.faults is not None and known is not None:
                self.faults.put(known, key)
        return [entry for entry in gone if entry.key.dimm != ANY or entry.corrected or entry.uncorrected]

    def replace(self, key: MemoryKey, now: int, why: str) -> Past | None:
        """Someone says that the DIMM is another one now; None if it is not known at all."""
        if self.memory.find(key) is None:
            return None
        return self._retire(key, now, why)

    def acquit(self, key: MemoryKey) -> bool:
        """Someone says that the DIMM is sound: its thresholds begin anew, its totals stay."""
        row = self.memory.find(key)
        if row is None:
            return False
        for counter in (row.corrected, row.uncorrected):
            counter.bucket.count = counter.bucket.excess = 0
        self.memory.put(row, key)
        if self.faults is not None:
            self.faults.acquit(key)
        return True

    def reset(self, key: MemoryKey | None, now: int) -> bool:
        """Count a DIMM or socket from zero, or all of them and all cores; False if there is no such thing."""
        rows = [row.key for row in self.memory] if key is None else [key]
        if any(self.memory.find(one) is None for one in rows):
            return False
        for one in rows:
            self.memory.begin_anew(one, now)
        if self.cores is not None and key is None:
            for core in list(self.cores):
                self.cores.forget(core.key)
        return True

    def _retire(self, key: MemoryKey, now: int, why: str) -> Past:
        row = self.memory.begin_anew(key, now)
        if self.faults is not None:
            self.faults.forget(key)
        entry = parts.past(row, self.sitting.get(key, parts.Part()), now, why)
        self.history.insert(0, entry)
        self.note(parts.as_object(entry))
        return entry
