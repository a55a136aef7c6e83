# SPDX-License-Identifier: GPL-2.0-only
"""account/parts.py: counters follow a DIMM by its serial number."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mcelogd.account.memory import MemoryErrors, MemoryKey
from mcelogd.account.parts import (
    Changes,
    Part,
    as_object,
    compare,
    key_of,
    load_past,
    load_sitting,
    name_of,
    past,
    sitting,
)

A, B, C = (MemoryKey(0, 0, 0), MemoryKey(0, 0, 1), MemoryKey(1, 2, 0))


def parts(**serials: str) -> dict[MemoryKey, Part]:
    places = {"a": A, "b": B, "c": C}
    return {places[place]: Part(serial) for place, serial in serials.items()}


def test_the_same_dimms_are_no_change() -> None:
    assert compare(parts(a="S1", b="S2"), parts(a="S1", b="S2")) == ({}, [], [])


def test_a_new_serial_number_is_a_new_dimm() -> None:
    assert compare(parts(a="S1", b="S2"), parts(a="S9", b="S2")) == ({}, [], [A])


def test_two_dimms_swapped_take_their_counters_along() -> None:
    assert compare(parts(a="S1", b="S2"), parts(a="S2", b="S1")) == ({A: B, B: A}, [], [])


def test_a_dimm_in_another_slot_leaves_zeros_behind() -> None:
    assert compare(parts(a="S1"), parts(b="S1")) == ({B: A}, [A], [])


def test_a_dimm_moved_and_a_new_one_in_its_place() -> None:
    assert compare(parts(a="S1"), parts(a="S9", b="S1")) == ({B: A}, [A], [])


def test_a_dimm_moved_into_the_place_of_one_that_is_gone() -> None:
    assert compare(parts(a="S1", b="S2"), parts(b="S1")) == ({B: A}, [A], [B])


def test_what_is_gone_may_come_back() -> None:
    assert compare(parts(a="S1", b="S2"), parts(b="S2")) == ({}, [], [])


def test_without_serial_numbers_nothing_follows() -> None:
    assert compare(parts(a="", b="S2"), parts(a="S1", b="")) == ({}, [], [])
    assert compare({}, parts(a="S1")) == ({}, [], [])


@given(st.permutations(["S1", "S2", "S3", "S4"]), st.permutations(["S1", "S2", "S5", "S6"]))
def test_every_known_serial_number_keeps_its_counters(before: list[str], now: list[str]) -> None:
    places = [MemoryKey(0, channel, 0) for channel in range(4)]
    old = {place: Part(serial) for place, serial in zip(places, before, strict=True)}
    new = {place: Part(serial) for place, serial in zip(places, now, strict=True)}
    changes = compare(old, new)
    counted_for = {
        place: "" if place in _anew(changes) else old[changes.moved.get(place, place)].serial
        for place in places
    }
    assert counted_for == {place: part.serial if part in old.values() else "" for place, part in new.items()}


def _anew(changes: Changes) -> set[MemoryKey]:
    return {*changes.emptied, *changes.replaced} - changes.moved.keys()


def test_what_is_saved_is_read_back() -> None:
    found = {A: Part("S1", "DIMM_A1", "P-32G"), C: Part()}
    objects = {key: state for key, state in sitting(found).items() if state}
    assert load_sitting(objects) == found
    row = MemoryErrors(C, 0)
    row.corrected.total, row.uncorrected.total = 7, 1
    entry = past(row, Part("S1"), 1_795_000_000, "another serial number")
    objects |= {key: state for key, state in as_object(entry).items() if state}
    assert load_past(objects) == [entry]
    assert load_sitting(objects) == found
    assert key_of(name_of(C)) == C


@given(st.dictionaries(st.tuples(st.sampled_from(["dimm", "replaced"]), st.text()), st.text()))
def test_damaged_entries_are_left_out(objects: dict[tuple[str, str], str]) -> None:
    objects |= {
        ("dimm", "0/0/0"): '{"serial": 5}',
        ("replaced", "1/0/0/0"): '{"key": [1]}',
        ("dimm", "x"): "[]",
    }
    assert load_sitting(objects)[A] == Part("5")
    assert load_past(objects) == []
