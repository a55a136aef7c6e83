# SPDX-License-Identifier: GPL-2.0-only
"""Events as journal entries: fields, the one line, message ids, the catalog and its reference."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcelogd import cpu, decode, journal, message_ids, report
from mcelogd.event import Event, Finding, Kind, Location, Severity, Tracking
from mcelogd.record import MceRecord

ROOT = Path(__file__).parents[2]
CATALOG = (ROOT / "data/mcelog.catalog").read_text()
REFERENCE = (ROOT / "docs/journal.md").read_text()

IDS = {name: value for name, value in vars(message_ids).items() if name.isupper()}
SERVER = cpu.CpuType("server", "a server", cpu.Vendor.INTEL)
CPUID = 0x606A6
VALID = 1 << 63
UC = 1 << 61
MISCV = 1 << 59
ADDRV = 1 << 58
PCC = 1 << 57
S = 1 << 56
AR = 1 << 55
SER_P = 1 << 24
READ_CH1 = 0x91
PHYSICAL = 2 << 6


def event(status: int = VALID | READ_CH1, **fields: int) -> Event:
    return decode.decode(MceRecord(status=status, **fields), SERVER)


def located(*locations: Location, socketid: int | None = 0) -> Event:
    finding = Finding(Kind.MEMORY, Severity.CORRECTED, "Memory read error", locations=locations)
    return Event(MceRecord(bank=7, extcpu=3, socketid=socketid), SERVER, finding)


# The one line


def test_summary_says_what_where_and_who() -> None:
    happened = event(
        VALID | ADDRV | MISCV | READ_CH1,
        addr=0x123456789,
        misc=PHYSICAL | 6,
        extcpu=3,
        bank=7,
        socketid=0,
        mcgcap=SER_P,
    )
    assert report.summary(happened) == (
        "Corrected memory error on socket 0 channel 1, page 0x123456000: Memory read error (CPU 3 bank 7)"
    )


def test_summary_names_the_label_first() -> None:
    happened = located(Location(channel=1, dimm=0))
    assert report.summary(happened, ["DIMM_A1"]) == (
        "Corrected memory error on DIMM_A1 (socket 0 channel 1 DIMM 0): Memory read error (CPU 3 bank 7)"
    )


def test_summary_names_every_dimm_and_the_socket_once() -> None:
    happened = located(Location(channel=1, dimm=0), Location(channel=2, dimm=1))
    assert " on socket 0 channel 1 DIMM 0 and channel 2 DIMM 1: " in report.summary(happened)
    assert " on A (socket 0 channel 1 DIMM 0) and channel 2 DIMM 1: " in report.summary(happened, ["A"])


def test_summary_without_any_place() -> None:
    happened = located(Location(), socketid=None)
    assert report.summary(happened) == "Corrected memory error: Memory read error (CPU 3 bank 7)"


@pytest.mark.parametrize(
    ("status", "expected"),
    [
        (VALID | 0x145, "error in the level 2 data cache on socket 1: Data CACHE Level-2 Data-Write Error"),
        (VALID | 0x10B, "error in the cache on socket 1: "),
        (VALID | 0x19, "error in the level 1 TLB on socket 1: "),
        (VALID | 0x11, "error in the level 1 instruction TLB on socket 1: "),
        (VALID | 0x80F, "bus or interconnect error on socket 1: generic request, other transaction ("),
        (VALID | 0x913, "bus or interconnect error on socket 1: read request, memory access, timed out ("),
        (VALID | 0x400, "internal processor error on socket 1: Internal Timer error ("),
        (VALID | 0x2000, "unidentified error on socket 1: Unknown Error 2000 ("),
        (VALID | 0xE0B, "bus or interconnect error on socket 1: generic request, I/O ("),
    ],
)
def test_summary_of_other_kinds(status: int, expected: str) -> None:
    summary = report.summary(event(status, socketid=1, bank=2, cpu8=4))
    assert summary.startswith("Corrected " + expected)
    assert summary.endswith(" (CPU 4 bank 2)")


def test_summary_of_an_io_error_names_the_root_port() -> None:
    happened = event(VALID | MISCV | 0xE0B, misc=0x1_0015_0000 | 3 << 24)
    assert "I/O error at PCI root port 1:03:02.5: " in report.summary(happened)
    assert report.fields(happened)["MCE_ROOT_PORT"] == "1:03:02.5"


def test_summary_of_heat() -> None:
    hot = event(1, bank=128, extcpu=3, socketid=1)
    assert report.summary(hot) == "Processor too hot, slowed down: socket 1 CPU 3"
    assert report.summary(event(0, bank=128)).startswith("Processor cool again")


def test_summary_names_software_banks() -> None:
    assert report.summary(event(bank=255)).endswith(" (CPU 0, ACPI/APEI reported error)")


def test_yellow_is_said() -> None:
    happened = event(VALID | 2 << 53 | 0x10A)
    assert happened.finding.tracking is Tracking.YELLOW
    assert ", threshold status yellow (" in report.summary(happened)
    assert report.fields(happened)["MCE_TRACKING"] == "yellow"


def test_a_label_cannot_break_the_line() -> None:
    happened = located(Location(channel=1))
    fields = report.fields(happened, labels=[" DIMM\nMESSAGE=x\x1b[2J\x00 "])
    assert fields["MCE_DIMM_LABEL"] == "DIMM?MESSAGE=x?[2J?"
    assert str(fields["MESSAGE"]).isprintable()


# The fields


def test_fields_of_a_full_record() -> None:
    happened = event(
        VALID | ADDRV | MISCV | 3 << 38 | READ_CH1,
        addr=0x123456789,
        misc=PHYSICAL | 6,
        mcgstatus=5,
        mcgcap=SER_P | 1 << 10,
        ip=0x1000,
        tsc=0xABC,
        time=1700000000,
        cpuid=CPUID,
        extcpu=300,
        bank=7,
        socketid=1,
        apicid=26,
        synd=0x11,
        ipid=0x22,
        ppin=0x33,
        microcode=0x44,
    )
    fields = report.fields(happened, event_id=12, count=5, labels=["DIMM_A1"])
    decoded = str(fields.pop("MCE_DECODED"))
    assert decoded.startswith("Hardware event.")
    assert not decoded.endswith("\n")
    assert "\nMCA: MEMORY CONTROLLER RD_CHANNEL1_ERR\n" in decoded
    assert fields == {
        "MESSAGE": report.summary(happened, ["DIMM_A1"]),
        "MESSAGE_ID": message_ids.CORRECTED_MEMORY_ERROR,
        "PRIORITY": "4",
        "MCE_EVENT_ID": "12",
        "MCE_COUNT": "5",
        "MCE_KIND": "memory",
        "MCE_SEVERITY": "corrected",
        "MCE_CODE": "MEMORY CONTROLLER RD_CHANNEL1_ERR",
        "MCE_CORRECTED_COUNT": "3",
        "MCE_PAGE": "0x123456000",
        "MCE_STATUS": "0x8c0000c000000091",
        "MCE_ADDR": "0x123456789",
        "MCE_MISC": "0x86",
        "MCE_MCGSTATUS": "0x5",
        "MCE_MCGCAP": "0x1000400",
        "MCE_IP": "0x1000",
        "MCE_TSC": "0xabc",
        "MCE_TIME": "1700000000",
        "MCE_SYND": "0x11",
        "MCE_IPID": "0x22",
        "MCE_PPIN": "0x33",
        "MCE_MICROCODE": "0x44",
        "MCE_CPUID": "0x606a6",
        "MCE_CPU": "300",
        "MCE_BANK": "7",
        "MCE_BANK_NAME": "BANK 7",
        "MCE_SOCKET": "1",
        "MCE_APICID": "26",
        "MCE_CHANNEL": "1",
        "MCE_LOCATION": "socket 1 channel 1",
        "MCE_DIMM_LABEL": "DIMM_A1",
    }


ALWAYS = {
    "MESSAGE",
    "MESSAGE_ID",
    "PRIORITY",
    "MCE_KIND",
    "MCE_SEVERITY",
    "MCE_CODE",
    "MCE_STATUS",
    "MCE_MCGSTATUS",
    "MCE_CPU",
    "MCE_BANK",
    "MCE_BANK_NAME",
    "MCE_DECODED",
}
"""What even the emptiest record's entry has."""


