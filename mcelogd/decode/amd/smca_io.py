# SPDX-License-Identifier: GPL-2.0-only
"""Extended error codes (MCi_STATUS 21:16) of microcontrollers', I/O and link banks.

Sources: the Processor Programming References, section "MCA Banks", tables
"MCA_STATUS_PSP", "MCA_STATUS_SMU", "MCA_STATUS_NBIO" and so on, columns
"Error Type" and "ErrorCodeExt": 54945 (family 17h models 00h-0Fh), 55803 (17h
31h), 55898 (19h 01h), 55901 (19h 11h); AMD's error tables for Instinct MI300;
Linux drivers/edac/mce_amd.c until 6.7.
"""

from __future__ import annotations

from mcelogd.decode.amd.smca_code import Code


def _rows(*texts: str, first: int = 0) -> dict[int, Code]:
    """Codes in a row without a public mnemonic, from `first` on; an empty text stands for a reserved one."""
    return {code: Code("", text) for code, text in enumerate(texts, first) if text}


_CACHES = (
    "Data cache bank A ECC or parity error",
    "Data cache bank B ECC or parity error",
    "Data tag cache bank A ECC or parity error",
    "Data tag cache bank B ECC or parity error",
    "Instruction cache bank A ECC or parity error",
    "Instruction cache bank B ECC or parity error",
    "Instruction tag cache bank A ECC or parity error",
    "Instruction tag cache bank B ECC or parity error",
)
"""What AMD's microcontrollers have, in this order."""

PSP = _rows("PSP RAM ECC or parity error")
PSP_V2 = {
    0x00: Code("Mp0HighSramError", "High SRAM ECC or parity error"),
    0x01: Code("Mp0LowSramError", "Low SRAM ECC or parity error"),
    0x02: Code("Mp0IDataBank0Error", "Instruction cache bank 0 ECC or parity error"),
    0x03: Code("Mp0IDataBank1Error", "Instruction cache bank 1 ECC or parity error"),
    0x04: Code("Mp0ITagRam0Error", "Instruction tag RAM 0 parity error"),
    0x05: Code("Mp0ITagRam1Error", "Instruction tag RAM 1 parity error"),
    0x06: Code("Mp0DDataBank0Error", "Data cache bank 0 ECC or parity error"),
    0x07: Code("Mp0DDataBank1Error", "Data cache bank 1 ECC or parity error"),
    0x08: Code("Mp0DDataBank2Error", "Data cache bank 2 ECC or parity error"),
    0x09: Code("Mp0DDataBank3Error", "Data cache bank 3 ECC or parity error"),
    0x0A: Code("Mp0DTagBank0Error", "Data tag bank 0 parity error"),
    0x0B: Code("Mp0DTagBank1Error", "Data tag bank 1 parity error"),
    0x0C: Code("Mp0DTagBank2Error", "Data tag bank 2 parity error"),
    0x0D: Code("Mp0DTagBank3Error", "Data tag bank 3 parity error"),
    0x0E: Code("Mp0DDirtyRamError", "Dirty data RAM parity error"),
    0x0F: Code("Mp0TlbBank0Error", "TLB bank 0 parity error"),
    0x10: Code("Mp0TlbBank1Error", "TLB bank 1 parity error"),
    0x11: Code("Mp0SHubIfRdBufError", "System hub read buffer ECC or parity error"),
    **_rows(
        "Fuse IP SRAM ECC or parity error",
        "PCRU fuse SRAM ECC or parity error",
        "SIB SRAM parity error",
        "mpASP SECEMC error",
        "mpASP A5 hang",
        "SIB watchdog (WDT) error",
        first=0x12,
    ),
    0x3A: Code("PoisonDataConsumption", "Poison data consumption"),
    0x3B: Code("SRAM_EDC", "SRAM error detected"),
    0x3C: Code("SMN_Parity", "SMN parity error"),
    0x3D: Code("SMN_Timeout", "SMN timeout"),
    0x3F: Code("WAFL", "WAFL link error"),
}

