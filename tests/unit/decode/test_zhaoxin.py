# SPDX-License-Identifier: GPL-2.0-only
"""Zhaoxin and Centaur: Intel's architecture, and the banks of the KH-50000."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd import cpu as cpus
from mcelogd.cpu import CENTAUR, ZHAOXIN, ZHAOXIN_KH50000, Vendor, format_cpuid
from mcelogd.decode import bits, decode, zhaoxin
from mcelogd.event import Kind, Location, Severity
from mcelogd.record import MceRecord, layout

FIXTURES = Path(__file__).parents[2] / "fixtures" / "device"
VAL, UC, MISCV = bits.MCI_STATUS_VAL, bits.MCI_STATUS_UC, bits.MCI_STATUS_MISCV


def own_lines(record: MceRecord) -> list[str]:
    """What the KH-50000 adds to the architecture's text."""
    lines = decode(record, ZHAOXIN_KH50000).finding.lines
    return list(lines[len(decode(record, ZHAOXIN).finding.lines) :])


def test_recorded() -> None:
    """Records with the vendor ids of Centaur and Zhaoxin, as the kernel passed them on."""
    centaur, _, other, _ = layout(128).parse_all((FIXTURES / "raw_oddvendor.bin").read_bytes())
    for record, cpu_type in ((centaur, CENTAUR), (other, ZHAOXIN)):
        found = cpus.by_cpuid(record.cpuvendor, record.cpuid)
        assert found is cpu_type
        event = decode(record, found)
        assert (event.kind, event.severity) == (Kind.CACHE, Severity.CORRECTED)
        assert "MCA: Data CACHE Level-3 Generic Error" in event.finding.lines


def test_the_architecture_is_that_of_intel() -> None:
    record = MceRecord(status=VAL | UC | bits.MCI_STATUS_S | bits.MCI_STATUS_AR | 0x0134, mcgcap=1 << 24)
    intel = decode(record, cpus.INTEL).finding
    for cpu_type in (ZHAOXIN, CENTAUR):
        assert decode(record, cpu_type).finding == intel


@pytest.mark.parametrize("vendor", [Vendor.ZHAOXIN, Vendor.CENTAUR])
def test_which_is_the_kh50000(vendor: Vendor) -> None:
    assert cpus.by_cpuid(vendor, format_cpuid(7, 0x7B)) is ZHAOXIN_KH50000
    assert cpus.by_cpuid(vendor, format_cpuid(7, 0x5B)) is ZHAOXIN


@pytest.mark.parametrize(
    ("bank", "status", "lines"),
    [
        (
            0x00,
            2 << 25 | 1 << 23 | 5 << 19 | 3 << 16,
            ["CPU: Machine hung", "IO die: 1", "Core die: 5", "Core: 3"],
        ),
        (0x01, 3 << 24 | 0x0106, ["PL2 cache: Multiple bit ECC error in data"]),
        (0x02, 2 << 16 | 0x0E0B, ["CRMCA0 PCIe: Correctable error"]),
        (0x03, 8 << 16 | 0x0E0B, ["CRMCA0 IO die ZDI: Bad transaction layer packet (DLL)"]),
        (0x04, 3 << 24, ["SVID0: VRM over temperature"]),
        (0x07, 4 << 25, ["Core die ZDI: Surprise down", "IO die: 0", "Core die: 0", "Core: 0"]),
        (0x09, 1 << 16 | 0x0093, ["Memory on channel B1: Single bit ECC error"]),
        (0x15, 4 << 16 | 0x00AF, ["Memory: CRC error"]),
        (0x1F, 6 << 16, ["HIF H3: CXL parity error"]),
        (0x1F, 9 << 16, ["HIF H3: <16:9>"]),
        (0x1F, 0, ["HIF H3: no further code"]),
        (0x08, 1 << 16, []),
    ],
)
def test_kh50000(bank: int, status: int, lines: list[str]) -> None:
    assert own_lines(MceRecord(status=VAL | status, bank=bank)) == lines


def test_kh50000_memory_location() -> None:
    record = MceRecord(status=VAL | MISCV | 1 << 16 | 0x0093, misc=3 << 25 | 0x5A << 9, bank=0x09)
    found = decode(record, ZHAOXIN_KH50000).finding
    assert found.locations == (Location(channel=3, rank=3),)
    assert found.lines[-2:] == ("Rank: 3", "ECC syndrome: 5a")
    without_misc = decode(record._replace(status=record.status & ~MISCV), ZHAOXIN_KH50000).finding
    assert without_misc.locations == (Location(channel=3),)


def test_every_code_of_every_bank_is_shown() -> None:
    for number, bank in zhaoxin.BANKS.items():
        for code, text in bank.error.texts.items():
            lines = own_lines(MceRecord(status=VAL | code << bank.error.lo, bank=number))
            assert lines[0].endswith(f": {text}")


def test_fields_do_not_overlap() -> None:
    for bank in zhaoxin.BANKS.values():
        for fields in ((bank.error, *bank.numbers), bank.misc_numbers):
            for one, other in combinations(fields, 2):
                assert one.hi < other.lo or other.hi < one.lo


@given(st.integers(0, 2**64 - 1), st.integers(0, 2**64 - 1), st.integers(0, 255))
def test_any_record(status: int, misc: int, bank: int) -> None:
    record = MceRecord(status=status, misc=misc, bank=bank, mcgcap=misc)
    for cpu_type in (ZHAOXIN, ZHAOXIN_KH50000, CENTAUR):
        found = decode(record, cpu_type).finding
        assert found.lines
        assert bool(found.locations) is (found.kind is Kind.MEMORY)
