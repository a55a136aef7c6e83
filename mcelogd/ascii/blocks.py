# SPDX-License-Identifier: GPL-2.0-only
"""Blocks of text -> records: `assemble`, but fast where a kernel's records follow each other.

One expression splits a block into whole records in the shape of today's
kernels that another one's first line follows, and lines. The lines go
through the assembler, so that what comes out is what it makes of all lines.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.ascii.assembler import Assembler
from mcelogd.record import MceRecord

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcelogd.ascii.pending import Assembled

# Only what the assembler takes for nobody's in particular: then the next head ends the record.
_PREFIX = r"(?:(?:\[ {0,12}\d{1,10}\.\d{1,9}\] )?mce: \[Hardware Error\]: )?"
_HEX = r"[\da-f]{1,16}"
_OWN_HEX = r"([1-9a-f][\da-f]{0,15}|0)"
_OWN_DECIMAL = r"([1-9]\d{0,8}|0)"
_BYTE = r"(?:25[0-5]|2[0-4]\d|1\d\d|[1-9]?\d)"

# Every number fits its field; those of a group of their own look as they would be printed.
_ITEMS = re.compile(
    rf"({_PREFIX}CPU {_OWN_DECIMAL}: Machine Check(?: Exception)?: ({_HEX} Bank {_BYTE}: [\da-f]{{16}})\n"
    rf"{_PREFIX}TSC {_OWN_HEX}(?: ADDR {_OWN_HEX})?(?: MISC ({_HEX}))?"
    rf"((?: PPIN {_HEX})?(?: SYND {_HEX})?(?: IPID {_HEX})?) ?\n"
    rf"{_PREFIX}PROCESSOR ({_BYTE}:[\da-f]{{1,8}}) TIME ([1-9]\d{{0,11}}|0)"
    r" (SOCKET \d{1,9} APIC [\da-f]{1,8})((?: microcode [\da-f]{1,8})?) ?\n"
    rf"(?={_PREFIX}CPU \d{{1,9}}: Machine Check))"
    r"|([^\n]*\n|[^\n]+)",
    re.ASCII,
)
_LINES = re.compile(r"[^\n]*\n")


class Printed(NamedTuple):
    """A kernel's record as it was printed, in parts; see `_ITEMS`.

    `cpu`, `tsc`, `addr` and `time` are numbers as mcelog prints them too, but
    `addr` may be empty. `misc`, `ids` and `microcode` may be empty.
    """

    text: str
    cpu: str
    error: str
    tsc: str
    addr: str
    misc: str
    ids: str
    processor: str
    time: str
    place: str
    microcode: str
    line: str

    @property
    def record(self) -> MceRecord:
        """The record, as the assembler makes it of the same lines."""
        return MceRecord._make(values_of(self))


def values_of(parts: tuple[str, ...]) -> tuple[int | None, ...]:
    """The fields of `Printed.record`, in the order of MceRecord."""
    _, cpu, error, tsc, addr, misc, ids, processor, time, place, microcode, _ = parts
    mcgstatus, _, bank, status = error.split(" ")
    vendor, _, cpuid = processor.partition(":")
    _, socket, _, apic = place.split(" ")
    words = ids.split(" ") if ids else []
    named = {words[i]: int(words[i + 1], 16) for i in range(1, len(words), 2)}
    # A field is absent where no newer one shows that the kernel's record had it.
    newest = 4 if microcode else 3 if "PPIN" in named else 2 if "IPID" in named else len(named)
    return (
        int(status, 16),
        int(misc, 16) if misc else 0,
        int(addr, 16) if addr else 0,
        int(mcgstatus, 16),
        0,
        int(tsc, 16),
        int(time),
        int(vendor),
        0,
        0,
        int(cpuid, 16),
        0,
        int(bank[:-1]),
        0,
        1,
        int(cpu),
        int(socket),
        int(apic, 16),
        0 if newest else None,
        named.get("SYND", 0) if newest else None,
        named.get("IPID", 0) if newest > 1 else None,
        named.get("PPIN", 0) if newest > 2 else None,
        int(microcode[11:], 16) if microcode else None,
        None,
    )


Run = list[tuple[str, ...]]
"""Parts of records that follow each other, each to be made a Printed."""


def assemble_blocks(blocks: Iterable[str]) -> Iterator[list[str | Assembled | Run]]:
    """`assemble` for text cut anywhere: what each block made known, in order."""
    assembler = Assembler()
    begun: list[str] = []
    for block in blocks:
        end = block.rfind("\n") + 1
        begun.append(block[:end] or block)
        if end:
            yield _take(assembler, "".join(begun))
            begun = [block[end:]]
    items = _take(assembler, "".join(begun))
    assembler.finish()
    yield [*items, *assembler.take()]


def _take(assembler: Assembler, text: str) -> list[str | Assembled | Run]:
    items: list[str | Assembled | Run] = []
    run: Run | None = None
    for parts in _ITEMS.findall(text):
        if parts[0]:
            if run is not None:
                run.append(parts)
                continue
            if assembler.end_all():
                run = [parts]
                items += assembler.take()
                items.append(run)
                continue
        run = None
        for line in _LINES.findall(parts[0]) or parts[-1:]:
            assembler.feed(line)
        items += assembler.take()
    return items
