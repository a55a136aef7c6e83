# SPDX-License-Identifier: GPL-2.0-only
"""dbus-next's connection to a bus, with its faults mended.

Stock, it is lost when a burst fills the socket; lets anybody who may call stop
the loop for seconds, fill the log, or read our tracebacks; blocks while it
connects, and spins when the bus hangs up meanwhile; takes answers from anybody.
Each repair has its test, in tests/integration/test_dbus_repairs.py and
test_dbus_callers.py. Objects are not exported on it: ObjectTree serves them.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcelogd.dbus import wire as dbus_wire
from mcelogd.dbus.library import (
    AuthError,
    DBusError,
    Message,
    MessageBus,
    MessageFlag,
    MessageType,
    Received,
    ServiceInterface,
)
from mcelogd.dbus.wire import BusError, Flag, Frames, Header, Kind, WireError, read_header

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable
    from types import TracebackType

log = logging.getLogger(__name__)

MAX_BODY = 64 << 10
"""Bytes that a call or a signal may bring. All of ours are far below."""

MAX_MESSAGE = 8 << 20
"""Bytes of one message to be sent. The system bus throws out who sends more than 32 MiB."""

MAX_REPLY = MAX_MESSAGE
"""Bytes that an answer to our own calls may bring."""

MAX_QUEUED = 16 << 20
"""Bytes that wait for a bus that does not read; beyond, the connection is given up."""

SLICE = 0.005
"""Seconds of taking in messages before the rest of the process has its turn."""

UNANSWERED_PER_SECOND = 100
"""Calls a second and sender of those that want no answer; the bus limits only the others."""

MACHINE_ID = "/etc/machine-id"

_MAX_SENDERS = 1024
_READ_SIZE = 64 << 10
_MAX_SERIAL = 0xFFFFFFFF
_REFUSED = "the bus refuses the connection"


class Reply:
    """Answers one call: with a message, or with the exception that ends its `with` block."""

    def __init__(self, bus: RepairedBus, call: Message) -> None:
        self._bus = bus
        self._call = call

    def __call__(self, message: Message) -> None:
        if not self._call.flags & MessageFlag.NO_REPLY_EXPECTED:
            self._bus.post(message)

    def __enter__(self) -> Reply:
        return self

    def __exit__(
        self, _: type[BaseException] | None, error: BaseException | None, __: TracebackType | None
    ) -> bool:
        if isinstance(error, (Exception, asyncio.CancelledError)):
            self.send_error(error)
        return isinstance(error, Exception)

    def send_error(self, error: BaseException) -> None:
        """What the caller may know of an exception; what it may not is logged."""
        if isinstance(error, OSError) and not self._bus.connected:
            return
        match error:
            case BusError(name=name, text=text) | DBusError(type=name, text=text):
                pass
            case asyncio.CancelledError():
                name, text = dbus_wire.FAILED, "Cancelled"
            case _:
                log.error("%s.%s failed", self._call.interface, self._call.member, exc_info=error)
                name, text = dbus_wire.FAILED, "Internal error"
        if self._call.message_type is MessageType.METHOD_CALL and self._bus.connected:
            self(Message.new_error(self._call, name, text))


class _Writer:
    """Messages on their way to the bus, which takes them when it likes."""

    def __init__(self, bus: RepairedBus) -> None:
        self._bus = bus
        self._waiting: deque[tuple[memoryview, asyncio.Future[None] | None]] = deque()
        self._armed = False
        self.queued = 0

    def schedule_write(self, message: Message, future: asyncio.Future[None] | None = None) -> None:
        """Send as soon as the bus takes it; ConnectionResetError if there is no connection."""
        if not self._bus.connected:
            raise ConnectionResetError("not connected to the bus")
        data = message._marshall()
        if len(data) > MAX_MESSAGE:
            raise BusError(dbus_wire.LIMITS_EXCEEDED, "the answer is too long")
        self.queued += len(data)
        self._waiting.append((memoryview(data), future))
        if self.queued > MAX_QUEUED:
            lost = BufferError("the bus does not read what it is sent")
            self._bus._loop.call_soon(self._bus._finalize, lost)
        if not self._armed:
            self._armed = True
            self._bus._loop.add_writer(self._bus._fd, self._write)

    def close(self, error: Exception) -> None:
        for _, future in self._waiting:
            if future is not None and not future.done():
                future.set_exception(error)
        self._waiting.clear()
        self.queued = 0

    def _write(self) -> None:
        try:
            while self._waiting:
                self._send_next()
        except (BlockingIOError, InterruptedError):
            return
        except OSError as error:
            self._bus._finalize(error)
            return
        self._armed = False
        self._bus._loop.remove_writer(self._bus._fd)

    def _send_next(self) -> None:
        data, future = self._waiting[0]
        sent = self._bus._sock.send(data)
        self.queued -= sent
        if sent < len(data):
            self._waiting[0] = (data[sent:], future)
            return
        self._waiting.popleft()
        if future is not None and not future.done():
            future.set_result(None)


class _Budget:
    """So many a second of each sender, and no more."""

    def __init__(self, per_second: int, clock: Callable[[], float]) -> None:
        self._per_second = per_second
        self._clock = clock
        self._second = 0
        self._used: dict[str, int] = {}

    def takes(self, sender: str) -> bool:
        second = int(self._clock())
        if second != self._second or len(self._used) > _MAX_SENDERS:
            self._second = second
            self._used.clear()
        self._used[sender] = self._used.get(sender, 0) + 1
        return self._used[sender] <= self._per_second


class RepairedBus(MessageBus):
    """A connection to a bus, used as dbus-next's own.

    It takes a socket that is connected already, since dbus-next connects
    blocking. It speaks of no file descriptors, so the bus lets none through.
    """

    def __init__(self, connection: socket.socket) -> None:
        """Inside a running loop. The socket is closed with the bus."""
        connection.setblocking(False)
        self._sock = connection
        self._frames = Frames({Kind.RETURN: MAX_REPLY, Kind.ERROR: MAX_REPLY}, MAX_BODY)
        self.hears: Callable[[str, str], bool] = lambda _interface, _member: True
        """Which signals are worth a look. Anybody can send us any, and as many as he likes."""
        self._destinations: dict[int, str] = {}
        self._again: asyncio.Handle | None = None
        super().__init__("unix:path=given")
        self._outgoing = _Writer(self)
        self._writer = self._outgoing  # type: ignore[assignment]
        self._unanswered = _Budget(UNANSWERED_PER_SECOND, self._loop.time)

    @property
    def queued(self) -> int:
        """Bytes that the bus has not taken yet."""
        return self._outgoing.queued

    async def connect(self) -> RepairedBus:
        """Introduce ourselves; OSError, EOFError or AuthError if the bus does not want us."""
        try:
            await self._authenticate()
            self._loop.add_reader(self._fd, self._message_reader)
            self.unique_name = await self._hello()  # type: ignore[assignment]
        except BaseException as error:
            self._finalize(error)
            raise
        return self

    def post(self, message: Message) -> None:
        """Send without hearing what becomes of it; ConnectionResetError if not connected."""
        message.serial = message.serial or self.next_serial()
        self._outgoing.schedule_write(message)

    def send(self, msg: Message) -> asyncio.Future[None]:  # type: ignore[override]
        """As the library's; nobody has to look at the future."""
        future: asyncio.Future[None] = self._loop.create_future()
        future.add_done_callback(lambda done: done.cancelled() or done.exception())
        msg.serial = msg.serial or self.next_serial()
        self._outgoing.schedule_write(msg, future)
        return future

    async def call(self, msg: Message) -> Message | None:
        """As the library's; nothing remains of a call that nobody waits for any more."""
        try:
            return await super().call(msg)
        finally:
            self._forget(msg.serial)

    def call_then(self, msg: Message, answered: Callable[[Message | None, Exception | None], None]) -> None:
        """Call; `answered` hears of the reply, or of the end of the connection, in the bus's own order."""
        self._call(msg, answered)

    def next_serial(self) -> int:
        self._serial = self._serial % _MAX_SERIAL + 1
        return self._serial

    def disconnect(self) -> None:
        self._user_disconnect = True
        self._finalize()

    def reply_to(self, call: Message) -> Reply:
        """What answers this call."""
        return Reply(self, call)

    _send_reply = reply_to

    # -- connecting -----------------------------------------------------------------------

    def _setup_socket(self) -> None:
        self._fd = self._sock.fileno()
        self._stream = None  # type: ignore[assignment]

    async def _authenticate(self) -> None:
        """As who the kernel says we are: no user id is sent, so it works through ssh, too."""
        await self._loop.sock_sendall(self._sock, b"\0AUTH EXTERNAL\r\nDATA\r\n")
        answer = b""
        while answer.count(b"\r\n") < 2:
            received = await self._loop.sock_recv(self._sock, 1024)
            answer += received
            if not received or len(answer) > 1024:
                raise AuthError(_REFUSED)
        if not answer.startswith(b"DATA\r\nOK "):
            raise AuthError(_REFUSED)
        await self._loop.sock_sendall(self._sock, b"BEGIN\r\n")

    async def _hello(self) -> str:
        """Our unique name."""
        hello = Message(
            destination=dbus_wire.DBUS,
            path=dbus_wire.DBUS_PATH,
            interface=dbus_wire.DBUS,
            member="Hello",
            serial=self.next_serial(),
        )
        answer: asyncio.Future[Message] = self._loop.create_future()

        def answered(reply: Message | None, error: Exception | None) -> None:
            if reply is not None and reply.message_type is MessageType.METHOD_RETURN:
                answer.set_result(reply)
            elif not answer.done():
                answer.set_exception(error or AuthError(_REFUSED))

        self._expect(hello, answered)
        await self._loop.sock_sendall(self._sock, hello._marshall())
        return str((await answer).body[0])

    def _finalize(self, err: BaseException | None = None) -> None:
        """The end of the connection, however it came."""
        if self._disconnected:
            return
        self._disconnected = True
        error = err if isinstance(err, Exception) else ConnectionResetError("disconnected from the bus")
        self._loop.remove_reader(self._fd)
        self._loop.remove_writer(self._fd)
        if self._again is not None:
            self._again.cancel()
        self._outgoing.close(error)
        self._fail_calls(error)
        for interface in {one for exported in self._path_exports.values() for one in exported}:
            ServiceInterface._get_buses(interface).discard(self)
        self._path_exports.clear()
        self._user_message_handlers.clear()
        self._sock.close()
        if self._user_disconnect:
            self._disconnect_future.set_result(None)
        else:
            self._disconnect_future.set_exception(error)
            self._disconnect_future.exception()  # nobody has to look

    def _fail_calls(self, error: Exception) -> None:
        waiting = list(self._method_return_handlers.values())
        self._method_return_handlers.clear()
        self._destinations.clear()
        for handler in waiting:
            handler(None, error)

    # -- receiving ------------------------------------------------------------------------

    def _message_reader(self) -> None:
        """Take in what is there, for SLICE seconds at most."""
        end = self._loop.time() + SLICE
        try:
            while self._loop.time() < end and not self._disconnected:
                frame = self._frames.next()
                if frame is not None:
                    self._take(frame)
                elif received := self._sock.recv(_READ_SIZE):
                    self._frames.feed(received)
                else:
                    raise EOFError("the bus closed the connection")
        except (BlockingIOError, InterruptedError):
            return
        except (OSError, EOFError, WireError) as error:
            self._finalize(error)
            return
        if self._again is None and not self._disconnected:
            # What is in our buffer does not make the socket readable.
            self._again = self._loop.call_soon(self._read_on)

    def _read_on(self) -> None:
        self._again = None
        self._message_reader()

    def _take(self, frame: bytes) -> None:
        """One message, or its header if it is too long. Whatever it holds, the connection stays."""
        try:
            header = read_header(frame)
            if not self._wants(header):
                return
            message = Received(header, frame)
        except (TypeError, ValueError) as error:
            log.debug("ignoring a message that is not as it must be: %s", error)
            return
        self._on_message(message)

    def _wants(self, header: Header) -> bool:
        if header.kind == Kind.CALL:
            return not header.flags & Flag.NO_REPLY or self._unanswered.takes(header.sender)
        if header.kind in (Kind.RETURN, Kind.ERROR):
            return self._is_answer(header)
        return header.kind == Kind.SIGNAL and self.hears(header.interface, header.member)

    def _is_answer(self, header: Header) -> bool:
        """Whether it comes from who was asked, and not from somebody who guessed a number.

        To whom a well-known name belongs is not known here: who asks by one takes any answer.
        """
        destination = self._destinations.get(header.reply_serial)
        if destination is None:
            return False
        if header.kind == Kind.ERROR and header.sender == dbus_wire.DBUS:
            return True
        is_unique = destination.startswith(":") or destination == dbus_wire.DBUS
        return not is_unique or header.sender == destination

    def _on_message(self, msg: Message) -> None:
        with self.reply_to(msg):
            self._process_message(msg)

    def _process_message(self, msg: Message) -> None:
        """As the library does it, but an exception answers the call and tells nobody of our insides."""
        if msg.message_type in (MessageType.METHOD_RETURN, MessageType.ERROR):
            self._answered(msg)
            return
        for handler in tuple(self._user_message_handlers):
            answer = handler(msg)
            if isinstance(answer, Message):
                self.reply_to(msg)(answer)
            if answer:
                return
        if msg.message_type is MessageType.METHOD_CALL:
            self._dispatch(msg)

    def _dispatch(self, call: Message) -> None:
        handler = self._find_message_handler(call)  # type: ignore[no-untyped-call]
        if handler is None:
            raise BusError(dbus_wire.UNKNOWN_METHOD, f"no method {call.interface}.{call.member} here")
        handler(call, self.reply_to(call))

    def _answered(self, reply: Message) -> None:
        handler = self._forget(reply.reply_serial or 0)
        if handler is None:
            return
        try:
            _ = reply.body
        except BusError as error:
            handler(None, error)
        else:
            handler(reply, None)

    def _call(self, msg: Message, callback: Callable[..., Any]) -> None:
        msg.serial = msg.serial or self.next_serial()
        super()._call(msg, callback)  # type: ignore[no-untyped-call]
        if msg.serial in self._method_return_handlers:
            self._destinations[msg.serial] = msg.destination or ""

    def _expect(self, call: Message, handler: Callable[..., Any]) -> None:
        self._method_return_handlers[call.serial] = handler
        self._destinations[call.serial] = call.destination or ""

    def _forget(self, serial: int) -> Callable[..., Any] | None:
        self._destinations.pop(serial, None)
        handler: Callable[..., Any] | None = self._method_return_handlers.pop(serial, None)
        return handler

    # -- what the library serves by itself ---------------------------------------------------

    def _default_get_machine_id_handler(self, msg: Message, send_reply: Reply) -> None:
        """As libdbus does it. The library asks the bus, which the system's policy forbids."""
        machine = Path(MACHINE_ID).read_text(encoding="ascii").strip()
        send_reply(Message.new_method_return(msg, "s", [machine]))

    def _emit_interface_added(self, path: str, interface: ServiceInterface) -> None:
        """Nothing: the library sends it in the name of the wrong object."""

    def _emit_interface_removed(self, path: str, removed_interfaces: list[str]) -> None:
        """Nothing: the library sends it in the name of the wrong object."""
