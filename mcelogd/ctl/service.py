# SPDX-License-Identifier: GPL-2.0-only
"""The running mcelog, asked by D-Bus: one connection, calls that say what went wrong, signals."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any, Final

from mcelogd.ctl import bridge
from mcelogd.ctl.agent import password_agent
from mcelogd.ctl.exits import CtlError, Exit
from mcelogd.ctl.failures import failed, unreachable
from mcelogd.ctl.place import ROOT
from mcelogd.dbus import wire
from mcelogd.dbus.library import AuthError, Message, MessageFlag, MessageType, body_of, plain
from mcelogd.dbus.repairs import RepairedBus
from mcelogd.dbus.wire import DBUS, DBUS_PATH, BusError

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Callable, Sequence

NAME: Final = "org.mcelog"
MANAGER: Final = "org.mcelog.Manager"
DIMM: Final = "org.mcelog.Dimm"
SOCKET: Final = "org.mcelog.Socket"
PROPERTIES: Final = "org.freedesktop.DBus.Properties"
OBJECTS: Final = "org.freedesktop.DBus.ObjectManager"

CONNECT_SECONDS = 10.0
CALL_SECONDS = 25.0
SLOW_SECONDS = 120.0
"""Of what moves memory or waits for an injected error."""
PASSWORD_SECONDS = 330.0
"""mcelog gives up waiting for one a little earlier."""
SLOW = ("OfflinePage", "SelfTest")

MOST_AT_ONCE = 1000
"""Pages or events that mcelog gives in one answer."""

Objects = dict[str, dict[str, dict[str, Any]]]
"""Path -> interface -> property -> value."""


class Service:
    """org.mcelog on one bus."""

    def __init__(self, bus: RepairedBus, *, ask_password: bool, agent_address: str | None) -> None:
        """`agent_address`: the bus for an agent on this terminal, empty for the usual one, None for none."""
        self._bus = bus
        self.ask_password = ask_password
        self._agent_address = agent_address
        self.owner = ""
        """mcelog's unique name; empty while it does not run."""
        self.lost: asyncio.Task[None] = asyncio.ensure_future(self._until_lost())
        """Done when the connection has ended; to be waited for, and not to be cancelled."""

    async def find(self, *, start: bool = True) -> None:
        """Have mcelog started if it is not running, if it may be; CtlError if it is not there."""
        try:
            # In this order: a bus without an activation file for it denies knowing even one that runs.
            if await self._ask_bus("NameHasOwner", "s", [NAME]) != [True]:
                if not start:
                    raise CtlError("mcelog does not run; see systemctl status mcelog", Exit.UNREACHABLE)
                await self._ask_bus("StartServiceByName", "su", [NAME, 0])
            (self.owner,) = await self._ask_bus("GetNameOwner", "s", [NAME])
        except BusError as error:
            raise unreachable(error) from None

    async def call(self, member: str, signature: str = "", *arguments: Any) -> list[Any]:
        """Call a method of the manager; what it returns, or CtlError."""
        return await self.call_on(ROOT, MANAGER, member, signature, *arguments)

    async def call_on(
        self, path: str, interface: str, member: str, signature: str = "", *arguments: Any
    ) -> list[Any]:
        """Call any method of any object; CtlError says why it was not carried out.

        Who needs a password for it is asked for one, if that was not ruled out.
        """
        call = Message(self.owner, path, interface, member, signature=signature)
        call.body = body_of(signature, arguments)
        seconds = SLOW_SECONDS if member in SLOW else CALL_SECONDS
        try:
            return await self._answer(call, seconds)
        except BusError as error:
            if error.name != wire.INTERACTION_REQUIRED or not self.ask_password:
                raise failed(error, member) from None
        call.flags = MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION
        call.serial = 0
        # What waits for the agent may block: nothing else is under way on this connection.
        agent = (
            contextlib.nullcontext() if self._agent_address is None else password_agent(self._agent_address)
        )
        with agent:
            try:
                return await self._answer(call, PASSWORD_SECONDS + seconds)
            except BusError as error:
                raise failed(error, member) from None

    async def manager(self) -> dict[str, Any]:
        """The properties that anybody may read."""
        (properties,) = await self.call_on(ROOT, PROPERTIES, "GetAll", "s", MANAGER)
        return dict(properties)

    async def objects(self) -> Objects:
        """All objects with all their properties."""
        (objects,) = await self.call_on(ROOT, OBJECTS, "GetManagedObjects")
        return dict(objects)

    async def listen(self, heard: Callable[[str, str, list[Any]], None]) -> None:
        """Call `heard` with path, member and values of each signal of mcelog, now and when it comes back.

        NameOwnerChanged is among them, of the bus: mcelog has been started, or has ended.
        """

        def received(message: Message) -> bool:
            if message.message_type is not MessageType.SIGNAL:
                return False
            is_bus = message.sender == DBUS and message.member == "NameOwnerChanged"
            if is_bus and message.body[0] == NAME:
                self.owner = message.body[2]
            elif not self.owner or message.sender != self.owner:
                return True
            with contextlib.suppress(BusError):  # one that cannot be decoded
                heard(str(message.path), str(message.member), [plain(value) for value in message.body])
            return True

        self._bus.add_message_handler(received)
        rules = (
            f"type='signal',sender='{NAME}'",
            f"type='signal',sender='{DBUS}',member='NameOwnerChanged',arg0='{NAME}'",
        )
        try:
            for rule in rules:
                await self._ask_bus("AddMatch", "s", [rule])
        except BusError as error:
            raise CtlError(f"the bus does not let us listen: {error.text}") from None

    async def _until_lost(self) -> None:
        with contextlib.suppress(OSError, EOFError, wire.WireError):
            await self._bus.wait_for_disconnect()  # type: ignore[no-untyped-call]

    async def _ask_bus(self, member: str, signature: str, body: Sequence[Any]) -> list[Any]:
        call = Message(DBUS, DBUS_PATH, DBUS, member, signature=signature, body=list(body))
        return await self._answer(call, CALL_SECONDS)

    async def _answer(self, call: Message, seconds: float) -> list[Any]:
        try:
            async with asyncio.timeout(seconds):
                reply = await self._bus.call(call)
        except TimeoutError:
            raise BusError(wire.TIMED_OUT, f"no answer within {seconds:g} s") from None
        except (OSError, EOFError, wire.WireError) as error:
            raise BusError(wire.DISCONNECTED, str(error)) from None
        if reply is None:
            return []
        if reply.message_type is MessageType.ERROR:
            text = reply.body[0] if reply.body and isinstance(reply.body[0], str) else ""
            raise BusError(str(reply.error_name), text)
        return [plain(value) for value in reply.body]


