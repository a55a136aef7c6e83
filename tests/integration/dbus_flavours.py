# SPDX-License-Identifier: GPL-2.0-only
"""dbus-next as it is and as we mended it, side by side, for tests that the one fails and the other passes."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import socket
from typing import TYPE_CHECKING, Any

import pytest

from mcelogd.dbus.library import (
    Message,
    MessageBus,
    MessageType,
    PropertyAccess,
    ServiceInterface,
    dbus_property,
    method,
)
from mcelogd.dbus.repairs import RepairedBus

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine

    Connect = Callable[[str], Coroutine[Any, Any, MessageBus]]

SHORT = 1.0
"""Seconds that stock dbus-next is given to do what it never does."""

TO_BUS = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")

STOCK: list[MessageBus] = []


def run(main: Coroutine[Any, Any, None]) -> None:
    """To the end, and what dbus-next leaves to the garbage collector, too: it would come in other tests."""
    try:
        asyncio.run(main)
    finally:
        while STOCK:
            close(STOCK.pop())
        gc.collect()


async def stock(path: str) -> MessageBus:
    STOCK.append(MessageBus(f"unix:path={path}"))
    return await STOCK[-1].connect()


async def ours(path: str) -> MessageBus:
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.connect(path)
    return await RepairedBus(connection).connect()


_must_fail = pytest.mark.xfail(strict=True, raises=(AssertionError, TimeoutError, ValueError))

stock_fails = pytest.mark.parametrize("connect", [pytest.param(stock, marks=_must_fail), pytest.param(ours)])


class Service(ServiceInterface):
    """What may happen in a service."""

    def __init__(self) -> None:
        super().__init__("org.example.Test")

    @method()
    def Fail(self) -> s:  # noqa: F821  # a D-Bus signature
        raise RuntimeError("secret of the service")

    @method()
    async def Stop(self) -> s:  # noqa: F821
        raise asyncio.CancelledError

    @method()
    def Long(self) -> ay:  # noqa: F821
        return bytes(33 << 20)

    @method()
    async def Slow(self) -> s:  # noqa: F821
        await asyncio.sleep(0.3)
        return "real"

    @method()
    def Take(self, numbers: ai) -> s:  # noqa: F821
        return str(len(numbers))

    @dbus_property(access=PropertyAccess.READ)
    def Answer(self) -> u:  # noqa: F821
        return 42


def close(bus: MessageBus) -> None:
    if not bus._loop.is_closed():
        bus._finalize()
    for part in (bus._stream, bus._sock):
        with contextlib.suppress(OSError):
            if part is not None:
                part.close()


@contextlib.asynccontextmanager
async def connected(connect: Connect, path: str) -> AsyncIterator[tuple[MessageBus, MessageBus]]:
    """The one that is tried, with a service on it; and another that is known to work."""
    tried, other = await connect(path), await ours(path)
    try:
        tried.export("/test", Service())
        yield tried, other
    finally:
        close(tried)
        close(other)


def call(bus: MessageBus, member: str, **fields: Any) -> Message:
    fields = {"path": "/test", "interface": "org.example.Test", **fields}
    return Message(bus.unique_name, member=member, **fields)


async def ask(bus: MessageBus, message: Message, seconds: float = SHORT) -> Message:
    reply = await asyncio.wait_for(bus.call(message), seconds)
    assert reply is not None
    return reply


async def is_alive(bus: MessageBus) -> bool:
    reply = await ask(bus, Message(*TO_BUS, "GetId"))
    return reply.message_type is MessageType.METHOD_RETURN