SMU = _rows("SMU RAM ECC or parity error")
SMU_V2 = {
    **_rows("High SRAM ECC or parity error", "Low SRAM ECC or parity error", *_CACHES),
    0x0A: Code("", "System hub read buffer ECC or parity error"),
    0x0B: Code("PhyRamEccError", "PHY RAM ECC error"),
    0x3A: Code("GFX_IP_Correctable_Error", "Correctable error of a GFX sub-IP"),
    0x3B: Code("GFX_IP_Fatal_Error", "Fatal error of a GFX sub-IP"),
    0x3E: Code("GFX_IP_Poison_Error", "Poison error of a GFX sub-IP"),
}
_MP5_NAMES = (
    *("Mp5HighSramError", "Mp5LowSramError", "Mp5DCacheAError", "Mp5DCacheBError", "Mp5DTagAError"),
    *("Mp5DTagBError", "Mp5ICacheAError", "Mp5ICacheBError", "Mp5ITagAError", "Mp5ITagBError"),
)
MP5 = {
    **{code: SMU_V2[code]._replace(name=name) for code, name in enumerate(_MP5_NAMES)},
    0x0A: Code("", "Fuse SRAM ECC or parity error"),
}
MPDMA = _rows(
    "Main SRAM [31:0] bank ECC or parity error",
    "Main SRAM [63:32] bank ECC or parity error",
    "Main SRAM [95:64] bank ECC or parity error",
    "Main SRAM [127:96] bank ECC or parity error",
    *_CACHES * 3,
    "System hub read buffer ECC or parity error",
    "TVF DVSEC memory ECC or parity error",
    "TVF MMIO mailbox 0 ECC or parity error",
    "TVF MMIO mailbox 1 ECC or parity error",
    "TVF doorbell memory ECC or parity error",
    *(f"TVF SDP slave memory {number} ECC or parity error" for number in range(3)),
    *(f"TVF SDP master memory {number} ECC or parity error" for number in range(7)),
    "SDP watchdog timer expired",
    "PTE command FIFO ECC or parity error",
    "PTE hub data FIFO ECC or parity error",
    "PTE internal data FIFO ECC or parity error",
    "PTE command memory DMA ECC or parity error",
    "PTE command memory internal ECC or parity error",
    "TVF SDP master memory 7 ECC or parity error",
)

NBIO = {
    0x00: Code("EccParityError", "ECC or parity error"),
    0x01: Code("PCIE_Sideband", "PCIe error"),
    0x02: Code("Ext_ErrEvent", "External SDP error event"),
    0x03: Code("Egress_Poison", "SDP egress poison error"),
    0x04: Code("IOHC_Internal_Poison", "Internal poison error"),
    0x05: Code("Int_ErrEvent", "Internal fatal error event"),
}
PCIE = _rows(
    "CCIX PER message logging",
    "CCIX read response with status: non-data error",
    "CCIX write response with status: non-data error",
    "CCIX read response with status: data error",
    "CCIX non-okay write response with data error",
)
PCIE_V2 = {0x00: Code("SDP_PARITY_ERR_LOG", "SDP data parity error")}
NBIF = {
    0x00: Code("TIMEOUT_ERR", "Timeout error from GMI"),
    0x01: Code("SRAM_ECC_ERR", "SRAM ECC error"),
    0x02: Code("NTB_ERR_EVENT", "NTB error event"),
    0x03: Code("SDP_PARITY_ERR", "SDP parity error"),
}
"""The system hub has the same."""
SATA = _rows(*(f"Parity error, port {port}" for port in range(8)))
USB = _rows(
    "Parity or ECC error, S0 RAM0",
    "Parity or ECC error, S0 RAM1",
    "Parity or ECC error, S0 RAM2",
    "Parity error, PHY RAM0",
    "Parity error, PHY RAM1",
    "AXI slave response error",
)

XGMI_PCS = {
    0x00: Code("DataLossErr", "Data loss"),
    0x01: Code("TrainingErr", "Training error"),
    0x02: Code("FlowCtrlAckErr", "Flow control acknowledge error"),
    0x03: Code("RxFifoUnderflowErr", "Receive FIFO underflow"),
    0x04: Code("RxFifoOverflowErr", "Receive FIFO overflow"),
    0x05: Code("CRCErr", "CRC error"),
    0x06: Code("BERExceededErr", "Bit error rate (BER) exceeded"),
    0x07: Code("TxVcidDataErr", "Transmit VCID data error"),
    0x08: Code("ReplayBufParityErr", "Replay buffer parity error"),
    0x09: Code("DataParityErr", "Data parity error"),
    0x0A: Code("ReplayFifoOverflowErr", "Replay FIFO overflow"),
    0x0B: Code("ReplayFifoUnderflowErr", "Replay FIFO underflow"),
    0x0C: Code("ElasticFifoOverflowErr", "Elastic FIFO overflow"),
    0x0D: Code("DeskewErr", "Deskew error"),
    0x0E: Code("FlowCtrlCRCErr", "Flow control CRC error"),
    0x0F: Code("DataStartupLimitErr", "Data startup limit error"),
    0x10: Code("FCInitTimeoutErr", "Flow control (FC) init timeout"),
    0x11: Code("RecoveryTimeoutErr", "Recovery timeout"),
    0x12: Code("ReadySerialTimeoutErr", "Ready serial timeout"),
    0x13: Code("ReadySerialAttemptErr", "Ready serial attempt error"),
    0x14: Code("RecoveryAttemptErr", "Recovery attempt error"),
    0x15: Code("RecoveryRelockAttemptErr", "Recovery relock attempt error"),
    0x16: Code("ReplayAttemptErr", "Replay attempt error"),
    0x17: Code("SyncHdrErr", "Sync header error"),
    0x18: Code("TxReplayTimeoutErr", "Transmit replay timeout"),
    0x19: Code("RxReplayTimeoutErr", "Receive replay timeout"),
    0x1A: Code("LinkSubTxTimeoutErr", "LinkSub transmit timeout"),
    0x1B: Code("LinkSubRxTimeoutErr", "LinkSub receive timeout"),
    0x1C: Code("RxCMDPktErr", "Receive command packet error"),
}
GMI_PCS = _rows(
    "Data loss",
    "Training error",
    "Replay parity error",
    "Receive FIFO underflow",
    "Receive FIFO overflow",
    "CRC error",
    "Bit error rate (BER) exceeded",
    "Transmit FIFO underflow",
    "Replay buffer parity error",
    "Transmit overflow",
    "Replay FIFO overflow",
    "Replay FIFO underflow",
    "Elastic FIFO overflow",
    "Deskew error",
    "Offline error",
    "Data startup limit error",
    "Flow control (FC) init timeout",
    "Recovery timeout",
    "Ready serial timeout",
    "Ready serial attempt error",
    "Recovery attempt error",
    "Recovery relock attempt error",
    "Deskew abort",
    "Receive buffer error",
    "Receive LFDS FIFO overflow",
    "Receive LFDS FIFO underflow",
    "LinkSub transmit timeout",
    "LinkSub receive timeout",
    "Receive command packet error",
    "LFDS training timeout",
    "LFDS flow control (FC) init timeout",
    "Data loss",
)
PHY = {
    0x00: Code("RAMECC", "RAM ECC error"),
    0x01: Code("ARCIns", "ARC instruction buffer parity error"),
    0x02: Code("ARCData", "ARC data buffer parity error"),
    0x03: Code("APB", "PHY APB error"),
}
"""Of xGMI, WAFL and GMI alike."""

