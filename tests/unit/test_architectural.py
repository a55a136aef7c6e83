# SPDX-License-Identifier: GPL-2.0-only
"""decode/: the architectural part, and the text around it."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd import cpu, render
from mcelogd.decode import bank_name, decode
from mcelogd.decode.bits import Choice, Flag, Number, describe_bits, describe_numbers, extract
from mcelogd.event import Kind, Recovery, Severity, Tracking
from mcelogd.record import FIELDS, MceRecord

VAL, OVER, UC, EN, MISCV, ADDRV, PCC, S, AR = (1 << bit for bit in range(63, 54, -1))
CMCI, TES, SER = 1 << 10, 1 << 11, 1 << 24


def found(**fields: int) -> MceRecord:
    return MceRecord(**{"mcgcap": CMCI | TES | SER, "socketid": 1, "extcpu": 3, **fields})


@pytest.mark.parametrize(
    ("code", "kind", "what"),
    [
        (0x0000, Kind.UNKNOWN, "No Error"),
        (0x0001, Kind.UNKNOWN, "Unclassified"),
        (0x0002, Kind.INTERNAL, "Microcode ROM parity error"),
        (0x0005, Kind.INTERNAL, "Internal parity error"),
        (0x0006, Kind.INTERNAL, "SMM Handler Code Access Violation"),
        (0x0007, Kind.UNKNOWN, "Unknown Error 7"),
        (0x000C, Kind.CACHE, "Level-0 Generic cache hierarchy error"),
        (0x000F, Kind.CACHE, "Level-3 Generic cache hierarchy error"),
        (0x0010, Kind.TLB, "Instruction TLB Level-0 Error"),
        (0x001A, Kind.TLB, "Generic TLB Level-2 Error"),
        (0x0080, Kind.MEMORY, "MEMORY CONTROLLER GEN_CHANNEL0_ERR"),
        (0x0093, Kind.MEMORY, "MEMORY CONTROLLER RD_CHANNEL3_ERR"),
        (0x00CF, Kind.MEMORY, "MEMORY CONTROLLER MS_CHANNELunspecified_ERR"),
        (0x010A, Kind.CACHE, "Generic CACHE Level-3 Generic Error"),
        (0x0135, Kind.CACHE, "Data CACHE Level-2 Data-Read Error"),
        (0x0151, Kind.CACHE, "Instruction CACHE Level-2 Instruction-Fetch Error"),
        (0x01F4, Kind.CACHE, "Data CACHE Level-1 UNKNOWN Error"),
        (0x0291, Kind.MEMORY, "Memory as cache: MEMORY CONTROLLER RD_CHANNEL1_ERR"),
        (0x0300, Kind.UNKNOWN, "Unknown Error 300"),
        (0x0400, Kind.INTERNAL, "Internal Timer error"),
        (0x0405, Kind.INTERNAL, "Internal unclassified error: 405"),
        (
            0x080F,
            Kind.BUS,
            "BUS error: 1 3 Level-3 Local-CPU-originated-request Generic Other-transaction "
            "Request-did-not-timeout",
        ),
        (
            0x0B3A,
            Kind.BUS,
            "BUS error: 1 3 Level-2 Responed-to-request Data-Read IO Request-timed-out",
        ),
        (0x2001, Kind.UNKNOWN, "Unknown Error 2001"),
        (0xFFFF, Kind.UNKNOWN, "Unknown Error efff"),
    ],
)
def test_mca_error_codes(code: int, kind: Kind, what: str) -> None:
    event = decode(found(status=VAL | code), cpu.INTEL)
    assert (event.kind, event.finding.what) == (kind, what)


@pytest.mark.parametrize(
    ("status", "mcgcap", "severity", "recovery"),
    [
        (VAL, SER, Severity.CORRECTED, None),
        (VAL | UC | PCC, SER, Severity.FATAL, None),
        (VAL | UC | PCC | S | AR, SER, Severity.FATAL, None),
        (VAL | UC, SER, Severity.DEFERRED, Recovery.UCNA),
        (VAL | UC | S, SER, Severity.RECOVERABLE, Recovery.SRAO),
        (VAL | UC | S | AR, SER, Severity.RECOVERABLE, Recovery.SRAR),
        (VAL | UC | AR, SER, Severity.UNCORRECTED, None),
        (VAL | UC | S | AR, CMCI, Severity.UNCORRECTED, None),
        (VAL | UC, 0, Severity.DEFERRED, Recovery.UCNA),
        (VAL | S | AR, SER, Severity.CORRECTED, None),
    ],
)
def test_severity(status: int, mcgcap: int, severity: Severity, recovery: Recovery | None) -> None:
    event = decode(found(status=status | 0x90, mcgcap=mcgcap), cpu.INTEL)
    assert (event.severity, event.finding.recovery) == (severity, recovery)


@pytest.mark.parametrize(
    ("status", "mcgcap", "tracking"),
    [
        (1 << 53, TES, Tracking.GREEN),
        (2 << 53, TES, Tracking.YELLOW),
        (2 << 53, 0, Tracking.YELLOW),
        (2 << 53, CMCI, Tracking.NONE),
        (2 << 53 | UC, TES, Tracking.NONE),
    ],
)
def test_threshold_tracking(status: int, mcgcap: int, tracking: Tracking) -> None:
    assert decode(found(status=status | 0x135, mcgcap=mcgcap), cpu.INTEL).finding.tracking is tracking


def test_corrected_count_is_only_there_where_mcg_cap_says_so() -> None:
    status = VAL | 0x7FFF << 38 | 0x90
    assert decode(found(status=status, mcgcap=CMCI), cpu.INTEL).finding.corrected_count == 0x7FFF
    assert decode(found(status=status, mcgcap=SER), cpu.INTEL).finding.corrected_count is None


def test_the_filtering_bit_does_not_hide_the_code() -> None:
    event = decode(found(status=VAL | 0x1090), cpu.INTEL)
    assert event.kind is Kind.MEMORY
    assert "MCA: corrected filtering (some unreported errors in same region)" in event.finding.lines
    assert "MEMORY CONTROLLER RD_CHANNEL0_ERR" in event.finding.lines


def test_an_io_machine_check_names_its_root_port() -> None:
    event = decode(found(status=VAL | MISCV | 0x0E0B, misc=0x01_80_1B_0000), cpu.INTEL)
    assert event.kind is Kind.IO
    assert str(event.finding.root_port) == "1:80:03.3"
    assert event.finding.lines[-1] == "IO MCA reported by root port 1:80:03.3"
    assert decode(found(status=VAL | 0x0E0B), cpu.INTEL).kind is Kind.BUS


def test_thermal_events() -> None:
    hot = decode(found(bank=128, status=3), cpu.INTEL)
    cool = decode(found(bank=128, status=2), cpu.INTEL)
    assert (hot.kind, hot.severity) == (Kind.THERMAL, Severity.CORRECTED)
    assert (cool.kind, cool.severity) == (Kind.THERMAL, Severity.INFO)
    assert "above trip temperature. Throttling enabled" in hot.finding.lines[0]


def test_the_text_of_a_record() -> None:
    record = MceRecord(
        status=VAL | OVER | EN | MISCV | ADDRV | 0x91,
        misc=0x86,
        addr=0x123456780,
        mcgstatus=5,
        ip=0xFFFFFFFF81000000,
        cs=0x10,
        tsc=0xABC,
        time=0,
        cpuid=0x606A6,
        bank=7,
        extcpu=2,
        socketid=16,
        apicid=18,
        mcgcap=CMCI,
        synd=0,
        ipid=0,
        ppin=0x1234,
        microcode=0xD000375,
    )
    assert render.event_text(decode(record, cpu.INTEL), 4) == (
        "Hardware event. This is not a software error.\n"
        "MCE 4\n"
        "CPU 2 BANK 7 TSC abc \n"
        "RIP !INEXACT! 10:ffffffff81000000\n"
        "MISC 86 ADDR 123456780 \n"
        "MCG status:RIPV MCIP \n"
        "MCi status:\n"
        "Error overflow\n"
        "Corrected error\n"
        "Error enabled\n"
        "MCi_MISC register valid\n"
        "MCi_ADDR register valid\n"
        "MCA: MEMORY CONTROLLER RD_CHANNEL1_ERR\n"
        "Transaction: Memory read error\n"
        f"STATUS {record.status:x} MCGSTATUS 5\n"
        "MCGCAP 400 APICID 12 SOCKETID 10 \n"
        "PPIN 1234\n"
        "MICROCODE d000375\n"
        "CPUID Vendor Intel Family 6 Model 106 Step 6\n"
    )


def test_raw_text() -> None:
    assert render.raw_text(MceRecord(status=VAL, bank=255, cs=0x33, ip=0x10, cpuid=0x606A6, socketid=1)) == (
        "CPU 0\nBANK 255\nTSC 0\nRIP 0x33:0x10\nMISC 0\nADDR 0\nSTATUS 0x8000000000000000\nMCGSTATUS 0\n"
        "PROCESSOR 0:0x606a6\nTIME 0\nSOCKETID 1\n\n"
    )


def test_bank_names() -> None:
    names = [bank_name(bank) for bank in (0, 127, 128, 200, 218, 255)]
    assert names == [
        "BANK 0",
        "BANK 127",
        "THERMAL EVENT",
        "Undecoded extended event c8",
        "Timeout waiting for exception on other CPUs",
        "ACPI/APEI reported error",
    ]


def test_tables_of_bits() -> None:
    fields = [Flag(0, "first"), Choice(4, 6, {1: "one", 2: "x" * 71}), Flag(9, "last")]
    assert describe_bits(0, fields) == []
    assert describe_bits(0x11, fields) == ["first one"]
    assert describe_bits(0x221, fields) == ["first", "x" * 71, "last"]
    assert describe_bits(0x70, fields) == ["<4:7>"]
    numbers = [Number(0, 7, "Count"), Number(8, 11, "Id", 16, always=True)]
    assert describe_numbers(0xF05, numbers) == ["Count: 5", "Id: f"]
    assert describe_numbers(0, numbers) == ["Id: 0"]
    assert extract(0b1011_0000, 4, 6) == 0b011


u64 = st.integers(0, (1 << 64) - 1)
WIDTHS = {"Q": 64, "I": 32, "B": 8}
any_record = st.builds(
    MceRecord, **{field.name: st.integers(0, (1 << WIDTHS[field.format]) - 1) for field in FIELDS}
)


@given(any_record, st.sampled_from(cpu.CPU_TYPES))
def test_any_record_decodes_on_any_cpu(record: MceRecord, cpu_type: cpu.CpuType) -> None:
    event = decode(record, cpu_type)
    text = render.event_text(event)
    assert text.startswith(render.DISCLAIMER)
    assert f"\nSTATUS {record.status:x} MCGSTATUS {record.mcgstatus:x}\n" in text
    assert render.raw_text(record).endswith("\n\n")
    assert event.severity.is_corrected or record.status & UC or record.bank == 128
