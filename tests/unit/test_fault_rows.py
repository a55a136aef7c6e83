# SPDX-License-Identifier: GPL-2.0-only
"""account/faults.py: the row rule, and the published case it is measured by."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fault_samples import ICE_LAKE, NOW, SCATTERED_IN_A_DEVICE, SOMEWHERE, Machine, at

from mcelogd.account.faults import FaultTable, RowCrossing
from mcelogd.account.memory import ANY, MemoryKey
from mcelogd.account.pages import PageTable
from mcelogd.account.traces import DAY
from mcelogd.account.verdicts import Advice
from mcelogd.decode import decode
from mcelogd.rate import parse_rate
from mcelogd.record import MceRecord
from mcelogd.report import page_of

if TYPE_CHECKING:
    from mcelogd.event import Event

ROW_OF_THE_CASE = 0x1C998
COLUMNS_OF_THE_CASE = [
    *(0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48),
    *(0x88, 0xA0, 0xC8, 0xF0),
    *(0x108, 0x140, 0x1C0),
    *(0x188, 0x1A8, 0x1E0),
    *(0x200, 0x248, 0x270),
    *(0x280, 0x2B0, 0x2E8),
    *(0x300, 0x310, 0x360, 0x368),
    *(0x380, 0x388, 0x390, 0x3C8),
]
"""34 errors. Of a row of 8 KiB each page holds 1 KiB, 128 columns, if memory is interleaved four times."""


def ice_lake_record(row: int, column: int, address: int, time: int) -> MceRecord:
    """A corrected read error of channel 0 at rank 1, bank group 2, bank 3, device 7."""
    dram = (column >> 2) << 9 | row << 19 | 2 << 40 | 3 << 42 | 7 << 46 | 1 << 56
    return MceRecord(
        status=0x8C00_0040_0080_0090,
        addr=address,
        misc=dram | 2 << 6 | 6,
        mcgcap=0x0F00_0C1C | 1 << 24,
        bank=13,
        cpuid=0x606A6,
        socketid=0,
        time=time,
    )


def published_case() -> list[Event]:
    """In nine minutes; the row's pages are neighbours in the address space."""
    events = []
    for number, column in enumerate(COLUMNS_OF_THE_CASE):
        page = 0x4C0D00000 + (column >> 7 << 12)
        address = page + (column & 0x7F) * 8
        record = ice_lake_record(ROW_OF_THE_CASE, column, address, NOW + number * 540 // 34)
        events.append(decode(record, ICE_LAKE))
    return events


def test_the_published_case_takes_eight_pages_and_no_more() -> None:
    events = published_case()
    assert len(events) == 34
    (place,) = events[-1].finding.locations
    assert (place.rank, place.bank_group, place.bank, place.row, place.column) == (1, 2, 3, 0x1C998, 0x3C8)
    table = FaultTable()
    crossings = [row for event in events for row in table.account(event, page_of(event), NOW + 540).rows]
    taken = [page for crossing in crossings for page in crossing.new_pages]
    assert taken == [0x4C0D00000 + (number << 12) for number in (0, 1, 2, 3, 4, 5, 6, 7)]
    assert crossings[-1].pages == taken
    assert crossings[0] == RowCrossing(MemoryKey(0, 0, ANY), 1, 2, 3, 0x1C998, taken[:1], taken[:1])
    assert table.advice(MemoryKey(0, 0, ANY)) is Advice.WATCH


def test_the_page_rule_alone_takes_one_page_of_the_published_case() -> None:
    """With the threshold of the time, 10 / 24h."""
    pages = PageTable(parse_rate("10 / 24h"), 100)
    crossings = [crossing for event in published_case() for crossing in pages.account(event, NOW + 540)]
    assert {crossing.page.address for crossing in crossings} == {0x4C0D00000}


def test_the_row_rule_says_so_at_the_third_error_and_then_at_each_new_page() -> None:
    machine = Machine()
    machine.hit(at(column=0), page=0x1000)
    machine.hit(at(column=0x100), page=0x2000)
    assert machine.rows == []
    machine.hit(at(column=0), page=0x1000)
    assert [(row.pages, row.new_pages) for row in machine.rows] == [([0x1000, 0x2000], [0x1000, 0x2000])]
    machine.hit(at(column=0x100), page=0x2000)
    assert len(machine.rows) == 1
    machine.hit(at(column=0x200), time=NOW + 3 * DAY, page=0x3000)
    assert machine.rows[-1].new_pages == [0x3000]
    machine.hit(at(row=1, column=0x200), time=NOW + 3 * DAY, page=0x9000)
    assert len(machine.rows) == 2


def test_one_column_is_no_row_however_often() -> None:
    machine = Machine()
    for number in range(100):
        machine.hit(at(column=number % 8), page=0x1000)
    assert machine.rows == []
    machine.hit(at(column=8), page=0x2000)
    assert machine.rows[0].new_pages == [0x1000, 0x2000]


def test_columns_a_day_apart_are_no_row() -> None:
    machine = Machine()
    for day in range(5):
        machine.hit(at(column=8 * day), time=NOW + DAY * day, page=day << 12)
    assert machine.rows == []


def test_an_error_of_the_day_before_is_no_second_column() -> None:
    machine = Machine()
    machine.hit(at(column=0), page=0x1000)
    for number in range(5):
        machine.hit(at(column=8), time=NOW + DAY + number, page=0x2000)
    assert machine.rows == []


def test_at_most_so_many_pages_of_a_row() -> None:
    for table, most in ((FaultTable(), 16), (FaultTable(pages_of_a_row=2), 2)):
        machine = Machine(table)
        for number in range(40):
            machine.hit(at(column=8 * number), page=number << 12)
        assert [page >> 12 for row in machine.rows for page in row.new_pages] == list(range(most))


def test_the_threshold_of_rows_can_be_set() -> None:
    machine = Machine(FaultTable(parse_rate("5 / 1h")))
    for number in range(4):
        machine.hit(at(column=8 * number), page=number << 12)
    assert machine.rows == []
    machine.hit(SOMEWHERE, page=0x7000)
    assert len(machine.rows) == 1


def test_an_inexact_page_is_not_taken() -> None:
    machine = Machine()
    for number in range(5):
        machine.hit(at(column=8 * number))
    assert machine.rows == []
    record = ice_lake_record(1, 8, 0x12345678, NOW)
    vague = decode(record._replace(misc=record.misc & ~0x3F | 13), ICE_LAKE)
    assert page_of(vague) is None


def test_no_pages_are_taken_for_a_fault_of_the_channel() -> None:
    machine = Machine()
    for number, place in enumerate(SCATTERED_IN_A_DEVICE[:6]):
        machine.hit(place._replace(rank=number % 2), page=number << 12)
    assert machine.opinion() == ("channel", "channel")
    for number in range(10):
        machine.hit(at(column=8 * number), page=number << 12)
    assert machine.rows == []
