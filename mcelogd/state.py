# SPDX-License-Identifier: GPL-2.0-only
"""The directory of what survives a restart: one daemon's at a time."""

from __future__ import annotations

import fcntl
import logging
import os
from typing import TYPE_CHECKING

from mcelogd import message_ids
from mcelogd.store import DATABASE as DATABASE
from mcelogd.store.database import StoreError, open_or_replace, peek

if TYPE_CHECKING:
    from pathlib import Path

    from mcelogd.store.database import Saved, Store
    from mcelogd.store.retention import Limits

log = logging.getLogger(__name__)


class StartError(Exception):
    """The daemon cannot start; the message names cause and remedy."""


class StateDirectory:
    """The directory that state is kept in, locked for this process; or none, and then why is logged."""

    def __init__(self, path: Path) -> None:
        """Make and lock the directory. StartError if another daemon has it."""
        self.path: Path | None = path
        self._lock: int | None = None
        try:
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
            # For reading, which does for a lock: a read-only directory can be looked into.
            self._lock = os.open(path / "lock", os.O_RDONLY | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.error(
                "no state in %s: %s; counters and records do not survive a restart", path, error.strerror
            )
            self.path = None
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise StartError(f"another mcelog uses {path}; stop it, or give another state-dir") from error

    def open_store(self, limits: Limits) -> tuple[Store | None, Saved | None]:
        """The database, None if it cannot be written now; and what it holds, None if that is not known.

        Why is logged.
        """
        if self.path is None:
            return None, None
        try:
            store, saved, problem = self.reopen(limits)
        except StoreError as error:
            log.error("records are not kept for now: %s", error, extra=store_failed(self.path, error))
            try:
                return None, peek(self.path / DATABASE)
            except StoreError:
                return None, None
        if problem:
            log.error("%s", problem, extra=store_failed(self.path, problem))
        return store, saved

    def reopen(self, limits: Limits, damage: str | None = None) -> tuple[Store, Saved, str | None]:
        """See open_or_replace(); a directory that was removed is made again."""
        if self.path is None:
            raise StoreError("there is no state directory")
        try:
            self.path.mkdir(mode=0o750, parents=True, exist_ok=True)
        except OSError as error:
            raise StoreError(f"{self.path}: {error.strerror}") from error
        return open_or_replace(self.path / DATABASE, limits, damage)

    def files(self) -> list[Path]:
        """The directory and what is in it."""
        return [] if self.path is None else [self.path, *self.path.iterdir()]

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)


def store_failed(directory: Path | None, problem: object) -> dict[str, str]:
    """Fields of the journal entry about a store that fails."""
    return {
        "MESSAGE_ID": message_ids.STORE_FAILED,
        "MCE_STORE": str(directory and directory / DATABASE),
        "MCE_ERROR": str(problem),
    }
