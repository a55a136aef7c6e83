# SPDX-License-Identifier: GPL-2.0-only
"""AMD K8 and families 10h to 16h, and what holds for all of AMD; Scalable MCA is in test_amd_smca.py."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd import cpu as cpus
from mcelogd import render
from mcelogd.ascii import Assembled, assemble
from mcelogd.cpu import K8, Vendor, format_cpuid
from mcelogd.decode import bank_name, bits, decode, is_known_bogus, physical_address
from mcelogd.decode.amd import codes, legacy_tables, smca_banks
from mcelogd.decode.amd.families import FAMILIES
from mcelogd.decode.amd.rules import Rule, find
from mcelogd.event import Finding, Kind, Location, Severity
from mcelogd.record import MceRecord, layout

GOLDEN = Path(__file__).parents[2] / "fixtures" / "decode" / "amd"

VAL = bits.MCI_STATUS_VAL
UC, PCC, OVER = bits.MCI_STATUS_UC, bits.MCI_STATUS_PCC, bits.MCI_STATUS_OVER
MISCV, ADDRV = bits.MCI_STATUS_MISCV, bits.MCI_STATUS_ADDRV
TCC, SYNDV = codes.MCI_STATUS_TCC, codes.MCI_STATUS_SYNDV
CECC, DEFERRED, POISON = codes.MCI_STATUS_CECC, codes.MCI_STATUS_DEFERRED, codes.MCI_STATUS_POISON

MEMORY_READ = 0x011B
"""The error code of a DRAM ECC error."""
UMC_CHANNEL_1 = 0x96_00150F00


def cpu(name: str) -> cpus.CpuType:
    found = cpus.by_name(name)
    assert found is not None
    return found


AMD_CPUS = [row for row in cpus.ALL_CPU_TYPES if row.vendor in (Vendor.AMD, Vendor.HYGON)]


def finding(record: MceRecord, name: str) -> Finding:
    return decode(record, cpu(name)).finding


def zen(family: int = 0x19, model: int = 1, stepping: int = 0, **fields: int) -> MceRecord:
    """A record of a Zen CPU."""
    fields["status"] = fields.get("status", 0) | VAL
    return MceRecord(cpuvendor=Vendor.AMD, cpuid=format_cpuid(family, model, stepping), **fields)


def ipid(hwid: int, mca_type: int, instance: int = 0, instance_hi: int = 0) -> int:
    return mca_type << 48 | instance_hi << 44 | hwid << 32 | instance


def golden_lines() -> list[list[str]]:
    text = (GOLDEN / "legacy.txt").read_text(encoding="utf-8")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


# K8 and families 10h and 11h: the text


class Case(NamedTuple):
    place: str
    record: MceRecord
    lines: list[str]


def k8_cases() -> list[Case]:
    cases: list[Case] = []
    for number, line in enumerate((GOLDEN / "k8.txt").read_text(encoding="utf-8").splitlines(), 1):
        if line.startswith("|"):
            cases[-1].lines.append(line[1:-1])
        elif line and not line.startswith("#"):
            fields = {name: int(value, 0) for name, value in (pair.split("=") for pair in line.split())}
            cases.append(Case(f"line {number}", MceRecord(**fields), []))
    return cases


def shown(record: MceRecord, cpu_type: cpus.CpuType) -> list[str]:
    """The decoded text from behind the head's CPU number to the STATUS line, without registers."""
    lines = render.event_text(decode(record, cpu_type)).splitlines()[1:]
    lines = lines[: next(place for place, line in enumerate(lines) if line.startswith("STATUS "))]
    return [lines[0].removeprefix("CPU 0 ")] + [
        line for line in lines[1:] if not line.startswith(("MISC ", "ADDR "))
    ]


@pytest.mark.parametrize("case", k8_cases(), ids=lambda case: case.place)
@pytest.mark.parametrize("name", ["k8", "amd-10h", "amd-11h"])
def test_old_text(case: Case, name: str) -> None:
    assert shown(case.record, cpu(name)) == case.lines


