# SPDX-License-Identifier: GPL-2.0-only
"""AMD's bits of MCi_STATUS and its error codes, MCi_STATUS 15:0.

Source: AMD64 Architecture Programmer's Manual, volume 2 (24593), chapter 9
"Machine Check Architecture": figure "MCi_STATUS Register" and the tables
"Error-Code Encoding" with the sub-fields TT, LL, RRRR, PP, T, II and UU.
The mnemonics are the manual's.
"""

from __future__ import annotations

import enum
import functools
from typing import Final

from mcelogd.decode import compound
from mcelogd.decode.bits import extract
from mcelogd.event import BusError, CacheUnit

MCI_STATUS_ERR_CORE_ID_VAL: Final = 1 << 56
MCI_STATUS_TCC: Final = 1 << 55
"""Task context corrupt: the interrupted program cannot go on."""
MCI_STATUS_PADDRV: Final = 1 << 54
"""MCi_ADDR holds a system physical address, on the CPUs that say so."""
MCI_STATUS_SYNDV: Final = 1 << 53
MCI_STATUS_CECC: Final = 1 << 46
MCI_STATUS_UECC: Final = 1 << 45
MCI_STATUS_DEFERRED: Final = 1 << 44
MCI_STATUS_POISON: Final = 1 << 43
MCI_STATUS_SCRUB: Final = 1 << 40

TT = ("INSN", "DATA", "GEN", "RESV")
LL = ("L0", "L1", "L2", "LG")
RRRR = ("GEN", "RD", "WR", "DRD", "DWR", "IRD", "PF", "EV", "SNP")
PP = ("SRC", "RES", "OBS", "GEN")
T = ("no timeout", "timed out")
II = ("MEM", "RESV", "IO", "GEN")
UU = ("RESV", "RESV", "HWA", "RESV")


class Form(enum.Enum):
    """What kind of error code it is, by its leading bits."""

    TLB = enum.auto()
    MEM = enum.auto()
    BUS = enum.auto()
    INT = enum.auto()
    NONE = enum.auto()


def form_of(code: int) -> Form:
    """The form of a 16-bit error code; NONE for one that the manual does not define."""
    if code >> 4 == 1:
        return Form.TLB
    if code >> 8 == 1:
        return Form.MEM
    if code >> 11 == 1:
        return Form.BUS
    return Form.INT if code & 0xF4FF == 0x0400 else Form.NONE


def rrrr(code: int) -> str:
    """The mnemonic of the request, bits 7:4."""
    number = extract(code, 4, 7)
    return RRRR[number] if number < len(RRRR) else f"RRRR {number:x}"


@functools.lru_cache(maxsize=1024)
def describe(code: int) -> str:
    """The error code as one line of decoded text."""
    form = form_of(code)
    head = f"Error code {code:x}: "
    if form is Form.NONE:
        return head + "not defined"
    if form is Form.INT:
        return f"{head}internal, {UU[extract(code, 8, 9)]}"
    level = LL[code & 3]
    if form is Form.TLB:
        return f"{head}TLB, {TT[extract(code, 2, 3)]}, level {level}"
    if form is Form.MEM:
        return f"{head}memory hierarchy, {rrrr(code)}, {TT[extract(code, 2, 3)]}, level {level}"
    place = f"{PP[extract(code, 9, 10)]}, {T[extract(code, 8, 8)]}"
    return f"{head}bus, {place}, {rrrr(code)}, {II[extract(code, 2, 3)]}, level {level}"


def cache_unit(code: int) -> CacheUnit | None:
    """The cache or TLB that a TLB or memory hierarchy code names; None for other codes."""
    if form_of(code) not in (Form.TLB, Form.MEM):
        return None
    kind = extract(code, 2, 3)
    return CacheUnit(compound.TT[kind], kind, compound.LL[code & 3], code & 3)


def bus_error(code: int) -> BusError | None:
    """The fields of a bus code in words; None for other codes."""
    if form_of(code) is not Form.BUS:
        return None
    return BusError(
        level=compound.LL[code & 3],
        participation=compound.PP[extract(code, 9, 10)],
        request=compound.RRRR.get(extract(code, 4, 7), "UNKNOWN"),
        transaction=compound.II[extract(code, 2, 3)],
        timeout=compound.T[extract(code, 8, 8)],
    )
