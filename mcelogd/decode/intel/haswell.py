# SPDX-License-Identifier: GPL-2.0-only
"""Intel Xeon v3, Haswell EP/EX (06_3FH); much of it is shared by Broadwell.

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
section "... 06_3FH, Machine Error Codes For Machine Check".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import MCI_STATUS_MISCV, MCI_STATUS_UC, Choice, Flag, describe_bits, extract
from mcelogd.decode.compound import FILTERED
from mcelogd.decode.intel.common import is_memory_error, labelled
from mcelogd.decode.intel.sandy_bridge import MISC_FIRST_RANK, MISC_FIRST_VALID, STATUS_FIRST_DEVICE
from mcelogd.event import Location

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcelogd.record import MceRecord

PCU_BANK = 4
QPI_BANKS = (5, 20, 21)
HOME_AGENT_BANKS = range(7, 9)
MEMORY_BANKS = range(9, 17)
"""One for each channel: four of memory controller 0, four of memory controller 1."""

CHANNELS = 4
"""Channels of one memory controller; those of the second are counted on from the first's."""

# Table "Machine Check Error Codes for IA32_MC4_STATUS": MCACOD, and bits 31:24. The manual's later
# editions list fewer codes.
INTERNAL_ERRORS = {
    0x402: "Internal errors ",
    0x403: "Internal errors ",
    0x406: "Intel TXT errors ",
    0x407: "Other UBOX Internal errors ",
}
PCU_INTERNAL = (16, 19)
PCU = (
    Choice(
        24,
        31,
        {
            0x00: "No Error",
            0x09: "MC_MESSAGE_CHANNEL_TIMEOUT",
            0x0D: "MC_IMC_FORCE_SR_S3_TIMEOUT",
            0x0E: "MC_CPD_UNCPD_SD_TIMEOUT",
            0x13: "MC_DMI_TRAINING_TIMEOUT",
            0x15: "MC_DMI_CPU_RESET_ACK_TIMEOUT",
            0x1E: "MC_VR_ICC_MAX_LT_FUSED_ICC_MAX",
            0x25: "MC_SVID_COMMAN_TIMEOUT",
            0x29: "MC_VR_VOUT_MAC_LT_FUSED_SVID",
            0x2B: "MC_PKGC_WATCHDOG_HANG_CBZ_DOWN",
            0x2C: "MC_PKGC_WATCHDOG_HANG_CBZ_UP",
            0x39: "MC_PKGC_WATCHDOG_HANG_C3_UP_SF",
            0x44: "MC_CRITICAL_VR_FAILED",
            0x45: "MC_ICC_MAX_NOTSUPPORTED",
            0x46: "MC_VID_RAMP_DOWN_FAILED",
            0x47: "MC_EXCL_MODE_NO_PMREQ_CMP",
            0x48: "MC_SVID_READ_REG_ICC_MAX_FAILED",
            0x49: "MC_SVID_WRITE_REG_VOUT_MAX_FAILED",
            0x4B: "MC_BOOT_VID_TIMEOUT_DRAM_0",
            0x4C: "MC_BOOT_VID_TIMEOUT_DRAM_1",
            0x4D: "MC_BOOT_VID_TIMEOUT_DRAM_2",
            0x4E: "MC_BOOT_VID_TIMEOUT_DRAM_3",
            0x4F: "MC_SVID_COMMAND_ERROR",
            0x52: "MC_FIVR_CATAS_OVERVOL_FAULT",
            0x53: "MC_FIVR_CATAS_OVERCUR_FAULT",
            0x57: "MC_SVID_PKGC_REQUEST_FAILED",
            0x58: "MC_SVID_IMON_REQUEST_FAILED",
            0x59: "MC_SVID_ALERT_REQUEST_FAILED",
            0x60: "MC_INVALID_PKGS_REQ_PCH",
            0x61: "MC_INVALID_PKGS_REQ_QPI",
            0x62: "MC_INVALID_PKGS_RSP_QPI",
            0x63: "MC_INVALID_PKGS_RSP_PCH",
            0x64: "MC_INVALID_PKG_STATE_CONFIG",
            0x67: "MC_HA_IMC_RW_BLOCK_ACK_TIMEOUT",
            0x68: "MC_IMC_RW_SMBUS_TIMEOUT",
            0x69: "MC_HA_FAILSTS_CHANGE_DETECTED",
            0x6A: "MC_MSGCH_PMREQ_CMP_TIMEOUT",
            0x70: "MC_WATCHDOG_TIMEOUT_PKGC_SECONDARY",
            0x71: "MC_WATCHDOG_TIMEOUT_PKGC_MAIN",
            0x72: "MC_WATCHDOG_TIMEOUT_PKGS_MAIN",
            0x7C: "MC_BIOS_RST_CPL_INVALID_SEQ",
            0x7D: "MC_MORE_THAN_ONE_TXT_AGENT",
            0x81: "MC_RECOVERABLE_DIE_THERMAL_TOO_HOT",
        },
    ),
)

