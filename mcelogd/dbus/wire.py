# SPDX-License-Identifier: GPL-2.0-only
"""D-Bus messages as bytes: where one ends, and what its header says. Pure.

Source: D-Bus Specification 0.43, chapter "Message Protocol".
"""

from __future__ import annotations

import enum
import re
import struct
from typing import Final, NamedTuple

_OBJECT_PATH = re.compile(r"/|(/[A-Za-z0-9_]+)+")

DBUS: Final = "org.freedesktop.DBus"
DBUS_PATH: Final = "/org/freedesktop/DBus"
"""The bus itself: its name, its interface, and its object."""

ACCESS_DENIED: Final = "org.freedesktop.DBus.Error.AccessDenied"
DISCONNECTED: Final = "org.freedesktop.DBus.Error.Disconnected"
FAILED: Final = "org.freedesktop.DBus.Error.Failed"
INTERACTION_REQUIRED: Final = "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired"
INVALID_ARGS: Final = "org.freedesktop.DBus.Error.InvalidArgs"
LIMITS_EXCEEDED: Final = "org.freedesktop.DBus.Error.LimitsExceeded"
NAME_HAS_NO_OWNER: Final = "org.freedesktop.DBus.Error.NameHasNoOwner"
PROPERTY_READ_ONLY: Final = "org.freedesktop.DBus.Error.PropertyReadOnly"
SERVICE_UNKNOWN: Final = "org.freedesktop.DBus.Error.ServiceUnknown"
TIMED_OUT: Final = "org.freedesktop.DBus.Error.Timeout"
UNKNOWN_INTERFACE: Final = "org.freedesktop.DBus.Error.UnknownInterface"
UNKNOWN_METHOD: Final = "org.freedesktop.DBus.Error.UnknownMethod"
UNKNOWN_OBJECT: Final = "org.freedesktop.DBus.Error.UnknownObject"
UNKNOWN_PROPERTY: Final = "org.freedesktop.DBus.Error.UnknownProperty"


def is_object_path(text: str) -> bool:
    return _OBJECT_PATH.fullmatch(text) is not None


def path_element(text: str) -> str:
    """One element of an object path from any text, as systemd escapes names of units."""
    if not text:
        return "_"
    escaped = "".join(
        chr(byte) if chr(byte).isalnum() and byte < 128 else f"_{byte:02x}"
        for byte in text.encode(errors="surrogateescape")
    )
    return f"_{ord(escaped[0]):02x}{escaped[1:]}" if escaped[0].isdigit() else escaped


class BusError(Exception):
    """An error as D-Bus has it: received as the answer to a call, or to be given as one."""

    def __init__(self, name: str, text: str) -> None:
        super().__init__(text)
        self.name = name
        self.text = text

    def __str__(self) -> str:
        return f"{self.text} ({self.name})"


class WireError(ValueError):
    """Bytes that are no D-Bus message."""


class Kind(enum.IntEnum):
    """The type of a message. There may be others, which are to be ignored."""

    CALL = 1
    RETURN = 2
    ERROR = 3
    SIGNAL = 4


class Flag(enum.IntFlag):
    """The flags of a message that matter here."""

    NO_REPLY = 0x1
    INTERACTIVE = 0x4
    """The caller is ready to wait until somebody typed a password."""


_FIXED = 16
"""Bytes at the start of each message that tell how long it is."""

_LONGEST_ARRAY = 1 << 26
_LONGEST = 1 << 27
"""Bytes: the protocol's own limits."""

MAX_HEADER = 16 << 10
"""Bytes. Nobody's header is longer, unless to do harm."""

_MORE = 1 << 16
"""Bytes done with before they are taken out of the buffer."""


class Frames:
    """Cuts what a connection delivers into messages.

    Of one whose body is longer than its kind may have, only the header is
    kept: the rest costs no memory, however much it is.
    """

    def __init__(self, longest: dict[int, int], otherwise: int) -> None:
        """`longest`: kind -> bytes of body at most; `otherwise` for the kinds not named."""
        self._longest = longest
        self._otherwise = otherwise
        self._buffer = bytearray()
        self._start = 0
        self._skip = 0

    def feed(self, data: bytes) -> None:
        """Take what was received."""
        skipped = min(self._skip, len(data))
        self._skip -= skipped
        if self._start > _MORE or self._start == len(self._buffer):
            del self._buffer[: self._start]
            self._start = 0
        self._buffer += memoryview(data)[skipped:] if skipped else data

    def next(self) -> bytes | None:
        """The next message, or only its header if it is too long; None until more is received.

        Nothing at all is left of one whose header is longer than MAX_HEADER.

        Raises WireError if this is not D-Bus: there is no going on after that.
        """
        held = len(self._buffer) - self._start
        if held < _FIXED:
            return None
        kind, header, body = _lengths(self._buffer, self._start)
        wanted = header + body
        keep = wanted if body <= self._longest.get(kind, self._otherwise) else header
        if header > MAX_HEADER:
            keep = 0
        if held < keep:
            return None
        frame = bytes(self._buffer[self._start : self._start + keep])
        gone = min(held, wanted)
        self._start += gone
        self._skip = wanted - gone
        return frame


