# SPDX-License-Identifier: GPL-2.0-only
"""How bad an AMD machine check is, and MCi_STATUS and MCi_MISC as lines of text.

Source: AMD64 Architecture Programmer's Manual, volume 2 (24593), chapter 9:
"MCi_STATUS Register", "Machine-Check Error Severity", "Error Thresholding".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcelogd.decode.amd.codes import (
    MCI_STATUS_CECC,
    MCI_STATUS_POISON,
    MCI_STATUS_SCRUB,
    MCI_STATUS_SYNDV,
    MCI_STATUS_TCC,
    MCI_STATUS_UECC,
)
from mcelogd.decode.architectural import mcg_status_line
from mcelogd.decode.bits import (
    MCI_STATUS_ADDRV,
    MCI_STATUS_EN,
    MCI_STATUS_MISCV,
    MCI_STATUS_OVER,
    MCI_STATUS_PCC,
    MCI_STATUS_UC,
    MCI_STATUS_VAL,
    extract,
)
from mcelogd.event import Severity

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

COMMON: Final = MCI_STATUS_EN | MCI_STATUS_MISCV | MCI_STATUS_ADDRV | MCI_STATUS_PCC
"""What every CPU has of the bits in BIT_LINES."""

BIT_LINES: Final = (
    (MCI_STATUS_EN, "Error enabled"),
    (MCI_STATUS_MISCV, "MCi_MISC register valid"),
    (MCI_STATUS_ADDRV, "MCi_ADDR register valid"),
    (MCI_STATUS_SYNDV, "MCi_SYND register valid"),
    (MCI_STATUS_PCC, "Processor context corrupt"),
    (MCI_STATUS_TCC, "Task context corrupt"),
    (MCI_STATUS_CECC, "Corrected by ECC"),
    (MCI_STATUS_UECC, "Beyond what ECC corrects"),
    (MCI_STATUS_POISON, "Poison consumed"),
    (MCI_STATUS_SCRUB, "Found by scrubbing"),
)
"""Bits of MCi_STATUS and their lines, in the order of the lines."""

HEADLINES: Final = {Severity.CORRECTED: "Corrected error", Severity.DEFERRED: "Deferred error"}

# MCi_MISC of a bank with an error counter.
MISC_VALID: Final = 1 << 63
MISC_COUNTER_PRESENT: Final = 1 << 62
MISC_LOCKED: Final = 1 << 61
MISC_OVERFLOW: Final = 1 << 48
LARGEST_COUNT: Final = 0xFFF


def severity(status: int, *, tcc: int = 0, deferred: int = 0, recoverable: int = 0) -> Severity:
    """PCC, then TCC, then UC, then deferred, else corrected: the worst that is set counts.

    `tcc` and `deferred` are those bits where the CPU has them, else 0;
    `recoverable` is a bit that says of an uncorrected error that software can
    recover from it, 0 where nothing says so.
    """
    if status & MCI_STATUS_PCC:
        return Severity.FATAL
    if status & tcc:
        return Severity.UNCORRECTED
    if status & MCI_STATUS_UC:
        return Severity.RECOVERABLE if status & recoverable else Severity.UNCORRECTED
    return Severity.DEFERRED if status & deferred else Severity.CORRECTED


def status_lines(record: MceRecord, how_bad: Severity, known: int) -> list[str]:
    """The lines from `MCG status:` to that of the last bit set; `known` are the bits the CPU has."""
    status = record.status
    lines = [mcg_status_line(record.mcgstatus), "MCi status:"]
    if not status & MCI_STATUS_VAL:
        lines.append("Machine check not valid")
    if status & MCI_STATUS_OVER:
        lines.append("Error overflow")
    lines.append(HEADLINES.get(how_bad, "Uncorrected error"))
    told = status & (COMMON | known)
    return lines + [text for bit, text in BIT_LINES if told & bit]


def threshold_lines(record: MceRecord) -> list[str]:
    """The error counter in MCi_MISC, where the record has one. It interrupts when it overflows."""
    has_counter = MISC_VALID | MISC_COUNTER_PRESENT
    misc = record.misc
    if not record.status & MCI_STATUS_MISCV or misc & has_counter != has_counter:
        return []
    line = f"Threshold counter: {extract(misc, 32, 43)} of {LARGEST_COUNT}"
    if misc & MISC_OVERFLOW:
        line += ", overflow"
    return [f"{line}, locked by firmware" if misc & MISC_LOCKED else line]
