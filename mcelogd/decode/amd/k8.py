# SPDX-License-Identifier: GPL-2.0-only
"""The decoded text for AMD K8 and families 10h and 11h, as mcelog has always printed it.

These lines are a contract with scripts, so all three families have them,
although later ones know more: what their codes mean is in legacy_tables.py.

Source: BIOS and Kernel Developer's Guides 26094 and 32559 (K8), 31116
(family 10h), chapters on machine check: "MCi_STATUS" of each bank, and table
"Northbridge Error Codes".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcelogd.decode.amd.codes import (
    MCI_STATUS_CECC,
    MCI_STATUS_SCRUB,
    MCI_STATUS_UECC,
    Form,
    form_of,
)
from mcelogd.decode.bits import FIRST_SOFTWARE_BANK, extract

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.record import MceRecord

DATA_CACHE: Final = 0
INSTRUCTION_CACHE: Final = 1
BUS_UNIT: Final = 2
LOAD_STORE: Final = 3
NORTHBRIDGE: Final = 4
REORDER_BUFFER: Final = 5

BANKS = {
    DATA_CACHE: "data cache",
    INSTRUCTION_CACHE: "instruction cache",
    BUS_UNIT: "bus unit",
    LOAD_STORE: "load/store unit",
    NORTHBRIDGE: "northbridge",
    REORDER_BUFFER: "fixed-issue reoder",
}

# Old kernels made a bank of each error counter that overflowed (Linux 2.6, asm/mce.h, K8_MCE_THRESHOLD_*):
# nine for each of the banks 0 to 5.
FIRST_THRESHOLD_BANK: Final = FIRST_SOFTWARE_BANK + 1
THRESHOLD_BANKS: Final = range(FIRST_THRESHOLD_BANK, FIRST_THRESHOLD_BANK + 6 * 9)
NAMED_SOFTWARE_BANKS: Final = range(FIRST_THRESHOLD_BANK, THRESHOLD_BANKS.stop + 1)
"""The C program counts one too many here; the last one is `unknown`."""
DRAM_THRESHOLD: Final = FIRST_THRESHOLD_BANK + NORTHBRIDGE * 9
LINK_THRESHOLD: Final = DRAM_THRESHOLD + 1
L3_THRESHOLD: Final = DRAM_THRESHOLD + 2
FBDIMM_THRESHOLD: Final = DRAM_THRESHOLD + 3
THRESHOLDS = {
    DRAM_THRESHOLD: "MC4_MISC0 DRAM threshold",
    LINK_THRESHOLD: "MC4_MISC1 Link threshold",
    L3_THRESHOLD: "MC4_MISC2 L3 Cache threshold",
    FBDIMM_THRESHOLD: "MC4_MISC3 FBDIMM threshold",
}
UNKNOWN_THRESHOLD = "Unknown threshold counter"
MISC_THRESHOLD_OVERFLOW: Final = 1 << 48

TRANSACTION = ("instruction", "data", "generic", "reserved")
LEVEL = ("0", "1", "2", "generic")
REQUEST = (
    "generic error",
    "generic read",
    "generic write",
    "data read",
    "data write",
    "instruction fetch",
    "prefetch",
    "evict",
    "snoop",
    *("?",) * 7,
)
PARTICIPATION = (
    "local node origin",
    "local node response",
    "local node observed",
    "generic participation",
)
TIMEOUT = ("request didn't time out", "request timed out")
MEMORY_OR_IO = ("memory", "res.", "i/o", "generic")

NORTHBRIDGE_ERRORS = {
    0x00: "RAM ECC error",
    0x01: "CRC error",
    0x02: "Sync error",
    0x03: "Master abort",
    0x04: "Target abort",
    0x05: "GART error",
    0x06: "RMW error",
    0x07: "Watchdog error",
    0x08: "RAM Chipkill ECC error",
    0x09: "DEV Error",
    0x0A: "Link Data Error",
    0x0B: "Link Protocol Error",
    0x0C: "NB Array Error",
    0x0D: "DRAM Parity Error",
    0x0E: "Link Retry",
    0x0F: "Tablew Walk Data Error",
    # Family 10h has a fifth bit.
    0x1C: "L3 Cache Data Error",
    0x1D: "L3 Cache Tag Error",
    0x1E: "L3 Cache LRU Error",
    0x1F: "Probe Filter Error",
}
ECC_ERROR: Final = 0x0
CHIPKILL_ERROR: Final = 0x8
LINK_ERRORS = (0x1, 0x2, 0x3, 0x4, 0x6)
"""Northbridge errors that name a HyperTransport link in bits 39:36."""

STATUS_BITS = {
    32: "err cpu0",
    33: "err cpu1",
    34: "err cpu2",
    35: "err cpu3",
    40: "error found by scrub",
    41: "sublink or DRAM channel",
    42: "L3 subcache in error bit 0",
    43: "L3 subcache in error bit 1",
    44: "res12",
    45: "uncorrected ecc error",
    46: "corrected ecc error",
    55: "res23",
    56: "res24",
    57: "processor context corrupt",
    59: "misc error valid",
    61: "error uncorrected",
    62: "error overflow (multiple errors)",
}


def has_name(bank: int) -> bool:
    """Whether the head line names the bank; the software banks of other kinds have names of their own."""
    return bank < FIRST_SOFTWARE_BANK or bank in NAMED_SOFTWARE_BANKS


def bank_name(bank: int) -> str:
    """The bank as the head line names it: `4 northbridge`."""
    name = THRESHOLDS.get(bank, UNKNOWN_THRESHOLD) if bank in THRESHOLD_BANKS else BANKS.get(bank, "unknown")
    return f"{bank} {name}"


def lines(record: MceRecord, extended_code: int) -> tuple[str, ...]:
    """The decoded text between a record's head and its STATUS line."""
    if record.bank in THRESHOLD_BANKS:
        overflow = record.misc & MISC_THRESHOLD_OVERFLOW
        return ("  Threshold error count overflow",) if overflow else ()
    if record.bank not in BANKS:
        return (f"  no decoder for unknown bank {record.bank}",)
    describe = _BANK_LINES.get(record.bank)
    own = describe(record.status, extended_code) if describe else []
    return (*own, *_bit_lines(record.status), *_code_lines(record.status & 0xFFFF))


