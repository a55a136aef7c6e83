# SPDX-License-Identifier: GPL-2.0-only
"""Decoding once: the records of a device or file, or those in a text (`--ascii`)."""

from __future__ import annotations

import enum
import gc
import sys
import time
from codecs import getincrementaldecoder
from io import IncrementalNewlineDecoder
from typing import TYPE_CHECKING, Protocol

from mcelogd import cpu as cpus
from mcelogd import render
from mcelogd.decode import decode, is_known_bogus
from mcelogd.event import Kind
from mcelogd.record import layout
from mcelogd.settings import Smbios

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mcelogd.ascii import Assembled
    from mcelogd.event import Event
    from mcelogd.record import MceRecord
    from mcelogd.settings import Settings
    from mcelogd.sources import Source


BLOCK = 1 << 18
"""Bytes of a log that are decoded at once."""


class Text(Protocol):
    """Where decoded text goes."""

    def write(self, text: str) -> object: ...


class CpuOf(Protocol):
    """Says which CPU a record is decoded for."""

    def of(self, record: MceRecord) -> cpus.CpuType: ...


def decode_text(settings: Settings) -> int:
    """`--ascii`: decode the records in a text and pass on what else is in it."""
    name = settings.file
    try:
        stream = sys.stdin.buffer if name is None else open(name, "rb", buffering=0)  # noqa: PTH123, SIM115
    except OSError as error:
        sys.stderr.write(f"mcelog: cannot open input file {name}: {error.strerror}\n")
        return 1
    except AttributeError:
        sys.stderr.write("mcelog: there is no standard input; name a log with --file\n")
        return 1
    if sys.stdout is None:
        sys.stderr.write("mcelog: there is no standard output to write to\n")
        return 1
    # Nothing here refers to itself, so there is no garbage to look for.
    gc.disable()
    # Bytes that are no UTF-8 come out as they went in.
    sys.stdout.reconfigure(encoding="utf-8", errors="surrogateescape")  # type: ignore[union-attr]  # a TextIOWrapper, but typed TextIO
    try:
        for text in decoded(blocks(stream), settings.cpu, form_of(settings), _smbios_lines(settings)):
            sys.stdout.write(text)
            sys.stdout.flush()
    except IsADirectoryError:
        sys.stderr.write(f"mcelog: cannot read {name}: it is a directory\n")
        return 1
    finally:
        stream.close()
    return 0


class Stream(Protocol):
    """A file of bytes that gives what it has."""

    def read(self, size: int, /) -> bytes | None: ...


def blocks(stream: Stream) -> Iterator[str]:
    """The text of a file, as it comes; lines may end in CR LF or CR."""
    read = getattr(stream, "read1", stream.read)
    decoder = IncrementalNewlineDecoder(getincrementaldecoder("utf-8")("surrogateescape"), translate=True)
    while data := read(BLOCK):
        yield decoder.decode(data)
    yield decoder.decode(b"", final=True)


class Form(enum.Enum):
    """What is made of each record in a text. All but TEXT leave out lines that belong to none."""

    TEXT = enum.auto()
    RAW = enum.auto()
    JSON = enum.auto()


def form_of(settings: Settings) -> Form:
    """The form that `--raw` and `--json` ask for."""
    if settings.raw:
        return Form.RAW
    return Form.JSON if settings.json else Form.TEXT


def decoded(
    text: Iterable[str],
    forced: cpus.CpuType | None,
    form: Form,
    smbios_lines: Callable[[Event], str] | None = None,
) -> Iterator[str]:
    """What to print for a text, in pieces as it is read."""
    from mcelogd.ascii import Assembled, Printed, assemble_blocks
    from mcelogd.bulk import BulkText

    printed = _printer(form, forced, smbios_lines)
    bulk = BulkText(forced)
    for items in assemble_blocks(text):
        parts: list[str] = []
        for item in items:
            if isinstance(item, str):
                if form is Form.TEXT:
                    parts.append(item)
            elif isinstance(item, Assembled):
                parts.append(printed(item))
            elif form is Form.TEXT and smbios_lines is None:
                parts += bulk.texts(item)
            else:
                parts += (printed(Assembled(Printed._make(one).record)) for one in item)
        if parts:
            yield "".join(parts)


