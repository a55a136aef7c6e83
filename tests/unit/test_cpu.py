# SPDX-License-Identifier: GPL-2.0-only
"""cpu.py: identities, names, and the table's sanity."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd import cpu
from mcelogd.cpu import Vendor


def test_a_model_number_belongs_to_one_cpu() -> None:
    models = [model for row in cpu.CPU_TYPES for model in row.models]
    assert len(models) == len(set(models))


def test_a_name_belongs_to_one_cpu() -> None:
    names = [name for row in cpu.CPU_TYPES for name in (row.name, *row.aliases)]
    assert len(names) == len(set(names))
    assert all(name == name.lower() for name in names)


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


@given(st.integers(0x10, 0x3F), st.integers(0, 0xFF), st.integers(0, 0xF))
def test_cpuid_round_trip(family: int, model: int, stepping: int) -> None:
    eax = cpu.format_cpuid(family, model, stepping)
    assert cpu.parse_cpuid(eax) == (family, model, stepping)


@given(st.integers(0, 0xFFFFFFFF), st.integers(0, 255))
def test_every_cpuid_has_a_type(eax: int, vendor: int) -> None:
    assert cpu.by_cpuid(vendor, eax) in cpu.CPU_TYPES


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
    assert zhaoxin.vendor == Vendor.ZHAOXIN
