# SPDX-License-Identifier: GPL-2.0-only
"""Counts of DIMMs: which entries belong to which, what an entry adds, what is shown."""

from __future__ import annotations

import json

import pytest

from mcelogd.ctl.dimmtally import (
    DimmTally,
    increase,
    json_line,
    lines,
    merged,
    place_of_location,
    worst_first,
)
from mcelogd.ctl.look import Look

LAST = 1_795_374_194_000_000
ONE = DimmTally("aa" * 16, "db7", "0/1/0", "B1", 1200, 0, LAST)
OTHER = DimmTally("bb" * 16, "db7", "1/0/any", "", 3, 1, LAST)


@pytest.mark.parametrize(
    ("location", "place"),
    [
        ("socket 0 channel 1 DIMM 0", "0/1/0"),
        ("socket 1 memory controller 0 channel 1 rank 0", "1/1/any"),
        ("socket 12 die 1 channel 3 DIMM 1 chip select 2", "12/3/1"),
        ("channel 1", "any/1/any"),
        ("socket 0", "0/any/any"),
        ("page 0x4c0d00000", ""),
        ("CPU 3", ""),
        ("", ""),
    ],
)
def test_ranks_and_chips_of_a_dimm_are_one_dimm(location: str, place: str) -> None:
    assert place_of_location(location) == place


@pytest.mark.parametrize(
    ("counts", "errors"),
    [
        ([1, 2, 3], 3),
        ([501, 502], 2),
        ([1, 2, 1000, 1001], 1001),  # a storm
        ([7, 8, 1, 2], 4),  # the DIMM was replaced
        ([7, 7, 8], 2),  # a copy, which is not counted
        ([7, None, 8], 3),
        ([None, None], 2),
        ([], 0),
    ],
)
def test_errors_are_told_by_the_counts_of_entries(counts: list[int | None], errors: int) -> None:
    found, before = 0, None
    for count in counts:
        found += increase(before, count)
        before = before if count is None else count
    assert found == errors


def test_a_machine_that_was_renamed_is_one_machine() -> None:
    later = ONE._replace(host="db7-new", corrected=3, uncorrected=1, last=LAST + 1)
    expected = later._replace(corrected=1203)
    assert merged([ONE, OTHER, later]) == [expected, OTHER]
    assert merged([later, ONE]) == [expected]


def test_the_worst_come_first() -> None:
    assert worst_first([OTHER, ONE]) == [ONE, OTHER]
    assert worst_first([OTHER, ONE], more_than=4) == [ONE]
    assert worst_first([OTHER, ONE], more_than=1200) == []
    assert worst_first([OTHER, ONE], most=1) == [ONE]


def test_machines_of_the_same_name_can_be_told_apart() -> None:
    shown = lines([ONE, OTHER], Look(0.0))
    assert [line.split()[0] for line in shown[1:3]] == ["db7~aaaaaa", "db7~bbbbbb"]
    assert shown[1].split()[1:5] == ["0/1/0", "B1", "1,200", "0"]
    assert shown[-1] == "2 DIMMs of 2 machines."
    assert lines([ONE], Look(0.0))[1].startswith("db7 ")
    assert lines([], Look(0.0)) == ["No DIMM."]


def test_json() -> None:
    found = json.loads(json_line(OTHER._replace(label="\x1b[2J")))
    assert found == {
        "machine_id": "bb" * 16,
        "hostname": "db7",
        "place": "1/0/any",
        "label": "\x1b[2J",
        "corrected_errors": 3,
        "uncorrected_errors": 1,
        "last_error": LAST / 1e6,
    }
    assert "label" not in json.loads(json_line(OTHER))
    assert "\x1b" not in json_line(OTHER._replace(label="\x1b[2J"))
