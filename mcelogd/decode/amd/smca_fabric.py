# SPDX-License-Identifier: GPL-2.0-only
"""Extended error codes (MCi_STATUS 21:16) of the data fabric's and memory controllers' banks.

Sources: the Processor Programming References, section "MCA Banks", tables
"MCA_STATUS_CS", "MCA_STATUS_PIE", "MCA_STATUS_UMC" and so on, columns "Error
Type" and "ErrorCodeExt": 54945 (family 17h models 00h-0Fh), 55803 (17h 31h),
55898 (19h 01h), 55901 (19h 11h); AMD's error tables for Instinct MI300; Linux
drivers/edac/mce_amd.c until 6.7.
"""

from __future__ import annotations

from mcelogd.decode.amd.smca_code import Code
from mcelogd.event import Kind

BUS, CACHE, INTERNAL, MEMORY = Kind.BUS, Kind.CACHE, Kind.INTERNAL, Kind.MEMORY

_CS_COMMON = {
    0x00: Code("FTI_ILL_REQ", "Illegal request"),
    0x01: Code("FTI_ADDR_VIOL", "Address violation"),
    0x02: Code("FTI_SEC_VIOL", "Security violation"),
    0x03: Code("FTI_ILL_RSP", "Illegal response"),
    0x04: Code("FTI_RSP_NO_MTCH", "Unexpected response"),
    0x05: Code("FTI_PAR_ERR", "Request or probe parity error"),
    0x06: Code("SDP_PAR_ERR", "Read response parity error"),
    0x07: Code("ATM_PAR_ERR", "Atomic request parity error"),
}
_SPF_ECC_ERR = Code("SPF_ECC_ERR", "Probe filter ECC error", INTERNAL)
_SPF_PRT_ERR = Code("SPF_PRT_ERR", "Probe filter protocol error")
_SDP_RSP_NO_MTCH = Code("SDP_RSP_NO_MTCH", "SDP read response without a match in the CS queue")
_SDP_UNEXP_RETRY = Code("SDP_UNEXP_RETRY", "SDP read response with an unexpected RETRY")
_CNTR_OVFL = Code("CNTR_OVFL", "Counter overflow", INTERNAL)
_CNTR_UNFL = Code("CNTR_UNFL", "Counter underflow", INTERNAL)
_CS_NO_DATA = {
    0x0E: Code("FTI_ND_ILL_REQ", "Illegal request on the no data channel"),
    0x0F: Code("FTI_ND_ADDR_VIOL", "Address violation on the no data channel"),
    0x10: Code("FTI_ND_SEC_VIOL", "Security violation on the no data channel"),
    0x11: Code("HWA", "Hardware assertion", INTERNAL),
}

CS = {**_CS_COMMON, 0x08: _SPF_ECC_ERR}
CS_V2 = {
    **_CS_COMMON,
    0x08: _SDP_RSP_NO_MTCH,
    0x09: _SPF_PRT_ERR,
    0x0A: _SPF_ECC_ERR,
    0x0B: _SDP_UNEXP_RETRY,
    0x0C: _CNTR_OVFL,
    0x0D: _CNTR_UNFL,
    **_CS_NO_DATA,
    0x12: Code("ST_PRT_ERR", "Shadow tag array protocol error"),
    0x13: Code("ST_ECC_ERR", "Shadow tag ECC error", INTERNAL),
    0x14: Code("ST_TXN_ERR", "Shadow tag transaction error"),
}
# The same errors, numbered otherwise by erratum 1384.
CS_V2_1384 = {
    **_CS_COMMON,
    0x08: _SDP_RSP_NO_MTCH,
    0x09: _SDP_UNEXP_RETRY,
    0x0A: _CNTR_OVFL,
    0x0B: _CNTR_UNFL,
    0x0C: _SPF_PRT_ERR,
    0x0D: _SPF_ECC_ERR,
    **_CS_NO_DATA,
}

