# SPDX-License-Identifier: GPL-2.0-only
"""Calls that wait for their authorization, while others are served.

A call is parked in a task of its own; when its caller is authorized, it is
carried out there. How many may be parked is limited, for each caller and in
all.
"""

from __future__ import annotations

import asyncio
import functools
from contextvars import ContextVar
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mcelogd.dbus import wire as dbus_wire
from mcelogd.dbus.library import MessageFlag
from mcelogd.dbus.wire import BusError

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Coroutine, Mapping

    from mcelogd.dbus.library import Message
    from mcelogd.dbus.repairs import RepairedBus

MAX_OF_SENDER = 16
"""Calls of one sender that may be waiting or under way."""

MAX_IN_ALL = 256
"""Not to be reached: mcelogd.polkit limits each user much earlier."""

caller: ContextVar[str] = ContextVar("caller", default="")
"""The unique name of whose call is being carried out."""


class Authorize(Protocol):
    """Returns if `sender` may do `action`; otherwise raises BusError."""

    async def __call__(
        self, sender: str, action: str, details: Mapping[str, str] | None = None, *, interactive: bool = False
    ) -> None: ...


class Job(NamedTuple):
    """What a call asks for."""

    work: Callable[[], Any]
    """Does it. What it gives is awaited if `waits`."""
    answer: Callable[[Any], Message]
    """Makes the answer of what `work` gave."""
    waits: bool = False
    actions: Collection[str] = ()
    """What the caller has to be authorized for."""
    details: Mapping[str, str] | None = None


class Gate:
    """Carries out jobs, if their callers are authorized."""

    def __init__(self, authorize: Authorize) -> None:
        self._authorize = authorize
        self._parked: dict[str, set[asyncio.Task[None]]] = {}

    def take(self, bus: RepairedBus, call: Message, job: Job) -> None:
        """Answer the call, now or later. BusError, to be answered with, if too many wait already."""
        token = caller.set(str(call.sender))
        try:
            if job.actions or job.waits:
                self._park(str(call.sender), self._carry_out(bus, call, job))
            else:
                bus.reply_to(call)(job.answer(job.work()))
        finally:
            caller.reset(token)

    def close(self) -> None:
        """Give up what is parked; the callers are told."""
        for tasks in self._parked.values():
            for task in tasks:
                task.cancel()

    def _park(self, sender: str, work: Coroutine[Any, Any, None]) -> None:
        of_sender = len(self._parked.get(sender, ()))
        if of_sender >= MAX_OF_SENDER or sum(map(len, self._parked.values())) >= MAX_IN_ALL:
            work.close()
            raise BusError(dbus_wire.LIMITS_EXCEEDED, "too many of your calls are not answered yet")
        task = asyncio.get_running_loop().create_task(work)
        self._parked.setdefault(sender, set()).add(task)
        task.add_done_callback(functools.partial(self._done, sender))

    def _done(self, sender: str, task: asyncio.Task[None]) -> None:
        self._parked[sender].discard(task)
        if not self._parked[sender]:
            del self._parked[sender]

    async def _carry_out(self, bus: RepairedBus, call: Message, job: Job) -> None:
        with bus.reply_to(call) as reply:
            for action in job.actions:
                await self._authorize(
                    str(call.sender),
                    action,
                    job.details,
                    interactive=bool(call.flags & MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION),
                )
                if not bus.connected:
                    # On the next bus, the name that was asked about may be somebody else's.
                    return
            result = job.work()
            reply(job.answer(await result if job.waits else result))
