# SPDX-License-Identifier: GPL-2.0-only
"""The objects that are on the bus: finds who is called, and tells what there is and what changes.

dbus-next has its own way of that, which this takes the place of: there, what
the object manager signals comes from another object; getting all objects takes
quadratic time, and all time; what is not there can be introspected; and every
signal searches all objects.
"""

from __future__ import annotations

import asyncio
import functools
import itertools
import logging
from typing import TYPE_CHECKING, Any, Protocol

from mcelogd.dbus import wire as dbus_wire
from mcelogd.dbus.declare import OBJECT_MANAGER, PROPERTIES, Emits, introspection, signature_of
from mcelogd.dbus.gate import Job
from mcelogd.dbus.library import EncodedReturn, Message, array_of, body_of, encode
from mcelogd.dbus.wire import BusError, is_object_path

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mcelogd.dbus.declare import Interface, Method
    from mcelogd.dbus.gate import Gate
    from mcelogd.dbus.repairs import RepairedBus

log = logging.getLogger(__name__)

INTROSPECTABLE = "org.freedesktop.DBus.Introspectable"
PEER = "org.freedesktop.DBus.Peer"
STANDARD = (INTROSPECTABLE, PEER, PROPERTIES, OBJECT_MANAGER)

CHANGES_SECONDS = 0.25
"""Between two signals about changes of the same object."""

CHANGES_AT_ONCE = 256
"""Objects whose changes are told at a time: some 30 ms of work, four times a second."""

SLICE = 0.002
"""Seconds of putting objects together before everything else has its turn."""


class Bus(Protocol):
    """What of mcelogd.dbus.connection.BusConnection is needed here."""

    @property
    def unique_name(self) -> str: ...

    def serve(self, handler: Callable[[RepairedBus, Message], bool]) -> None: ...

    def emit(
        self, path: str, interface: str, member: str, signature: str = "", body: Sequence[Any] = ()
    ) -> bool: ...


