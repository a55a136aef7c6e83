# SPDX-License-Identifier: GPL-2.0-only
"""account/duplicates.py: what is one physical error, and what is two."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd import cpu
from mcelogd.account import duplicates
from mcelogd.account.duplicates import MOST_CPUS, MOST_REMEMBERED, WINDOW, Duplicates
from mcelogd.account.pages import PageTable
from mcelogd.decode import decode
from mcelogd.event import Event, Severity
from mcelogd.rate import NEVER
from mcelogd.record import MceRecord

NOW = 1_795_000_000
ICELAKE = cpu.by_cpuid(0, 0x606A6)
SANDY_BRIDGE_EP = cpu.by_cpuid(0, 0x206D7)
ZEN = cpu.by_cpuid(2, 0xA00F11)
UNCORRECTED = 1 << 61
ADDRV = 1 << 58

BANK = MceRecord(
    status=0x8C00004000010091,
    addr=0x12345040,
    misc=0x86,
    bank=13,
    socketid=1,
    extcpu=24,
    time=NOW,
    mcgcap=0xF000C14,
    cpuid=0x606A6,
)
COPY = BANK._replace(
    status=0x9C0000000000009F, addr=0x12345000, misc=0x8C, bank=255, socketid=0, extcpu=0, tsc=99
)


def counted(*records: MceRecord, cpu_type: cpu.CpuType = ICELAKE, table: Duplicates | None = None) -> str:
    """One letter for each record, in order: Counted or a Duplicate."""
    table = table or Duplicates()
    return "".join("CD"[table.is_duplicate(decode(record, cpu_type))] for record in records)


def hardware_count(errors: int) -> MceRecord:
    return BANK._replace(status=BANK.status & ~(0x7FFF << 38) | errors << 38)


def later(record: MceRecord, seconds: int) -> MceRecord:
    return record._replace(time=record.time + seconds)


def test_a_banks_record_and_its_copy_are_one_error_in_either_order() -> None:
    assert counted(BANK, COPY) == "CD"
    assert counted(COPY, BANK) == "CD"


def test_each_error_has_one_copy() -> None:
    assert counted(BANK, COPY, COPY) == "CDC"
    assert counted(BANK, BANK, COPY, COPY, COPY) == "CCDDC"
    assert counted(COPY, BANK, BANK, COPY) == "CDCD"


def test_an_error_that_the_bank_counted_thrice_has_three_copies() -> None:
    assert counted(hardware_count(3), *[COPY] * 4) == "CDDDC"
    assert counted(COPY, COPY, COPY, hardware_count(3), COPY) == "CCCDC"
    assert counted(hardware_count(0), COPY, COPY) == "CDC"


def test_a_bank_that_counted_more_than_was_copied_is_counted() -> None:
    """It is counted as often as it says: better one too many than two too few."""
    assert counted(COPY, hardware_count(3), COPY, COPY) == "CCDD"


@pytest.mark.parametrize("record", [BANK, COPY])
def test_two_records_of_the_same_reporter_are_two_errors(record: MceRecord) -> None:
    assert counted(record, record, record) == "CCC"


@pytest.mark.parametrize(("seconds", "expected"), [(WINDOW, "CD"), (WINDOW + 1, "CC"), (86400, "CC")])
def test_a_copy_comes_within_seconds(seconds: int, expected: str) -> None:
    for first, second in itertools.permutations((BANK, COPY)):
        assert counted(first, later(second, seconds)) == expected
        assert counted(first, later(second, -seconds)) == expected


def test_a_copy_is_of_the_same_page() -> None:
    assert counted(BANK, COPY._replace(addr=0x12345FC0)) == "CD"
    assert counted(BANK, COPY._replace(addr=0x12346000)) == "CC"
    assert counted(BANK, COPY._replace(status=COPY.status & ~ADDRV)) == "CC"


def test_a_corrected_error_is_no_copy_of_an_uncorrected_one() -> None:
    for record in (BANK, COPY):
        worse = record._replace(status=record.status | UNCORRECTED)
        for other in (BANK, COPY):
            assert counted(worse, other) == counted(other, worse) == "CC"
    assert counted(*(record._replace(status=record.status | UNCORRECTED) for record in (BANK, COPY))) == "CC"


def test_other_kinds_and_the_kernels_own_banks_are_not_looked_at() -> None:
    cache = BANK._replace(status=0x8C0000400000010E)
    thermal = BANK._replace(bank=128, status=1)
    made_up = BANK._replace(bank=254)
    assert counted(cache, thermal, made_up, COPY, BANK) == "CCCCD"


def test_amds_channel_addresses_name_no_page() -> None:
    bank = BANK._replace(bank=17, cpuvendor=2, ipid=0x9600050F00, status=0x9C2040000000011B)
    assert counted(bank, COPY._replace(cpuvendor=2, addr=bank.addr), cpu_type=ZEN) == "CC"


SANDY_BANK = BANK._replace(bank=5, extcpu=8, status=0x8C00004000010090)
SANDY_COPY = COPY._replace(bank=1)


def test_sandy_bridges_copy_in_bank_1() -> None:
    assert counted(SANDY_BANK, SANDY_COPY, cpu_type=SANDY_BRIDGE_EP) == "CD"
    assert counted(SANDY_COPY, SANDY_BANK, cpu_type=SANDY_BRIDGE_EP) == "CD"
    assert counted(SANDY_BANK._replace(extcpu=0), SANDY_COPY, cpu_type=SANDY_BRIDGE_EP) == "CD"
    assert counted(SANDY_BANK, SANDY_COPY, cpu_type=ICELAKE) == "CC"
    assert counted(SANDY_BANK, SANDY_COPY._replace(extcpu=2), cpu_type=SANDY_BRIDGE_EP) == "CC"


def test_sandy_bridges_copy_is_of_no_page_as_in_the_c_program() -> None:
    pages = PageTable(NEVER, 10)
    for record in (SANDY_COPY, SANDY_BANK, SANDY_COPY._replace(addr=0x5000)):
        pages.account(decode(record, SANDY_BRIDGE_EP), NOW)
    assert [(page.address, page.total) for page in pages] == [(0x12345000, 1)]


BROADCAST = BANK._replace(status=BANK.status | UNCORRECTED, mcgstatus=5)


def on_cpu(record: MceRecord, number: int) -> MceRecord:
    return record._replace(extcpu=number, apicid=2 * number, tsc=10**12 + number, mcgstatus=4 + number % 2)


def test_an_uncorrected_error_read_by_every_cpu_is_one() -> None:
    event = decode(BROADCAST, ICELAKE)
    assert event.severity is Severity.DEFERRED
    assert counted(*(on_cpu(BROADCAST, number) for number in range(1, 9))) == "CDDDDDDD"


def test_an_uncorrected_error_of_the_same_cpu_is_another() -> None:
    records = [on_cpu(BROADCAST, number) for number in (1, 2, 1, 2, 2)]
    assert counted(*records) == "CDCDC"


@pytest.mark.parametrize(
    "difference",
    [
        {"status": BROADCAST.status ^ 1 << 16},
        {"addr": BROADCAST.addr + 64},
        {"misc": 0x87},
        {"bank": 14},
        {"socketid": 0},
        {"time": NOW + 2},
        {"time": NOW - 2},
        {"synd": 1},
        {"ipid": 1},
    ],
)
def test_an_uncorrected_error_that_differs_at_all_is_counted(difference: dict[str, int]) -> None:
    other = on_cpu(BROADCAST, 2)._replace(**difference)
    assert counted(on_cpu(BROADCAST, 1), other) == "CC"


def test_an_uncorrected_error_without_address_or_socket_is_counted() -> None:
    for record in (BROADCAST._replace(status=BROADCAST.status & ~ADDRV), BROADCAST._replace(socketid=None)):
        assert counted(on_cpu(record, 1), on_cpu(record, 2)) == "CC"


def test_what_is_remembered_is_bounded() -> None:
    table = Duplicates()
    for frame in range(3 * MOST_REMEMBERED):
        for record in (BANK, COPY, BROADCAST):
            table.is_duplicate(decode(record._replace(addr=frame << 14, bank=record.bank), ICELAKE))
    for second in range(1000):
        counted(later(BANK, 7 * second), table=table)
    assert len(table._waiting) <= MOST_REMEMBERED
    assert len(table._broadcasts) == MOST_REMEMBERED
    assert max(len(waiting._times) for waiting in table._waiting.values()) <= duplicates.MOST_TIMES


def test_cpu_numbers_of_damaged_records_are_bounded() -> None:
    table = Duplicates()
    verdicts = [counted(on_cpu(BROADCAST, number), table=table) for number in range(2 * MOST_CPUS)]
    assert verdicts.count("C") == 2


def test_a_storm_of_one_page_is_counted_exactly() -> None:
    records = [later(BANK, second // 100) for second in range(3000)]
    pairs = [record for bank in records for record in (bank, COPY._replace(time=bank.time))]
    assert counted(*pairs) == "CD" * 3000


RECORDS = st.builds(
    lambda record, frame, step, errors: (
        record._replace(
            addr=frame << 12, time=NOW + step, status=record.status & ~(0x7FFF << 38) | errors << 38
        )
        if record is BANK
        else record._replace(addr=frame << 12, time=NOW + step)
    ),
    st.sampled_from((BANK, COPY)),
    st.integers(0, 2),
    st.integers(-9, 9),
    st.integers(0, 3),
)


@given(st.lists(RECORDS, max_size=60))
def test_never_fewer_than_either_reporter_saw(records: list[MceRecord]) -> None:
    """Counting once must not lose errors: what is left is at least what banks say, and what copies say."""
    table = Duplicates()
    events = [decode(record, ICELAKE) for record in records]
    kept = [event for event in events if not table.is_duplicate(event)]

    def errors(of: list[Event]) -> int:
        return sum(max(1, event.finding.corrected_count or 0) for event in of)

    banks = [event for event in events if event.record.bank != 255]
    assert errors(kept) >= max(errors(banks), len(events) - len(banks))
    assert errors(kept) <= errors(events)


@given(st.lists(RECORDS, max_size=40))
def test_the_same_records_are_judged_the_same(records: list[MceRecord]) -> None:
    assert counted(*records) == counted(*records)
