# SPDX-License-Identifier: GPL-2.0-only
"""The entry point of SMBIOS: where the table is, in the forms it has had.

Source: DMTF DSP0134, "System Management BIOS Reference Specification", chapter
5.2; for `_DMI_` alone, of version 2.0, the intermediate anchor of the 32-bit form.
"""

from __future__ import annotations

from typing import NamedTuple


class EntryPoint(NamedTuple):
    """Where the table is. `length` is its size in bytes, or with version 3 the most it can be.

    `size` is the length of the entry point itself.
    """

    major: int
    minor: int
    address: int
    length: int
    size: int


def parse_entry(data: bytes) -> EntryPoint | None:
    """The entry point at the start of `data`; None where there is none whose checksums are right."""
    if data[:5] == b"_SM3_":
        size = data[6] if len(data) >= 24 else 0
        if size < 24 or not _sums_to_zero(data, size):
            return None
        address = int.from_bytes(data[16:24], "little")
        return EntryPoint(data[7], data[8], address, int.from_bytes(data[12:16], "little"), size)
    if data[:4] == b"_SM_":
        # 1Eh is what version 2.1 says for the same 31 bytes.
        if len(data) < 31 or data[5] < 0x1E or not _sums_to_zero(data, data[5]):
            return None
        return _intermediate(data[16:31], data[6], data[7], max(data[5], 31))
    if data[:5] == b"_DMI_":
        return _intermediate(data[:15], data[14] >> 4, data[14] & 15, 15) if len(data) >= 15 else None
    return None


def _intermediate(data: bytes, major: int, minor: int, size: int) -> EntryPoint | None:
    """The `_DMI_` part, of 15 bytes."""
    if data[:5] != b"_DMI_" or not _sums_to_zero(data, 15):
        return None
    address = int.from_bytes(data[8:12], "little")
    return EntryPoint(major, minor, address, int.from_bytes(data[6:8], "little"), size)


def _sums_to_zero(data: bytes, size: int) -> bool:
    return size <= len(data) and sum(data[:size]) & 0xFF == 0
