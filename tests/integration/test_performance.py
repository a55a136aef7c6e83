# SPDX-License-Identifier: GPL-2.0-only
"""The cheap ones of the measurements in bench/, so that nothing becomes slow unnoticed.

Held are ratios of processor time, to a floor that is measured in turns with
it, with room for a machine that does other things: two to three times what
docs/performance.md shows. What fails here by a little is to be measured there.
"""

from __future__ import annotations

import sys
import time
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))

import burst
import common
import growth
import start
import throughput

from . import processes

STARTS = 7
"""Rounds of starting commands."""

EVENTS = 2000

MIB = 1 << 20


@pytest.fixture(scope="module")
def started() -> dict[str, float]:
    """Each command's cost as a multiple of an interpreter's that does nothing."""
    spent = start.commands_in_turns(STARTS)
    return {name: common.ratio(times, spent[start.NOTHING]) for name, times in spent.items()}


@pytest.mark.parametrize(
    ("command", "most"),
    [
        ("mcelog --version", 1.8),
        ("mcelog --client", 3.5),
        ("mcelog --ascii, one record", 10),
        ("mcelogctl --version", 3),
        ("mcelogctl --help", 5.5),
    ],
)
def test_commands_start_fast(started: dict[str, float], command: str, most: float) -> None:
    assert started[command] < most


def test_an_event_costs_little_more_than_keeping_and_telling_it() -> None:
    records = list(common.distinct(EVENTS))
    told, _, size = throughput.whole(records, every=True)
    keep, tell = throughput.commit(records) / EVENTS, throughput.send(EVENTS, size) / EVENTS
    storm = throughput.whole([records[0]] * EVENTS, every=False)[0]
    assert told < 60 * (keep + tell)
    assert storm < 25 * keep


def test_a_burst_is_taken_whole_and_in_little_memory() -> None:
    outcome = burst.measured(list(common.distinct(6000)), 0)
    assert outcome.lost == 0
    assert outcome.peak - outcome.before < 24 * MIB


def test_a_daemon_with_nothing_to_do_does_nothing() -> None:
    with common.Daemon() as daemon:
        time.sleep(2)  # its first commit, the status line
        before = processes.wake_ups(daemon.pid), processes.descriptors(daemon.pid)
        time.sleep(4)
        assert processes.wake_ups(daemon.pid) - before[0] <= 1
        for _ in range(20):
            daemon.send(common.memory_error(1))
            time.sleep(0.01)
        daemon.wait_stored(20)
        assert processes.descriptors(daemon.pid) == before[1]


def test_memory_is_little_more_than_that_of_the_imports() -> None:
    """Also when every table is as full as it gets: the goal, and what is missed by is not noise."""
    least = common.bare(common.imported()).memory
    with common.Daemon() as daemon:
        assert processes.memory(daemon.pid) - least < 5 * MIB
        count = growth.LIMIT + 2000
        daemon.send(b"".join(common.distinct(count)))
        daemon.wait_stored(count)
        assert processes.memory(daemon.pid) - least < 12 * MIB


def test_no_table_gets_slow_by_what_is_in_it() -> None:
    few, many = (growth.page_costs(count).each for count in (1, 2 * growth.LIMIT))
    assert many < 5 * few


def test_no_question_to_the_store_reads_all_of_it(tmp_path: Path) -> None:
    few, many = tmp_path / "few.db", tmp_path / "many.db"
    growth.fill(few, 10_000)
    growth.fill(many, 40_000)
    least, most = growth.query_times(few, 10_000), growth.query_times(many, 40_000)
    for question, milliseconds in most.items():
        assert milliseconds < 3 * least[question] + 5, question