# Table "Intel QPI MC Error Codes for IA32_MCi_STATUS (i = 5, 20, 21)": the code is in 21:16, as the
# same table of Skylake says.
QPI = (
    Choice(
        16,
        21,
        {
            0x02: "Intel QPI physical layer detected drift buffer alarm",
            0x03: "Intel QPI physical layer detected latency buffer rollover",
            0x10: "Intel QPI link layer detected control error from R3QPI",
            0x11: "Rx entered LLR abort state on CRC error",
            0x12: "Unsupported or undefined packet",
            0x13: "Intel QPI link layer control error",
            0x15: "RBT used un-initialized value",
            0x20: "Intel QPI physical layer detected a QPI in-band reset but aborted initialization",
            0x21: "Link failover data self healing",
            0x22: "Phy detected in-band reset (no width change)",
            0x23: "Link failover clock failover",
            0x30: "Rx detected CRC error - successful LLR after Phy re-init",
            0x31: "Rx detected CRC error - successful LLR without Phy re-init",
        },
    ),
)

# Table "Intel IMC MC Error Codes for IA32_MCi_STATUS (i= 9-16)"
MEMORY = (
    Flag(16, "DDR3 address parity error"),
    Flag(17, "Uncorrected HA write data error"),
    Flag(18, "Uncorrected HA data byte enable error"),
    Flag(19, "Corrected patrol scrub error"),
    Flag(20, "Uncorrected patrol scrub error"),
    Flag(21, "Corrected spare error"),
    Flag(22, "Uncorrected spare error"),
    Flag(23, "Corrected memory read error"),
    Flag(24, "iMC write data buffer parity error"),
    Flag(25, "DDR4 command address parity error"),
)


def pcu_label(status: int) -> str:
    """What stands before the PCU's own code: `PCU: ` and the class that MCACOD names."""
    return "PCU: " + INTERNAL_ERRORS.get(status & 0xFFFF & ~FILTERED, "")


def describe_banks(record: MceRecord, memory: Iterable[Flag]) -> list[str]:
    """The lines of Haswell and Broadwell EP/EX, by the bank; `memory` are the memory controller's flags."""
    status = record.status
    if record.bank == PCU_BANK:
        internal = "PCU internal error " if extract(status, *PCU_INTERNAL) else ""
        return labelled(pcu_label(status) + internal, describe_bits(status, PCU))
    if record.bank in QPI_BANKS:
        return labelled("QPI: ", describe_bits(status, QPI))
    if record.bank in MEMORY_BANKS:
        return labelled("MemCtrl: ", describe_bits(status, memory))
    return []


def describe(record: MceRecord) -> list[str]:
    """The model's lines for a Haswell EP/EX record."""
    return describe_banks(record, MEMORY)


def place_of(record: MceRecord, channel: int | None) -> Location:
    """Memory controller and channel of a memory error: the bank tells which.

    A home agent's bank counts its channels from 0, a memory controller's bank
    is a channel's own. The registers do not say which DIMM.
    """
    if channel is None or not is_memory_error(record.status):
        return Location(channel=channel)
    if record.bank in HOME_AGENT_BANKS:
        controller = HOME_AGENT_BANKS.index(record.bank)
        return Location(memory_controller=controller, channel=channel + CHANNELS * controller)
    if record.bank in MEMORY_BANKS:
        channel = MEMORY_BANKS.index(record.bank)
        return Location(memory_controller=channel // CHANNELS, channel=channel)
    return Location(channel=channel)


def locate(record: MceRecord, channel: int | None) -> tuple[Location, ...]:
    """Where a memory error is: place_of(), and rank and device where MCi_MISC of a channel's bank has them.

    Source: table "Intel IMC MC Error Codes for IA32_MCi_MISC (i= 9-16)".
    """
    place = place_of(record, channel)
    corrected = not record.status & MCI_STATUS_UC and record.status & MCI_STATUS_MISCV
    if not corrected or record.bank not in MEMORY_BANKS or not record.misc & MISC_FIRST_VALID:
        return (place,)
    rank = extract(record.misc, *MISC_FIRST_RANK)
    return (place._replace(rank=rank, device=extract(record.status, *STATUS_FIRST_DEVICE)),)


MODEL = Model(describe=describe, locate=locate)