def _lengths(data: bytes | bytearray, start: int) -> tuple[int, int, int]:
    """(kind, bytes of header with its padding, bytes of body) of the message that begins there."""
    order = _order(data[start])
    kind, version = data[start + 1], data[start + 3]
    body, _serial, fields = struct.unpack_from(order + "III", data, start + 4)
    header = _FIXED + fields + -fields % 8
    if version != 1 or fields > _LONGEST_ARRAY or header + body > _LONGEST:
        raise WireError("the bus sent something that is no D-Bus message")
    return kind, header, body


def _order(mark: int) -> str:
    if mark == ord("l"):
        return "<"
    if mark == ord("B"):
        return ">"
    raise WireError("the bus sent something that is no D-Bus message")


class Header(NamedTuple):
    """What a message says of itself. Of the strings, those it does not have are empty."""

    kind: int
    flags: int
    serial: int
    order: str
    """Of its bytes, as `struct` writes it."""
    body: int
    """Where its body begins."""
    too_long: bool
    """Its body was longer than allowed, and is gone."""
    path: str
    interface: str
    member: str
    error_name: str
    reply_serial: int
    destination: str
    sender: str
    signature: str


_TEXTS = {1: "path", 2: "interface", 3: "member", 4: "error_name", 6: "destination", 7: "sender"}
_REPLY_SERIAL, _SIGNATURE = 5, 8

_NAME = re.compile(r":[\w-]+(?:\.[\w-]+)+|[A-Za-z_-][\w-]*(?:\.[A-Za-z_-][\w-]*)+", re.ASCII)
"""A unique or a well-known name of the bus (D-Bus specification, "Bus names")."""


def read_header(frame: bytes) -> Header:
    """The header of one message that Frames cut out. WireError if it is not one."""
    try:
        order = _order(frame[0])
        kind, flags = frame[1], frame[2]
        length, serial, size = struct.unpack_from(order + "III", frame, 4)
        end = _FIXED + size
        texts, reply_serial, signature = _read_fields(frame, order, end)
    except (IndexError, struct.error, UnicodeDecodeError) as error:
        raise WireError(f"damaged header: {error}") from error
    if not serial:
        # Nothing can be an answer to it; the bus passes none on.
        raise WireError("a message without a serial number")
    if texts["sender"] and not _NAME.fullmatch(texts["sender"]):
        # A bus stamps its own names on messages; to another no answer can be sent.
        raise WireError("a message of a sender that can be none")
    body = end + -end % 8
    too_long = len(frame) < body + length
    return Header(
        kind, flags, serial, order, body, too_long, reply_serial=reply_serial, signature=signature, **texts
    )


def _read_fields(frame: bytes, order: str, end: int) -> tuple[dict[str, str], int, str]:
    """The strings by their names, the serial replied to, the signature. What is not known is skipped."""
    texts = dict.fromkeys(_TEXTS.values(), "")
    reply_serial, signature = 0, ""
    number = struct.Struct(order + "I")
    at = _FIXED
    while at < end:
        at += -at % 8
        code = frame[at]
        kind = frame[at + 2 : at + 2 + frame[at + 1]]
        at += 3 + len(kind)
        if kind in (b"s", b"o"):
            at += -at % 4
            (size,) = number.unpack_from(frame, at)
            if code in _TEXTS:
                texts[_TEXTS[code]] = frame[at + 4 : at + 4 + size].decode()
            at += 5 + size
        elif kind == b"u":
            at += -at % 4
            (value,) = number.unpack_from(frame, at)
            reply_serial = value if code == _REPLY_SERIAL else reply_serial
            at += 4
        elif kind == b"g":
            text = frame[at + 1 : at + 1 + frame[at]].decode()
            signature = text if code == _SIGNATURE else signature
            at += 2 + len(text)
        else:
            raise WireError(f"header field {code} of a type that no field has")
    return texts, reply_serial, signature
