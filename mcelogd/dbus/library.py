# SPDX-License-Identifier: GPL-2.0-only
"""dbus-next 0.2.3 as this project uses it: no other module imports it.

There has been no release since 2021. What is wrong with its messages is mended
here, what is wrong with its connections in RepairedBus. Private names are
touched in both, so the version is pinned; for each repair there is a test that
the library itself fails (tests/integration/test_dbus_repairs.py).
"""

from __future__ import annotations

import contextlib
import struct
import sys
import typing
from typing import TYPE_CHECKING, Any

from mcelogd.dbus import wire as dbus_wire
from mcelogd.dbus.wire import BusError, Header

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence


def _unchanged(decorator: Any) -> Any:
    return decorator


@contextlib.contextmanager
def _importable() -> Iterator[None]:
    """It asks for what Python 3.15 has no more, and loads GLib's bindings wherever they are."""
    had_gi = "gi" in sys.modules
    if not had_gi:
        sys.modules["gi"] = None  # type: ignore[assignment]  # how import is told that there is none
    if not hasattr(typing, "no_type_check_decorator"):
        typing.no_type_check_decorator = _unchanged  # type: ignore[attr-defined, unused-ignore]
    try:
        yield
    finally:
        if not had_gi:
            del sys.modules["gi"]


with _importable():
    import dbus_next.message
    import dbus_next.service
    from dbus_next import DBusError, Message, MessageFlag, MessageType, PropertyAccess, Variant
    from dbus_next._private.marshaller import Marshaller
    from dbus_next._private.unmarshaller import Unmarshaller
    from dbus_next.aio import MessageBus
    from dbus_next.errors import AuthError, SignatureBodyMismatchError
    from dbus_next.introspection import Node
    from dbus_next.service import ServiceInterface, dbus_property, method, signal
    from dbus_next.signature import SignatureTree, SignatureType

__all__ = [
    "AuthError",
    "DBusError",
    "EncodedReturn",
    "Marshaller",
    "Message",
    "MessageBus",
    "MessageFlag",
    "MessageType",
    "Node",
    "PropertyAccess",
    "Received",
    "ServiceInterface",
    "SignatureBodyMismatchError",
    "SignatureTree",
    "Variant",
    "array_of",
    "body_of",
    "dbus_property",
    "encode",
    "method",
    "plain",
    "signal",
]

MAX_SIGNATURES = 1024


class _Marshaller(Marshaller):
    """Writes no string that would make the bus throw us out: NUL and lone surrogates are replaced."""

    def write_string(self, value: str, _: object = None) -> int:
        text = value.replace("\0", "\ufffd").encode(errors="replace").decode()
        return int(super().write_string(text))  # type: ignore[no-untyped-call]


class _Signatures(dict[str, SignatureTree]):
    """The library's parsed signatures; it would keep every one that anybody ever sent."""

    def __setitem__(self, signature: str, tree: SignatureTree) -> None:
        if len(self) >= MAX_SIGNATURES:
            self.clear()
        super().__setitem__(signature, tree)


dbus_next.message.Marshaller = _Marshaller  # type: ignore[misc]
SignatureTree._cache = _Signatures(SignatureTree._cache)
# typing's own warns at each use since Python 3.13, and we have nothing to be left unchecked.
dbus_next.service.no_type_check_decorator = _unchanged  # type: ignore[attr-defined, unused-ignore]

_FLAGS = 0x7


class Received(Message):
    """A received message. Its body is decoded when somebody asks for it; for most nobody does."""

    def __init__(self, header: Header, frame: bytes) -> None:
        """Of what Frames cut out; TypeError or ValueError if a name or the signature is not valid."""
        self._header = header
        self._undecoded: bytes | None = frame
        super().__init__(
            message_type=MessageType(header.kind),
            flags=MessageFlag(header.flags & _FLAGS),
            serial=header.serial,
            path=header.path or None,
            interface=header.interface or None,
            member=header.member or None,
            error_name=header.error_name or None,
            reply_serial=header.reply_serial or None,
            destination=header.destination or None,
            sender=header.sender or None,
            unix_fds=[],
            signature=header.signature,
        )

    @property
    def body(self) -> list[Any]:
        """The arguments. BusError if they were too long or cannot be decoded."""
        if self._undecoded is not None:
            self._body = self._decode(self._undecoded)
            self._undecoded = None
        return self._body

    @body.setter
    def body(self, _: object) -> None:
        """Message's constructor sets an empty one."""

    def _decode(self, frame: bytes) -> list[Any]:
        if self._header.too_long:
            raise BusError(dbus_wire.LIMITS_EXCEEDED, "the message is too long")
        reader = Unmarshaller(None)
        reader.buf = bytearray(frame)
        reader.offset = self._header.body
        reader.endian = ord("l" if self._header.order == "<" else "B")
        try:
            return [reader.read_argument(kind) for kind in self.signature_tree.types]
        except Exception as error:  # whatever the library raises: what is wrong is the message
            raise BusError(dbus_wire.INVALID_ARGS, "the message cannot be decoded") from error


def body_of(signature: str, values: Sequence[Any]) -> list[Any]:
    """The body of a message from plain values, where a variant is a pair of signature and value.

    ValueError if they do not fit.
    """
    types = SignatureTree._get(signature).types
    return [_wrapped(kind, value) for kind, value in zip(types, values, strict=True)]


def _wrapped(kind: SignatureType, value: Any) -> Any:
    if kind.token == "v" and not isinstance(value, Variant):
        signature, inner = value
        return Variant(signature, body_of(signature, [inner])[0])
    if kind.token == "(":
        return [_wrapped(child, member) for child, member in zip(kind.children, value, strict=True)]
    if kind.token == "a" and kind.children[0].token == "{":
        of_value = kind.children[0].children[1]
        return {key: _wrapped(of_value, member) for key, member in value.items()}
    if kind.token == "a" and kind.children[0].token != "y":
        return [_wrapped(kind.children[0], member) for member in value]
    return value


def plain(value: Any) -> Any:
    """What a message held, with the values of variants in their place."""
    if isinstance(value, Variant):
        return plain(value.value)
    if isinstance(value, list):
        return [plain(member) for member in value]
    if isinstance(value, dict):
        return {key: plain(member) for key, member in value.items()}
    return value


def encode(signature: str, body: list[Any]) -> bytes:
    """Values as they are on the wire, where they begin at a multiple of 8 bytes."""
    return bytes(_Marshaller(signature, body).marshall())  # type: ignore[no-untyped-call]


def array_of(entries: Sequence[bytes]) -> bytes:
    """An array of structs or dict entries that were encoded one by one."""
    joined = b"".join(entry + bytes(-len(entry) % 8) for entry in entries[:-1]) + b"".join(entries[-1:])
    return struct.pack("<I4x", len(joined)) + joined


class EncodedReturn(Message):
    """An answer whose body was put together bit by bit."""

    def __init__(self, call: Message, signature: str, body: bytes) -> None:
        super().__init__(
            message_type=MessageType.METHOD_RETURN,
            reply_serial=call.serial,
            destination=call.sender,
            signature=signature,
        )
        self._encoded = body

    def _marshall(self, *_: bool) -> bytes:
        fields = [
            [5, Variant("u", self.reply_serial)],
            [6, Variant("s", self.destination)],
            [8, Variant("g", self.signature)],
        ]
        kind = self.message_type.value
        fixed = [ord("l"), kind, self.flags.value, 1, len(self._encoded), self.serial, fields]
        header = encode("yyyyuua(yv)", fixed)
        return header + bytes(-len(header) % 8) + self._encoded
