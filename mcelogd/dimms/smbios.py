# SPDX-License-Identifier: GPL-2.0-only
"""The firmware's description of memory: SMBIOS tables as bytes -> typed structures.

Source: DMTF DSP0134, "System Management BIOS Reference Specification", chapters
6.1 (structures) and 7.17, 7.18, 7.20, 7.21 (types 16, 17, 19, 20). Firmware
is not trusted: nothing in a table raises an error or makes this loop, and no
more of it is looked at than there can be.
"""

from __future__ import annotations

from typing import NamedTuple

from mcelogd.dimms.smbios_entry import parse_entry

MEMORY_ARRAY = 16
MEMORY_DEVICE = 17
ARRAY_ADDRESS = 19
DEVICE_ADDRESS = 20
END_OF_TABLE = 127

MOST_STRUCTURES = 1 << 16
"""Handles have 16 bits, and each structure has its own."""
MOST_STRINGS = 255
LONGEST_STRING = 64

HEADER = 4
SYSTEM_MEMORY = 3
"""Type 16, Use: what the machine works with, not its flash or video memory."""

KIB = 1 << 10
MIB = 1 << 20
GIB = 1 << 30


class Structure(NamedTuple):
    """One structure: `body` is the formatted part, header included; `strings` counts from 1 in its fields."""

    type: int
    handle: int
    body: bytes
    strings: tuple[str, ...]

    def has(self, offset: int, size: int) -> bool:
        return offset + size <= len(self.body)

    def number(self, offset: int, size: int) -> int:
        """An unsigned field; 0 where the structure ends before it."""
        return int.from_bytes(self.body[offset : offset + size], "little") if self.has(offset, size) else 0

    def text(self, offset: int) -> str:
        """The string a field names; empty where there is none."""
        index = self.number(offset, 1)
        return self.strings[index - 1] if 0 < index <= len(self.strings) else ""


class MemoryArray(NamedTuple):
    """Type 16: a set of slots; `use` and `error_correction` as DSP0134 numbers them."""

    handle: int
    location: int
    use: int
    error_correction: int
    slots: int


class MemoryDevice(NamedTuple):
    """Type 17: a slot and the DIMM in it.

    `size` is in bytes: 0 for an empty slot, None where the firmware does not
    know. Widths are in bits, `speed` in MT/s, 0 where not known. Strings are
    as the firmware has them, made printable; they may be placeholders.
    `length` is that of the structure, by which old firmware is known.
    """

    handle: int
    array_handle: int
    total_width: int
    data_width: int
    size: int | None
    form_factor: int
    device_set: int
    locator: str
    bank_locator: str
    memory_type: int
    type_detail: int
    speed: int
    manufacturer: str
    serial: str
    asset: str
    part: str
    length: int

    @property
    def is_populated(self) -> bool:
        return self.size != 0


class AddressRange(NamedTuple):
    """Types 19 and 20: physical addresses from `start` up to `end`, that one not included.

    `handle` is the array's or the device's. The last three are of type 20
    alone; 0 is "not known" for `row`, 255 for the others.
    """

    start: int
    end: int
    handle: int
    array_range_handle: int = 0
    row: int = 0
    interleave_position: int = 0
    interleave_depth: int = 0


class Smbios(NamedTuple):
    """What a table says of memory; ranges are in the order of addresses.

    `version` is None without an entry point. `problems` says in lines for
    people what is wrong with the table itself.
    """

    version: tuple[int, int] | None
    structures: tuple[Structure, ...]
    arrays: tuple[MemoryArray, ...]
    devices: tuple[MemoryDevice, ...]
    array_ranges: tuple[AddressRange, ...]
    device_ranges: tuple[AddressRange, ...]
    problems: tuple[str, ...]

    def device(self, handle: int) -> MemoryDevice | None:
        """The device of that handle; None where there is none, or more than one."""
        found = [device for device in self.devices if device.handle == handle]
        return found[0] if len(found) == 1 else None

    def dimms(self) -> list[MemoryDevice]:
        """What is plugged in as system memory."""
        other = {array.handle for array in self.arrays if array.use != SYSTEM_MEMORY}
        return [device for device in self.devices if device.is_populated and device.array_handle not in other]

    def at(self, address: int) -> list[MemoryDevice]:
        """The DIMMs that a physical address may be on: several where they are interleaved.

        By type 20; where no such range has the address, by type 19, as long as
        the array has one DIMM only.
        """
        handles = dict.fromkeys(row.handle for row in self.device_ranges if row.start <= address < row.end)
        found = [device for handle in handles if (device := self.device(handle)) and device.is_populated]
        if found:
            return found
        arrays = {row.handle for row in self.array_ranges if row.start <= address < row.end}
        found = [device for device in self.dimms() if device.array_handle in arrays]
        return found if len(found) == 1 else []


