# SPDX-License-Identifier: GPL-2.0-only
"""account/faults.py: every fault mode with known addresses, the channel, and advice."""

from __future__ import annotations

import pytest
from fault_samples import (
    KEY,
    NOW,
    SAPPHIRE_RAPIDS,
    SCATTERED_IN_A_BANK,
    SCATTERED_IN_A_DEVICE,
    SOMEWHERE,
    Machine,
    after,
    at,
    error,
)

from mcelogd.account.cells import DDR4, FaultMode, cell_of
from mcelogd.account.evidence import MOST_CELLS
from mcelogd.account.faults import FaultTable
from mcelogd.account.memory import ANY, MemoryKey
from mcelogd.account.traces import DAY, HOUR
from mcelogd.account.verdicts import Advice
from mcelogd.event import Event, Kind, Location, Severity


def test_a_lone_error_is_no_fault() -> None:
    machine = after([SOMEWHERE])
    assert machine.verdicts == []
    assert machine.opinion() == ("cell", "none")


def test_a_cell_that_errs_again_is_to_be_watched() -> None:
    machine = after([SOMEWHERE, SOMEWHERE, SOMEWHERE])
    assert [(verdict.mode, verdict.advice) for verdict in machine.verdicts] == [
        (FaultMode.CELL, Advice.WATCH)
    ]
    assert "one cell: memory controller 0, rank 0, bank group 1, bank 2, row 0x1c998, column 0x40" in (
        machine.why()
    )


def test_two_columns_make_a_row() -> None:
    machine = after([at(column=0x40), at(column=0x48)])
    assert machine.opinion() == ("row", "watch")
    assert machine.why().startswith("2 columns of one row: memory controller 0, rank 0, ")


def test_columns_of_one_burst_are_one_cell() -> None:
    """Columns taken too exactly make rows of single cells: a published study had to correct that."""
    machine = after([at(column=0x40 + low) for low in range(8)])
    assert machine.opinion() == ("cell", "watch")
    machine.hit(at(column=0x48))
    assert machine.opinion() == ("row", "watch")


def test_rows_that_differ_in_the_burst_are_one_column() -> None:
    machine = after([at(row=1, column=0x43), at(row=2, column=0x40), at(row=9, column=0x47)])
    assert machine.opinion() == ("column", "watch")
    assert "3 rows of one column" in machine.why()
    assert machine.why().count("column 0x40") == 1


def test_bursts_of_ddr5_are_longer() -> None:
    machine = after([at(column=0x40), at(column=0x48)], cpu_type=SAPPHIRE_RAPIDS)
    assert machine.opinion() == ("cell", "watch")
    machine.hit(at(column=0x50))
    assert machine.opinion() == ("row", "watch")


def test_four_separate_places_make_a_bank() -> None:
    assert after(SCATTERED_IN_A_BANK[:3]).opinion() == ("cell", "watch")
    machine = after(SCATTERED_IN_A_BANK[:4])
    assert machine.opinion() == ("bank", "replace")
    assert machine.why().startswith(
        "4 separate places in one bank: memory controller 0, rank 0, bank group 1"
    )


def test_four_separate_places_in_several_banks_make_a_device() -> None:
    assert after(SCATTERED_IN_A_DEVICE[:3]).opinion() == ("cell", "watch")
    machine = after([place._replace(device=5) for place in SCATTERED_IN_A_DEVICE[:4]])
    assert machine.opinion() == ("device", "replace")
    assert "4 separate places in 4 banks: memory controller 0, rank 0, all of chip 5" in machine.why()


def test_of_ddr5_three_are_enough() -> None:
    for places, mode in ((SCATTERED_IN_A_BANK, "bank"), (SCATTERED_IN_A_DEVICE, "device")):
        spread = [place._replace(column=16 * (place.row or 0)) for place in places]
        assert after(spread[:2], cpu_type=SAPPHIRE_RAPIDS).opinion() == ("cell", "watch")
        assert after(spread[:3], cpu_type=SAPPHIRE_RAPIDS).opinion() == (mode, "replace")


