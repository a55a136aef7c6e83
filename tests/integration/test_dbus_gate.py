# SPDX-License-Identifier: GPL-2.0-only
"""Nothing that is to be authorized happens without it, and nobody waits for others' authorization."""

from __future__ import annotations

import asyncio
import contextlib
import os
from typing import TYPE_CHECKING, Any

import pytest

from mcelogd.dbus import gate as dbus_gate
from mcelogd.dbus import wire as dbus_wire
from mcelogd.dbus.connection import BusConnection, BusState
from mcelogd.dbus.declare import OBJECT_MANAGER, PROPERTIES, Emits, Interface, method, readable
from mcelogd.dbus.gate import Gate, caller
from mcelogd.dbus.library import Message, MessageFlag
from mcelogd.dbus.objects import INTROSPECTABLE, PEER, ObjectTree
from mcelogd.dbus.wire import BusError
from mcelogd.polkit import Authority

from .dbus_served import MANAGER, NAME, error_of
from .privatebus import NOBODY, PrivateBus, private_bus, until
from .test_polkit import DAEMON, ROOT, start_polkit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator, Mapping
    from pathlib import Path

OBJECT = "/org/mcelog/dimm/1"


class Open(Interface, name="org.mcelog.Manager"):
    """What everybody may."""

    @readable("s", Emits.CONST)
    def Version(self) -> str:
        return "1.0"

    @method("", "s", returns=["greeting"])
    def Greet(self) -> str:
        return "hello"


def in_words(address: int) -> dict[str, str]:
    return {"address": hex(address)}


class Gated(Interface, name="org.mcelog.Dimm", read="org.example.read"):
    """What is to be authorized."""

    def __init__(self) -> None:
        self.done: list[tuple[str, int]] = []

    @readable("t", Emits.NAME)
    def Errors(self) -> int:
        return 5

    @method(
        "t",
        "t",
        returns=["id"],
        action="org.example.closed",
        details=lambda address: {"address": hex(address)},
    )
    def Offline(self, address: int) -> int:
        self.done.append((caller.get(), address))
        return 7

    @method("t", "t", returns=["id"], action="org.example.password")
    async def Wait(self, address: int) -> int:
        await asyncio.sleep(0)
        return self.Offline(address)


Asked = tuple[str, str, dict[str, str] | None, bool]


