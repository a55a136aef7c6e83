# SPDX-License-Identifier: GPL-2.0-only
"""Diamond Rapids (13_01H): cores on CBB dies, memory and links on two IMH dies.

Source: Intel Architecture Instruction Set Extensions Programming Reference
(319433, September 2025), chapter 17, machine check error codes of this CPU.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import MCI_STATUS_MISCV, Choice, extract
from mcelogd.decode.intel.common import labelled
from mcelogd.decode.intel.server import (
    MISC_IS_DRAM,
    Dram,
    DramLayout,
    code_lines,
    grouped_lines,
    reader,
)
from mcelogd.event import Location

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

CBB_PUNIT_BANK = 4
IMH_PUNIT_BANK = 11
UPI_BANK = 18
MCCHAN_BANKS = range(19, 27)
"""One for each channel of memory of an IMH."""

SCAN_AT_FIELD_MCACOD = 0x40B

# Punit of a CBB, by MSCOD 31:24.
CBB_PUNIT = {
    0x00: Choice(
        16,
        23,
        {
            0x01: "CR4_MCE_CLEAR: MCE when CR4.MCE is clear",
            0x02: "MCE_MCIP_SET: MCE when MCIP bit is set",
            0x03: "MCE_UNDER_WFS: MCE under WPS",
            0x04: "MCE_LT_HANDSHAKE: Unrecoverable error during security flow execution",
            0x05: "TRIPLE_FAULT: SW triple fault shutdown",
            0x06: "VMX_ABORT: VMX exit consistency check failures",
            0x07: "RSM_CONSISTENCY_FAIL: RSM consistency check failures",
            0x08: "SMM_PROTECTED_ENTRY_FAIL: Invalid conditions on protected mode SMM entry",
            0x09: "UCODE_PATCH_LOAD_FAIL: Unrecoverable error during security flow execution",
        },
    ),
    0x08: Choice(
        16,
        23,
        {
            0x16: "MCA_DVFS_COUNTER_EXPIRED",
            0x23: "MCA_UNSUPP_RESP",
            0x25: "MCA_FUSA_MBIST",
            0x26: "MCA_SA_PLL_LOCKED",
            0x27: "MCA_XTAL_FREQ_MON_ERROR",
            0x28: "MCA_PMSB_FUSE_PULLER_ERROR",
            0x29: "MCA_GPSB_FUSE_PULLER_ERROR",
            0x30: "MCA_PCODE_WATCHDOG",
            0x31: "MCA_BGR_FUSA_ERR",
            0x32: "MCA_CORE_FIVR_ERR",
            0x33: "MCA_D2D_FIVR_ERR",
            0x34: "MCA_MLC_FIVR_ERR",
            0x35: "MCA_RING_FIVR_ERR",
            0x36: "MCA_D2D_MONF_PLL_FUSA_0",
            0x37: "MCA_D2D_MONF_PLL_FUSA_1",
            0x38: "MCA_TOP0_FUSA_PLL_ERR",
            0x39: "MCA_BASE_FUSA_PLL_ERR",
            0x40: "MCA_UCIE_RESET_BUS_STOP_ON_ERROR",
            0x41: "MCA_RSRC_ADAPT_0_ERR",
            0x42: "MCA_RSC_ADAPT_1_ERR",
            0x45: "MCA_TOP1_FUSA_PLL_ERR",
            0x46: "MCA_TOP2_FUSA_PLL_ERR",
            0x47: "MCA_TOP3_FUSA_PLL_ERR",
            0x48: "UC_PATCH_LOAD_ACK_ERROR",
        },
    ),
    0x0C: Choice(
        16,
        23,
        {
            0x01: "MCA_UC_IRAM_DOUBLE_ERROR",
            0x02: "MCA_UC_DOUBLE_EXCEPTION_ERROR",
            0x03: "MCA_UC_TELEM_SRAM_ERROR",
            0x04: "MCA_UC_DRAM_DOUBLE_ERROR",
            0x05: "MCA_UC_TPMI_SRAM_ERROR",
        },
    ),
    0x14: Choice(
        16,
        23,
        {
            0x01: "MCA_FIVR_HI_YELLOW",
            0x02: "MCA_FIVR_HI_RED",
        },
    ),
}

# Punit of an IMH: one code while MSCOD 31:24 are 0 ...
IMH_PUNIT_SHARED_CODE = 0x10
IMH_PUNIT_HARDWARE = Choice(
    16,
    23,
    {
        0x02: "Power Management Unit microcontroller double-bit ECC error",
        0x03: "Power Management Unit microcontroller double-bit ECC error",
        0x08: "Power Management Unit microcontroller error",
        0x09: "Power Management Unit microcontroller error",
        0x0A: "Power Management Unit microcontroller Patch Load error",
        0x0B: "Power Management Unit microcontroller POReqValid error",
        0x0C: "Power Management Unit microcontroller RAM address error",
        0x0D: "Power Management Unit microcontroller RAM access error",
        IMH_PUNIT_SHARED_CODE: "Pcode watchdog timeout or Power Management Unit TeleSRAM error",
        0x20: "Power Management Agent signaled Error",
        0x30: "Power Management Unit Microcontroller Error",
        0xA0: "Power Management Unit HPMSRAM double-bit ECC error detected",
        0xB0: "Power Management Unit TPMISRAM double-bit ECC error detected",
    },
)
# ... one of which has its meaning in MCi_MISC 63:9 ...
IMH_PUNIT_BY_MISC = {
    1: "Pcode watchdog timeout",
    3: "Power Management Unit TeleSRAM double-bit ECC error",
}
# ... and another else.
IMH_PUNIT_FIRMWARE = Choice(
    24,
    31,
    {
        0x09: "MCA_TSC_DOWNLOAD_TIMEOUT",
        0x0A: "MCA_INVALID_XTALFREQ_RANGE",
        0x0B: "MCA_GPSB_TIMEOUT",
        0x0C: "MCA_PMSB_TIMEOUT",
        0x0D: "MCA_CFG_ACK_TIMEOUT",
        0x23: "MCA_PCU_SVID_ERROR",
        0x35: "MCA_SVID_LOADLINE_INVALID",
        0x36: "MCA_SVID_ICCMAX_INVALID",
        0x4A: "MCA_FIVR_PD_HARDERR",
        0x4C: "MCA_HPM_DOUBLE_BIT_ERROR_DETECTED",
        0x58: "MCA_INVALID_MEMORY_FREQUENCY",
        0x63: "MCA_SVID_VCCIN_PROTOCOL_ERROR",
        0x6A: "MCA_SPPR_TIMEOUT",
        0x6F: "MCA_INVALID_SID_ERROR",
        0x70: "MCA_INVALID_REMOTE_LEGACY_AGENT_ERROR",
        0x71: "MCA_INVALID_REMOTE_LT_AGENT_ERROR",
        0x7B: "MCA_THERMAL_SENSOR_INVALID",
        0x7C: "MCA_CXL_DEVICE_NO_CREDIT",
        0x7E: "MCA_RECOVERABLE_DIE_THERMAL_TOO_HOT",
        0x83: "MCA_PKGS_RECOVERABLE_RESET_PREP_ACK_TIMEOUT",
    },
)

# UPI, by MSCOD 31:24.
UPI = {
    0x00: Choice(
        16,
        23,
        {
            **dict.fromkeys((0x00, 0x01, 0x02, 0x05), "Internal Parity Error"),
            0x08: "Internal Queue Overflow Error",
            0x09: "UPI link layer buffer overflow",
            0x0A: "Internal Queue Underflow Error",
            0x0B: "UPI link layer buffer underflow",
            0x0C: "Link layer or internal credit overflow",
            **dict.fromkeys((0x11, 0x12), "Internal Queue Overflow Error"),
            **dict.fromkeys((0x13, 0x14), "Internal Queue Underflow Error"),
            0x21: "Internal Interface Error",
            0x23: "Invalid Message",
            0x24: "UPI Protocol Error",
            0x25: "UPI Interleave Error",
            0x28: "Internal Interface Error",
            0x29: "Link integrity or initialization error",
            **dict.fromkeys((0x2A, 0x2B, 0x2C, 0x2D), "Power Management Transition Error - Timeout"),
            0x30: "Received poison when poison is disabled",
            0x31: "Internal Interface Error",
        },
    ),
    0x02: Choice(
        16,
        23,
        {
            0x00: "Link integrity or initialization error",
            0x03: "Link degraded",
            **dict.fromkeys((0x04, 0x05, 0x06, 0x07), "Power Management Transition Error - Timeout"),
        },
    ),
}

# MCCHAN, by MSCOD 31:24.
MCCHAN = {
    0x00: Choice(
        16,
        23,
        {
            0x01: "CMI Request Address Parity Error (APPP)",
            0x02: "CMI Wr data parity error",
            0x04: "CMI Wr BE parity error",
            0x08: "Transient or Correctable Error for Patrol Reads",
            0x10: "UnCorr Patrol Scrub Error",
            # Spelt as in mcelog's output; "Nontransient or Transient Correctable" must be meant.
            0x20: "Nontransient or Transient ectable Error for Spare Reads",
            0x40: "UnCorr Spare Error",
            0x80: "Transient or Correctable Error for Demand or Underfill Reads",
            0xA0: "Uncorrectable Error for Demand or Underfill Reads",
            0xB0: "Poisoned Read Data when Poison Disabled",
            0xC0: "Read 2LM MetaData Error for Demand, Underfill, or Patrol/Spare",
        },
    ),
    0x01: Choice(
        16,
        23,
        {
            0x02: "WDB Read ECC Error",
            0x04: "WDB BE Read Parity Error",
            0x06: "WDB Read Persistent ECC Error",
            0x08: "DDR Link Fail",
            0x09: "Illegal incoming opcode",
        },
    ),
    0x02: Choice(16, 23, {0x00: "DDR CAParity or WrCRC Error", 0x40: "Decoder structure error"}),
    0x04: Choice(16, 23, {0x00: "MC internal address parity error"}),
    0x08: Choice(
        16,
        23,
        {
            0x13: "CMI Credit Oversubscription Error",
            0x14: "CMI Total Credit Count Error",
            0x15: "CMI Reserved Credit Pool Error",
            0x32: "MC Internal Errors",
            0x34: "MC Tracker RDCMP RF parity error",
            0x36: "MC Tracker WRCMP RF parity error",
        },
    ),
}

# MCCHAN, MCi_MISC.
DRAM = DramLayout(
    row=(19, 36),
    bank=(37, 38),
    bank_group=(39, 41),
    device=(44, 48),
    subrank=(51, 54),
    rank=(55, 56),
    ecc_mode=(58, 61),
)
read_dram = reader(DRAM)
DEVICE_VALID = 1 << 42
SUBCHANNEL = (49, 49)
FIRST_PROPRIETARY_MSCOD = 0x800
"""From this MSCOD on MCi_MISC holds what Intel does not publish."""
ECC_MODES = {
    1: "SDDC 128b 1LM",
    2: "SDDC 125b 1LM",
    3: "SDDC 125b 2LM",
    4: "ADDDC 80b 1LM",
    5: "ADDDC 80b 2LM",
    9: "5x8 128b 1LM",
    10: "5x8 125b 1LM",
    11: "5x8 125b 2LM",
}


def imh_of(record: MceRecord) -> int:
    """The IMH, 0 or 1, that an error belongs to: bit 2 of the APIC id.

    0 where the record holds no APIC id: every kernel that runs on this CPU
    reports one, only a log can have lost it.
    """
    return (record.apicid or 0) >> 2 & 1


def describe(record: MceRecord) -> list[str]:
    """What Punits, UPI links and memory channels report beyond the architecture."""
    status = record.status
    if record.bank == CBB_PUNIT_BANK:
        return labelled("CBB Punit: ", _cbb_punit_lines(status))
    if record.bank == IMH_PUNIT_BANK:
        return labelled(f"IMH{imh_of(record)} Punit: ", _imh_punit_lines(record))
    if record.bank == UPI_BANK:
        return labelled("UPI: ", grouped_lines(status, UPI))
    if record.bank in MCCHAN_BANKS:
        label = f"IMH{imh_of(record)} MCCHAN: "
        return [*labelled(label, grouped_lines(status, MCCHAN)), *_dram_lines(record)]
    return []


def _cbb_punit_lines(status: int) -> list[str]:
    if status & 0xFFFF == SCAN_AT_FIELD_MCACOD:
        return ["Scan-at-Field Error"]
    return grouped_lines(status, CBB_PUNIT)


def _imh_punit_lines(record: MceRecord) -> list[str]:
    status = record.status
    if extract(status, 24, 31):
        return code_lines(status, IMH_PUNIT_FIRMWARE)
    if extract(status, 16, 23) == IMH_PUNIT_SHARED_CODE and status & MCI_STATUS_MISCV:
        known = IMH_PUNIT_BY_MISC.get(extract(record.misc, 9, 63))
        if known is not None:
            return [known]
    return code_lines(status, IMH_PUNIT_HARDWARE)


def _dram(record: MceRecord) -> Dram | None:
    """The DRAM address of a memory channel's error; None where MCi_MISC does not hold one."""
    if record.status & MISC_IS_DRAM != MISC_IS_DRAM:
        return None
    if extract(record.status, 16, 31) >= FIRST_PROPRIETARY_MSCOD:
        return None
    return read_dram(record.misc)


