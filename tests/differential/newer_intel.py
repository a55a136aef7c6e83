# SPDX-License-Identifier: GPL-2.0-only
"""Where the C program (v208) is wrong about Skylake servers and newer: what its text should have been."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.decode.bits import MCI_STATUS_MISCV, extract

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

REWORDED = (
    ("TIMEOUT: TSC download timed out", "TIMEOUT: download of the TSC took too long"),
    ("GPSB does not respond within timeout value", "no answer from the GPSB in time"),
    ("PMSB does not respond within timeout value", "no answer from the PMSB in time"),
    ("During Boot Mode Processing, >1 LT Agent detected", "more than one LT agent found at boot"),
    ("ITD_FUSE_INVALID: ITD fuse settings are not valid", "ITD_FUSE_INVALID: invalid ITD fuse settings"),
    ("DC_LL_INVALID: ITD fuse settings are not valid", "DC_LL_INVALID: invalid SVID DC load line"),
    ("PM event has issued some FIVR Fault", "FIVR fault raised by a power management event"),
    ("Read from HPM SRAM resulted in Double bit error", "double-bit error in HPM SRAM"),
    (
        "Invaid fuse values programmed for SVID Active vid",
        "invalid fuse values for the active SVID VID",
    ),
    (
        "Poison was read from memory when poison was disabled in memory controller",
        "Poison read from memory while the memory controller has poison disabled",
    ),
    # These names, longer than a line there, begin a new one
    ("\nMCA_MORE_THAN_ONE_LT_AGENT: ", "MCA_MORE_THAN_ONE_LT_AGENT: "),
    ("\nMCA_HPM_DOUBLE_BIT_ERROR_DETECTED: ", "MCA_HPM_DOUBLE_BIT_ERROR_DETECTED: "),
    ("\nSVID_ACTIVE_VID_FUSE_ERROR: ", "SVID_ACTIVE_VID_FUSE_ERROR: "),
)
"""The C program's sentences, and ours for them."""

GLUED_ADDRESS = re.compile(r"^(.*(?:MemCtrl|MCCHAN): )(?=bank: 0x)", re.MULTILINE)
"""A label with nothing behind it does not end its line."""

DRAM_LINE = re.compile(
    r"^(?:bank: 0x|failed device: |rank: 0x|ecc mode: |HBM \d+B read|transient).*\n", re.MULTILINE
)


class Narrow(NamedTuple):
    """A code whose table is looked up with too narrow a mask, so that other codes take its names.

    The code is MCi_STATUS lo..hi of `banks`, of which the C program looks at
    `mask`; only where 31:24 is `group`, if that is given.
    """

    banks: range | tuple[int, ...]
    mask: int
    group: int | None = None
    lo: int = 16
    hi: int = 23


SKYLAKE = (Narrow(range(13, 19), 0xF, hi=26),)
"""Only with bit 27; see aliased()."""
PCU = Narrow((4,), 0x7, lo=16, hi=19)
ICELAKE_BANKS = tuple(bank for bank in range(13, 28) if bank % 4)
ICELAKE = (
    PCU,
    Narrow(ICELAKE_BANKS, 0x1F, 0x01),
    Narrow(ICELAKE_BANKS, 0x3F, 0x02),
    Narrow(ICELAKE_BANKS, 0x01, 0x04),
    Narrow(ICELAKE_BANKS, 0x3F, 0x08),
)
SAPPHIRE_BANKS = (*range(13, 21), 30, 31)
SAPPHIRE = (
    PCU,
    Narrow((12, 29), 0xF),
    Narrow(SAPPHIRE_BANKS, 0x0F, 0x01),
    Narrow(SAPPHIRE_BANKS, 0x01, 0x02),
    Narrow(SAPPHIRE_BANKS, 0x01, 0x04),
    Narrow(SAPPHIRE_BANKS, 0x3F, 0x08),
)
GRANITE_BANKS = range(13, 25)
GRANITE = (
    Narrow((6,), 0x7F, lo=24, hi=31),
    Narrow((12,), 0xF),
    Narrow(GRANITE_BANKS, 0x0F, 0x01),
    Narrow(GRANITE_BANKS, 0x01, 0x02),
    Narrow(GRANITE_BANKS, 0x01, 0x04),
    Narrow(GRANITE_BANKS, 0x3F, 0x08),
    Narrow(GRANITE_BANKS, 0x07, 0x20),
    Narrow(GRANITE_BANKS, 0x07, 0x21),
)
DIAMOND_BANKS = range(19, 27)
DIAMOND = (
    Narrow((4,), 0x0F, 0x00),
    Narrow((4,), 0x7F, 0x08),
    Narrow((4,), 0x07, 0x0C),
    Narrow((4,), 0x03, 0x14),
    Narrow((18,), 0x3F, 0x00),
    Narrow((18,), 0x07, 0x02),
    Narrow(DIAMOND_BANKS, 0x0F, 0x01),
    Narrow(DIAMOND_BANKS, 0x7F, 0x02),
    Narrow(DIAMOND_BANKS, 0x01, 0x04),
    Narrow(DIAMOND_BANKS, 0x3F, 0x08),
)
NARROW = {
    "skylake_server": SKYLAKE,
    **dict.fromkeys(("icelake_server", "icelake-d", "snowridge"), ICELAKE),
    **dict.fromkeys(("sapphirerapids_server", "emeraldrapids_server"), SAPPHIRE),
    **dict.fromkeys(("graniterapids", "sierraforest", "clearwaterforest"), GRANITE),
    "diamond_rapids": DIAMOND,
}
UNCHECKED_MISC = (ICELAKE, SAPPHIRE)
"""Their MCi_MISC is shown even where MCi_STATUS.MISCV says that it is not valid."""


def aliased(record: MceRecord, row: Narrow) -> bool:
    """Whether the C program takes the record's code for another one."""
    status = record.status
    if record.bank not in row.banks or row.group not in (None, extract(status, 24, 31)):
        return False
    if row in SKYLAKE and not status >> 27 & 1:
        return False
    return bool(extract(status, row.lo, row.hi) & ~row.mask)


def is_shared_code(cpu_name: str, record: MceRecord) -> bool:
    """Diamond Rapids' code of two meanings: the C program explains both instead of looking."""
    return cpu_name == "diamond_rapids" and record.bank == 11 and extract(record.status, 16, 31) == 0x10


def mended(cpu_name: str, record: MceRecord, text: str) -> str | None:
    """The C program's text without its defects; None where they leave nothing to compare with."""
    rows = NARROW.get(cpu_name, ())
    if any(aliased(record, row) for row in rows) or is_shared_code(cpu_name, record):
        return None
    for theirs, ours in REWORDED:
        text = text.replace(theirs, ours)
    text = GLUED_ADDRESS.sub(r"\1\n", text)
    if rows in UNCHECKED_MISC and not record.status & MCI_STATUS_MISCV:
        return DRAM_LINE.sub("", text)
    if rows is SAPPHIRE:
        # Its row reaches up to bit 39, over the bank group and the bank.
        text = re.sub(r"(?<= row: )0x[0-9a-f]+", f"{extract(record.misc, 19, 36):#x}", text)
    return text
