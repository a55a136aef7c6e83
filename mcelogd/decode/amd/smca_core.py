# SPDX-License-Identifier: GPL-2.0-only
"""Extended error codes (MCi_STATUS 21:16) of the banks in a Zen core and its L3.

Sources: the Processor Programming References, section "MCA Banks", tables
"MCA_STATUS_LS", "MCA_STATUS_IF" and so on, columns "Error Type" and
"ErrorCodeExt": 54945 (family 17h models 00h-0Fh), 55803 (17h 31h), 55898
(19h 01h), 55901 (19h 11h); Linux drivers/edac/mce_amd.c until 6.7.
"""

from __future__ import annotations

from mcelogd.decode.amd.smca_code import Code
from mcelogd.event import Kind

BUS, CACHE, INTERNAL, TLB = Kind.BUS, Kind.CACHE, Kind.INTERNAL, Kind.TLB

# Load-store unit of families 17h and 18h.
LS = {
    0x00: Code("LDQ", "Load queue parity error"),
    0x01: Code("STQ", "Store queue parity error"),
    0x02: Code("MAB", "Miss address buffer payload parity error"),
    0x03: Code("L1DTLB", "L1 data TLB parity error", TLB),
    0x04: Code("DcTagErr5", "Data cache tag error type 5", CACHE),
    0x05: Code("DcTagErr6", "Data cache tag error type 6", CACHE),
    0x06: Code("DcTagErr1", "Data cache tag error type 1", CACHE),
    0x07: Code("IntErrTyp1", "Internal error type 1"),
    0x08: Code("IntErrTyp2", "Internal error type 2"),
    0x09: Code("SystemReadDataErrorT0", "System read data error, thread 0", BUS),
    0x0A: Code("SystemReadDataErrorT1", "System read data error, thread 1", BUS),
    0x0B: Code("DcTagErr2", "Data cache tag error type 2", CACHE),
    0x0C: Code("DcDataErr1", "Data cache data error type 1, or poison consumption", CACHE),
    0x0D: Code("DcDataErr2", "Data cache data error type 2", CACHE),
    0x0E: Code("DcDataErr3", "Data cache data error type 3", CACHE),
    0x0F: Code("DcTagErr4", "Data cache tag error type 4", CACHE),
    0x10: Code("L2DTLB", "L2 data TLB parity error", TLB),
    0x11: Code("PDC", "PDC parity error", TLB),
    0x12: Code("DcTagErr3", "Data cache tag error type 3", CACHE),
    # The kernel and rasdaemon call this one type 5 too.
    0x13: Code("DcTagErr7", "Data cache tag error type 7", CACHE),
    0x14: Code("L2DataErr", "L2 fill data error", CACHE),
    0x15: Code("", "Store coalescing buffer (SCB) error, cache line state or address"),
    0x16: Code("", "Store coalescing buffer (SCB) data error, commit pipe 0"),
    0x17: Code("", "Store coalescing buffer (SCB) data error, commit pipe 1"),
    0x18: Code("", "Store coalescing buffer (SCB) data error, non-cacheable DRAM or I/O"),
    0x19: Code("", "System read data error in the write combining buffer", BUS),
    0x1A: Code("", "Hardware assertion"),
}

# Load-store unit of families 19h and 1Ah.
LS_V2 = {
    0x00: Code("DC_DATA_VICTIM", "Data cache ECC error, read by a probe or victimization", CACHE),
    0x01: Code("DC_DATA_LOAD", "Data cache ECC error or L2 poison, read by a load", CACHE),
    0x02: Code("DC_DATA_RMW", "Data cache ECC error, read-modify-write by a store", CACHE),
    0x03: Code(
        "DC_TAG_VICTIM",
        "Data cache tag ECC error or poison mismatch, read by a probe or victimization",
        CACHE,
    ),
    0x04: Code("DC_TAG_LOAD", "Data cache tag ECC error or poison mismatch, read by a load", CACHE),
    0x05: Code("DC_TAG_STORE", "Data cache tag ECC error or poison mismatch, read by a store", CACHE),
    0x06: Code("DC_DATA_LOAD_2", "Data cache (EMEM) ECC error, read by a load", CACHE),
    0x07: Code("DC_DATA_RMW_2", "Data cache (EMEM) ECC error, read-modify-write by a store", CACHE),
    0x08: Code("L1DTLB", "L1 data TLB parity error", TLB),
    0x09: Code("L2DTLB", "L2 data TLB parity error", TLB),
    0x0A: Code("PWC", "Page walk cache (PWC) parity error", TLB),
    0x0B: Code("STQ", "Store queue (STQ) parity error"),
    0x0C: Code("LDQ", "Load queue (LDQ) parity error"),
    0x0D: Code("MAB", "Miss address buffer (MAB) parity error"),
    0x0E: Code("SCB_STATE", "Store coalescing buffer (SCB) parity error, state field"),
    0x0F: Code("SCB_ADDR", "Store coalescing buffer (SCB) parity error, address field"),
    0x10: Code("SCB_DATA", "Store coalescing buffer (SCB) parity error, data field"),
    0x11: Code("WCB", "Write coalescing buffer (WCB) parity error"),
    0x12: Code("SCB_POISON", "Poisoned line in the store coalescing buffer (SCB)"),
    0x13: Code("SystemReadDataErrorLoad", "System read data error, load", BUS),
    0x14: Code("SystemReadDataErrorScb", "System read data error, store coalescing buffer (SCB)", BUS),
    0x15: Code("SystemReadDataErrorWcb", "System read data error, write coalescing buffer (WCB)", BUS),
    0x16: Code("HWA", "Hardware assertion"),
    0x17: Code("STORE_DATA_OTHER", "Parity error in STLF, SCB EMEM, store mask or SRB store data"),
}