class ObjectTree:
    """All objects of this process, below one that manages them."""

    def __init__(self, bus: Bus, manager: str, gate: Gate, read: str = "") -> None:
        """`manager` is the path of the object that has the interface ObjectManager; `read` polkit's action
        for asking it which objects there are, be there any or not."""
        self._bus = bus
        self._manager = manager
        self._gate = gate
        self._read = [read] if read else []
        self._objects: dict[str, dict[str, Interface]] = {}
        self._children: dict[str, set[str]] = {}
        self._changes = _Changes(bus)
        self._one_at_a_time = asyncio.Lock()
        self._standard: dict[tuple[str, str], tuple[str, Callable[[Message], Job]]] = {
            (INTROSPECTABLE, "Introspect"): ("", self._introspect),
            (PROPERTIES, "Get"): ("ss", self._get),
            (PROPERTIES, "GetAll"): ("s", self._get_all),
            (PROPERTIES, "Set"): ("ssv", self._set),
            (OBJECT_MANAGER, "GetManagedObjects"): ("", self._get_managed_objects),
        }
        bus.serve(self.handle)

    def add(self, path: str, *interfaces: Interface) -> None:
        """Put an object on the bus, and say so. ValueError if there is one, or the path is no path."""
        if path in self._objects or not is_object_path(path):
            raise ValueError(f"no object can be put at {path}")
        self._objects[path] = {interface.name: interface for interface in interfaces}
        for interface in interfaces:
            interface.placed(path, self._bus.emit)
        for parent, child in _ancestry(path):
            self._children.setdefault(parent, set()).add(child)
        if self._is_managed(path):
            shown = {one.name: one.values(Emits.VALUE, Emits.CONST) for one in interfaces}
            self._bus.emit(self._manager, OBJECT_MANAGER, "InterfacesAdded", "oa{sa{sv}}", [path, shown])

    def remove(self, path: str) -> None:
        """Take an object off the bus, and say so. KeyError if there is none."""
        interfaces = self._objects.pop(path)
        for interface in interfaces.values():
            interface.placed("", None)
        for parent, child in _ancestry(path):
            if self._exists(parent.rstrip("/") + "/" + child):
                break
            self._children[parent].discard(child)
            if not self._children[parent]:
                del self._children[parent]
        if self._is_managed(path):
            self._bus.emit(
                self._manager, OBJECT_MANAGER, "InterfacesRemoved", "oas", [path, list(interfaces)]
            )

    def changed(self, interface: Interface, *properties: str) -> None:
        """Tell of changed properties as they are declared, soon, and not more often than is good."""
        self._changes.add(interface, properties)

    def handle(self, bus: RepairedBus, call: Message) -> bool:
        """Answer a call; False if it is one that the library answers."""
        if call.interface == PEER:
            return False
        with bus.reply_to(call):
            self._gate.take(bus, call, self._job(call))
        return True

    # -- who is called ------------------------------------------------------------------------

    def _job(self, call: Message) -> Job:
        """What is to be done for this call; BusError if there is no such thing."""
        if not self._exists(str(call.path)):
            raise BusError(dbus_wire.UNKNOWN_OBJECT, f"no object {call.path}")
        interface = call.interface or self._interface_with(call)
        signature, make = self._standard.get((interface, str(call.member)), (None, None))
        if make is None or signature is None:
            return self._call_method(call, self._interface(call, interface))
        _expect(call, signature)
        return make(call)

    def _exists(self, path: str) -> bool:
        return path in self._objects or path in self._children or path == "/"

    def _is_managed(self, path: str) -> bool:
        return path.startswith(self._manager.rstrip("/") + "/")

    def _interface(self, call: Message, name: str) -> Interface:
        try:
            return self._objects[str(call.path)][name]
        except KeyError:
            raise BusError(dbus_wire.UNKNOWN_INTERFACE, f"{call.path} has no interface {name}") from None

    def _interface_with(self, call: Message) -> str:
        """Which interface is meant, since the caller need not say."""
        for interface in self._objects.get(str(call.path), {}).values():
            if call.member in interface.methods:
                return interface.name
        for interface_name, member in self._standard:
            if member == call.member:
                return interface_name
        raise BusError(dbus_wire.UNKNOWN_METHOD, f"{call.path} has no method {call.member}")

    def _call_method(self, call: Message, interface: Interface) -> Job:
        method = interface.methods.get(str(call.member))
        if method is None:
            raise BusError(dbus_wire.UNKNOWN_METHOD, f"{interface.name} has no method {call.member}")
        _expect(call, signature_of(method.takes))
        return Job(
            functools.partial(method.function, interface, *call.body),
            functools.partial(_results, call, method),
            waits=method.waits,
            actions=[method.action] if method.action else (),
            details=method.details(*call.body) if method.details is not None else None,
        )

    # -- the standard interfaces ----------------------------------------------------------------

    def _introspect(self, call: Message) -> Job:
        path = str(call.path)

        def describe() -> str:
            interfaces = [type(one) for one in self._objects.get(path, {}).values()]
            return introspection(interfaces, self._children.get(path, ()), path == self._manager)

        return Job(describe, functools.partial(_value, call, "s"))

    def _get(self, call: Message) -> Job:
        name, wanted = call.body
        interface = None if name in STANDARD else self._interface(call, name)
        if interface is None or wanted not in interface.properties:
            raise BusError(dbus_wire.UNKNOWN_PROPERTY, f"{name} has no property {wanted}")
        work = functools.partial(interface.value, wanted)
        return Job(work, functools.partial(_value, call, "v"), actions=_to_read([interface]))

    def _get_all(self, call: Message) -> Job:
        (name,) = call.body
        if name in STANDARD:
            return Job(dict, functools.partial(_value, call, "a{sv}"))
        interface = self._interface(call, name)
        return Job(interface.values, functools.partial(_value, call, "a{sv}"), actions=_to_read([interface]))

    def _set(self, _: Message) -> Job:
        raise BusError(dbus_wire.PROPERTY_READ_ONLY, "properties can only be read; see the methods")

    def _get_managed_objects(self, call: Message) -> Job:
        if call.path != self._manager:
            raise BusError(dbus_wire.UNKNOWN_INTERFACE, f"{call.path} has no interface {OBJECT_MANAGER}")
        managed = [one for path in self._objects if self._is_managed(path) for one in self._on(path)]
        return Job(
            self._encoded_objects,
            functools.partial(EncodedReturn, call, "a{oa{sa{sv}}}"),
            waits=True,
            actions=sorted({*self._read, *_to_read(managed)}),
        )

    def _on(self, path: str) -> Iterable[Interface]:
        return self._objects[path].values()

    async def _encoded_objects(self) -> bytes:
        """Everything there is, while everything else goes on."""
        entries = []
        loop = asyncio.get_running_loop()
        async with self._one_at_a_time:
            end = loop.time() + SLICE
            for path in [path for path in self._objects if self._is_managed(path)]:
                if path in self._objects:
                    shown = {one.name: one.values() for one in self._on(path)}
                    entries.append(encode("(oa{sa{sv}})", [[path, shown]]))
                if loop.time() > end:
                    await asyncio.sleep(0)
                    end = loop.time() + SLICE
        return array_of(entries)


