# SPDX-License-Identifier: GPL-2.0-only
"""Machine checks from before the daemon ran, and whether those since then arrive.

At the start, once records are being read, a thread looks at what the kernel
has logged and what is left of earlier kernels (mcelogd/earlier). It waits
until the source was read empty and the store has all of that: what is in
the store then is known, and the rest goes the way of every record. When all is
done the thread ends; every hour another one looks whether the kernel told of
more machine checks than came.
"""

from __future__ import annotations

import contextlib
import logging
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mcelogd import message_ids
from mcelogd.earlier.found import Origin
from mcelogd.record import LENGTH, layout
from mcelogd.sources.stream import StreamSource
from mcelogd.spool import Position, Spool, leftovers, remove_before
from mcelogd.store import DATABASE
from mcelogd.store.database import StoreError
from mcelogd.store.reader import EventQuery, StoreReader
from mcelogd.store.rows import LARGEST

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

    from mcelogd.earlier.found import Found
    from mcelogd.earlier.gather import Gathered
    from mcelogd.pipeline import Pipeline
    from mcelogd.settings import Settings
    from mcelogd.sources import Source
    from mcelogd.store.rows import Batch, StoredEvent

log = logging.getLogger(__name__)

SEEN, KERNEL_LOG, BOOT_RECORDS = "earlier_seen", "earlier_boot", "boot_records"
"""Names in the store's state: the files of pstore that were read; the boot whose kernel log was taken;
a boot, and how many records had been read when it began."""

CHUNK = 32
"""Records taken between two looks at the source, which come first."""

WAIT_SECONDS = 60.0
"""How long the source may take to be empty, and the store to be written; else the next start looks again."""

KNOWN_AT_ONCE = 2000
MOST_KNOWN = 200_000
"""Records of the store that are compared with, the newest."""

NOWHERE = Path()
"""In the place of a journal: none is read."""

TOLD = "earlier"
"""The directory of the spool that remembers what was told."""

GENERATION = 1
"""Of that spool, the only one."""


class Places(NamedTuple):
    """Where to look; `journal` is None for this machine's, NOWHERE for none."""

    pstore: Sequence[Path]
    journal: Path | None = None


class Flushed(Protocol):
    """The store's writer."""

    def flush(self, timeout: float) -> bool: ...


def places(settings: Settings, source: Source) -> Places | None:
    """Where machine checks of the source's machine can be found; None for nowhere.

    A FIFO or file of records may be of another machine: then only places that the settings name.
    """
    pstore, journal = settings.earlier_pstore, settings.earlier_journal
    is_here = not isinstance(source, StreamSource)
    if not settings.earlier_records or not (is_here or pstore or journal):
        return None
    from mcelogd.earlier.pstore import ROOTS

    roots = [Path(pstore)] if pstore else ROOTS if is_here else []
    return Places(roots, Path(journal) if journal else None if is_here else NOWHERE)


