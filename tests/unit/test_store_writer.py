# SPDX-License-Identifier: GPL-2.0-only
"""store/writer.py: what was put is committed once, whatever becomes of the file meanwhile."""

from __future__ import annotations

import functools
import sqlite3
import threading
import time
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import batch, comparable, counted, event, memory, page

from mcelogd.account.pages import PageState
from mcelogd.store.backlog import BACKLOG, Backlog
from mcelogd.store.database import NOTHING, DamagedError, Store, StoreError, anew, open_or_replace, peek
from mcelogd.store.writer import HEAP, MOMENT, StoreWriter

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcelogd.store.database import Saved
    from mcelogd.store.rows import Batch


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcelogd.store.writer.RETRY_SECONDS", 0.01)


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.002)


def flush(writer: StoreWriter) -> None:
    """Also across failures."""
    wait_for(lambda: writer.flush(10))


def content(path: Path) -> tuple[list[int], tuple[object, ...]]:
    """The ids of the events in a store, and what the next run would get."""
    with closing(Store(path)) as store:
        return [one.id for one in store.events()], comparable(store.load())


def expected(number: int) -> tuple[object, ...]:
    """What the batches up to counted(number) leave."""
    last = counted(number)
    return (last.memory, [last.pages[0]._replace(used=0)], last.state, (1, number), number, last.objects)


def test_all_that_was_put_is_committed(tmp_path: Path) -> None:
    writer = StoreWriter(Store(tmp_path / "db"), (0, 0), lambda problem: pytest.fail(str(problem)))
    for number in range(1, 200):
        writer.put(counted(number))
    assert writer.close(10)
    assert writer.committed == (1, 199)
    assert content(tmp_path / "db") == (list(range(1, 200)), expected(199))


def test_a_store_that_fails_loses_no_counter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Said once, retried, and what waited is committed when it works again."""
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
    for number in range(1, 11):
        writer.put(counted(number))
    assert not writer.flush(0.2)
    writer.put(counted(11))
    full = False
    flush(writer)
    assert writer.close(10)
    assert problems == ["disk full", None]
    assert content(tmp_path / "db") == (list(range(1, 12)), expected(11))


def test_a_mistake_of_ours_is_said_and_survived(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    problems: list[str | None] = []
    store = Store(tmp_path / "db")
    real, mistakes = store.commit, [KeyError("frame")]

    def commit(one: Batch) -> None:
        if mistakes:
            raise mistakes.pop()
        real(one)

    monkeypatch.setattr(store, "commit", commit)
    writer = StoreWriter(store, (0, 0), problems.append)
    writer.put(counted(1))
    flush(writer)
    assert writer.close(10)
    assert problems == ["please report this: KeyError('frame')", None]
    assert content(tmp_path / "db") == ([1], expected(1))


def test_a_store_that_fails_does_not_keep_us_from_ending(tmp_path: Path) -> None:
    (tmp_path / "db").mkdir()
    reopen = functools.partial(open_or_replace, tmp_path / "db")
    writer = StoreWriter(None, (0, 0), lambda _: None, reopen=lambda damage: reopen(damage=damage))
    writer.put(batch(1, position=(1, 1)))
    assert not writer.flush(10)
    assert writer.close(10)


def test_without_a_store_nothing_waits() -> None:
    writer = StoreWriter(None, (0, 0), lambda _: None)
    writer.put(batch(1))
    assert writer.flush(10)
    assert writer.close(10)
    assert writer.not_kept == 0


def test_what_waits_is_bounded() -> None:
    """The oldest events go first, how many is known, and counters are not among them."""
    backlog = Backlog(NOTHING)
    for start in range(0, BACKLOG + 1000, 1000):
        backlog.put(batch(*range(start, start + 1000))._replace(memory=[memory(start)]))
    taken = backlog.take()
    assert (len(taken.events), taken.events[0].id, backlog.not_kept) == (BACKLOG, 1000, 1000)
    backlog.put(batch(1, 2, 3))
    backlog.put_back(taken)
    assert (len(backlog.events), backlog.not_kept) == (BACKLOG, 1003)
    assert backlog.take().memory == [memory(BACKLOG)]


class Disk:
    """A store on a disk that takes its time, in its place: how long is the test's to say."""

    def __init__(self, take_time: Callable[[], object]) -> None:
        self.take_time = take_time
        self.committed: list[int] = []

    def commit(self, batch: Batch) -> None:
        self.take_time()
        self.committed += [one.id for one in batch.events]

    def prune(self, _: int) -> bool:
        return False

    def close(self) -> None: ...


