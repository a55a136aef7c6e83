# SPDX-License-Identifier: GPL-2.0-only
"""Intel Xeon 7400 series, "Dunnington" (06_1DH): Core 2's bus errors and a cache bus controller.

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
section "Model-Specific Machine Check Error Codes for the Intel Xeon Processor
7400 Series".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import Choice, Flag, describe_bits
from mcelogd.decode.intel import core2
from mcelogd.decode.intel.tulsa import (
    BUS_ERROR,
    INTERNAL_ERROR,
    QUEUE_FULL,
    BusController,
    describe_bus_controller,
)

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

# Table "Type B Bus and Interconnect Error Codes"
BUS = (
    Flag(16, "Parity error detected during FSB request phase"),
    Choice(17, 19, {}),
    Flag(20, "Hard Failure response received for a local transaction"),
    Flag(21, "Parity error on FSB response field detected"),
    Flag(22, "Parity data error on inbound data detected"),
    Choice(23, 25, {}),  # bit 25 is shown in this group and the next, as it always was
    Choice(25, 27, {}),
    Choice(28, 30, {}),
    Choice(31, 31, {}),
)

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
            0xA: "Inclusion error from core 2",
            0xB: "Write exclusive error from core 2",
        },
    ),
    internal=Choice(
        8,
        11,
        {
            0x2: "Internal timeout error",
            0x3: "Internal timeout error",
            0x4: QUEUE_FULL,
            0x5: "Quiet cycle timeout error (correctable)",
        },
    ),
    correctable=(
        Flag(1, "Correctable ECC event on outgoing core 0 data"),
        Flag(2, "Correctable ECC event on outgoing core 1 data"),
        Flag(3, "Correctable ECC event on outgoing core 2 data"),
    ),
    uncorrectable=(
        Flag(1, "Uncorrectable ECC event on outgoing core 0 data"),
        Flag(2, "Uncorrectable ECC event on outgoing core 1 data"),
        Flag(3, "Uncorrectable ECC event on outgoing core 2 data"),
    ),
)


def describe(record: MceRecord) -> list[str]:
    """The model's lines for a Dunnington record."""
    status = record.status
    lines = core2.describe(record)
    if status & 0xFFFF == BUS_ERROR:
        lines += describe_bits(status, BUS)
    elif status & 0xFFFF == INTERNAL_ERROR:
        lines += describe_bus_controller(status, BUS_CONTROLLER)
    return lines


MODEL = Model(describe=describe)
