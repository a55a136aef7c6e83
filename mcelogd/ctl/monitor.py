# SPDX-License-Identifier: GPL-2.0-only
"""`mcelogctl monitor`: the signals of mcelog, and what its objects' properties change to."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

from mcelogd.ctl import news
from mcelogd.ctl.exits import CtlError, Exit
from mcelogd.ctl.news import News
from mcelogd.ctl.output import say
from mcelogd.ctl.place import ROOT
from mcelogd.ctl.service import DIMM, PROPERTIES, SOCKET, connected
from mcelogd.ctl.units import Unit

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Mapping

    from mcelogd.ctl.output import Output
    from mcelogd.ctl.service import Service

_LEFT_OUT = ("LastErrorTime", "LastEventTime")
"""Properties that change with every event, and say no more than the line itself."""


async def monitor(options: argparse.Namespace, output: Output) -> Exit:
    """Show what happens until the connection is lost, which is a CtlError."""
    async with connected(options) as service:
        watch = Watch(service)
        await watch.begin()
        look = output.look()
        with output.live() as writer:
            async for one in watch.news():
                shown = news.json_line(one) if output.json else news.line(one, watch.names, look)
                writer.write(shown)
    raise CtlError("the connection to the bus is lost", Exit.UNREACHABLE)


class Watch:
    """What is known of the objects, so that it can be told what has changed."""

    def __init__(self, service: Service) -> None:
        self.names: dict[str, str] = {}
        self._service = service
        # Nobody wants to be asked for a password by something that runs by itself.
        self._service.ask_password = False
        self._known: dict[str, dict[str, Any]] = {}
        self._heard: asyncio.Queue[tuple[str, str, list[Any]] | None] = asyncio.Queue()
        self._may_read = True

    async def begin(self) -> None:
        """Listen, and read what there is."""
        await self._service.listen(
            lambda path, member, values: self._heard.put_nowait((path, member, values))
        )
        await self._read_all()

    async def _read_all(self) -> None:
        self._known = {ROOT: await self._service.manager()}
        try:
            objects = await self._service.objects()
        except CtlError as error:
            if error.status is not Exit.DENIED:
                raise
            if self._may_read:
                say(f"counters of DIMMs and sockets are not shown: {error}")
            self._may_read = False
            return
        for path, interfaces in objects.items():
            self._learn(path, interfaces)

    def _learn(self, path: str, interfaces: Mapping[str, Mapping[str, Any]]) -> None:
        for interface in (DIMM, SOCKET):
            if interface in interfaces:
                known = self._known.setdefault(path, {})
                known.update(interfaces[interface])
                self.names[path] = Unit(path, known).name

    async def news(self) -> AsyncIterator[News]:
        """What happens, as it happens, until the connection is lost."""
        self._service.lost.add_done_callback(lambda _: self._heard.put_nowait(None))
        while (heard := await self._heard.get()) is not None:
            async for one in self._understood(time.time(), *heard):
                yield one

    async def _understood(self, now: float, path: str, member: str, values: list[Any]) -> AsyncIterator[News]:
        if member == "PropertiesChanged":
            found = await self._changes(now, path, values)
        elif member == "InterfacesAdded":
            self._learn(values[0], values[1])
            properties = {name: value for of_one in values[1].values() for name, value in of_one.items()}
            found = News(now, member, values[0], properties)
        elif member == "InterfacesRemoved":
            found = News(now, member, values[0], {})
        else:
            found = news.signal_news(now, member, path, values)
            if found is not None and found.what == "Started":
                await self._read_all()
        if found is not None:
            yield found

    async def _changes(self, now: float, path: str, values: list[Any]) -> News | None:
        """None if nothing has changed that is worth a line."""
        interface, changed, invalidated = values
        known = self._known.setdefault(path, {})
        read = await self._read(path, interface) if invalidated else {}
        after = {name: read.get(name) for name in invalidated} | changed
        changed = {
            name: value
            for name, value in after.items()
            if name not in _LEFT_OUT and (value is None or known.get(name) != value)
        }
        before = {name: known[name] for name in changed if name in known}
        known.update((name, value) for name, value in after.items() if value is not None)
        return News(now, "PropertiesChanged", path, changed, before) if changed else None

    async def _read(self, path: str, interface: str) -> dict[str, Any]:
        """Empty if it may not be read, or is gone."""
        if not self._may_read:
            return {}
        try:
            (properties,) = await self._service.call_on(path, PROPERTIES, "GetAll", "s", interface)
        except CtlError:
            return {}
        return dict(properties)
