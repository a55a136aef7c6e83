# SPDX-License-Identifier: GPL-2.0-only
"""cpu.py: identities, names, and the table's sanity."""

from __future__ import annotations

from itertools import combinations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd import cpu
from mcelogd.cpu import Vendor


def test_a_model_number_belongs_to_one_cpu() -> None:
    models = [model for row in cpu.ALL_CPU_TYPES for model in row.models]
    assert len(models) == len(set(models))


def test_ranges_of_models_do_not_overlap() -> None:
    ranges = [(row.vendor, *models) for row in cpu.ALL_CPU_TYPES for models in row.ranges]
    for (vendor, family, first, last), (other_vendor, other_family, other_first, other_last) in combinations(
        ranges, 2
    ):
        assert (vendor, family) != (other_vendor, other_family) or last < other_first or other_last < first, (
            f"{family:#x}"
        )


def test_a_name_belongs_to_one_cpu() -> None:
    names = [name for row in cpu.ALL_CPU_TYPES for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))
    assert all(name == name.lower() for name in names)


def test_names_the_c_program_has_not_are_listed_apart() -> None:
    own = cpu.names(new=True)
    assert {"zen1", "zen5", "hygon", "amd-15h", "zhaoxin", "centaur"} <= set(own)
    assert {"k8", "generic", "core_i7", "skylake_server"} <= set(cpu.names(new=False))
    assert cpu.names() == cpu.names(new=False) + own


@pytest.mark.parametrize(
    ("vendor", "eax", "name"),
    [
        (Vendor.INTEL, 0x106A5, "nehalem"),
        (Vendor.INTEL, 0x306F2, "haswell-ep"),
        (Vendor.INTEL, 0x306C3, "haswell"),
        (Vendor.INTEL, 0x306E4, "ivybridge-ep"),
        (Vendor.INTEL, 0x306A9, "ivybridge"),
        (Vendor.INTEL, 0x206D7, "sandybridge-ep"),
        (Vendor.INTEL, 0x606A6, "icelake_server"),
        (Vendor.INTEL, 0x606C1, "icelake-d"),
        (Vendor.INTEL, 0x806F8, "sapphirerapids_server"),
        (Vendor.INTEL, 0x400F10, "diamond_rapids"),
        (Vendor.INTEL, 0xF64, "tulsa"),
        (Vendor.INTEL, 0xF41, "p4"),
        (Vendor.INTEL, 0x683, "p6old"),
        (Vendor.INTEL, 0xF06F0, "intel"),
        (Vendor.INTEL, 0x543, "generic"),
        (Vendor.AMD, 0xF5A, "k8"),
        (Vendor.AMD, 0x6A0, "amd"),
        (Vendor.AMD, 0x100F42, "amd-10h"),
        (Vendor.AMD, 0x200F31, "amd-11h"),
        (Vendor.AMD, 0x300F10, "amd-12h"),
        (Vendor.AMD, 0x500F20, "amd-14h"),
        (Vendor.AMD, 0x600F12, "amd-15h"),
        (Vendor.AMD, 0x730F01, "amd-16h"),
        (Vendor.AMD, 0x800F12, "zen1"),
        (Vendor.AMD, 0x830F10, "zen2"),
        (Vendor.AMD, 0xA00F11, "zen3"),
        (Vendor.AMD, 0xA10F11, "zen4"),
        (Vendor.AMD, 0xB00F21, "zen5"),
        (Vendor.AMD, 0xB90F00, "zen"),
        (Vendor.AMD, 0xF00F00, "zen"),
        (Vendor.HYGON, 0x900F01, "hygon"),
        (Vendor.CENTAUR, 0x6FD, "centaur"),
        (Vendor.CENTAUR, 0x307B0, "zhaoxin"),
        (Vendor.ZHAOXIN, 0x307B0, "zhaoxin"),
        (Vendor.ZHAOXIN, 0x707B0, "kh-50000"),
        (Vendor.CYRIX, 0x600, "generic"),
    ],
)
def test_which_cpu(vendor: Vendor, eax: int, name: str) -> None:
    assert cpu.by_cpuid(vendor, eax).name == name


