# SPDX-License-Identifier: GPL-2.0-only
"""Events from mcelog's store, by D-Bus: where the journal may not be read, or is another machine's.

GetEvents goes forwards from an id. What was last is found by asking for what
comes after some ids, each answer cutting in half what is left.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from mcelogd.ctl.entries import Entry, stored_entry
from mcelogd.ctl.service import MOST_AT_ONCE

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcelogd.ctl.entries import Wanted
    from mcelogd.ctl.service import Service

_AT_FIRST = 16
"""How far beyond an id is looked at first."""


class StoredEvents:
    """The events of one mcelog that are wanted."""

    def __init__(self, service: Service, wanted: Wanted) -> None:
        self._service = service
        self._wanted = wanted
        self._last = 0
        """Id of the newest event that was looked at."""

    async def there(self, lines: int | None) -> AsyncIterator[Entry]:
        """Those that are there, oldest first; the newest `lines` only, if that is not None."""
        if lines is None and self._wanted.since is None:
            async for entry in self._further():
                yield entry
        else:
            for entry in await self._newest(lines):
                yield entry

    async def arriving(self) -> AsyncIterator[Entry]:
        """Those that come after what was there, until the connection is lost."""
        news = asyncio.Event()
        # EventLogged comes four times a second at most, but the last change of the counters is always told.
        await self._service.listen(lambda _path, _member, _values: news.set())
        lost = self._service.lost
        lost.add_done_callback(lambda _: news.set())
        while not lost.done():
            news.clear()
            if self._service.owner:
                async for entry in self._further():
                    yield entry
            await news.wait()

    async def _further(self) -> AsyncIterator[Entry]:
        while True:
            rows = await self._rows(self._last, MOST_AT_ONCE)
            for entry in rows:
                self._last = _id(entry)
                if self._wanted.wants(entry):
                    yield entry
            if len(rows) < MOST_AT_ONCE:
                return

    async def _newest(self, lines: int | None) -> list[Entry]:
        """From the end backwards, until there are enough, or they are too old."""
        oldest = await self._next_id(0)
        self._last = last = await self._newest_id()
        found: list[Entry] = []
        while oldest is not None and last >= oldest and (lines is None or len(found) < lines):
            before = max(last - MOST_AT_ONCE, 0)
            chunk = [entry for entry in await self._rows(before, MOST_AT_ONCE) if _id(entry) <= last]
            found[:0] = [entry for entry in chunk if self._wanted.wants(entry)]
            since = self._wanted.since
            if chunk and since is not None and all(entry.time < since for entry in chunk):
                break
            last = before
        return found if lines is None else found[max(len(found) - lines, 0) :]

    async def _newest_id(self) -> int:
        """0 if there is no event."""
        low, step = 0, _AT_FIRST
        while (found := await self._next_id(low + step)) is not None:
            low = found
            step *= 2
        high = low + step
        while low < high:
            middle = (low + high) // 2
            found = await self._next_id(middle)
            low, high = (low, middle) if found is None else (found, high)
        return low

    async def _next_id(self, after: int) -> int | None:
        """The id that follows; None if there is none."""
        rows = await self._rows(after, 1)
        return _id(rows[0]) if rows else None

    async def _rows(self, after: int, limit: int) -> list[Entry]:
        (rows,) = await self._service.call("GetEvents", "tu", after, limit)
        return [stored_entry(row) for row in rows]


def _id(entry: Entry) -> int:
    return entry.number("MCE_EVENT_ID") or 0
