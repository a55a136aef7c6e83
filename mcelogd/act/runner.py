# SPDX-License-Identifier: GPL-2.0-only
"""Triggers are run: so many at once, the others in a queue, none for ever.

How one is run is a Launcher's matter: act/transient.py asks systemd, act/fork.py
starts a child of this process, Preferring takes whichever can.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from typing import TYPE_CHECKING, NamedTuple, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.triggers import Trigger

log = logging.getLogger(__name__)

QUEUE_LIMIT = 1000
"""Triggers that wait at most."""

MOST_AT_ONCE = 64
"""What "any number at once" means: each needs processes and descriptors; the others wait for their turn."""


class LaunchError(Exception):
    """This launcher cannot run anything at present, and has not run this trigger. The text says why."""


class Outcome(NamedTuple):
    """How one run ended. `error` is empty if `ok`; `output` is what the launcher caught of it."""

    ok: bool
    error: str = ""
    output: tuple[str, ...] = ()


class TriggerResult(NamedTuple):
    """What became of a trigger; `seconds` is how long it ran, 0 where it did not."""

    trigger: Trigger
    ok: bool
    error: str
    seconds: float
    output: tuple[str, ...] = ()


class Launcher(Protocol):
    """Runs one trigger."""

    async def launch(self, trigger: Trigger, time_limit: float) -> Outcome:
        """Run it and wait for its end, which is brought about after `time_limit` seconds or when cancelled.

        Raises LaunchError if it was not run and another launcher may try.
        """


class Preferring:
    """Runs triggers by `first`, and by `second` whenever that cannot."""

    def __init__(self, first: Launcher, second: Launcher) -> None:
        self._first = first
        self._second = second
        self._told = ""

    async def launch(self, trigger: Trigger, time_limit: float) -> Outcome:
        try:
            outcome = await self._first.launch(trigger, time_limit)
        except LaunchError as error:
            self._tell(str(error))
            return await self._second.launch(trigger, time_limit)
        self._told = ""
        return outcome

    def _tell(self, why: str) -> None:
        """Once, as long as it goes on."""
        if why != self._told:
            log.warning("triggers are run by mcelog itself, within its own sandbox: %s", why)
        self._told = why


class _Job(NamedTuple):
    """A trigger in the queue; whoever waits for it waits for `done`."""

    trigger: Trigger
    done: asyncio.Future[TriggerResult] | None = None


class TriggerRunner:
    """Runs triggers, at most `children_max` at once, each `time_limit` seconds at most.

    A `children_max` of 0 or less is any number. Every trigger is reported when
    it has ended, and those that could not be run; of those that find the queue
    full the first at once, the others in sum. `report` must not raise. For use
    within one event loop.
    """

    def __init__(
        self,
        launcher: Launcher,
        report: Callable[[TriggerResult], None],
        *,
        children_max: int,
        time_limit: float,
        queue_limit: int = QUEUE_LIMIT,
    ) -> None:
        self._launcher = launcher
        self._report = report
        self._at_once = children_max if children_max > 0 else MOST_AT_ONCE
        self._time_limit = time_limit
        self._queue_limit = queue_limit
        self._waiting: deque[_Job] = deque()
        self._running: set[asyncio.Task[None]] = set()
        self._dropped = 0
        self._last_dropped: Trigger | None = None
        self._closed = False

    @property
    def running(self) -> int:
        """How many run now."""
        return len(self._running)

    @property
    def waiting(self) -> int:
        """How many wait for their turn."""
        return len(self._waiting)

    def run(self, trigger: Trigger) -> None:
        """Run it as soon as there is room; never waits, never raises."""
        if self._closed:
            self._not_run(trigger, "not run: mcelog ends")
        elif len(self._waiting) >= self._queue_limit:
            self._drop(trigger)
        else:
            self._waiting.append(_Job(trigger))
            self._start()

    async def run_and_wait(self, trigger: Trigger) -> TriggerResult:
        """Run it before those that wait, and wait for its end."""
        if self._closed:
            return self._not_run(trigger, "not run: mcelog ends")
        done: asyncio.Future[TriggerResult] = asyncio.get_running_loop().create_future()
        self._waiting.appendleft(_Job(trigger, done))
        self._start()
        return await done

    async def close(self, grace: float) -> None:
        """Run no more; what runs may end by itself within `grace` seconds, then it is ended."""
        self._closed = True
        while self._waiting:
            self._end(self._waiting.popleft(), Outcome(ok=False, error="not run: mcelog ends"), 0)
        self._tell_dropped()
        running = list(self._running)
        if running:
            await asyncio.wait(running, timeout=grace)
            for task in running:
                task.cancel()
            await asyncio.wait(running)

    def _start(self) -> None:
        while self._waiting and len(self._running) < self._at_once:
            task = asyncio.get_running_loop().create_task(self._work(self._waiting.popleft()))
            self._running.add(task)
            task.add_done_callback(self._finished)
        if len(self._waiting) < self._queue_limit:
            self._tell_dropped()

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._start()

    async def _work(self, job: _Job) -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        outcome = Outcome(ok=False, error="ended: mcelog ends")
        try:
            outcome = await self._launcher.launch(job.trigger, self._time_limit)
        except LaunchError as error:
            outcome = Outcome(ok=False, error=str(error))
        except Exception as error:
            # A mistake in a launcher must not cost the triggers that wait behind this one.
            log.exception("a trigger could not be run; please report this")
            outcome = Outcome(ok=False, error=f"mistake in mcelog: {error}")
        finally:
            self._end(job, outcome, loop.time() - begun)

    def _end(self, job: _Job, outcome: Outcome, seconds: float) -> TriggerResult:
        result = TriggerResult(job.trigger, outcome.ok, outcome.error, seconds, outcome.output)
        self._report(result)
        if job.done is not None and not job.done.done():
            job.done.set_result(result)
        return result

    def _not_run(self, trigger: Trigger, error: str) -> TriggerResult:
        return self._end(_Job(trigger), Outcome(ok=False, error=error), 0)

    def _drop(self, trigger: Trigger) -> None:
        self._dropped += 1
        self._last_dropped = trigger
        if self._dropped == 1:
            self._not_run(trigger, f"not run: {len(self._waiting)} triggers wait already")

    def _tell_dropped(self) -> None:
        """There is room again: say how many were dropped since the first, with the last one's name."""
        more, last = self._dropped - 1, self._last_dropped
        self._dropped, self._last_dropped = 0, None
        if more > 0 and last is not None:
            self._not_run(last, f"not run, like {more - 1} others before it: too many triggers waited")
