# SPDX-License-Identifier: GPL-2.0-only
"""Scalable MCA: the decoder against a golden list that was not made from its tables, and recorded bytes."""

from __future__ import annotations

from pathlib import Path

import pytest

from mcelogd import cpu as cpus
from mcelogd.cpu import AMD, HYGON, Vendor, format_cpuid
from mcelogd.decode import bits, decode
from mcelogd.decode.amd import codes, smca_banks
from mcelogd.decode.amd.families import FAMILIES
from mcelogd.event import Event, Finding, Kind, Location, Severity
from mcelogd.record import MceRecord, layout

FIXTURES = Path(__file__).parents[2] / "fixtures"

VAL, UC, PCC, MISCV = bits.MCI_STATUS_VAL, bits.MCI_STATUS_UC, bits.MCI_STATUS_PCC, bits.MCI_STATUS_MISCV
TCC, SYNDV = codes.MCI_STATUS_TCC, codes.MCI_STATUS_SYNDV
CECC, DEFERRED, POISON = codes.MCI_STATUS_CECC, codes.MCI_STATUS_DEFERRED, codes.MCI_STATUS_POISON

MEMORY_READ = 0x011B
"""The error code of a DRAM ECC error."""
UMC_CHANNEL_1 = 0x96_00150F00


def finding(record: MceRecord, name: str) -> Finding:
    found = cpus.by_name(name)
    assert found is not None
    return decode(record, found).finding


ZEN_CPUS = [
    row
    for row in cpus.NEW_CPU_TYPES
    if row.vendor in (Vendor.AMD, Vendor.HYGON) and row is not AMD and row.name not in FAMILIES
]


def zen(family: int = 0x19, model: int = 1, stepping: int = 0, **fields: int) -> MceRecord:
    """A record of a Zen CPU."""
    fields["status"] = fields.get("status", 0) | VAL
    return MceRecord(cpuvendor=Vendor.AMD, cpuid=format_cpuid(family, model, stepping), **fields)


def ipid(hwid: int, mca_type: int, instance: int = 0, instance_hi: int = 0) -> int:
    return mca_type << 48 | instance_hi << 44 | hwid << 32 | instance


def golden_lines() -> list[list[str]]:
    text = (FIXTURES / "decode" / "amd" / "smca.txt").read_text(encoding="utf-8")
    return [line.split() for line in text.splitlines() if line and not line.startswith("#")]


@pytest.mark.parametrize("words", golden_lines(), ids=" ".join)
def test_extended_code(words: list[str]) -> None:
    signature, hwid, mca_type, xec, name, *needed = words
    family, model = (int(part, 16) for part in signature.split("-"))
    status = VAL | int(xec, 16) << 16 | 0x0E0B
    record = zen(family, model, status=status, ipid=ipid(int(hwid, 16), int(mca_type, 16)))
    found = decode(record, cpus.by_cpuid(record.cpuvendor, record.cpuid)).finding
    text, _, where = found.what.rpartition(" (")
    short = smca_banks.BANK_TYPES[int(hwid, 16), int(mca_type, 16)].short
    assert where == (f"{short})" if name == "-" else f"{short} {name})")
    assert [word for word in needed if word not in text.lower()] == []
    assert found.classified
    assert f"MCA: {found.what}" in found.lines


def test_every_code_has_a_golden_line() -> None:
    golden = {(int(hwid, 16), int(kind, 16), int(xec, 16)) for _, hwid, kind, xec, *_ in golden_lines()}
    tables = {(hwid, kind, xec) for (hwid, kind), bank in smca_banks.BANK_TYPES.items() for xec in bank.codes}
    assert tables - golden == set()
    variants = {
        "19-11": ((0x2E, 2), smca_banks.CS_V2_1384),
        "19-90": ((0x96, 0), smca_banks.UMC_HBM),
    }
    for signature, ((hwid, kind), bank) in variants.items():
        listed = {
            int(words[3], 16)
            for words in golden_lines()
            if words[0] == signature and (int(words[1], 16), int(words[2], 16)) == (hwid, kind)
        }
        assert listed == set(bank.codes)


def test_extended_codes_fit_their_field() -> None:
    for bank in smca_banks.BANK_TYPES.values():
        assert set(bank.codes) <= set(range(64))
        assert bank.kind not in (Kind.CACHE, Kind.TLB) or bank.cache
        assert not any(row.kind in (Kind.CACHE, Kind.TLB) for row in bank.codes.values()) or bank.cache