@pytest.mark.parametrize(
    ("xec", "name"),
    [
        (0x1C, "L3 Cache Data Error"),
        (0x1D, "L3 Cache Tag Error"),
        (0x1E, "L3 Cache LRU Error"),
        (0x1F, "Probe Filter Error"),
        (0x15, "error 15"),
    ],
)
def test_family_10h_has_a_fifth_bit_of_northbridge_errors(xec: int, name: str) -> None:
    record = MceRecord(status=VAL | xec << 16, bank=4)
    assert shown(record, cpu("amd-10h")) == ["4 northbridge ", f"  Northbridge {name}"]
    # K8 has four: bit 20 says nothing.
    assert shown(record, K8)[1] == shown(record._replace(status=VAL | (xec & 0xF) << 16), K8)[1]


def test_bank_names() -> None:
    assert bank_name(4) == bank_name(4, cpu("zen3")) == bank_name(4, cpu("amd-15h")) == "BANK 4"
    assert bank_name(4, K8) == bank_name(4, cpu("amd-10h")) == "4 northbridge"
    assert bank_name(165, K8) == "165 MC4_MISC0 DRAM threshold"
    assert bank_name(165, cpu("amd-16h")) == "Undecoded extended event a5"
    assert bank_name(128, K8) == "THERMAL EVENT"
    assert bank_name(255, K8) == "ACPI/APEI reported error"


# K8 and families 10h to 16h: the meaning


@pytest.mark.parametrize("words", golden_lines(), ids=" ".join)
def test_meaning(words: list[str]) -> None:
    name, bank, code, xec, kind, *text = words
    record = MceRecord(status=VAL | int(xec, 16) << 16 | int(code, 16), bank=int(bank))
    found = finding(record, name)
    assert found.what == f"{FAMILIES[name].banks[int(bank)].name}: {' '.join(text)}"
    assert found.kind == kind
    assert found.classified


@pytest.mark.parametrize("name", FAMILIES)
def test_every_row_has_a_golden_line(name: str) -> None:
    """So each is also reachable, as test_meaning() shows."""
    hit = {
        find(FAMILIES[name].banks[int(bank)].table, int(code, 16), int(xec, 16))
        for cpu_name, bank, code, xec, *_ in golden_lines()
        if cpu_name == name
    }
    assert {rule for bank in FAMILIES[name].banks.values() for rule in bank.table} - hit == set()


def test_every_table_is_used() -> None:
    used = {rule for family in FAMILIES.values() for bank in family.banks.values() for rule in bank.table}
    tables = [value for value in vars(legacy_tables).values() if isinstance(value, tuple)]
    rows = {row for table in tables for row in table if isinstance(row, Rule)}
    assert rows - used == set()


def test_codes_no_table_has_keep_their_numbers() -> None:
    unknown = finding(MceRecord(status=VAL | 0x1F << 16 | 0x0136, bank=2), "amd-15h")
    assert (unknown.kind, unknown.what) == (Kind.UNKNOWN, "Combined unit: error code 136, extended 1f")
    no_bank = finding(MceRecord(status=VAL | 0x0136, bank=9), "amd-16h")
    assert no_bank.what == "Error code 136, extended 0, of bank 9"
    assert not unknown.classified
    assert not no_bank.classified


def test_dram_errors_of_the_northbridge() -> None:
    ecc = MceRecord(status=VAL | CECC | 0x5A << 47 | 0xC3 << 24 | 8 << 16 | 0x0A13, bank=4)
    found = finding(ecc, "amd-15h")
    assert (found.kind, found.severity, found.locations) == (Kind.MEMORY, Severity.CORRECTED, (Location(),))
    assert "ECC syndrome: c35a" in found.lines
    # Only of a parity error of addresses and commands is the channel in the status.
    parity = finding(MceRecord(status=VAL | UC | PCC | 1 << 41 | 0xD << 16 | 0x0A13, bank=4), "amd-10h")
    assert (parity.kind, parity.severity) == (Kind.MEMORY, Severity.FATAL)
    assert parity.locations == (Location(channel=1),)


