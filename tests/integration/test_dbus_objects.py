# SPDX-License-Identifier: GPL-2.0-only
"""What dbus-next gets wrong about objects: each is tried with it, too, and must fail there."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from mcelogd.dbus import wire as dbus_wire
from mcelogd.dbus.declare import OBJECT_MANAGER
from mcelogd.dbus.library import MessageBus, PropertyAccess, ServiceInterface, dbus_property
from mcelogd.dbus.objects import INTROSPECTABLE
from mcelogd.dbus.wire import BusError

from .dbus_flavours import run, stock
from .dbus_served import (
    MANAGER,
    NAME,
    Served,
    children,
    error_of,
    introspect,
    served,
)
from .privatebus import LOOSE_POLICY, PrivateBus, private_bus, until

if TYPE_CHECKING:
    from collections.abc import Iterator


class StockDimm(ServiceInterface):
    def __init__(self, number: int) -> None:
        super().__init__("org.mcelog.Dimm")
        self.number = number

    @dbus_property(access=PropertyAccess.READ)
    def Number(self) -> u:  # noqa: F821  # a D-Bus signature
        return self.number

    @dbus_property(access=PropertyAccess.READ)
    def Errors(self) -> t:  # noqa: F821
        if self.number == 13:
            raise RuntimeError("fault of a getter")
        return self.number


class ServedByStock:
    """The same, by dbus-next as it is."""

    _connection: MessageBus

    def __init__(self, bus: PrivateBus) -> None:
        self._path = bus.path

    async def start(self) -> None:
        self._connection = await stock(self._path)
        self._connection.export(MANAGER, ServiceInterface("org.mcelog.Manager"))
        await self._connection.request_name(NAME)

    def add(self, path: str, number: int = 0) -> None:
        self._connection.export(path, StockDimm(number))

    def remove(self, path: str) -> None:
        self._connection.unexport(path)

    async def close(self) -> None:
        self._connection.disconnect()


_must_fail = pytest.mark.xfail(strict=True, raises=(AssertionError, BusError))
stock_fails = pytest.mark.parametrize(
    "kind", [pytest.param(ServedByStock, marks=_must_fail, id="stock"), pytest.param(Served, id="ours")]
)


@pytest.fixture(scope="module")
def bus() -> Iterator[PrivateBus]:
    with private_bus(LOOSE_POLICY) as bus:
        yield bus


@stock_fails
def test_the_manager_tells_of_objects(bus: PrivateBus, kind: Any) -> None:
    async def main() -> None:
        async with served(bus, kind) as (objects, client):
            told: list[list[Any]] = []
            for member in ("InterfacesAdded", "InterfacesRemoved"):
                client.on_signal(NAME, MANAGER, OBJECT_MANAGER, member, told.append)
            await client.call(dbus_wire.DBUS, dbus_wire.DBUS_PATH, dbus_wire.DBUS, "GetId")
            objects.add("/org/mcelog/dimm/1", 1)
            objects.remove("/org/mcelog/dimm/1")
            await until(lambda: len(told) == 2, "the signals", 1)
            assert told[0] == ["/org/mcelog/dimm/1", {"org.mcelog.Dimm": {"Number": 1}}]
            assert told[1] == ["/org/mcelog/dimm/1", ["org.mcelog.Dimm"]]

    run(main())


@stock_fails
def test_what_is_not_there_cannot_be_looked_at(bus: PrivateBus, kind: Any) -> None:
    async def main() -> None:
        async with served(bus, kind) as (_, client):
            error = await error_of(client, "/org/mcelog/nothing", INTROSPECTABLE, "Introspect")
            assert error.name == dbus_wire.UNKNOWN_OBJECT

    run(main())


@stock_fails
def test_a_sibling_is_no_child(bus: PrivateBus, kind: Any) -> None:
    async def main() -> None:
        async with served(bus, kind) as (objects, client):
            for number in (1, 10):
                objects.add(f"/org/mcelog/dimm/{number}", number)
            assert children(await introspect(client, "/org/mcelog/dimm")) == ["1", "10"]
            assert children(await introspect(client, "/org/mcelog/dimm/1")) == []

    run(main())


@stock_fails
def test_only_the_manager_manages(bus: PrivateBus, kind: Any) -> None:
    async def main() -> None:
        async with served(bus, kind) as (objects, client):
            objects.add("/org/mcelog/dimm/1", 1)
            shown = [one.get("name") for one in await introspect(client, MANAGER)]
            assert OBJECT_MANAGER in shown
            shown = [one.get("name") for one in await introspect(client, "/org/mcelog/dimm/1")]
            assert OBJECT_MANAGER not in shown
            for path in ("/", "/org/mcelog/dimm/1"):
                error = await error_of(client, path, OBJECT_MANAGER, "GetManagedObjects")
                assert error.name == dbus_wire.UNKNOWN_INTERFACE

    run(main())


@stock_fails
def test_a_getter_that_fails_hides_no_others(bus: PrivateBus, kind: Any) -> None:
    async def main() -> None:
        async with served(bus, kind) as (objects, client):
            objects.add("/org/mcelog/dimm/13", 13)
            (shown,) = await client.call(NAME, MANAGER, OBJECT_MANAGER, "GetManagedObjects")
            assert shown == {"/org/mcelog/dimm/13": {"org.mcelog.Dimm": {"Number": 13}}}

    run(main())


@stock_fails
def test_getting_thousands_of_objects_holds_up_nothing(bus: PrivateBus, kind: Any) -> None:
    async def main() -> None:
        async with served(bus, kind) as (objects, _):
            for number in range(100, 4196):
                objects.add(f"/org/mcelog/dimm/{number}", number)
                if not number % 50:  # dbus-next cannot send more at a time
                    await asyncio.sleep(0.001)
            asking = asyncio.create_subprocess_exec(
                *("busctl", f"--address={bus.address}", "call", NAME, MANAGER),
                *(OBJECT_MANAGER, "GetManagedObjects"),
                stdout=asyncio.subprocess.PIPE,
            )
            done = asyncio.create_task((await asking).communicate())
            longest, before = 0.0, time.thread_time()
            while not done.done():
                await asyncio.sleep(0)
                longest, before = max(longest, time.thread_time() - before), time.thread_time()
            said, _ = done.result()
            assert said.startswith(b'a{oa{sa{sv}}} 4096 "/org/mcelog/dimm/100" 1 "org.mcelog.Dimm"')
            assert longest < 0.05

    run(main())
