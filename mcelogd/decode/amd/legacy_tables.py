# SPDX-License-Identifier: GPL-2.0-only
"""What errors of AMD K8 and families 10h to 16h mean: a table for each kind of bank.

Sources: the BIOS and Kernel Developer's Guides, chapters on machine check,
tables "... Error Signatures" or "MCi_STATUS Error Codes" of each bank: 32559
(K8), 31116 (family 10h), 41256 (11h), 41131 (12h), 43170 (14h), 42301 and
49125 (15h), 48751 (16h).
"""

from __future__ import annotations

from mcelogd.decode.amd.codes import Form
from mcelogd.decode.amd.rules import (
    ANY,
    DATA,
    DRD,
    DWR,
    EV,
    GEN,
    INSN,
    IO,
    IRD,
    L1,
    L2,
    LG,
    MEM,
    RD,
    SNP,
    Rule,
)
from mcelogd.event import Kind

BUS, CACHE, INTERNAL, TLB = Kind.BUS, Kind.CACHE, Kind.INTERNAL, Kind.TLB

# Bank 0: data cache (K8 to 14h, 16h), load-store unit (15h).
DATA_TLB = (
    Rule("{level} data TLB parity error", TLB, Form.TLB, xec=(0,), which=(DATA,)),
    Rule("{level} data TLB locked miss", TLB, Form.TLB, xec=(2,), which=(DATA,)),
    Rule("{level} data TLB multiple hit", TLB, Form.TLB, which=(DATA,)),
)
DATA_CACHE_12H = (
    *DATA_TLB,
    Rule("Line fill from L2", CACHE, Form.MEM, level=(L2,)),
    Rule("Data or tag error, {request}", CACHE, Form.MEM, level=(L1,)),
)
DATA_CACHE_10H = (
    Rule("Data scrub", CACHE, Form.MEM, level=(L1,), request=(GEN,)),
    *DATA_CACHE_12H,
)
DATA_CACHE_K8 = (Rule("System line fill", BUS, Form.BUS), *DATA_CACHE_10H)
DATA_CACHE_14H = (
    *DATA_TLB,
    Rule("Data or tag parity error, load or prefetch", CACHE, Form.MEM, ANY, (DATA,), (L1,), (DRD,)),
    Rule("Data or tag parity error, store", CACHE, Form.MEM, ANY, (DATA,), (L1,), (DWR,)),
    Rule("Copy-back parity error on a tag miss", CACHE, Form.MEM, ANY, (DATA,), (L1,), (EV,)),
    Rule("Tag parity error, snoop", CACHE, Form.MEM, ANY, (DATA,), (L1,), (SNP,)),
    Rule("System read data error, TLB reload", BUS, Form.BUS, ANY, (MEM, IO), (LG,), (RD,)),
    Rule("System read data error, store", BUS, Form.BUS, ANY, (MEM, IO), (LG,), (DWR,)),
    Rule("System read data error, load", BUS, Form.BUS, ANY, (MEM, IO), (LG,), (DRD,)),
)
LOAD_STORE_15H = (
    *DATA_TLB,
    Rule("Data array access error", CACHE, Form.MEM, xec=(0x00,)),
    Rule("Uncorrected error in a line fill from L2 or northbridge", CACHE, Form.MEM, xec=(0x01,)),
    Rule("Store queue (STQ) access error", INTERNAL, Form.MEM, xec=(0x02, 0x11)),
    Rule("Store coalescing buffer (SCB) access error", INTERNAL, Form.MEM, xec=(0x03,)),
    Rule("Tag error", CACHE, Form.MEM, xec=(0x10,)),
    Rule("Load queue (LDQ) access error", INTERNAL, Form.MEM, xec=(0x12,)),
    Rule("System read data error", BUS, Form.BUS, xec=(0,)),
    Rule("Internal error condition type {xec}", INTERNAL, Form.BUS),
    Rule("Hardware assertion", INTERNAL, Form.INT),
)

