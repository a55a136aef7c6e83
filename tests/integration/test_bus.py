# SPDX-License-Identifier: GPL-2.0-only
"""Calls and signals through the connection to D-Bus."""

from __future__ import annotations

import asyncio
import signal
import time
from typing import TYPE_CHECKING, Any

import pytest

from mcelogd.dbus import wire as dbus_wire
from mcelogd.dbus.library import Message, MessageType
from mcelogd.dbus.wire import DBUS, DBUS_PATH, BusError

from .bus_peers import INTERFACE, NAME, PATH, connection, echoing, forge
from .privatebus import LOOSE_POLICY, PrivateBus, private_bus, until

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def loose() -> Iterator[PrivateBus]:
    with private_bus(LOOSE_POLICY) as bus:
        yield bus


@pytest.fixture
def bus() -> Iterator[PrivateBus]:
    with private_bus() as bus:
        yield bus


def test_a_call_returns_plain_values(bus: PrivateBus) -> None:
    async def main() -> None:
        async with echoing(bus), connection(bus) as caller:
            body = [{"a": ("u", 1), "b": ("a(sv)", [("x", ("s", "y"))])}, (7, "z"), b"\0"]
            returned = await caller.call(NAME, PATH, INTERFACE, "Echo", "a{sv}(ts)ay", body)
            assert returned == [{"a": 1, "b": [["x", "y"]]}, [7, "z"], b"\0"]

    asyncio.run(main())


@pytest.mark.parametrize(("signature", "body"), [("s", []), ("s", [1]), ("u", [-1]), ("v", ["plain"])])
def test_a_body_that_does_not_fit_is_the_callers_fault(
    loose: PrivateBus, signature: str, body: list[object]
) -> None:
    async def main() -> None:
        async with connection(loose) as caller:
            with pytest.raises(ValueError):  # noqa: PT011  # whatever the library says of it
                await caller.call(DBUS, DBUS_PATH, DBUS, "GetId", signature, body)
            await caller.call(DBUS, DBUS_PATH, DBUS, "GetId")

    asyncio.run(main())


@pytest.mark.parametrize(
    ("destination", "member", "error", "text"),
    [
        (NAME, "Refuse", "org.mcelog.Error.No", "not this time"),
        (NAME, "Nonsense", dbus_wire.UNKNOWN_METHOD, "no method org.mcelog.Test.Nonsense here"),
        (NAME, "Never", dbus_wire.TIMED_OUT, "org.mcelog did not answer within 0.2 s"),
        ("org.mcelog.absent", "Echo", dbus_wire.SERVICE_UNKNOWN, ""),
        (":1.4711", "Echo", dbus_wire.SERVICE_UNKNOWN, ""),
    ],
)
def test_what_goes_wrong_is_an_error(
    loose: PrivateBus, destination: str, member: str, error: str, text: str
) -> None:
    async def main() -> None:
        async with echoing(loose), connection(loose) as caller:
            with pytest.raises(BusError) as raised:
                await caller.call(destination, PATH, INTERFACE, member, seconds=0.2)
            assert raised.value.name == error
            assert text in raised.value.text

    asyncio.run(main())


def test_a_service_that_dies_is_an_error_and_its_successor_is_found(bus: PrivateBus) -> None:
    async def main() -> None:
        async with connection(bus) as caller:
            for _ in range(2):
                async with echoing(bus) as service:
                    assert await caller.call(NAME, PATH, INTERFACE, "Echo", "s", ["x"]) == ["x"]
                    pending = asyncio.create_task(caller.call(NAME, PATH, INTERFACE, "Never"))
                    await asyncio.sleep(0.05)
                    await service.close()
                    with pytest.raises(BusError) as raised:
                        await pending
                    assert raised.value.name == "org.freedesktop.DBus.Error.NoReply"

    asyncio.run(main())


def test_many_calls_at_once_find_the_service(bus: PrivateBus) -> None:
    """Before it is known to whom the name belongs."""

    async def main() -> None:
        async with echoing(bus), connection(bus) as caller:
            calls = [caller.call(NAME, PATH, INTERFACE, "Echo", "u", [number]) for number in range(20)]
            hasty = asyncio.create_task(caller.call(NAME, PATH, INTERFACE, "Echo"))
            await asyncio.sleep(0)
            hasty.cancel()
            assert await asyncio.gather(*calls) == [[number] for number in range(20)]

    asyncio.run(main())


def test_nobody_else_answers(loose: PrivateBus) -> None:
    """Although this bus would let anybody."""

    async def main() -> None:
        forger = await loose.connect()
        async with echoing(loose), connection(loose) as caller:
            await caller.call(NAME, PATH, INTERFACE, "Echo")
            pending = asyncio.create_task(caller.call(NAME, PATH, INTERFACE, "Never", seconds=0.3))
            await asyncio.sleep(0.05)
            for kind in (MessageType.METHOD_RETURN, MessageType.ERROR):
                for serial in range(1, 100):
                    fields = {"message_type": kind, "reply_serial": serial, "error_name": "a.b"}
                    forge(forger, caller.unique_name, **fields)
            with pytest.raises(BusError) as raised:
                await pending
            assert raised.value.name == dbus_wire.TIMED_OUT
        forger.disconnect()

    asyncio.run(main())


def test_without_a_bus_a_call_fails_at_once() -> None:
    async def main() -> None:
        async with connection("none") as caller, connection("unix:path=/nowhere") as other:
            for one in (caller, other):
                before = time.monotonic()
                with pytest.raises(BusError, match="not connected to a bus"):
                    await one.call(DBUS, DBUS_PATH, DBUS, "GetId")
                assert time.monotonic() - before < 0.1
            assert caller.state is None
            assert other.reason == "no connection to the bus: /nowhere: No such file or directory"

    asyncio.run(main())