BANK_NAMES = """
    001 00 System Management Unit
    001 01 System Management Unit
    001 02 Microprocessor 5 Unit
    001 03 MPDMA Unit
    005 00 Parameter Block
    012 00 Microprocessor for RAS
    018 00 Northbridge IO Unit
    02e 00 Coherent Slave
    02e 01 Power, Interrupts, etc.
    02e 02 Coherent Slave
    02e 04 Memory Attached Last Level Cache
    046 00 PCI Express Unit
    046 01 PCI Express Unit
    050 00 Ext Global Memory Interconnect PCS Unit
    05c 00 Die to Die Interconnect
    06c 00 NBIF Unit
    080 00 System Hub Unit
    096 00 Unified Memory Controller
    096 01 Unified Memory Controller v2
    0a8 00 SATA Unit
    0aa 00 USB Unit
    0b0 00 Load Store Unit
    0b0 01 Instruction Fetch Unit
    0b0 02 L2 Cache
    0b0 03 Decode Unit
    0b0 05 Execution Unit
    0b0 06 Floating Point Unit
    0b0 07 L3 Cache
    0b0 10 Load Store Unit
    0be 00 Microprocessor for Data Acceleration
    0f9 00 Microprocessor Manageability Core
    0fd 00 AMD Secure Processor
    0fd 01 AMD Secure Processor
    0ff 00 Platform Security Processor
    0ff 01 Platform Security Processor
    0ff 02 AMD Root of Trust Microprocessor
    157 00 Data Acceleration Front-end
    164 00 Data Acceleration Back-end
    170 00 Ultra Short Reach Data Plane Controller
    180 00 Ultra Short Reach Control Plane Controller
    1e0 00 eDDR5 CMN Unit
    1e1 00 PCIe Link
    241 00 Global Memory Interconnect PCS Unit
    259 00 Ext Global Memory Interconnect PHY Unit
    267 00 WAFL PHY Unit
    269 00 Global Memory Interconnect PHY Unit
"""
"""Hardware id and type, and name (Linux arch/x86/kernel/cpu/mce/amd.c, drivers/edac/mce_amd.c)."""


def test_bank_types() -> None:
    rows = [line.split(maxsplit=2) for line in BANK_NAMES.strip().splitlines()]
    assert len(rows) == len(smca_banks.BANK_TYPES)
    for hwid, kind, name in rows:
        record = zen(ipid=ipid(int(hwid, 16), int(kind, 16), 0x150F00))
        expected = f"Bank type: {name}, HWID {int(hwid, 16):x} type {int(kind, 16):x} instance 150f00"
        assert expected in finding(record, "zen3").lines


def test_memory_errors_are_those_of_the_dram_and_its_wires() -> None:
    found = {
        (*key, xec)
        for key in smca_banks.BANK_TYPES
        for xec in range(64)
        if finding(zen(status=xec << 16 | MEMORY_READ, ipid=ipid(*key)), "zen3").kind is Kind.MEMORY
    }
    assert found == {
        *((0x96, 0, xec) for xec in (0x0, 0x4, 0x5, 0x8, 0x9, 0xB)),
        *((0x96, 1, xec) for xec in (0x0, 0x4, 0x5, 0x8)),
    }


def test_the_same_code_differs_between_models() -> None:
    coherent = ipid(0x2E, 2)
    for family, model, name in ((0x19, 0x01, "SPF_PRT_ERR"), (0x19, 0x11, "SDP_UNEXP_RETRY")):
        assert name in finding(zen(family, model, status=9 << 16, ipid=coherent), "zen4").what
    fetch = ipid(0xB0, 1)
    for family, name in ((0x17, "BpqSnpParT1"), (0x19, "IcUtagParity")):
        assert name in finding(zen(family, status=9 << 16, ipid=fetch), "zen3").what
    # Without CPUID it is as on the first model the CPU type stands for.
    record = MceRecord(status=VAL | 9 << 16, ipid=coherent)
    assert "SDP_UNEXP_RETRY" in finding(record, "zen4").what
    assert "SPF_PRT_ERR" in finding(record, "hygon").what


@pytest.mark.parametrize(
    ("family", "first", "last"),
    [(0x19, 0x10, 0x1F), (0x19, 0x60, 0x7B), (0x19, 0xA0, 0xAF), (0x1A, 0x40, 0x4F)],
)
def test_models_of_erratum_1384(family: int, first: int, last: int) -> None:
    for model in (first - 1, first, last, last + 1):
        found = finding(zen(family, model, status=0xA << 16, ipid=ipid(0x2E, 2)), "zen4")
        moved = first <= model <= last
        assert found.what.endswith("(CS CNTR_OVFL)" if moved else "(CS SPF_ECC_ERR)")


