# SPDX-License-Identifier: GPL-2.0-only
"""Where records come from. Every source reads whole records into a spool."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcelogd.spool import Spool


class SourceError(Exception):
    """A source that cannot be used; the message names the cause and the remedy."""


class Source(Protocol):
    """A place records come from."""

    name: str
    """What the administrator calls it: a path."""
    record_length: int
    """Bytes of each record."""
    read_size: int
    """Room a read needs in the spool, in bytes."""
    origin: str
    """Identifies a source that can be read twice (a regular file); empty for others."""
    offset: int
    """Bytes read so far of such a source."""
    landing: int
    """Room in the spool for what is read as one and holds records (Spool.land()), in bytes; 0: none."""
    unread_seconds: float
    """How long it may stay unread while there are records to handle."""

    def fileno(self) -> int | None:
        """What to poll for reading; None when there is nothing to wait for."""

    def read_into(self, spool: Spool) -> int:
        """One read into the spool: bytes read, 0 when nothing is there now.

        Raises OSError when the source fails.
        """

    def taken_apart(self, landed: bytes) -> bytes:
        """The records of what landed in a spool and was left there by a crash."""

    def read_all(self) -> Iterator[bytes]:
        """Each record that is there, up to the end: for reading once, without a spool."""

    def lost(self) -> int:
        """Records the source lost since the last call, at the least: 0 when none."""

    def take_damaged(self) -> int:
        """Bytes found since the last call that are no whole record: 0 when none."""

    def close(self) -> None: ...