def test_bank_groups_tell_banks_apart() -> None:
    places = [place._replace(bank_group=number % 2) for number, place in enumerate(SCATTERED_IN_A_BANK)]
    assert after(places[:4]).opinion() == ("device", "replace")


def test_a_failing_bank_and_one_other_cell_are_a_bank() -> None:
    machine = after([at(bank=3), *SCATTERED_IN_A_BANK[:6]])
    assert machine.opinion() == ("bank", "replace")
    assert machine.why().startswith(
        "6 separate places in one bank: memory controller 0, rank 0, bank group 1, bank 2"
    )
    machine.hit(at(bank=1))
    assert machine.opinion() == ("device", "replace")


def test_a_row_and_a_stray_cell_are_a_row() -> None:
    row = [at(column=8 * number) for number in range(100)]
    assert after([*row, at(bank=0, row=1, column=0)]).opinion() == ("row", "watch")


def test_a_row_and_a_column_are_two_places_however_many_cells() -> None:
    row = [at(row=5, column=8 * number) for number in range(20)]
    column = [at(row=number, column=0x50) for number in range(20)]
    assert after([*row, *column]).opinion() == ("column", "watch")


def test_rows_in_two_banks_are_reason_to_replace() -> None:
    one = [at(column=0), at(column=8)]
    machine = after([*one, at(row=7, column=0), at(row=7, column=8)])
    assert machine.opinion() == ("row", "watch")
    machine = after([*one, at(bank=3, column=0), at(bank=3, column=8)])
    assert machine.opinion() == ("row", "replace")
    assert "rows of 2 banks fail" in machine.why()


def test_ranks_are_judged_apart() -> None:
    """Two cells in each of two ranks, days apart: neither has enough."""
    places = [place._replace(rank=number % 2) for number, place in enumerate(SCATTERED_IN_A_BANK[:6])]
    assert after(places, apart=2 * HOUR).opinion() == ("cell", "watch")


def test_a_chip_select_stands_for_a_rank() -> None:
    without = at(rank=None, chip_select=3)
    assert cell_of(without, None, DDR4) == cell_of(at(rank=3), None, DDR4)


@pytest.mark.parametrize("missing", ["bank", "row", "column"])
def test_what_is_not_known_stays_unknown(missing: str) -> None:
    places = [place._replace(**{missing: None}) for place in SCATTERED_IN_A_DEVICE]
    machine = Machine()
    for number, place in enumerate(places):
        machine.hit(place, time=NOW + 120 * number, page=number << 12)
    assert machine.opinion() == ("unknown", "watch")
    assert machine.why() == "20 corrected errors, where in the DIMM is not known"
    assert machine.rows == []


def test_the_numbers_behind_a_verdict() -> None:
    machine = Machine()
    for number, column in enumerate((0, 8, 8, 16)):
        machine.hit(at(column=column, device=number % 2), time=NOW + 200 * number)
    verdict = machine.table.verdict(KEY)
    assert verdict is not None
    evidence = verdict.evidence
    assert (evidence.errors, evidence.cells, evidence.rows, evidence.columns, evidence.banks) == (
        4,
        3,
        1,
        3,
        1,
    )
    assert (evidence.devices, evidence.first, evidence.last) == ((0, 1), NOW, NOW + 600)


# The channel ----------------------------------------------------------------


def in_dimm(dimm: int, number: int) -> Location:
    return at(dimm=dimm, rank=None, bank=number % 4, row=100 + number, column=8 * number)


def test_errors_all_over_two_dimms_are_the_channel() -> None:
    machine = Machine()
    for number in range(3):
        machine.hit(in_dimm(number % 2, number), time=NOW + 120 * number)
    assert machine.opinion(MemoryKey(0, 2, 0))[0] == "cell"
    found = machine.hit(in_dimm(1, 3), time=NOW + 500)
    assert {verdict.key for verdict in found.verdicts} == {MemoryKey(0, 2, 0), MemoryKey(0, 2, 1)}
    for dimm in (0, 1):
        assert machine.opinion(MemoryKey(0, 2, dimm)) == ("channel", "channel")
        assert "errors in 2 DIMMs or ranks of the channel within an hour" in machine.why(
            MemoryKey(0, 2, dimm)
        )


