# SPDX-License-Identifier: GPL-2.0-only
"""The database: one connection, and what is asked of it."""

from __future__ import annotations

import contextlib
import sqlite3
import time
from typing import TYPE_CHECKING, Any, NamedTuple

from mcelogd.store.rows import (
    MemoryRow,
    PageRow,
    StoredEvent,
    memory_errors,
    page_errors,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from mcelogd.account.memory import MemoryErrors
    from mcelogd.account.pages import PageErrors
    from mcelogd.store.rows import Batch, Position

SCHEMA_VERSION = 1

_DAMAGED = (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_ERROR)
"""SQLITE_ERROR: a table is missing. All others - a full disk, no permission - may pass."""

_SCHEMA = """
CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID;
CREATE TABLE events (
    id INTEGER PRIMARY KEY,
    time INTEGER NOT NULL,
    kind TEXT NOT NULL,
    severity TEXT NOT NULL,
    cpu INTEGER NOT NULL,
    bank INTEGER NOT NULL,
    socket INTEGER,
    channel INTEGER,
    dimm INTEGER,
    summary TEXT NOT NULL,
    record BLOB NOT NULL
);
CREATE INDEX events_by_time ON events (time);
CREATE TABLE memory (
    socket INTEGER, channel INTEGER, dimm INTEGER,
    ce_total INTEGER NOT NULL, ce_count INTEGER NOT NULL,
    ce_excess INTEGER NOT NULL, ce_stamp INTEGER NOT NULL,
    uc_total INTEGER NOT NULL, uc_count INTEGER NOT NULL,
    uc_excess INTEGER NOT NULL, uc_stamp INTEGER NOT NULL,
    PRIMARY KEY (socket, channel, dimm)
) WITHOUT ROWID;
CREATE TABLE pages (
    frame INTEGER PRIMARY KEY,
    used INTEGER NOT NULL,
    total INTEGER NOT NULL, level INTEGER NOT NULL, excess INTEGER NOT NULL, stamp INTEGER NOT NULL,
    state TEXT NOT NULL, triggered INTEGER NOT NULL, multiplier INTEGER NOT NULL
);
"""


class StoreError(Exception):
    """The database cannot be used; the message names file and reason."""


class DamagedError(StoreError):
    """The file is no database of ours, or not any more: no retry will help."""


class Saved(NamedTuple):
    """What an earlier run left, besides the events themselves."""

    memory: list[MemoryErrors]
    pages: list[PageErrors]
    """The least recently hit first."""
    state: dict[str, str]
    position: Position
    """How far the spool has been folded in; generation 0 when never."""
    last_event_id: int


NOTHING = Saved([], [], {}, (0, 0), 0)


class Store:
    """One connection to the database; every method may raise StoreError."""

    def __init__(self, path: Path) -> None:
        """Open or make the database; a newer program's schema is refused."""
        self.path = path
        with self._errors_as_ours():
            self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        try:
            with self._errors_as_ours():
                # FULL: a commit is on the disk when it returns. It costs the commit thread one fsync.
                self._db.executescript(
                    "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA busy_timeout=5000"
                )
                self._prepare()
        except StoreError:
            self._db.close()
            raise

    def commit(self, batch: Batch) -> None:
        """Make the batch durable, all of it or nothing."""
        state = dict(batch.state)
        if batch.position is not None:
            state["spool"] = "{} {}".format(*batch.position)
        with self._errors_as_ours(), _Transaction(self._db) as db:
            db.executemany(
                f"INSERT INTO events VALUES ({_marks(StoredEvent)}) ON CONFLICT (id) DO NOTHING",
                batch.events,
            )
            db.executemany(f"INSERT OR REPLACE INTO memory VALUES ({_marks(MemoryRow)})", batch.memory)
            db.executemany("DELETE FROM pages WHERE frame = ?", [(frame,) for frame in batch.dropped_frames])
            db.executemany(f"INSERT OR REPLACE INTO pages VALUES ({_marks(PageRow)})", batch.pages)
            db.executemany("INSERT OR REPLACE INTO state VALUES (?, ?)", state.items())

    def load(self) -> Saved:
        """Everything the daemon goes on with; DamagedError if it makes no sense."""
        state = {str(name): str(value) for name, value in self._query("SELECT * FROM state")}
        with self._errors_as_ours():
            generation, _, records = state.get("spool", "0 0").partition(" ")
            return Saved(
                memory=[memory_errors(MemoryRow(*row)) for row in self._query("SELECT * FROM memory")],
                pages=[
                    page_errors(PageRow(*row)) for row in self._query("SELECT * FROM pages ORDER BY used")
                ],
                state=state,
                position=(int(generation), int(records)),
                last_event_id=int(self._query("SELECT max(id) FROM events")[0][0] or 0),
            )

    def events(self, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Events with an id above `after`, oldest first."""
        query = "SELECT * FROM events WHERE id > ? ORDER BY id LIMIT ?"
        return [StoredEvent(*row) for row in self._query(query, after, limit)]

    def close(self) -> None:
        self._db.close()

    def _query(self, query: str, *parameters: object) -> list[tuple[Any, ...]]:
        with self._errors_as_ours():
            return self._db.execute(query, parameters).fetchall()

    @contextlib.contextmanager
    def _errors_as_ours(self) -> Iterator[None]:
        try:
            yield
        except sqlite3.Error as error:
            damaged = error.sqlite_errorcode & 0xFF in _DAMAGED
            raise (DamagedError if damaged else StoreError)(f"{self.path}: {error}") from error
        except (ValueError, TypeError, OverflowError) as error:
            raise DamagedError(f"{self.path}: {error}") from error

    def _prepare(self) -> None:
        version = int(self._db.execute("PRAGMA user_version").fetchone()[0])
        if version > SCHEMA_VERSION:
            raise StoreError(
                f"{self.path}: made by a newer mcelog (schema {version}); upgrade or move it aside"
            )
        if version == 0:
            with _Transaction(self._db) as db:
                for statement in _SCHEMA.split(";"):
                    db.execute(statement)
                db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")


def open_or_replace(path: Path) -> tuple[Store, Saved, str | None]:
    """The store at `path` and what it holds; a damaged one is moved aside, and why is said.

    Raises StoreError if there can be no store.
    """
    try:
        return *_open(path), None
    except DamagedError as error:
        reason = str(error)
    aside = path.with_name(f"{path.name}.damaged-{int(time.time())}")
    try:
        path.rename(aside)
        for suffix in ("-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
    except OSError as error:
        raise StoreError(f"{reason}; it cannot be moved aside: {error.strerror}") from error
    return *_open(path), f"{reason}; moved aside to {aside}, a new one begins"


def _open(path: Path) -> tuple[Store, Saved]:
    store = Store(path)
    try:
        return store, store.load()
    except StoreError:
        store.close()
        raise


class _Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK if anything is raised in between."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> sqlite3.Connection:
        self._db.execute("BEGIN IMMEDIATE")
        return self._db

    def __exit__(self, kind: object, *_: object) -> None:
        if self._db.in_transaction:
            self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _marks(row: type[StoredEvent] | type[MemoryRow] | type[PageRow]) -> str:
    return ", ".join("?" * len(row._fields))
