# SPDX-License-Identifier: GPL-2.0-only
"""Somebody on each side of a bus."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from mcelogd.dbus.connection import BusConnection, BusState
from mcelogd.dbus.library import Message, MessageFlag
from mcelogd.dbus.wire import BusError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from mcelogd.dbus.repairs import RepairedBus

    from .privatebus import PrivateBus

NAME = "org.mcelog"
PATH = "/org/mcelog"
INTERFACE = "org.mcelog.Test"


class Told:
    """What on_change was told."""

    def __init__(self) -> None:
        self.states: list[BusState] = []
        self.reasons: list[str] = []

    def __call__(self, state: BusState, reason: str) -> None:
        self.states.append(state)
        self.reasons.append(reason)


@contextlib.asynccontextmanager
async def connection(bus: PrivateBus | str, name: str = "", **options: Any) -> AsyncIterator[BusConnection]:
    setting = bus if isinstance(bus, str) else bus.address
    connection = BusConnection(setting, name=name, **options)
    connection.start()
    await connection.settle(10)
    try:
        yield connection
    finally:
        await connection.close()


def echo(bus: RepairedBus, message: Message) -> bool:
    """A service: what it is called with, it returns."""
    match message.member:
        case "Echo":
            bus.reply_to(message)(Message.new_method_return(message, message.signature, message.body))
        case "Refuse":
            bus.reply_to(message).send_error(BusError("org.mcelog.Error.No", "not this time"))
        case "Never":
            pass
        case _:
            return False
    return True


@contextlib.asynccontextmanager
async def echoing(bus: PrivateBus, name: str = NAME) -> AsyncIterator[BusConnection]:
    service = BusConnection(bus.address, name=name)
    service.serve(echo)
    service.start()
    await service.settle(10)
    assert service.state is BusState.UP, service.reason
    try:
        yield service
    finally:
        await service.close()


def forge(sender: RepairedBus, destination: str, **fields: Any) -> None:
    fields = {"flags": MessageFlag.NO_REPLY_EXPECTED, "path": PATH, "interface": INTERFACE, **fields}
    sender.post(Message(destination, **fields))