def test_unknown_types_and_codes_keep_their_numbers() -> None:
    unknown = finding(zen(status=0x2A << 16 | MEMORY_READ, ipid=ipid(0x123, 4, 0x77)), "zen")
    assert unknown.what == "Bank of HWID 123 type 4: error code 11b, extended 2a"
    assert "Bank type: not known, HWID 123 type 4 instance 77" in unknown.lines
    new = finding(zen(status=0x3F << 16 | 0x0E0B, ipid=ipid(0x18, 0)), "zen5")
    assert (new.kind, new.what) == (Kind.IO, "Northbridge IO Unit: error code e0b, extended 3f")
    assert not unknown.classified
    assert not new.classified


@pytest.mark.parametrize(
    ("bank", "line"),
    [
        (0, "Bank type: Load Store Unit, by its number"),
        (1, "Bank type: Instruction Fetch Unit, by its number"),
        (2, "Bank type: L2 Cache, by its number"),
        (3, "Bank type: Decode Unit, by its number"),
        (4, "Bank type: not reported"),
        (5, "Bank type: Execution Unit, by its number"),
        (6, "Bank type: Floating Point Unit, by its number"),
        (7, "Bank type: not reported"),
        (20, "Bank type: not reported"),
    ],
)
@pytest.mark.parametrize("ipid_value", [0, None])
def test_without_ipid(bank: int, line: str, ipid_value: int | None) -> None:
    record = MceRecord(status=VAL | MEMORY_READ, bank=bank, ipid=ipid_value)
    for cpu_type in ZEN_CPUS:
        assert line in decode(record, cpu_type).finding.lines


def test_a_code_without_a_bank_is_only_as_much_as_it_says() -> None:
    """The same code stands for an error of the L3 and of DRAM."""
    kinds = {
        MEMORY_READ: Kind.UNKNOWN,
        0x010A: Kind.CACHE,
        0x0014: Kind.TLB,
        0x0E0B: Kind.BUS,
        0: Kind.UNKNOWN,
    }
    for code, kind in kinds.items():
        assert finding(zen(status=code, bank=20), "zen3").kind is kind


# Where, and how bad


@pytest.mark.parametrize(
    ("chip_select", "dimm", "rank"), [(0, 0, 0), (1, 0, 1), (2, 1, 0), (3, 1, 1), (7, 3, 1)]
)
def test_umc_location(chip_select: int, dimm: int, rank: int) -> None:
    reserved = 1 << 7 | 1 << 3
    synd = 0x98DA04 << 32 | 2 << 24 | 32 << 18 | 0xA << 8 | reserved | 2 << 4 | chip_select
    record = zen(status=CECC | SYNDV | MEMORY_READ, ipid=UMC_CHANNEL_1, synd=synd)
    found = finding(record, "zen3")
    where = Location(memory_controller=1, channel=1, chip_select=chip_select, dimm=dimm, rank=rank)
    assert found.locations == (where,)
    place = f"controller 1, channel 1, chip select {chip_select}, DIMM {dimm}, rank {rank}"
    assert f"Memory: {place}, chip ID 2, symbol a" in found.lines
    information = f"{0xA20 + reserved + chip_select:x}"
    assert f"Syndrome: 98da04 of 32 bits, priority corrected, information {information}" in found.lines


@pytest.mark.parametrize(
    ("status", "synd"),
    [(SYNDV, 0), (SYNDV, None), (0, 3), (SYNDV | 4 << 16, 3)],
    ids=["lost", "short record", "not valid", "another error"],
)
def test_no_chip_select_without_a_syndrome(status: int, synd: int | None) -> None:
    record = zen(status=status | MEMORY_READ, ipid=UMC_CHANNEL_1)._replace(synd=synd)
    assert finding(record, "zen3").locations == (Location(memory_controller=1, channel=1),)


@pytest.mark.parametrize(
    ("instance", "instance_hi", "die", "controller", "channel"),
    [
        (0x90F00, 0, 0, 0, 0),
        (0x793F00, 0, 0, 3, 31),
        (0x490F00, 4, 1, 2, 48),
        (0x191F00, 15, 3, 0, 101),
    ],
)
def test_memory_on_the_package(
    instance: int, instance_hi: int, die: int, controller: int, channel: int
) -> None:
    """Instances of the MI300A: `chN umcM`, die and socket in InstanceIdHi."""
    record = zen(0x19, 0x90, status=MEMORY_READ, ipid=ipid(0x96, 0, instance, instance_hi))
    where = Location(die=die, memory_controller=controller, channel=channel)
    assert finding(record, "zen4").locations == (where,)


