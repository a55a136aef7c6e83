# SPDX-License-Identifier: GPL-2.0-only
"""Zhaoxin: Intel's machine-check architecture; the banks of the KH-50000 server besides.

Source of the KH-50000's banks and codes: what Zhaoxin published for rasdaemon
(mce-zhaoxin-kh50000.c, 2026). The other CPUs have no public tables.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import MCI_STATUS_MISCV, Choice, Number, describe_bits, describe_numbers, extract
from mcelogd.event import Location

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcelogd.record import MceRecord


class Bank(NamedTuple):
    """One bank: its name, its error code in MCi_STATUS, and further numbers there and in MCi_MISC."""

    name: str
    error: Choice
    numbers: tuple[Number, ...] = ()
    misc_numbers: tuple[Number, ...] = ()


CORE = (
    Number(23, 24, "IO die", always=True),
    Number(19, 22, "Core die", always=True),
    Number(16, 18, "Core", always=True),
)
CACHE_ERRORS = {
    1: "Single bit ECC errors in the data of one line",
    2: "Single bit ECC errors in the data of several lines",
    3: "Multiple bit ECC error in data",
}
PCIE_ERRORS = {0: "Fatal error", 1: "Non-fatal error", 2: "Correctable error"}
LINK_ERRORS = {
    1: "Receiver overflow (TL)",
    2: "Flow control protocol error (TL)",
    3: "Surprise down",
    4: "Data link protocol error (DLL)",
    5: "Replay timer timeout (DLL)",
    6: "REPLAY_NUM rollover (DLL)",
    7: "Bad data link layer packet (DLL)",
    8: "Bad transaction layer packet (DLL)",
    9: "Receiver error (PHY)",
    10: "Training error (PHY)",
    11: "Link unreliable, width reduced",
    14: "Link unreliable, speed reduced",
    16: "Link unreliable, width reduced to x32/x24",
    17: "Link unreliable, width reduced to x16/x12",
    18: "Link unreliable, width reduced to x8",
    19: "Link unreliable, width reduced to x4",
    20: "Link unreliable, width reduced to x2",
    21: "Link unreliable, speed reduced to Gen4",
    22: "Link unreliable, speed reduced to Gen3",
    23: "Link unreliable, speed reduced to Gen2",
}
CORE_DIE_LINK_ERRORS = {
    1: "Receiver overflow",
    2: "Training error (PHY)",
    3: "Flow control protocol error",
    4: "Surprise down",
    5: "DLLM protocol error",
    6: "DLLM replay timeout",
    7: "DLLM replay number rollover",
    8: "Bad data link layer packet",
    9: "Bad transaction layer packet",
    10: "Link unreliable at Gen2",
    11: "Link unreliable at Gen3",
    12: "Link unreliable at Gen4",
    13: "Link unreliable at x2",
    14: "Link unreliable at x4",
    15: "Link unreliable at x8",
    16: "Link unreliable at x16/x12",
    17: "Link unreliable at x32/x24",
}
SVID_ERRORS = {
    0: "No error",
    1: "SVID resend failed",
    2: "VRM over current",
    3: "VRM over temperature",
    4: "VRM parity error",
}
DRAM_ERRORS = {
    1: "Single bit ECC error",
    2: "Multiple bit ECC error",
    3: "Command parity error",
    4: "CRC error",
    5: "Parity error, retry failed",
    6: "CRC error, retry failed",
    16: "Key not hit",
}
HIF_ERRORS = {
    1: "HIF DVAD error",
    2: "SNT multiple bit ECC error",
    3: "SNT single bit ECC error",
    4: "CXL poison, uncorrected",
    5: "CXL poison, corrected",
    6: "CXL parity error",
}

_CPU = Bank("CPU", Choice(25, 29, {2: "Machine hung", 3: "Undefined microcode address"}), CORE)
_PCIE = Choice(16, 23, PCIE_ERRORS)
_IO_DIE_LINK = Choice(16, 31, LINK_ERRORS)
_SVID = Choice(24, 31, SVID_ERRORS)
_VRM = (Number(24, 25, "VRM", always=True),)
_RANK = Number(25, 26, "Rank", always=True)
_DRAM = Bank("Memory", Choice(16, 31, DRAM_ERRORS), misc_numbers=(_RANK, Number(9, 16, "ECC syndrome", 16)))
DRAM_BANKS = (*range(0x09, 0x11), *range(0x12, 0x16))
BANKS: Mapping[int, Bank] = {
    0x00: _CPU,
    0x01: Bank("PL2 cache", Choice(24, 25, CACHE_ERRORS)),
    0x02: Bank("CRMCA0 PCIe", _PCIE),
    0x03: Bank("CRMCA0 IO die ZDI", _IO_DIE_LINK, misc_numbers=(Number(25, 30, "Links", 16),)),
    0x04: Bank("SVID0", _SVID, misc_numbers=_VRM),
    0x05: Bank("CRMCA1 IO die ZDI", _IO_DIE_LINK, misc_numbers=(Number(25, 30, "Links", 16),)),
    0x06: Bank("CRMCA1 PCIe", _PCIE),
    0x07: Bank("Core die ZDI", Choice(25, 29, CORE_DIE_LINK_ERRORS), CORE),
    **dict.fromkeys(DRAM_BANKS, _DRAM),
    0x11: Bank("LLC cache", Choice(25, 26, CACHE_ERRORS), CORE),
    0x16: Bank("SVID2", _SVID, misc_numbers=_VRM),
    0x1A: Bank("ZPI", _IO_DIE_LINK, misc_numbers=(Number(25, 27, "Links", 16),)),
    0x1B: Bank("SVID1", _SVID, misc_numbers=_VRM),
    0x1C: Bank("HIF H0", Choice(16, 23, HIF_ERRORS)),
    0x1D: Bank("HIF H1", Choice(16, 23, HIF_ERRORS)),
    0x1E: Bank("HIF H2", Choice(16, 23, HIF_ERRORS)),
    0x1F: Bank("HIF H3", Choice(16, 23, HIF_ERRORS)),
}

CHANNELS = ("A0", "B0", "A1", "B1", "C0", "C1", "A2", "B2", "C2", "A3", "B3", "C3")
"""What the board calls the channels that memory error codes number."""


def describe(record: MceRecord) -> list[str]:
    """What the bank is, and its own error code."""
    bank = BANKS.get(record.bank)
    if bank is None:
        return []
    error = describe_bits(record.status, (bank.error,)) or ["no further code"]
    code = record.status & 0xFFFF
    where = f" on channel {CHANNELS[code & 0xF]}" if code >> 7 == 1 and code & 0xF < len(CHANNELS) else ""
    lines = [f"{bank.name}{where}: {error[0]}", *describe_numbers(record.status, bank.numbers)]
    if record.status & MCI_STATUS_MISCV:
        lines += describe_numbers(record.misc, bank.misc_numbers)
    return lines


def locate(record: MceRecord, channel: int | None) -> tuple[Location, ...]:
    """The channel, and the rank where MCi_MISC is valid."""
    if record.bank not in DRAM_BANKS or not record.status & MCI_STATUS_MISCV:
        return (Location(channel=channel),)
    return (Location(channel=channel, rank=extract(record.misc, _RANK.lo, _RANK.hi)),)


MODELS: Mapping[str, Model] = {"kh-50000": Model(describe=describe, locate=locate)}
"""CpuType.name -> Model, as in models.py."""
