# SPDX-License-Identifier: GPL-2.0-only
"""The store with more records than there is to be room for: its files on a real disk."""

from __future__ import annotations

import sqlite3
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from mcelogd.store.database import Store
from mcelogd.store.retention import DAY, Limits
from mcelogd.store.rows import Batch
from mcelogd.store.writer import StoreWriter
from tests.unit.store_samples import batch, counted, full_size, ids, pruned

if TYPE_CHECKING:
    from pathlib import Path


def test_a_hundred_thousand_events_keep_to_the_limit(tmp_path: Path) -> None:
    """Through the writer, which is not asked to: the file keeps to 8 MB, and with the WAL to 16."""
    path = tmp_path / "db"
    writer = StoreWriter(Store(path, Limits(megabytes=8)), (0, 0), lambda why: pytest.fail(str(why)))
    largest = 0
    for start in range(1, 100_000, 2000):
        events = [full_size(number) for number in range(start, start + 2000)]
        writer.put(counted(start)._replace(events=events, position=(1, start)))
        assert writer.flush(60)
        largest = max(largest, sum(file.stat().st_size for file in tmp_path.iterdir()))
    assert writer.close(60)
    assert largest < 16 << 20
    assert path.stat().st_size <= 8 << 20
    with closing(Store(path)) as store:
        kept = ids(store)
        assert kept == list(range(kept[0], 100_001)), "not the oldest went"
        assert len(kept) > 15_000, "more went than had to"
        saved = store.load()
        assert saved.last_event_id == 100_000
        assert saved.memory[0].corrected.total == 98_001


def test_space_is_given_back(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with closing(Store(path, Limits(days=1), lambda: 0)) as store:
        store.commit(Batch([full_size(n) for n in range(1, 20_001)], [], [], [], {}, None))
    before = path.stat().st_size
    with closing(Store(path, Limits(days=1), lambda: 3 * DAY)) as store:
        assert pruned(store) == []
    assert path.stat().st_size < before / 3


def test_an_old_file_is_held_within_the_limit_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One too large to be rewritten at once: what is free in it is used again, and does not count."""
    path = tmp_path / "db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript("PRAGMA auto_vacuum = 0; CREATE TABLE left_over (x); DROP TABLE left_over")
    monkeypatch.setattr("mcelogd.store.database._SMALL", 0)
    with closing(Store(path, Limits(megabytes=2))) as store:
        for start in range(1, 40_000, 2000):
            store.commit(Batch([full_size(n) for n in range(start, start + 2000)], [], [], [], {}, None))
            pruned(store)
        assert len(ids(store)) > 3000
    assert path.stat().st_size < 4 << 20


def test_the_wal_becomes_small_again(tmp_path: Path) -> None:
    """After a burst, and after someone read for long."""
    wal = tmp_path / "db-wal"
    with closing(Store(tmp_path / "db")) as store, closing(sqlite3.connect(tmp_path / "db")) as reader:
        reader.execute("BEGIN")
        reader.execute("SELECT count(*) FROM events").fetchone()
        for start in range(1, 50_000, 5000):
            store.commit(Batch([full_size(n) for n in range(start, start + 5000)], [], [], [], {}, None))
        assert wal.stat().st_size > 8 << 20
        reader.execute("COMMIT")
        for number in range(50_001, 50_004):
            store.commit(batch(number))
        assert wal.stat().st_size <= 4 << 20


def test_pruning_delays_no_commit_for_long(tmp_path: Path) -> None:
    """A store that is suddenly far too large, while events keep coming."""
    path = tmp_path / "db"
    with closing(Store(path)) as store:
        for start in range(1, 60_001, 20_000):
            store.commit(Batch([full_size(n) for n in range(start, start + 20_000)], [], [], [], {}, None))
    writer = StoreWriter(Store(path, Limits(megabytes=1)), (0, 0), lambda why: pytest.fail(str(why)))
    waited = []
    for number in range(60_001, 60_031):
        begin = time.monotonic()
        writer.put(batch(number, position=(1, number)))
        assert writer.flush(60)
        waited.append(time.monotonic() - begin)
    assert sorted(waited)[len(waited) // 2] < 0.25, waited
    assert writer.close(60)