def test_memory_of_a_gpu_node() -> None:
    record = zen(0x19, 0x30, status=MEMORY_READ, ipid=ipid(0x96, 1, 0x352000, 9))
    where = Location(die=1, memory_controller=1, channel=32 + 8 + 6)
    assert finding(record, "zen3").locations == (where,)


SEVERITIES = (
    (0, Severity.CORRECTED),
    (CECC | POISON, Severity.CORRECTED),
    (DEFERRED, Severity.DEFERRED),
    (DEFERRED | UC, Severity.RECOVERABLE),
    (UC, Severity.RECOVERABLE),
    (UC | POISON, Severity.RECOVERABLE),
    (UC | TCC, Severity.UNCORRECTED),
    (UC | TCC | POISON | DEFERRED, Severity.UNCORRECTED),
    (UC | PCC, Severity.FATAL),
    (UC | TCC | PCC | POISON | DEFERRED, Severity.FATAL),
)


@pytest.mark.parametrize(("status", "severity"), SEVERITIES)
def test_severity_of_scalable_mca(status: int, severity: Severity) -> None:
    found = finding(zen(status=status, mcgstatus=1, ipid=UMC_CHANNEL_1), "zen3")
    assert found.severity is severity
    headline = {Severity.CORRECTED: "Corrected error", Severity.DEFERRED: "Deferred error"}
    assert headline.get(severity, "Uncorrected error") in found.lines


@pytest.mark.parametrize(
    ("misc", "line"),
    [
        (0xD01A_0FFE_0100_0000, "Threshold counter: 4094 of 4095"),
        (0xD01B_0FFF_0100_0000, "Threshold counter: 4095 of 4095, overflow"),
        (0xE000_0005_0000_0000, "Threshold counter: 5 of 4095, locked by firmware"),
        (0x8000_0005_0000_0000, None),
        (0x4000_0005_0000_0000, None),
    ],
)
def test_threshold_counter(misc: int, line: str | None) -> None:
    found = [
        text for text in finding(zen(status=MISCV, misc=misc), "zen2").lines if text.startswith("Threshold")
    ]
    assert found == ([line] if line else [])
    assert "Threshold" not in " ".join(finding(zen(misc=misc), "zen2").lines)


# Records as a kernel made them, and as none did


def events(name: str) -> list[Event]:
    data = (FIXTURES / "device" / name).read_bytes()
    return [
        decode(record, cpus.by_cpuid(record.cpuvendor, record.cpuid))
        for record in layout(128).parse_all(data)
    ]


def test_recorded_memory_errors() -> None:
    found = events("amd19_umc_ce.bin")
    assert {(event.kind, event.severity, event.cpu_type.name) for event in found} == {
        (Kind.MEMORY, Severity.CORRECTED, "zen3")
    }
    places = [event.finding.locations[0] for event in found]
    assert [(place.channel, place.chip_select) for place in places] == [(1, 1), (1, 2), (3, 3), (3, 4)]
    (older,) = events("amd19_fam17.bin")
    assert (older.cpu_type.name, older.finding.what) == ("zen2", "DRAM ECC error (UMC DramEccErr)")


def test_recorded_deferred_and_poison() -> None:
    deferred, poison = events("amd19_umc_deferred.bin")
    assert (deferred.kind, deferred.severity) == (Kind.MEMORY, Severity.DEFERRED)
    assert (poison.kind, poison.severity) == (Kind.CACHE, Severity.RECOVERABLE)
    assert poison.finding.cache is not None
    assert (poison.finding.cache.type_name, poison.finding.cache.level) == ("Data", 1)
    assert "Poison consumed" in poison.finding.lines


@pytest.mark.parametrize(
    "name", ["amd19_write_umc_ce.bin", "amd19_debugfs_umc_ce.bin", "amd19_write_bank4.bin"]
)
def test_recorded_without_ipid(name: str) -> None:
    first = events(name)[0]
    assert (first.kind, first.severity) == (Kind.UNKNOWN, Severity.CORRECTED)
    assert "Bank type: not reported" in first.finding.lines


def test_hygon() -> None:
    hygon = events("raw_oddvendor.bin")[1]
    assert (hygon.cpu_type, hygon.finding.what) == (HYGON, "L2 tag multiple-way hit (L2 MultiHit)")
