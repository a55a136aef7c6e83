# SPDX-License-Identifier: GPL-2.0-only
"""Intel Xeon MP 7100 series, "Tulsa" (0F_06H); its cache bus controller is shared by Dunnington.

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
section "Model-Specific Machine Check Error Codes for Intel Xeon Processor MP
7100 Series". The spelling of names is that which scripts have parsed.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

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
from mcelogd.decode.intel import p4

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

BUS_ERROR = 0x0E0F
"""Type B: the only bus and interconnect code that these processors use."""

INTERNAL_ERROR = 0x0400
"""Type C: the cache bus controller's."""

SYNDROME_VALID = 1 << 52


class BusController(NamedTuple):
    """A cache bus controller's error codes (type C), MCi_STATUS 31:16 moved down to bit 0.

    Bits 15:12 and those that are 0 tell which of the four a code is of.
    """

    front: Choice
    internal: Choice
    correctable: tuple[Flag, ...]
    uncorrectable: tuple[Flag, ...]


# Table "Other Information Field Bit Definition"
COUNT = (Number(32, 39, "Corrected events"),)
SYNDROME = (Number(44, 51, "ECC syndrome", 16),)
MISC_FORMAT = (40, 41)

# Table "Type B Bus and Interconnect Error Codes"
BUS = (
    Flag(16, "Parity error detected during FSB request phase"),
    Flag(17, "Partity error detected on Core 0 request's address field"),
    Flag(18, "Partity error detected on Core 1 request's address field"),
    Choice(19, 19, {}),
    Flag(20, "Parity error on FSB response field detected"),
    Flag(21, "FSB data parity error on inbound date detected"),
    Flag(22, "Data parity error on data received from Core 0 detected"),
    Flag(23, "Data parity error on data received from Core 1 detected"),
    Flag(24, "Detected an Enhanced Defer parity error phase A or phase B"),
    Flag(25, "Data ECC event to error on inbound data correctable or uncorrectable"),
    Flag(26, "Pad logic detected a data strobe glitch or sequencing error"),
    Flag(27, "Pad logic detected a request strobe glitch or sequencing error"),
    Choice(28, 30, {}),
    Choice(31, 31, {}),
)

QUEUE_FULL = "\nIntel Cache Safe Technology Queue full error\nor disabled ways in a set overflow"
"""Too long for one line: begins a new one and has a break."""

# Table "Type C Cache Bus Controller Error Codes"
BUS_CONTROLLER = BusController(
    front=Choice(
        0,
        3,
        {
            0x1: "Inclusion error from core 0",
            0x2: "Inclusion error from core 1",
            0x3: "Write Exclusive error from core 0",
            0x4: "Write Exclusive error from core 1",
            0x5: "Inclusion error from FSB",
            0x6: "SNP stall error from FSB",
            0x7: "Write stall error from FSB",
            0x8: "FSB Arbiter Timeout error",
            0x9: "CBC OOD Queue Underflow/overflow",
        },
    ),
    internal=Choice(
        8,
        11,
        {
            0x1: "Enhanced Intel SpeedStep Technology TM1-TM2 Error",
            0x2: "Internal timeout error",
            0x3: "Internal timeout error",
            0x4: QUEUE_FULL,
        },
    ),
    correctable=(
        Flag(0, "Correctable ECC event on outgoing FSB data"),
        Flag(1, "Correctable ECC event on outgoing core 0 data"),
        Flag(2, "Correctable ECC event on outgoing core 1 data"),
    ),
    uncorrectable=(
        Flag(0, "Uncorrectable ECC event on outgoing FSB data"),
        Flag(1, "Uncorrectable ECC event on outgoing core 0 data"),
        Flag(2, "Uncorrectable ECC event on outgoing core 1 data"),
    ),
)


def describe_bus_controller(status: int, codes: BusController) -> list[str]:
    """The lines of a type C error; none for a code that is of no group."""
    code = extract(status, 16, 31)
    if code & 0xFFF0 == 0:
        lines = describe_bits(code, (codes.front,))
    elif code & 0xF0FF == 0:
        lines = describe_bits(code, (codes.internal,))
    elif code & 0xFFF0 == 0xC000:
        lines = describe_bits(code, codes.correctable)
    elif code & 0xFFF0 == 0xE000:
        lines = describe_bits(code, codes.uncorrectable)
    else:
        lines = []
    return [part for line in lines for part in line.split("\n")]


def describe(record: MceRecord) -> list[str]:
    """The model's lines for a Tulsa record."""
    status = record.status
    lines = p4.describe(record) + describe_numbers(status, COUNT)
    if status & SYNDROME_VALID:
        lines += describe_numbers(status, SYNDROME)
    if status & MCI_STATUS_MISCV:  # no manual says what MCi_MISC holds
        lines.append(f"MISC format {extract(status, *MISC_FORMAT):x} value {record.misc:x}")
    if status & 0xFFFF == BUS_ERROR:
        lines += describe_bits(status, BUS)
    elif status & 0xFFFF == INTERNAL_ERROR:
        lines += describe_bus_controller(status, BUS_CONTROLLER)
    return lines


MODEL = Model(describe=describe)
