# SPDX-License-Identifier: GPL-2.0-only
"""The connection to D-Bus outlives buses."""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import subprocess
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mcelogd.dbus import connection as bus_module
from mcelogd.dbus.connection import BusConnection, BusState
from mcelogd.dbus.wire import DBUS, DBUS_PATH

from .bus_peers import INTERFACE, NAME, PATH, Told, connection, echo, echoing
from .journal_peer import open_files
from .privatebus import NOBODY, PrivateBus, need, private_bus, until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def bus() -> Iterator[PrivateBus]:
    with private_bus() as bus:
        yield bus


def test_everything_is_back_after_a_restart_of_the_bus(bus: PrivateBus) -> None:
    async def main() -> None:
        told, heard = Told(), []
        service = BusConnection(bus.address, name=NAME, on_change=told)
        service.serve(echo)
        service.start()
        async with connection(bus) as other:
            await service.settle(10)
            other.on_signal(NAME, PATH, INTERFACE, "News", heard.append)
            for number in (1, 2):
                bus.stop()
                await until(lambda: BusState.DOWN in (service.state, other.state), "the loss")
                assert not service.emit(PATH, INTERFACE, "News", "u", [number])
                bus.start()
                await until(lambda: service.state is other.state is BusState.UP, "the bus")
                assert await other.call(NAME, PATH, INTERFACE, "Echo", "u", [number]) == [number]
                assert service.emit(PATH, INTERFACE, "News", "u", [number])
                await until(lambda: heard == [[number]], "the signal")  # noqa: B023
                heard.clear()
        await service.close()
        assert told.states == [BusState.UP, *[BusState.DOWN, BusState.UP] * 2]
        assert told.reasons[1] == "the bus closed the connection"

    before = open_files()
    asyncio.run(main())
    assert open_files() <= before + 1  # the bus's standard output


def test_a_bus_that_comes_late_is_found(bus: PrivateBus) -> None:
    async def main() -> None:
        told = Told()
        async with connection(bus, NAME, on_change=told) as late:
            assert late.state is BusState.DOWN
            bus.start()
            await until(lambda: late.state is BusState.UP, "the bus")
        assert told.states == [BusState.DOWN, BusState.UP]
        assert told.reasons == [f"no connection to the bus: {bus.path}: No such file or directory", ""]

    bus.stop()
    asyncio.run(main())


def test_a_name_that_is_taken_is_told_and_taken_when_it_is_free(bus: PrivateBus) -> None:
    async def main() -> None:
        told = Told()
        async with echoing(bus) as first, connection(bus, NAME, on_change=told) as second:
            assert second.state is BusState.NAME_TAKEN
            assert await second.call(NAME, PATH, INTERFACE, "Echo", "s", ["x"]) == ["x"]
            assert not second.emit(PATH, INTERFACE, "News")
            await first.close()
            await until(lambda: second.state is BusState.UP, "the name")
        assert told.states == [BusState.NAME_TAKEN, BusState.UP]
        reason = f"the name {NAME} belongs to process {os.getpid()}; is another mcelog running?"
        assert told.reasons == [reason, ""]

    asyncio.run(main())


def test_a_name_that_may_not_be_had_is_told(bus: PrivateBus) -> None:
    async def main() -> None:
        async with connection(bus, "org.mcelog.other") as one:
            assert one.state is BusState.NAME_TAKEN
            assert one.reason.startswith("the bus does not let us have the name org.mcelog.other: ")

    asyncio.run(main())


def test_who_is_told_does_not_decide(bus: PrivateBus, caplog: pytest.LogCaptureFixture) -> None:
    def fail(_: BusState, __: str) -> None:
        raise RuntimeError("fault of the one who is told")

    async def main() -> None:
        async with connection(bus, NAME, on_change=fail) as one:
            await one.call(DBUS, DBUS_PATH, DBUS, "GetId")

    asyncio.run(main())
    assert "fault of the one who is told" in caplog.text


def test_a_bus_elsewhere_is_reached_through_a_bridge(bus: PrivateBus) -> None:
    """As from another machine, through ssh."""
    need("systemd-stdio-bridge", "systemd")

    async def main() -> None:
        bridges = []

        def opened() -> socket.socket:
            ours, theirs = socket.socketpair()
            command = ["systemd-stdio-bridge", f"--bus-path={bus.address}"]
            bridges.append(subprocess.Popen(command, stdin=theirs, stdout=theirs))
            theirs.close()
            return ours

        async with echoing(bus), connection("elsewhere", opened=opened) as caller:
            assert await caller.call(NAME, PATH, INTERFACE, "Echo", "s", ["x"]) == ["x"]
        assert [bridge.wait(10) for bridge in bridges] == [0]

    asyncio.run(main())


@pytest.fixture
def listener(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """Something that is no bus, at unix:path=bus."""
    monkeypatch.chdir(tmp_path)  # a socket's path must be short
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind("bus")
        listener.listen(0)
        yield listener


@pytest.mark.usefixtures("listener")
def test_a_bus_that_says_nothing_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bus_module, "CONNECT_SECONDS", 0.2)

    async def main() -> None:
        async with connection("unix:path=bus") as one:
            assert one.reason == "no connection to the bus: the bus does not answer"

    asyncio.run(main())


@pytest.mark.usefixtures("listener")
def test_a_bus_that_takes_no_connection_is_not_waited_for() -> None:
    waiting = [socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) for _ in range(2)]
    for one in waiting:
        one.setblocking(False)
        with contextlib.suppress(BlockingIOError):
            one.connect("bus")

    async def main() -> None:
        before = time.monotonic()
        async with connection("unix:path=bus") as one:
            assert time.monotonic() - before < 1
            assert one.reason == "no connection to the bus: bus: Resource temporarily unavailable"

    asyncio.run(main())
    for one in waiting:
        one.close()


@pytest.mark.parametrize(
    "said", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"REJECTED\r\nERROR\r\n", b"x" * 9999]
)
def test_what_is_no_bus_is_no_harm(listener: socket.socket, said: bytes) -> None:
    def answer() -> None:
        with listener.accept()[0] as peer:
            peer.recv(100)
            peer.sendall(said)

    async def main() -> None:
        async with connection("unix:path=bus") as one:
            assert one.state is BusState.DOWN
            assert one.reason.startswith("no connection to the bus: ")

    thread = threading.Thread(target=answer)
    thread.start()
    asyncio.run(main())
    thread.join()


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
def test_another_user_may_connect(bus: PrivateBus) -> None:
    async def main() -> None:
        other = await bus.connect(NOBODY)
        async with connection(bus) as one:
            asked = (DBUS, DBUS_PATH, DBUS, "GetConnectionUnixUser", "s", [str(other.unique_name)])
            assert await one.call(*asked) == [NOBODY]
        other.disconnect()

    asyncio.run(main())
