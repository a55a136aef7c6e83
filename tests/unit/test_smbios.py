# SPDX-License-Identifier: GPL-2.0-only
"""smbios.py on tables of a real firmware, made-up ones and nonsense; dmi_check.py and dmi_text.py on them."""

from __future__ import annotations

import struct
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcelogd.dimms import smbios
from mcelogd.dimms.check import sanity
from mcelogd.dimms.smbios_entry import EntryPoint, parse_entry
from mcelogd.dimms.text import address_text, tables_text

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures/smbios"
MIB = 1 << 20
GIB = 1 << 30
END = b"\x7f\x04\xff\xfe\0\0"
NAMES = ("A1", "BANK 0", "Acme", "1234ABCD", "", "M-8G")


def table_of(name: str) -> bytes:
    return (FIXTURES / f"dmi_q35_{name}.bin").read_bytes()


def structure(kind: int, handle: int, body: bytes, *strings: str) -> bytes:
    head = struct.pack("<BBH", kind, 4 + len(body), handle)
    return head + body + (b"".join(s.encode() + b"\0" for s in strings) or b"\0") + b"\0"


def device(
    handle: int = 0x1100,
    size: int = 8192,
    names: tuple[str, ...] = NAMES,
    *,
    array: int = 0x1000,
    memory_type: int = 26,
    form: int = 9,
    detail: int = 1 << 7 | 1 << 13,
    speed: int = 2933,
    extended_size: int = 0,
    extended_speed: int = 0,
) -> bytes:
    """Type 17 of 92 bytes, the strings numbered in their order."""
    given = [name for name in names if name]
    index = [given.index(name) + 1 if name else 0 for name in names]
    body = struct.pack(
        "<HHHHHBBBBBHH", array, 0xFFFE, 72, 64, size, form, 0, *index[:2], memory_type, detail, speed
    )
    body += bytes([*index[2:], 2]) + struct.pack("<I", extended_size)
    return structure(17, handle, body.ljust(0x50, b"\0") + struct.pack("<II", extended_speed, 0), *given)


def device_range(device_handle: int, start: int, end: int, handle: int = 0x2000) -> bytes:
    """Type 20: addresses from `start` up to `end`, both multiples of 1024."""
    addresses = (start >> 10, (end >> 10) - 1)
    return structure(20, handle, struct.pack("<IIHHBBB", *addresses, device_handle, 0x1300, 1, 0, 0))


def parse(*structures: bytes) -> smbios.Smbios:
    return smbios.parse(None, b"".join(structures) + END)


def checked(data: bytearray, at: int, size: int, of: int = 0) -> bytes:
    """With the checksum at `at` made right."""
    data[at] = -sum(data[of : of + size]) & 0xFF
    return bytes(data)


# --- tables that QEMU's firmware made


@pytest.mark.parametrize("name", ["default", "4dimms_file", "autotype17_40G"])
def test_entry_and_table_of_a_machine_agree(name: str) -> None:
    entry = (FIXTURES / f"dmi_q35_{name}.entry").read_bytes()
    found = smbios.parse(entry, table_of(name))
    assert found.version == (2, 8)
    assert found.problems == ()
    assert found.structures[-1].type == smbios.END_OF_TABLE
    assert found._replace(version=None) == smbios.parse(None, table_of(name))


def test_four_dimms() -> None:
    found = smbios.parse(None, table_of("4dimms_file"))
    assert [(d.locator, d.bank_locator, d.serial) for d in found.devices] == [
        ("CPU0_DIMM_A1", "CPU0_CH0", "SNA1000000"),
        ("CPU0_DIMM_B1", "CPU0_CH1", "SNA1000001"),
        ("CPU1_DIMM_A1", "CPU1_CH0", "SNA1000002"),
        ("CPU1_DIMM_B1", "CPU1_CH1", "SNA1000003"),
    ]
    first = found.devices[0]
    assert (first.size, first.speed, first.part) == (512 * MIB, 2933, "EX-DDR4-8G")
    assert (first.manufacturer, first.asset) == ("ExampleMem", "ASSET0")
    assert found.arrays == (smbios.MemoryArray(0x1000, location=1, use=3, error_correction=6, slots=1),)
    assert [(r.start, r.end, r.handle) for r in found.array_ranges] == [(0, 2 * GIB, 0x1000)]


