# SPDX-License-Identifier: GPL-2.0-only
"""Intel Nehalem and Westmere (06_1AH, 06_1EH, 06_25H, 06_2CH) and Xeon 7500 (06_2EH, 06_2FH).

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
section "... 06_1AH, Machine Error Codes For Machine Check".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import (
    MCI_STATUS_MISCV,
    Choice,
    Flag,
    Number,
    describe_bits,
    describe_numbers,
    extract,
)
from mcelogd.decode.intel.common import is_bus_error
from mcelogd.decode.intel.core2 import CORE2
from mcelogd.decode.intel.p6old import BUS_QUEUE_ERROR, BUS_QUEUE_REQUEST, describe_bus
from mcelogd.event import Location

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

# Core 2's front-side bus, in no table of these CPUs, which have none: its line has always been shown
# before QPI's, with a request type one bit narrower.
BUS_QUEUE = (
    Choice(16, 18, {}),
    BUS_QUEUE_REQUEST._replace(hi=23),
    BUS_QUEUE_ERROR,
    BUS_QUEUE_ERROR,
)

# Table "Intel QPI Machine Check Error Codes for IA32_MC0_STATUS and IA32_MC1_STATUS"
QPI_STATUS = (
    Flag(16, "QPI header had bad parity"),
    Flag(17, "QPI Data packet had bad parity"),
    Flag(18, "Number of QPI retries exceeded"),
    Flag(19, "Received QPI data packet that was poisoned by sender"),
    Flag(20, "QPI reserved 20"),
    Flag(21, "QPI reserved 21"),
    Flag(22, "QPI received unsupported message encoding"),
    Flag(23, "QPI credit type is not supported"),
    Flag(24, "Sender sent too many QPI flits to the receiver"),
    Flag(25, "QPI Sender sent a failed response to receiver"),
    Flag(26, "Clock jitter detected in internal QPI clocking"),
)

# Table "Intel QPI Machine Check Error Codes for IA32_MC0_MISC and IA32_MC1_MISC"
QPI_MISC_NUMBERS = (
    Number(0, 7, "QPI class and opcode of packet with error", 16),
    Number(8, 13, "QPI Request Transaction ID", 16),
    Number(16, 18, "QPI Requestor/Home Node ID (RHNID)", always=True),
    Number(19, 23, "QPI miscreserved 19-23", 16),
)
QPI_MISC = (
    Flag(14, "QPI misc reserved 14"),
    Flag(15, "QPI misc reserved 15"),
    Flag(24, "QPI Interleave/Head Indication Bit (IIB)"),
)

# Table "Machine Check Error Codes for IA32_MC7_STATUS"
INTERNAL_UNCLASSIFIED = 0x0001
INTERNAL_STATUS = (
    Choice(
        24,
        31,
        {
            0x00: "No Error",
            0x03: "Reset firmware did not complete",
            0x08: "Received an invalid CMPD",
            0x0A: "Invalid Power Management Request",
            0x0D: "Invalid S-state transition",
            0x11: "VID controller does not match POC controller selected",
            0x1A: "MSID from POC does not match CPU MSID",
        },
    ),
)
INTERNAL_NUMBERS = (
    Number(16, 23, "Internal machine check status reserved 16..23", 16),
    Number(32, 56, "Internal machine check status reserved 32..56", 16),
)

# Table "Incremental Memory Controller Error Codes of Machine Check for IA32_MC8_STATUS"
MEMORY_STATUS = (
    Flag(16, "Memory read ECC error"),
    Flag(17, "Memory ECC error occurred during scrub"),
    Flag(18, "Memory write parity error"),
    Flag(19, "Memory error in half of redundant memory"),
    Flag(20, "Memory reserved 20"),
    Flag(21, "Memory access out of range"),
    Flag(22, "Memory internal RTID invalid"),
    Flag(23, "Memory address parity error"),
    Flag(24, "Memory byte enable parity error"),
)
MEMORY_STATUS_NUMBERS = (
    Number(25, 37, "Memory MISC reserved 25..37", 16),
    Number(38, 52, "Memory corrected error count (CORE_ERR_CNT)", always=True),
    Number(53, 56, "Memory MISC reserved 53..56", 16),
)

# Table "Incremental Memory Controller Error Codes of Machine Check for IA32_MC8_MISC"
MISC_DIMM = (16, 17)
MISC_CHANNEL = (18, 19)
MEMORY_MISC_NUMBERS = (
    Number(0, 7, "Memory transaction Tracker ID (RTId)", 16, always=True),
    Number(*MISC_DIMM, "Memory DIMM ID of error", always=True),
    Number(*MISC_CHANNEL, "Memory channel ID of error", always=True),
    Number(32, 63, "Memory ECC syndrome", 16, always=True),
)


def _describe_qpi(record: MceRecord) -> list[str]:
    lines = describe_bits(record.status, QPI_STATUS)
    if record.status & MCI_STATUS_MISCV:
        lines += describe_numbers(record.misc, QPI_MISC_NUMBERS) + describe_bits(record.misc, QPI_MISC)
    return lines


def _describe_memory(record: MceRecord) -> list[str]:
    lines = describe_bits(record.status, MEMORY_STATUS)
    lines += describe_numbers(record.status, MEMORY_STATUS_NUMBERS)
    if record.status & MCI_STATUS_MISCV:
        lines += describe_numbers(record.misc, MEMORY_MISC_NUMBERS)
    return lines


def _describe_internal(record: MceRecord) -> list[str]:
    return describe_bits(record.status, INTERNAL_STATUS) + describe_numbers(record.status, INTERNAL_NUMBERS)


def describe(record: MceRecord) -> list[str]:
    """The model's lines for a Nehalem or Westmere record, by MCACOD."""
    code = record.status & 0xFFFF
    if is_bus_error(code):
        return describe_bus(record, BUS_QUEUE, CORE2) + _describe_qpi(record)
    if code == INTERNAL_UNCLASSIFIED:
        return _describe_internal(record)
    return _describe_memory(record) if code >> 7 == 1 else []


def describe_xeon75xx(record: MceRecord) -> list[str]:
    """The model's lines for a Xeon 7500 record: its uncore has no public tables."""
    if record.status & 0xFFFF == INTERNAL_UNCLASSIFIED:
        return _describe_internal(record)
    return describe_bus(record, BUS_QUEUE, CORE2)


def locate(record: MceRecord, channel: int | None) -> tuple[Location, ...]:
    """Channel and DIMM of MCi_MISC; the channel of the error code where MISC is not valid."""
    if not record.status & MCI_STATUS_MISCV:
        return (Location(channel=channel),)
    return (Location(channel=extract(record.misc, *MISC_CHANNEL), dimm=extract(record.misc, *MISC_DIMM)),)


NEHALEM = Model(describe=describe, locate=locate)
XEON75XX = Model(describe=describe_xeon75xx)
