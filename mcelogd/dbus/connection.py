# SPDX-License-Identifier: GPL-2.0-only
"""One connection to D-Bus, made anew whenever it is lost; nothing here makes its user wait for the bus.

Values are plain Python: what a variant holds stands in its place in what is
received, and is given as a pair of signature and value in what is sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import functools
import logging
import os
import socket
import struct
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import unquote

from mcelogd.dbus import wire as dbus_wire
from mcelogd.dbus.library import AuthError, Message, MessageFlag, MessageType, body_of, plain
from mcelogd.dbus.repairs import RepairedBus
from mcelogd.dbus.signals import Owners, Subscription
from mcelogd.dbus.wire import DBUS, DBUS_PATH, BusError, WireError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    Handler = Callable[[RepairedBus, Message], bool]
    """Takes a method call, and says whether it is the one who answers it."""

log = logging.getLogger(__name__)

SYSTEM_BUS = "unix:path=/run/dbus/system_bus_socket"

CALL_SECONDS = 25.0
"""How long an answer is waited for; the usual time of D-Bus libraries."""

CONNECT_SECONDS = 10.0
FIRST_RETRY = 0.1
LAST_RETRY = 30.0
"""Seconds between attempts to connect: doubled from first to last."""

NAME_RETRY = 30.0
"""Seconds between attempts to get a name that is refused; when its owner leaves, at once."""

MAX_SIGNALS_QUEUED = 4 << 20
"""Bytes; beyond, signals are dropped until the bus reads again. Enough for 4,096 objects that appear."""

_DO_NOT_QUEUE: Final = 4
_PRIMARY_OWNER: Final = 1
_ALREADY_OWNER: Final = 4

_NAME_OWNER_CHANGED = (DBUS, "NameOwnerChanged")

_LOST = (OSError, EOFError, WireError)
"""What ends a connection, or an attempt to make one."""


class BusState(enum.Enum):
    """What the connection is good for."""

    UP = "up"
    """Connected, and the name, if there is to be one, is ours."""
    NAME_TAKEN = "name taken"
    """Connected, but somebody else has the name, or we may not have it: nobody can find us."""
    DOWN = "down"


def addresses(setting: str, environ: Mapping[str, str] = os.environ) -> list[str]:
    """What a socket may connect to for the setting `bus`, best first; ValueError if there is nothing.

    Of addresses, those of Unix sockets are understood (D-Bus Specification, "Server Addresses").
    """
    if setting == "system":
        setting = environ.get("DBUS_SYSTEM_BUS_ADDRESS") or SYSTEM_BUS
    elif setting == "session":
        runtime = environ.get("XDG_RUNTIME_DIR")
        setting = environ.get("DBUS_SESSION_BUS_ADDRESS") or (f"unix:path={runtime}/bus" if runtime else "")
        if not setting:
            raise ValueError("this session has no bus: DBUS_SESSION_BUS_ADDRESS is not set")
    found = [address for one in setting.split(";") if (address := _socket_address(one))]
    if not found:
        raise ValueError(f"{setting} is not the address of a Unix socket, such as {SYSTEM_BUS}")
    return found


def _socket_address(address: str) -> str:
    """Empty if it is not one of a Unix socket."""
    transport, _, options = address.partition(":")
    values = {key: unquote(value) for key, _, value in (one.partition("=") for one in options.split(","))}
    if transport != "unix":
        return ""
    return "\0" + values["abstract"] if "abstract" in values else values.get("path", "")


class BusConnection:
    """This process on the bus that the setting `bus` names.

    For use in the event loop's thread. While there is no bus, calls fail at
    once and signals go nowhere; subscriptions and what is served outlive it.
    """

    def __init__(
        self,
        setting: str,
        *,
        name: str = "",
        on_change: Callable[[BusState, str], None] | None = None,
        opened: Callable[[], socket.socket] | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Nothing happens before start().

        `setting` is system, session, none, or an address; `name` what to own on that bus. `on_change`
        hears of every new state, and why it is not UP. `opened` gives a socket that leads to the bus by
        another way, such as ssh to systemd-stdio-bridge; OSError if there is none.
        """
        self.state: BusState | None = None
        """None until the first attempt has come to its end."""
        self.reason = ""
        self.dropped = 0
        """Signals that were lost to a bus which does not read."""
        self._setting = setting
        self._name = name
        self._on_change = on_change
        self._opened = opened
        self._environ = environ
        self._bus: RepairedBus | None = None
        self._handler: Handler | None = None
        self._subscriptions: dict[tuple[str, str], list[Subscription]] = {}
        self._owners = Owners()
        self._asked: dict[str, asyncio.Future[None]] = {}
        """The names whose owner the bus has been asked for, and has not told yet."""
        self._owner_changed = asyncio.Event()
        self._settled = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    @property
    def unique_name(self) -> str:
        """Ours, while connected; otherwise empty."""
        return str(self._bus.unique_name) if self._bus is not None else ""

    @property
    def _connected(self) -> RepairedBus | None:
        return self._bus if self._bus is not None and self._bus.connected else None

    def serve(self, handler: Handler) -> None:
        """Let `handler` answer method calls. To be said before start(), so that none is missed."""
        self._handler = handler

    def start(self) -> None:
        """Begin to connect, and go on for ever. Needs a running loop."""
        if self._setting != "none":
            self._task = asyncio.get_running_loop().create_task(self._run())

    async def settle(self, seconds: float) -> None:
        """Wait until the first attempt has come to its end, but not longer than `seconds`."""
        if self._task is not None:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._settled.wait(), seconds)

    async def close(self) -> None:
        """Leave the bus, once it has taken what was sent, or a second has passed."""
        if self._task is None:
            return
        if self._bus is not None:
            with contextlib.suppress(BusError):
                await self.call(DBUS, DBUS_PATH, DBUS, "GetId", seconds=1)
        self._on_change = None
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
        self._task = None
        self.state = BusState.DOWN

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        *,
        seconds: float = CALL_SECONDS,
        interactive: bool = False,
    ) -> list[Any]:
        """Call a method, starting the service if it does not run; the values it returns.

        Only what the owner of `destination` sends is taken for its answer. `interactive`: somebody is
        there to type a password. Raises BusError: the service's own, or that there is no bus, or no
        answer within `seconds`; ValueError if `body` does not fit `signature`.
        """
        arguments = body_of(signature, body)
        bus = self._connected
        if bus is None:
            raise BusError(dbus_wire.DISCONNECTED, f"not connected to a bus: {self.reason or self._setting}")
        try:
            async with asyncio.timeout(seconds):
                owner = await self._owner(bus, destination)
                flags = MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION if interactive else MessageFlag.NONE
                call = Message(
                    owner, path, interface, member, flags=flags, signature=signature, body=arguments
                )
                return await _answer(bus, call)
        except TimeoutError:
            text = f"{destination} did not answer within {seconds:g} s"
            raise BusError(dbus_wire.TIMED_OUT, text) from None
        except _LOST as error:
            raise BusError(dbus_wire.DISCONNECTED, _reason(error)) from error

    def on_signal(
        self,
        sender: str,
        path: str,
        interface: str,
        member: str,
        callback: Callable[[list[Any]], None],
        *,
        arg0: str = "",
    ) -> Callable[[], None]:
        """Call `callback` with the values of each such signal; what is returned ends that.

        `sender` is a name on the bus: only signals of its owner count. An empty `path` means any;
        `arg0`, if given, is what the first value must be.
        """
        one = Subscription(sender, path, (interface, member), arg0, callback)
        self._subscriptions.setdefault(one.member, []).append(one)
        if (bus := self._connected) is not None:
            self._subscribe(bus, one)

        def unsubscribe() -> None:
            if one in (others := self._subscriptions.get(one.member, [])):
                others.remove(one)
                if not others:
                    del self._subscriptions[one.member]
                if (bus := self._connected) is not None:
                    bus.post(_to_bus("RemoveMatch", "s", [one.rule], MessageFlag.NO_REPLY_EXPECTED))

        return unsubscribe

    def emit(
        self, path: str, interface: str, member: str, signature: str = "", body: Sequence[Any] = ()
    ) -> bool:
        """Send a signal to whoever listens; False if it was dropped, for want of a bus that takes it."""
        bus = self._connected
        if bus is None or self.state is not BusState.UP:
            return False
        if bus.queued > MAX_SIGNALS_QUEUED:
            self.dropped += 1
            return False
        try:
            bus.post(Message.new_signal(path, interface, member, signature, body_of(signature, body)))
        except (TypeError, ValueError, struct.error, BusError):
            # A value that D-Bus has no form for must not cost the record that it is told of.
            log.exception("the signal %s cannot be sent", member)
            return False
        return True

    # -- the life of a connection -----------------------------------------------------------

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        delay = FIRST_RETRY
        while True:
            began = loop.time()
            self._tell(BusState.DOWN, await self._live())
            if loop.time() - began > LAST_RETRY:
                delay = FIRST_RETRY
            await asyncio.sleep(delay)
            delay = min(2 * delay, LAST_RETRY)

    async def _live(self) -> str:
        """One connection from beginning to end; how it ended."""
        try:
            bus = await self._connect()
        except (*_LOST, AuthError, BusError, ValueError) as error:
            return f"no connection to the bus: {_reason(error)}"
        naming = asyncio.get_running_loop().create_task(self._keep_name(bus))
        try:
            self._attach(bus)
            await bus.wait_for_disconnect()  # type: ignore[no-untyped-call]
        except _LOST as error:
            return _reason(error)
        finally:
            self._bus = None
            bus.disconnect()
            naming.cancel()
            await asyncio.gather(naming, return_exceptions=True)
        return "disconnected from the bus"

    async def _connect(self) -> RepairedBus:
        async with asyncio.timeout(CONNECT_SECONDS):
            return await RepairedBus(self._opened() if self._opened else self._open()).connect()

    def _open(self) -> socket.socket:
        problem: OSError | None = None
        for address in addresses(self._setting, self._environ):
            connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            connection.setblocking(False)
            try:
                connection.connect(address)
            except OSError as error:
                connection.close()
                problem = OSError(error.errno, error.strerror, address.replace("\0", "@", 1))
            else:
                return connection
        raise problem or OSError("no address")

    def _attach(self, bus: RepairedBus) -> None:
        """Have on this connection what was on the one before."""
        self._bus = bus
        bus.add_message_handler(functools.partial(self._received, bus))
        bus.hears = lambda *member: member == _NAME_OWNER_CHANGED or member in self._subscriptions
        for name in self._owners:
            self._track(bus, name)
        for subscriptions in self._subscriptions.values():
            for one in subscriptions:
                self._subscribe(bus, one)

    async def _keep_name(self, bus: RepairedBus) -> None:
        """Have the name, or say why not and try again."""
        if self._name and self._name not in self._owners:
            self._track(bus, self._name)
        while True:
            self._owner_changed.clear()
            problem = await self._take_name(bus) if self._name else ""
            self._tell(BusState.NAME_TAKEN if problem else BusState.UP, problem)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(NAME_RETRY if problem else None):
                    await self._owner_changed.wait()

    async def _take_name(self, bus: RepairedBus) -> str:
        """Why we do not have the name; empty if we do."""
        try:
            (answer,) = await _answer(bus, _to_bus("RequestName", "su", [self._name, _DO_NOT_QUEUE]))
            if answer in (_PRIMARY_OWNER, _ALREADY_OWNER):
                return ""
            (process,) = await _answer(bus, _to_bus("GetConnectionUnixProcessID", "s", [self._name]))
        except BusError as error:
            return f"the bus does not let us have the name {self._name}: {error.text}"
        return f"the name {self._name} belongs to process {process}; is another mcelog running?"

    def _tell(self, state: BusState, reason: str) -> None:
        changed = state is not self.state
        self.state, self.reason = state, reason
        self._settled.set()
        if not changed or self._on_change is None:
            return
        try:
            self._on_change(state, reason)
        except Exception:  # who is told must not decide whether there is a connection
            log.exception("telling of the bus failed")

    # -- signals and the owners of names ----------------------------------------------------

    def _received(self, bus: RepairedBus, message: Message) -> bool:
        if message.message_type is MessageType.METHOD_CALL:
            return self._handler is not None and self._handler(bus, message)
        member = (str(message.interface), str(message.member))
        if member == _NAME_OWNER_CHANGED and message.sender == DBUS:
            self._changed_owner(*message.body)
        for one in tuple(self._subscriptions.get(member, ())):
            if one.wants(message, self._owners.of(one.sender)):
                _tell_subscriber(one, plain(message.body))
        return True

    def _changed_owner(self, name: str, _: str, owner: str) -> None:
        if name in self._owners:
            self._owners.change(name, owner)
        if name == self._name:
            self._owner_changed.set()

    def _subscribe(self, bus: RepairedBus, one: Subscription) -> None:
        if one.sender not in self._owners:
            self._track(bus, one.sender)
        bus.call_then(_to_bus("AddMatch", "s", [one.rule]), _log_refusal)

    def _track(self, bus: RepairedBus, name: str) -> None:
        """Know from now on to whom a name belongs."""
        asked = self._asked[name] = asyncio.get_running_loop().create_future()

        def answered(reply: Message | None, _: Exception | None) -> None:
            is_owned = reply is not None and reply.message_type is MessageType.METHOD_RETURN
            self._owners.change(name, str(reply.body[0]) if reply is not None and is_owned else "")
            if self._asked.get(name) is asked:
                del self._asked[name]
            asked.set_result(None)

        rule = Subscription(DBUS, DBUS_PATH, _NAME_OWNER_CHANGED, name, print).rule
        self._owners.change(name, "")
        bus.call_then(_to_bus("AddMatch", "s", [rule]), _log_refusal)
        bus.call_then(_to_bus("GetNameOwner", "s", [name]), answered)

    async def _owner(self, bus: RepairedBus, name: str) -> str:
        """Who is to be called by this name; BusError if nobody has it and nobody could be started."""
        if name not in self._owners:
            self._track(bus, name)
        if (asked := self._asked.get(name)) is not None:
            await asyncio.shield(asked)  # others may wait for it, too
        if owner := self._owners.of(name):
            return owner
        await _answer(bus, _to_bus("StartServiceByName", "su", [name, 0]))
        (owner,) = await _answer(bus, _to_bus("GetNameOwner", "s", [name]))
        return str(owner)


