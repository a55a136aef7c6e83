# SPDX-License-Identifier: GPL-2.0-only
"""store/: all or nothing, and every number comes back as it was."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.account.bucket import Bucket
from mcelogd.account.memory import MemoryErrors, MemoryKey
from mcelogd.account.pages import PageErrors, PageState
from mcelogd.store.database import NOTHING, Store, StoreError, open_or_replace
from mcelogd.store.rows import Batch, StoredEvent, memory_errors, memory_row, page_errors, page_row
from mcelogd.store.writer import BACKLOG, StoreWriter

if TYPE_CHECKING:
    from pathlib import Path

u63 = st.integers(0, (1 << 63) - 1)


def event(number: int) -> StoredEvent:
    return StoredEvent(number, 1, "memory", "corrected", 0, 5, 0, 1, None, "text", b"\0\xff")


def batch(*numbers: int, position: tuple[int, int] | None = None) -> Batch:
    return Batch([event(number) for number in numbers], [], [], [], {}, position)


def test_a_new_store_is_empty(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    assert store.load() == NOTHING
    store.close()


def test_events_and_position_are_committed_together(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.commit(batch(1, 2, position=(3, 2)))
    damaged = Batch([event(3), event(4)._replace(kind=None)], [], [], [], {}, (3, 4))  # type: ignore[arg-type]
    with pytest.raises(StoreError, match="NOT NULL"):
        store.commit(damaged)
    assert store.load().position == (3, 2)
    assert [one.id for one in store.events()] == [1, 2]
    assert store.events(after=1) == [event(2)]
    store.close()


@given(st.tuples(u63, u63, u63, u63), st.tuples(u63, u63, u63, u63), st.integers(-1, 9), st.integers(-1, 9))
def test_counters_come_back(
    ce: tuple[int, int, int, int], uc: tuple[int, int, int, int], channel: int, dimm: int
) -> None:
    errors = MemoryErrors(MemoryKey(2, channel, dimm), 0)
    for counter, (total, stamp, count, excess) in ((errors.corrected, ce), (errors.uncorrected, uc)):
        counter.total = total
        counter.bucket = Bucket(stamp, count, excess)
    row = memory_row(errors)
    assert memory_row(memory_errors(row)) == row


def test_pages_come_back_in_the_order_of_use(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    pages = [PageErrors(frame << 12, Bucket(7, 1, 2), 3) for frame in ((1 << 52) - 1, 5)]
    pages[0].state = PageState.OFFLINE_FAILED
    pages[0].triggered = True
    pages[0].multiplier = 4
    rows = [page_row(page, used) for used, page in enumerate(pages)]
    store.commit(Batch([], [], rows, [], {}, None))
    assert [page_row(page, used) for used, page in enumerate(store.load().pages)] == rows
    assert page_errors(rows[0]).state is PageState.OFFLINE_FAILED
    store.commit(Batch([], [], [], [5], {}, None))
    assert [page.address for page in store.load().pages] == [pages[0].address]
    store.close()


def test_a_newer_schema_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "db"
    db = sqlite3.connect(path)
    db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(StoreError, match="newer mcelog"):
        open_or_replace(path)
    assert path.exists()


def test_a_damaged_store_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(b"this is no database, " * 1000)
    store, saved, problem = open_or_replace(path)
    assert saved == NOTHING
    assert problem is not None
    assert "moved aside" in problem
    store.commit(batch(1))
    store.close()
    assert [one.name for one in tmp_path.glob("db.damaged-*")] != []


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE state SET value = 'x y' WHERE name = 'spool'",
        "UPDATE pages SET state = 'lost'",
        "DROP TABLE memory",
        "PRAGMA writable_schema = 1; DELETE FROM sqlite_master",
    ],
)
def test_a_store_that_makes_no_sense_is_moved_aside(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "db"
    store = Store(path)
    store.commit(Batch([event(1)], [], [page_row(PageErrors(4096, Bucket(1)), 1)], [], {}, (1, 1)))
    store.close()
    db = sqlite3.connect(path)
    db.executescript(damage)
    db.commit()
    db.close()
    store, saved, problem = open_or_replace(path)
    assert saved == NOTHING
    assert problem is not None
    store.close()


@pytest.mark.parametrize("page", range(12))
def test_each_damaged_page_is_survived(tmp_path: Path, page: int) -> None:
    path = tmp_path / "db"
    store = Store(path)
    store.commit(batch(*range(1, 200), position=(1, 199)))
    store.close()
    with path.open("r+b") as file:
        file.seek(page * 4096)
        file.write(b"\xa5" * 4096)
    store, _, _ = open_or_replace(path)
    store.close()


def test_a_store_that_may_not_be_read_is_left_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    with pytest.raises(StoreError, match="unable to open"):
        open_or_replace(tmp_path / "db")
    assert (tmp_path / "db").is_dir()


def test_the_writer_commits_all_it_was_given(tmp_path: Path) -> None:
    writer = StoreWriter(Store(tmp_path / "db"), (0, 0), lambda problem: pytest.fail(str(problem)))
    for number in range(1, 200):
        writer.put(batch(number, position=(1, number)))
    assert writer.close(10)
    assert writer.committed == (1, 199)
    reopened = Store(tmp_path / "db")
    assert reopened.load().last_event_id == 199
    reopened.close()


def test_a_store_that_fails_loses_no_counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk: said once, retried, and what waited is committed when there is room again."""
    monkeypatch.setattr("mcelogd.store.writer.RETRY_SECONDS", 0.01)
    problems: list[str | None] = []
    store = Store(tmp_path / "db")
    real = store.commit
    full = True

    def commit(one: Batch) -> None:
        if full:
            raise StoreError("disk full")
        real(one)

    monkeypatch.setattr(store, "commit", commit)
    writer = StoreWriter(store, (0, 0), problems.append)
    writer.put(batch(*range(1, 11), position=(1, 10)))
    assert not writer.flush(0.2)
    writer.put(batch(11, position=(1, 11)))
    full = False
    assert writer.flush(10)
    assert problems == ["disk full", None]
    assert writer.close(10)
    reopened = Store(tmp_path / "db")
    assert [one.id for one in reopened.events()] == list(range(1, 12))
    assert reopened.load().position == (1, 11)
    reopened.close()


def test_what_waits_is_bounded() -> None:
    """Without a thread to take it: the oldest events go first, and how many is known."""
    writer = StoreWriter(None, (0, 0), lambda _: None)
    writer._store = object()  # type: ignore[assignment]
    for start in range(0, BACKLOG + 1000, 1000):
        writer.put(batch(*range(start, start + 1000)))
    assert len(writer._events) == BACKLOG
    assert writer.not_kept == 1000