def _cpu_of(item: Assembled) -> cpus.CpuType:
    """The CPU a record names by its cpuid, or its text in words."""
    from mcelogd.bulk import cpu_of

    named = cpus.by_name(item.cpu_name) if item.cpu_name and not item.record.cpuid else None
    return named or cpu_of(item.record)


def _smbios_lines(settings: Settings, *, is_text: bool = True) -> Callable[[Event], str] | None:
    """What `--dmi` adds to each event; None without it."""
    if settings.dmi is not Smbios.YES:
        return None
    from mcelogd.dimms import text as dmi_text
    from mcelogd.firmware import dimm_names
    from mcelogd.smbios_lines import SmbiosLines

    warning = (dmi_text.ASCII_WARNING if is_text else "") + dmi_text.WARNING
    return SmbiosLines(settings, dimm_names(settings, settings.cpu or cpus.GENERIC).smbios, warning)


def _printer(
    form: Form, forced: cpus.CpuType | None, smbios_lines: Callable[[Event], str] | None
) -> Callable[[Assembled], str]:
    if form is Form.RAW:
        return lambda item: render.raw_text(item.record)
    if form is Form.JSON:
        from mcelogd.jsontext import json_line

        return lambda item: json_line(
            decode(item.record, forced or _cpu_of(item)),
            symbol=item.symbol,
            incomplete=item.incomplete,
            # Neither the kernel's decoding for AMD nor rasdaemon shows it.
            has_tsc=not (item.incomplete or item.cpu_name),
        )
    return lambda item: _item_text(item, forced or _cpu_of(item), smbios_lines)


def _item_text(item: Assembled, cpu: cpus.CpuType, smbios_lines: Callable[[Event], str] | None) -> str:
    event = decode(item.record, cpu)
    text = render.event_text(event)
    if smbios_lines is not None:
        text += smbios_lines(event)
    if item.symbol:
        text += f"RIP: {item.symbol}\n"
    return text + "(Fields were incomplete)\n" if item.incomplete else text


def print_records(settings: Settings, source: Source, cpu: CpuOf, text: Text) -> int:
    """Print every record the source holds now; the exit status."""
    form = layout(source.record_length)
    left = settings.num_errors or -1
    smbios_lines = _smbios_lines(settings, is_text=False)
    try:
        for number, data in enumerate(source.read_all()):
            record = form.parse(data)
            if not record.time:
                record = record._replace(time=int(time.time()))
            text.write(_text(settings, record, cpu, number, smbios_lines))
            left -= 1
            if left == 0:
                break
    except OSError as error:
        sys.stderr.write(f"mcelog: cannot read {source.name}: {error.strerror}\n")
        return 1
    if source.lost():
        sys.stderr.write("mcelog: the kernel's log of machine checks overflowed: records were lost\n")
    damaged = source.take_damaged()
    if damaged:
        sys.stderr.write(f"mcelog: {source.name}: {damaged} bytes at the end are no whole record\n")
    return 1 if damaged else 0


def _text(
    settings: Settings,
    record: MceRecord,
    cpu: CpuOf,
    number: int,
    smbios_lines: Callable[[Event], str] | None,
) -> str:
    if settings.raw:
        return render.raw_text(record)
    if settings.json:
        from mcelogd.jsontext import json_line

        return json_line(decode(record, cpu.of(record)))
    event = decode(record, cpu.of(record))
    if settings.filter_memory_errors and event.kind is Kind.MEMORY:
        return ""
    if settings.filter and is_known_bogus(record, event.cpu_type):
        return ""
    text = render.event_text(event, number)
    return text if smbios_lines is None else text + smbios_lines(event)
