# SPDX-License-Identifier: GPL-2.0-only
"""Sapphire Rapids (06_8FH) and Emerald Rapids (06_CFH).

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
section of signatures 06_8FH/06_CFH; Linux drivers/edac/i10nm_base.c for
MCi_MISC. Many codes are those of Ice Lake: the tables here name the rest.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import MCI_STATUS_MISCV, Choice, extract
from mcelogd.decode.intel import i10nm
from mcelogd.decode.intel.common import labelled
from mcelogd.decode.intel.server import (
    DramLayout,
    code_lines,
    ddr_lines,
    ddr_location,
    grouped_lines,
    has_failed_device,
    reader,
    transient_lines,
)
from mcelogd.event import Location

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

# Table "Machine Check Error Codes for IA32_MC4_STATUS": the codes of Ice Lake, and these.
PCU_FIRMWARE = Choice(24, 31, {**i10nm.PCU_FIRMWARE.texts, 0xC0: "MCA_DISPATCHER_RUN_BUSY_TIMEOUT"})
SHUTDOWN_MCACOD = 0x40C
"""The MCA error code with which 19:16 say why the CPU would have shut down."""
PCU_SHUTDOWN = Choice(
    16,
    19,
    {
        0x01: "MCE when CR4.MCE is clear",
        0x02: "MCE when MCIP bit is set",
        0x03: "MCE under WPS",
        0x04: "Unrecoverable error during security flow execution",
        0x05: "SW triple fault shutdown",
        0x06: "VMX exit consistency check failures",
        0x07: "RSM consistency check failures",
        0x08: "Invalid conditions on protected mode SMM entry",
        0x09: "Unrecoverable error during security flow execution",
    },
)

# Table "Intel UPI MC Error Codes for IA32_MC5_STATUS".
UPI = Choice(
    16,
    21,
    {
        0x00: "Phy Initialization Failure",
        0x01: "Phy Detected Drift Buffer Alarm",
        0x02: "Phy Detected Latency Buffer Rollover",
        0x10: "LL Rx detected CRC error: unsuccessful LLR (entered Abort state)",
        0x11: "LL Rx Unsupported/Undefined packet",
        0x12: "LL or Phy Control Error",
        0x13: "LL Rx Parameter Exception",
        0x15: "UC LL Rx SGX MAC Error",
        0x1F: "LL Detected Control Error",
        0x20: "Phy Initialization Abort",
        0x21: "Phy Inband Reset",
        0x22: "Phy Lane failure, recovery in x8 width",
        0x23: "Phy L0c error corrected without Phy reset",
        0x24: "Phy L0c error triggering Phy reset",
        0x25: "Phy L0p exit error corrected with reset",
        0x30: "LL Rx detected CRC error: successful LLR without Phy Reinit",
        0x31: "LL Rx detected CRC error: successful LLR with Phy Reinit",
    },
)

# Table "M2M MC Error Codes for IA32_MCi_STATUS (i = 12, 29)".
M2M = Choice(
    16,
    23,
    {
        0x01: "Read ECC error",
        0x02: "Bucket1 error",
        0x03: "RdTrkr Parity error",
        0x05: "Prefetch channel mismatch",
        0x07: "Read completion parity error",
        0x08: "Response parity error",
        0x09: "Timeout error",
        0x0A: "CMI reserved credit pool error",
        0x0B: "CMI total credit count error",
        0x0C: "CMI credit oversubscription error",
    },
)
M2M_HBM = 1
"""MSCOD 25:24 of an M2M bank: the error is in high-bandwidth memory."""

# Table "Intel IMC MC Error Codes for IA32_MCi_STATUS (i = 13-20, 30-31)", by MSCOD 31:24.
IMC = {
    0x00: i10nm.IMC_ACCESS,
    0x01: Choice(16, 23, {0x00: "WDB read parity error", 0x08: "DDR link failure"}),
    0x02: Choice(16, 23, {0x00: "DDR5 command / address parity error"}),
    0x04: i10nm.IMC_QUEUE,
    0x08: i10nm.IMC_PROTOCOL,
    0x10: i10nm.IMC_MIRROR,
}

# Table "Intel IMC MC Error Codes for IA32_MCi_MISC".
DRAM = DramLayout(
    row=(19, 36),
    bank_group=(37, 38),
    bank=(39, 40),
    bank_group_top=41,
    device=(43, 48),
    subrank=(52, 55),
    rank=(56, 58),
    ecc_mode=(59, 62),
)
read_dram = reader(DRAM)
HBM_DEVICE = (51, 55)
ECC_MODES = {
    0: "SDDC 2LM memory mode",
    1: "SDDC",
    2: "SDDC+1 2LM memory mode",
    3: "SDDC+1",
    4: "ADDDC 2LM memory mode",
    5: "ADDDC",
    6: "ADDDC+1 2LM memory mode",
    7: "ADDDC+1",
    8: "DDRT read",
}
HBM_READS = {1: "HBM 64B read", 9: "HBM 32B read"}
DDRT_MSCODS = i10nm.DDRT_MSCODS - {0x106, 0x107}


class Unit(enum.Enum):
    """The unit a machine-check bank belongs to."""

    PCU = enum.auto()
    UPI = enum.auto()
    M2M = enum.auto()
    IMC = enum.auto()
    HBM_M2M = enum.auto()
    HBM_IMC = enum.auto()


BANKS = {
    4: Unit.PCU,
    5: Unit.UPI,
    12: Unit.M2M,
    **dict.fromkeys(range(13, 21), Unit.IMC),
    29: Unit.HBM_M2M,
    **dict.fromkeys((30, 31), Unit.HBM_IMC),
}
FIRST_IMC_BANK = 13
FIRST_HBM_BANK = 30
FIRST_HBM_CHANNEL = 8
CHANNELS_PER_CONTROLLER = 2


def describe(record: MceRecord) -> list[str]:
    """What the PCU, UPI links, M2M and memory controllers report beyond the architecture."""
    status = record.status
    unit = BANKS.get(record.bank)
    if unit is Unit.PCU:
        return labelled("PCU: ", _pcu_lines(status))
    if unit is Unit.UPI:
        return labelled("UPI: ", i10nm.upi_lines(status, UPI))
    if unit is Unit.M2M:
        return labelled("M2M: ", _m2m_lines(status))
    if unit is Unit.HBM_M2M:
        return labelled("HBM: M2M: ", _m2m_lines(status))
    if unit is Unit.IMC:
        return [*labelled("MemCtrl: ", grouped_lines(status, IMC)), *_dram_lines(record)]
    if unit is Unit.HBM_IMC:
        return [*labelled("HBM: MemCtrl: ", grouped_lines(status, IMC)), *_hbm_lines(record)]
    return []


def _pcu_lines(status: int) -> list[str]:
    shutdown = status & 0xFFFF == SHUTDOWN_MCACOD
    return [
        *code_lines(status, PCU_FIRMWARE),
        *code_lines(status, i10nm.PCU_HARDWARE),
        *code_lines(status, PCU_SHUTDOWN if shutdown else i10nm.PCU_CONTROLLER),
    ]


def _m2m_lines(status: int) -> list[str]:
    hbm = ["HBM Error"] if extract(status, 24, 25) == M2M_HBM else []
    return hbm + code_lines(status, M2M)


def _dram_lines(record: MceRecord) -> list[str]:
    if not record.status & MCI_STATUS_MISCV:
        return []
    return ddr_lines(read_dram(record.misc), record.status, ECC_MODES)


def _hbm_lines(record: MceRecord) -> list[str]:
    """As ddr_lines() for high-bandwidth memory, which names a pair of failed devices."""
    if not record.status & MCI_STATUS_MISCV:
        return []
    dram = read_dram(record.misc)
    lines = [dram.address_line]
    if has_failed_device(dram, record.status):
        lines.append(f"failed device: {extract(record.misc, *HBM_DEVICE):#x},{dram.device:#x}")
    lines.append(f"rank: {dram.rank:#x} subrank: {dram.subrank:#x}")
    if dram.ecc_mode in HBM_READS:
        lines.append(HBM_READS[dram.ecc_mode])
    return lines + transient_lines(dram)


def locate(record: MceRecord, channel: int | None) -> tuple[Location, ...]:
    """Channel 0-7 of DDR, 8-9 of HBM; with a valid MCi_MISC also rank, bank, row and column of DDR."""
    unit = BANKS.get(record.bank)
    if unit is Unit.HBM_IMC and channel is not None:
        return (Location(channel=FIRST_HBM_CHANNEL + record.bank - FIRST_HBM_BANK),)
    if unit is not Unit.IMC:
        return (Location(channel=channel),)
    number = record.bank - FIRST_IMC_BANK
    where = Location(
        memory_controller=number // CHANNELS_PER_CONTROLLER,
        channel=None if channel is None else number,
    )
    return (ddr_location(where, record, read_dram, DDRT_MSCODS),)


MODEL = Model(describe=describe, locate=locate)
