# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's `struct mce`, in every length the kernel has shipped.

Source: arch/x86/include/uapi/asm/mce.h. The structure has only ever grown at
its end, so a record of any length is a prefix of the newest one:

======  =====================  ===============================================
length  since                  last field
======  =====================  ===============================================
72      2.6 (x86-64)           cpu, finished (extcpu since 2.6.31)
88      2.6.31                 mcgcap
104     4.9                    ipid
112     4.10                   ppin
120     4.17 (i386: 116)       microcode
128     5.8 (i386: 124)        kflags
======  =====================  ===============================================
"""

from __future__ import annotations

import functools
import struct
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator

    Buffer = bytes | bytearray | memoryview

SHORTEST = 72
"""Length in bytes of the oldest `struct mce` on x86-64."""

LENGTH = 128
"""Length in bytes of the current `struct mce` on x86-64."""

LONGEST = 4096
"""No kernel's record can be longer: its log of at least 32 records was one page for years."""


class RecordLengthError(ValueError):
    """A record length that no kernel can have reported."""


class Field(NamedTuple):
    """One member of `struct mce`: its name, byte offset and `struct` format."""

    name: str
    offset: int
    format: str

    @property
    def end(self) -> int:
        return self.offset + struct.calcsize("<" + self.format)


FIELDS = (
    Field("status", 0, "Q"),
    Field("misc", 8, "Q"),
    Field("addr", 16, "Q"),
    Field("mcgstatus", 24, "Q"),
    Field("ip", 32, "Q"),
    Field("tsc", 40, "Q"),
    Field("time", 48, "Q"),
    Field("cpuvendor", 56, "B"),
    Field("inject_flags", 57, "B"),
    Field("severity", 58, "B"),
    Field("cpuid", 60, "I"),
    Field("cs", 64, "B"),
    Field("bank", 65, "B"),
    Field("cpu8", 66, "B"),
    Field("finished", 67, "B"),
    Field("extcpu", 68, "I"),
    Field("socketid", 72, "I"),
    Field("apicid", 76, "I"),
    Field("mcgcap", 80, "Q"),
    Field("synd", 88, "Q"),
    Field("ipid", 96, "Q"),
    Field("ppin", 104, "Q"),
    Field("microcode", 112, "I"),
    Field("kflags", 120, "Q"),
)


class MceRecord(NamedTuple):
    """One machine check as the kernel reported it.

    Field names, widths and meanings are those of `struct mce`; `cpu8` is its
    8-bit `cpu`. A field the kernel's record was too short to hold is None.
    `time` is seconds since the epoch, 0 when the kernel did not say.
    """

    status: int = 0
    misc: int = 0
    addr: int = 0
    mcgstatus: int = 0
    ip: int = 0
    tsc: int = 0
    time: int = 0
    cpuvendor: int = 0
    inject_flags: int = 0
    severity: int = 0
    cpuid: int = 0
    cs: int = 0
    bank: int = 0
    cpu8: int = 0
    finished: int = 1
    extcpu: int = 0
    socketid: int | None = None
    apicid: int | None = None
    mcgcap: int | None = None
    synd: int | None = None
    ipid: int | None = None
    ppin: int | None = None
    microcode: int | None = None
    kflags: int | None = None

    @property
    def cpu(self) -> int:
        """Linux CPU number; the 8-bit field only counts where `extcpu` is not filled."""
        return self.extcpu or self.cpu8


class Layout:
    """How to read records of one length.

    Raises RecordLengthError for a length no kernel can have: shorter than 72
    bytes, longer than 4096, or not a multiple of 4.
    """

    def __init__(self, length: int) -> None:
        if not SHORTEST <= length <= LONGEST or length % 4:
            raise RecordLengthError(
                f"record length {length}: the kernel's struct mce has {SHORTEST} to {LENGTH} bytes"
                " (a multiple of 4); current kernels use 128"
            )
        self.length = length
        known = [field for field in FIELDS if field.end <= length]
        self.known_length = known[-1].end if length < LENGTH else LENGTH
        self._missing = (None,) * (len(FIELDS) - len(known))
        self._struct = struct.Struct(_format(known, length))

    @property
    def ignored(self) -> int:
        """Bytes at each record's end that are newer than this program."""
        return max(0, self.length - LENGTH)

    def parse(self, data: Buffer, offset: int = 0) -> MceRecord:
        """The record at `offset`; struct.error if the buffer ends inside it."""
        return MceRecord._make(self._struct.unpack_from(data, offset) + self._missing)

    def parse_all(self, data: Buffer) -> Iterator[MceRecord]:
        """Every whole record of `data`, in order; a shorter rest is left out."""
        for offset in range(0, len(data) - self.length + 1, self.length):
            yield self.parse(data, offset)


@functools.cache
def layout(length: int) -> Layout:
    """The shared Layout for `length`; raises RecordLengthError as Layout does."""
    return Layout(length)


def pack(record: MceRecord) -> bytes:
    """The record as 128 bytes of the current `struct mce`; absent fields become 0."""
    return struct.pack(_format(FIELDS, LENGTH), *(value or 0 for value in record))


def _format(fields: list[Field] | tuple[Field, ...], length: int) -> str:
    parts = ["<"]
    at = 0
    for field in fields:
        parts.append(f"{field.offset - at}x{field.format}")
        at = field.end
    parts.append(f"{length - at}x")
    return "".join(parts)
