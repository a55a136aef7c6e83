# SPDX-License-Identifier: GPL-2.0-only
"""Skylake, Cascade Lake and Cooper Lake servers (Xeon Scalable, first to third generation), 06_55H.

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
section of signature 06_55H.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import MCI_STATUS_UC, Choice, Flag, describe_bits, extract
from mcelogd.decode.compound import FILTERED
from mcelogd.decode.intel.common import labelled
from mcelogd.decode.intel.server import mirrored
from mcelogd.event import Location

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

PCU_BANK = 4
UPI_BANKS = (5, 12, 19)
M2M_BANKS = (7, 8)
IMC_BANKS = (13, 14, 15, 16, 17, 18)

# Table "Machine Check Error Codes for IA32_MC4_STATUS": MCACOD, then MSCOD.
PCU_MCACOD = {
    0x402: "Internal errors ",
    0x403: "Internal errors ",
    0x406: "Intel TXT errors ",
    0x407: "Other UBOX Internal errors ",
}
PCU = (
    Choice(
        24,
        31,
        {
            0x00: "No Error",
            0x0D: "MCA_DMI_TRAINING_TIMEOUT",
            0x0F: "MCA_DMI_CPU_RESET_ACK_TIMEOUT",
            0x10: "MCA_MORE_THAN_ONE_LT_AGENT",
            0x1E: "MCA_BIOS_RST_CPL_INVALID_SEQ",
            0x1F: "MCA_BIOS_INVALID_PKG_STATE_CONFIG",
            0x25: "MCA_MESSAGE_CHANNEL_TIMEOUT",
            0x27: "MCA_MSGCH_PMREQ_CMP_TIMEOUT",
            0x30: "MCA_PKGC_DIRECT_WAKE_RING_TIMEOUT",
            0x31: "MCA_PKGC_INVALID_RSP_PCH",
            0x33: "MCA_PKGC_WATCHDOG_HANG_CBZ_DOWN",
            0x34: "MCA_PKGC_WATCHDOG_HANG_CBZ_UP",
            0x38: "MCA_PKGC_WATCHDOG_HANG_C3_UP_SF",
            0x40: "MCA_SVID_VCCIN_VR_ICC_MAX_FAILURE",
            0x41: "MCA_SVID_COMMAND_TIMEOUT",
            0x42: "MCA_SVID_VCCIN_VR_VOUT_FAILURE",
            0x43: "MCA_SVID_CPU_VR_CAPABILITY_ERROR",
            0x44: "MCA_SVID_CRITICAL_VR_FAILED",
            0x45: "MCA_SVID_SA_ITD_ERROR",
            0x46: "MCA_SVID_READ_REG_FAILED",
            0x47: "MCA_SVID_WRITE_REG_FAILED",
            0x48: "MCA_SVID_PKGC_INIT_FAILED",
            0x49: "MCA_SVID_PKGC_CONFIG_FAILED",
            0x4A: "MCA_SVID_PKGC_REQUEST_FAILED",
            0x4B: "MCA_SVID_IMON_REQUEST_FAILED",
            0x4C: "MCA_SVID_ALERT_REQUEST_FAILED",
            0x4D: "MCA_SVID_MCP_VR_ABSENT_OR_RAMP_ERROR",
            0x4E: "MCA_SVID_UNEXPECTED_MCP_VR_DETECTED",
            0x51: "MCA_FIVR_CATAS_OVERVOL_FAULT",
            0x52: "MCA_FIVR_CATAS_OVERCUR_FAULT",
            0x58: "MCA_WATCHDOG_TIMEOUT_PKGC_SECONDARY",
            0x59: "MCA_WATCHDOG_TIMEOUT_PKGC_MAIN",
            0x5A: "MCA_WATCHDOG_TIMEOUT_PKGS_MAIN",
            0x61: "MCA_PKGS_CPD_UNCPD_TIMEOUT",
            0x63: "MCA_PKGS_INVALID_REQ_PCH",
            0x64: "MCA_PKGS_INVALID_REQ_INTERNAL",
            0x65: "MCA_PKGS_INVALID_RSP_INTERNAL",
            0x6B: "MCA_PKGS_SMBUS_VPP_PAUSE_TIMEOUT",
            0x81: "MCA_RECOVERABLE_DIE_THERMAL_TOO_HOT",
        },
    ),
)

# Table "Intel UPI MC Error Codes for IA32_MCi_STATUS (i = 5, 12, 19)".
UPI = (
    Choice(
        16,
        21,
        {
            0x00: "UC Phy Initialization Failure",
            0x01: "UC Phy detected drift buffer alarm",
            0x02: "UC Phy detected latency buffer rollover",
            0x10: "UC LL Rx detected CRC error: unsuccessful LLR: entered abort state",
            0x11: "UC LL Rx unsupported or undefined packet",
            0x12: "UC LL or Phy control error",
            0x13: "UC LL Rx parameter exchange exception",
            0x1F: "UC LL detected control error from the link-mesh interface",
            0x20: "COR Phy initialization abort",
            0x21: "COR Phy reset",
            0x22: "COR Phy lane failure, recovery in x8 width",
            0x23: "COR Phy L0c error corrected without Phy reset",
            0x24: "COR Phy L0c error triggering Phy Reset",
            0x25: "COR Phy L0p exit error corrected with Phy reset",
            0x30: "COR LL Rx detected CRC error - successful LLR without Phy Reinit",
            0x31: "COR LL Rx detected CRC error - successful LLR with Phy Reinit",
        },
    ),
)
UPI_CONTROL_ERROR = 0x12
"""Only this code of UPI has the details of UPI_CONTROL."""
UPI_CONTROL = (
    Flag(22, "Phy Control Error"),
    Flag(23, "Unexpected Retry.Ack flit"),
    Flag(24, "Unexpected Retry.Req flit"),
    Flag(25, "RF parity error"),
    Flag(26, "Routeback Table error"),
    Flag(27, "unexpected Tx Protocol flit (EOP, Header or Data)"),
    Flag(28, "Rx Header-or-Credit BGF credit overflow/underflow"),
    Flag(29, "Link Layer Reset still in progress when Phy enters L0"),
    Flag(30, "Link Layer reset initiated while protocol traffic not idle"),
    Flag(31, "Link Layer Tx Parity Error"),
)

# Table "Intel IMC MC Error Codes for IA32_MCi_STATUS (i = 13-18)": flags below 0800H, codes from there.
IMC = (
    Flag(16, "Address parity error"),
    Flag(17, "HA write data parity error"),
    Flag(18, "HA write byte enable parity error"),
    Flag(19, "Corrected patrol scrub error"),
    Flag(20, "Uncorrected patrol scrub error"),
    Flag(21, "Corrected spare error"),
    Flag(22, "Uncorrected spare error"),
    Flag(23, "Any HA read error"),
    Flag(24, "WDB read parity error"),
    Flag(25, "DDR4 command address parity error"),
    Flag(26, "Uncorrected address parity error"),
)
IMC_CODED = 1 << 27
IMC_CODES = (
    Choice(
        16,
        26,
        {
            0x0: "Unrecognized request type",
            0x1: "Read response to an invalid scoreboard entry",
            0x2: "Unexpected read response",
            0x3: "DDR4 completion to an invalid scoreboard entry",
            0x4: "Completion to an invalid scoreboard entry",
            0x5: "Completion FIFO overflow",
            0x6: "Correctable parity error",
            0x7: "Uncorrectable error",
            0x8: "Interrupt received while outstanding interrupt was not ACKed",
            0x9: "ERID FIFO overflow",
            0xA: "Error on Write credits",
            0xB: "Error on Read credits",
            0xC: "Scheduler error",
            0xD: "Error event",
        },
    ),
)
IMC_DATA_ERRORS = 1 << 19 | 1 << 21 | 1 << 23
"""The flags of IMC whose failed device is logged in MCi_STATUS 36:32: corrected scrubs, spares and reads."""

# Table "M2M MC Error Codes for IA32_MCi_STATUS (i = 7-8)".
M2M = (
    Flag(16, "MscodDataRdErr"),
    Flag(17, "Reserved"),
    Flag(18, "MscodPtlWrErr"),
    Flag(19, "MscodFullWrErr"),
    Flag(20, "MscodBgfErr"),
    Flag(21, "MscodTimeout"),
    Flag(22, "MscodParErr"),
    Flag(23, "MscodBucket1Err"),
)

CHANNELS_PER_CONTROLLER = 3
CONTROLLER_OF_M2M = {7: 0, 8: 1}
# Which channel a bank belongs to: (controller, its channel). Not in the order of the banks.
CHANNEL_OF_IMC = {13: (0, 0), 14: (0, 1), 15: (1, 0), 16: (1, 1), 17: (0, 2), 18: (1, 2)}


def describe(record: MceRecord) -> list[str]:
    """What the PCU, UPI links, M2M and memory controllers report beyond the architecture."""
    status = record.status
    if record.bank == PCU_BANK:
        return labelled(_pcu_label(status), describe_bits(status, PCU))
    if record.bank in UPI_BANKS:
        lines = describe_bits(status, UPI)
        if extract(status, 16, 21) == UPI_CONTROL_ERROR:
            lines += describe_bits(status, UPI_CONTROL)
        return labelled("UPI: ", lines)
    if record.bank in M2M_BANKS:
        return labelled("M2M: ", describe_bits(status, M2M))
    if record.bank in IMC_BANKS:
        return labelled("MemCtrl: ", describe_bits(status, IMC_CODES if status & IMC_CODED else IMC))
    return []


def _pcu_label(status: int) -> str:
    label = "PCU: " + PCU_MCACOD.get(status & 0xFFFF & ~FILTERED, "")
    return label + "PCU internal error " if extract(status, 16, 19) else label


def corrected_by(record: MceRecord) -> str | None:
    """How memory mirroring corrected an error that ECC could not; None where it was ECC."""
    return mirrored(record) if record.bank in M2M_BANKS else None


def locate(record: MceRecord, channel: int | None) -> tuple[Location, ...]:
    """Controller and channel, 0-5 on a socket; the registers do not name the DIMM."""
    where = Location(channel=channel)
    if record.bank in CONTROLLER_OF_M2M:
        controller = CONTROLLER_OF_M2M[record.bank]
        where = _on_controller(controller, channel)
    elif record.bank in CHANNEL_OF_IMC:
        controller, own = CHANNEL_OF_IMC[record.bank]
        where = _on_controller(controller, None if channel is None else own)
        where = where._replace(device=_failed_device(record.status))
    return (where,)


def _on_controller(controller: int, channel: int | None) -> Location:
    number = None if channel is None else channel + CHANNELS_PER_CONTROLLER * controller
    return Location(memory_controller=controller, channel=number)


def _failed_device(status: int) -> int | None:
    if status & (MCI_STATUS_UC | IMC_CODED) or not status & IMC_DATA_ERRORS:
        return None
    return extract(status, 32, 36)


MODEL = Model(describe=describe, locate=locate, corrected_by=corrected_by)
