# SPDX-License-Identifier: GPL-2.0-only
"""MCA error codes, MCi_STATUS 15:0: the architectural part.

Source: Intel SDM vol. 3B, chapter "Machine-Check Architecture", section
"Interpreting the MCA Error Codes": tables "IA32_MCi_Status [15:0] Simple
Error Code Encoding" and "... Compound Error Code Encoding" with the
sub-field tables TT, LL, RRRR, PP, T, II, MMM and CCCC. The spelling of names is
that which scripts have parsed from mcelog's output for twenty years.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd.decode.bits import MCI_STATUS_MISCV, extract
from mcelogd.event import BusError, CacheUnit, Kind, PciAddress

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

SIMPLE_CODES = {
    0: (Kind.UNKNOWN, "No Error"),
    1: (Kind.UNKNOWN, "Unclassified"),
    2: (Kind.INTERNAL, "Microcode ROM parity error"),
    3: (Kind.BUS, "External error"),
    4: (Kind.INTERNAL, "FRC error"),
    5: (Kind.INTERNAL, "Internal parity error"),
    6: (Kind.INTERNAL, "SMM Handler Code Access Violation"),
}

TT = ("Instruction", "Data", "Generic", "Unknown")
LL = ("Level-0", "Level-1", "Level-2", "Level-3")
RRRR = {
    0: "Generic",
    1: "Read",
    2: "Write",
    3: "Data-Read",
    4: "Data-Write",
    5: "Instruction-Fetch",
    6: "Prefetch",
    7: "Eviction",
    8: "Snoop",
}
PP = ("Local-CPU-originated-request", "Responed-to-request", "Observed-error-as-third-party", "Generic")
T = ("Request-did-not-timeout", "Request-timed-out")
II = ("Memory-access", "Reserved", "IO", "Other-transaction")
MMM = (
    ("GEN", "Generic undefined request"),
    ("RD", "Memory read error"),
    ("WR", "Memory write error"),
    ("AC", "Address/Command error"),
    ("MS", "Memory scrubbing error"),
    ("RES5", "Reserved 5"),
    ("RES6", "Reserved 6"),
    ("RES7", "Reserved 7"),
)

FILTERED = 1 << 12
"""Bit 12, "F": more errors of this kind may have been filtered than were reported."""

UNSPECIFIED_CHANNEL = 15
INTERNAL_TIMER = 0x400
IO_MCA = 0x0E0B


class Compound(NamedTuple):
    """What an MCA error code says; `lines` as the `MCA:` part of the decoded text."""

    kind: Kind
    lines: tuple[str, ...]
    cache: CacheUnit | None = None
    bus: BusError | None = None
    root_port: PciAddress | None = None
    channel: int | None = None
    classified: bool = True


def decode_code(record: MceRecord, channel_offset: int = 0) -> Compound:
    """The meaning of a record's MCA error code.

    `channel_offset` is added to the channel of a memory error: some CPUs
    number the channels of each memory controller from 0.
    """
    code = record.status & 0xFFFF & ~FILTERED
    simple = SIMPLE_CODES.get(code)
    if simple is not None:
        return Compound(simple[0], (simple[1],))
    if code >> 2 == 0b11:
        unit = CacheUnit("unknown", None, LL[code & 3], code & 3)
        return Compound(Kind.CACHE, (f"{unit.level_name} Generic cache hierarchy error",), cache=unit)
    if code >> 4 == 1:
        return _tlb(code)
    if code >> 7 == 1:
        return _memory(code, channel_offset)
    if code >> 8 == 1:
        return _cache(code)
    if code >> 7 == 0b101:
        found = _memory(code, channel_offset)
        return found._replace(lines=("Memory as cache: " + found.lines[0], *found.lines[1:]))
    if code >> 10 == 1:
        return _internal(code)
    if code >> 11 == 1:
        return _bus(record, code)
    return Compound(Kind.UNKNOWN, (f"Unknown Error {code:x}",), classified=False)


def is_filtered(status: int) -> bool:
    """Whether the CPU's corrected-error filtering left out errors of the same region."""
    return bool(status & FILTERED)


def _tlb(code: int) -> Compound:
    unit = CacheUnit(TT[code >> 2 & 3], code >> 2 & 3, LL[code & 3], code & 3)
    return Compound(Kind.TLB, (f"{unit.type_name} TLB {unit.level_name} Error",), cache=unit)


def _cache(code: int) -> Compound:
    # Shown levels count from Level-1 here; Level-4 does not exist in the table.
    level = (code & 3) + 1
    level_name = LL[level] if level < len(LL) else "UNKNOWN"
    unit = CacheUnit(TT[code >> 2 & 3], code >> 2 & 3, level_name, level)
    request = RRRR.get(code >> 4 & 0xF, "UNKNOWN")
    return Compound(Kind.CACHE, (f"{unit.type_name} CACHE {level_name} {request} Error",), cache=unit)


def _memory(code: int, channel_offset: int) -> Compound:
    mnemonic, transaction = MMM[code >> 4 & 7]
    channel = None if code & 0xF == UNSPECIFIED_CHANNEL else (code & 0xF) + channel_offset
    shown = "unspecified" if channel is None else str(channel)
    lines = (f"MEMORY CONTROLLER {mnemonic}_CHANNEL{shown}_ERR", f"Transaction: {transaction}")
    return Compound(Kind.MEMORY, lines, channel=channel)


def _internal(code: int) -> Compound:
    text = "Internal Timer error" if code == INTERNAL_TIMER else f"Internal unclassified error: {code:x}"
    return Compound(Kind.INTERNAL, (text,), classified=False)


def _bus(record: MceRecord, code: int) -> Compound:
    bus = BusError(
        level=LL[code & 3],
        participation=PP[code >> 9 & 3],
        request=RRRR.get(code >> 4 & 0xF, "UNKNOWN"),
        transaction=II[code >> 2 & 3],
        timeout=T[code >> 8 & 1],
    )
    socket = -1 if record.socketid is None else record.socketid
    lines = (f"BUS error: {socket} {record.cpu} {' '.join(bus)}",)
    if code != IO_MCA or not record.status & MCI_STATUS_MISCV:
        return Compound(Kind.BUS, lines, bus=bus)
    port = _root_port(record.misc)
    return Compound(Kind.IO, (*lines, f"IO MCA reported by root port {port}"), bus=bus, root_port=port)


def _root_port(misc: int) -> PciAddress:
    """MCi_MISC of an I/O machine check (SDM vol. 3B, table "Address Mode/PCI Express Requestor ID")."""
    return PciAddress(
        extract(misc, 32, 39), extract(misc, 24, 31), extract(misc, 19, 23), extract(misc, 16, 18)
    )