def opened(disk: Disk) -> StoreWriter:
    store: Store = disk  # type: ignore[assignment]  # what StoreWriter asks of one
    return StoreWriter(store, (0, 0), lambda problem: pytest.fail(str(problem)))


def put_many(writer: StoreWriter, count: int, meanwhile: Callable[[], None] = lambda: None) -> int:
    """Batches as they come out of the spool; how many events waited at most."""
    most = 0
    for first in range(0, count, 32):
        writer.put(batch(*range(first, first + 32)), meanwhile)
        most = max(most, len(writer._backlog.events))
    return most


def test_more_than_a_disk_can_take_does_not_pile_up() -> None:
    disk = Disk(functools.partial(time.sleep, 0.02))
    writer = opened(disk)
    assert put_many(writer, 4 * HEAP) <= HEAP + 32
    assert writer.close(10)
    assert disk.committed == list(range(4 * HEAP))


def test_a_disk_that_hangs_delays_nothing() -> None:
    """It is waited for once, a moment."""
    works = threading.Event()
    disk = Disk(works.wait)
    writer = opened(disk)
    begin = time.monotonic()
    glances: list[float] = []
    assert put_many(writer, 4 * HEAP, lambda: glances.append(time.monotonic())) > 2 * HEAP
    assert len(glances) > 10
    assert time.monotonic() - begin < 10 * MOMENT
    works.set()
    assert writer.close(10)
    assert disk.committed == list(range(4 * HEAP))


changes = st.builds(
    lambda rows, dropped, objects: batch()._replace(
        memory=[memory(total, key, 0, 0) for key, total in rows.items()],
        pages=[page(key, total) for key, total in rows.items() if key not in dropped],
        dropped_frames=list(dropped),
        objects=objects,
        state={str(key): str(total) for key, total in rows.items()},
    ),
    st.dictionaries(st.integers(0, 3), st.integers(0, 9)),
    st.sets(st.integers(0, 3)),
    st.dictionaries(st.tuples(st.just("core"), st.sampled_from("abc")), st.none() | st.sampled_from("123")),
)


class Table(dict[str, dict[object, object]]):
    """What a store holds, without the store."""

    def __init__(self) -> None:
        super().__init__(memory={}, pages={}, objects={}, state={})

    def commit(self, change: Batch) -> None:
        self["memory"].update((row[:3], row) for row in change.memory)
        for frame in change.dropped_frames:
            self["pages"].pop(frame, None)
        self["pages"].update((row.frame, row) for row in change.pages)
        self["objects"].update(change.objects)
        self["objects"] = {key: state for key, state in self["objects"].items() if state is not None}
        self["state"].update(change.state)


@given(st.lists(st.tuples(changes, st.sampled_from(("wait", "commit", "fail", "lost")))))
def test_whatever_fails_the_store_ends_up_with_what_was_put(steps: list[tuple[Batch, str]]) -> None:
    backlog = Backlog(NOTHING)
    wanted, store = Table(), Table()
    for change, outcome in [*steps, (batch(), "commit")]:
        backlog.put(change)
        wanted.commit(change)
        if outcome == "lost":
            store = Table()
            backlog.take_all()
        elif outcome != "wait":
            failed = [backlog.take()]
            if outcome == "fail":
                backlog.put(change)
                backlog.put_back(failed.pop())
            for taken in failed:
                store.commit(taken)
    store["state"].pop("last_event_id", None)
    assert store == wanted
    assert not backlog.has_work()


class Late:
    """A writer whose store can be opened again, and what it said."""

    def __init__(self, path: Path, store: Store | None, saved: Saved | None, *, merges: bool = True) -> None:
        self.told: list[str | None] = []
        self.found: list[Saved] = []
        self.path = path
        self.writer = StoreWriter(
            store,
            saved.position if saved is not None else (0, 0),
            self.told.append,
            saved=saved,
            reopen=lambda damage: open_or_replace(path, damage=damage),
            found=self.found.append if merges else None,
        )

    @classmethod
    def over(cls, path: Path) -> Late:
        store, saved, _ = open_or_replace(path)
        return cls(path, store, saved)