def test_fields_of_the_emptiest_record() -> None:
    assert set(report.fields(event(0))) == ALWAYS


def test_registers_that_are_not_valid_are_absent() -> None:
    fields = report.fields(event(VALID | READ_CH1, addr=0x5000, misc=0x86))
    assert not fields.keys() & {"MCE_ADDR", "MCE_MISC", "MCE_PAGE"}
    fields = report.fields(event(VALID | ADDRV | MISCV | READ_CH1, addr=0, misc=0))
    assert (fields["MCE_ADDR"], fields["MCE_MISC"], fields["MCE_PAGE"]) == ("0x0", "0x0", "0x0")


def test_the_bank_has_the_name_its_cpu_gives_it() -> None:
    happened = decode.decode(MceRecord(status=VALID | READ_CH1, bank=4), cpu.K8)
    name = report.fields(happened)["MCE_BANK_NAME"]
    assert name == decode.bank_name(4, cpu.K8) != decode.bank_name(4)
    assert f"CPU 0 {name} " in str(report.fields(happened)["MCE_DECODED"])


def test_socket_and_counts_of_zero_are_known() -> None:
    fields = report.fields(event(socketid=0, apicid=0, mcgcap=1 << 10), event_id=0, count=0)
    names = ("MCE_SOCKET", "MCE_APICID", "MCE_CORRECTED_COUNT", "MCE_EVENT_ID", "MCE_COUNT")
    assert [fields[name] for name in names] == ["0"] * 5