# Bank 1: instruction cache, instruction fetch unit (15h).
INSTRUCTION_TLB = (
    Rule("{level} instruction TLB parity error", TLB, Form.TLB, xec=(0,)),
    Rule("{level} instruction TLB multiple hit", TLB, Form.TLB),
)
INSTRUCTION_CACHE_K8 = (
    *INSTRUCTION_TLB,
    Rule("Northbridge data read", BUS, Form.BUS),
    Rule("Line fill from L2", CACHE, Form.MEM, level=(L2,)),
    Rule("Parity error in a data load", CACHE, Form.MEM, level=(L1,), request=(IRD,)),
    Rule("Copy-back parity or victim error", CACHE, Form.MEM, level=(L1,), request=(EV,)),
    Rule("Tag error, snoop", CACHE, Form.MEM, level=(L1,), request=(SNP,)),
)
INSTRUCTION_CACHE_14H = (
    *INSTRUCTION_TLB,
    Rule("Northbridge data read", BUS, Form.BUS),
    Rule("Data or tag array parity error on a tag hit", CACHE, Form.MEM, ANY, (INSN,), ANY, (IRD,)),
    Rule("Tag error, snoop or victimization", CACHE, Form.MEM, ANY, (INSN,), ANY, (SNP,)),
    Rule("Tag parity error, victim castout", CACHE, Form.MEM, (0,), (INSN,)),
    Rule("Microcode patch RAM parity error", INTERNAL, Form.MEM, (2,), (INSN,)),
    Rule("Hardware assertion", INTERNAL, Form.INT),
)
INSTRUCTION_FETCH_15H = (
    *INSTRUCTION_TLB,
    Rule("Northbridge data read", BUS, Form.BUS),
    Rule("Uncorrected error in a demand line fill from L2", CACHE, Form.MEM, xec=(0x00,)),
    Rule("Parity error in a data load", CACHE, Form.MEM, xec=(0x01,)),
    Rule("Valid bit parity error", CACHE, Form.MEM, xec=(0x02,)),
    Rule("Main tag parity error", CACHE, Form.MEM, xec=(0x03,)),
    Rule("Prediction queue parity error", INTERNAL, Form.MEM, xec=(0x04,)),
    Rule("PFB data or address parity error", INTERNAL, Form.MEM, xec=(0x05,)),
    Rule("Branch status register parity error", INTERNAL, Form.MEM, xec=(0x06,)),
    Rule("PFB promotion address error", INTERNAL, Form.MEM, xec=(0x07,)),
    Rule("Tag error, probe or victimization", CACHE, Form.MEM, xec=(0x08,)),
    Rule("Probe tag valid bit parity error", CACHE, Form.MEM, xec=(0x09,)),
    Rule("PFB non-cacheable bit parity error", INTERNAL, Form.MEM, xec=(0x0A,)),
    Rule("PFB valid bit parity error", INTERNAL, Form.MEM, xec=(0x0D,)),
    Rule("Microcode patch buffer parity error", INTERNAL, Form.MEM, xec=(0x10,)),
    Rule("Decoder micro-op queue parity error", INTERNAL, Form.MEM, xec=(0x11,)),
    Rule("Decoder instruction buffer parity error", INTERNAL, Form.MEM, xec=(0x12,)),
    Rule("Decoder predecode buffer parity error", INTERNAL, Form.MEM, xec=(0x13,)),
    Rule("Decoder fetch address FIFO parity error", INTERNAL, Form.MEM, xec=(0x14,)),
    Rule("Decoder dispatch micro-op queue parity error", INTERNAL, Form.MEM, xec=(0x15,)),
    Rule("Hardware assertion", INTERNAL, Form.INT),
)

