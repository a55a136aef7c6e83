# SPDX-License-Identifier: GPL-2.0-only
"""Objects on a bus, declared as the product's are."""

from __future__ import annotations

import asyncio
import contextlib
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any

from mcelogd.dbus.connection import BusConnection, BusState
from mcelogd.dbus.declare import Emits, Interface, method, readable, signal
from mcelogd.dbus.gate import Gate, caller
from mcelogd.dbus.objects import INTROSPECTABLE, ObjectTree
from mcelogd.dbus.wire import BusError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from .privatebus import PrivateBus

NAME, MANAGER = "org.mcelog", "/org/mcelog"


async def nobody_asks(*_: object, **__: object) -> None:
    """Authorize: everybody may."""


class Manager(Interface, name="org.mcelog.Manager"):
    """Of everything that can be declared, one."""

    def __init__(self, tree: ObjectTree) -> None:
        self.tree = tree
        self.total = 0

    @readable("s", Emits.CONST)
    def Version(self) -> str:
        return "1.0"

    @readable("t", Emits.VALUE)
    def Total(self) -> int:
        return self.total

    @readable("a{sv}", Emits.NEVER)
    def Anything(self) -> dict[str, tuple[str, object]]:
        return {"number": ("u", 7), "names": ("as", ["a", "b"])}

    @readable("u", Emits.NAME)
    def Broken(self) -> int:
        raise RuntimeError("fault of a getter")

    @method("u", "t", returns=["total"])
    def Count(self, number: int) -> int:
        self.total += number
        self.tree.changed(self, "Total", "Broken", "Version")
        return self.total

    @method("", "sa(ub)", returns=["who", "pairs"])
    async def Describe(self) -> tuple[str, list[tuple[int, bool]]]:
        await asyncio.sleep(0)
        return caller.get(), [(1, True)]

    @method("s")
    def Say(self, text: str) -> None:
        self.Said(text, number=self.total)

    @method("s")
    def Refuse(self, text: str) -> None:
        raise BusError("org.mcelog.Error.InvalidArgument", text)

    @method("", "u", returns=["number"])
    def Wrong(self) -> str:
        return "no number"

    @signal("st")
    def Said(self, text: str, number: int) -> None: ...


class Dimm(Interface, name="org.mcelog.Dimm"):
    def __init__(self, number: int) -> None:
        self.number = number

    @readable("u", Emits.CONST)
    def Number(self) -> int:
        return self.number

    @readable("t", Emits.NAME)
    def Errors(self) -> int:
        if self.number == 13:
            raise RuntimeError("fault of a getter")
        return self.number


class Served:
    """Objects on the bus, by us."""

    def __init__(self, bus: PrivateBus) -> None:
        self._connection = BusConnection(bus.address, name=NAME)
        self.tree = ObjectTree(self._connection, MANAGER, Gate(nobody_asks))
        self.manager = Manager(self.tree)

    async def start(self) -> None:
        self.tree.add(MANAGER, self.manager)
        self._connection.start()
        await self._connection.settle(10)
        assert self._connection.state is BusState.UP

    def add(self, path: str, number: int = 0) -> None:
        self.tree.add(path, Dimm(number))

    def remove(self, path: str) -> None:
        self.tree.remove(path)

    async def close(self) -> None:
        await self._connection.close()


@contextlib.asynccontextmanager
async def served(bus: PrivateBus, kind: Any = Served) -> AsyncIterator[tuple[Any, BusConnection]]:
    """The objects, and somebody who looks at them."""
    objects, client = kind(bus), BusConnection(bus.address)
    client.start()
    await client.settle(10)
    await objects.start()
    try:
        yield objects, client
    finally:
        await objects.close()
        await client.close()


async def introspect(client: BusConnection, path: str) -> ET.Element:
    (text,) = await client.call(NAME, path, INTROSPECTABLE, "Introspect")
    return ET.fromstring(text)


def children(node: ET.Element) -> list[str | None]:
    return [child.get("name") for child in node.iterfind("node")]


async def error_of(client: BusConnection, path: str, interface: str, member: str, *call: Any) -> BusError:
    try:
        answer = await client.call(NAME, path, interface, member, *call)
    except BusError as error:
        return error
    raise AssertionError(f"no error, but {answer}")