def test_single_structures_are_those_of_the_table() -> None:
    single = smbios.parse(None, b"".join((FIXTURES / f"dimm{n}.bin").read_bytes() for n in range(4)))
    assert single.devices == smbios.parse(None, table_of("4dimms_file")).devices


def test_memory_above_4_gib_and_unknown_widths() -> None:
    found = smbios.parse(None, table_of("autotype17_40G"))
    assert [d.size for d in found.devices] == [16 * GIB, 16 * GIB, 8 * GIB]
    assert {(d.total_width, d.data_width) for d in found.devices} == {(0, 0)}
    assert [(r.start, r.end) for r in found.array_ranges] == [(0, 2 * GIB), (4 * GIB, 42 * GIB)]


# --- fields


@pytest.mark.parametrize(
    ("size", "extended", "expected"),
    [
        (0, 0, 0),
        (8192, 0, 8192 * MIB),
        (0x8000 | 512, 0, 512 << 10),
        (0xFFFF, 0, None),
        (0x7FFF, 131072, 128 * GIB),
        (0x7FFF, 0x8000_0000 | 98304, 96 * GIB),
    ],
)
def test_sizes(size: int, extended: int, expected: int | None) -> None:
    found = parse(device(size=size, extended_size=extended)).devices[0]
    assert found.size == expected
    assert found.is_populated is (expected != 0)


def test_speed_beyond_16_bits() -> None:
    assert parse(device(speed=0xFFFF, extended_speed=70_000)).devices[0].speed == 70_000


def test_a_device_of_the_oldest_version_has_no_manufacturer() -> None:
    old = struct.pack("<HHHHHBBBBBHH", 0x1000, 0xFFFE, 72, 64, 512, 9, 0, 1, 2, 26, 0, 0)[:0x0D]
    found = parse(structure(17, 1, old, "A1", "B")).devices[0]
    assert (found.locator, found.bank_locator, found.manufacturer, found.speed) == ("A1", "", "", 0)


def test_extended_addresses_count_bytes() -> None:
    body = struct.pack("<IIHHBBBQQ", 0xFFFF_FFFF, 0xFFFF_FFFF, 0x1100, 0, 1, 0, 0, 8 << 40, (9 << 40) - 1)
    found = parse(device(), structure(20, 0x2000, body)).device_ranges[0]
    assert (found.start, found.end) == (8 << 40, 9 << 40)


def test_strings_become_one_line_of_ascii() -> None:
    names = ("A\x1b[2J\n", 'say "hi"', "Müller", "  12  ", "x" * 500, "")
    found = parse(device(names=names)).devices[0]
    assert (found.locator, found.bank_locator, found.manufacturer) == ("A?[2J?", "say 'hi'", "M??ller")
    assert (found.serial, found.asset, found.part) == ("12", "x" * smbios.LONGEST_STRING, "")


def test_memory_that_is_not_the_systems_is_no_dimm() -> None:
    flash = structure(16, 0x3000, bytes([3, 5, 3]) + bytes(8))
    found = parse(flash, device(array=0x3000), device(handle=0x1101), device(handle=0x1102, size=0))
    assert [d.handle for d in found.dimms()] == [0x1101]


def test_a_handle_used_twice_names_nothing() -> None:
    found = parse(device(), device(), device_range(0x1100, 0, GIB))
    assert found.device(0x1100) is None
    assert found.at(0) == []


# --- entry points


def test_entry_points_of_every_form() -> None:
    sm = bytearray(
        b"_SM_\0\x1f\x02\x08" + bytes(8) + b"_DMI_\0" + struct.pack("<HIHB", 735, 0xF0000, 12, 0x28)
    )
    checked(sm, 21, 15, of=16)
    assert parse_entry(checked(sm, 4, 31)) == EntryPoint(2, 8, 0xF0000, 735, 31)
    sm3 = bytearray(b"_SM3_\0\x18\x03\x05\0\x01\0" + struct.pack("<IQ", 4096, 0x7A5E_3000))
    assert parse_entry(checked(sm3, 5, 24)) == EntryPoint(3, 5, 0x7A5E_3000, 4096, 24)
    dmi = bytearray(b"_DMI_\0" + struct.pack("<HIHB", 735, 0xF0000, 12, 0x21))
    assert parse_entry(checked(dmi, 5, 15)) == EntryPoint(2, 1, 0xF0000, 735, 15)