USR_DP = {
    0x00: Code("MstCMDErr", "Master command error"),
    0x01: Code("MstRxFIFOErr", "Master receive FIFO error"),
    0x02: Code("MstDeskewErr", "Master deskew error"),
    0x03: Code("MstDetectTimeoutErr", "Master detect timeout"),
    0x04: Code("MstFlowControlErr", "Master flow control error"),
    0x05: Code("MstDataValidFifoErr", "Master data valid FIFO error"),
    0x06: Code("macLinkStateErr", "MAC link state error"),
    0x07: Code("DeskewErr", "Deskew error"),
    0x08: Code("InitTimeoutErr", "Init timeout"),
    0x09: Code("InitAttemptErr", "Init attempt error"),
    0x0A: Code("RecoveryTimeoutErr", "Recovery timeout"),
    0x0B: Code("RecoveryAttemptErr", "Recovery attempt error"),
    0x0C: Code("EyeTrainingTimeoutErr", "Eye training timeout"),
    0x0D: Code("DataStartupLimitErr", "Data startup limit error"),
    0x0E: Code("LS0ExitErr", "LS0 exit error"),
    0x0F: Code("PLLpowerStateUpdateTimeoutErr", "PLL power state update timeout"),
    0x10: Code("RxFifoErr", "Receive FIFO error"),
    0x11: Code("LcuErr", "LCU error"),
    0x12: Code("convCECCErr", "Conv corrected ECC error (CECC)"),
    0x13: Code("convUECCErr", "Conv uncorrected ECC error (UECC)"),
    0x15: Code("rxDataLossErr", "Receive data loss"),
    0x16: Code("ReplayCECCErr", "Replay corrected ECC error (CECC)"),
    0x17: Code("ReplayUECCErr", "Replay uncorrected ECC error (UECC)"),
    0x18: Code("CRCErr", "CRC error"),
    0x19: Code("BERExceededErr", "Bit error rate (BER) exceeded"),
    0x1A: Code("FCInitTimeoutErr", "Flow control (FC) init timeout"),
    0x1B: Code("FCInitAttemptErr", "Flow control (FC) init attempt error"),
    0x1C: Code("ReplayTimeoutErr", "Replay timeout"),
    0x1D: Code("ReplayAttemptErr", "Replay attempt error"),
    0x1E: Code("ReplayUnderflowErr", "Replay underflow"),
    0x1F: Code("ReplayOverflowErr", "Replay overflow"),
}
USR_CP = {
    0x00: Code("PacketTypeErr", "Packet type error"),
    0x01: Code("RxFifoErr", "Receive FIFO error"),
    0x02: Code("DeskewErr", "Deskew error"),
    0x03: Code("RxDetectTimeoutErr", "Receive detect timeout"),
    0x04: Code("DataParityErr", "Data parity error"),
    0x05: Code("DataLossErr", "Data loss"),
    0x06: Code("LcuErr", "LCU error"),
    0x07: Code("HB1HandshakeTimeoutErr", "HB1 handshake timeout"),
    0x08: Code("HB2HandshakeTimeoutErr", "HB2 handshake timeout"),
    0x09: Code("ClkSleepRspTimeoutErr", "Clock sleep response timeout"),
    0x0A: Code("ClkWakeRspTimeoutErr", "Clock wake response timeout"),
    0x0B: Code("resetAttackErr", "Reset attack error"),
    0x0C: Code("remoteLinkFatalErr", "Remote link fatal error"),
}