IF = {
    0x00: Code("OcUtagParity", "Op cache microtag parity error, probe port", CACHE),
    0x01: Code("TagMultiHit", "Instruction cache microtag or full tag multi-hit", CACHE),
    0x02: Code("TagParity", "Instruction cache full tag parity error", CACHE),
    0x03: Code("DataParity", "Instruction cache data array parity error", CACHE),
    0x04: Code("DqParity", "Decoupling queue (PRQ) parity error"),
    0x05: Code("L0ItlbParity", "L0 instruction TLB parity error", TLB),
    0x06: Code("L1ItlbParity", "L1 instruction TLB parity error", TLB),
    0x07: Code("L2ItlbParity", "L2 instruction TLB parity error", TLB),
    0x08: Code("BpqSnpParT0", "BPQ snoop parity error, thread 0"),
    0x09: Code("BpqSnpParT1", "BPQ snoop parity error, thread 1"),
    0x0A: Code("L1BtbMultiHit", "L1 branch target buffer (BTB) multi-hit"),
    0x0B: Code("L2BtbMultiHit", "L2 branch target buffer (BTB) multi-hit"),
    0x0C: Code("L2RespPoison", "Poison in an L2 cache response", CACHE),
    0x0D: Code("SystemReadDataError", "System read data error", BUS),
    0x0E: Code("HwAssert", "Hardware assertion"),
    0x0F: Code("L1TlbMultiHit", "L1 TLB multi-hit", TLB),
    0x10: Code("L2TlbMultiHit", "L2 TLB multi-hit", TLB),
    0x11: Code("BsrParity", "BSR parity error"),
    0x12: Code("CtMceError", "CT machine check"),
}

# From family 19h on: the branch prediction queue is no more.
IF_19H = {
    **{code: row for code, row in IF.items() if code not in (0x05, 0x08)},
    0x09: Code("IcUtagParity", "Instruction cache microtag parity error", CACHE),
}

L2 = {
    0x00: Code("MultiHit", "L2 tag multiple-way hit"),
    0x01: Code("Tag", "L2 tag or state array ECC error"),
    0x02: Code("Data", "L2 data array ECC error"),
    0x03: Code("Hwa", "Hardware assertion", INTERNAL),
    0x04: Code("", "SDP read response parity error", BUS),
    0x05: Code("", "Error initiated by a programmable state machine", INTERNAL),
}

DE = {
    0x00: Code("OcTag", "Micro-op cache tag array parity error", CACHE),
    0x01: Code("OcDat", "Micro-op cache data array parity error", CACHE),
    0x02: Code("Ibq", "Instruction buffer (IBB) register file parity error"),
    0x03: Code("UopQ", "Micro-op queue parity error"),
    0x04: Code("Idq", "Instruction dispatch queue parity error"),
    0x05: Code("Faq", "Fetch address FIFO parity error"),
    0x06: Code("UcDat", "Patch RAM data parity error"),
    0x07: Code("UcSeq", "Patch RAM sequencer parity error"),
    0x08: Code("OCBQ", "Micro-op fetch queue parity error"),
    0x09: Code("HwAssertMca", "Hardware assertion"),
}

EX = {
    0x00: Code("WDT", "Watchdog timeout"),
    0x01: Code("PRF", "Physical register file parity error"),
    0x02: Code("FRF", "Flag register file parity error"),
    0x03: Code("IDRF", "Immediate displacement register file parity error"),
    0x04: Code("PLDAG", "Address generator payload parity error"),
    0x05: Code("PLDAL", "EX payload parity error"),
    0x06: Code("CHKPTQ", "Checkpoint queue parity error"),
    0x07: Code("RETDISP", "Retire dispatch queue parity error"),
    0x08: Code("STATQ", "Retire status queue parity error"),
    0x09: Code("SQ", "Scheduler queue parity error"),
    0x0A: Code("BBQ", "Branch buffer queue parity error"),
    0x0B: Code("HWA", "Hardware assertion"),
    0x0C: Code("SPECMAP", "Spec map parity error"),
    0x0D: Code("RETMAP", "Retire map parity error"),
}

FP = {
    0x00: Code("PRF", "Physical register file parity error"),
    0x01: Code("FL", "Free list parity error"),
    0x02: Code("SCH", "Schedule queue parity error"),
    0x03: Code("NSQ", "NSQ parity error"),
    0x04: Code("RQ", "Retire queue parity error"),
    0x05: Code("SRF", "Status register file parity error"),
    0x06: Code("HWA", "Hardware assertion"),
    0x07: Code("", "Physical K mask register file (KRF) parity error"),
}

L3 = {
    0x00: Code("ShadowTag", "Shadow tag macro ECC error"),
    0x01: Code("MultiHitShadowTag", "Shadow tag macro multi-way hit"),
    0x02: Code("Tag", "L3 tag ECC error"),
    0x03: Code("MultiHitTag", "L3 tag multi-way hit"),
    0x04: Code("DataArray", "L3 data ECC error"),
    0x05: Code("SdpParity", "SDP parity error from XI", BUS),
    0x06: Code("XiVictimQueue", "L3 victim queue error"),
    0x07: Code("Hwa", "Hardware assertion", INTERNAL),
    0x08: Code("", "Poison created for a parity error in the XI WCB"),
    0x09: Code("", "Error initiated by DSM action", INTERNAL),
}