def unreadable(path: Path) -> None:
    path.mkdir()


def test_a_store_that_comes_late_gets_everything(tmp_path: Path) -> None:
    path = tmp_path / "db"
    unreadable(path)
    late = Late(path, None, None)
    for number in range(1, 4):
        late.writer.put(counted(number))
    assert not late.writer.flush(10)
    wait_for(lambda: late.told)
    path.rmdir()
    wait_for(lambda: late.told[-1:] == [None])
    late.writer.put(counted(4))
    assert late.writer.close(10)
    assert late.told[:-1] == [f"{path}: unable to open database file"]
    # There was no spool to go on in, so nothing is said about one.
    ids, saved = content(path)
    assert (ids, saved) == ([1, 2, 3, 4], (*expected(4)[:3], (0, 0), *expected(4)[4:]))


def test_what_could_be_read_goes_on_when_it_can_be_written(tmp_path: Path) -> None:
    path = tmp_path / "db"
    with closing(Store(path)) as store:
        store.commit(counted(5))
        store.commit(batch()._replace(memory=[memory(9, 1, 1, 1)], pages=[page(3)]))
    saved = peek(path)
    path.rename(tmp_path / "elsewhere")
    unreadable(path)
    late = Late(path, None, saved)
    late.writer.put(counted(6))
    wait_for(lambda: late.told)
    path.rmdir()
    (tmp_path / "elsewhere").rename(path)
    flush(late.writer)
    assert late.writer.close(10)
    ids, (memories, pages, *rest) = content(path)
    assert (ids, rest) == ([5, 6], list(expected(6)[2:]))
    assert memories == [memory(6), memory(9, 1, 1, 1)]
    assert pages == [page(3, used=0), page(7, 6, 0)]
    assert late.found == []


def earlier_run(path: Path) -> None:
    """A store with 5 errors of one page that is off line by now, and one DIMM of its own."""
    with closing(Store(path)) as store:
        for number in range(1, 6):
            store.commit(counted(number))
        gone = page(7, 5)._replace(state=PageState.OFFLINE.value, reason="soft", since=77, multiplier=2)
        store.commit(
            batch(position=(57, 100))._replace(
                memory=[memory(2, 1, 1, 1)],
                pages=[gone],
                state={"file": "1 2:3"},
                objects={("core", "8"): "earlier"},
            )
        )


def test_history_that_was_not_known_is_added(tmp_path: Path) -> None:
    path = tmp_path / "db"
    earlier_run(tmp_path / "elsewhere")
    unreadable(path)
    late = Late(path, None, None)
    first = anew(time.time()).last_event_id + 1
    now = counted(3)
    late.writer.put(now._replace(events=[event(first), event(first + 1)], pages=[page(8), *now.pages]))
    path.rmdir()
    (tmp_path / "elsewhere").rename(path)
    wait_for(lambda: late.found)
    late.writer.put(batch(first + 2, position=(1, 3)))
    assert content(path)[0] == [1, 2, 3, 4, 5], "committed before it was adopted"
    merged = late.writer.adopt(late.found[0], {"totals": "8 0 8 0 1"})
    assert late.writer.close(10)
    assert late.told[-1] is None
    ids, saved = content(path)
    assert ids == [1, 2, 3, 4, 5, first, first + 1, first + 2]
    both = memory(8)._replace(ce_count=3)
    offline = page(7, 8, 0)._replace(state="offline", reason="soft", since=77, multiplier=2)
    assert saved[:2] == ([both, memory(2, 1, 1, 1)], [page(8, 1, 0), offline])
    assert saved[2:] == (
        {"totals": "8 0 8 0 1", "file": "1 2:3"},
        (57, 100),
        first + 2,
        {("core", "3"): "3", ("core", "8"): "earlier"},
    )
    assert sorted(comparable(merged)[0]) == saved[0]
    assert comparable(merged)[1:] == saved[1:]


