# SPDX-License-Identifier: GPL-2.0-only
"""Ice Lake servers (06_6AH), Ice Lake D (06_6CH) and Snow Ridge (Tremont, 06_86H): the 10 nm server uncore.

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
sections of signatures 06_6AH/06_6CH and 06_86H; Linux drivers/edac/i10nm_base.c
for MCi_MISC. The three differ in which bank belongs to which unit.
"""

from __future__ import annotations

import enum
from functools import partial
from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import MCI_STATUS_MISCV, Choice, Flag, describe_bits, extract
from mcelogd.decode.intel.common import labelled
from mcelogd.decode.intel.server import (
    DramLayout,
    code_lines,
    ddr_lines,
    ddr_location,
    grouped_lines,
    mirrored,
    reader,
)
from mcelogd.event import Location

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcelogd.record import MceRecord

# Table "Machine Check Error Codes for IA32_MC4_STATUS": three codes, each 0 for none.
PCU_FIRMWARE = Choice(
    24,
    31,
    {
        0x0D: "MCA_LLC_BIST_ACTIVE_TIMEOUT",
        0x0E: "MCA_DMI_TRAINING_TIMEOUT",
        0x0F: "MCA_DMI_STRAP_SET_ARRIVAL_TIMEOUT",
        0x10: "MCA_DMI_CPU_RESET_ACK_TIMEOUT",
        0x11: "MCA_MORE_THAN_ONE_LT_AGENT",
        0x14: "MCA_INCOMPATIBLE_PCH_TYPE",
        0x1E: "MCA_BIOS_RST_CPL_INVALID_SEQ",
        0x1F: "MCA_BIOS_INVALID_PKG_STATE_CONFIG",
        0x2D: "MCA_PCU_PMAX_CALIB_ERROR",
        0x2E: "MCA_TSC100_SYNC_TIMEOUT",
        0x3A: "MCA_GPSB_TIMEOUT",
        0x3B: "MCA_PMSB_TIMEOUT",
        0x3E: "MCA_IOSFSB_PMREQ_CMP_TIMEOUT",
        0x40: "MCA_SVID_VCCIN_VR_ICC_MAX_FAILURE",
        0x42: "MCA_SVID_VCCIN_VR_VOUT_FAILURE",
        0x43: "MCA_SVID_CPU_VR_CAPABILITY_ERROR",
        0x44: "MCA_SVID_CRITICAL_VR_FAILED",
        0x45: "MCA_SVID_SA_ITD_ERROR",
        0x46: "MCA_SVID_READ_REG_FAILED",
        0x47: "MCA_SVID_WRITE_REG_FAILED",
        0x4A: "MCA_SVID_PKGC_REQUEST_FAILED",
        0x4B: "MCA_SVID_IMON_REQUEST_FAILED",
        0x4C: "MCA_SVID_ALERT_REQUEST_FAILED",
        0x4D: "MCA_SVID_MCP_VR_RAMP_ERROR",
        0x56: "MCA_FIVR_PD_HARDERR",
        0x58: "MCA_WATCHDOG_TIMEOUT_PKGC_SECONDARY",
        0x59: "MCA_WATCHDOG_TIMEOUT_PKGC_MAIN",
        0x5A: "MCA_WATCHDOG_TIMEOUT_PKGS_MAIN",
        0x5B: "MCA_WATCHDOG_TIMEOUT_MSG_CH_FSM",
        0x5C: "MCA_WATCHDOG_TIMEOUT_BULK_CR_FSM",
        0x5D: "MCA_WATCHDOG_TIMEOUT_IOSFSB_FSM",
        0x60: "MCA_PKGS_SAFE_WP_TIMEOUT",
        0x61: "MCA_PKGS_CPD_UNCPD_TIMEOUT",
        0x62: "MCA_PKGS_INVALID_REQ_PCH",
        0x63: "MCA_PKGS_INVALID_REQ_INTERNAL",
        0x64: "MCA_PKGS_INVALID_RSP_INTERNAL",
        **dict.fromkeys(range(0x65, 0x7B), "MCA_PKGS_RESET_PREP_TIMEOUT"),
        0x7B: "MCA_PKGS_SMBUS_VPP_PAUSE_TIMEOUT",
        0x7C: "MCA_PKGS_SMBUS_MCP_PAUSE_TIMEOUT",
        0x7D: "MCA_PKGS_SMBUS_SPD_PAUSE_TIMEOUT",
        0x80: "MCA_PKGC_DISP_BUSY_TIMEOUT",
        0x81: "MCA_PKGC_INVALID_RSP_PCH",
        0x83: "MCA_PKGC_WATCHDOG_HANG_CBZ_DOWN",
        0x84: "MCA_PKGC_WATCHDOG_HANG_CBZ_UP",
        0x87: "MCA_PKGC_WATCHDOG_HANG_C2_BLKMASTER",
        0x88: "MCA_PKGC_WATCHDOG_HANG_C2_PSLIMIT",
        0x89: "MCA_PKGC_WATCHDOG_HANG_SETDISP",
        0x8B: "MCA_PKGC_ALLOW_L1_ERROR",
        0x90: "MCA_RECOVERABLE_DIE_THERMAL_TOO_HOT",
        0xA0: "MCA_ADR_SIGNAL_TIMEOUT",
        0xA1: "MCA_BCLK_FREQ_OC_ABOVE_THRESHOLD",
        0xB0: "MCA_DISPATCHER_RUN_BUSY_TIMEOUT",
    },
)
PCU_HARDWARE = Choice(
    20,
    23,
    {
        0x04: "Clock/power IP response timeout",
        0x05: "SMBus controller raised SMI",
        0x09: "PM controller received invalid transaction",
    },
)
PCU_CONTROLLER = Choice(
    16,
    19,
    {
        0x01: "Instruction address out of valid space",
        0x02: "Double bit RAM error on Instruction Fetch",
        0x03: "Invalid OpCode seen",
        0x04: "Stack Underflow",
        0x05: "Stack Overflow",
        0x06: "Data address out of valid space",
        0x07: "Double bit RAM error on Data Fetch",
    },
)

