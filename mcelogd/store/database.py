# SPDX-License-Identifier: GPL-2.0-only
"""The database: one connection, and what is asked of it."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.store.aside import move_aside
from mcelogd.store.retention import DAY, Limits, Retention
from mcelogd.store.rows import (
    LAST_EVENT_ID,
    MemoryRow,
    PageRow,
    StoredEvent,
    event_row,
    memory_errors,
    page_errors,
    storable,
    text_row,
)
from mcelogd.store.schema import SCHEMA_VERSION, Transaction, migrate, pragma, version_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from mcelogd.account.memory import MemoryErrors
    from mcelogd.account.pages import PageErrors
    from mcelogd.store.rows import Batch, ObjectKey, Position

UNLIMITED = Limits()

FILES = threading.RLock()
"""Held by who gives the file another name, and by who opens it for a question. SQLite's locks keep other
processes apart but not threads: a connection opened in between would take the new file's WAL index for
one nobody uses, and truncate it under the writer, who maps it (SIGBUS)."""

_DAMAGED = (
    *(sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT, sqlite3.SQLITE_TOOBIG),
    *(sqlite3.SQLITE_ERROR, sqlite3.SQLITE_MISMATCH),
)
"""SQLITE_ERROR: a table is missing. All others - a full disk, no permission - may pass."""

_SMALL = 8192
"""Pages of a file that is quickly rewritten: 32 MiB."""

_MOST = 1 << 62
"""An id or position beyond is damage; counting on from there would soon end."""


class StoreError(Exception):
    """The database cannot be used; the message names file and reason."""


class DamagedError(StoreError):
    """The file is no database of ours, or not any more: no retry will help."""


class GoneError(StoreError):
    """The file is not where it was opened: what is written to it would be lost."""


class Saved(NamedTuple):
    """What an earlier run left, besides the events themselves."""

    memory: list[MemoryErrors]
    pages: list[PageErrors]
    """The least recently hit first."""
    state: dict[str, str]
    position: Position
    """How far the spool has been folded in; generation 0 when never."""
    last_event_id: int
    """No id up to this one is given again, whether its event is still there or not."""
    objects: dict[ObjectKey, str]


NOTHING = Saved([], [], {}, (0, 0), 0, {})


class Store:
    """One connection to the database; every method may raise StoreError."""

    def __init__(
        self, path: Path, limits: Limits = UNLIMITED, clock: Callable[[], float] = time.time
    ) -> None:
        """Open or make the database; an older schema is migrated, a newer program's refused."""
        self.path = path
        self._clock = clock
        with errors_as_ours(path):
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            with errors_as_ours(path):
                self._prepare()
            self._inode = self._look()
        except StoreError:
            self._db.close()
            raise
        self._retention = Retention(self._db, limits)

    def commit(self, batch: Batch) -> None:
        """Make the batch durable, all of it or nothing; GoneError if the file was removed."""
        found = self._look()
        if found is None or found != self._inode:
            raise GoneError(f"{self.path}: removed or replaced while in use")
        state = dict(batch.state)
        if batch.position is not None:
            state["spool"] = "{} {}".format(*batch.position)
        ids = [event.id for event in batch.events]
        days = [(int(self._clock()) // DAY, min(ids))] if ids else []
        if ids:
            state[LAST_EVENT_ID] = str(max(int(state.get(LAST_EVENT_ID, "0")), *ids))
        dropped = [key for key, value in batch.objects.items() if value is None]
        objects = [(*key, value) for key, value in batch.objects.items() if value is not None]
        with errors_as_ours(self.path, writing=True), Transaction(self._db) as db:
            db.executemany(
                f"INSERT INTO events VALUES ({_marks(StoredEvent)}) ON CONFLICT (id) DO NOTHING",
                map(storable, batch.events),
            )
            db.executemany("INSERT OR IGNORE INTO days VALUES (?, ?)", days)
            db.executemany(f"INSERT OR REPLACE INTO memory VALUES ({_marks(MemoryRow)})", batch.memory)
            db.executemany("DELETE FROM pages WHERE frame = ?", [(frame,) for frame in batch.dropped_frames])
            db.executemany(f"INSERT OR REPLACE INTO pages VALUES ({_marks(PageRow)})", batch.pages)
            db.executemany("DELETE FROM objects WHERE kind = ? AND name = ?", dropped)
            db.executemany("INSERT OR REPLACE INTO objects VALUES (?, ?, ?)", objects)
            db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", state.items())

    def prune(self, at_most: int = 1000) -> bool:
        """Delete at most so many records that are beyond the limits; whether there may be more."""
        with errors_as_ours(self.path):
            return self._retention.prune(self._clock(), at_most)

    def load(self) -> Saved:
        """Everything the daemon goes on with; DamagedError if it makes no sense."""
        with errors_as_ours(self.path):
            return _load(self._db)

    def events(self, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Events with an id above `after`, oldest first."""
        query = "SELECT * FROM events WHERE id > ? ORDER BY id LIMIT ?"
        with errors_as_ours(self.path):
            return [event_row(row) for row in self._db.execute(query, (after, limit))]

    def last_events(self, count: int) -> list[StoredEvent]:
        """The events that were stored last, oldest first. There may be gaps between their ids."""
        query = "SELECT * FROM (SELECT * FROM events ORDER BY id DESC LIMIT ?) ORDER BY id"
        with errors_as_ours(self.path):
            return [event_row(row) for row in self._db.execute(query, (count,))]

    def close(self) -> None:
        self._db.close()

    def _look(self) -> tuple[int, int] | None:
        """Which file is at our path; None if there is none."""
        try:
            status = self.path.stat()
        except OSError:
            return None
        return status.st_dev, status.st_ino

    def _prepare(self) -> None:
        db = self._db
        check_version(self.path, version_of(db))
        # Before there is a table; later it takes a VACUUM to have an effect.
        db.execute("PRAGMA auto_vacuum = INCREMENTAL")
        db.execute("PRAGMA journal_mode = WAL").fetchall()
        db.execute("PRAGMA journal_size_limit = 4194304").fetchall()
        # KiB. What is written to is the end of a table and of two indexes; the usual 2 MiB only fill up.
        db.execute("PRAGMA cache_size = -512")
        # FULL: a commit is on the disk when it returns. It costs the commit thread one fsync.
        db.execute("PRAGMA synchronous = FULL")
        if version_of(db) < SCHEMA_VERSION:
            migrate(db)
        if not pragma(db, "auto_vacuum") and pragma(db, "page_count") <= _SMALL:
            # Made before files could shrink. Larger ones use again what becomes free, but keep it.
            with contextlib.suppress(sqlite3.OperationalError):
                db.execute("VACUUM")


def open_or_replace(
    path: Path, limits: Limits = UNLIMITED, damage: str | None = None
) -> tuple[Store, Saved, str | None]:
    """The store at `path` and what it holds; a damaged one is moved aside, and why is said.

    `damage` is what is known to be wrong with it already. Raises StoreError
    if there can be no store.
    """
    with FILES:
        if damage is None:
            try:
                return *_open(path, limits), None
            except DamagedError as error:
                damage = str(error)
        try:
            aside = move_aside(path, int(time.time()))
        except OSError as error:
            raise StoreError(f"{damage}; it cannot be moved aside: {error.strerror}") from error
        store, _ = _open(path, limits)
    return store, anew(time.time()), f"{damage}; moved aside to {aside}, a new one begins"


def peek(path: Path) -> Saved:
    """What a store holds that can be read, but not opened for writing: no space, a read-only file system.

    Raises StoreError if it cannot be read either.
    """
    with errors_as_ours(path), contextlib.closing(_connect_to_look(path)) as db:
        check_version(path, version_of(db))
        return _load(db)


def anew(now: float) -> Saved:
    """What to go on with when what an earlier run left cannot be known.

    Nothing, that is; but ids begin where none of an earlier run can be, since
    they name events in the journal too.
    """
    return NOTHING._replace(last_event_id=int(now) * 1000)


def check_version(path: Path, version: int) -> None:
    """StoreError if a newer program made the file."""
    if version > SCHEMA_VERSION:
        raise StoreError(f"{path}: made by a newer mcelog (schema {version}); upgrade or move it aside")


@contextlib.contextmanager
def errors_as_ours(path: Path, *, writing: bool = False) -> Iterator[None]:
    """Raise what SQLite finds wrong with the file as StoreError or DamagedError.

    So is a value that cannot be, which comes out of the file unless it is `writing`.
    """
    try:
        yield
    except sqlite3.Error as error:
        # Without a code it is the module's own: text that is no UTF-8, for one.
        code = getattr(error, "sqlite_errorcode", None)
        damaged = not writing if code is None else code & 0xFF in _DAMAGED
        raise (DamagedError if damaged else StoreError)(f"{path}: {error}") from error
    except (ValueError, TypeError, OverflowError) as error:
        raise (StoreError if writing else DamagedError)(f"{path}: {error}") from error
    except OSError as error:
        raise StoreError(f"{path}: {error.strerror}") from error
    except MemoryError as error:
        raise StoreError(f"{path}: out of memory") from error


def _open(path: Path, limits: Limits) -> tuple[Store, Saved]:
    store = Store(path, limits)
    try:
        return store, store.load()
    except StoreError:
        store.close()
        raise


def _connect_to_look(path: Path) -> sqlite3.Connection:
    wal = path.with_name(path.name + "-wal")
    if wal.exists() and wal.stat().st_size:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=rw", uri=True, isolation_level=None)
        # Alone with the file, SQLite needs no index of the WAL beside it, for which there may be no space.
        db.execute("PRAGMA locking_mode = EXCLUSIVE").fetchall()
        return db
    # Where there is nothing to recover nothing has to be written, not even a lock.
    return sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro&immutable=1", uri=True)


def _load(db: sqlite3.Connection) -> Saved:
    states = [text_row(row) for row in db.execute("SELECT name, value FROM state")]
    objects = [text_row(row) for row in db.execute("SELECT kind, name, state FROM objects")]
    state = {row[0]: row[1] for row in states}
    generation, _, records = state.pop("spool", "0 0").partition(" ")
    last_event_id = int(state.pop(LAST_EVENT_ID, "0"))
    highest_id = db.execute("SELECT max(id) FROM events").fetchone()[0] or 0
    saved = Saved(
        memory=[memory_errors(MemoryRow(*row)) for row in db.execute("SELECT * FROM memory")],
        pages=[page_errors(PageRow(*row)) for row in db.execute("SELECT * FROM pages ORDER BY used")],
        state=state,
        position=(int(generation), int(records)),
        last_event_id=max(highest_id, last_event_id),
        objects={(row[0], row[1]): row[2] for row in objects},
    )
    for number in (*saved.position, saved.last_event_id):
        if not 0 <= number < _MOST:
            raise ValueError(f"no position and no id: {number}")
    return saved


def _marks(row: type[StoredEvent] | type[MemoryRow] | type[PageRow]) -> str:
    return ", ".join("?" * len(row._fields))
