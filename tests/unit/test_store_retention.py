# SPDX-License-Identifier: GPL-2.0-only
"""store/retention.py: old records go, counters stay, ids go on, and the file keeps to its size."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest
from store_samples import batch, counted, event, full_size, ids, pruned

from mcelogd.store.database import Store
from mcelogd.store.retention import ALWAYS_KEPT, DAY, Limits
from mcelogd.store.rows import Batch

FIXTURES = Path(__file__).parents[1] / "fixtures/store"

NOW = 1_795_000_000


class Clock:
    """Stands still."""

    def __init__(self) -> None:
        self.now = NOW

    def __call__(self) -> float:
        return self.now


@pytest.mark.parametrize(
    ("ages", "kept"),
    [
        ([40, 31, 30, 1], [3, 4]),
        ([30, 1], [1, 2]),
        ([40, 31], []),
        # A clock that was wrong: what came before and after decides.
        ([40, 2, 20_000, 1], [2, 3, 4]),
        ([40, -9000, 39, 2], [2, 3, 4]),
    ],
)
def test_what_is_too_old_goes(tmp_path: Path, ages: list[int], kept: list[int]) -> None:
    clock = Clock()
    with closing(Store(tmp_path / "db", Limits(days=30), clock)) as store:
        for number, age in enumerate(ages, 1):
            clock.now = NOW - age * DAY
            store.commit(counted(number))
        clock.now = NOW
        assert pruned(store) == kept
        assert pruned(store) == kept
        saved = store.load()
        assert saved.memory[0].corrected.total == saved.last_event_id == len(ages)


def test_the_time_of_an_event_says_nothing(tmp_path: Path) -> None:
    """It was read today, from an old file maybe."""
    clock = Clock()
    with closing(Store(tmp_path / "db", Limits(days=30), clock)) as store:
        store.commit(Batch([event(1), event(2)._replace(time=2 * NOW)], [], [], [], {}, None))
        clock.now += 30 * DAY
        assert pruned(store) == [1, 2]
        clock.now += DAY
        assert pruned(store) == []


def test_days_are_not_remembered_for_ever(tmp_path: Path) -> None:
    clock = Clock()
    with closing(Store(tmp_path / "db", Limits(days=3), clock)) as store:
        for number in range(1, 50):
            clock.now += DAY
            store.commit(batch(number))
            pruned(store)
        assert ids(store) == [46, 47, 48, 49]
    with closing(sqlite3.connect(tmp_path / "db")) as db:
        assert db.execute("SELECT count(*) FROM days").fetchone()[0] <= 5


def test_records_of_an_old_schema_go_by_their_own_times(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "db")) as db:
        db.executescript((FIXTURES / "v1.sql").read_text(encoding="utf-8"))
    clock = Clock()
    with closing(Store(tmp_path / "db", Limits(days=30), clock)) as store:
        assert pruned(store) == [1, 2, 3, 4]
        clock.now += 32 * DAY
        # The fourth is of a day that never comes.
        assert pruned(store) == [4]


def test_without_limits_everything_stays(tmp_path: Path) -> None:
    clock = Clock()
    with closing(Store(tmp_path / "db", clock=clock)) as store:
        store.commit(batch(1))
        clock.now += 9999 * DAY
        store.commit(batch(2))
        assert pruned(store) == [1, 2]


def test_a_step_is_no_longer_than_asked_for(tmp_path: Path) -> None:
    clock = Clock()
    with closing(Store(tmp_path / "db", Limits(days=1), clock)) as store:
        store.commit(batch(*range(1, 26)))
        clock.now += 3 * DAY
        assert store.prune(10)
        assert ids(store)[0] == 11
        assert store.prune(10)
        assert not store.prune(10)
        assert ids(store) == []


def test_ids_go_on_when_everything_is_deleted(tmp_path: Path) -> None:
    clock = Clock()
    with closing(Store(tmp_path / "db", Limits(days=1), clock)) as store:
        store.commit(batch(*range(1, 11)))
        clock.now += 3 * DAY
        assert pruned(store) == []
    with closing(Store(tmp_path / "db")) as store:
        assert store.load().last_event_id == 10


def test_the_last_records_stay_where_the_counters_alone_are_too_much(tmp_path: Path) -> None:
    with closing(Store(tmp_path / "db", Limits(megabytes=1))) as store:
        objects = {("core", str(number)): "x" * 1000 for number in range(2000)}
        store.commit(Batch([full_size(n) for n in range(1, 3001)], [], [], [], {}, None, objects))
        assert len(pruned(store)) == ALWAYS_KEPT
        assert len(store.load().objects) == 2000