# Table "Intel UPI MC Error Codes for IA32_MCi_STATUS (i = 5, 7-8)".
UPI_DETAILS = (
    Flag(22, "Phy Control Error"),
    Flag(23, "Unexpected Retry.Ack flit"),
    Flag(24, "Unexpected Retry.Req flit"),
    Flag(25, "RF parity error"),
    Flag(26, "Routeback Table error"),
    Flag(27, "Unexpected Tx Protocol flit (EOP, Header or Data)"),
    Flag(28, "Rx Header-or-Credit BGF credit overflow/underflow"),
    Flag(29, "Link Layer Reset still in progress when Phy enters L0"),
    Flag(30, "Link Layer reset initiated while protocol traffic not idle"),
    Flag(31, "Link Layer Tx Parity Error"),
)
UPI = Choice(
    16,
    21,
    {
        0x00: "Phy Initialization Failure (NumInit)",
        0x01: "Phy Detected Drift Buffer Alarm",
        0x02: "Phy Detected Latency Buffer Rollover",
        0x10: "LL Rx detected CRC error: unsuccessful LLR (entered Abort state)",
        0x11: "LL Rx Unsupported/Undefined packet",
        0x12: "LL or Phy Control Error",
        0x13: "LL Rx Parameter Exception",
        0x1F: "LL Detected Control Error",
        0x20: "Phy Initialization Abort",
        0x21: "Phy Inband Reset",
        0x22: "Phy Lane failure, recovery in x8 width",
        0x23: "Phy L0c error corrected without Phy reset",
        0x24: "Phy L0c error triggering Phy reset",
        0x25: "Phy L0p exit error corrected with reset",
        0x30: "LL Rx detected CRC error: successful LLR without Phy Reinit",
        0x31: "LL Rx detected CRC error: successful LLR with Phy Reinit",
        0x32: "Tx received LLR",
    },
)

# Table "M2M MC Error Codes for IA32_MCi_STATUS (i = 12, 16, 20, 24)".
M2M = (
    Flag(16, "MC read data error"),
    Flag(17, "Reserved"),
    Flag(18, "MC partial write data error"),
    Flag(19, "Full write data error"),
    Flag(20, "M2M clock-domain-crossing buffer (BGF) error"),
    Flag(21, "M2M time out"),
    Flag(22, "M2M tracker parity error"),
    Flag(23, "fatal Bucket1 error"),
)

