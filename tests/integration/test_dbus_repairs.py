# SPDX-License-Identifier: GPL-2.0-only
"""What dbus-next's connection gets wrong, and ours does not.

Each test runs twice: with dbus-next as it is, which must fail, and with ours.
A repair that is not needed any more shows itself by a test that passes with both.
"""

from __future__ import annotations

import asyncio
import contextlib
import signal
import socket
import struct
import tempfile
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mcelogd.dbus.library import AuthError, Message, MessageBus, MessageFlag, MessageType

from .dbus_flavours import TO_BUS, ask, call, close, connected, is_alive, ours, run, stock_fails
from .journal_peer import failing_after
from .privatebus import LOOSE_POLICY, PrivateBus, private_bus, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from .dbus_flavours import Connect


@pytest.fixture(scope="module")
def bus() -> Iterator[PrivateBus]:
    with private_bus(LOOSE_POLICY) as bus:
        yield bus


@stock_fails
def test_a_burst_of_signals_arrives(bus: PrivateBus, connect: Connect) -> None:
    async def main() -> None:
        async with connected(connect, bus.path) as (tried, other):
            received: list[int] = []
            other.add_message_handler(
                lambda signal: received.extend(signal.body if signal.path == "/b" else [])
            )
            await ask(other, Message(*TO_BUS, "AddMatch", signature="s", body=["type='signal',path='/b'"]))
            for number in range(3000):
                tried.send(Message.new_signal("/b", "org.example.Burst", "Number", "u", [number]))
            await until(lambda: len(received) == 3000 or not tried.connected, "the signals")
            assert received == list(range(3000))

    run(main())


@stock_fails
def test_what_the_bus_does_not_read_does_not_fill_the_memory(connect: Connect) -> None:
    async def main(bus: PrivateBus) -> None:
        async with connected(connect, bus.path) as (tried, _):
            bus.signal(signal.SIGSTOP)
            try:
                with contextlib.suppress(ConnectionError):
                    for _ in range(40):
                        tried.send(Message.new_signal("/b", "org.example.Big", "One", "ay", [bytes(1 << 20)]))
                        await asyncio.sleep(0)
                assert not tried.connected
            finally:
                bus.signal(signal.SIGCONT)

    with private_bus(LOOSE_POLICY) as bus:
        run(main(bus))


@stock_fails
def test_too_long_an_answer_is_an_error(bus: PrivateBus, connect: Connect) -> None:
    async def main() -> None:
        async with connected(connect, bus.path) as (tried, other):
            reply = await ask(other, call(tried, "Long"), 5)
            assert reply.error_name == "org.freedesktop.DBus.Error.LimitsExceeded"
            assert await is_alive(tried)

    run(main())


@stock_fails
def test_a_call_without_a_connection_fails_at_once(connect: Connect) -> None:
    async def main(bus: PrivateBus) -> None:
        async with connected(connect, bus.path) as (tried, _):
            bus.stop()
            with contextlib.suppress(EOFError):
                await tried.wait_for_disconnect()
            with pytest.raises(ConnectionResetError):
                await is_alive(tried)

    with private_bus() as bus:
        run(main(bus))


@stock_fails
def test_a_lost_connection_is_closed(connect: Connect) -> None:
    async def main(bus: PrivateBus) -> None:
        async with connected(connect, bus.path) as (tried, _):
            bus.stop()
            with pytest.raises(EOFError):
                await tried.wait_for_disconnect()
            assert tried._sock.fileno() == -1

    with private_bus() as bus:
        run(main(bus))


@stock_fails
def test_a_bus_that_hangs_up_at_once_stops_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, connect: Connect
) -> None:
    """Stock dbus-next reads nothing again and again, and nothing else runs in the process any more."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    monkeypatch.chdir(tmp_path)  # the path of a socket must be short
    listener.bind("bus")
    listener.listen()

    def hang_up() -> None:
        with listener.accept()[0] as connection:
            while not connection.recv(100).endswith(b"\n"):
                pass

    async def main() -> None:
        with pytest.raises((AuthError, OSError)):
            await connect("bus")

    thread = threading.Thread(target=hang_up)
    thread.start()
    with listener, failing_after(2):
        run(main())
    thread.join()


@stock_fails
def test_a_cancelled_call_leaves_nothing_behind(bus: PrivateBus, connect: Connect) -> None:
    async def main() -> None:
        async with connected(connect, bus.path) as (tried, other):
            other.add_message_handler(lambda message: message.member == "Never")
            for _ in range(3):
                with pytest.raises(TimeoutError):
                    await ask(tried, call(other, "Never"), 0.02)
            assert not tried._method_return_handlers

    run(main())


@stock_fails
def test_serial_numbers_start_again(bus: PrivateBus, connect: Connect) -> None:
    """After 2**32 messages: seven weeks of 1,000 a second."""

    async def main() -> None:
        async with connected(connect, bus.path) as (tried, _):
            tried._serial = 0xFFFFFFFE
            assert [await is_alive(tried) for _ in range(3)] == [True] * 3

    run(main())


@stock_fails
def test_only_who_was_asked_answers(bus: PrivateBus, connect: Connect) -> None:
    """The policy of the system bus keeps forged answers away; not everybody's does."""

    async def main() -> None:
        async with connected(connect, bus.path) as (tried, forger), connected(ours, bus.path) as (asked, _):
            answer = asyncio.create_task(ask(tried, call(asked, "Slow")))
            await asyncio.sleep(0.1)
            for serial in range(1, tried._serial + 1):
                forger.send(
                    Message(
                        tried.unique_name,
                        message_type=MessageType.METHOD_RETURN,
                        reply_serial=serial,
                        flags=MessageFlag.NO_REPLY_EXPECTED,
                        signature="s",
                        body=["forged"],
                    )
                )
            assert (await answer).body == ["real"]

    run(main())