class Doorman:
    """Authorizes at will."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self.answer: BaseException | None = None
        self.open = asyncio.Event()
        self.open.set()

    async def check(
        self, sender: str, action: str, details: Mapping[str, str] | None = None, *, interactive: bool = False
    ) -> None:
        self.asked.append((sender, action, dict(details) if details is not None else None, interactive))
        await self.open.wait()
        if self.answer is not None:
            raise self.answer


@pytest.fixture
def bus() -> Iterator[PrivateBus]:
    with private_bus() as bus:
        yield bus


class Scene:
    """A service with a doorman, and a caller."""

    def __init__(self, bus: PrivateBus) -> None:
        self.bus = bus
        self.doorman = Doorman()
        self.service = BusConnection(bus.address, name=NAME)
        self.gate = Gate(self.doorman.check)
        self.gated = Gated()
        tree = ObjectTree(self.service, MANAGER, self.gate)
        tree.add(MANAGER, Open())
        tree.add(OBJECT, self.gated)
        self.client = BusConnection(bus.address)

    async def start(self) -> None:
        for connection in (self.service, self.client):
            connection.start()
            await connection.settle(10)
            assert connection.state is BusState.UP

    async def offline(self, address: int = 4096, **options: Any) -> list[Any]:
        return await self.client.call(NAME, OBJECT, Gated.name, "Offline", "t", [address], **options)


@contextlib.asynccontextmanager
async def scene(bus: PrivateBus) -> AsyncIterator[Scene]:
    scene = Scene(bus)
    await scene.start()
    try:
        yield scene
    finally:
        scene.doorman.open.set()
        await scene.client.close()
        await scene.service.close()


READ, CLOSED, PASSWORD = "org.example.read", "org.example.closed", "org.example.password"

CALLS: list[tuple[tuple[Any, ...], str | None]] = [
    ((OBJECT, PROPERTIES, "Get", "ss", [Gated.name, "Errors"]), READ),
    ((OBJECT, PROPERTIES, "GetAll", "s", [Gated.name]), READ),
    ((MANAGER, OBJECT_MANAGER, "GetManagedObjects"), READ),
    ((OBJECT, Gated.name, "Offline", "t", [1]), CLOSED),
    ((OBJECT, Gated.name, "Wait", "t", [1]), PASSWORD),
    ((MANAGER, PROPERTIES, "Get", "ss", [Open.name, "Version"]), None),
    ((MANAGER, PROPERTIES, "GetAll", "s", [Open.name]), None),
    ((MANAGER, Open.name, "Greet"), None),
    ((MANAGER, INTROSPECTABLE, "Introspect"), None),
    ((OBJECT, INTROSPECTABLE, "Introspect"), None),
    ((OBJECT, PEER, "Ping"), None),
]


@pytest.mark.parametrize(("call", "action"), CALLS)
def test_what_is_asked_for(bus: PrivateBus, call: tuple[Any, ...], action: str | None) -> None:
    async def main() -> None:
        async with scene(bus) as here:
            await here.client.call(NAME, *call)
            assert [asked[1] for asked in here.doorman.asked] == ([action] if action else [])
            here.doorman.answer = BusError(dbus_wire.ACCESS_DENIED, "no")
            here.gated.done.clear()
            if action:
                error = await error_of(here.client, *call)
                assert (error.name, error.text) == (dbus_wire.ACCESS_DENIED, "no")
            else:
                await here.client.call(NAME, *call)
            assert here.gated.done == []

    asyncio.run(main())


@pytest.mark.parametrize(
    "call",
    [
        (OBJECT, PROPERTIES, "Get", "ss", [Gated.name, "Nothing"]),
        (OBJECT, PROPERTIES, "Set", "ssv", [Gated.name, "Errors", ("t", 1)]),
        (OBJECT, OBJECT_MANAGER, "GetManagedObjects"),
        (OBJECT, Gated.name, "Offline", "s", ["x"]),
        (OBJECT, Gated.name, "Nothing"),
        ("/nowhere", Gated.name, "Offline", "t", [1]),
    ],
)
def test_nobody_is_asked_about_nonsense(bus: PrivateBus, call: tuple[Any, ...]) -> None:
    async def main() -> None:
        async with scene(bus) as here:
            await error_of(here.client, *call)
            assert here.doorman.asked == []

    asyncio.run(main())


def test_what_is_told_to_who_authorizes(bus: PrivateBus) -> None:
    async def main() -> None:
        async with scene(bus) as here:
            assert await here.offline(4096) == [7]
            assert await here.offline(8192, interactive=True) == [7]
            name = here.client.unique_name
            assert here.doorman.asked == [
                (name, CLOSED, {"address": "0x1000"}, False),
                (name, CLOSED, {"address": "0x2000"}, True),
            ]
            assert here.gated.done == [(name, 4096), (name, 8192)]

    asyncio.run(main())


def test_others_are_served_while_one_waits(bus: PrivateBus) -> None:
    async def main() -> None:
        async with scene(bus) as here:
            here.doorman.open.clear()
            waiting = asyncio.create_task(here.offline())
            await until(lambda: here.doorman.asked, "the question")
            for _ in range(100):
                await here.client.call(NAME, MANAGER, Open.name, "Greet")
            assert not waiting.done()
            here.doorman.open.set()
            assert await waiting == [7]

    asyncio.run(main())


def test_one_sender_cannot_wait_for_others(bus: PrivateBus) -> None:
    async def main() -> None:
        async with scene(bus) as here:
            here.doorman.open.clear()
            waiting = [asyncio.create_task(here.offline(number)) for number in range(40)]
            done, pending = await asyncio.wait(waiting, timeout=0.5)
            assert len(pending) == dbus_gate.MAX_OF_SENDER
            assert {getattr(one.exception(), "name", "") for one in done} == {dbus_wire.LIMITS_EXCEEDED}
            here.doorman.asked.clear()
            other = await bus.connect()
            call = Message(NAME, OBJECT, Gated.name, "Offline", signature="t", body=[99])
            asking = asyncio.create_task(other.call(call))
            await until(lambda: here.doorman.asked, "the other's question")
            here.doorman.open.set()
            await asyncio.wait([asking, *pending])
            assert len(here.gated.done) == dbus_gate.MAX_OF_SENDER + 1
            assert await here.offline() == [7]
            other.disconnect()
            assert not here.gate._parked

    asyncio.run(main())


def test_there_is_an_end_to_all_waiting(bus: PrivateBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dbus_gate, "MAX_IN_ALL", 0)

    async def main() -> None:
        async with scene(bus) as here:
            error = await error_of(here.client, OBJECT, Gated.name, "Offline", "t", [1])
            assert error.name == dbus_wire.LIMITS_EXCEEDED
            assert not here.gate._parked

    asyncio.run(main())


def test_who_waits_is_told_of_the_end(bus: PrivateBus) -> None:
    async def main() -> None:
        async with scene(bus) as here:
            here.doorman.open.clear()
            waiting = asyncio.create_task(here.offline())
            await until(lambda: here.doorman.asked, "the question")
            here.gate.close()
            with pytest.raises(BusError, match="Cancelled"):
                await waiting
            assert here.gated.done == []

    asyncio.run(main())


def test_nothing_is_done_for_a_caller_on_another_bus(bus: PrivateBus) -> None:
    """Who has the caller's name on the next bus is somebody else, and may be authorized."""

    async def main() -> None:
        async with scene(bus) as here:
            here.doorman.open.clear()
            waiting = asyncio.create_task(here.offline())
            await until(lambda: here.doorman.asked, "the question")
            bus.stop()
            with pytest.raises(BusError):
                await waiting
            await until(lambda: here.service.state is here.client.state is BusState.DOWN, "the loss")
            bus.start()
            await until(lambda: here.service.state is here.client.state is BusState.UP, "the bus")
            here.doorman.open.set()
            await until(lambda: not here.gate._parked, "the task")
            assert here.gated.done == []
            assert await here.offline() == [7]

    asyncio.run(main())