# Table "Intel IMC MC Error Codes for IA32_MCi_STATUS (i = 13-15, 17-19, 21-23, 25-27)", by MSCOD 31:24.
# Names are spelt, blanks included, as scripts know them from mcelog's output.
IMC_ACCESS = Choice(
    16,
    23,
    {
        0x01: "Address parity error",
        0x02: "Data parity error",
        0x03: "Data ECC error",
        0x04: "Data byte enable parity error",
        0x07: "Transaction ID parity error",
        0x08: "Corrected patrol scrub error",
        0x10: "Uncorrected patrol scrub error",
        0x20: "Corrected spare error",
        0x40: "Uncorrected spare error",
        0x80: "Corrected read error",
        0xA0: "Uncorrected read error",
        0xC0: "Uncorrected metadata",
    },
)
IMC_DATA_PATH = Choice(
    16,
    23,
    {
        0x00: "WDB read parity error",
        0x03: "RPA parity error",
        0x06: "DDR_T_DPPP data BE error",
        0x07: "DDR_T_DPPP data error",
        0x08: "DDR link failure",
        0x11: "PCLS CAM error",
        0x12: "PCLS data error",
    },
)
IMC_LINK = Choice(
    16,
    23,
    {
        0x00: "DDR command / address parity error",
        0x20: "HBM command / address parity error",
        0x21: "HBM data parity error",
    },
)
IMC_QUEUE = Choice(
    16,
    23,
    {
        0x00: "RPQ parity (primary) error",
    },
)
IMC_PROTOCOL = Choice(
    16,
    23,
    {
        0x00: "DDR-T bad request",
        0x01: "DDR Data response to an invalid entry",
        0x02: "DDR data response to an entry not expecting data",
        0x03: "DDR completion to an invalid entry",
        0x04: "DDR-T completion to an invalid entry",
        0x05: "DDR data/completion FIFO overflow",
        0x06: "DDR-T ERID correctable parity error",
        0x07: "DDR-T ERID uncorrectable error",
        0x08: "DDR-T interrupt received while outstanding interrupt was not ACKed",
        0x09: "ERID FI FO overflow",
        0x0A: "DDR-T error on FNV write credits",
        0x0B: "DDR-T error on FNV read credits",
        0x0C: "DDR-T scheduler error",
        0x0D: "DDR-T FNV error event",
        0x0E: "DDR-T FNV thermal event",
        0x0F: "CMI packet while idle",
        0x10: "DDR_T_RPQ_REQ_PARITY_ERR",
        0x11: "DDR_T_WPQ_REQ_PARITY_ERR",
        0x12: "2LM_NMFILLWR_CAM_ERR",
        0x13: "CMI_CREDIT_OVERSUB_ERR",
        0x14: "CMI_CREDIT_TOTAL_ERR",
        0x15: "CMI_CREDIT_RSVD_POOL_ERR",
        0x16: "DDR_T_RD_ERROR",
        0x17: "WDB_FIFO_ERR",
        0x18: "CMI_REQ_FIFO_OVERFLOW",
        0x19: "CMI_REQ_FIFO_UNDERFLOW",
        0x1A: "CMI_RSP_FIFO_OVERFLOW",
        0x1B: "CMI_RSP_FIFO_UNDERFLOW",
        0x1C: "CMI _MISC_MC_CRDT_ERRORS",
        0x1D: "CMI_MISC_MC_ARB_ERRORS",
        0x1E: "DDR_T_WR_CMPL_FI FO_OVERFLOW",
        0x1F: "DDR_T_WR_CMPL_FI FO_UNDERFLOW",
        0x20: "CMI_RD_CPL_FIFO_OVERFLOW",
        0x21: "CMI_RD_CPL_FIFO_UNDERFLOW",
        0x22: "TME_KEY_PAR_ERR",
        0x23: "TME_CMI_MISC_ERR",
        0x24: "TME_CMI_OVFL_ERR",
        0x25: "TME_CMI_UFL_ERR",
        0x26: "TME_TEM_SECURE_ERR",
        0x27: "TME_UFILL_PAR_ERR",
        0x29: "INTERNAL_ERR",
        0x2A: "TME_INTEGRITY_ERR",
        0x2B: "TME_TDX_ERR",
        0x2C: "TME_UFILL_TEM_SECURE_ERR",
        0x2D: "TME_KEY_POISON_ERR",
        0x2E: "TME_SECURITY_ENGINE_ERR",
    },
)
IMC_MIRROR = Choice(
    16,
    23,
    {
        0x08: "CORR_PATSCRUB_MIRR2ND_ERR",
        0x10: "UC_PATSCRUB_MIRR2ND_ERR",
        0x20: "COR_SPARE_MIRR2ND_ERR",
        0x40: "UC_SPARE_MIRR2ND_ERR",
        0x80: "HA_RD_MIRR2ND_ERR",
        0xA0: "HA_UNCORR_RD_MIRR2ND_ERR",
    },
)
IMC = {
    0x00: IMC_ACCESS,
    0x01: IMC_DATA_PATH,
    0x02: IMC_LINK,
    0x04: IMC_QUEUE,
    0x08: IMC_PROTOCOL,
    0x10: IMC_MIRROR,
}

# Table "Intel IMC MC Error Codes for IA32_MCi_MISC".
DRAM = DramLayout(
    row=(19, 39),
    bank_group=(40, 41),
    bank=(42, 43),
    bank_group_top=44,
    device=(46, 51),
    subrank=(52, 55),
    rank=(56, 58),
    ecc_mode=(59, 62),
)
read_dram = reader(DRAM)
ECC_MODES = {
    0: "SDDC memory mode",
    1: "SDDC",
    4: "ADDDC memory mode",
    5: "ADDDC",
    8: "DDRT read",
}