def test_errors_all_over_two_ranks_are_the_channel() -> None:
    places = [place._replace(rank=number % 2) for number, place in enumerate(SCATTERED_IN_A_DEVICE)]
    assert after(places[:4]).opinion() == ("channel", "channel")


def test_it_takes_errors_within_an_hour() -> None:
    places = [place._replace(rank=number % 2) for number, place in enumerate(SCATTERED_IN_A_DEVICE)]
    assert after(places[:6], apart=HOUR).opinion()[0] != "channel"


def test_other_channels_and_controllers_have_nothing_to_do_with_it() -> None:
    machine = Machine()
    for number, place in enumerate(SCATTERED_IN_A_DEVICE[:8]):
        machine.hit(place._replace(rank=0, channel=number % 2), time=NOW + 120 * number)
        machine.hit(place._replace(rank=1, channel=3, die=0), time=NOW + 120 * number)
        machine.hit(place._replace(rank=2, channel=3, die=1), time=NOW + 120 * number)
    assert {verdict.mode for verdict in machine.verdicts} == {FaultMode.CELL, FaultMode.DEVICE}


def test_a_failing_dimm_is_not_excused_by_a_stray_error_elsewhere() -> None:
    machine = after(SCATTERED_IN_A_DEVICE[:10])
    machine.hit(at(rank=1), time=NOW + 1500)
    assert machine.opinion() == ("device", "replace")
    row = after([at(column=8 * number) for number in range(30)])
    row.hit(at(rank=1, row=3), time=NOW + 3700)
    row.hit(at(rank=1, row=8, column=0), time=NOW + 3800)
    assert row.opinion() == ("row", "watch")


def test_pages_tell_errors_apart_where_rows_are_not_known() -> None:
    machine = Machine()
    for number in range(4):
        where = Location(channel=1, dimm=number % 2)
        machine.hit(where, time=NOW + 120 * number, page=number << 12)
    assert machine.opinion(MemoryKey(0, 1, 0)) == ("channel", "channel")


def test_two_dimms_that_share_an_error_are_no_channel() -> None:
    machine = Machine()
    for number in range(20):
        machine.hit(in_dimm(0, number), in_dimm(1, number), time=NOW + 120 * number)
    assert machine.opinion(MemoryKey(0, 2, 0)) == ("device", "replace")
    assert machine.opinion(MemoryKey(0, 2, 1)) == ("device", "replace")


def test_the_channel_is_blamed_for_a_week() -> None:
    places = [place._replace(rank=number % 2) for number, place in enumerate(SCATTERED_IN_A_DEVICE)]
    machine = after(places[:4])
    assert machine.table.expire(NOW + 6 * DAY) == []
    (verdict,) = machine.table.expire(NOW + 8 * DAY)
    assert (verdict.mode, verdict.advice, verdict.reasons) == (
        FaultMode.UNKNOWN,
        Advice.NONE,
        ("no errors lately",),
    )
    assert len(machine.table) == 0