def test_ids_that_were_given_already_are_not_given_again(tmp_path: Path) -> None:
    """The clock was behind when this run began without a store."""
    earlier_run(tmp_path / "db")
    late = Late(tmp_path / "db", None, None)
    late.writer.put(batch(4, 5, 6))
    wait_for(lambda: late.found)
    merged = late.writer.adopt(late.found[0], {})
    assert merged.last_event_id == 8
    assert late.writer.close(10)
    assert content(tmp_path / "db")[0] == list(range(1, 9))


def test_history_that_nobody_can_add_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "db"
    earlier_run(path)
    before = content(path)
    late = Late(path, None, None, merges=False)
    late.writer.put(counted(3))
    wait_for(lambda: late.told)
    assert late.writer.close(10)
    assert late.told == [
        f"{path}: has counters that could not be read at the start; restart mcelog to use them"
    ]
    assert content(path) == before


def test_nothing_is_committed_if_the_end_comes_before_adoption(tmp_path: Path) -> None:
    earlier_run(tmp_path / "db")
    before = content(tmp_path / "db")
    late = Late(tmp_path / "db", None, None)
    late.writer.put(counted(3))
    wait_for(lambda: late.found)
    assert late.writer.close(10)
    assert content(tmp_path / "db") == before


@pytest.mark.parametrize("is_replaced", [False, True])
def test_a_store_that_was_removed_begins_anew_with_all_counters(tmp_path: Path, is_replaced: bool) -> None:
    path = tmp_path / "db"
    late = Late.over(path)
    late.writer.put(counted(1)._replace(memory=[memory(9, 1, 1, 1)]))
    late.writer.put(counted(2))
    flush(late.writer)
    for file in tmp_path.iterdir():
        file.unlink()
    if is_replaced:
        Store(path).close()
    late.writer.put(batch(3, position=(1, 3)))
    flush(late.writer)
    assert late.writer.close(10)
    assert late.told == [f"{path}: removed or replaced while in use", None]
    ids, saved = content(path)
    assert ids == [3], "events that were removed are gone"
    assert saved[0] == [memory(2), memory(9, 1, 1, 1)]
    assert saved[1:] == (*expected(2)[1:3], (1, 3), 3, expected(2)[-1])


def damage(path: Path) -> None:
    """Overwrite all but the first page of a database that is in use."""
    with closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        pages = db.execute("PRAGMA page_count").fetchone()[0]
        # So that the writer does not trust the copies it has of them.
        db.execute("UPDATE state SET value = value || ' '")
        db.commit()
        db.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    with path.open("r+b") as file:
        file.seek(4096)
        file.write(b"\xa5" * 4096 * (pages - 1))


def test_a_store_damaged_in_use_is_moved_aside_and_nothing_is_forgotten(tmp_path: Path) -> None:
    path = tmp_path / "db"
    late = Late.over(path)
    for number in range(1, 101):
        late.writer.put(counted(number))
    flush(late.writer)
    damage(path)
    late.writer.put(counted(101))
    flush(late.writer)
    late.writer.put(counted(102))
    assert late.writer.close(10)
    assert len(late.told) == 2
    assert "malformed; moved aside to" in str(late.told[0])
    assert late.told[1] is None
    assert content(path) == ([101, 102], expected(102))
    assert len(list(tmp_path.glob("db.damaged-*"))) == 1


def test_damage_found_at_the_end_is_dealt_with_before_it(tmp_path: Path) -> None:
    path = tmp_path / "db"
    late = Late.over(path)
    for number in range(1, 101):
        late.writer.put(counted(number))
    flush(late.writer)
    damage(path)
    late.writer.put(counted(101))
    assert late.writer.close(10)
    assert content(path) == ([101], expected(101))


def test_a_disk_that_damages_everything_is_left_alone_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not more than one attempt at once, and the end comes all the same."""
    monkeypatch.setattr("mcelogd.store.writer.RETRY_SECONDS", 60)
    late = Late.over(tmp_path / "db")

    def commit(store: Store, _: Batch) -> None:
        raise DamagedError(f"{store.path}: damaged")

    monkeypatch.setattr(Store, "commit", commit)
    late.writer.put(counted(1))
    wait_for(lambda: len(late.told) == 2)
    time.sleep(0.05)
    assert len(list(tmp_path.glob("db.damaged-*"))) == 1
    assert late.writer.close(10)
    assert late.told[1] == f"{tmp_path / 'db'}: damaged"
