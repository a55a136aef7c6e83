# SPDX-License-Identifier: GPL-2.0-only
"""What the store keeps of the past: records go when they are too old or too many, counters never.

Records go in the order they came, in steps of a few milliseconds.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd.store.schema import pragma

if TYPE_CHECKING:
    import sqlite3

DAY = 24 * 3600

ALWAYS_KEPT = 1000
"""Records that stay, however small the file is to be: the counters alone may be more than that."""

ROOM = 0.95
"""Once the limit is passed, this share of it is left: else there was something to delete all the time."""

_PAGES_PER_MEGABYTE = 256
"""SQLite's pages of 4 KiB are what a file is made of that has not been told otherwise."""

SPARE_PAGES = 256
"""Free pages that stay in the file to be used again; what is beyond is given back to the file system."""


class Limits(NamedTuple):
    """What is kept: records for so many days, a file of so many megabytes; 0 is no limit."""

    days: int = 0
    megabytes: int = 0


class Retention:
    """Holds one database within its limits."""

    def __init__(self, db: sqlite3.Connection, limits: Limits) -> None:
        self._db = db
        self._limits = limits
        self._is_too_large = False

    def prune(self, now: float, at_most: int) -> bool:
        """Delete at most `at_most` records beyond the limits; False when none is left to delete.

        sqlite3.Error may be raised.
        """
        oldest_day = int(now) // DAY - self._limits.days if self._limits.days else None
        before = max(self._aged_before(oldest_day), self._oversize_before())
        if not before:
            return False
        deleted = self._db.execute(
            "DELETE FROM events WHERE id IN (SELECT id FROM events WHERE id < ? ORDER BY id LIMIT ?)",
            (before, at_most),
        ).rowcount
        if deleted < at_most:
            self._db.execute("DELETE FROM days WHERE day < ?", (oldest_day,))
        self._give_back()
        return deleted == at_most

    def _aged_before(self, oldest_day: int | None) -> int:
        """The records with a lower id are too old; 0 if none is, as before no day at all.

        What was stored while the clock was behind stays as long as what came before it.
        """
        too_old, young = self._db.execute(
            "SELECT count(*) FILTER (WHERE day < ?), min(first_id) FILTER (WHERE day >= ?) FROM days",
            (oldest_day, oldest_day),
        ).fetchone()
        if not too_old:
            return 0
        return self._highest_id() + 1 if young is None else int(young)

    def _oversize_before(self) -> int:
        """The records with a lower id are too many; 0 if none is."""
        limit = self._limits.megabytes * _PAGES_PER_MEGABYTE
        if not limit:
            return 0
        used = self._used()
        self._is_too_large = used > limit or (self._is_too_large and used > limit * ROOM)
        return max(0, self._highest_id() - ALWAYS_KEPT + 1) if self._is_too_large else 0

    def _give_back(self) -> None:
        """Leave some of what is free in the file, but none beyond the limit."""
        room = self._limits.megabytes * _PAGES_PER_MEGABYTE - self._used()
        spare = SPARE_PAGES if not self._limits.megabytes else min(max(room, 0), SPARE_PAGES)
        surplus = pragma(self._db, "freelist_count") - spare
        if surplus > 0:
            # Each step gives back one page, and execute() takes but one.
            self._db.executescript(f"PRAGMA incremental_vacuum({surplus})")

    def _used(self) -> int:
        """Pages of the file that hold something."""
        return pragma(self._db, "page_count") - pragma(self._db, "freelist_count")

    def _highest_id(self) -> int:
        return int(self._db.execute("SELECT max(id) FROM events").fetchone()[0] or 0)