def test_several_locations_repeat_their_fields() -> None:
    happened = located(Location(channel=0, dimm=1), Location(channel=2, dimm=1))
    fields = report.fields(happened, labels=[None, "DIMM_C2"])
    assert fields["MCE_CHANNEL"] == ["0", "2"]
    assert fields["MCE_DIMM"] == "1"
    assert fields["MCE_LOCATION"] == ["socket 0 channel 0 DIMM 1", "socket 0 channel 2 DIMM 1"]
    assert fields["MCE_DIMM_LABEL"] == "DIMM_C2"


def test_every_part_of_a_location_has_its_field() -> None:
    assert tuple(report.LOCATION_FIELDS) == Location._fields
    fields = report.fields(located(Location(*range(100, 111))))
    values = [fields[name] for name in report.LOCATION_FIELDS.values()]
    assert values == [str(number) for number in range(100, 111)]
    assert fields["MCE_BANK"] == "7"


@pytest.mark.parametrize(
    ("misc", "mcgcap", "vendor", "page"),
    [
        (PHYSICAL | 12, SER_P, cpu.Vendor.INTEL, "0x123456000"),
        (PHYSICAL | 13, SER_P, cpu.Vendor.INTEL, None),
        (1 << 6, SER_P, cpu.Vendor.INTEL, None),
        (1 << 6, 0, cpu.Vendor.INTEL, "0x123456000"),
        (0, SER_P, cpu.Vendor.AMD, "0x123456000"),
    ],
)
def test_page_only_of_physical_addresses(misc: int, mcgcap: int, vendor: int, page: str | None) -> None:
    status = VALID | ADDRV | MISCV | READ_CH1
    happened = event(status, addr=0x123456789, misc=misc, mcgcap=mcgcap, cpuvendor=vendor)
    assert report.fields(happened).get("MCE_PAGE") == page


def test_page_only_of_memory_errors() -> None:
    assert "MCE_PAGE" not in report.fields(event(VALID | ADDRV | 0x145, addr=0x5000))


@pytest.mark.parametrize(
    ("status", "severity", "priority", "message_id"),
    [
        (READ_CH1, "corrected", "4", message_ids.CORRECTED_MEMORY_ERROR),
        (UC | READ_CH1, "deferred", "3", message_ids.UNCORRECTED_MEMORY_ERROR),
        (UC | S | AR | READ_CH1, "recoverable", "3", message_ids.UNCORRECTED_MEMORY_ERROR),
        (UC | AR | READ_CH1, "uncorrected", "2", message_ids.UNCORRECTED_MEMORY_ERROR),
        (UC | PCC | READ_CH1, "fatal", "1", message_ids.UNCORRECTED_MEMORY_ERROR),
        (0x145, "corrected", "4", message_ids.CACHE_ERROR),
        (UC | PCC | 0x145, "fatal", "1", message_ids.CACHE_ERROR),
        (0x14, "corrected", "4", message_ids.TLB_ERROR),
        (0x80F, "corrected", "4", message_ids.BUS_ERROR),
        (MISCV | 0xE0B, "corrected", "4", message_ids.IO_ERROR),
        (0x400, "corrected", "4", message_ids.INTERNAL_ERROR),
        (0x2000, "corrected", "4", message_ids.UNKNOWN_ERROR),
    ],
)
def test_id_and_priority_by_kind_and_severity(
    status: int, severity: str, priority: str, message_id: str
) -> None:
    fields = report.fields(event(VALID | status))
    assert (fields["MCE_SEVERITY"], fields["PRIORITY"], fields["MESSAGE_ID"]) == (
        severity,
        priority,
        message_id,
    )


def test_heat_is_a_warning_and_its_end_a_notice() -> None:
    hot, cool = (report.fields(event(status, bank=128)) for status in (1, 0))
    assert (hot["PRIORITY"], cool["PRIORITY"]) == ("4", "5")
    assert hot["MESSAGE_ID"] == cool["MESSAGE_ID"] == message_ids.THERMAL_EVENT


def test_recovery_class_is_given() -> None:
    assert report.fields(event(VALID | UC | S | READ_CH1))["MCE_RECOVERY"] == "SRAO"


