# SPDX-License-Identifier: GPL-2.0-only
"""Waiting for new entries of the journal."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING

from cysystemd.async_reader import AsyncJournalReader

from mcelogd.ctl.journal import open_reader, position, remaining

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable, Iterator
    from pathlib import Path

    from mcelogd.ctl.entries import Entry, Wanted

_REMEMBERED = 256
"""Cursors of entries that were shown: after a rotation one may come again."""


class Follower(AsyncJournalReader):
    """cysystemd's reader, read out by hand: its `async for` spins while what it gave is worked on."""

    def open_at(
        self, directory: Path | None, wanted: Wanted, uids: Iterable[int], lines: int | None
    ) -> Entry | None:
        """See open_reader() and position()."""
        open_reader(self._reader, directory)
        first = position(self._reader, wanted, uids, lines)
        _ = self.fd  # from now on changes are noticed; what came before is read first
        return first

    def drain(self) -> Iterator[Entry]:
        """All that is there, in this thread: a change of threads for each entry takes ten times as long."""
        return remaining(self._reader)


async def follow(
    directory: Path | None, wanted: Wanted, uids: Iterable[int], lines: int | None
) -> AsyncIterator[Entry]:
    """The entries that are there, and then, without end, those that come."""
    reader = Follower()  # type: ignore[no-untyped-call]
    first = reader.open_at(directory, wanted, uids, lines)
    shown: deque[str] = deque(maxlen=_REMEMBERED)
    if first is not None:
        shown.append(first.cursor)
        if wanted.wants(first):
            yield first
    while True:
        for entry in reader.drain():
            if entry.cursor in shown:
                continue
            shown.append(entry.cursor)
            if wanted.wants(entry):
                yield entry
        await reader.wait()