class CatchUp:
    """Looks, and takes what is found.

    `when_empty` calls back once the source was read empty. What is not done
    here is done in the event loop's thread.
    """

    def __init__(
        self,
        where: Places,
        directory: Path,
        boot: str,
        state: Mapping[str, str],
        pipeline: Pipeline,
        put: Callable[[Batch], None],
        writer: Flushed,
        when_empty: Callable[[Callable[[], None]], None],
    ) -> None:
        """`directory` has the store and `state` what it held at the start; `boot` is this boot's id."""
        self._where = where
        self._directory = directory
        self._boot = boot if where.journal != NOWHERE else ""
        self._seen = state.get(SEEN, "").split()
        self._is_taken = bool(boot) and state.get(KERNEL_LOG) == boot
        self._pipeline = pipeline
        self._put = put
        self._writer = writer
        self._when_empty = when_empty
        self._records = _records_at_boot(state, boot, pipeline.totals.records_read)
        self._kernel_told = 0
        self._warned_at = 0
        self._looked_at = 0
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin; returns at once."""
        self._loop = loop
        self._put(self._pipeline.take_batch(None, self._at_boot()))
        self._in_thread(self._catch_up)

    def look(self) -> None:
        """Look whether what the kernel told of since the last time has come; returns at once."""
        if self._boot and self._loop is not None:
            self._in_thread(self._look)

    @property
    def is_busy(self) -> bool:
        return self._thread is not None and self._thread.is_alive()

    def _in_thread(self, work: Callable[[], None]) -> None:
        if not self.is_busy:
            # Nothing waits for it at the end: it may sit in a disk that hangs.
            self._thread = threading.Thread(target=work, name="earlier", daemon=True)
            self._thread.start()

    # -- in the thread ------------------------------------------------------------------------------

    def _catch_up(self) -> None:
        from mcelogd.earlier.gather import gather

        now = int(time.time())
        gathered = gather(self._where.pstore, self._boot, self._seen, now, journal=self._where.journal)
        for problem in gathered.problems:
            log.warning("looking for machine checks from before: %s", problem)
        if not self._wait(self._when_empty) or not self._writer.flush(WAIT_SECONDS):
            log.warning(
                "looking for machine checks from before: source or store is busy; the next start looks again"
            )
            return
        try:
            fresh = self._fresh(gathered)
        except StoreError as error:
            log.warning("looking for machine checks from before: %s; the next start looks again", error)
            return
        taken = _Taken(fresh, self._directory / TOLD)
        if self._wait(lambda done: self._take(taken, gathered, done)) and self._writer.flush(WAIT_SECONDS):
            taken.forget()

    def _fresh(self, gathered: Gathered) -> list[Found]:
        """What of it is news."""
        from mcelogd.earlier.merge import known_from, records_of, unseen

        found = [one for one in gathered.found if not (self._is_taken and one.origin is Origin.KERNEL_LOG)]
        if not found:
            return []
        reader = StoreReader(self._directory / DATABASE)
        return unseen(found, records_of(_rows(reader, known_from(found))))

    def _look(self) -> None:
        from mcelogd.earlier import kernel_log
        from mcelogd.earlier.messages import count_told

        now = int(time.time())
        read = kernel_log.read(self._boot, self._where.journal, since=self._looked_at)
        told = count_told(line.text for line in read.lines)
        if read.is_whole and self._wait(self._when_empty):
            self._in_loop(lambda: self._compare(told, now))

    def _wait(self, begin: Callable[[Callable[[], None]], None]) -> bool:
        """Have the loop begin something, and wait until that calls back; False if it takes too long."""
        done = threading.Event()
        self._in_loop(lambda: begin(done.set))
        return done.wait(WAIT_SECONDS)

    def _in_loop(self, call: Callable[[], None]) -> None:
        assert self._loop is not None
        with contextlib.suppress(RuntimeError):  # the daemon has ended meanwhile
            self._loop.call_soon_threadsafe(call)

    # -- in the loop's thread -----------------------------------------------------------------------

    def _take(self, taken: _Taken, gathered: Gathered, done: Callable[[], None]) -> None:
        """Take some, and go on later: what comes from the source must not wait."""
        form = layout(LENGTH)
        for one, is_told in taken.some(CHUNK):
            self._pipeline.take(form, one.record, told=is_told, origin=one.origin.value)
            # Those of another boot say nothing about this one's.
            self._records += one.origin is Origin.PSTORE
        if taken.is_at_end:
            self._put(self._pipeline.take_batch(None, self._state(gathered)))
            self._compare(gathered.told, int(time.time()))
            done()
            return
        self._put(self._pipeline.take_batch(None, self._at_boot()))
        assert self._loop is not None
        self._loop.call_soon(self._take, taken, gathered, done)

    def _state(self, gathered: Gathered) -> dict[str, str]:
        """What the next start has to know; in the store together with the last of the records."""
        state = {SEEN: " ".join(sorted(gathered.seen)), **self._at_boot()}
        if gathered.has_kernel_log:
            state[KERNEL_LOG] = self._boot
        return state

    def _at_boot(self) -> dict[str, str]:
        return {BOOT_RECORDS: f"{self._records} {self._boot}"}

    def _compare(self, told: int, now: int) -> None:
        """Say it when what the kernel told of and what came part."""
        self._looked_at = now + 1
        self._kernel_told += told
        received = max(0, self._pipeline.totals.records_read - self._records)
        if not have_parted(self._kernel_told, received) or self._kernel_told == self._warned_at:
            return
        self._warned_at = self._kernel_told
        log.warning(
            "the kernel told of machine checks at least %d times since it was booted, and %d records came;"
            " somebody else takes them, or they are lost: see mcelogctl doctor",
            self._kernel_told,
            received,
            extra={
                "MESSAGE_ID": message_ids.RECORDS_MISSING,
                "MCE_TOLD": str(self._kernel_told),
                "MCE_RECEIVED": str(received),
            },
        )


def have_parted(told: int, received: int) -> bool:
    """Whether clearly fewer records were received than the kernel told of.

    It tells of each once at most, and not of all; less than half is no matter of
    what was read first.
    """
    return 2 * received < told


class _Taken:
    """The records to take, one after the other, and which of them were told.

    They are in a spool, as those of the source are: what is killed between the
    telling of a record and its being stored meets it again, and does not tell it
    twice.
    """

    def __init__(self, found: Sequence[Found], directory: Path) -> None:
        told = _told_before(directory) if found else frozenset()
        # Those first, and marked at once: should this run be killed as well, the next one knows them, too.
        ordered = sorted(found, key=lambda one: one.record not in told)
        self._told = sum(one.record in told for one in found)
        self._left = iter(enumerate(ordered))
        self._count = len(found)
        self._directory = directory
        self._spool = _spool(directory, ordered, self._told) if found else None

    @property
    def is_at_end(self) -> bool:
        return not self._count

    def some(self, at_most: int) -> Iterator[tuple[Found, bool]]:
        """The next ones, each with whether an earlier run told it; it is told when the one behind it is asked
        for."""
        for _ in range(min(at_most, self._count)):
            self._count -= 1
            number, one = next(self._left)
            yield one, number < self._told
            if self._spool is not None and number >= self._told:
                _mark(self._spool, 1)

    def forget(self) -> None:
        """All of them are in the store, and so are those of a run that was killed before it could forget."""
        if self._spool is not None:
            self._spool.close()
        remove_before(self._directory, GENERATION + 1)
        with contextlib.suppress(OSError):
            self._directory.rmdir()


def _spool(directory: Path, found: Sequence[Found], told: int) -> Spool:
    records = b"".join(one.record for one in found)
    try:
        directory.mkdir(mode=0o750, exist_ok=True)
        spool = Spool.create(directory, GENERATION, LENGTH, len(records))
    except OSError as error:
        log.warning("%s; what is told now is told again if mcelog is killed", error.strerror)
        spool = Spool.in_memory(GENERATION, LENGTH, len(records))
    spool.put(records)
    _mark(spool, told)
    return spool


def _mark(spool: Spool, told: int) -> None:
    """So many more of its records are told."""
    list(spool.take(told))
    spool.mark_told()


def _told_before(directory: Path) -> Collection[bytes]:
    """The records that a run told which was killed before all were stored."""
    told: set[bytes] = set()
    for left in leftovers(directory, Position(GENERATION, 0)):
        records = left.data[: left.told * LENGTH]
        told.update(records[start : start + LENGTH] for start in range(0, len(records), LENGTH))
    return told


def _rows(reader: StoreReader, since: int) -> Iterator[StoredEvent]:
    """The newest events of the store that are not older than that, some at a time. May raise StoreError."""
    until = LARGEST
    for _ in range(MOST_KNOWN // KNOWN_AT_ONCE):
        rows = reader.newest(EventQuery(since=since, until=until, limit=KNOWN_AT_ONCE))
        yield from rows
        if len(rows) < KNOWN_AT_ONCE:
            return
        # A second that is cut off is asked for again, unless it has more than can be asked for.
        until = rows[-1].time if rows[-1].time < until else until - 1


def _records_at_boot(state: Mapping[str, str], boot: str, now: int) -> int:
    """How many records had been read when this boot began: as saved, else so many as there are now."""
    records, _, of_boot = state.get(BOOT_RECORDS, "").partition(" ")
    return int(records) if records.isdigit() and boot and of_boot == boot else now