def _to_bus(member: str, signature: str, body: list[Any], flags: MessageFlag = MessageFlag.NONE) -> Message:
    """A call of the bus itself."""
    return Message(DBUS, DBUS_PATH, DBUS, member, flags=flags, signature=signature, body=body)


async def _answer(bus: RepairedBus, call: Message) -> list[Any]:
    """The values that a call returns; BusError if it returns an error."""
    reply = await bus.call(call)
    if reply is None:
        return []
    if reply.message_type is MessageType.ERROR:
        text = reply.body[0] if reply.body and isinstance(reply.body[0], str) else "no reason given"
        raise BusError(str(reply.error_name), text)
    return [plain(value) for value in reply.body]


def _log_refusal(reply: Message | None, _: Exception | None) -> None:
    if reply is not None and reply.message_type is MessageType.ERROR:
        log.error("the bus does not let us listen to signals: %s", plain(reply.body))


def _tell_subscriber(one: Subscription, body: list[Any]) -> None:
    try:
        one.callback(body)
    except Exception:  # a subscriber's fault is not the bus's, nor that of the others
        log.exception("taking in the signal %s failed", one.member[1])


def _reason(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return "the bus does not answer"
    if isinstance(error, (BrokenPipeError, ConnectionResetError)):
        return "the bus closed the connection"
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return str(error)