def test_who_wants_no_answer_is_asked_about_too(bus: PrivateBus) -> None:
    async def main() -> None:
        async with scene(bus) as here:
            here.doorman.answer = BusError(dbus_wire.ACCESS_DENIED, "no")
            other = await bus.connect()
            fields = {"flags": MessageFlag.NO_REPLY_EXPECTED, "signature": "t"}
            other.post(Message(NAME, OBJECT, Gated.name, "Offline", body=[1], **fields))
            await until(lambda: here.doorman.asked and not here.gate._parked, "the refusal")
            assert here.gated.done == []
            here.doorman.answer = None
            other.post(Message(NAME, OBJECT, Gated.name, "Offline", body=[2], **fields))
            await until(lambda: here.gated.done, "what was asked for")
            assert here.gated.done == [(other.unique_name, 2)]
            other.disconnect()

    asyncio.run(main())


@pytest.mark.parametrize("failure", [RuntimeError("fault of the doorman"), OSError("x"), TimeoutError()])
def test_a_doorman_that_fails_lets_nobody_in(
    bus: PrivateBus, caplog: pytest.LogCaptureFixture, failure: Exception
) -> None:
    async def main() -> None:
        async with scene(bus) as here:
            here.doorman.answer = failure
            error = await error_of(here.client, OBJECT, Gated.name, "Offline", "t", [1])
            assert (error.name, error.text) == (dbus_wire.FAILED, "Internal error")
            assert here.gated.done == []

    asyncio.run(main())
    assert "Offline failed" in caplog.text


# -- with the real polkit -------------------------------------------------------------------------


def busctl(bus: PrivateBus, uid: int, *arguments: str) -> str:
    """What it prints, as this user."""
    answer = bus.run("busctl", *arguments, uid=uid)
    return answer.stdout + answer.stderr


REAL_CALLS: dict[str, tuple[tuple[str, ...], str]] = {
    "method": (("call", NAME, OBJECT, Gated.name, "Offline", "t", "1"), "t 7\n"),
    "password": (("call", NAME, OBJECT, Gated.name, "Wait", "t", "1"), "t 7\n"),
    "get": (("get-property", NAME, OBJECT, Gated.name, "Errors"), "t 5\n"),
    "get all": (("call", NAME, OBJECT, PROPERTIES, "GetAll", "s", Gated.name), 'a{sv} 1 "Errors" t 5\n'),
    "objects": (
        ("call", NAME, MANAGER, OBJECT_MANAGER, "GetManagedObjects"),
        f'a{{oa{{sa{{sv}}}}}} 1 "{OBJECT}" 1 "{Gated.name}" 1 "Errors" t 5\n',
    ),
    "open": (("get-property", NAME, MANAGER, Open.name, "Version"), 's "1.0"\n'),
    "open method": (("call", NAME, MANAGER, Open.name, "Greet"), 's "hello"\n'),
}
BY_RULE = ("get", "get all", "objects")
"""What a rule of polkit lets one user do."""


async def with_authority(bus: PrivateBus, look: Callable[[], None]) -> None:
    """`look` from other processes at a service behind the real gate."""
    service = BusConnection(bus.address, name=NAME)
    tree = ObjectTree(service, MANAGER, Gate(Authority(service).check))
    tree.add(MANAGER, Open())
    tree.add(OBJECT, Gated())
    service.start()
    await service.settle(10)
    try:
        await asyncio.to_thread(look)
    finally:
        await service.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root: for a polkitd and to be somebody else")
@pytest.mark.parametrize("has_polkit", [True, False])
def test_each_user_gets_what_polkit_says(bus: PrivateBus, tmp_path: Path, has_polkit: bool) -> None:
    def look() -> None:
        for name, (call, answer) in REAL_CALLS.items():
            assert busctl(bus, ROOT, *call) == answer
            is_open = name.startswith("open")
            for uid in (NOBODY, DAEMON):
                said = busctl(bus, uid, *call)
                if is_open or (has_polkit and uid == DAEMON and name in BY_RULE):
                    assert said == answer, (uid, name)
                elif name == "password" and has_polkit:
                    assert "Interactive authentication required" in said, (uid, said)
                else:
                    assert "Access denied" in said, (uid, name, said)
        assert "Access denied" in busctl(bus, NOBODY, "introspect", NAME, OBJECT)
        assert "org.mcelog.Dimm" in busctl(bus, ROOT, "introspect", NAME, OBJECT)

    polkitd = start_polkit(bus, tmp_path) if has_polkit else None
    try:
        asyncio.run(with_authority(bus, look))
    finally:
        if polkitd is not None:
            polkitd.stop()
