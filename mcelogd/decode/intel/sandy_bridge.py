# SPDX-License-Identifier: GPL-2.0-only
"""Intel Sandy Bridge (06_2AH) and Sandy Bridge EP (06_2DH).

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
section "... 06_2DH, Machine Error Codes For Machine Check".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import MCI_STATUS_UC, Choice, Flag, describe_bits, extract
from mcelogd.decode.intel.common import is_memory_error, labelled_block
from mcelogd.event import Location

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

PCU_BANK = 4
QPI_BANKS = (6, 7)
MEMORY_BANKS = range(8, 12)

# Table "Machine Check Error Codes for IA32_MC4_STATUS"
PCU_CONTROLLER = Choice(
    16,
    19,
    {
        0: "No error",
        1: "Non_IMem_Sel",
        2: "I_Parity_Error",
        3: "Bad_OpCode",
        4: "I_Stack_Underflow",
        5: "I_Stack_Overflow",
        6: "D_Stack_Underflow",
        7: "D_Stack_Overflow",
        8: "Non-DMem_Sel",
        9: "D_Parity_Error",
    },
)
PCU = (
    PCU_CONTROLLER,
    Choice(
        24,
        31,
        {
            0x00: "No Error",
            0x0D: "MC_IMC_FORCE_SR_S3_TIMEOUT",
            0x0E: "MC_MC_CPD_UNCPD_ST_TIMEOUT",
            0x0F: "MC_PKGS_SAFE_WP_TIMEOUT",
            0x43: "MC_PECI_MAILBOX_QUIESCE_TIMEOUT",
            0x5C: "MC_MORE_THAN_ONE_LT_AGENT",
            0x60: "MC_INVALID_PKGS_REQ_PCH",
            0x61: "MC_INVALID_PKGS_REQ_QPI",
            0x62: "MC_INVALID_PKGS_RES_QPI",
            0x63: "MC_INVALID_PKGC_RES_PCH",
            0x64: "MC_INVALID_PKG_STATE_CONFIG",
            0x70: "MC_WATCHDG_TIMEOUT_PKGC_SECONDARY",
            0x71: "MC_WATCHDG_TIMEOUT_PKGC_MAIN",
            0x72: "MC_WATCHDG_TIMEOUT_PKGS_MAIN",
            0x7A: "MC_HA_FAILSTS_CHANGE_DETECTED",
            0x81: "MC_RECOVERABLE_DIE_THERMAL_TOO_HOT",
        },
    ),
)

# Table "Intel IMC MC Error Codes for IA32_MCi_STATUS (i= 8, 11)"
MEMORY = (
    Flag(16, "Address parity error"),
    Flag(17, "HA Wrt buffer Data parity error"),
    Flag(18, "HA Wrt byte enable parity error"),
    Flag(19, "Corrected patrol scrub error"),
    Flag(20, "Uncorrected patrol scrub error"),
    Flag(21, "Corrected spare error"),
    Flag(22, "Uncorrected spare error"),
)

# The same table and "Intel IMC MC Error Codes for IA32_MCi_MISC (i= 8, 11)": what the memory
# controller logs of corrected errors where MSR_ERROR_CONTROL[1] is set.
STATUS_FIRST_DEVICE = (32, 36)
MISC_SECOND_DEVICE = (9, 13)
MISC_FIRST_RANK = (46, 50)
MISC_SECOND_RANK = (51, 55)
MISC_FIRST_VALID = 1 << 62
MISC_SECOND_VALID = 1 << 63


def describe(record: MceRecord) -> list[str]:
    """The model's lines, by the bank that reported the error."""
    if record.bank == PCU_BANK:
        return labelled_block("PCU: ", describe_bits(record.status, PCU))
    if record.bank in MEMORY_BANKS:
        return labelled_block("MemCtrl: ", describe_bits(record.status, MEMORY))
    return []


def describe_ep(record: MceRecord) -> list[str]:
    """As describe(), of the EP, which has QPI links as well."""
    return ["QPI"] if record.bank in QPI_BANKS else describe(record)


def dimm_of_rank(rank: int) -> int | None:
    """The DIMM of a channel that a failing rank is on; None for a rank no DIMM has.

    Ranks 6 and 7 are the third DIMM's where the channel has one. No register
    says whether it does: dimms/names.py knows what is plugged in.
    """
    return None if rank >= 8 else rank // 4


def failed_ranks(record: MceRecord, place: Location) -> tuple[Location, ...]:
    """`place` with rank, DIMM and device of a corrected error, as the memory controller's MISC has them.

    Two Locations where two DIMMs share the error. Only for memory errors of
    the memory controller's banks; `place` alone where nothing more is known.
    """
    if record.status & MCI_STATUS_UC or place.channel is None or not is_memory_error(record.status):
        return (place,)
    first = place
    if record.misc & MISC_FIRST_VALID:
        rank, device = extract(record.misc, *MISC_FIRST_RANK), extract(record.status, *STATUS_FIRST_DEVICE)
        first = _failed(place, rank, device)
    if not record.misc & MISC_SECOND_VALID:
        return (first,)
    rank, device = extract(record.misc, *MISC_SECOND_RANK), extract(record.misc, *MISC_SECOND_DEVICE)
    return (first, _failed(place, rank, device))


def _failed(place: Location, rank: int, device: int) -> Location:
    return place._replace(dimm=dimm_of_rank(rank), rank=rank, device=device)


def locate(record: MceRecord, channel: int | None) -> tuple[Location, ...]:
    """Where a memory error of a Sandy Bridge EP is."""
    place = Location(channel=channel)
    return failed_ranks(record, place) if record.bank in MEMORY_BANKS else (place,)


SANDY_BRIDGE = Model(describe=describe)
SANDY_BRIDGE_EP = Model(describe=describe_ep, locate=locate)
