# SPDX-License-Identifier: GPL-2.0-only
"""Objects on the bus are what was declared."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING, Any

import pytest

from mcelogd.dbus import objects as dbus_objects
from mcelogd.dbus import wire as dbus_wire
from mcelogd.dbus.connection import BusConnection, BusState
from mcelogd.dbus.declare import PROPERTIES, Emits, Interface, method, readable, signal
from mcelogd.dbus.gate import Gate
from mcelogd.dbus.library import Message, Variant
from mcelogd.dbus.objects import INTROSPECTABLE, PEER, ObjectTree

from .dbus_flavours import run
from .dbus_served import (
    MANAGER,
    NAME,
    Dimm,
    Manager,
    children,
    error_of,
    introspect,
    nobody_asks,
    served,
)
from .privatebus import LOOSE_POLICY, PrivateBus, private_bus, until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


@pytest.fixture(scope="module")
def bus() -> Iterator[PrivateBus]:
    with private_bus(LOOSE_POLICY) as bus:
        yield bus


def test_introspection_is_what_was_declared(bus: PrivateBus) -> None:
    async def main() -> None:
        async with served(bus) as (_, client):
            node = await introspect(client, MANAGER)
            (interface,) = [one for one in node if one.get("name") == "org.mcelog.Manager"]
            members = [(one.tag, one.get("name")) for one in interface]
            methods = ("Count", "Describe", "Say", "Refuse", "Wrong")
            assert members[:6] == [*(("method", name) for name in methods), ("signal", "Said")]
            arguments = [
                (one.get("name"), one.get("type"), one.get("direction"))
                for one in interface.iterfind("method[@name='Describe']/arg")
            ]
            assert arguments == [("who", "s", "out"), ("pairs", "a(ub)", "out")]
            arguments = [
                (one.get("name"), one.get("type"), one.get("direction"))
                for one in interface.iterfind("signal/arg")
            ]
            assert arguments == [("text", "s", None), ("number", "t", None)]
            annotated = {
                str(one.get("name")): [note.get("value") for note in one.iterfind("annotation")]
                for one in interface.iterfind("property")
            }
            assert annotated == {
                "Version": ["const"],
                "Total": [],
                "Anything": ["false"],
                "Broken": ["invalidates"],
            }

    run(main())


def test_calls(bus: PrivateBus) -> None:
    async def main() -> None:
        async with served(bus) as (objects, client):
            manager = (NAME, MANAGER, "org.mcelog.Manager")
            assert await client.call(*manager, "Count", "u", [5]) == [5]
            assert await client.call(*manager, "Describe") == [client.unique_name, [[1, True]]]
            assert objects.manager.Count(1) == 6
            properties = (NAME, MANAGER, PROPERTIES)
            assert await client.call(*properties, "Get", "ss", ["org.mcelog.Manager", "Total"]) == [6]
            expected = {"Version": "1.0", "Total": 6, "Anything": {"number": 7, "names": ["a", "b"]}}
            assert await client.call(*properties, "GetAll", "s", ["org.mcelog.Manager"]) == [expected]
            assert await client.call(*properties, "GetAll", "s", [PROPERTIES]) == [{}]
            assert await client.call(NAME, MANAGER, PEER, "Ping") == []
            assert children(await introspect(client, "/")) == ["org"]
            assert children(await introspect(client, "/org")) == ["mcelog"]

    run(main())


@pytest.mark.parametrize(
    ("path", "interface", "member", "signature", "body", "error"),
    [
        ("/nowhere", "org.mcelog.Manager", "Count", "u", [1], "DBus.Error.UnknownObject"),
        ("/org", "org.mcelog.Manager", "Count", "u", [1], "DBus.Error.UnknownInterface"),
        (MANAGER, "org.mcelog.Other", "Count", "u", [1], "DBus.Error.UnknownInterface"),
        (MANAGER, "org.mcelog.Manager", "Nothing", "", [], "DBus.Error.UnknownMethod"),
        (MANAGER, "org.mcelog.Manager", "Total", "", [], "DBus.Error.UnknownMethod"),
        (MANAGER, "org.mcelog.Manager", "Count", "s", ["1"], "DBus.Error.InvalidArgs"),
        (MANAGER, "org.mcelog.Manager", "Count", "uu", [1, 2], "DBus.Error.InvalidArgs"),
        (MANAGER, "org.mcelog.Manager", "Count", "", [], "DBus.Error.InvalidArgs"),
        (MANAGER, "org.mcelog.Manager", "Say", "s", ["x" * 70_000], "DBus.Error.LimitsExceeded"),
        (MANAGER, "org.mcelog.Manager", "Refuse", "s", ["why"], "mcelog.Error.InvalidArgument"),
        (MANAGER, "org.mcelog.Manager", "Wrong", "", [], "DBus.Error.Failed"),
        (MANAGER, PROPERTIES, "Get", "ss", ["org.mcelog.Manager", "Nothing"], "DBus.Error.UnknownProperty"),
        (MANAGER, PROPERTIES, "Get", "ss", ["org.mcelog.Other", "Total"], "DBus.Error.UnknownInterface"),
        (MANAGER, PROPERTIES, "Get", "ss", [PEER, "Total"], "DBus.Error.UnknownProperty"),
        (MANAGER, PROPERTIES, "Get", "ss", ["org.mcelog.Manager", "Broken"], "DBus.Error.Failed"),
        (MANAGER, PROPERTIES, "Get", "s", ["org.mcelog.Manager"], "DBus.Error.InvalidArgs"),
        (MANAGER, PROPERTIES, "GetAll", "s", ["org.mcelog.Other"], "DBus.Error.UnknownInterface"),
        (
            *(MANAGER, PROPERTIES, "Set", "ssv", ["org.mcelog.Manager", "Total", ("t", 1)]),
            "DBus.Error.PropertyReadOnly",
        ),
        (MANAGER, INTROSPECTABLE, "Introspect", "s", ["x"], "DBus.Error.InvalidArgs"),
        (MANAGER, INTROSPECTABLE, "Nothing", "", [], "DBus.Error.UnknownInterface"),
    ],
)
def test_wrong_calls(
    bus: PrivateBus, path: str, interface: str, member: str, signature: str, body: list[Any], error: str
) -> None:
    async def main() -> None:
        async with served(bus) as (objects, client):
            raised = await error_of(client, path, interface, member, signature, body)
            assert raised.name in (f"org.freedesktop.{error}", f"org.{error}")
            assert "fault" not in raised.text
            assert objects.manager.total == 0

    run(main())


def test_a_caller_need_not_say_which_interface(bus: PrivateBus) -> None:
    async def main() -> None:
        async with served(bus) as (_, client):
            other = await bus.connect()
            for member, start in {"Describe": ":", "Introspect": "<!DOCTYPE"}.items():
                call = Message(NAME, MANAGER, member=member)
                reply = await other.call(call)
                assert reply is not None
                assert str(reply.body[0]).startswith(start)
            reply = await other.call(Message(NAME, MANAGER, member="Nothing"))
            assert reply is not None
            assert reply.error_name == dbus_wire.UNKNOWN_METHOD
            other.disconnect()
            assert client.state is BusState.UP

    run(main())


def test_signals_are_sent_by_calling_them(bus: PrivateBus) -> None:
    async def main() -> None:
        async with served(bus) as (objects, client):
            said: list[list[Any]] = []
            client.on_signal(NAME, MANAGER, "org.mcelog.Manager", "Said", said.append)
            await client.call(NAME, MANAGER, "org.mcelog.Manager", "Say", "s", ["hello"])
            objects.manager.Said("again", 7)
            await until(lambda: len(said) == 2, "the signals")
            assert said == [["hello", 0], ["again", 7]]
            with pytest.raises(TypeError):
                objects.manager.Said("one")

    run(main())


def test_an_object_that_is_nowhere_is_silent() -> None:
    Manager(None).Said("x", 1)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "declare",
    [
        lambda: method("u")(Manager.Version.fget),
        lambda: method("", "u")(lambda _: 1),
        lambda: method("", "uu", returns=["one"])(lambda _: 1),
        lambda: signal("s")(lambda _: None),
        lambda: readable("uu", Emits.CONST)(lambda _: 1),
        lambda: readable("", Emits.CONST)(lambda _: 1),
    ],
)
def test_a_wrong_declaration_is_found_at_once(declare: Callable[[], object]) -> None:
    with pytest.raises(TypeError, match="does not say"):
        declare()


def test_signals_cannot_tell_what_not_everybody_may_read() -> None:
    with pytest.raises(TypeError, match="everybody would be told Number"):

        class _(Interface, name="org.mcelog.Wrong", read="org.mcelog.read"):
            @readable("u", Emits.VALUE)
            def Number(self) -> int:
                return 1


# -- what changes ---------------------------------------------------------------------------------


def test_changes_are_told_as_declared_and_not_too_often(bus: PrivateBus) -> None:
    async def main() -> None:
        async with served(bus) as (objects, client):
            told: list[list[Any]] = []
            client.on_signal(NAME, MANAGER, PROPERTIES, "PropertiesChanged", told.append)
            await client.call(dbus_wire.DBUS, dbus_wire.DBUS_PATH, dbus_wire.DBUS, "GetId")
            before = time.monotonic()
            for _ in range(100):
                objects.manager.Count(1)
                await asyncio.sleep(0.01)
            seconds = time.monotonic() - before
            await until(lambda: told[-1][1] == {"Total": 100}, "the last change")
            assert told[0] == ["org.mcelog.Manager", {"Total": 1}, ["Broken"]]
            assert len(told) <= seconds / dbus_objects.CHANGES_SECONDS + 2
            await asyncio.sleep(2 * dbus_objects.CHANGES_SECONDS)
            told.clear()
            objects.manager.Count(1)
            await until(lambda: told, "a change after a while", 0.2)

    run(main())


def test_changes_of_many_objects_are_told_little_by_little(
    bus: PrivateBus, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(dbus_objects, "CHANGES_AT_ONCE", 10)

    async def main() -> None:
        async with served(bus) as (objects, client):
            told: list[list[Any]] = []
            dimms = [Dimm(number) for number in range(25)]
            for dimm in dimms:
                objects.tree.add(f"/org/mcelog/dimm/{dimm.number}", dimm)
            client.on_signal(NAME, "", PROPERTIES, "PropertiesChanged", told.append)
            await client.call(dbus_wire.DBUS, dbus_wire.DBUS_PATH, dbus_wire.DBUS, "GetId")
            for dimm in dimms:
                objects.tree.changed(dimm, "Errors")
            objects.remove("/org/mcelog/dimm/24")
            await asyncio.sleep(0.1)
            assert len(told) == 10
            await until(lambda: len(told) == 24, "the other changes")
            assert told[0] == ["org.mcelog.Dimm", {}, ["Errors"]]

    run(main())


def test_without_a_bus_nothing_is_kept_to_be_told() -> None:
    async def main() -> None:
        connection = BusConnection("none")
        tree = ObjectTree(connection, MANAGER, Gate(nobody_asks))
        manager = Manager(tree)
        tree.add(MANAGER, manager)
        manager.Count(3)
        await asyncio.sleep(0.01)
        assert not tree._changes._waiting
        assert tree._changes._due is None

    run(main())


def test_where_objects_can_be() -> None:
    async def main() -> None:
        tree = ObjectTree(BusConnection("none"), MANAGER, Gate(nobody_asks))
        dimm = Dimm(1)
        tree.add("/org/mcelog/dimm/1", dimm)
        assert dimm.path == "/org/mcelog/dimm/1"
        for path in ("/org/mcelog/dimm/1", "/no-path", "", "no"):
            with pytest.raises(ValueError, match="no object can be put"):
                tree.add(path, Dimm(2))
        tree.add("/org/mcelog/dimm", Dimm(3))
        tree.remove("/org/mcelog/dimm/1")
        assert dimm.path == ""
        assert tree._children == {"/": {"org"}, "/org": {"mcelog"}, "/org/mcelog": {"dimm"}}
        tree.remove("/org/mcelog/dimm")
        assert tree._children == {}
        with pytest.raises(KeyError):
            tree.remove("/org/mcelog/dimm")

    run(main())


def test_a_value_is_of_its_type() -> None:
    dimm = Dimm(7)
    assert dimm.value("Number") == Variant("u", 7)
    assert dimm.values(Emits.CONST) == {"Number": Variant("u", 7)}
    with pytest.raises(KeyError):
        dimm.value("Nothing")
