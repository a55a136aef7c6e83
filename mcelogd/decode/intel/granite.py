# SPDX-License-Identifier: GPL-2.0-only
"""Granite Rapids (06_ADH, 06_AEH), Sierra Forest (06_AFH) and Clearwater Forest (06_DDH).

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
section of signatures 06_ADH/06_AEH/06_AFH. Behind a colon stand Intel's words
where they are a name, and ours where they are a sentence.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import Choice, extract
from mcelogd.decode.intel.common import labelled
from mcelogd.decode.intel.server import (
    MISC_IS_DRAM,
    Dram,
    DramLayout,
    code_lines,
    grouped_lines,
    reader,
    transient_lines,
)
from mcelogd.event import Location

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

UPI_BANK = 5
PUNIT_BANK = 6
B2CMI_BANK = 12
MCCHAN_BANKS = range(13, 25)
"""One for each channel of memory; each has a memory controller to itself (Linux i10nm_base.c)."""

# UPI.
UPI = Choice(
    16,
    21,
    {
        0x00: "UC Phy Initialization Failure (NumInit)",
        0x01: "UC Phy Detected Drift Buffer Alarm",
        0x02: "UC Phy Detected Latency Buffer Rollover",
        0x10: "UC LL Rx detected CRC error: unsuccessful LLR (entered Abort state)",
        0x11: "UC LL Rx Unsupported/Undefined packet",
        0x12: "UC LL or Phy Control Error",
        0x13: "UC LL Rx Parameter Exception",
        0x14: "UC LL TDX Failure",
        0x15: "UC LL SGX Failure",
        0x16: "UC LL Tx SDC Parity Error",
        0x17: "UC LL Rx SDC Parity Error",
        0x18: "UC LL FLE Failure",
        0x1F: "UC LL Detected Control Error",
        0x20: "COR Phy Initialization Abort",
        0x21: "COR Phy Inband Reset",
        0x22: "COR Phy Lane failure, recovery in x8 width",
        0x23: "COR Phy L0c error corrected without Phy reset",
        0x24: "COR Phy L0c error triggering Phy reset",
        0x25: "COR Phy L0p exit error corrected with reset",
        0x30: "COR LL Rx detected CRC error: successful LLR without Phy Reinit",
        0x31: "COR LL Rx detected CRC error: successful LLR with Phy Reinit",
    },
)

# Punit, hardware errors.
PUNIT_HARDWARE = Choice(
    16,
    23,
    {
        0x02: "Power Management Unit microcontroller double-bit ECC error",
        0x03: "Power Management Unit microcontroller double-bit ECC error",
        0x08: "Power Management Unit microcontroller error",
        0x09: "Power Management Unit microcontroller error",
        0x0A: "Power Management Unit microcontroller patch load error",
        0x0B: "Power Management Unit microcontroller POReqValid error",
        0x10: "Power Management Unit microcontroller TeleSRAM double-bit ECC error",
        0x20: "Power Management Agent signaled error",
        0x80: "S3M signaled error",
        0xA0: "Power Management Unit HPMSRAM double-bit ECC error detected",
        0xB0: "Power Management Unit TPMISRAM double-bit ECC error detected",
    },
)

# Punit, firmware errors.
PUNIT_FIRMWARE = Choice(
    24,
    31,
    {
        0x09: "MCA_TSC_DOWNLOAD_TIMEOUT: download of the TSC took too long",
        0x0B: "MCA_GPSB_TIMEOUT: no answer from the GPSB in time",
        0x0C: "MCA_PMSB_TIMEOUT: no answer from the PMSB in time",
        0x10: "MCA_PMAX_CALIB_ERROR: PMAX calibration error",
        0x1A: "MCA_DISP_RUN_BUSY_TIMEOUT: Dispatcher busy beyond timeout",
        0x1D: "MCA_MORE_THAN_ONE_LT_AGENT: more than one LT agent found at boot",
        0x23: "MCA_PCU_SVID_ERROR: SVID error",
        0x35: "MCA_SVID_LOADLINE_INVALID: Invalid SVID VCCIN Loadline resistance value",
        0x36: "MCA_SVID_ICCMAX_INVALID: Invalid SVID ICCMAX value",
        0x40: "MCA_SVID_VIDMAX_INVALID: Invalid SVID VID_MAX value",
        0x41: "MCA_SVID_VDDRAMP_INVALID: Invalid ramp voltage for VDD_RAMP",
        0x48: "MCA_ITD_FUSE_INVALID: invalid ITD fuse settings",
        0x49: "MCA_SVID_DC_LL_INVALID: invalid SVID DC load line",
        0x4A: "MCA_FIVR_PD_HARDERR: FIVR fault raised by a power management event",
        0x4C: "MCA_HPM_DOUBLE_BIT_ERROR_DETECTED: double-bit error in HPM SRAM",
        0x56: "SVID_ACTIVE_VID_FUSE_ERROR: invalid fuse values for the active SVID VID",
    },
)

# B2CMI.
B2CMI = Choice(
    16,
    23,
    {
        0x01: "Read ECC error",
        0x02: "Bucket1 error",
        0x03: "Tracker Parity error",
        0x04: "Security mismatch",
        0x07: "Read completion parity error",
        0x08: "Response parity error",
        0x09: "Timeout error",
        0x0A: "Address parity error",
        0x0C: "CMI credit over subscription error",
        0x0D: "SAI mismatch error",
    },
)

# MCCHAN, by MSCOD 31:24.
MCCHAN = {
    0x00: Choice(
        16,
        23,
        {
            0x01: "Address Parity Error (APPP)",
            0x02: "CMI Wr data parity Error on sCH0",
            0x03: "CMI Uncorr/Corr ECC error on sCH0",
            0x04: "CMI Wr BE parity Error on sCH0",
            0x05: "CMI Wr MAC parity Error on sCH0",
            0x08: "Corr Patrol Scrub Error",
            0x10: "UnCorr Patrol Scrub Error",
            0x20: "Corr Spare Error",
            0x40: "UnCorr Spare Error",
            0x80: "Transient or Correctable Error for Demand or Underfill Reads",
            0xA0: "Uncorrectable Error for Demand or Underfill Reads",
            0xB0: "Poison read from memory while the memory controller has poison disabled",
            0xC0: "Read 2LM MetaData Error",
        },
    ),
    0x01: Choice(
        16,
        23,
        {
            0x00: "WDB Read Parity Error on sCH0",
            0x02: "WDB Read Uncorr/Corr ECC Error on sCH0",
            0x04: "WDB BE Read Parity Error on sCH0",
            0x06: "WDB Read Persistent Corr ECC Error on sCH0",
            0x08: "DDR Link Fail",
            0x09: "Illegal incoming opcode",
        },
    ),
    0x02: Choice(16, 23, {0x00: "DDR CAParity or WrCRC Error"}),
    0x04: Choice(16, 23, {0x00: "Scheduler address parity error"}),
    0x08: Choice(
        16,
        23,
        {
            0x32: "MC Internal Errors",
            0x33: "MCTracker Address RF parity error",
        },
    ),
    0x20: Choice(
        16,
        23,
        {
            0x02: "CMI Wr data parity Error on sCH1",
            0x03: "CMI Uncorr/Corr ECC error on sCH1",
            0x04: "CMI Wr BE parity Error on sCH1",
            0x05: "CMI Wr MAC parity Error on sCH1",
        },
    ),
    0x21: Choice(
        16,
        23,
        {
            0x00: "WDB Read Parity Error on sCH1",
            0x02: "WDB Read Uncorr/Corr ECC Error on sCH1",
            0x04: "WDB BE Read Parity Error on sCH1",
            0x06: "WDB Read Persistent Corr ECC Error on sCH1",
        },
    ),
}

# MCCHAN, MCi_MISC.
DRAM = DramLayout(
    row=(19, 36),
    bank=(37, 38),
    bank_group=(39, 41),
    device=(43, 48),
    subrank=(51, 54),
    rank=(55, 57),
    ecc_mode=(58, 61),
)
read_dram = reader(DRAM)
PROPRIETARY_MSCODS = range(0x800, 0x830)
"""With these MSCODs MCi_MISC holds what Intel does not publish."""
ECC_MODES = {
    1: "SDDC 128b 1LM",
    2: "SDDC 125b 1LM",
    3: "SDDC 96b 1LM",
    4: "SDDC 96b 2LM",
    5: "ADDDC 80b 1LM",
    6: "ADDDC 80b 2LM",
    7: "ADDDC 64b 1LM",
    8: "9x4 61b 1LM",
    9: "9x4 32b 1LM",
    10: "9x4 32b 2LM",
}


def describe(record: MceRecord) -> list[str]:
    """What UPI links, Punit, B2CMI and memory channels report beyond the architecture."""
    status = record.status
    if record.bank == UPI_BANK:
        return labelled("UPI: ", code_lines(status, UPI))
    if record.bank == PUNIT_BANK:
        return labelled("Punit: ", _punit_lines(status))
    if record.bank == B2CMI_BANK:
        return labelled("B2CMI: ", code_lines(status, B2CMI))
    if record.bank in MCCHAN_BANKS:
        return [*labelled("MCCHAN: ", grouped_lines(status, MCCHAN)), *_dram_lines(record)]
    return []


def _punit_lines(status: int) -> list[str]:
    return [
        *code_lines(status, PUNIT_HARDWARE),
        *code_lines(status, PUNIT_FIRMWARE),
    ]


def _dram(record: MceRecord) -> Dram | None:
    """The DRAM address of a memory channel's error; None where MCi_MISC does not hold one."""
    if record.status & MISC_IS_DRAM != MISC_IS_DRAM:
        return None
    if extract(record.status, 16, 31) in PROPRIETARY_MSCODS:
        return None
    return read_dram(record.misc)


def _dram_lines(record: MceRecord) -> list[str]:
    dram = _dram(record)
    if dram is None:
        return []
    return [
        dram.address_line,
        *([] if dram.transient else [f"failed device: {dram.device:#x}"]),
        f"chipselect: {dram.rank:#x} subrank: {dram.subrank:#x}",
        f"ecc mode: {ECC_MODES.get(dram.ecc_mode, 'Invalid/unknown ECC mode')}",
        *transient_lines(dram),
    ]


def locate(record: MceRecord, channel: int | None) -> tuple[Location, ...]:
    """Channel 0-11; where MCi_MISC has them also chip select, bank, row, column and failed device."""
    if record.bank not in MCCHAN_BANKS:
        return (Location(channel=channel),)
    number = MCCHAN_BANKS.index(record.bank)
    where = Location(memory_controller=number, channel=None if channel is None else number)
    dram = _dram(record)
    if dram is not None:
        device = None if dram.transient else dram.device
        where = dram.place(where, device, chip_select=dram.rank)
    return (where,)


MODEL = Model(describe=describe, locate=locate)