def test_a_damaged_entry_point_is_said_and_the_table_read() -> None:
    entry = bytearray((FIXTURES / "dmi_q35_default.entry").read_bytes())
    entry[9] ^= 1
    found = smbios.parse(bytes(entry), table_of("default"))
    assert (found.version, len(found.devices)) == (None, 1)
    assert found.problems == ("the SMBIOS entry point is damaged",)


# --- damage


@pytest.mark.parametrize(
    ("table", "problem"),
    [
        (device() + b"\x11\x02\x00\x00" + device(), "a structure of 2 bytes"),
        (device() + device()[:-1], "cut off at offset"),
        (device() + b"\x11\xff\x00\x00", "cut off at offset"),
    ],
)
def test_what_comes_before_the_damage_counts(table: bytes, problem: str) -> None:
    found = smbios.parse(None, table)
    assert len(found.devices) == 1
    assert problem in found.problems[0]


def test_structures_that_are_too_short_are_left_out() -> None:
    found = parse(structure(17, 1, bytes(8)), structure(20, 2, bytes(4)), structure(16, 3, b""))
    assert (found.devices, found.device_ranges, found.arrays) == ((), (), ())


def test_nothing_is_read_behind_the_end_of_the_table() -> None:
    assert smbios.parse(None, END + device()).devices == ()
    entry = (FIXTURES / "dmi_q35_default.entry").read_bytes()
    assert smbios.parse(entry, table_of("default")[:-6] + device() + END).devices[1:] == ()


def exercise(found: smbios.Smbios, address: int) -> None:
    for device in (*found.devices, *found.at(address)):
        assert device.locator.isprintable()
    assert tables_text(found, 4).isascii()
    assert address_text(found, address, 1).isascii()
    assert sanity(found).is_sane is not bool(sanity(found).reason)


@settings(deadline=None)
@given(st.binary(max_size=300), st.binary(max_size=40), st.integers(0, 1 << 40))
def test_nonsense_does_no_harm(table: bytes, entry: bytes, address: int) -> None:
    exercise(smbios.parse(entry, table), address)


@settings(deadline=None)
@given(
    st.sampled_from(["default", "4dimms_file", "autotype17_40G"]),
    st.dictionaries(st.integers(0, 734), st.integers(0, 255), max_size=12),
    st.integers(0, 735),
    st.integers(0, 1 << 40),
)
def test_a_damaged_table_does_no_harm(name: str, changes: dict[int, int], cut: int, address: int) -> None:
    table = bytearray(table_of(name))
    for at, value in changes.items():
        table[at % len(table)] = value
    exercise(smbios.parse(None, bytes(table[:cut])), address)


def test_the_largest_hostile_table_takes_no_time() -> None:
    many_strings = structure(17, 1, bytes(0x50))[:-2] + b"a\0" * 400_000 + b"\0"
    assert len(smbios.parse(None, many_strings).devices[0].locator) == 0
    many = smbios.parse(None, b"\x11\x04\x00\x00\x00\x00" * 170_000)
    assert len(many.structures) == smbios.MOST_STRUCTURES


# --- addresses


def two_dimms(*more: bytes) -> smbios.Smbios:
    second = device(0x1101, names=("B1", "BANK 1", "Acme", "1234ABCE", "", "M-8G"))
    return parse(device(), second, *more)


def test_an_address_is_on_the_dimm_of_its_range() -> None:
    found = two_dimms(device_range(0x1100, 0, 8 * GIB), device_range(0x1101, 8 * GIB, 16 * GIB))
    assert [d.locator for d in found.at(8 * GIB - 1)] == ["A1"]
    assert [d.locator for d in found.at(8 * GIB)] == ["B1"]
    assert found.at(16 * GIB) == []


