# SPDX-License-Identifier: GPL-2.0-only
"""How a D-Bus interface is written down: once, as a class; all else follows from that.

    class Dimm(Interface, name="org.mcelog.Dimm", read="org.mcelog.read"):
        @readable("u", Emits.CONST)
        def Socket(self) -> int:
            return self._errors.key.socket

        @readable("t", Emits.NAME)
        def CorrectedErrors(self) -> int: ...

        @method("ts", "t", returns=["id"], action="org.mcelog.offline-page", details=page_details)
        async def OfflinePage(self, address: int, mode: str) -> int: ...

        @signal("tb")
        def PageOfflined(self, id: int, ok: bool) -> None: ...

The strings are D-Bus signatures. dbus-next's own declarations put these in the
place of Python's annotations, know neither D-Bus's annotations nor names for
what is returned, and make methods that return nothing when Python calls them.
"""

from __future__ import annotations

import enum
import functools
import inspect
import logging
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeVar

from mcelogd.dbus.library import Node, SignatureTree, Variant, body_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    Details = Callable[..., Mapping[str, str]]
    """What polkit is told of a method's arguments: called with them, without the object."""
    Emit = Callable[[str, str, str, str, Sequence[Any]], object]
    """Sends a signal: path, interface, member, signature, values."""

log = logging.getLogger(__name__)

Function = TypeVar("Function", bound="Callable[..., Any]")

PROPERTIES = "org.freedesktop.DBus.Properties"
OBJECT_MANAGER = "org.freedesktop.DBus.ObjectManager"

_EMITS_CHANGED = "org.freedesktop.DBus.Property.EmitsChangedSignal"
_DOCTYPE = (
    '<!DOCTYPE node PUBLIC "-//freedesktop//DTD D-BUS Object Introspection 1.0//EN"\n'
    ' "http://www.freedesktop.org/standards/dbus/1.0/introspect.dtd">\n'
)


class Emits(enum.Enum):
    """What signals say of a property (D-Bus Specification, "Introspection Data Format").

    Everybody on the bus hears them, so it is a question of who may read the property.
    """

    VALUE = "true"
    """Its new value; and its value when the object appears."""
    NAME = "invalidates"
    """That it has changed: who may read it reads it again."""
    CONST = "const"
    """It does not change; its value when the object appears."""
    NEVER = "false"
    """Nothing."""


class Argument(NamedTuple):
    """What a method takes or gives, or a signal carries."""

    name: str
    signature: str


class Method(NamedTuple):
    """A method that can be called through D-Bus."""

    name: str
    takes: tuple[Argument, ...]
    gives: tuple[Argument, ...]
    action: str
    """polkit's action that the caller is to be authorized for; empty if everybody is."""
    details: Details | None
    function: Callable[..., Any]
    waits: bool
    """It is a coroutine function."""


class Signal(NamedTuple):
    """A signal that an object sends."""

    name: str
    carries: tuple[Argument, ...]


class Property(NamedTuple):
    """A property that can be read through D-Bus. What is to be changed has a method for it."""

    name: str
    signature: str
    emits: Emits
    getter: Callable[[Any], Any]


def signature_of(arguments: Iterable[Argument]) -> str:
    return "".join(argument.signature for argument in arguments)


def method(
    takes: str = "",
    gives: str = "",
    *,
    returns: Sequence[str] = (),
    action: str = "",
    details: Details | None = None,
) -> Callable[[Function], Function]:
    """A method that takes and gives values of these signatures.

    What it takes is named as its parameters, what it gives as `returns` says: one value, or a tuple
    of several. The caller gets what it raises as BusError. A coroutine function keeps nobody waiting.
    """

    def declare(function: Function) -> Function:
        arguments = _arguments(takes, _parameters(function))
        results = _arguments(gives, returns)
        waits = inspect.iscoroutinefunction(function)
        declared = Method(function.__name__, arguments, results, action, details, function, waits)
        function.__dict__["declared"] = declared
        return function

    return declare


def signal(carries: str = "") -> Callable[[Function], Function]:
    """A signal that carries values of these signatures, named as the parameters. Calling it sends it."""

    def declare(function: Function) -> Function:
        declared = Signal(function.__name__, _arguments(carries, _parameters(function)))
        shape = inspect.signature(function)

        @functools.wraps(function)
        def send(self: Interface, *values: Any, **named: Any) -> None:
            _, *arguments = shape.bind(self, *values, **named).args
            self.send(self.name, declared.name, carries, arguments)

        send.__dict__["declared"] = declared
        return send  # type: ignore[return-value]  # called in the same way

    return declare


class _Readable(property):
    """A Python property that D-Bus knows."""

    declared: Property


