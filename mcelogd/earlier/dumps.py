# SPDX-License-Identifier: GPL-2.0-only
"""Files of pstore -> dumps: a dump's parts put together, in the order of time. Pure.

Sources: Linux fs/pstore/platform.c (pstore_dump: the header, and that the last
lines are part 1), fs/pstore/inode.c (names), drivers/firmware/efi/efi-pstore.c
and drivers/acpi/apei/erst.c (what the numbers in names say).
"""

from __future__ import annotations

import enum
import re
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.decode.bits import MCI_STATUS_VAL
from mcelogd.earlier.found import Line
from mcelogd.record import RecordLengthError, layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcelogd.record import MceRecord

JOINED = "dmesg.txt"
"""What systemd-pstore calls the text that it puts together."""

FARTHEST_PARTS = 60
"""Seconds between two parts of one dump, at most."""

EFI_PARTS_AND_COUNTS = 100_000
"""An EFI record's number is (seconds * 100 + part) * 1000 + count."""

EARLIEST = 1_000_000_000
"""Seconds since the epoch; pstore is younger."""

_NAME = re.compile(r"(dmesg|mce)-([\w.]{1,64}?)-(\d{1,20})((?:\.enc)?(?:\.z)?)", re.ASCII)
_HEADER = re.compile(rb"([A-Z]\w{0,31})#(\d{1,10}) Part(\d{1,10})[ \t]*\r?\n")
_STAMP = re.compile(r"(?:<\d{1,3}>)?\[ {0,12}(\d{1,10})\.\d{1,9}\]", re.ASCII)


class What(enum.Enum):
    """What a file holds."""

    TEXT = enum.auto()
    RECORD = enum.auto()
    COMPRESSED = enum.auto()
    """A text that the kernel could not unpack."""


class Name(NamedTuple):
    """What a file's name says; `number` is 0 where it has none."""

    what: What
    backend: str
    number: int


class Piece(NamedTuple):
    """A file's content, and when it was written as far as the file system knows."""

    path: str
    name: Name
    data: bytes
    written: int


class Dump(NamedTuple):
    """A kernel's last lines; `path` is that of the last part."""

    path: str
    lines: list[Line]


def name_of(name: str) -> Name | None:
    """What a file of pstore is; None for one that holds no machine checks."""
    if name == JOINED:
        return Name(What.TEXT, JOINED, 0)
    match = _NAME.fullmatch(name)
    if match is None:
        return None
    kind, backend, number, packed = match.groups()
    what = What.COMPRESSED if packed else What.RECORD if kind == "mce" else What.TEXT
    return Name(what, backend, int(number))


def record_of(data: bytes, now: int) -> MceRecord | None:
    """The record in a file of ERST; None if it cannot be one: it has a time, and its VAL bit is set."""
    try:
        record = layout(len(data)).parse(data)
    except RecordLengthError:
        return None
    is_record = record.status & MCI_STATUS_VAL and EARLIEST <= record.time <= now + 86400
    return record if is_record else None


def dumps_of(pieces: Iterable[Piece], now: int) -> Iterator[Dump]:
    """The dumps in files of one directory tree."""
    for parts in _grouped(pieces):
        time = max(time_of(part.name, part.written, now) for part in parts)
        texts = (part.data.decode("utf-8", "replace") for part in reversed(parts))
        yield Dump(parts[0].path, _lines("\n".join(texts), time))


def time_of(name: Name, written: int, now: int) -> int:
    """When a file's content came to be: as its number says, else the file."""
    said = _said(name)
    return said if EARLIEST <= said <= now else written


def _said(name: Name) -> int:
    """Seconds since the epoch in the number of a file; 0 where it has none."""
    if name.backend == "efi":
        return name.number // EFI_PARTS_AND_COUNTS
    return name.number >> 32 if name.backend == "erst" else 0


def _grouped(pieces: Iterable[Piece]) -> Iterator[list[Piece]]:
    """The parts that belong together, part 1 first.

    A kernel writes the parts of a dump one after the other from 1 on, so a
    number that does not go up is of another dump.
    """
    series: dict[tuple[str, bytes, bytes], list[tuple[int, Piece]]] = {}
    for piece in pieces:
        header = _HEADER.match(piece.data)
        if header is None or piece.name.backend == JOINED:
            yield [piece]
        else:
            key = (piece.name.backend, header[1], header[2])
            series.setdefault(key, []).append((int(header[3]), piece))
    for numbered in series.values():
        numbered.sort(key=lambda one: (one[1].name.number, one[0]))
        yield from _cut(numbered)


def _cut(numbered: list[tuple[int, Piece]]) -> Iterator[list[Piece]]:
    parts: list[Piece] = []
    last = -1
    for number, piece in numbered:
        if parts and (number <= last or _said(piece.name) - _said(parts[-1].name) > FARTHEST_PARTS):
            yield parts
            parts = []
        parts.append(piece)
        last = number
    if parts:
        yield parts


def _lines(text: str, time: int) -> list[Line]:
    """The lines with their times: the last was printed when the dump was written."""
    stamped = []
    stamp = None
    for line in text.split("\n"):
        match = _STAMP.match(line)
        if match is not None:
            stamp = int(match[1])
        stamped.append((line, stamp))
    end = stamp or 0
    return [Line(line, time - max(0, end - stamp) if stamp is not None else time) for line, stamp in stamped]
