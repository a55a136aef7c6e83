# SPDX-License-Identifier: GPL-2.0-only
"""The kinds of banks that Scalable MCA CPUs (AMD Zen, Hygon) have, by MCA_IPID.

Sources: the Processor Programming References, section "MCA Banks", table
"MCA Bank to Block Mapping" and table "Hardware ID and McaType": 54945
(family 17h models 00h-0Fh), 55803 (17h 31h), 55898 (19h 01h), 55901 (19h
11h); Linux arch/x86/kernel/cpu/mce/amd.c, smca_hwid_mcatypes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mcelogd.decode.amd import smca_core, smca_fabric, smca_io
from mcelogd.decode.bits import extract
from mcelogd.event import CacheUnit, Kind

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcelogd.decode.amd.smca_code import Code


class BankType(NamedTuple):
    """One kind of bank: the manual's abbreviation and name, and its extended error codes.

    `kind` is that of codes whose row says none, `cache` the cache of errors
    whose error code names none.
    """

    short: str
    name: str
    kind: Kind
    codes: Mapping[int, Code]
    cache: CacheUnit | None = None


L1_DATA = CacheUnit("Data", 1, "Level-1", 1)
L1_INSTRUCTION = CacheUnit("Instruction", 0, "Level-1", 1)
OP_CACHE = CacheUnit("Instruction", 0, "Level-0", 0)
L2_UNIFIED = CacheUnit("Generic", 2, "Level-2", 2)
L3_UNIFIED = CacheUnit("Generic", 2, "Level-3", 3)
MEMORY_ATTACHED = CacheUnit("Generic", 2, "Memory-attached", 3)

LS = BankType("LS", "Load Store Unit", Kind.INTERNAL, smca_core.LS, L1_DATA)
LS_V2 = BankType("LS", "Load Store Unit", Kind.INTERNAL, smca_core.LS_V2, L1_DATA)
IF = BankType("IF", "Instruction Fetch Unit", Kind.INTERNAL, smca_core.IF, L1_INSTRUCTION)
IF_19H = IF._replace(codes=smca_core.IF_19H)
L2 = BankType("L2", "L2 Cache", Kind.CACHE, smca_core.L2, L2_UNIFIED)
DE = BankType("DE", "Decode Unit", Kind.INTERNAL, smca_core.DE, OP_CACHE)
EX = BankType("EX", "Execution Unit", Kind.INTERNAL, smca_core.EX)
FP = BankType("FP", "Floating Point Unit", Kind.INTERNAL, smca_core.FP)
L3 = BankType("L3", "L3 Cache", Kind.CACHE, smca_core.L3, L3_UNIFIED)

CS = BankType("CS", "Coherent Slave", Kind.BUS, smca_fabric.CS)
CS_V2 = BankType("CS", "Coherent Slave", Kind.BUS, smca_fabric.CS_V2)
CS_V2_1384 = CS_V2._replace(codes=smca_fabric.CS_V2_1384)
PIE = BankType("PIE", "Power, Interrupts, etc.", Kind.INTERNAL, smca_fabric.PIE)
UMC = BankType("UMC", "Unified Memory Controller", Kind.INTERNAL, smca_fabric.UMC)
UMC_HBM = UMC._replace(codes=smca_fabric.UMC_HBM)
UMC_V2 = BankType("UMC", "Unified Memory Controller v2", Kind.INTERNAL, smca_fabric.UMC_V2)
MA_LLC = BankType(
    "MALL", "Memory Attached Last Level Cache", Kind.INTERNAL, smca_fabric.MALL, MEMORY_ATTACHED
)
PB = BankType("PB", "Parameter Block", Kind.INTERNAL, smca_fabric.PB)

PSP = BankType("PSP", "Platform Security Processor", Kind.INTERNAL, smca_io.PSP)
PSP_V2 = BankType("PSP", "Platform Security Processor", Kind.INTERNAL, smca_io.PSP_V2)
SMU = BankType("SMU", "System Management Unit", Kind.INTERNAL, smca_io.SMU)
SMU_V2 = BankType("SMU", "System Management Unit", Kind.INTERNAL, smca_io.SMU_V2)
MP5 = BankType("MP5", "Microprocessor 5 Unit", Kind.INTERNAL, smca_io.MP5)
MPDMA = BankType("MPDMA", "MPDMA Unit", Kind.INTERNAL, smca_io.MPDMA)
NBIO = BankType("NBIO", "Northbridge IO Unit", Kind.IO, smca_io.NBIO)
PCIE = BankType("PCIE", "PCI Express Unit", Kind.IO, smca_io.PCIE)
PCIE_V2 = BankType("PCIE", "PCI Express Unit", Kind.IO, smca_io.PCIE_V2)
NBIF = BankType("NBIF", "NBIF Unit", Kind.IO, smca_io.NBIF)
SHUB = BankType("SHUB", "System Hub Unit", Kind.IO, smca_io.NBIF)
SATA = BankType("SATA", "SATA Unit", Kind.IO, smca_io.SATA)
USB = BankType("USB", "USB Unit", Kind.IO, smca_io.USB)
XGMI_PCS = BankType("XGMI_PCS", "Ext Global Memory Interconnect PCS Unit", Kind.BUS, smca_io.XGMI_PCS)
GMI_PCS = BankType("GMI_PCS", "Global Memory Interconnect PCS Unit", Kind.BUS, smca_io.GMI_PCS)
XGMI_PHY = BankType("XGMI_PHY", "Ext Global Memory Interconnect PHY Unit", Kind.BUS, smca_io.PHY)
WAFL_PHY = BankType("WAFL_PHY", "WAFL PHY Unit", Kind.BUS, smca_io.PHY)
GMI_PHY = BankType("GMI_PHY", "Global Memory Interconnect PHY Unit", Kind.BUS, smca_io.PHY)
USR_DP = BankType("USR_DP", "Ultra Short Reach Data Plane Controller", Kind.BUS, smca_io.USR_DP)
USR_CP = BankType("USR_CP", "Ultra Short Reach Control Plane Controller", Kind.BUS, smca_io.USR_CP)

UNLISTED: Final[Mapping[int, Code]] = {}
"""The extended error codes of banks that Linux names and no public manual describes."""
MPRAS = BankType("MPRAS", "Microprocessor for RAS", Kind.INTERNAL, UNLISTED)
MPDACC = BankType("MPDACC", "Microprocessor for Data Acceleration", Kind.INTERNAL, UNLISTED)
MPM = BankType("MPM", "Microprocessor Manageability Core", Kind.INTERNAL, UNLISTED)
MPASP = BankType("MPASP", "AMD Secure Processor", Kind.INTERNAL, UNLISTED)
MPART = BankType("MPART", "AMD Root of Trust Microprocessor", Kind.INTERNAL, UNLISTED)
DACC_FE = BankType("DACC_FE", "Data Acceleration Front-end", Kind.INTERNAL, UNLISTED)
DACC_BE = BankType("DACC_BE", "Data Acceleration Back-end", Kind.INTERNAL, UNLISTED)
EDDR5CMN = BankType("EDDR5CMN", "eDDR5 CMN Unit", Kind.INTERNAL, UNLISTED)
SSBDCI = BankType("SSBDCI", "Die to Die Interconnect", Kind.BUS, UNLISTED)
PCIE_PL = BankType("PCIE_PL", "PCIe Link", Kind.IO, UNLISTED)

BANK_TYPES: Mapping[tuple[int, int], BankType] = {
    (0x001, 0x00): SMU,
    (0x001, 0x01): SMU_V2,
    (0x001, 0x02): MP5,
    (0x001, 0x03): MPDMA,
    (0x005, 0x00): PB,
    (0x012, 0x00): MPRAS,
    (0x018, 0x00): NBIO,
    (0x02E, 0x00): CS,
    (0x02E, 0x01): PIE,
    (0x02E, 0x02): CS_V2,
    (0x02E, 0x04): MA_LLC,
    (0x046, 0x00): PCIE,
    (0x046, 0x01): PCIE_V2,
    (0x050, 0x00): XGMI_PCS,
    (0x05C, 0x00): SSBDCI,
    (0x06C, 0x00): NBIF,
    (0x080, 0x00): SHUB,
    (0x096, 0x00): UMC,
    (0x096, 0x01): UMC_V2,
    (0x0A8, 0x00): SATA,
    (0x0AA, 0x00): USB,
    (0x0B0, 0x00): LS,
    (0x0B0, 0x01): IF,
    (0x0B0, 0x02): L2,
    (0x0B0, 0x03): DE,
    (0x0B0, 0x05): EX,
    (0x0B0, 0x06): FP,
    (0x0B0, 0x07): L3,
    (0x0B0, 0x10): LS_V2,
    (0x0BE, 0x00): MPDACC,
    (0x0F9, 0x00): MPM,
    (0x0FD, 0x00): MPASP,
    (0x0FD, 0x01): MPASP,
    (0x0FF, 0x00): PSP,
    (0x0FF, 0x01): PSP_V2,
    (0x0FF, 0x02): MPART,
    (0x157, 0x00): DACC_FE,
    (0x164, 0x00): DACC_BE,
    (0x170, 0x00): USR_DP,
    (0x180, 0x00): USR_CP,
    (0x1E0, 0x00): EDDR5CMN,
    (0x1E1, 0x00): PCIE_PL,
    (0x241, 0x00): GMI_PCS,
    (0x259, 0x00): XGMI_PHY,
    (0x267, 0x00): WAFL_PHY,
    (0x269, 0x00): GMI_PHY,
}
"""(HardwareId, McaType) of MCA_IPID -> what the bank belongs to."""

CORE_BANKS: Mapping[int, BankType] = {0: LS, 1: IF, 2: L2, 3: DE, 5: EX, 6: FP}
"""The banks whose number is the same on all Zen CPUs. Bank 4 is reserved."""


class Ipid(NamedTuple):
    """The fields of MCA_IPID."""

    hwid: int
    mca_type: int
    instance: int
    instance_hi: int


def parse_ipid(ipid: int) -> Ipid:
    """MCA_IPID: HardwareId 43:32, McaType 63:48, InstanceId 31:0, InstanceIdHi 47:44."""
    return Ipid(extract(ipid, 32, 43), extract(ipid, 48, 63), extract(ipid, 0, 31), extract(ipid, 44, 47))


CS_CODES_MOVED: Final = ((0x19, 0x10, 0x1F), (0x19, 0x60, 0x7B), (0x19, 0xA0, 0xAF), (0x1A, 0x40, 0x4F))
"""(family, first model, last model) of erratum 1384 of the family 19h revision guides."""
HBM_ON_PACKAGE: Final = (0x19, 0x90, 0x9F)
"""The Instinct MI300A, whose memory controllers have codes and places of their own."""
FIRST_WITH_NEW_FETCH: Final = 0x19


def has_hbm(family: int, model: int) -> bool:
    """Whether the memory is HBM on the package."""
    return family == HBM_ON_PACKAGE[0] and HBM_ON_PACKAGE[1] <= model <= HBM_ON_PACKAGE[2]


def variant(bank: BankType, family: int, model: int) -> BankType:
    """The bank type as the CPU of that family and model has it: some reassigned codes."""
    if bank is CS_V2 and any(f == family and lo <= model <= hi for f, lo, hi in CS_CODES_MOVED):
        return CS_V2_1384
    if bank is UMC and has_hbm(family, model):
        return UMC_HBM
    if bank is IF and family >= FIRST_WITH_NEW_FETCH:
        return IF_19H
    return bank


def by_number(bank: int, family: int) -> BankType | None:
    """The type of a core's bank by its number; None for banks whose number says nothing."""
    found = CORE_BANKS.get(bank)
    return LS_V2 if found is LS and family >= FIRST_WITH_NEW_FETCH else found