@contextlib.asynccontextmanager
async def connected(options: argparse.Namespace, *, start: bool = True) -> AsyncIterator[Service]:
    """mcelog on the bus that the options name, started if need be. CtlError if it cannot be reached."""
    bus, leave = await (_connect_remote(options.host) if options.host else _connect_local(options.address))
    agent_address = None if options.host or options.address == "session" else options.address
    agent_address = "" if agent_address == "system" else agent_address
    service = Service(bus, ask_password=not options.no_ask_password, agent_address=agent_address)
    try:
        await service.find(start=start)
        yield service
    finally:
        bus.disconnect()
        leave()


async def _connect_local(setting: str) -> tuple[RepairedBus, Callable[[], object]]:
    connection = bridge.open_local(setting)
    try:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await RepairedBus(connection).connect(), lambda: None
    except TimeoutError:
        raise CtlError("the bus does not answer", Exit.UNREACHABLE) from None
    except (OSError, EOFError, AuthError) as error:
        raise CtlError(f"the bus does not want us: {error}", Exit.UNREACHABLE) from None


async def _connect_remote(host: str) -> tuple[RepairedBus, Callable[[], object]]:
    """Without a time limit: ssh may be asking for a password."""
    connection, leave = bridge.open_remote(host)
    try:
        return await RepairedBus(connection).connect(), leave
    except (OSError, EOFError, AuthError):
        status = leave()
    except BaseException:
        leave()
        raise
    why = f"ssh ended with status {status}" if status else f"is {bridge.BRIDGE} there, and a system bus?"
    raise CtlError(f"cannot reach the bus of {host}: {why}", Exit.UNREACHABLE)
