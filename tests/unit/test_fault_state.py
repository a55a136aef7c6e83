# SPDX-License-Identifier: GPL-2.0-only
"""account/faults.py: what survives, what is bounded, and nonsense."""

from __future__ import annotations

import json

import pytest
from fault_samples import (
    ICE_LAKE,
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
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.account.evidence import MOST_CELLS, WINDOW
from mcelogd.account.faults import FaultTable
from mcelogd.account.memory import ANY, MemoryKey
from mcelogd.account.traces import DAY, HOUR
from mcelogd.account.verdicts import Advice
from mcelogd.event import Event, Location, Severity

MIXED = [
    *SCATTERED_IN_A_DEVICE[:3],
    *(at(channel=1, dimm=1, rank=None, column=8 * number) for number in range(6)),
    *(Location(channel=0, dimm=number % 2) for number in range(4)),
    *(at(channel=3, rank=number % 2, row=number) for number in range(5)),
]


def replay(table: FaultTable, places: list[Location], start: int = 0) -> FaultTable:
    for number, place in enumerate(places, start):
        table.account(error(place, time=NOW + 30 * number), number << 12, NOW + 30 * number)
    return table


def saved(table: FaultTable) -> dict[tuple[str, str], str]:
    return {name: text for name, text in table.take_changed().items() if text is not None}


def test_the_same_events_give_the_same_state() -> None:
    states = saved(replay(FaultTable(), MIXED))
    assert states == saved(replay(FaultTable(), MIXED))
    assert set(states) == {("faults", f"0/{name}") for name in ("2/-1", "1/1", "0/0", "0/1", "3/-1")}


@pytest.mark.parametrize("at_event", range(len(MIXED)))
def test_a_restart_changes_nothing(at_event: int) -> None:
    through = saved(replay(FaultTable(), MIXED))
    first = saved(replay(FaultTable(), MIXED[:at_event]))
    second = FaultTable()
    second.restore(first)
    assert second.take_changed() == {}
    states = {**first, **saved(replay(second, MIXED[at_event:], at_event))}
    assert states == through


def test_after_a_restart_nothing_is_told_or_taken_again() -> None:
    machine = Machine()
    for number in range(5):
        machine.hit(at(column=8 * number), page=number << 12)
    again = FaultTable()
    again.restore(saved(machine.table))
    assert again.verdict(KEY) == machine.table.verdict(KEY)
    event = error(at(column=0), time=NOW + 60)
    assert again.account(event, 0, NOW + 60) == ((), ())
    assert [row.new_pages for row in again.account(event, 0x77000, NOW + 60).rows] == [[0x77000]]


def test_a_row_that_fails_does_so_after_a_restart() -> None:
    machine = Machine()
    for number in range(5):
        machine.hit(at(column=8 * number), page=number << 12)
    again = FaultTable()
    again.restore(saved(machine.table))
    later = NOW + 3 * DAY
    found = again.account(error(at(column=0), time=later), 0x77000, later)
    assert [row.new_pages for row in found.rows] == [[0x77000]]


def test_the_generation_of_memory_is_remembered() -> None:
    spread = [place._replace(column=16 * (place.row or 0)) for place in SCATTERED_IN_A_BANK[:3]]
    machine = after(spread, cpu_type=SAPPHIRE_RAPIDS)
    again = FaultTable()
    again.restore(saved(machine.table))
    assert again.expire(NOW + 2 * HOUR) == []
    assert again.verdict(KEY) == machine.table.verdict(KEY)


def test_of_more_dimms_than_there_is_room_the_latest_are_restored() -> None:
    table = FaultTable()
    for number, channel in enumerate((3, 0, 2, 1)):
        table.account(error(Location(channel=channel), time=NOW + number), None, NOW + number)
    again = FaultTable(limit=2)
    again.restore(saved(table))
    assert [again.verdict(MemoryKey(0, channel, ANY)) is not None for channel in range(4)] == [
        *(False, True, True, False)
    ]
    assert again.take_changed() == {("faults", "0/3/-1"): None, ("faults", "0/0/-1"): None}


def test_what_is_gone_is_deleted_from_the_store() -> None:
    machine = after(SCATTERED_IN_A_DEVICE[:4])
    machine.table.take_changed()
    machine.table.expire(NOW + 20 * DAY)
    assert machine.table.take_changed() == {("faults", "0/2/-1"): None}


def test_acquittal_forgets_evidence_and_advice() -> None:
    machine = after(SCATTERED_IN_A_DEVICE[:4])
    assert machine.table.advice(KEY) is Advice.REPLACE
    assert machine.table.acquit(KEY)
    assert not machine.table.acquit(KEY)
    assert machine.table.advice(KEY) is Advice.NONE
    assert machine.table.verdict(KEY) is None
    machine.hit(SOMEWHERE)
    assert machine.opinion() == ("cell", "none")


def test_a_replaced_dimm_takes_along_what_could_be_its_own() -> None:
    machine = Machine()
    for dimm in (0, 1, None):
        machine.hit(at(dimm=dimm))
    machine.table.forget(MemoryKey(0, 2, 0))
    left = [machine.table.verdict(MemoryKey(0, 2, dimm)) is not None for dimm in (0, 1, ANY)]
    assert left == [False, True, False]


def test_evidence_follows_a_dimm_to_another_slot_without_its_pages() -> None:
    machine = Machine()
    for number in range(5):
        machine.hit(at(dimm=0, column=8 * number), page=number << 12)
    evidence = machine.table.forget(MemoryKey(0, 2, 0))
    assert evidence is not None
    machine.table.put(evidence, MemoryKey(1, 4, 1))
    assert machine.opinion(MemoryKey(1, 4, 1)) == ("row", "watch")
    assert machine.table.verdict(MemoryKey(0, 2, 0)) is None
    event = error(at(channel=4, dimm=1), time=NOW, socket=1)
    assert [row.pages for row in machine.table.account(event, 0x99000, NOW).rows] == [[0x99000]]


def test_damaged_state_is_no_evidence() -> None:
    whole = saved(replay(FaultTable(), MIXED))["faults", "0/1/1"]
    state = json.loads(whole)
    damaged = [
        *(whole[:length] for length in range(0, len(whole), 40)),
        *("[" * 100_000, "null", "3", '"x"', "[]", "{}"),
        *(
            json.dumps({**state, name: value})
            for name in state
            for value in (None, "x", [[]], {"a": 1}, [1e9])
        ),
        json.dumps({**state, "version": 99}),
        json.dumps({**state, "newest": -1}),
        json.dumps({**state, "cells": [[10**30] * 14]}),
    ]
    for text in damaged:
        table = FaultTable()
        table.restore({("faults", "0/1/1"): text})
        replay(table, MIXED)
        table.take_changed()
    table = FaultTable()
    table.restore({("faults", name): whole for name in ("", "0/1", "a/b/c", "00/1/1", "9" * 5000 + "/1/1")})
    table.restore({("cores", "0/1/1"): whole})
    assert len(table) == 0


# Limits, clocks and nonsense ------------------------------------------------


def test_a_dimm_that_errs_everywhere_is_remembered_in_part() -> None:
    machine = Machine()
    for number in range(3000):
        machine.hit(at(bank=number % 16, row=number, column=8 * (number % 128), rank=number % 50))
    verdict = machine.table.verdict(KEY)
    assert verdict is not None
    assert verdict.evidence.cells == MOST_CELLS
    (text,) = saved(machine.table).values()
    assert len(text) < 40_000


def test_a_storm_is_looked_at_once_a_second() -> None:
    """Many errors in one second: what they add up to is known with the first of the next at the latest."""
    machine = Machine()
    for number in range(40):
        machine.hit(at(column=8 * number))
    for number in range(4):
        machine.hit(at(bank=3, row=number, column=8 * number))
    machine.hit(SOMEWHERE, time=NOW + 1)
    assert machine.opinion() == ("bank", "replace")


def test_an_uncorrected_error_is_told_at_once_even_in_a_storm() -> None:
    machine = Machine()
    for number in range(40):
        machine.hit(at(row=number))
    assert machine.opinion() == ("column", "watch")
    found = machine.table.account(error(SOMEWHERE, severity=Severity.FATAL), None, NOW)
    assert [verdict.advice for verdict in found.verdicts] == ["replace"]


def test_the_least_recently_hit_dimm_makes_room() -> None:
    table = FaultTable(limit=3)
    for channel in (0, 1, 2, 0, 3):
        table.account(error(Location(channel=channel)), None, NOW)
    states = table.take_changed()
    assert {name for (_, name), text in states.items() if text} == {"0/0/-1", "0/2/-1", "0/3/-1"}
    assert states["faults", "0/1/-1"] is None


def test_a_clock_that_is_set_back_does_not_make_evidence_last() -> None:
    machine = Machine()
    for place in SCATTERED_IN_A_DEVICE[:4]:
        machine.hit(place, time=NOW + 3000 * DAY)
    machine.hit(SCATTERED_IN_A_DEVICE[0], time=NOW)
    assert machine.opinion() == ("device", "replace")
    machine.table.expire(NOW + 8 * DAY)
    assert machine.table.verdict(KEY) is None


def test_nor_where_no_more_errors_come() -> None:
    machine = Machine()
    for place in SCATTERED_IN_A_DEVICE[:4]:
        machine.hit(place, time=NOW + 3000 * DAY)
    machine.table.expire(NOW)
    assert [verdict.advice for verdict in machine.table.expire(NOW + 8 * DAY)] == ["none"]


def test_a_clock_that_is_set_back_does_not_bring_columns_together() -> None:
    machine = Machine()
    machine.hit(at(column=0), time=NOW + 3000 * DAY, page=0x1000)
    machine.hit(at(bank=0), time=NOW)
    for number in range(3):
        machine.hit(at(column=8), time=NOW + 5 * DAY + number, page=0x2000)
    assert machine.rows == []


def test_an_error_of_the_future_is_of_now() -> None:
    table = FaultTable()
    table.account(error(SOMEWHERE, time=2**63), None, NOW)
    verdict = table.verdict(KEY)
    assert verdict is not None
    assert verdict.time == NOW


def test_an_error_from_before_the_window_is_left_out() -> None:
    table = FaultTable()
    table.account(error(SOMEWHERE), None, NOW)
    for place in SCATTERED_IN_A_DEVICE:
        table.account(error(place, time=NOW - WINDOW), None, NOW)
    verdict = table.verdict(KEY)
    assert verdict is not None
    assert verdict.evidence.errors == 1


NUMBERS = st.none() | st.integers(0, 3) | st.integers(-(2**70), 2**70) | st.just(10**5000)
LOCATIONS = st.builds(Location, *(NUMBERS for _ in Location._fields))
TIMES = st.integers(-(2**70), 2**70) | st.integers(NOW - 10 * DAY, NOW + 10 * DAY)
EVENTS = st.builds(
    lambda places, time, severity, is_ddr5, socket: error(
        *places,
        time=time,
        severity=severity,
        cpu_type=SAPPHIRE_RAPIDS if is_ddr5 else ICE_LAKE,
        socket=socket,
    ),
    st.lists(LOCATIONS, max_size=2),
    TIMES,
    st.sampled_from(Severity),
    st.booleans(),
    st.none() | st.integers(0, 1) | st.just(10**5000),
)


@given(st.lists(st.tuples(EVENTS, NUMBERS, TIMES), max_size=30))
def test_nothing_a_location_or_a_clock_says_can_stop_it(steps: list[tuple[Event, int | None, int]]) -> None:
    table = FaultTable(limit=4)
    for event, page, now in steps:
        for verdict in table.account(event, page, now).verdicts:
            assert verdict.reasons
    states = saved(table)
    again = FaultTable()
    again.restore(states)
    assert len(again) == len(states)
    for _, _, now in steps:
        again.expire(now)
    again.take_changed()


@given(st.lists(st.tuples(*(st.integers(0, 2) for _ in range(4)), st.integers(0, 60)), max_size=60))
def test_more_errors_within_the_window_never_lower_the_advice(steps: list[tuple[int, ...]]) -> None:
    machine = Machine()
    order = list(Advice)
    level = 0
    for number, (rank, bank, row, column, wait) in enumerate(steps):
        machine.hit(at(rank=rank, bank=bank, row=row, column=8 * column), time=NOW + 60 * number + wait)
        now = order.index(machine.table.advice(KEY))
        assert now >= level
        level = now
