# SPDX-License-Identifier: GPL-2.0-only
"""What is done about an event and about what it crossed: triggers are run, pages taken out of use.

Nothing here holds up the one who calls. Pages are worked off one after the
other, each with its triggers before and after, as v208 does.
"""

from __future__ import annotations

import asyncio
import contextlib
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

from mcelogd.account.cores import CoreCrossing
from mcelogd.account.faults import RowCrossing
from mcelogd.account.memory import Crossing
from mcelogd.account.pages import PageCrossing, PageState, ReplacementCrossing
from mcelogd.act.page import How, Result
from mcelogd.triggers import NOT_KNOWN, is_cache_worn

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mcelogd.account.books import AnyCrossing, Books
    from mcelogd.account.memory import MemoryErrors
    from mcelogd.account.pages import PageErrors
    from mcelogd.act.caps import Limits
    from mcelogd.act.offline import PageOffliner
    from mcelogd.act.runner import TriggerResult, TriggerRunner
    from mcelogd.event import Event
    from mcelogd.pipeline import About
    from mcelogd.triggers import Trigger, Triggers

MOST_PAGES = 4096
"""Pages that may wait to be off-lined; one that finds no room crosses its threshold again."""


class PageDone(NamedTuple):
    """What was done about a page that had so many errors."""

    result: Result
    errors: int


class Told(Protocol):
    """Who hears what is done."""

    def trigger_begins(self, trigger: Trigger) -> None: ...

    def trigger_ended(self, result: TriggerResult) -> None: ...

    def page_done(self, done: PageDone) -> None: ...


class _Job(NamedTuple):
    """A page to take out of use; `crossing` is None where its row is why."""

    page: PageErrors
    how: How
    crossing: PageCrossing | None
    errors: MemoryErrors | None