def test_interleaved_dimms_are_all_named_and_empty_ones_are_not() -> None:
    ranges = [device_range(handle, 0, 16 * GIB) for handle in (0x1101, 0x1100, 0x1101, 0x9999)]
    assert {d.locator for d in two_dimms(*ranges).at(5)} == {"A1", "B1"}
    assert parse(device(size=0), device_range(0x1100, 0, GIB)).at(5) == []


def test_without_ranges_of_dimms_the_only_dimm_of_an_array_is_named() -> None:
    assert [d.locator for d in smbios.parse(None, table_of("default")).at(GIB)] == ["DIMM 0"]
    assert smbios.parse(None, table_of("default")).at(2 * GIB) == []
    assert smbios.parse(None, table_of("4dimms_file")).at(GIB) == []


# --- the verdict


@pytest.mark.parametrize(
    ("found", "reason"),
    [
        (two_dimms(device_range(0x1100, 0, GIB), device_range(0x1101, GIB, 2 * GIB)), ""),
        (two_dimms(), "no type 20"),
        (two_dimms(device_range(0x1100, 0, GIB), device_range(0x1101, 0, GIB)), "overlap"),
        (
            two_dimms(device(0x1102), device_range(0x1100, 0, GIB), device_range(0x1101, GIB, 2 * GIB)),
            "not enough",
        ),
        (
            parse(device(), device(0x1101), device_range(0x1100, 0, GIB)),
            '2 DIMMs in SMBIOS have the locator "A1"',
        ),
        (parse(device(names=("",) * 6), device_range(0x1100, 0, GIB)), "has no locator"),
    ],
)
def test_verdict(found: smbios.Smbios, reason: str) -> None:
    verdict = sanity(found)
    assert verdict.is_sane is (not reason)
    assert reason in verdict.reason


# --- text: the shapes were compared with those of the C program for some hundred tables


def test_text_of_an_address() -> None:
    found = two_dimms(device_range(0x1100, 0, 8 * GIB))
    assert address_text(found, 0x12345678) == (
        "DDR4 DIMM 2933 Mhz Synchronous Registered Width 72 Data Width 64 Size 8 GB\n"
        "Device Locator: A1\n"
        "Bank Locator: BANK 0\n"
        "Manufacturer: Acme\n"
        "Serial Number: 1234ABCD\n"
        "Part Number: M-8G\n"
    )
    assert address_text(found, 0xF0_1234_5678) == "No DIMM found for f012345678 in SMBIOS\n"


def test_text_of_unknown_codes() -> None:
    odd = device(memory_type=200, form=201, detail=0, speed=0, size=0xFFFF, names=("None",) + ("",) * 5)
    found = parse(odd, device_range(0x1100, 0, GIB))
    assert address_text(found, 0) == "<200> <201> Width 72 Data Width 64 Size unknown\n"


@pytest.mark.parametrize(
    ("size", "text"), [(0x8000 | 100, "100 KB"), (512, "512 MB"), (1536, "1 GB"), (32766, "31 GB")]
)
def test_text_of_sizes(size: int, text: str) -> None:
    assert f" Size {text}\n" in address_text(parse(device(size=size), device_range(0x1100, 0, GIB)), 0)


def test_text_of_the_tables_grows_with_verbosity() -> None:
    found = two_dimms(device(0x1102, size=0), device_range(0x1100, 0, GIB), device_range(0x1101, 0, GIB))
    assert tables_text(found, 0) == ""
    faults = (
        "entry 1102 disabled\n"
        "address ranges in SMBIOS overlap (interleaved DIMMs). SMBIOS DIMM sanity check failed\n"
    )
    assert tables_text(found, 1) == faults
    assert tables_text(found, 2) == tables_text(found, 3)
    assert tables_text(found, 2) == faults + (
        "RANGES\n"
        "range 0-fffff h 1100 a 1300 row 1 ilpos 0 ildepth 0\n"
        "range 0-fffff h 1101 a 1300 row 1 ilpos 0 ildepth 0\n"
        "DMI_DIMMS\n"
        "dimm h 1100 width 72 datawidth 64 size 8192 set 0\n"
        "dimm h 1101 width 72 datawidth 64 size 8192 set 0\n"
    )
    assert "length 92 handle 1100\nstring A1\n" in tables_text(found, 4)
