# SPDX-License-Identifier: GPL-2.0-only
"""Asking what happened: reads the database beside the writer, from any thread, and delays no commit."""

from __future__ import annotations

import contextlib
import sqlite3
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.store.database import FILES, StoreError, errors_as_ours
from mcelogd.store.rows import LARGEST, StoredEvent, event_row
from mcelogd.store.schema import SCHEMA_VERSION, version_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator
    from pathlib import Path

_COLUMNS = ", ".join(StoredEvent._fields)

_NEWEST = "time BETWEEN ? AND ? ORDER BY time DESC, id DESC LIMIT ?"

_PAIRS = """
    WITH RECURSIVE
    kinds (kind) AS (
        SELECT min(kind) FROM events
        UNION ALL SELECT (SELECT min(kind) FROM events WHERE kind > kinds.kind) FROM kinds WHERE kind NOTNULL
        LIMIT 100
    ),
    pairs (kind, severity) AS (
        SELECT kind, (SELECT min(severity) FROM events WHERE kind = kinds.kind) FROM kinds WHERE kind NOTNULL
        UNION ALL SELECT kind, (
            SELECT min(severity) FROM events WHERE kind = pairs.kind AND severity > pairs.severity
        ) FROM pairs WHERE severity NOTNULL
        LIMIT 1000
    )
    SELECT kind, severity FROM pairs WHERE severity NOTNULL
"""
"""The kinds with severities that there are; each is one step in the index, where DISTINCT reads all of it.

The limits are for a damaged index, in which steps might lead back."""


class EventQuery(NamedTuple):
    """Which events are wanted. Times are seconds since the epoch, both ends included.

    Without kinds, or severities, any will do.
    """

    since: int = 0
    until: int = LARGEST
    kinds: Collection[str] = ()
    severities: Collection[str] = ()
    limit: int = 100


class StoreReader:
    """Answers questions about the store at `path`; every method may raise StoreError.

    Each question has a connection of its own (a third of a millisecond). So the
    answer is about the file that is there now, whatever became of the one
    before, and no snapshot is held that would keep the WAL from being emptied.
    They are answered one after the other.
    """

    def __init__(self, path: Path) -> None:
        self._path = path

    def event(self, event_id: int) -> StoredEvent | None:
        """The event with that id, if it is still kept."""
        found = self.events(event_id - 1, 1)
        return found[0] if found and found[0].id == event_id else None

    def events(self, after: int = 0, limit: int = 1000) -> list[StoredEvent]:
        """Events with an id above `after`, oldest first."""
        parameters = (_fitting(after), max(0, _fitting(limit)))
        query = f"SELECT {_COLUMNS} FROM events WHERE id > ? ORDER BY id LIMIT ?"
        with self._database() as db:
            return [event_row(row) for row in db.execute(query, parameters)]

    def newest(self, query: EventQuery) -> list[StoredEvent]:
        """The last events that the query wants, the newest first."""
        with self._database() as db:
            # A negative limit would be none.
            wanted = [_fitting(query.since), _fitting(query.until), max(0, _fitting(query.limit))]
            if not query.kinds and not query.severities:
                rows = db.execute(f"SELECT {_COLUMNS} FROM events WHERE {_NEWEST}", wanted)
            else:
                rows = _newest_of(db, _pairs(db, query), wanted)
            return [event_row(row) for row in rows]

    @contextlib.contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        uri = f"{self._path.absolute().as_uri()}?mode=ro"
        with FILES, errors_as_ours(self._path), contextlib.closing(sqlite3.connect(uri, uri=True)) as db:
            version = version_of(db)
            if version != SCHEMA_VERSION:
                raise StoreError(f"{self._path}: has schema {version} and not {SCHEMA_VERSION}; start mcelog")
            yield db


def _pairs(db: sqlite3.Connection, query: EventQuery) -> list[tuple[str, str]]:
    """The kinds with severities that there are and that are wanted."""
    return [
        (kind, severity)
        for kind, severity in db.execute(_PAIRS)
        if (not query.kinds or kind in query.kinds) and (not query.severities or severity in query.severities)
    ]


def _newest_of(db: sqlite3.Connection, pairs: list[tuple[str, str]], wanted: list[int]) -> sqlite3.Cursor:
    """The newest of each pair, and the newest of those: no more rows are looked at than may be wanted."""
    one = f"SELECT * FROM (SELECT id FROM events WHERE kind = ? AND severity = ? AND {_NEWEST})"
    parameters = [value for pair in pairs for value in (*pair, *wanted)]
    ids = " UNION ALL ".join([one] * len(pairs)) or "NULL"
    query = f"SELECT {_COLUMNS} FROM events WHERE id IN ({ids}) ORDER BY time DESC, id DESC LIMIT ?"
    return db.execute(query, [*parameters, wanted[-1]])


def _fitting(number: int) -> int:
    """SQLite's integers have 64 bits, and none in the store is negative."""
    return max(-1, min(number, LARGEST))