PIE = {
    0x00: Code("HW_ASSERT", "Hardware assertion"),
    0x01: Code("CSW", "Register security violation"),
    0x02: Code("GMI", "Link error (GMI or xGMI)", BUS),
    0x03: Code("FTI_DAT_STAT", "Poison data consumption by an internal register"),
    0x04: Code("DEF", "Deferred error in the data fabric"),
    0x05: Code("WDT", "Watchdog timeout"),
    0x06: Code("CNLI", "SRAM ECC error in the CNLI block"),
    0x07: Code("RSLVFCI", "Register access during data fabric C-state"),
    0x08: Code("", "DSM error"),
}

UMC = {
    0x00: Code("DramEccErr", "DRAM ECC error", MEMORY),
    0x01: Code("WriteDataPoisonErr", "Poison data written to DRAM"),
    0x02: Code("SdpParityErr", "SDP parity error"),
    0x03: Code("ApbErr", "Advanced peripheral bus error"),
    0x04: Code("AddressCommandParityErr", "DRAM address/command parity error", MEMORY),
    0x05: Code("WriteDataCrcErr", "DRAM write data CRC error", MEMORY),
    0x06: Code("DcqSramEccErr", "DCQ SRAM ECC error"),
    0x07: Code("AesSramEccErr", "AES SRAM ECC error"),
    0x08: Code("", "ECS row error", MEMORY),
    0x09: Code("EcsErr", "ECS error", MEMORY),
    0x0A: Code("ThrttlErr", "Throttling error"),
    0x0B: Code("RdCrcErr", "DRAM read CRC error", MEMORY),
    0x10: Code("", "RFM SRAM ECC error"),
}
"""Family 19h models 90h-9Fh have UMC_HBM instead."""
UMC_HBM = {
    0x00: Code("DramEccErr", "DRAM on-die ECC error", MEMORY),
    0x01: Code("WriteDataPoisonErr", "Poison data written to DRAM"),
    0x02: Code("SdpParityErr", "SDP parity error"),
    0x04: Code("AddressCommandParityErr", "HBM address/command parity error", MEMORY),
    0x05: Code("WriteDataCrcErr", "HBM write data parity error", MEMORY),
    0x06: Code("SramEccErr", "Consolidated SRAM ECC error"),
    0x09: Code("EcsErr", "Rdb SRAM ECC error"),
    0x0A: Code("ThrttlErr", "Thermal throttling"),
    0x0B: Code("RdCrcErr", "HBM read data parity error", MEMORY),
    0x0D: Code("MpFwErr", "UMC firmware error"),
    0x0E: Code("MpParErr", "SRAM parity error"),
    0x0F: Code("", "HBM CRC error", MEMORY),
}
UMC_V2 = {
    0x00: Code("", "DRAM ECC error", MEMORY),
    0x01: Code("", "Data poison error"),
    0x02: Code("", "SDP parity error"),
    0x04: Code("", "DRAM address/command parity error", MEMORY),
    0x05: Code("", "DRAM write data parity error", MEMORY),
    0x06: Code("", "DCQ SRAM ECC error"),
    0x08: Code("", "DRAM read data parity error", MEMORY),
    0x09: Code("", "Rdb SRAM ECC error"),
    0x0A: Code("", "RdRsp SRAM ECC error"),
    0x0B: Code("", "LM32 MP error"),
}

MALL = {
    0x00: _CNTR_OVFL,
    0x01: _CNTR_UNFL,
    0x02: Code("CSDP_PAR_ERR", "Write data parity error"),
    0x03: Code("USDP_PAR_ERR", "Read response parity error"),
    0x04: Code("CACHE_TAG0_ERR", "Cache tag ECC error, macro 0", CACHE),
    0x05: Code("CACHE_TAG1_ERR", "Cache tag ECC error, macro 1", CACHE),
    0x06: Code("CACHE_DAT_ERR", "Cache data ECC error", CACHE),
}

PB = {0x00: Code("EccError", "Parameter block RAM ECC error")}
