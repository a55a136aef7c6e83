# SPDX-License-Identifier: GPL-2.0-only
"""What the store is to hold, and what of that it does not have yet.

Counters are kept here as the rows they are in the store, so that all of them
can be written into another file when the one there was is lost. There are few:
DIMMs, and as many pages as are counted.
"""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from mcelogd.store.database import Saved
from mcelogd.store.rows import (
    LAST_EVENT_ID,
    Batch,
    memory_errors,
    memory_row,
    merged_memory,
    merged_page,
    page_errors,
    page_row,
)

if TYPE_CHECKING:
    from mcelogd.store.rows import MemoryRow, ObjectKey, PageRow, Position, StoredEvent

BACKLOG = 100_000
"""Events that may wait for a disk that does not answer, before their records are not kept."""


class Backlog:
    """Rows, and the keys of those that are to be committed. A key without a row is to be deleted.

    `position` is where the spool will be when all is committed.
    """

    def __init__(self, saved: Saved, *, keeps_position: bool = True) -> None:
        """Begin with what the store has. Without `keeps_position`, what is put is from no spool that
        a later run could go on in."""
        self.events: deque[StoredEvent] = deque()
        self.not_kept = 0
        """Events that were given up."""
        self.position: Position = saved.position
        self._keeps_position = keeps_position
        self._memory: dict[tuple[int, int, int], MemoryRow] = {}
        self._pages: dict[int, PageRow] = {}
        self._objects: dict[ObjectKey, str] = {}
        self._state: dict[str, str] = {}
        self._take_over(saved)
        self._clean()

    def has_work(self) -> bool:
        return bool(
            self.events
            or self._changed_memory
            or self._changed_pages
            or self._changed_objects
            or self._changed_state
            or self._moved
        )

    def put(self, batch: Batch) -> None:
        """Take in what changed."""
        self.events.extend(batch.events)
        self._bound()
        if batch.events:
            self._state[LAST_EVENT_ID] = str(batch.events[-1].id)
        for memory in batch.memory:
            self._memory[memory[:3]] = memory
        for frame in batch.dropped_frames:
            self._pages.pop(frame, None)
        self._pages.update((page.frame, page) for page in batch.pages)
        for key, state in batch.objects.items():
            if state is None:
                self._objects.pop(key, None)
            else:
                self._objects[key] = state
        self._state.update(batch.state)
        self._mark(batch)

    def take(self) -> Batch:
        """All that is to be committed."""
        batch = Batch(
            events=list(self.events),
            memory=[self._memory[key] for key in self._changed_memory],
            pages=[self._pages[frame] for frame in self._changed_pages if frame in self._pages],
            dropped_frames=[frame for frame in self._changed_pages if frame not in self._pages],
            state={name: self._state[name] for name in self._changed_state},
            position=self.position if self._moved else None,
            objects={key: self._objects.get(key) for key in self._changed_objects},
        )
        self.events.clear()
        self._clean()
        return batch

    def put_back(self, batch: Batch) -> None:
        """A batch that could not be committed; what is newer by now stays as it is."""
        self.events.extendleft(reversed(batch.events))
        self._bound()
        self._mark(batch)

    def take_all(self) -> None:
        """Everything is to be committed, into a file that has nothing of it."""
        self._changed_memory.update(self._memory)
        self._changed_pages.update(self._pages)
        self._changed_objects.update(self._objects)
        self._changed_state.update(self._state)
        self._moved = True

    def merge(self, saved: Saved, state: dict[str, str]) -> Saved:
        """Add what another run left to what is here; what both add up to.

        How the entries of `state` add up is not known here: what is given replaces both.
        """
        earlier = Backlog(saved)
        for key, memory in earlier._memory.items():
            ours = self._memory.get(key)
            self._memory[key] = merged_memory(ours, memory) if ours else memory
        behind = len(saved.pages)
        pages = {frame: page._replace(used=page.used + behind) for frame, page in self._pages.items()}
        for frame, page in earlier._pages.items():
            pages[frame] = merged_page(pages[frame], page) if frame in pages else page
        self._pages = pages
        self._objects = {**earlier._objects, **self._objects}
        self._state = {**earlier._state, **self._state, **state}
        self._renumber(saved.last_event_id)
        self.position = saved.position
        self.take_all()
        return self._saved()

    def _renumber(self, last: int) -> None:
        """Let ids go on after `last`. They do, unless the clock was behind when this run began."""
        behind = last + 1 - self.events[0].id if self.events else 0
        if behind > 0:
            self.events = deque(event._replace(id=event.id + behind) for event in self.events)
        self._state[LAST_EVENT_ID] = str(max(last, self.events[-1].id if self.events else 0))

    def _saved(self) -> Saved:
        pages = sorted(self._pages.values(), key=lambda row: row.used)
        return Saved(
            memory=[memory_errors(row) for row in self._memory.values()],
            pages=[page_errors(row) for row in pages],
            state={name: value for name, value in self._state.items() if name != LAST_EVENT_ID},
            position=self.position,
            last_event_id=int(self._state[LAST_EVENT_ID]),
            objects=dict(self._objects),
        )

    def _take_over(self, saved: Saved) -> None:
        self._memory.update((row[:3], row) for row in map(memory_row, saved.memory))
        # Which of them was used last is all that counts; their own numbers are lower than any to come.
        self._pages.update(
            (page.address >> 12, page_row(page, used)) for used, page in enumerate(saved.pages)
        )
        self._objects.update(saved.objects)
        self._state.update(saved.state)
        self._state[LAST_EVENT_ID] = str(saved.last_event_id)

    def _mark(self, batch: Batch) -> None:
        self._changed_memory.update(row[:3] for row in batch.memory)
        self._changed_pages.update(page.frame for page in batch.pages)
        self._changed_pages.update(batch.dropped_frames)
        self._changed_objects.update(batch.objects)
        self._changed_state.update(batch.state)
        if batch.position is not None and self._keeps_position:
            self.position = max(self.position, batch.position)
            self._moved = True

    def _clean(self) -> None:
        """Nothing of the counters is to be committed."""
        self._changed_memory: set[tuple[int, int, int]] = set()
        self._changed_pages: set[int] = set()
        self._changed_objects: set[ObjectKey] = set()
        self._changed_state: set[str] = set()
        self._moved = False

    def _bound(self) -> None:
        while len(self.events) > BACKLOG:
            self.events.popleft()
            self.not_kept += 1
