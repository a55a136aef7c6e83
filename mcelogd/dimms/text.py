# SPDX-License-Identifier: GPL-2.0-only
"""The text of `--dmi` and `--dmi-verbose`: what SMBIOS says of the DIMM behind an address.

Scripts parse these lines, so their shapes are the C program's.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.dimms import smbios as tables
from mcelogd.dimms.check import sanity

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mcelogd.dimms.smbios import MemoryDevice, Smbios, Structure

WARNING = "WARNING: what SMBIOS says of DIMMs is often wrong. Check before you replace one.\n"
"""Shown once, before the first DIMM."""

ASCII_WARNING = (
    "WARNING: with --dmi addresses are looked up in this machine's SMBIOS,\n"
    "     which says nothing about errors of another machine.\n"
)
"""Shown once where --ascii is run with --dmi."""

# DSP0134 7.18.1, form factors; 0 to 2 are not shown.
FORM_FACTORS = {
    **dict(enumerate(("SIMM", "SIP", "Chip", "DIP", "ZIP", "Proprietary Card", "DIMM", "TSOP"), 3)),
    **dict(enumerate(("Row of chips", "RIMM", "SODIMM", "SRIMM", "FB-DIMM", "Die", "CAMM"), 11)),
}

# 7.18.2, memory types.
MEMORY_TYPES = {
    **dict(enumerate(("?", "Other", "Unknown", "DRAM", "EDRAM", "VRAM", "SRAM", "RAM", "ROM", "FLASH"))),
    **dict(enumerate(("EEPROM", "FEPROM", "EPROM", "CDRAM", "3DRAM", "SDRAM", "SGRAM", "RDRAM"), 10)),
    **dict(enumerate(("DDR", "DDR2", "DDR2 FB-DIMM"), 18)),
    **dict(enumerate(("Reserved 0x15", "Reserved 0x16", "Reserved 0x17"), 21)),
    **dict(enumerate(("DDR3", "FBD2", "DDR4", "LPDDR", "LPDDR2", "LPDDR3", "LPDDR4"), 24)),
    **dict(enumerate(("Logical non-volatile device", "HBM", "HBM2", "DDR5", "LPDDR5", "HBM3"), 31)),
}

# 7.18.3, type detail, by bits.
TYPE_DETAILS = (
    *("Reserved", "Other", "Unknown", "Fast-paged", "Static Column", "Pseudo static", "RAMBUS"),
    *("Synchronous", "CMOS", "EDO", "Window DRAM", "Cache DRAM", "Non-volatile", "Registered"),
    *("Unbuffered", "LRDIMM"),
)

FIRST_NAMED_FORM = 3
LENGTH_WITH_MANUFACTURER = 0x17
"""Structures that end before this one's strings are of SMBIOS before 2.3."""


def address_text(smbios: Smbios, address: int, verbosity: int = 0) -> str:
    """The DIMMs that a physical address may be on, after WARNING; or that there is none."""
    devices = smbios.at(address)
    if not devices:
        return f"No DIMM found for {address:x} in SMBIOS\n"
    return "".join(_device_text(device, address, verbosity) for device in devices)


def _device_text(device: MemoryDevice, address: int, verbosity: int) -> str:
    if device.length < LENGTH_WITH_MANUFACTURER:
        too_short = f"Memory device for address {address:x} too short {device.length}\n"
        return too_short if verbosity > 0 else ""
    strings = (
        ("Device Locator", device.locator),
        ("Bank Locator", device.bank_locator),
        ("Manufacturer", device.manufacturer),
        ("Serial Number", device.serial),
        ("Asset Tag", device.asset),
        ("Part Number", device.part),
    )
    lines = [f"{name}: {text}\n" for name, text in strings if text not in ("", "None")]
    return " ".join(_properties(device)) + "\n" + "".join(lines)


def _properties(device: MemoryDevice) -> Iterator[str]:
    yield MEMORY_TYPES.get(device.memory_type, f"<{device.memory_type}>")
    if device.form_factor >= FIRST_NAMED_FORM:
        yield FORM_FACTORS.get(device.form_factor, f"<{device.form_factor}>")
    if device.speed:
        yield f"{device.speed} Mhz"
    yield from (name for bit, name in enumerate(TYPE_DETAILS) if device.type_detail >> bit & 1)
    widths = [width or "unknown" for width in (device.total_width, device.data_width)]
    yield f"Width {widths[0]} Data Width {widths[1]} Size {size_text(device.size)}"


def size_text(size: int | None) -> str:
    """A DIMM's size in whole GB, MB or KB, the largest unit there is one of."""
    if size is None:
        return "unknown"
    units = ((tables.GIB, "GB"), (tables.MIB, "MB"), (tables.KIB, "KB"))
    unit, name = next((unit for unit in units if size >= unit[0]), units[-1])
    return f"{size // unit} {name}"


def tables_text(smbios: Smbios, verbosity: int) -> str:
    """What is said of the tables when they are opened: `--dmi-verbose` 1, 2 and 4 show more each."""
    lines: list[str] = []
    if verbosity > 3:
        lines += _structure_lines(smbios.structures)
    if verbosity > 0:
        lines += _fault_lines(smbios)
    if verbosity > 1:
        lines += _range_lines(smbios)
    return "".join(f"{line}\n" for line in lines)


def _structure_lines(structures: Sequence[Structure]) -> Iterator[str]:
    for structure in structures:
        if structure.type not in tables.SHORTEST:
            continue
        yield f"length {len(structure.body)} handle {structure.handle:x}"
        yield from (f"string {text}" for text in structure.strings)


def _fault_lines(smbios: Smbios) -> Iterator[str]:
    yield from smbios.problems
    for structure in smbios.structures:
        shortest = tables.SHORTEST.get(structure.type, 0)
        if len(structure.body) < shortest:
            yield f"hnd {structure.handle:x} size {len(structure.body)} expected {shortest}"
    yield from (f"entry {device.handle:x} disabled" for device in smbios.devices if not device.is_populated)
    verdict = sanity(smbios)
    if not verdict.is_sane:
        yield f"{verdict.reason}. SMBIOS DIMM sanity check failed"


def _range_lines(smbios: Smbios) -> Iterator[str]:
    """Addresses are in KiB here, the last one included."""
    yield "RANGES"
    for row in smbios.device_ranges:
        yield (
            f"range {row.start // tables.KIB:x}-{(row.end - 1) // tables.KIB:x} h {row.handle:x} "
            f"a {row.array_range_handle:x} row {row.row} "
            f"ilpos {row.interleave_position} ildepth {row.interleave_depth}"
        )
    yield "DMI_DIMMS"
    for device in smbios.devices:
        if device.is_populated:
            yield (
                f"dimm h {device.handle:x} width {device.total_width} datawidth {device.data_width} "
                f"size {(device.size or 0) // tables.MIB} set {device.device_set}"
            )
