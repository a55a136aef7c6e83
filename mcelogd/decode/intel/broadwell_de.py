# SPDX-License-Identifier: GPL-2.0-only
"""Intel Xeon D, Broadwell DE (06_56H).

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
section "... 06_56H, Machine Error Codes For Machine Check".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import Choice, describe_bits, extract
from mcelogd.decode.intel.common import labelled
from mcelogd.decode.intel.haswell import PCU_BANK, pcu_label
from mcelogd.decode.intel.ivy_bridge import MEMORY

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

MEMORY_BANKS = range(9, 11)
"""Their flags are Ivy Bridge's."""

# Table "Machine Check Error Codes for IA32_MC4_STATUS"
PCU_INTERNAL = (16, 17)
UBOX = (22, 22)
PCU = (
    Choice(
        24,
        31,
        {
            0x00: "No Error",
            0x09: "MC_MESSAGE_CHANNEL_TIMEOUT",
            0x13: "MC_DMI_TRAINING_TIMEOUT",
            0x15: "MC_DMI_CPU_RESET_ACK_TIMEOUT",
            0x1E: "MC_VR_ICC_MAX_LT_FUSED_ICC_MAX",
            0x25: "MC_SVID_COMMAN_TIMEOUT",
            0x26: "MCA_PKGC_DIRECT_WAKE_RING_TIMEOUT",
            0x29: "MC_VR_VOUT_MAC_LT_FUSED_SVID",
            0x2B: "MC_PKGC_WATCHDOG_HANG_CBZ_DOWN",
            0x2C: "MC_PKGC_WATCHDOG_HANG_CBZ_UP",
            0x44: "MC_CRITICAL_VR_FAILED",
            0x46: "MC_VID_RAMP_DOWN_FAILED",
            0x49: "MC_SVID_WRITE_REG_VOUT_MAX_FAILED",
            0x4B: "MC_BOOT_VID_TIMEOUT_DRAM_0",
            0x4F: "MC_SVID_COMMAND_ERROR",
            0x52: "MC_FIVR_CATAS_OVERVOL_FAULT",
            0x53: "MC_FIVR_CATAS_OVERCUR_FAULT",
            0x57: "MC_SVID_PKGC_REQUEST_FAILED",
            0x58: "MC_SVID_IMON_REQUEST_FAILED",
            0x59: "MC_SVID_ALERT_REQUEST_FAILED",
            0x62: "MC_INVALID_PKGS_RSP_QPI",
            0x64: "MC_INVALID_PKG_STATE_CONFIG",
            0x67: "MC_HA_IMC_RW_BLOCK_ACK_TIMEOUT",
            0x6A: "MC_MSGCH_PMREQ_CMP_TIMEOUT",
            0x72: "MC_WATCHDOG_TIMEOUT_PKGS_MAIN",
            0x81: "MC_RECOVERABLE_DIE_THERMAL_TOO_HOT",
        },
    ),
)


def describe(record: MceRecord) -> list[str]:
    """The model's lines, by the bank that reported the error."""
    status = record.status
    if record.bank == PCU_BANK:
        internal = "PCU internal error " if extract(status, *PCU_INTERNAL) else ""
        ubox = "Ubox error " if extract(status, *UBOX) else ""
        return labelled(pcu_label(status) + internal + ubox, describe_bits(status, PCU))
    if record.bank in MEMORY_BANKS:
        return labelled("MemCtrl: ", describe_bits(status, MEMORY))
    return []


MODEL = Model(describe=describe)