def _has_device(record: MceRecord, dram: Dram) -> bool:
    return not dram.transient and bool(record.misc & DEVICE_VALID)


def _dram_lines(record: MceRecord) -> list[str]:
    dram = _dram(record)
    if dram is None:
        return []
    subchannel = extract(record.misc, *SUBCHANNEL)
    lines = [
        dram.address_line,
        f"chipselect: {dram.rank:#x} subrank: {dram.subrank:#x} subchan: {subchannel:#x}",
    ]
    if dram.transient:
        return [*lines, "transient"]
    if _has_device(record, dram):
        lines.append(f"failed device: {dram.device:#x}")
    return [*lines, f"ecc mode: {ECC_MODES.get(dram.ecc_mode, 'Invalid/unknown ECC mode')}"]


def locate(record: MceRecord, channel: int | None) -> tuple[Location, ...]:
    """IMH as die, channel 0-15; where MCi_MISC has them also chip select, bank, row, column and device."""
    if record.bank not in MCCHAN_BANKS:
        return (Location(channel=channel),)
    imh = imh_of(record)
    number = MCCHAN_BANKS.index(record.bank) + len(MCCHAN_BANKS) * imh
    where = Location(die=imh, channel=number)
    dram = _dram(record)
    if dram is not None:
        device = dram.device if _has_device(record, dram) else None
        where = dram.place(where, device, chip_select=dram.rank)
    return (where,)


MODEL = Model(describe=describe, locate=locate)
