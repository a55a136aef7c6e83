# SPDX-License-Identifier: GPL-2.0-only
"""Reading: from the source into the spool at once, from the spool into the pipeline bit by bit.

Reading comes first: between two chunks of records that are decoded, and within
one as soon as the source cannot wait, it is read again, so that a burst fills
the spool and not the kernel's small log. Where one spool is full the next is filled,
and more of them, while the first is decoded.
"""

from __future__ import annotations

import contextlib
import logging
import math
import os
import time
from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from mcelogd import message_ids
from mcelogd.record import layout
from mcelogd.spool import Position, Spool, SpoolError, count_files, leftovers, mark_told, remove_before

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable
    from pathlib import Path

    from mcelogd.pipeline import Pipeline
    from mcelogd.sources import Source
    from mcelogd.store.rows import Batch
    from mcelogd.store.rows import Position as StorePosition

log = logging.getLogger(__name__)

CHUNK = 32
"""Records decoded between two looks at a source that can wait."""

MOST_FILES = 64
"""Spool files that may wait for a store that does not answer; half a million records."""

MOST_WAITING = 32
"""Spools that may hold records to be handled, a quarter of a million; one, where the source can wait."""

READS = 64
"""Within a chunk: a ring of 256 KiB, page by page."""

READ_SECONDS = 0.5
"""How long reading goes on before clients and the watchdog have their turn, where more comes all the time."""

STOP_SECONDS = 5.0
"""How long records are handled when mcelog is stopped; the next start has what is in a file then."""

FIRST_RETRY, LAST_RETRY = 1.0, 60.0
"""Seconds between attempts to read a source that failed."""


class Spools:
    """The spools that hold records to be handled, oldest first; the last is being filled.

    `committed` says which records are in the store: files with no others are removed.
    """

    def __init__(
        self,
        directory: Path | None,
        source: Source,
        first_generation: int,
        committed: Callable[[], StorePosition],
    ) -> None:
        self._directory = directory
        self._source = source
        self._committed = committed
        self._most = MOST_WAITING if source.unread_seconds < math.inf else 1
        self._open = deque([self._make(first_generation)])

    @property
    def filling(self) -> Spool:
        return self._open[-1]

    @property
    def pending(self) -> int:
        """Records that were read and not yet taken."""
        return sum(spool.pending for spool in self._open)

    @property
    def outlive_us(self) -> bool:
        """Whether all that is pending would be found by the next start."""
        return all(spool.path is not None for spool in self._open if spool.pending)

    def make_room(self) -> bool:
        """Begin a new spool if the last has no room for another read; False if too many wait already."""
        if self.filling.room < self._source.read_size:
            if sum(spool.pending > 0 for spool in self._open) >= self._most:
                return False
            self._open.append(self._make(self.filling.generation + 1))
            self.forget()
        return True

    def to_handle(self) -> Spool:
        """The spool with the oldest records; those that were emptied are closed."""
        while len(self._open) > 1 and not self._open[0].pending:
            self._open.popleft().close()
        return self._open[0]

    def forget(self) -> None:
        """Remove the files whose records are all in the store."""
        if self._directory is not None:
            remove_before(self._directory, self._committed()[0])

    def _make(self, generation: int) -> Spool:
        source = self._source
        try:
            if self._directory is not None and count_files(self._directory) < MOST_FILES:
                return Spool.create(
                    self._directory,
                    generation,
                    source.record_length,
                    source.read_size,
                    source.origin,
                    source.offset,
                    source.landing,
                )
        except SpoolError as error:
            log.error("%s; what is being read is lost if mcelog is killed", error.strerror)
        return Spool.in_memory(generation, source.record_length, source.read_size, source.landing)


class Recovered(NamedTuple):
    """Where to go on after what an earlier run left: the spool's next generation, and the place in a
    source that can be read twice (empty where nothing was left of one)."""

    generation: int
    origin: str = ""
    offset: int = 0


