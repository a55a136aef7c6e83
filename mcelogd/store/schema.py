# SPDX-License-Identifier: GPL-2.0-only
"""The tables, made and brought up to date step by step.

A new store takes every step, an old one those it lacks; so both end up the same.
A step that was ever released is not edited: what comes next is a new step.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import sqlite3


def _to_1(db: sqlite3.Connection) -> None:
    db.execute("CREATE TABLE state (name TEXT PRIMARY KEY, value TEXT NOT NULL) WITHOUT ROWID")
    db.execute(
        """CREATE TABLE events (
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
        )"""
    )
    db.execute("CREATE INDEX events_by_time ON events (time)")
    db.execute(
        """CREATE TABLE memory (
            socket INTEGER, channel INTEGER, dimm INTEGER,
            ce_total INTEGER NOT NULL, ce_count INTEGER NOT NULL,
            ce_excess INTEGER NOT NULL, ce_stamp INTEGER NOT NULL,
            uc_total INTEGER NOT NULL, uc_count INTEGER NOT NULL,
            uc_excess INTEGER NOT NULL, uc_stamp INTEGER NOT NULL,
            PRIMARY KEY (socket, channel, dimm)
        ) WITHOUT ROWID"""
    )
    db.execute(
        """CREATE TABLE pages (
            frame INTEGER PRIMARY KEY,
            used INTEGER NOT NULL,
            total INTEGER NOT NULL, level INTEGER NOT NULL,
            excess INTEGER NOT NULL, stamp INTEGER NOT NULL,
            state TEXT NOT NULL, triggered INTEGER NOT NULL, multiplier INTEGER NOT NULL
        )"""
    )


def _to_2(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE pages ADD COLUMN reason TEXT NOT NULL DEFAULT ''")
    db.execute("ALTER TABLE pages ADD COLUMN since INTEGER NOT NULL DEFAULT 0")
    db.execute(
        """CREATE TABLE objects (
            kind TEXT, name TEXT, state TEXT NOT NULL, PRIMARY KEY (kind, name)
        ) WITHOUT ROWID"""
    )
    # The first event that was stored on a day (of 86,400 seconds since the epoch). The times of the
    # events themselves say nothing: they may be those of an old file that was read today.
    db.execute("CREATE TABLE days (day INTEGER PRIMARY KEY, first_id INTEGER NOT NULL)")
    db.execute("INSERT INTO days SELECT time / 86400, min(id) FROM events GROUP BY time / 86400")
    # For questions by kind or severity; those by time alone have their index since step 1.
    db.execute("CREATE INDEX events_by_kind ON events (kind, severity, time)")
    # Until now the highest id told where to go on, and deleting events was not thought of.
    db.execute(
        "INSERT INTO state SELECT 'last_event_id', id FROM (SELECT max(id) AS id FROM events) WHERE id > 0"
    )


def _to_3(db: sqlite3.Connection) -> None:
    db.execute("ALTER TABLE events ADD COLUMN origin TEXT NOT NULL DEFAULT ''")


_STEPS = (_to_1, _to_2, _to_3)

SCHEMA_VERSION = len(_STEPS)


class Transaction:
    """BEGIN IMMEDIATE ... COMMIT, or ROLLBACK if anything is raised in between."""

    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> sqlite3.Connection:
        self._roll_back()  # what a COMMIT that failed left
        self._db.execute("BEGIN IMMEDIATE")
        return self._db

    def __exit__(self, kind: object, *_: object) -> None:
        if kind is None:
            self._db.execute("COMMIT")
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        if self._db.in_transaction:
            self._db.execute("ROLLBACK")


def pragma(db: sqlite3.Connection, name: str) -> int:
    """A number that SQLite keeps about the file."""
    return int(db.execute(f"PRAGMA {name}").fetchone()[0])


def version_of(db: sqlite3.Connection) -> int:
    """The schema version of a file, 0 for a new one."""
    return pragma(db, "user_version")


def migrate(db: sqlite3.Connection) -> None:
    """Take the steps that are missing, all or none."""
    with Transaction(db):
        for step in _STEPS[version_of(db) :]:
            step(db)
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION}")
