# SPDX-License-Identifier: GPL-2.0-only
"""Damaged databases are kept beside the one in use, for whoever wants to look into them: the last few."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

KEPT = 3

_MARK = ".damaged-"


def move_aside(path: Path, now: int) -> Path:
    """Rename a database to FILE.damaged-TIME and remove the oldest such; OSError is left to the caller."""
    # A clock that was set back must not make this one the oldest.
    aside = _aside(path, max([now, *(time + 1 for time in _times(path))]))
    path.rename(aside)
    # The WAL belongs to it. Should we be killed here: SQLite ignores the WAL of an empty database.
    _of(path, "-shm").unlink(missing_ok=True)
    wal = _of(path, "-wal")
    if wal.exists():
        wal.rename(_of(aside, "-wal"))
    for old in kept_aside(path)[:-KEPT]:
        for suffix in ("", "-wal", "-shm"):
            _of(old, suffix).unlink(missing_ok=True)
    return aside


def kept_aside(path: Path) -> list[Path]:
    """What was moved aside, the oldest first."""
    return [_aside(path, time) for time in _times(path)]


def _times(path: Path) -> list[int]:
    prefix = path.name + _MARK
    times = (entry.name.removeprefix(prefix) for entry in path.parent.iterdir())
    return sorted(int(time) for time in times if time.isascii() and time.isdigit())


def _aside(path: Path, time: int) -> Path:
    return _of(path, f"{_MARK}{time}")


def _of(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)
