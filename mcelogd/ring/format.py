# SPDX-License-Identifier: GPL-2.0-only
"""What the kernel publishes about its trace data: `format` of an event, and `header_page`.

Offsets, sizes and numbers of events differ between kernels, and fields come
and go: nothing about them is known here but the names.

Source: Linux Documentation/trace/events.rst, "Event formats"; kernel/trace/trace_events.c
(f_show), kernel/trace/ring_buffer.c (ring_buffer_print_page_header).
"""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping

LARGEST_PAGE = 1 << 20
"""Bytes; kernels since 6.8 can have pages larger than the machine's (buffer_subbuf_size_kb)."""

_FIELD = re.compile(
    r"\tfield:(?P<type>[^;]*?)(?P<name>\w+)(?:\[[^];]*\])?;"
    r"\toffset:(?P<offset>\d{1,7});\tsize:(?P<size>\d{1,7});",
    re.ASCII,
)
_ID = re.compile(r"^ID: (\d{1,5})$", re.ASCII | re.MULTILINE)
_DYNAMIC = ("__data_loc", "__rel_loc")


class FormatError(ValueError):
    """The text is none of the kernel's, or lacks what is needed; the message says what."""


class Field(NamedTuple):
    """A member: bytes `offset` to `offset + size`."""

    offset: int
    size: int

    @property
    def end(self) -> int:
        return self.offset + self.size


class Dynamic(NamedTuple):
    """A member of any length: `field` holds where it is, counted from its own end if `is_relative`."""

    field: Field
    is_relative: bool

    def of(self, payload: memoryview) -> bytes:
        """The member's bytes in an entry, as far as they are in there."""
        word = int.from_bytes(payload[self.field.offset : self.field.end], "little")
        start = (word & 0xFFFF) + (self.field.end if self.is_relative else 0)
        return bytes(payload[start : start + (word >> 16 & 0xFFFF)])


class EventFormat(NamedTuple):
    """An event: its number on this kernel, and its members by name: those that have a fixed place, and those
    of any length (texts)."""

    id: int
    fields: Mapping[str, Field]
    dynamic: Mapping[str, Dynamic] = MappingProxyType({})


class PageFormat(NamedTuple):
    """A page of the ring buffer: where its data's length stands, and where the data."""

    commit: Field
    data: int
    page_size: int


def parse_event(text: str) -> EventFormat:
    """The event that a file `format` describes; FormatError if it describes none."""
    number = _ID.search(text)
    if number is None:
        raise FormatError("it does not say which number the event has")
    fields = _fields(text)
    if "common_type" not in fields:
        raise FormatError("the event has no field common_type")
    return EventFormat(int(number[1]), fields, _dynamic(text))


def parse_page(text: str) -> PageFormat:
    """The page that `header_page` describes; FormatError if it describes none."""
    fields = _fields(text)
    try:
        commit, data = fields["commit"], fields["data"]
    except KeyError as error:
        raise FormatError(f"a page has no field {error.args[0]}") from error
    if commit.size not in (4, 8) or commit.end > data.offset or data.end > LARGEST_PAGE:
        raise FormatError("a page has an impossible layout")
    return PageFormat(commit, data.offset, data.end)


def _dynamic(text: str) -> dict[str, Dynamic]:
    found = {}
    for match in _FIELD.finditer(text):
        kind = match["type"].strip()
        if kind.startswith(_DYNAMIC):
            field = Field(int(match["offset"]), int(match["size"]))
            found[match["name"]] = Dynamic(field, kind.startswith("__rel_loc"))
    return found


def _fields(text: str) -> dict[str, Field]:
    found = {}
    for match in _FIELD.finditer(text):
        if not match["type"].strip().startswith(_DYNAMIC):
            found[match["name"]] = Field(int(match["offset"]), int(match["size"]))
    return found