# Bank 2: bus unit (K8 to 14h), combined unit (15h), L2 cache (16h).
BUS_UNIT = (
    Rule("Write data buffer error", INTERNAL, xec=(1,)),
    Rule("Victim data buffer error", INTERNAL, xec=(3,)),
    Rule("L2 tag error, {request}", CACHE, Form.MEM, xec=(2,)),
    Rule("Page descriptor cache or guest TLB error, {transaction}", TLB, Form.TLB, xec=(0,)),
    Rule(
        "Parity or ECC error in data read from the northbridge, {request}, {participation}",
        BUS,
        Form.BUS,
        xec=(0,),
    ),
    Rule("Copy-back error, {request}", CACHE, Form.MEM, xec=(0,), request=range(7, 16)),
    Rule("Parity or ECC error in L2 data, {request}", CACHE, Form.MEM, xec=(0,), request=(GEN, RD)),
)
COMBINED_UNIT_15H = (
    Rule("TLB data parity error", TLB, Form.TLB, xec=(0,)),
    Rule("Poison in a TLB fill", TLB, Form.TLB, xec=(1,)),
    Rule("Error in a read from the northbridge", BUS, Form.BUS, xec=(0, 1, 2)),
    Rule("ECC error in a data fill", CACHE, Form.MEM, xec=(0x04,)),
    Rule("Parity error in an instruction fill", CACHE, Form.MEM, xec=(0x05,)),
    Rule("Prefetcher request FIFO parity error", INTERNAL, Form.MEM, xec=(0x06,)),
    Rule("PRQ address parity error", INTERNAL, Form.MEM, xec=(0x07,)),
    Rule("PRQ data parity error", INTERNAL, Form.MEM, xec=(0x08,)),
    Rule("Write coalescing cache (WCC) tag ECC error", CACHE, Form.MEM, xec=(0x09,)),
    Rule("Write coalescing cache (WCC) data ECC error", CACHE, Form.MEM, xec=(0x0A,)),
    Rule("WCB data parity error", INTERNAL, Form.MEM, xec=(0x0B,)),
    Rule("VB data ECC or parity error", INTERNAL, Form.MEM, xec=(0x0C,)),
    Rule("L2 tag ECC error", CACHE, Form.MEM, xec=(0x10,)),
    Rule("Hard L2 tag ECC error", CACHE, Form.MEM, xec=(0x11,)),
    Rule("Multiple hits on an L2 tag", CACHE, Form.MEM, xec=(0x12,)),
    Rule("XAB parity error", INTERNAL, Form.MEM, xec=(0x13,)),
    Rule("PRB address parity error", INTERNAL, Form.MEM, xec=(0x14,)),
    Rule("Hardware assertion", INTERNAL, Form.INT),
)
_BUFFERS, _TAGS = (0x04, 0x05), (0x09, 0x0A, 0x0B, 0x0D, 0x0E, 0x0F)
_DATA, _ATTRIBUTES = (*range(0x10, 0x1A), 0x1B), (0x1C, 0x1D, 0x1F)
L2_CACHE_16H = (
    Rule("IBUFF parity error", INTERNAL, Form.MEM, xec=_BUFFERS, request=(RD,)),
    Rule("OBUFF parity error", INTERNAL, Form.MEM, xec=_BUFFERS),
    Rule("ECC error in an L2 tag, bank request", CACHE, Form.MEM, xec=_TAGS, request=(GEN,)),
    Rule("ECC error in an L2 tag, probe", CACHE, Form.MEM, xec=_TAGS, request=(SNP,)),
    Rule("ECC error in an L2 tag, fill", CACHE, Form.MEM, xec=_TAGS),
    Rule("ECC error in L2 data, hit", CACHE, Form.MEM, xec=(0x10, 0x14, 0x18), request=(RD,)),
    Rule("ECC error in L2 data, attribute", CACHE, Form.MEM, xec=_DATA, request=(GEN,)),
    Rule("ECC error in L2 data, victim", CACHE, Form.MEM, xec=_DATA, request=(EV,)),
    Rule("ECC error in L2 data, fill", CACHE, Form.MEM, xec=_DATA),
    Rule("Parity error in L2 attribute bits, hit", CACHE, Form.MEM, xec=_ATTRIBUTES, request=(RD,)),
    Rule("Parity error in L2 attribute bits, attribute", CACHE, Form.MEM, xec=_ATTRIBUTES, request=(GEN,)),
    Rule("Parity error in L2 attribute bits, fill", CACHE, Form.MEM, xec=_ATTRIBUTES),
)

# Bank 3: load-store unit (K8 to 12h). Later ones have no such bank.
LOAD_STORE = (Rule("System read data error, {request}", BUS, Form.BUS, xec=(0,), request=(DRD, DWR)),)