DDRT_MSCODS = frozenset(
    {
        *(0x106, 0x107),
        *(0x800, 0x804, 0x806, 0x807, 0x808, 0x80A, 0x80B, 0x80C, 0x80D, 0x80E),
        *(0x810, 0x811, 0x816, 0x81E, 0x81F),
    }
)
"""Errors of persistent memory (DDR-T), whose MCi_MISC holds no DRAM address (i10nm_base.c)."""


class Unit(enum.Enum):
    """The unit a machine-check bank belongs to."""

    PCU = enum.auto()
    UPI = enum.auto()
    M2M = enum.auto()
    IMC = enum.auto()


ICELAKE_SERVER_BANKS = {
    4: Unit.PCU,
    **dict.fromkeys((5, 7, 8), Unit.UPI),
    **dict.fromkeys((12, 16, 20, 24), Unit.M2M),
    **dict.fromkeys((13, 14, 15, 17, 18, 19, 21, 22, 23, 25, 26, 27), Unit.IMC),
}
ICELAKE_D_BANKS = {
    4: Unit.PCU,
    **dict.fromkeys((12, 16), Unit.M2M),
    **dict.fromkeys((13, 14, 15, 17, 18, 19), Unit.IMC),
}
SNOWRIDGE_BANKS = {
    4: Unit.PCU,
    12: Unit.M2M,
    **dict.fromkeys((13, 14, 15), Unit.IMC),
}

MEMORY_BANKS = range(12, 28)
"""One M2M bank and three IMC banks for each of four memory controllers."""
BANKS_PER_CONTROLLER = 4
CHANNELS_PER_CONTROLLER = 3


def describe(banks: Mapping[int, Unit], record: MceRecord) -> list[str]:
    """What the PCU, UPI links, M2M and memory controllers report beyond the architecture."""
    unit = banks.get(record.bank)
    if unit is Unit.PCU:
        return labelled("PCU: ", _pcu_lines(record.status))
    if unit is Unit.UPI:
        return labelled("UPI: ", upi_lines(record.status, UPI))
    if unit is Unit.M2M:
        return labelled("M2M: ", _m2m_lines(record.status))
    if unit is Unit.IMC:
        return [*labelled("MemCtrl: ", grouped_lines(record.status, IMC)), *_dram_lines(record)]
    return []


def upi_lines(status: int, codes: Choice) -> list[str]:
    """The details of a UPI error, then the name of its code."""
    return [*describe_bits(status, UPI_DETAILS), *code_lines(status, codes)]


def _pcu_lines(status: int) -> list[str]:
    return [
        *code_lines(status, PCU_FIRMWARE),
        *code_lines(status, PCU_HARDWARE),
        *code_lines(status, PCU_CONTROLLER),
    ]


def _m2m_lines(status: int) -> list[str]:
    return [
        f"MscodDDRType={extract(status, 24, 25):#x}",
        f"MscodMiscErrs={extract(status, 26, 31):#x}",
        *describe_bits(status, M2M),
    ]


def _dram_lines(record: MceRecord) -> list[str]:
    if not record.status & MCI_STATUS_MISCV:
        return []
    return ddr_lines(read_dram(record.misc), record.status, ECC_MODES)


def corrected_by(record: MceRecord) -> str | None:
    """How memory mirroring corrected an error that ECC could not; None where it was ECC."""
    return mirrored(record) if ICELAKE_SERVER_BANKS.get(record.bank) is Unit.M2M else None


def locate(banks: Mapping[int, Unit], record: MceRecord, channel: int | None) -> tuple[Location, ...]:
    """Controller and channel, counted through a socket; with a valid MCi_MISC also rank, bank, row, column.

    Every controller has a place for three channels, so a CPU with two to a
    controller has channels 0, 1, 3, 4, ...
    """
    if record.bank not in MEMORY_BANKS:
        return (Location(channel=channel),)
    controller = (record.bank - MEMORY_BANKS.start) // BANKS_PER_CONTROLLER
    number = None if channel is None else controller * CHANNELS_PER_CONTROLLER + channel
    where = Location(memory_controller=controller, channel=number)
    if banks.get(record.bank) is Unit.IMC:
        where = ddr_location(where, record, read_dram, DDRT_MSCODS)
    return (where,)


def _model(banks: Mapping[int, Unit]) -> Model:
    return Model(describe=partial(describe, banks), locate=partial(locate, banks))


ICELAKE_SERVER = _model(ICELAKE_SERVER_BANKS)._replace(corrected_by=corrected_by)
ICELAKE_D = _model(ICELAKE_D_BANKS)
SNOWRIDGE = _model(SNOWRIDGE_BANKS)