# -- signals ------------------------------------------------------------------------------------


def test_signals_of_the_owner_alone_are_heard(loose: PrivateBus) -> None:
    async def main() -> None:
        heard: list[list[Any]] = []
        forger = await loose.connect()
        async with connection(loose) as listener, echoing(loose) as service:
            unsubscribe = listener.on_signal(NAME, PATH, INTERFACE, "News", heard.append)
            await listener.call(DBUS, DBUS_PATH, DBUS, "GetId")
            signal_of = {"message_type": MessageType.SIGNAL, "member": "News", "signature": "s"}
            forge(forger, listener.unique_name, **signal_of, body=["forged"])
            forger.post(Message.new_signal(PATH, INTERFACE, "News", "s", ["forged"]))
            await forger.call(Message(DBUS, DBUS_PATH, DBUS, "GetId"))
            assert service.emit("/elsewhere", INTERFACE, "News", "s", ["wrong path"])
            assert service.emit(PATH, INTERFACE, "News", "sv", ["real", ("u", 1)])
            await until(lambda: heard, "the signal")
            unsubscribe()
            unsubscribe()
            assert service.emit(PATH, INTERFACE, "News", "s", ["too late"])
            await service.call(DBUS, DBUS_PATH, DBUS, "GetId")
            await listener.call(DBUS, DBUS_PATH, DBUS, "GetId")
        assert heard == [["real", 1]]
        forger.disconnect()

    asyncio.run(main())


def test_signals_of_the_next_owner_are_heard(bus: PrivateBus) -> None:
    async def main() -> None:
        heard: list[Any] = []
        async with connection(bus) as listener:
            listener.on_signal(NAME, "", INTERFACE, "News", lambda body: heard.extend(body))
            for number in range(3):
                async with echoing(bus) as service:
                    assert service.emit(f"/{number}", INTERFACE, "News", "u", [number])
                    await until(lambda: len(heard) == number + 1, "the signal")  # noqa: B023
        assert heard == [0, 1, 2]

    asyncio.run(main())


def test_a_listener_that_fails_costs_the_others_nothing(
    bus: PrivateBus, caplog: pytest.LogCaptureFixture
) -> None:
    def fail(_: list[Any]) -> None:
        raise RuntimeError("fault of a listener")

    async def main() -> None:
        heard: list[Any] = []
        async with connection(bus) as listener, echoing(bus) as service:
            for callback in (fail, heard.append):
                listener.on_signal(NAME, PATH, INTERFACE, "News", callback)
            await listener.call(DBUS, DBUS_PATH, DBUS, "GetId")
            service.emit(PATH, INTERFACE, "News")
            await until(lambda: heard, "the signal")

    asyncio.run(main())
    assert "fault of a listener" in caplog.text


def test_it_is_heard_who_leaves(bus: PrivateBus) -> None:
    async def main() -> None:
        left: list[list[Any]] = []
        caller, other = await bus.connect(), await bus.connect()
        async with connection(bus) as listener:
            name = str(caller.unique_name)
            listener.on_signal(DBUS, DBUS_PATH, DBUS, "NameOwnerChanged", left.append, arg0=name)
            await listener.call(DBUS, DBUS_PATH, DBUS, "GetId")
            other.disconnect()
            caller.disconnect()
            await until(lambda: left, "the signal")
            assert left == [[name, name, ""]]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("path", "signature", "body"), [(PATH, "y", [256]), (PATH, "s", [None]), ("no path", "", [])]
)
def test_a_signal_that_cannot_be_sent_costs_nothing_else(
    loose: PrivateBus, caplog: pytest.LogCaptureFixture, path: str, signature: str, body: list[Any]
) -> None:
    async def main() -> None:
        async with connection(loose) as emitter:
            assert not emitter.emit(path, INTERFACE, "News", signature, body)
            assert emitter.emit(PATH, INTERFACE, "News", "s", ["DIMM\0 \udc80"])
            await emitter.call(DBUS, DBUS_PATH, DBUS, "GetId")

    asyncio.run(main())
    assert "News cannot be sent" in caplog.text


def test_a_bus_that_does_not_read_delays_nothing(bus: PrivateBus) -> None:
    async def main() -> None:
        async with connection(bus) as emitter:
            bus.signal(signal.SIGSTOP)
            try:
                sent = [emitter.emit(PATH, INTERFACE, "Big", "s", ["x" * 10_000]) for _ in range(1000)]
                assert sent.count(True) < 600
                assert emitter.dropped == sent.count(False)
                with pytest.raises(BusError, match="did not answer"):
                    await emitter.call(DBUS, DBUS_PATH, DBUS, "GetId", seconds=0.1)
            finally:
                bus.signal(signal.SIGCONT)
            await emitter.call(DBUS, DBUS_PATH, DBUS, "GetId")
            assert emitter.emit(PATH, INTERFACE, "Big", "s", ["x"])

    asyncio.run(main())


def test_the_last_words_are_heard(bus: PrivateBus) -> None:
    async def main() -> None:
        heard: list[Any] = []
        async with connection(bus) as listener:
            listener.on_signal(NAME, PATH, INTERFACE, "News", lambda body: heard.append(body))
            async with echoing(bus) as service:
                for _ in range(800):  # more than a socket holds
                    assert service.emit(PATH, INTERFACE, "News", "s", ["x" * 1000])
            await until(lambda: len(heard) == 800, "the signals", 5)

    asyncio.run(main())