def test_text_of_family_12h_and_later() -> None:
    status = VAL | OVER | UC | MISCV | ADDRV | 1 << 56 | 2 << 32 | 3 << 36 | 1 << 16 | 0x0E0F
    record = MceRecord(status=status, bank=4, misc=0xC000_0123_0000_0000, mcgstatus=7)
    assert list(finding(record, "amd-15h").lines) == [
        "MCG status:RIPV EIPV MCIP ",
        "MCi status:",
        "Error overflow",
        "Uncorrected error",
        "MCi_MISC register valid",
        "MCi_ADDR register valid",
        "MCA: Northbridge: HyperTransport CRC error",
        "Error code e0f: bus, GEN, no timeout, GEN, GEN, level LG",
        "Link: 3",
        "Core: 2",
        "Threshold counter: 291 of 4095",
    ]


@pytest.mark.parametrize(
    ("bank", "kind"), [(165, Kind.MEMORY), (166, Kind.BUS), (167, Kind.CACHE), (129, Kind.UNKNOWN)]
)
def test_threshold_banks_of_old_kernels(bank: int, kind: Kind) -> None:
    assert finding(MceRecord(status=VAL | MEMORY_READ, bank=bank), "amd-10h").kind is kind


def test_what_firmware_reported_is_not_a_bank_of_the_cpu() -> None:
    """apei_mce_report_mem_error() of the kernel makes up such a record."""
    record = MceRecord(status=VAL | 0x9F, bank=bits.APEI_BANK)
    for name in ("k8", "amd-15h", "zen3", "amd"):
        assert finding(record, name).kind is Kind.MEMORY


@pytest.mark.parametrize(
    ("name", "bank", "status", "severity"),
    [
        ("k8", 4, UC, Severity.UNCORRECTED),
        ("k8", 4, UC | PCC, Severity.FATAL),
        ("k8", 0, DEFERRED | POISON, Severity.CORRECTED),
        ("amd-15h", 0, DEFERRED, Severity.DEFERRED),
        ("amd-15h", 0, UC | POISON, Severity.RECOVERABLE),
        ("amd-15h", 4, UC | POISON, Severity.UNCORRECTED),
        ("amd-15h", 2, UC | TCC, Severity.UNCORRECTED),
        ("amd", 0, UC, Severity.UNCORRECTED),
    ],
)
def test_severity_of_older_cpus(name: str, bank: int, status: int, severity: Severity) -> None:
    assert finding(MceRecord(status=VAL | status, bank=bank), name).severity is severity


# What is known to be harmless, and which addresses are of memory


@pytest.mark.parametrize(
    ("name", "record", "bogus"),
    [
        ("k8", MceRecord(bank=4, status=VAL | UC | 5 << 16), True),
        ("k8", MceRecord(bank=4, status=VAL | 5 << 16), False),
        ("k8", MceRecord(bank=4, status=VAL | UC | 4 << 16), False),
        ("k8", MceRecord(bank=3, status=VAL | UC | 5 << 16), False),
        ("amd-10h", MceRecord(bank=4, status=VAL | UC | 5 << 16), True),
        ("amd-15h", MceRecord(bank=4, status=VAL | 5 << 16), True),
        ("amd-15h", MceRecord(bank=4, status=VAL | 0x15 << 16), False),
        ("zen1", zen(0x17, 0x11, status=0xA << 16, ipid=ipid(0xB0, 1)), True),
        ("zen1", zen(0x17, 0x11, status=0xA << 16, bank=1), True),
        ("zen1", zen(0x17, 0x11, status=0xB << 16, ipid=ipid(0xB0, 1)), False),
        ("zen1", zen(0x17, 0x01, status=0xA << 16, ipid=ipid(0xB0, 1)), False),
        ("zen3", zen(0x19, 0x50, 0), True),
        ("zen3", zen(0x19, 0x50, 0, status=bits.MCI_STATUS_EN), False),
        ("zen3", zen(0x19, 0x50, 1), False),
        ("zen3", zen(bank=4, status=5 << 16), False),
    ],
)
def test_known_bogus(name: str, record: MceRecord, bogus: bool) -> None:
    assert is_known_bogus(record, cpu(name)) is bogus


