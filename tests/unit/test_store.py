# SPDX-License-Identifier: GPL-2.0-only
"""store/: all or nothing, and every number comes back as it was."""

from __future__ import annotations

import sqlite3
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import batch, comparable, counted, event, memory, page

from mcelogd.account.bucket import Bucket
from mcelogd.account.memory import MemoryErrors, MemoryKey
from mcelogd.account.pages import PageErrors, PageState
from mcelogd.store.aside import KEPT, kept_aside, move_aside
from mcelogd.store.database import NOTHING, DamagedError, GoneError, Store, StoreError, open_or_replace, peek
from mcelogd.store.rows import Batch, memory_errors, memory_row, page_errors, page_row

if TYPE_CHECKING:
    from pathlib import Path

u63 = st.integers(0, (1 << 63) - 1)


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


@pytest.mark.parametrize("bad", [{"id": 1 << 63}, {"record": object()}, {"kind": "\udc80"}])
def test_a_batch_that_cannot_be_stored_is_no_damage_to_the_file(tmp_path: Path, bad: dict[str, int]) -> None:
    store = Store(tmp_path / "db")
    with pytest.raises(StoreError) as caught:
        store.commit(Batch([event(1)._replace(**bad)], [], [], [], {}, (1, 1)))
    assert not isinstance(caught.value, DamagedError)
    store.commit(batch(1))
    store.close()