class Actions:
    """Acts upon what the pipeline tells it.

    `page_action` is how pages that cross their threshold are taken out of use,
    None for not at all; `row_action` the same for pages of failing rows.
    `told` hears of triggers and pages, `save` keeps what became of them. What
    comes before start() waits for it.
    """

    def __init__(
        self,
        triggers: Triggers,
        runner: TriggerRunner,
        offliner: PageOffliner,
        books: Books,
        *,
        page_action: How | None,
        row_action: How | None,
        affected_cpus: Callable[[Event], str],
        told: Told,
        save: Callable[[], None],
        clock: Callable[[], float],
    ) -> None:
        self.triggers = triggers
        self._runner = runner
        self._offliner = offliner
        self._books = books
        self.page_action = page_action
        self.row_action = row_action
        self._affected_cpus = affected_cpus
        self._told = told
        self._save = save
        self._clock = clock
        self._waiting: deque[Trigger] = deque()
        self._pages: deque[_Job] = deque()
        self._worker: asyncio.Task[None] | None = None
        self._again: asyncio.Task[None] | None = None
        self._loop: asyncio.AbstractEventLoop | None = None

    def start(self, loop: asyncio.AbstractEventLoop) -> None:
        """Begin to act, with what waits."""
        self._loop = loop
        while self._waiting:
            self._run(self._waiting.popleft())
        self._work_on()

    async def close(self, grace: float) -> None:
        """Act no more; what runs may end within `grace` seconds."""
        self._pages.clear()
        self._offliner.close()
        await self._runner.close(grace)
        for task in (self._worker, self._again):
            if task is not None:
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def event(self, event: Event, about: About) -> None:
        """Run the triggers of events that have one whatever was counted."""
        if about.is_duplicate:
            return
        affected = self._affected_cpus(event) if is_cache_worn(event) else NOT_KNOWN
        for trigger in self.triggers.event(event, event_id=about.event_id, affected_cpus=affected):
            self._run(trigger)

    def crossed(self, crossing: AnyCrossing, event: Event) -> None:
        """Run the crossing's trigger, and see to its page."""
        now = int(self._clock())
        match crossing:
            case Crossing():
                trigger = self.triggers.memory(crossing)
            case ReplacementCrossing():
                trigger = self.triggers.counter_replacement(crossing.counter, crossing.rate, crossing.time)
            case PageCrossing():
                errors = self._books.dimm_at(event, crossing.location, now)
                trigger = self.triggers.page(crossing, errors)
                self._page_crossed(crossing, errors)
            case CoreCrossing():
                trigger = self.triggers.core(crossing)
            case RowCrossing():
                trigger = None
                self._row_crossed(crossing, now)
            case _:
                trigger = None
        if trigger is not None:
            self._run(trigger)

    async def offline(self, address: int, how: How) -> Result:
        """Take a page out of use because someone asks for it; it is noted like any other."""
        result = await self._offliner.offline(address, how)
        pages = self._books.pages
        self._note(pages.get(address, int(self._clock())) if pages is not None else None, result)
        return result

    def limit(self, limits: Limits) -> None:
        """From here on at most so many pages."""
        self._offliner.limit(limits)

    @property
    def boot_id(self) -> str:
        """What tells this boot from others; empty where unknown."""
        return self._offliner.boot_id

    def restore(self, objects: Mapping[tuple[str, str], str]) -> None:
        """Go on with how many pages were taken."""
        self._offliner.restore(objects)

    def off_line_again(self, addresses: Iterable[int]) -> None:
        """Take pages out of use that were so before the machine was started; after start()."""
        if self._loop is not None:
            self._again = self._loop.create_task(self._off_line_again(list(addresses)))

    async def _off_line_again(self, addresses: list[int]) -> None:
        for result in await self._offliner.again(addresses):
            pages = self._books.pages
            self._note(pages.find(result.address) if pages is not None else None, result)

    def _page_crossed(self, crossing: PageCrossing, errors: MemoryErrors | None) -> None:
        if self.page_action is not None and crossing.exact:
            self._add(_Job(crossing.page, self.page_action, crossing, errors))

    def _row_crossed(self, crossing: RowCrossing, now: int) -> None:
        if self.row_action is None or self._books.pages is None:
            return
        for address in crossing.new_pages:
            page = self._books.pages.get(address, now)
            if page.state is PageState.ONLINE:
                self._add(_Job(page, self.row_action, None, None))

    def _add(self, job: _Job) -> None:
        if len(self._pages) < MOST_PAGES and not job.page.pending:
            job.page.pending = True
            self._pages.append(job)
            self._work_on()

    def _run(self, trigger: Trigger) -> None:
        if self._loop is None:
            self._waiting.append(trigger)
            return
        self._told.trigger_begins(trigger)
        self._runner.run(trigger)

    async def _run_and_wait(self, trigger: Trigger | None) -> None:
        if trigger is not None:
            self._told.trigger_begins(trigger)
            await self._runner.run_and_wait(trigger)

    def _work_on(self) -> None:
        if self._loop is not None and self._pages and self._worker is None:
            self._worker = self._loop.create_task(self._work())
            self._worker.add_done_callback(self._rest)

    def _rest(self, _task: asyncio.Task[None]) -> None:
        self._worker = None
        self._work_on()

    async def _work(self) -> None:
        while self._pages:
            await self._see_to(self._pages.popleft())

    async def _see_to(self, job: _Job) -> None:
        if job.page.state is PageState.OFFLINE:
            job.page.pending = False
            return
        crossing = job.crossing if job.how is not How.HARD else None
        if crossing is not None:
            await self._run_and_wait(self.triggers.before_soft(crossing, job.errors))
        result = await self._offliner.offline(job.page.address, job.how)
        self._note(job.page, result)
        if crossing is not None:
            await self._run_and_wait(self.triggers.after_soft(crossing, job.errors))

    def _note(self, page: PageErrors | None, result: Result) -> None:
        """Keep what became of the page, with its reason."""
        if self._books.pages is not None and page is not None:
            state = PageState.OFFLINE if result.ok else PageState.OFFLINE_FAILED
            if result.postponed:
                state = page.state
            reason = result.how.value if result.ok else result.reason
            self._books.pages.set_state(page, state, reason, int(self._clock()))
        self._books.note(self._offliner.take_changed())
        self._save()
        self._told.page_done(PageDone(result, page.total if page is not None else 0))