# Bank 4: northbridge. The extended error code alone decides, of five bits.
LINKS = (
    Rule("HyperTransport CRC error", BUS, xec=(0x01,)),
    Rule("HyperTransport sync packets", BUS, xec=(0x02,)),
    Rule("HyperTransport master abort", BUS, xec=(0x03,)),
    Rule("HyperTransport target abort", BUS, xec=(0x04,)),
    Rule("GART table walk met an invalid entry", Kind.IO, xec=(0x05,)),
    Rule("Unsupported atomic read-modify-write from an I/O link", Kind.IO, xec=(0x06,)),
    Rule("Watchdog timeout", BUS, xec=(0x07,)),
    Rule("DMA exclusion vector (DEV) error", Kind.IO, xec=(0x09,)),
    Rule("DRAM address or command parity error", Kind.MEMORY, xec=(0x0D,)),
)
NORTHBRIDGE_11H = (
    *LINKS,
    Rule("HyperTransport data error", BUS, xec=(0x0A,)),
    Rule("Protocol error (link, L3 or probe filter)", BUS, xec=(0x0B,)),
    Rule("Northbridge array parity error", INTERNAL, xec=(0x0C,)),
    Rule("HyperTransport retry", BUS, xec=(0x0E,)),
    Rule("GART table walk data error", Kind.IO, Form.TLB, xec=(0x0F,)),
    Rule("DMA exclusion vector (DEV) table walk data error", Kind.IO, Form.BUS, xec=(0x0F,)),
    Rule("L3 cache data ECC error", CACHE, xec=(0x1C,)),
    Rule("L3 cache tag error", CACHE, xec=(0x1D,)),
    Rule("L3 cache LRU parity error", CACHE, xec=(0x1E,)),
    Rule("Probe filter directory ECC error", INTERNAL, xec=(0x1F,)),
)
DRAM_ECC = (
    Rule("DRAM ECC error", Kind.MEMORY, xec=(0x00,)),
    Rule("DRAM ECC error (Chipkill)", Kind.MEMORY, xec=(0x08,)),
)
NORTHBRIDGE_K8 = (*DRAM_ECC, *LINKS)
NORTHBRIDGE = (*DRAM_ECC, *NORTHBRIDGE_11H)
NORTHBRIDGE_15H = (*NORTHBRIDGE, Rule("Compute unit data error", INTERNAL, xec=(0x19,)))

# Bank 5: fixed-issue reorder buffer (10h, 12h, 14h), execution unit (15h, 16h).
EXECUTION = (
    Rule("Hardware assertion", INTERNAL, Form.INT),
    Rule("CPU watchdog timer expired", INTERNAL, xec=(0x0,)),
    Rule("Wakeup array destination tag parity error", INTERNAL, xec=(0x1,)),
    Rule("AG payload array parity error", INTERNAL, xec=(0x2,)),
    Rule("EX payload array parity error", INTERNAL, xec=(0x3,)),
    Rule("IDRF array parity error", INTERNAL, xec=(0x4,)),
    Rule("Retire dispatch queue parity error", INTERNAL, xec=(0x5,)),
    Rule("Mapper checkpoint array parity error", INTERNAL, xec=(0x6,)),
    Rule("Physical register file parity error, EX0 port", INTERNAL, xec=(0x7,)),
    Rule("Physical register file parity error, EX1 port", INTERNAL, xec=(0x8,)),
    Rule("Physical register file parity error, AG0 port", INTERNAL, xec=(0x9,)),
    Rule("Physical register file parity error, AG1 port", INTERNAL, xec=(0xA,)),
    Rule("Flag register file parity error", INTERNAL, xec=(0xB,)),
    Rule("Decoder (DE) error", INTERNAL, xec=(0xC,)),
    Rule("Retire status queue parity error", INTERNAL, xec=(0xD,)),
)

# Bank 6: floating point unit (15h, 16h).
FLOATING_POINT = (
    Rule("Hardware assertion", INTERNAL, xec=(0x0,)),
    Rule("Free list parity error", INTERNAL, xec=(0x1,)),
    Rule("Physical register file parity error", INTERNAL, xec=(0x2,)),
    Rule("Retire queue parity error", INTERNAL, xec=(0x3,)),
    Rule("Scheduler table parity error", INTERNAL, xec=(0x4,)),
    Rule("Status register file parity error", INTERNAL, xec=(0x5,)),
)