def test_the_last_events(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.commit(batch(1, 2, 3, 900))
    assert [one.id for one in store.last_events(2)] == [3, 900]
    assert len(store.last_events(9)) == 4
    store.close()


def test_half_a_character_in_a_label_does_not_keep_the_rest_from_being_stored(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.commit(Batch([event(1)._replace(summary="DIMM \udcff\u00b5")], [], [], [], {}, None))
    assert store.events()[0].summary == "DIMM ?\u00b5"
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
    pages[0].reason = "Device or resource busy"
    pages[0].since = 1_795_000_000
    pages[0].triggered = True
    pages[0].multiplier = 4
    rows = [page_row(page, used) for used, page in enumerate(pages)]
    store.commit(Batch([], [], rows, [], {}, None))
    assert [page_row(page, used) for used, page in enumerate(store.load().pages)] == rows
    assert page_errors(rows[0]).state is PageState.OFFLINE_FAILED
    store.commit(Batch([], [], [], [5], {}, None))
    assert [page.address for page in store.load().pages] == [pages[0].address]
    store.close()


def test_objects_are_kept_changed_and_deleted(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.commit(batch()._replace(objects={("core", "0"): "{}", ("core", "1"): "1", ("fault", "0"): "ü"}))
    store.commit(batch()._replace(objects={("core", "0"): "2", ("core", "1"): None, ("core", "none"): None}))
    assert store.load().objects == {("core", "0"): "2", ("fault", "0"): "ü"}
    store.close()


def test_ids_go_on_after_the_last_event_is_gone(tmp_path: Path) -> None:
    store = Store(tmp_path / "db")
    store.commit(batch(1, 2, 3))
    store.close()
    db = sqlite3.connect(tmp_path / "db", isolation_level=None)
    db.execute("DELETE FROM events WHERE id > 1")
    db.close()
    store = Store(tmp_path / "db")
    assert store.load().last_event_id == 3
    store.close()


def test_a_damaged_store_is_moved_aside(tmp_path: Path) -> None:
    path = tmp_path / "db"
    path.write_bytes(b"this is no database, " * 1000)
    store, saved, problem = open_or_replace(path)
    assert saved._replace(last_event_id=0) == NOTHING
    assert saved.last_event_id > 1_700_000_000_000, "ids of events that are lost are given again"
    assert problem is not None
    assert "moved aside" in problem
    store.commit(batch(1))
    store.close()
    assert [one.read_bytes()[:12] for one in tmp_path.glob("db.damaged-*")] == [b"this is no d"]


def test_the_last_damaged_ones_are_kept(tmp_path: Path) -> None:
    """Also those of one second, each with its WAL; files of others are left alone."""
    path = tmp_path / "db"
    (tmp_path / "db.damaged-by-me").touch()
    for number in range(5):
        path.write_text(str(number))
        (tmp_path / "db-wal").write_text(str(number))
        moved = move_aside(path, 1000)
        assert moved.read_text() == str(number)
    assert [one.read_text() for one in kept_aside(path)] == ["2", "3", "4"]
    assert len(list(tmp_path.iterdir())) == 2 * KEPT + 1


@pytest.mark.parametrize(
    "damage",
    [
        "UPDATE state SET value = 'x y' WHERE name = 'spool'",
        "UPDATE state SET value = '-1 5' WHERE name = 'spool'",
        "UPDATE state SET value = CAST(x'ff' AS TEXT) WHERE name = 'spool'",
        "UPDATE state SET value = x'00' WHERE name = 'spool'",
        "UPDATE state SET value = 1 << 62 WHERE name = 'last_event_id'",
        "UPDATE pages SET state = 'lost'",
        "UPDATE pages SET total = 'many'",
        "UPDATE pages SET since = -1",
        "UPDATE pages SET frame = 1 << 52",
        "UPDATE pages SET reason = x'00'",
        "UPDATE memory SET ce_stamp = 0.5",
        "UPDATE objects SET state = x'00'",
        "INSERT INTO events SELECT 9223372036854775807, time, '', '', 0, 0, 0, 0, 0, '', x'', '' FROM events",
        "DROP TABLE memory",
        "DROP TABLE objects",
        "PRAGMA writable_schema = 1; DELETE FROM sqlite_master",
    ],
)
def test_a_store_that_makes_no_sense_is_moved_aside(tmp_path: Path, damage: str) -> None:
    path = tmp_path / "db"
    store = Store(path)
    store.commit(counted(1))
    store.close()
    db = sqlite3.connect(path)
    db.executescript(damage)
    db.commit()
    db.close()
    store, saved, problem = open_or_replace(path)
    assert saved._replace(last_event_id=0) == NOTHING
    assert problem is not None
    store.close()


def test_a_store_that_may_not_be_read_is_left_where_it_is(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    with pytest.raises(StoreError, match="unable to open"):
        open_or_replace(tmp_path / "db")
    assert (tmp_path / "db").is_dir()


def test_a_file_that_was_removed_is_not_written_to(tmp_path: Path) -> None:
    path = tmp_path / "db"
    store = Store(path)
    path.unlink()
    with pytest.raises(GoneError, match="removed or replaced"):
        store.commit(batch(1))
    path.touch()
    with pytest.raises(GoneError):
        store.commit(batch(1))
    store.close()


@pytest.mark.parametrize("is_left_open", [False, True])
def test_a_store_can_be_looked_into(tmp_path: Path, is_left_open: bool) -> None:
    """Also with a WAL that has what the file has not."""
    store = Store(tmp_path / "db")
    store.commit(counted(3))
    expected = comparable(store.load())
    if is_left_open:
        (tmp_path / "copy").mkdir()
        for name in ("db", "db-wal"):
            (tmp_path / "copy" / name).write_bytes((tmp_path / name).read_bytes())
    store.close()
    path = tmp_path / "copy/db" if is_left_open else tmp_path / "db"
    assert comparable(peek(path)) == expected
    assert expected[2:] == ({"totals": "3 0 3 0 1"}, (1, 3), 3, {("core", "3"): "3"})
    assert expected[:2] == ([memory(3)], [page(7, 3, 0)])


def test_there_is_nothing_to_look_into(tmp_path: Path) -> None:
    with pytest.raises(StoreError):
        peek(tmp_path / "none")
    (tmp_path / "db").write_bytes(b"no database")
    with pytest.raises(StoreError):
        peek(tmp_path / "db")
    assert not (tmp_path / "none").exists()