def chipkill_syndrome(status: int) -> int:
    """The 16-bit syndrome of the northbridge's ECC over symbols: bits 31:24 and 54:47."""
    return extract(status, 24, 31) << 8 | extract(status, 47, 54)


def _bit_lines(status: int) -> list[str]:
    return [f"       bit{bit} = {text}" for bit, text in STATUS_BITS.items() if status >> bit & 1]


def _code_lines(code: int) -> list[str]:
    form = form_of(code)
    level = LEVEL[code & 3]
    request = REQUEST[extract(code, 4, 7)]
    which = extract(code, 2, 3)
    if form is Form.TLB:
        return [f"  TLB error '{TRANSACTION[which]} transaction, level {level}'"]
    if form is Form.MEM:
        details = f"{request} mem transaction, {TRANSACTION[which]} transaction, level {level}"
        return [f"  memory/cache error '{details}'"]
    if form is Form.BUS:
        return [
            f"  bus error '{PARTICIPATION[extract(code, 9, 10)]}, {TIMEOUT[extract(code, 8, 8)]}",
            f"             {request} mem transaction",
            f"             {MEMORY_OR_IO[which]} access, level {level}'",
        ]
    return []


def _has_ecc_error(status: int) -> bool:
    return bool(status & (MCI_STATUS_CECC | MCI_STATUS_UECC))


def _data_cache(status: int, extended_code: int) -> list[str]:
    found = []
    if _has_ecc_error(status):
        scrubbed = " found by scrubber" if status & MCI_STATUS_SCRUB else ""
        found.append(f"  Data cache ECC error (syndrome {extract(status, 47, 54):x}){scrubbed}")
    return found + _tlb_array(status, extended_code)


def _instruction_cache(status: int, extended_code: int) -> list[str]:
    found = ["  Instruction cache ECC error"] if _has_ecc_error(status) else []
    return found + _tlb_array(status, extended_code)


def _tlb_array(status: int, extended_code: int) -> list[str]:
    if form_of(status & 0xFFFF) is not Form.TLB:
        return []
    return [f"  TLB parity error in {'virtual' if extended_code else 'physical'} array"]


def _bus_unit(status: int, extended_code: int) -> list[str]:
    found = ["  L2 cache ECC error"] if _has_ecc_error(status) else []
    return [*found, f"  {'Cache tag' if extended_code else 'Bus or cache'} array error"]


def _northbridge(status: int, extended_code: int) -> list[str]:
    name = NORTHBRIDGE_ERRORS.get(extended_code, f"error {extended_code:x}")
    found = [f"  Northbridge {name}"]
    if extended_code == ECC_ERROR:
        found.append(f"  ECC syndrome = {extract(status, 47, 54):x}")
    elif extended_code == CHIPKILL_ERROR:
        found.append(f"  Chipkill ECC syndrome = {chipkill_syndrome(status):x}")
    elif extended_code in LINK_ERRORS:
        found.append(f"  link number = {extract(status, 36, 39):x}")
    return found


_BANK_LINES: dict[int, Callable[[int, int], list[str]]] = {
    DATA_CACHE: _data_cache,
    INSTRUCTION_CACHE: _instruction_cache,
    BUS_UNIT: _bus_unit,
    NORTHBRIDGE: _northbridge,
}