class FakeBus:
    """The other end of a connection, which says things that no bus would."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.listener.bind(path)
        self.listener.listen()

    async def accept(self) -> None:
        """Let one in, whatever it says of itself."""
        loop = asyncio.get_running_loop()
        self.listener.setblocking(False)
        self.socket, _ = await loop.sock_accept(self.listener)
        said = b""
        while b"BEGIN\r\n" not in said:
            said += await loop.sock_recv(self.socket, 1024)
            if said.endswith(b"DATA\r\n"):
                await self.send(b"DATA\r\nOK 0\r\n")
            elif said.count(b"\r\n") == 1:
                await self.send(b"OK 0\r\n")
        if said.endswith(b"BEGIN\r\n"):
            await loop.sock_recv(self.socket, 1024)
        await self.send(
            add_field(
                Message(
                    message_type=MessageType.METHOD_RETURN,
                    reply_serial=1,
                    signature="s",
                    body=[":1.1"],
                    serial=1,
                )._marshall(),
                SENDER,
                b"org.freedesktop.DBus",
            )
        )

    async def send(self, data: bytes) -> None:
        await asyncio.get_running_loop().sock_sendall(self.socket, data)

    def close(self) -> None:
        self.socket.close()
        self.listener.close()


@contextlib.asynccontextmanager
async def with_fake_bus(connect: Connect) -> AsyncIterator[tuple[MessageBus, FakeBus]]:
    with tempfile.TemporaryDirectory(prefix="mcelog-") as directory:
        fake = FakeBus(f"{directory}/bus")
        try:
            accepting = asyncio.create_task(fake.accept())
            tried = await asyncio.wait_for(connect(fake.path), 5)
            await accepting
            yield tried, fake
            close(tried)
        finally:
            fake.close()


SENDER = 7


def add_field(message: bytes, code: int, text: bytes) -> bytes:
    """The message with one more header field, a string, as a bus adds the sender."""
    size = struct.unpack_from("<I", message, 12)[0]
    fields = message[16 : 16 + size] + bytes(-size % 8)
    fields += struct.pack("<B3sI", code, b"\x01s\0", len(text)) + text + b"\0"
    body = message[16 + size + -size % 8 :]
    return bytes(message[:12] + struct.pack("<I", len(fields)) + fields + bytes(-len(fields) % 8) + body)


def on_the_wire(message: Message) -> bytes:
    """With a serial number, as every message has that a bus passes on."""
    message.serial = 8
    return bytes(message._marshall())


def odd_message(odd: str) -> bytes:
    good = bytes(Message("a.b", "/odd", "a.b", "Odd", serial=7)._marshall())
    return good[:1] + b"\x05" + good[2:] if odd == "type" else add_field(good, 42, b"x")


@stock_fails
@pytest.mark.parametrize("odd", ["type", "field"])
def test_what_a_later_protocol_may_bring_is_ignored(connect: Connect, odd: str) -> None:
    """As the specification asks for: "unknown types must be ignored", and so for header fields."""

    async def main() -> None:
        async with with_fake_bus(connect) as (tried, fake):
            received: list[str] = []
            tried.add_message_handler(lambda message: received.append(message.member))
            await fake.send(odd_message(odd))
            await fake.send(on_the_wire(Message.new_signal("/x", "a.b", "After")))
            await asyncio.sleep(0.1)
            assert tried.connected
            assert received[-1] == "After"

    run(main())


@stock_fails
def test_others_have_their_turn_during_a_flood(connect: Connect) -> None:
    async def main() -> None:
        async with with_fake_bus(connect) as (tried, fake):
            turns = [0]
            work = [0]

            def take(_: Message) -> None:
                work[0] += 1
                time.sleep(0.001)

            async def count() -> None:
                while True:
                    turns[0] += 1
                    await asyncio.sleep(0)

            tried.add_message_handler(take)
            counting = asyncio.create_task(count())
            one = on_the_wire(Message.new_signal("/x", "a.b", "Flood", "u", [1]))
            await fake.send(one * 200)
            before = turns[0]
            await until(lambda: work[0] == 200, "the flood to be over")
            counting.cancel()
            assert turns[0] - before >= 20

    run(main())
