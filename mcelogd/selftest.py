# SPDX-License-Identifier: GPL-2.0-only
"""The self test: one harmless record goes in at the kernel and must come out of the journal.

Each link of the chain between says whether it held. What injects is a
process of its own (act/inject.py), outside of the daemon's sandbox.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mcelogd.decode import self_test

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from mcelogd.event import Event
    from mcelogd.pipeline import About

SOURCE_SECONDS = 10.0
"""How long the record may take from the kernel to us: its poll, on a slow machine."""

LINK_SECONDS = 10.0
"""The same for the store, and for the journal."""

LOOK_SECONDS = 0.1


class Link(NamedTuple):
    """A link of the chain: its name, whether it held, and what is to say about it."""

    name: str
    held: bool
    text: str


class Injection(NamedTuple):
    """Whether a record was injected, and why not."""

    ok: bool
    text: str


class Chain(Protocol):
    """What the test needs of the daemon."""

    source: str

    async def inject(self, number: int) -> Injection:
        """Have the record of self test `number` injected."""

    async def is_stored(self, event_id: int) -> bool: ...

    async def is_in_journal(self, event_id: int) -> bool:
        """Raises NoJournalError where it cannot be known."""


class NoJournalError(Exception):
    """The journal is not written, or cannot be read; the text says why."""


class SelfTest:
    """Runs one test at a time. It listens to the pipeline for its record."""

    def __init__(self, chain: Chain) -> None:
        self._chain = chain
        self._number = 0
        self._arrived: asyncio.Future[int] | None = None

    @property
    def is_running(self) -> bool:
        return self._arrived is not None

    def event(self, event: Event, about: About) -> None:
        is_ours = about.is_test and event.record.misc == self_test.misc_of(self._number)
        if is_ours and self._arrived is not None and not self._arrived.done():
            self._arrived.set_result(about.event_id)

    def crossed(self, crossing: object, event: Event) -> None:
        """Nothing is counted of a test, so nothing is crossed."""

    async def run(self) -> list[Link]:
        """The links in order, up to the first that did not hold; after the source all are looked at."""
        self._number = secrets.randbits(32)
        self._arrived = asyncio.get_running_loop().create_future()
        try:
            return [link async for link in self._links(self._arrived)]
        finally:
            self._arrived = None

    async def _links(self, arrived: asyncio.Future[int]) -> AsyncIterator[Link]:
        injection = await self._chain.inject(self._number)
        yield Link("injection", injection.ok, injection.text)
        if not injection.ok:
            return
        try:
            async with asyncio.timeout(SOURCE_SECONDS):
                event_id = await arrived
        except TimeoutError:
            nothing = f"the record did not come within {SOURCE_SECONDS:g} seconds"
            yield Link("source", False, f"{self._chain.source}: {nothing}; mcelogctl doctor may say why")
            return
        yield Link("source", True, f"{self._chain.source}: read and decoded, event {event_id}")
        stored = await _within(LINK_SECONDS, lambda: self._chain.is_stored(event_id))
        yield Link("store", stored, "kept" if stored else "not kept; see mcelog's messages in the journal")
        yield await self._journal(event_id)

    async def _journal(self, event_id: int) -> Link:
        try:
            logged = await _within(LINK_SECONDS, lambda: self._chain.is_in_journal(event_id))
        except NoJournalError as error:
            return Link("journal", False, str(error))
        found = f"found: journalctl MCE_EVENT_ID={event_id}"
        return Link("journal", logged, found if logged else "not there; is systemd-journald running?")


async def _within(seconds: float, holds: Callable[[], Awaitable[bool]]) -> bool:
    """Whether it comes to hold within so many seconds."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            for _ in range(round(seconds / LOOK_SECONDS)):
                if await holds():
                    return True
                await asyncio.sleep(LOOK_SECONDS)
    return False
