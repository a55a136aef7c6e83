# SPDX-License-Identifier: GPL-2.0-only
"""What those who call could do to dbus-next's connection, and cannot do to ours.

Each test runs twice: with dbus-next as it is, which must fail, and with ours.
A repair that is not needed any more shows itself by a test that passes with both.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcelogd.dbus.library import Message, MessageFlag
from mcelogd.dbus.repairs import MACHINE_ID

from .dbus_flavours import ask, call, connected, is_alive, ours, run, stock_fails
from .privatebus import LOOSE_POLICY, SYSTEM_POLICY, PrivateBus, forked, private_bus, until

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Coroutine, Iterator

    from .dbus_flavours import Connect


@pytest.fixture(scope="module")
def bus() -> Iterator[PrivateBus]:
    with private_bus(LOOSE_POLICY) as bus:
        yield bus


@stock_fails
def test_an_exception_is_no_message(
    bus: PrivateBus, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with connected(connect, bus.path) as (tried, other):
            reply = await ask(other, call(tried, "Fail"))
            assert (reply.error_name, reply.body) == ("org.freedesktop.DBus.Error.Failed", ["Internal error"])

    run(main())
    assert "secret of the service" in caplog.text


@stock_fails
def test_an_exception_in_a_message_handler_is_no_message(bus: PrivateBus, connect: Connect) -> None:
    def fail(message: Message) -> None:
        if message.member == "Handled":
            raise RuntimeError("secret of the handler")

    async def main() -> None:
        async with connected(connect, bus.path) as (tried, other):
            tried.add_message_handler(fail)
            reply = await ask(other, call(tried, "Handled"))
            assert (reply.error_name, reply.body) == ("org.freedesktop.DBus.Error.Failed", ["Internal error"])

    run(main())


@stock_fails
def test_callers_cannot_fill_the_log(
    bus: PrivateBus, connect: Connect, caplog: pytest.LogCaptureFixture
) -> None:
    async def main() -> None:
        async with connected(connect, bus.path) as (tried, other):
            wrong = {
                "interface": "org.freedesktop.DBus.Properties",
                "signature": "ss",
                "body": ["org.example.Test", "No"],
            }
            reply = await ask(other, call(tried, "Get", **wrong))
            assert reply.error_name == "org.freedesktop.DBus.Error.UnknownProperty"

    with caplog.at_level(logging.INFO):
        run(main())
    assert caplog.text == ""


@stock_fails
def test_a_method_that_is_cancelled_answers(bus: PrivateBus, connect: Connect) -> None:
    async def main() -> None:
        async with connected(connect, bus.path) as (tried, other):
            reply = await ask(other, call(tried, "Stop"))
            assert reply.error_name == "org.freedesktop.DBus.Error.Failed"

    run(main())


@stock_fails
@pytest.mark.parametrize(("member", "error"), [("Take", "LimitsExceeded"), ("Unknown", "UnknownMethod")])
def test_long_arguments_cost_nothing(bus: PrivateBus, connect: Connect, member: str, error: str) -> None:
    """Decoding these would take a second."""
    message = bytes(
        call(_Named(":1.99"), member, signature="ai", body=[[1] * (1 << 20)], serial=9)._marshall()
    )

    async def main() -> None:
        async with connected(connect, bus.path) as (tried, other):
            mended = message.replace(b":1.99\0", tried.unique_name.encode().ljust(5) + b"\0")
            answers: list[str | None] = []
            other._method_return_handlers[9] = lambda reply, _: answers.append(reply and reply.error_name)
            other._destinations[9] = tried.unique_name
            loop = asyncio.get_running_loop()
            sending = loop.run_in_executor(None, _send_all, other._sock, mended)
            before = time.thread_time()
            await until(lambda: answers, "an answer")
            assert time.thread_time() - before < 0.15
            await sending
            assert answers == [f"org.freedesktop.DBus.Error.{error}"]

    run(main())


class _Named:
    def __init__(self, unique_name: str) -> None:
        self.unique_name = unique_name


def _send_all(connection: socket.socket, data: bytes) -> None:
    """Blocking, on a socket that is not."""
    view = memoryview(data)
    while view:
        try:
            view = view[connection.send(view) :]
        except BlockingIOError:
            time.sleep(0.001)


@stock_fails
def test_calls_that_want_no_answer_are_limited(bus: PrivateBus, connect: Connect) -> None:
    """The bus limits only how many answers may be outstanding."""

    async def main() -> None:
        async with connected(connect, bus.path) as (tried, other):
            taken: list[str] = []
            tried.add_message_handler(lambda message: bool(taken.append(message.sender)) or True)
            for _ in range(500):
                other.send(call(tried, "Flood", flags=MessageFlag.NO_REPLY_EXPECTED))
            await is_alive(other)
            await is_alive(tried)
            assert 100 <= taken.count(other.unique_name) <= 300

    run(main())


@stock_fails
@pytest.mark.parametrize("policy", [LOOSE_POLICY, SYSTEM_POLICY], ids=["loose", "system"])
def test_the_machine_is_known_twice(connect: Connect, policy: str) -> None:
    async def main(bus: PrivateBus) -> None:
        async with connected(connect, bus.path) as (tried, other):
            await tried.request_name("org.mcelog")
            peer = {"interface": "org.freedesktop.DBus.Peer"}
            first, second = [await ask(other, call(tried, "GetMachineId", **peer)) for _ in range(2)]
            assert first.body == second.body
            assert len(first.body[0]) == 32

    if not Path(MACHINE_ID).exists():
        pytest.skip("this machine has no id")
    with private_bus(policy) as bus:
        run(main(bus))


def flood(bus: PrivateBus, kind: str) -> Callable[[], Coroutine[Any, Any, None]]:
    """Send as much as the bus takes, for as long as it goes."""
    messages = {
        "calls": Message("org.mcelog", "/test", "a.b", "C", flags=MessageFlag.NO_REPLY_EXPECTED),
        "long calls": Message("org.mcelog", "/test", "a.b", "C", signature="ay", body=[bytes(1 << 20)]),
        "signals": Message.new_signal("/test", "a.b", "C", "s", ["x" * 1000]),
    }
    message = messages[kind]
    message.destination, message.serial = "org.mcelog", 1

    async def work() -> None:
        connection = await bus.connect()
        connection._sock.setblocking(True)
        while True:
            connection._sock.sendall(message._marshall() * 10)

    return work


@pytest.mark.parametrize("kind", ["calls", "long calls", "signals"])
def test_a_flood_leaves_room_for_others(bus: PrivateBus, kind: str) -> None:
    async def main() -> None:
        async with connected(ours, bus.path) as (tried, other):
            await tried.request_name("org.mcelog")
            longest = 0.0

            async def watch() -> None:
                nonlocal longest
                while True:
                    before = time.monotonic()
                    await asyncio.sleep(0.001)
                    longest = max(longest, time.monotonic() - before)

            watching = asyncio.create_task(watch())
            end = time.monotonic() + 1.5
            while time.monotonic() < end:
                assert (await ask(other, call(tried, "Take", signature="ai", body=[[1]]), 10)).body == ["1"]
                await asyncio.sleep(0.01)
            watching.cancel()
            assert longest < 2

    with forked(os.geteuid(), flood(bus, kind)):
        run(main())