def test_names_mean_what_they_say() -> None:
    """The C program has had these pairs swapped since v183 (docs/differences.md)."""
    for name, model in (("haswell-ep", 0x3F), ("haswell", 0x3C), ("ivybridge-ep", 0x3E), ("ivybridge", 0x3A)):
        found = cpu.by_name(name)
        assert found is not None
        assert model in found.models


def test_unknown_names() -> None:
    assert cpu.by_name("pentium-9") is None
    nehalem = cpu.by_name("Core_i7")
    assert nehalem is not None
    assert nehalem.name == "nehalem"


def test_zen_generations() -> None:
    """Every model of families 17h, 19h and 1Ah, as Linux arch/x86/kernel/cpu/amd.c has them."""
    generations = {
        (0x17, 0x00): "zen1",
        (0x17, 0x30): "zen2",
        (0x17, 0x50): "zen1",
        (0x17, 0x60): "zen2",
        (0x17, 0x80): "zen",
        (0x17, 0x90): "zen2",
        (0x17, 0x92): "zen",
        (0x17, 0xA0): "zen2",
        (0x17, 0xB0): "zen",
        (0x19, 0x00): "zen3",
        (0x19, 0x10): "zen4",
        (0x19, 0x20): "zen3",
        (0x19, 0x60): "zen4",
        (0x19, 0xB0): "zen",
        (0x1A, 0x00): "zen5",
        (0x1A, 0x30): "zen",
        (0x1A, 0x40): "zen5",
        (0x1A, 0x50): "zen",
        (0x1A, 0x60): "zen5",
        (0x1A, 0x80): "zen",
    }
    for family in (0x17, 0x19, 0x1A):
        expected = ""
        for model in range(0x100):
            expected = generations.get((family, model), expected)
            assert cpu.by_signature(Vendor.AMD, family, model).name == expected, f"{family:x} {model:x}"


def test_new_types_have_their_own_memory_controller() -> None:
    """But for those of which nothing is known: their memory errors are counted per DIMM or channel."""
    assert cpu.K8.integrated_mc
    without = {row.name for row in cpu.NEW_CPU_TYPES if not row.integrated_mc}
    assert without == {"amd", "centaur"}


def test_what_is_decoded_by_the_architecture_alone() -> None:
    unknown = {row.name for row in cpu.ALL_CPU_TYPES if not cpu.is_known(row)}
    assert unknown == {"generic", "intel", "amd", "zen", "zhaoxin", "centaur"}


@given(st.integers(0x10, 0x3F), st.integers(0, 0xFF), st.integers(0, 0xF))
def test_cpuid_round_trip(family: int, model: int, stepping: int) -> None:
    eax = cpu.format_cpuid(family, model, stepping)
    assert cpu.parse_cpuid(eax) == (family, model, stepping)


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 255))
def test_every_cpuid_has_a_type(eax: int, vendor: int) -> None:
    assert cpu.by_cpuid(vendor, eax) in cpu.ALL_CPU_TYPES


@given(st.integers(0, 255))
def test_vendor_names_are_read_back(number: int) -> None:
    assert cpu.vendor_number(cpu.vendor_name(number)) == number


def test_cpuinfo() -> None:
    text = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 106\nmodel name\t: Xeon\n"
    info = cpu.parse_cpuinfo(text)
    assert info is not None
    assert info.cpu_type.name == "icelake_server"
    assert cpu.parse_cpuinfo("") is None
    assert cpu.parse_cpuinfo("vendor_id: GenuineIntel\ncpu family: six\nmodel: 1\n") is None
    zhaoxin = cpu.parse_cpuinfo("vendor_id\t:   Shanghai  \ncpu family\t: 7\nmodel\t: 59\n")
    assert zhaoxin is not None
    assert zhaoxin.cpu_type is cpu.ZHAOXIN
    epyc = cpu.parse_cpuinfo("vendor_id\t: AuthenticAMD\ncpu family\t: 25\nmodel\t\t: 17\n")
    assert epyc is not None
    assert epyc.cpu_type.name == "zen4"
