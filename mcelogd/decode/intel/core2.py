# SPDX-License-Identifier: GPL-2.0-only
"""Intel Core microarchitecture: Core 2, Xeon 3000 to 7300 (06_0FH, 06_17H); shared by Dunnington.

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
table "Incremental Bus Error Codes of Machine Check for Processors Based on
Intel Core Microarchitecture". Names of error types are those of its first
editions, which are the P6 family's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import Choice, Flag
from mcelogd.decode.intel.p6old import BUS_QUEUE_ERROR, BUS_QUEUE_REQUEST, describe_bus

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

QUEUE = (
    Choice(16, 18, {}),
    BUS_QUEUE_REQUEST._replace(
        texts={
            **BUS_QUEUE_REQUEST.texts,
            0x01: "BQ_PREF_READ_TYPE",
            0x24: "BQ_L2_WI_RFO_TYPE",
            0x26: "BQ_L2_WI_ITOM_TYPE",
        }
    ),
    BUS_QUEUE_ERROR,
    BUS_QUEUE_ERROR,  # shown twice, as on the P6
)

CORE2 = (
    Flag(28, "MCE driven"),
    Flag(29, "MCE is observed"),
    Flag(31, "BINIT observed"),
    Choice(32, 33, {}),
    Flag(34, "PIC or FSB data parity error"),
    Choice(35, 35, {}),
    Flag(37, "FSB address parity error detected"),
)


def describe(record: MceRecord) -> list[str]:
    """The model's lines for a Core 2 record."""
    return describe_bus(record, QUEUE, CORE2)


MODEL = Model(describe=describe)