def test_no_severity_is_written_to_every_terminal() -> None:
    assert set(report.PRIORITIES) == set(Severity)
    assert min(report.PRIORITIES.values()) > 0


u64 = st.integers(0, 2**64 - 1)
u32 = st.integers(0, 2**32 - 1)
u8 = st.integers(0, 255)


@settings(deadline=None)
@given(
    st.builds(
        MceRecord,
        status=u64,
        misc=u64,
        addr=u64,
        mcgstatus=u64,
        ip=u64,
        tsc=u64,
        time=u64,
        cpuvendor=u8,
        cpuid=u32,
        bank=u8,
        extcpu=u32,
        socketid=st.none() | u32,
        mcgcap=st.none() | u64,
    ),
    st.sampled_from([*cpu.CPU_TYPES]),
    st.lists(st.none() | st.text(max_size=8), max_size=3),
)
def test_any_record_makes_a_sound_entry(
    record: MceRecord, cpu_type: cpu.CpuType, labels: list[str | None]
) -> None:
    fields = report.fields(decode.decode(record, cpu_type), labels=labels)
    assert fields.keys() >= ALWAYS
    assert all(journal.is_field_name(name) for name in fields)
    assert all(value and (isinstance(value, str) or all(value)) for value in fields.values())
    assert str(fields["MESSAGE"]).isprintable()
    assert fields.keys() <= documented_fields()


# Ids, catalog and reference


def catalog_entries() -> dict[str, str]:
    """Name in the comment above the id -> the whole entry."""
    parts = re.split(r"^# ([A-Z_]+)\n(?=-- )", CATALOG, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


def documented_fields() -> set[str]:
    return set(re.findall(r"^\| `([A-Z_]+)` \|", REFERENCE, flags=re.MULTILINE))


def test_ids_are_lower_case_hex_and_unique() -> None:
    assert all(re.fullmatch(r"[0-9a-f]{32}", value) for value in IDS.values())
    assert len(set(IDS.values())) == len(IDS)


def test_every_id_has_one_catalog_entry() -> None:
    in_catalog = re.findall(r"^-- (.*)$", CATALOG, flags=re.MULTILINE)
    assert sorted(in_catalog) == sorted(IDS.values())
    assert {name: text.split()[1] for name, text in catalog_entries().items()} == IDS


def test_every_catalog_entry_has_headers_and_a_body() -> None:
    for name, text in catalog_entries().items():
        head, _, body = text.partition("\n\n")
        keys = [line.split(":")[0] for line in head.splitlines()[1:]]
        assert keys == ["Subject", "Defined-By", "Documentation"], name
        assert "Defined-By: mcelog\n" in head
        assert len(body.split()) > 10, name
        assert all(len(line) <= 80 for line in text.splitlines()), name


def test_every_id_has_one_row_in_the_reference() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \| `([0-9a-f]{32})` \|", REFERENCE, flags=re.MULTILINE)
    assert len(rows) == len(IDS)
    assert dict(rows) == IDS


def test_the_catalog_uses_only_fields_that_are_there() -> None:
    """journalctl shows the bare name of a field that an entry does not have."""
    events = {*report.MESSAGE_IDS.values(), IDS["CORRECTED_MEMORY_ERROR"], IDS["UNCORRECTED_MEMORY_ERROR"]}
    rows = re.findall(
        r"^\| `([A-Z_]+)` \| `[0-9a-f]{32}` \| [^|]*\| ([^|]*)\|", REFERENCE, flags=re.MULTILINE
    )
    promised = {name: set(re.findall(r"`([A-Z_]+)`", fields)) for name, fields in rows}
    for name, text in catalog_entries().items():
        used = set(re.findall(r"@([A-Z_]+)@", text))
        assert used <= (ALWAYS if IDS[name] in events else promised[name]), name
        assert promised[name] <= documented_fields(), name


def test_the_example_shows_a_record_of_ours() -> None:
    example = dict(re.findall(r"^ {8}([A-Z_]+)=(.*)$", REFERENCE, flags=re.MULTILINE))
    assert example.keys() <= documented_fields()
    assert example.keys() >= ALWAYS
    assert example["MESSAGE_ID"] == message_ids.CORRECTED_MEMORY_ERROR


@pytest.mark.parametrize(("origin", "words"), [("kernel-log", "the kernel's log"), ("pstore", "pstore")])
def test_where_a_record_was_found_is_said(origin: str, words: str) -> None:
    plain, found = report.fields(event()), report.fields(event(), marks=("duplicate",), origin=origin)
    assert found["MESSAGE"] == f"{plain['MESSAGE']}, found in {words}"
    assert (found["MCE_ORIGIN"], found["MCE_MARKS"]) == (origin, f"duplicate {origin}")
    assert "MCE_ORIGIN" not in plain