class _Changes:
    """Changed properties that are to be told."""

    def __init__(self, bus: Bus) -> None:
        self._bus = bus
        self._waiting: dict[Interface, set[str]] = {}
        self._due: asyncio.Handle | None = None

    def add(self, interface: Interface, names: Iterable[str]) -> None:
        self._waiting.setdefault(interface, set()).update(names)
        if self._due is None:
            self._due = asyncio.get_running_loop().call_soon(self._tell)

    def _tell(self) -> None:
        """Tell of those that wait longest; of the others, and what changes again, a little later."""
        self._due = None
        if not self._bus.unique_name:
            self._waiting.clear()  # nobody listens; who comes later reads
            return
        told = 0
        for interface in list(itertools.islice(self._waiting, CHANGES_AT_ONCE)):
            if not self._tell_of(interface, self._waiting[interface]):
                break
            del self._waiting[interface]
            told += 1
        if told or self._waiting:
            self._due = asyncio.get_running_loop().call_later(CHANGES_SECONDS, self._tell)

    def _tell_of(self, interface: Interface, names: set[str]) -> bool:
        """False if the bus does not take it now."""
        emits = {name: interface.properties[name].emits for name in names}
        values = {name: interface.value(name) for name, how in emits.items() if how is Emits.VALUE}
        gone = sorted(name for name, how in emits.items() if how is Emits.NAME)
        if not interface.path or not (values or gone):
            return True
        body = [interface.name, values, gone]
        return self._bus.emit(interface.path, PROPERTIES, "PropertiesChanged", "sa{sv}as", body)


def _ancestry(path: str) -> Iterable[tuple[str, str]]:
    """(parent, name of the child), from the path itself upwards."""
    while path != "/":
        parent, _, child = path.rpartition("/")
        path = parent or "/"
        yield path, child


def _expect(call: Message, signature: str) -> None:
    if call.signature != signature:
        text = f"{call.member} takes arguments of the types '{signature}', not '{call.signature}'"
        raise BusError(dbus_wire.INVALID_ARGS, text)


def _to_read(interfaces: Iterable[Interface]) -> list[str]:
    """The actions that reading all these asks for."""
    return sorted({interface.read for interface in interfaces if interface.read})


def _value(call: Message, signature: str, value: Any) -> Message:
    return Message.new_method_return(call, signature, [value])


def _results(call: Message, method: Method, result: Any) -> Message:
    """The answer that holds what a method gave: nothing, a value, or several."""
    values = [result] if len(method.gives) == 1 else result or ()
    signature = signature_of(method.gives)
    return Message.new_method_return(call, signature, body_of(signature, values))
