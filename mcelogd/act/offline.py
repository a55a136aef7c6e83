# SPDX-License-Identifier: GPL-2.0-only
"""Takes pages of memory out of use without holding anything up.

The kernel may take half a minute and more for a page, so it is asked in a
thread of its own, one page after the other.
"""

from __future__ import annotations

import asyncio
import logging
import queue
import threading
import time
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.act.caps import PAGE_SIZE, Limits, OfflineCaps
from mcelogd.act.page import How, PageKnobs, Result

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mcelogd.act.caps import Memory

__all__ = ["How", "Limits", "PageOffliner", "Result"]

log = logging.getLogger(__name__)

KIND = "offline"
CAPS = (KIND, "caps")
"""Under which the numbers of pages taken are saved."""

MOST_WAITING = 64
"""Pages that may wait for the kernel."""


class _Job(NamedTuple):
    address: int
    how: How
    again: bool
    future: asyncio.Future[Result]


class PageOffliner:
    """The queue of pages to take out of use, and the thread that works it off.

    All methods are for the event loop's thread.
    """

    def __init__(
        self,
        sysfs_root: str = "/sys",
        proc_root: str = "/proc",
        limits: Limits | None = None,
        *,
        huge_pages: bool = False,
        dry_run: bool = False,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """See PageKnobs for `huge_pages` and `dry_run`; the thread is started for the first page."""
        self._knobs = PageKnobs(sysfs_root, proc_root, huge_pages=huge_pages, dry_run=dry_run)
        self.boot_id = self._knobs.boot_id()
        self._caps = OfflineCaps(limits or Limits())
        self._clock = clock
        self._jobs: dict[tuple[int, How], _Job] = {}
        self._queue: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._changed: dict[tuple[str, str], str | None] = {}
        self._thread: threading.Thread | None = None
        self._closing = False

    @property
    def waiting(self) -> int:
        """Pages asked for and not answered yet, the one that the kernel is at included."""
        return len(self._jobs)

    def limit(self, limits: Limits) -> None:
        """From here on at most so many pages."""
        self._caps.limits = limits

    def check(self, how: str) -> str:
        """Why no page at all can be off-lined this way now, for a warning at the start; empty if it should
        be possible."""
        return self._knobs.check(How(how))

    async def offline(self, address: int, how: str) -> Result:
        """Take the page of a physical byte address out of use: soft, hard or soft-then-hard.

        Waits as long as the kernel takes. Asked twice for a page it answers both
        with the one result.
        """
        return await self._ask(address, How(how), again=False)

    async def again(self, pages: Iterable[int], how: str = How.SOFT) -> list[Result]:
        """Take pages out of use that an earlier boot had taken; one after the other, others may come
        in between. They do not count as this day's."""
        return [await self._ask(page, How(how), again=True) for page in pages]

    def take_changed(self) -> dict[tuple[str, str], str | None]:
        """What is to be saved since the last call: JSON by kind and name."""
        changed, self._changed = self._changed, {}
        return changed

    def restore(self, objects: Mapping[tuple[str, str], str]) -> None:
        """Go on with what was saved; before the first page."""
        if CAPS in objects and not self._caps.restore(objects[CAPS], self.boot_id):
            log.warning("the saved number of off-lined pages is damaged; it begins anew")

    def close(self) -> None:
        """Answer all that wait, and let the thread end once the kernel lets go of it."""
        self._closing = True
        self._queue.put(None)
        for job in self._jobs.values():
            if not job.future.done():
                job.future.set_result(_not_asked(job.address, job.how, "mcelog stops"))
        self._jobs.clear()

    async def _ask(self, address: int, how: How, *, again: bool) -> Result:
        key = (address // PAGE_SIZE, how)
        job = self._jobs.get(key)
        if job is None:
            if self._closing:
                return _not_asked(address, how, "mcelog stops")
            if len(self._jobs) >= MOST_WAITING:
                at_work = next(iter(self._jobs.values())).address
                reason = f"{len(self._jobs)} pages wait for the kernel, which is at page {at_work:#x}"
                return _not_asked(address, how, reason)
            job = self._jobs[key] = _Job(address, how, again, asyncio.get_running_loop().create_future())
            self._start()
            self._queue.put(job)
        # Who gives up waiting does not take the answer from others, nor the page from the queue.
        return await asyncio.shield(job.future)

    def _start(self) -> None:
        if self._thread is None:
            # A daemon thread: no page that the kernel is at may keep the process from ending.
            self._thread = threading.Thread(target=self._work, name="offline", daemon=True)
            self._thread.start()

    def _work(self) -> None:
        """The thread."""
        while (job := self._queue.get()) is not None and not self._closing:
            result = self._do(job)
            saved = self._caps.save(self.boot_id) if result.lost else None
            try:
                job.future.get_loop().call_soon_threadsafe(self._done, job, result, saved)
            except RuntimeError:  # the loop has ended meanwhile
                return

    def _do(self, job: _Job) -> Result:
        def refusal(memory: Memory | None) -> str:
            return self._caps.refusal(int(self._clock()), memory, again=job.again)

        try:
            result = self._knobs.take(job.address, job.how, refusal)
        except Exception:
            # Files of the kernel are read defensively. Should a mistake prove that wrong, nobody
            # may wait for ever, nor the pages behind this one.
            log.exception("page %#x could not be off-lined; please report this", job.address)
            return _not_asked(job.address, job.how, "a defect of mcelog")
        if result.lost:
            self._caps.count(int(self._clock()), again=job.again)
        return result

    def _done(self, job: _Job, result: Result, saved: str | None) -> None:
        self._jobs.pop((job.address // PAGE_SIZE, job.how), None)
        if saved is not None:
            self._changed[CAPS] = saved
        if not job.future.done():
            job.future.set_result(result)


def _not_asked(address: int, how: How, reason: str) -> Result:
    page = address & ~(PAGE_SIZE - 1)
    return Result(page, False, How.HARD if how is How.HARD else How.SOFT, reason, postponed=True)