def readable(signature: str, emits: Emits) -> Callable[[Callable[[Any], Any]], property]:
    """A property of this signature. Its getter is a plain function: what takes time is a method."""

    def declare(getter: Callable[[Any], Any]) -> property:
        made = _Readable(getter)
        _arguments(signature, [getter.__name__])
        made.declared = Property(getter.__name__, signature, emits, getter)
        return made

    return declare


def _parameters(function: Callable[..., Any]) -> list[str]:
    return list(inspect.signature(function).parameters)[1:]


def _arguments(signature: str, names: Sequence[str]) -> tuple[Argument, ...]:
    types = SignatureTree._get(signature).types
    if len(types) != len(names):
        raise TypeError(f"{signature!r} does not say the types of {', '.join(names) or 'nothing'}")
    return tuple(Argument(name, kind.signature) for name, kind in zip(names, types, strict=True))


class Interface:
    """One interface of one object; derive from it with `name` and `read`."""

    name: ClassVar[str]
    read: ClassVar[str]
    """polkit's action for reading properties; empty if everybody may."""
    methods: ClassVar[dict[str, Method]]
    signals: ClassVar[dict[str, Signal]]
    properties: ClassVar[dict[str, Property]]

    path: str = ""
    """Where the object is; empty as long as it is nowhere."""
    _emit: Emit | None = None

    def __init_subclass__(cls, *, name: str, read: str = "") -> None:
        super().__init_subclass__()
        cls.name, cls.read = name, read
        declared = [getattr(member, "declared", None) for member in vars(cls).values()]
        cls.methods = {one.name: one for one in declared if isinstance(one, Method)}
        cls.signals = {one.name: one for one in declared if isinstance(one, Signal)}
        cls.properties = {one.name: one for one in declared if isinstance(one, Property)}
        told = [one.name for one in cls.properties.values() if read and one.emits is Emits.VALUE]
        if told:
            raise TypeError(f"everybody would be told {', '.join(told)}, which not everybody may read")

    def placed(self, path: str, emit: Emit | None) -> None:
        """Tell the object where it is, and how signals are sent from there."""
        self.path = path
        self._emit = emit

    def send(self, interface: str, member: str, signature: str, values: Sequence[Any]) -> None:
        """Send a signal; nothing happens while the object is nowhere."""
        if self._emit is not None:
            self._emit(self.path, interface, member, signature, values)

    def value(self, name: str) -> Variant:
        """A property's value. KeyError if there is no such property."""
        declared = self.properties[name]
        return Variant(declared.signature, body_of(declared.signature, [declared.getter(self)])[0])

    def values(self, *emitted: Emits) -> dict[str, Variant]:
        """The values of all properties, or of those that signals treat in one of these ways.

        One that cannot be had is left out, for the others' sake.
        """
        values = {}
        for name, declared in self.properties.items():
            if emitted and declared.emits not in emitted:
                continue
            try:
                values[name] = self.value(name)
            except Exception:  # whatever is wrong with one getter
                log.exception("reading %s.%s failed", self.name, name)
        return values


# -- introspection ------------------------------------------------------------------------------


def introspection(interfaces: Iterable[type[Interface]], children: Iterable[str], is_manager: bool) -> str:
    """The XML that tells what an object has (D-Bus Specification, "Introspection Data Format")."""
    node = ET.Element("node")
    node.extend(_standard_interfaces(is_manager))
    node.extend(_interface_element(interface) for interface in interfaces)
    for child in sorted(children):
        ET.SubElement(node, "node", name=child)
    ET.indent(node, " ")
    return f"{_DOCTYPE}{ET.tostring(node, encoding='unicode')}\n"


def _standard_interfaces(is_manager: bool) -> Iterator[ET.Element]:
    """Those that dbus-next describes, less what is not true of every object."""
    for interface in Node.default().to_xml():
        if interface.get("name") != OBJECT_MANAGER or is_manager:
            for argument in interface.iterfind("signal/arg"):
                argument.attrib.pop("direction", None)
            yield interface


def _interface_element(interface: type[Interface]) -> ET.Element:
    element = ET.Element("interface", name=interface.name)
    for method in interface.methods.values():
        child = ET.SubElement(element, "method", name=method.name)
        _add_arguments(child, method.takes, direction="in")
        _add_arguments(child, method.gives, direction="out")
    for signal in interface.signals.values():
        _add_arguments(ET.SubElement(element, "signal", name=signal.name), signal.carries)
    for one in interface.properties.values():
        child = ET.SubElement(element, "property", name=one.name, type=one.signature, access="read")
        if one.emits is not Emits.VALUE:  # which is what no annotation means
            ET.SubElement(child, "annotation", name=_EMITS_CHANGED, value=one.emits.value)
    return element


def _add_arguments(element: ET.Element, arguments: Iterable[Argument], direction: str = "") -> None:
    for argument in arguments:
        child = ET.SubElement(element, "arg", name=argument.name, type=argument.signature)
        if direction:
            child.set("direction", direction)
