# SPDX-License-Identifier: GPL-2.0-only
"""Decoding once: the records of a device or file, or those in a text (`--ascii`)."""

from __future__ import annotations

import sys
import time
from typing import TYPE_CHECKING, Protocol

from mcelogd import cpu as cpus
from mcelogd import render
from mcelogd.decode import decode
from mcelogd.event import Kind
from mcelogd.record import layout

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcelogd.record import MceRecord
    from mcelogd.settings import Settings
    from mcelogd.sources import Source


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
        # surrogateescape: bytes that are no UTF-8 come out as they went in.
        stream = sys.stdin if name is None else open(name, encoding="utf-8", errors="surrogateescape")  # noqa: PTH123, SIM115
    except OSError as error:
        sys.stderr.write(f"mcelog: cannot open input file {name}: {error.strerror}\n")
        return 1
    if stream is None:
        sys.stderr.write("mcelog: there is no standard input; name a log with --file\n")
        return 1
    for handle in (stream, sys.stdout):
        handle.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    try:
        for text in decoded(stream, settings.cpu, raw=settings.raw):
            sys.stdout.write(text)
        sys.stdout.flush()
    except IsADirectoryError:
        sys.stderr.write(f"mcelog: cannot read {name}: it is a directory\n")
        return 1
    finally:
        stream.close()
    return 0


def decoded(lines: Iterable[str], forced: cpus.CpuType | None, *, raw: bool) -> Iterator[str]:
    """The text for each record in `lines`; lines that belong to none, unless `raw`."""
    from mcelogd.ascii import assemble

    for item in assemble(lines):
        if isinstance(item, str):
            if not raw:
                yield item
            continue
        record = item.record
        if raw:
            yield render.raw_text(record)
            continue
        own = cpus.by_cpuid(record.cpuvendor, record.cpuid) if record.cpuid else cpus.INTEL
        event = decode(record, forced or own)
        yield render.event_text(event)
        if item.symbol:
            yield f"RIP: {item.symbol}\n"
        if item.incomplete:
            yield "(Fields were incomplete)\n"


def print_records(settings: Settings, source: Source, cpu: CpuOf, text: Text) -> int:
    """Print every record the source holds now; the exit status."""
    form = layout(source.record_length)
    left = settings.num_errors or -1
    try:
        for number, data in enumerate(source.read_all()):
            record = form.parse(data)
            if not record.time:
                record = record._replace(time=int(time.time()))
            text.write(_text(settings, record, cpu, number))
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


def _text(settings: Settings, record: MceRecord, cpu: CpuOf, number: int) -> str:
    if settings.raw:
        return render.raw_text(record)
    event = decode(record, cpu.of(record))
    if settings.filter_memory_errors and event.kind is Kind.MEMORY:
        return ""
    return render.event_text(event, number)