def test_the_channel_is_not_blamed_for_what_one_dimm_goes_on_with() -> None:
    places = [place._replace(rank=number % 2) for number, place in enumerate(SCATTERED_IN_A_DEVICE)]
    machine = after(places[:4])
    for number in range(160 * 8):
        machine.hit(at(row=number), time=NOW + 1000 + number * HOUR // 8)
    assert machine.opinion() == ("channel", "channel")
    machine.hit(at(row=1), time=NOW + 8 * DAY + HOUR)
    assert machine.opinion() == ("column", "watch")


def test_what_was_before_that_hour_tells_nothing_of_the_channel() -> None:
    machine = after([*SCATTERED_IN_A_DEVICE[:3]])
    later = NOW + 2 * HOUR
    machine.hit(SCATTERED_IN_A_DEVICE[3], time=later)
    machine.hit(SCATTERED_IN_A_DEVICE[4]._replace(rank=1), time=later + 120)
    machine.hit(SCATTERED_IN_A_DEVICE[5]._replace(rank=1), time=later + 240)
    assert machine.opinion() == ("device", "replace")


# Advice ---------------------------------------------------------------------


def storm(machine: Machine, start: int, errors: int = 10, apart: int = 60) -> None:
    for number in range(errors):
        machine.hit(SOMEWHERE, time=start + apart * number)


def test_the_second_storm_is_reason_to_replace() -> None:
    machine = Machine()
    storm(machine, NOW)
    assert machine.opinion() == ("cell", "watch")
    assert "1 storm of corrected errors within 5 days" in machine.why()
    storm(machine, NOW + DAY)
    assert machine.opinion() == ("cell", "replace")


@pytest.mark.parametrize(
    ("second", "errors", "apart"),
    [
        (NOW + 9 * 60 + HOUR, 10, 60),  # less than an hour after the end of the first: the same
        (NOW + 6 * DAY, 10, 60),  # the first is forgotten
        (NOW + DAY, 9, 60),
        (NOW + DAY, 30, 61),
    ],
)
def test_what_is_no_second_storm(second: int, errors: int, apart: int) -> None:
    machine = Machine()
    storm(machine, NOW)
    storm(machine, second, errors, apart)
    assert machine.opinion() == ("cell", "watch")


def test_a_long_storm_is_one() -> None:
    machine = Machine()
    storm(machine, NOW, errors=3000, apart=50)
    assert machine.opinion() == ("cell", "watch")
    assert len(machine.verdicts) == 1


def test_an_uncorrected_error_is_reason_to_replace_for_a_month() -> None:
    table = FaultTable()
    event = error(Location(channel=1), severity=Severity.DEFERRED)
    (verdict,) = table.account(event, None, NOW).verdicts
    assert (verdict.key, verdict.mode, verdict.advice) == (MemoryKey(0, 1, ANY), "unknown", "replace")
    assert verdict.reasons == ("1 uncorrected error",)
    assert table.expire(NOW + 29 * DAY) == []
    (verdict,) = table.expire(NOW + 30 * DAY)
    assert verdict.advice is Advice.NONE


@pytest.mark.parametrize(
    "event",
    [
        error(Location()),
        error(),
        error(SOMEWHERE, kind=Kind.CACHE, severity=Severity.FATAL),
        error(SOMEWHERE, socket=None),
    ],
)
def test_what_names_no_dimm_is_not_counted(event: Event) -> None:
    table = FaultTable()
    assert table.account(event, None, NOW).verdicts == ()
    assert len(table) == 0


def test_advice_is_not_lowered_until_the_evidence_is_old() -> None:
    machine = after(SCATTERED_IN_A_BANK[:4])
    for day in range(1, 7):
        machine.hit(SCATTERED_IN_A_BANK[0], time=NOW + DAY * day)
        assert machine.opinion() == ("bank", "replace")
    machine.hit(SCATTERED_IN_A_BANK[0], time=NOW + 7 * DAY + HOUR)
    assert machine.opinion() == ("cell", "watch")
    assert [verdict.advice for verdict in machine.verdicts] == ["watch", "replace", "watch"]


def test_evidence_that_newer_errors_push_out_counts_on() -> None:
    machine = after(SCATTERED_IN_A_DEVICE[:4], apart=1)
    for number in range(3 * MOST_CELLS):
        machine.hit(at(bank=1, row=3, column=8 * number), time=NOW + 100)
    assert machine.opinion() == ("device", "replace")
    machine.hit(at(bank=1, row=3, column=0), time=NOW + 2 * HOUR)
    assert machine.opinion() == ("device", "replace")
    for day in range(1, 9):
        machine.hit(at(bank=1, row=3, column=0), time=NOW + DAY * day)
        machine.hit(at(bank=1, row=3, column=8), time=NOW + DAY * day)
    assert machine.opinion() == ("row", "watch")