@pytest.mark.parametrize(
    ("name", "record", "is_physical"),
    [
        ("zen3", zen(status=ADDRV | MEMORY_READ, ipid=UMC_CHANNEL_1), False),
        ("zen3", zen(status=ADDRV | POISON | MEMORY_READ, ipid=UMC_CHANNEL_1), False),
        ("zen5", zen(status=ADDRV | codes.MCI_STATUS_PADDRV, ipid=UMC_CHANNEL_1), True),
        ("zen3", zen(status=ADDRV | UC | POISON, ipid=ipid(0xB0, 0x10)), True),
        ("zen3", zen(status=ADDRV | UC, ipid=ipid(0xB0, 0x10)), False),
        ("zen3", zen(status=UC | POISON, ipid=ipid(0xB0, 0x10)), False),
        ("k8", MceRecord(bank=4, status=VAL | ADDRV | 8 << 16), True),
        ("k8", MceRecord(bank=4, status=VAL | ADDRV | 7 << 16), False),
        ("amd-15h", MceRecord(bank=0, status=VAL | ADDRV | POISON), True),
        ("amd-10h", MceRecord(bank=0, status=VAL | ADDRV | POISON), False),
        ("skylake_server", MceRecord(status=VAL | ADDRV | 0x90), True),
        ("skylake_server", MceRecord(status=VAL | 0x90), False),
    ],
)
def test_which_addresses_are_physical(name: str, record: MceRecord, is_physical: bool) -> None:
    found = physical_address(record._replace(addr=0x12345000), cpu(name))
    assert found == (0x12345000 if is_physical else None)


# Records as none was made


@st.composite
def any_record(draw: st.DrawFn) -> MceRecord:
    """A record of any length, of any AMD CPU, often with a bank type that exists."""
    length = draw(st.sampled_from((72, 88, 104, 128)))
    record = layout(length).parse(draw(st.binary(min_size=length, max_size=length)))
    record = record._replace(bank=draw(st.integers(0, 255) | st.integers(0, 32)))
    if draw(st.booleans()):
        record = record._replace(cpuvendor=Vendor.AMD, cpuid=format_cpuid(*draw(signatures)))
    if record.ipid is not None and draw(st.booleans()):
        known = ipid(*draw(st.sampled_from(sorted(smca_banks.BANK_TYPES))))
        record = record._replace(ipid=known | record.ipid & 0xF000_FFFF_FFFF)
    return record


signatures = st.tuples(st.integers(0xF, 0x1B), st.integers(0, 0xFF))


@given(any_record(), st.sampled_from(AMD_CPUS))
def test_any_record(record: MceRecord, cpu_type: cpus.CpuType) -> None:
    event = decode(record, cpu_type)
    found = event.finding
    assert found.what
    assert all(line == line.rstrip("\n") and "\n" not in line for line in (found.what, *found.lines))
    assert bool(found.locations) is (found.kind is Kind.MEMORY)
    assert (found.cache is not None) is (found.kind in (Kind.CACHE, Kind.TLB))
    assert found.corrected_count is None or record.bank >= bits.FIRST_SOFTWARE_BANK
    assert isinstance(is_known_bogus(record, cpu_type), bool)
    assert physical_address(record, cpu_type) in (None, record.addr)


@given(any_record(), st.sampled_from(AMD_CPUS))
def test_text_is_read_back(record: MceRecord, cpu_type: cpus.CpuType) -> None:
    record = record._replace(status=record.status | VAL | MISCV | ADDRV, time=1700000000)
    text = render.event_text(decode(record, cpu_type))
    (item,) = assemble(text.splitlines(keepends=True))
    assert isinstance(item, Assembled)
    assert (item.record.status, item.record.bank, item.record.misc) == (
        record.status,
        record.bank,
        record.misc,
    )
    assert (item.record.synd or 0, item.record.ipid or 0) == (record.synd or 0, record.ipid or 0)