def parse(entry: bytes | None, table: bytes) -> Smbios:
    """The memory structures of a table; never raises.

    Without an entry point the table is read up to its end.
    """
    point = parse_entry(entry) if entry else None
    problems = ["the SMBIOS entry point is damaged"] if entry and point is None else []
    if point is not None and point.length:
        table = table[: point.length]
    structures, problem = _structures(table)
    problems += [problem] if problem else []
    kinds: dict[int, list[Structure]] = {}
    for structure in structures:
        kinds.setdefault(structure.type, []).append(structure)

    def long_enough(kind: int) -> list[Structure]:
        return [structure for structure in kinds.get(kind, ()) if len(structure.body) >= SHORTEST[kind]]

    return Smbios(
        (point.major, point.minor) if point else None,
        tuple(structures),
        tuple(map(_array, long_enough(MEMORY_ARRAY))),
        tuple(map(_device, long_enough(MEMORY_DEVICE))),
        tuple(sorted(map(_array_range, long_enough(ARRAY_ADDRESS)))),
        tuple(sorted(map(_device_range, long_enough(DEVICE_ADDRESS)))),
        tuple(problems),
    )


SHORTEST = {MEMORY_ARRAY: 0x06, MEMORY_DEVICE: 0x11, ARRAY_ADDRESS: 0x0E, DEVICE_ADDRESS: 0x0E}
"""Bytes without which a structure is of no use; the oldest versions are longer."""


def _structures(table: bytes) -> tuple[list[Structure], str]:
    """The structures up to the end of the table, or up to where it is damaged; then also why."""
    found: list[Structure] = []
    at = 0
    while at + HEADER <= len(table) and len(found) < MOST_STRUCTURES:
        kind, length = table[at], table[at + 1]
        if length < HEADER:
            return found, f"SMBIOS is damaged at offset {at:#x}: a structure of {length} bytes"
        # The strings, each with its NUL, end with another one; so do no strings at all.
        end = table.find(b"\0\0", at + length)
        if end < 0:
            return found, f"SMBIOS is cut off at offset {at:#x}"
        handle = int.from_bytes(table[at + 2 : at + 4], "little")
        strings = table[at + length : end].split(b"\0", MOST_STRINGS)[:MOST_STRINGS]
        found.append(Structure(kind, handle, table[at : at + length], tuple(map(_printable, strings))))
        if kind == END_OF_TABLE:
            break
        at = end + 2
    return found, ""


def _printable(string: bytes) -> str:
    """One line of ASCII, without the quotes that would end it where it is quoted."""
    cut = string[:LONGEST_STRING]
    return "".join(chr(c) if 32 <= c < 127 and c != 34 else "'" if c == 34 else "?" for c in cut).strip()


def _array(structure: Structure) -> MemoryArray:
    number = structure.number
    return MemoryArray(structure.handle, number(0x4, 1), number(0x5, 1), number(0x6, 1), number(0xD, 2))


def _device(structure: Structure) -> MemoryDevice:
    number, text = structure.number, structure.text
    speed = number(0x15, 2)
    return MemoryDevice(
        handle=structure.handle,
        array_handle=number(0x04, 2),
        total_width=_known_width(number(0x08, 2)),
        data_width=_known_width(number(0x0A, 2)),
        size=_size(structure),
        form_factor=number(0x0E, 1),
        device_set=number(0x0F, 1),
        locator=text(0x10),
        bank_locator=text(0x11),
        memory_type=number(0x12, 1),
        type_detail=number(0x13, 2),
        speed=number(0x54, 4) if speed == 0xFFFF else speed,
        manufacturer=text(0x17),
        serial=text(0x18),
        asset=text(0x19),
        part=text(0x1A),
        length=len(structure.body),
    )


def _known_width(bits: int) -> int:
    return 0 if bits == 0xFFFF else bits


def _size(structure: Structure) -> int | None:
    """Bytes, by DSP0134 7.18.4 and 7.18.5: 0 for an empty slot, None for "not known"."""
    size = structure.number(0x0C, 2)
    if size == 0xFFFF:
        return None
    if size == 0x7FFF and structure.has(0x1C, 4):
        return (structure.number(0x1C, 4) & 0x7FFF_FFFF) * MIB
    return (size & 0x7FFF) * KIB if size & 0x8000 else size * MIB


def _addresses(structure: Structure, extended: int) -> tuple[int, int]:
    """Start and end; in KiB in the old fields, the last of them included, else in bytes at `extended`."""
    number = structure.number
    if number(4, 4) == 0xFFFF_FFFF and structure.has(extended, 16):
        return number(extended, 8), number(extended + 8, 8) + 1
    return number(4, 4) * KIB, (number(8, 4) + 1) * KIB


def _array_range(structure: Structure) -> AddressRange:
    start, end = _addresses(structure, 0x0F)
    return AddressRange(start, end, structure.number(0x0C, 2))


def _device_range(structure: Structure) -> AddressRange:
    start, end = _addresses(structure, 0x13)
    number = structure.number
    return AddressRange(
        start, end, number(0x0C, 2), number(0x0E, 2), number(0x10, 1), number(0x11, 1), number(0x12, 1)
    )
