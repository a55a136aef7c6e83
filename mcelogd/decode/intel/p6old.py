# SPDX-License-Identifier: GPL-2.0-only
"""Intel P6 family: Pentium Pro, II, III, M, Core Duo (family 6, models below 0FH).

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
table "Incremental Decoding Information: Processor Family 06H Machine Error
Codes For Machine Check".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import Choice, Flag, Number, describe_bits, describe_numbers
from mcelogd.decode.intel.common import is_bus_error

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcelogd.record import MceRecord

BUS_QUEUE_REQUEST = Choice(
    19,
    24,
    {
        0x00: "BQ_DCU_READ_TYPE",
        0x02: "BQ_IFU_DEMAND_TYPE",
        0x03: "BQ_IFU_DEMAND_NC_TYPE",
        0x04: "BQ_DCU_RFO_TYPE",
        0x05: "BQ_DCU_RFO_LOCK_TYPE",
        0x06: "BQ_DCU_ITOM_TYPE",
        0x08: "BQ_DCU_WB_TYPE",
        0x0A: "BC_DCU_WCEVICT_TYPE",
        0x0B: "BQ_DCU_WCLINE_TYPE",
        0x0C: "BQ_DCU_BTM_TYPE",
        0x0D: "BQ_DCU_INTACK_TYPE",
        0x0E: "BQ_DCU_INVALL2_TYPE",
        0x0F: "BQ_DCU_FLUSHL2_TYPE",
        0x10: "BQ_DCU_PART_RD_TYPE",
        0x12: "BQ_DCU_PART_WR_TYPE",
        0x14: "BQ_DCU_SPEC_CYC_TYPE",
        0x18: "BQ_DCU_IO_RD_TYPE",
        0x19: "BQ_DCU_IO_WR_TYPE",
        0x1C: "BQ_DCU_LOCK_RD_TYPE",
        0x1D: "BQ_DCU_LOCK_WR_TYPE",
        0x1E: "BQ_DCU_SPLOCK_RD_TYPE",
    },
)

BUS_QUEUE_ERROR = Choice(
    25,
    27,
    {
        0: "BQ_ERR_HARD_TYPE",
        1: "BQ_ERR_DOUBLE_TYPE",
        2: "BQ_ERR_AERR2_TYPE",
        4: "BQ_ERR_SINGLE_TYPE",
        5: "BQ_ERR_AERR1_TYPE",
    },
)

QUEUE = (
    Choice(16, 18, {}),
    BUS_QUEUE_REQUEST,
    BUS_QUEUE_ERROR,
    BUS_QUEUE_ERROR,  # shown twice, as it always was: scripts match the whole line
)

SHARED = (
    Flag(30, "internal BINIT"),
    Flag(36, "received parity error on response transaction"),
    Flag(38, "timeout BINIT (ROB timeout). No micro-op has been retired for some time"),
    Choice(39, 41, {}),
    Flag(42, "bus transaction received hard error response"),
    Flag(43, "failure that caused IERR"),
    Flag(44, "two failing bus transactions with address parity error (AERR)"),
    Flag(45, "uncorrectable ECC error"),
    Flag(46, "correctable ECC error"),
    Choice(55, 56, {}),
)
"""Fields that the P6 and Core families have in common, after the queue's; Core reserves bits 44 to 54."""

P6OLD = (
    Flag(28, "FRC error"),
    Flag(29, "BERR on this CPU"),
    Choice(31, 31, {}),
    Choice(32, 34, {}),
    Flag(35, "BINIT received from external bus"),
    Flag(37, "Received hard error response on split transaction (Bus BINIT)"),
)

NUMBERS = (Number(47, 54, "ECC syndrome", 16),)


def describe_bus(
    record: MceRecord, queue: tuple[Flag | Choice, ...], own: Iterable[Flag | Choice]
) -> list[str]:
    """The lines of a bus error: `queue` and shared fields, those of the family's `own`, the ECC syndrome."""
    status = record.status
    if not is_bus_error(status):
        return []
    return [
        *describe_bits(status, (*queue, *SHARED)),
        *describe_bits(status, own),
        *describe_numbers(status, NUMBERS),
    ]


def describe(record: MceRecord) -> list[str]:
    """The model's lines for a P6 record."""
    return describe_bus(record, QUEUE, P6OLD)


MODEL = Model(describe=describe)