def recover(
    directory: Path,
    stored: StorePosition,
    pipeline: Pipeline,
    put: Callable[[Batch], None],
    taken_apart: Callable[[bytes], bytes] = bytes,
    progress: Callable[[], None] = lambda: None,
) -> Recovered:
    """Take in what an earlier run read and did not get into the store.

    `taken_apart` gives the records of what landed in a spool; `progress` is called before each of the spools.
    """
    found = Recovered(stored[0] + 1)
    for leftover in leftovers(directory, Position(*stored)):
        progress()
        form = layout(leftover.record_length)
        length = form.length
        records = leftover.data + (taken_apart(leftover.landed) if leftover.landed else b"")
        count = len(records) // length
        for index in range(leftover.first, count):
            data = records[index * length : (index + 1) * length]
            pipeline.take(form, data, told=index < leftover.told)
            if index >= leftover.told:
                mark_told(directory, leftover.generation, index + 1)
        if count > leftover.first:
            log.warning("%d records were read but not stored before; stored now", count - leftover.first)
        found = Recovered(leftover.generation + 1, leftover.origin, leftover.offset + count * length)
        put(pipeline.take_batch((leftover.generation, count), _place(found.origin, found.offset)))
    return found


class Intake:
    """Moves records from the source through the spool into the pipeline.

    `put` takes a batch, and what is to be done again and again should that take
    a while. `done` is called when `at_most` records were handled, or when a
    source that ends (a file) is at its end; `changed` when `state` may be another.
    """

    def __init__(
        self,
        source: Source,
        spools: Spools,
        pipeline: Pipeline,
        put: Callable[[Batch, Callable[[], None]], None],
        *,
        lost: Callable[[int], None],
        done: Callable[[], None],
        changed: Callable[[], None],
        at_most: int = 0,
    ) -> None:
        self._source = source
        self._spools = spools
        self._pipeline = pipeline
        self._put = put
        self._lost = lost
        self._done = done
        self._changed = changed
        self._left = at_most
        self._ended = False
        self._layout = layout(source.record_length)
        self._folded = source.offset
        self._read_at = 0.0
        self._retry = FIRST_RETRY
        self._failing = False
        self._unsaid = 0
        self._scheduled: asyncio.Handle | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._when_empty: list[Callable[[], None]] = []
        if self._layout.ignored:
            log.warning(
                "records are %d bytes longer than this mcelog knows; those are ignored: consider an update",
                self._layout.ignored,
            )

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Wait for records; what is already there is read soon."""
        self._loop = loop
        self._resume()

    def stop(self) -> None:
        """Read no more; handle what was read, or leave it to the next start where that takes long."""
        if self._loop is not None:
            self._unwatch()
            if self._scheduled is not None:
                self._scheduled.cancel()
            self._loop = None
        until = time.monotonic() + STOP_SECONDS
        while self._spools.pending and not self._ended:
            if time.monotonic() > until and self._spools.outlive_us:
                log.warning("%d records are left for the next start", self._spools.pending)
                break
            self._fold()

    def when_empty(self, call: Callable[[], None]) -> None:
        """Call it once, as soon as the source was read empty and all that was read is handled: never, if the
        source fails."""
        self._when_empty.append(call)
        self._schedule()

    @property
    def state(self) -> str:
        """reading; failing, while the source is left alone for a while; ended, at a file's end."""
        if self._failing:
            return "failing"
        at_end = self._source.fileno() is None and not self._spools.pending
        return "ended" if self._ended or at_end else "reading"

    def _resume(self) -> None:
        if self._loop is None:
            return
        fd = self._source.fileno()
        if fd is not None:
            self._loop.add_reader(fd, self._schedule)
        self._schedule()

    def _unwatch(self) -> None:
        fd = self._source.fileno()
        if fd is not None and self._loop is not None:
            self._loop.remove_reader(fd)

    def _schedule(self) -> None:
        if self._loop is not None and self._scheduled is None:
            self._scheduled = self._loop.call_soon(self._work)

    def _work(self) -> None:
        try:
            self._read_and_fold()
        except MemoryError:
            # A record may be half counted, or read and not noted. The spool has it whole, for the next
            # start; no more may be done here, since that would be committed on top.
            log.critical("out of memory: mcelog ends; its next start goes on with what was read")
            os._exit(1)

    def _read_and_fold(self) -> None:
        self._scheduled = None
        try:
            more = self._read()
        except OSError as error:
            self._source_failed(error)
            more = False
        self._tell_lost()
        self._fold()
        if self._ended:
            return
        if more or self._spools.pending:
            self._schedule()
            return
        if not self._failing:
            waiting, self._when_empty = self._when_empty, []
            for call in waiting:
                call()
        if self._source.fileno() is None:
            self._done()

    def _read(self) -> bool:
        """Read until nothing is there; True when that had to stop before."""
        until = time.monotonic() + READ_SECONDS
        while self._spools.make_room() and time.monotonic() < until:
            count = self._source.read_into(self._spools.filling)
            self._unsaid += self._source.lost()
            damaged = self._source.take_damaged()
            if damaged:
                log.error("%s: %d bytes at the end are no whole record", self._source.name, damaged)
            if self._failing:
                self._source_restored()
            if count == 0:
                self._read_at = time.monotonic()
                return False
        return True

    def _read_meanwhile(self) -> None:
        """What came since: the kernel may have no room for more until all of the rest is handled."""
        self._read_at = time.monotonic()
        if self._loop is None or self._failing:
            return
        with contextlib.suppress(OSError):  # the next turn meets it again, and says so
            for _ in range(READS):
                if not self._spools.make_room() or not self._source.read_into(self._spools.filling):
                    break

    def _tell_lost(self) -> None:
        """Once for all that was read in one go: a ring that overflows says so with each of its pages."""
        lost, self._unsaid = self._unsaid, 0
        if lost:
            self._pipeline.lose(lost)
            self._lost(lost)

    def _fold(self) -> None:
        spool = self._spools.to_handle()
        handled = 0
        for number, data in enumerate(spool.take(CHUNK)):
            self._pipeline.take(self._layout, data, number)
            spool.mark_told()
            handled += 1
            if time.monotonic() > self._read_at + self._source.unread_seconds:
                self._read_meanwhile()
            if self._left:
                self._left -= 1
                if not self._left:
                    self._ended = True
                    self._done()
                    break
        if handled:
            self._folded += handled * self._layout.length
            place = _place(self._source.origin, self._folded)
            self._put(self._pipeline.take_batch(spool.position, place), self._read_meanwhile)

    def _source_failed(self, error: OSError) -> None:
        """Leave the source alone for a while: it may be a passing fault, and must not become a busy loop."""
        extra = {
            "MESSAGE_ID": message_ids.SOURCE_LOST,
            "MCE_SOURCE": self._source.name,
            "MCE_ERROR": str(error.strerror),
        }
        message = "cannot read %s: %s; trying again in %.0f s"
        log.error(message, self._source.name, error.strerror, self._retry, extra=extra)
        self._failing = True
        self._changed()
        self._unwatch()
        if self._loop is not None:
            self._loop.call_later(self._retry, self._resume)
        self._retry = min(2 * self._retry, LAST_RETRY)

    def _source_restored(self) -> None:
        self._failing = False
        self._changed()
        self._retry = FIRST_RETRY
        name = self._source.name
        extra = {"MESSAGE_ID": message_ids.SOURCE_RESTORED, "MCE_SOURCE": name}
        log.warning("%s can be read again", name, extra=extra)


def _place(origin: str, offset: int) -> dict[str, str]:
    """Where to go on in a source that can be read twice."""
    return {"file": f"{offset} {origin}"} if origin else {}
