# SPDX-License-Identifier: GPL-2.0-only
"""Intel Xeon v2, Ivy Bridge EP/EX (06_3EH).

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
section "... 06_3EH, Machine Error Codes For Machine Check".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import Choice, Flag, describe_bits
from mcelogd.decode.intel.common import labelled_block
from mcelogd.decode.intel.sandy_bridge import PCU_BANK, PCU_CONTROLLER, failed_ranks
from mcelogd.event import Location

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

QPI_BANK = 5
MEMORY_BANKS = range(9, 17)
"""One for each channel: four of memory controller 0, four of memory controller 1."""

# Table "Machine Check Error Codes for IA32_MC4_STATUS"
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
            0x44: "MC_CRITICAL_VR_FAILED",
            0x45: "MC_ICC_MAX-NOTSUPPORTED",
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
            0x7B: "MC_PCIE_R2PCIE-RW_BLOCK_ACK_TIMEOUT",
            0x81: "MC_RECOVERABLE_DIE_THERMAL_TOO_HOT",
        },
    ),
)

# Table "Intel IMC MC Error Codes for IA32_MCi_STATUS (i= 9-16)"
MEMORY = (
    Flag(16, "Address parity error"),
    Flag(17, "HA Wrt buffer Data parity error"),
    Flag(18, "HA Wrt byte enable parity error"),
    Flag(19, "Corrected patrol scrub error"),
    Flag(20, "Uncorrected patrol scrub error"),
    Flag(21, "Corrected spare error"),
    Flag(22, "Uncorrected spare error"),
    Flag(23, "Corrected memory read error"),
    Flag(24, "iMC, WDB, parity errors"),
)


def describe(record: MceRecord) -> list[str]:
    """The model's lines, by the bank that reported the error."""
    if record.bank == PCU_BANK:
        return labelled_block("PCU: ", describe_bits(record.status, PCU))
    if record.bank == QPI_BANK:
        return ["QPI"]
    if record.bank in MEMORY_BANKS:
        return labelled_block("MemCtrl: ", describe_bits(record.status, MEMORY))
    return []


def locate(record: MceRecord, channel: int | None) -> tuple[Location, ...]:
    """Where a memory error is; ranks and devices are in MCi_MISC as on Sandy Bridge EP.

    The channel is the error code's, which both memory controllers count from 0.
    """
    if record.bank not in MEMORY_BANKS:
        return (Location(channel=channel),)
    controller = MEMORY_BANKS.index(record.bank) // 4
    return failed_ranks(record, Location(memory_controller=controller, channel=channel))


MODEL = Model(describe=describe, locate=locate)
