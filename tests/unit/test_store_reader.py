# SPDX-License-Identifier: GPL-2.0-only
"""store/reader.py: the right events in the right order, without looking at all of them."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
import threading
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st
from store_samples import batch, event

from mcelogd.store.database import Store, StoreError
from mcelogd.store.reader import EventQuery, StoreReader
from mcelogd.store.rows import LARGEST, Batch

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcelogd.store.rows import StoredEvent

ROOT = Path(__file__).parents[2]

KINDS = ("bus", "cache", "memory", "thermal")
SEVERITIES = ("corrected", "deferred", "fatal")

texts = st.lists(st.sampled_from((*KINDS, *SEVERITIES, "none", "", "'; DROP TABLE events; --")), max_size=3)
times = st.integers(-1, 12) | st.just(LARGEST) | st.integers()


def mixed(number: int) -> StoredEvent:
    """Every kind with every severity, in an order of times of its own."""
    return event(number)._replace(
        time=number * 7 % 11, kind=KINDS[number % 4], severity=SEVERITIES[number % 3]
    )


MIXED = [mixed(number) for number in range(1, 61)]


@pytest.fixture(scope="module")
def reader(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreReader]:
    path = tmp_path_factory.mktemp("reader") / "a #%?b.db"
    with closing(Store(path)) as store:
        store.commit(Batch(MIXED, [], [], [], {}, None))
        yield StoreReader(path)


@given(times, times, texts, texts, st.integers(-3, 70) | st.integers())
def test_newest_first(
    reader: StoreReader, since: int, until: int, kinds: list[str], severities: list[str], limit: int
) -> None:
    """Against the plainest way to say it."""
    wanted = [
        one
        for one in MIXED
        if max(0, since) <= one.time <= until
        and (not kinds or one.kind in kinds)
        and (not severities or one.severity in severities)
    ]
    wanted.sort(key=lambda one: (-one.time, -one.id))
    query = EventQuery(since, until, kinds, severities, limit)
    assert reader.newest(query) == wanted[: max(0, limit)]


def test_by_id(reader: StoreReader) -> None:
    assert reader.event(17) == MIXED[16]
    assert reader.event(0) is None
    assert reader.event(61) is None
    assert reader.event(1 << 70) is None
    assert reader.events(57) == MIXED[57:]
    assert reader.events(-5, 2) == MIXED[:2]
    assert reader.events(3, -1) == []


def test_what_is_committed_meanwhile_is_seen(tmp_path: Path) -> None:
    """From another thread, and through a store that took the place of the one before."""
    path = tmp_path / "db"
    reader = StoreReader(path)
    with closing(Store(path)) as store:
        store.commit(batch(1))
        assert len(reader.newest(EventQuery())) == 1
        store.commit(batch(2))
        seen: list[int] = []
        thread = threading.Thread(target=lambda: seen.extend(one.id for one in reader.newest(EventQuery())))
        thread.start()
        thread.join()
        assert seen == [2, 1]
    path.rename(tmp_path / "aside")
    with closing(Store(path)) as store:
        assert reader.newest(EventQuery()) == []


REPLACED_WHILE_READ = """
import sys, threading
from pathlib import Path
from mcelogd.store.database import open_or_replace
from mcelogd.store.reader import StoreReader
from mcelogd.store.rows import Batch

path = Path(sys.argv[1])
store = open_or_replace(path)[0]
done = threading.Event()

def ask():
    while not done.is_set():
        StoreReader(path).events()

threads = [threading.Thread(target=ask) for _ in range(3)]
for thread in threads:
    thread.start()
for number in range(50):
    store.commit(Batch([], [], [], [], {"number": str(number)}, None))
    store.close()
    store = open_or_replace(path, damage="said so")[0]
done.set()
for thread in threads:
    thread.join()
store.close()
"""


def test_questions_while_the_file_is_replaced(tmp_path: Path) -> None:
    """Ended by SIGBUS, before threads were kept apart: SQLite's locks do that for processes only."""
    command = [sys.executable, "-c", REPLACED_WHILE_READ, str(tmp_path / "db")]
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_there_is_nothing_to_read(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="unable to open"):
        StoreReader(tmp_path / "none").events()
    assert not (tmp_path / "none").exists()
    (tmp_path / "none").write_bytes(b"no database" * 100)
    with pytest.raises(StoreError, match="not a database"):
        StoreReader(tmp_path / "none").newest(EventQuery())


@pytest.mark.parametrize("version", [0, 1, 99])
def test_another_version_is_refused(tmp_path: Path, version: int) -> None:
    path = tmp_path / "db"
    Store(path).close()
    with closing(sqlite3.connect(path)) as db:
        db.execute(f"PRAGMA user_version = {version}")
    with pytest.raises(StoreError, match=f"has schema {version}"):
        StoreReader(path).event(1)


@pytest.mark.parametrize("column", ["kind = x'00'", "record = 'text'", "time = 'noon'", "cpu = 1.5"])
def test_a_damaged_event_is_said(tmp_path: Path, column: str) -> None:
    path = tmp_path / "db"
    with closing(Store(path)) as store:
        store.commit(batch(1))
    with closing(sqlite3.connect(path, isolation_level=None)) as db:
        db.execute(f"UPDATE events SET {column}")
    with pytest.raises(StoreError):
        StoreReader(path).event(1)


ROWS = 20_000


@pytest.fixture(scope="module")
def many(tmp_path_factory: pytest.TempPathFactory) -> Iterator[StoreReader]:
    """Mostly one kind and severity; one of the others at the very beginning."""
    path = tmp_path_factory.mktemp("many") / "db"
    events = [event(number)._replace(time=number) for number in range(ROWS)]
    events[3] = events[3]._replace(kind="cache")
    events[4] = events[4]._replace(severity="fatal")
    with closing(Store(path)) as store:
        store.commit(Batch(events, [], [], [], {}, None))
        yield StoreReader(path)


@pytest.mark.parametrize(
    ("query", "found"),
    [
        (EventQuery(limit=20), 20),
        (EventQuery(until=30, limit=20), 20),
        (EventQuery(kinds=["cache"]), 1),
        (EventQuery(severities=["fatal"]), 1),
        (EventQuery(kinds=["thermal"]), 0),
        (EventQuery(until=30, severities=["corrected", "fatal"], limit=20), 20),
        (EventQuery(kinds=["cache", "memory"], severities=["corrected", "fatal"], limit=20), 20),
    ],
)
def test_few_rows_are_looked_at(
    many: StoreReader, monkeypatch: pytest.MonkeyPatch, query: EventQuery, found: int
) -> None:
    """SQLite's own steps are counted: a table or index that is read to its end takes several for each row."""
    steps = 0
    connect = sqlite3.connect

    def counting(*arguments: object, **keywords: object) -> sqlite3.Connection:
        def count() -> None:
            nonlocal steps
            steps += 10

        db = connect(*arguments, **keywords)  # type: ignore[call-overload]
        db.set_progress_handler(count, 10)
        return db  # type: ignore[no-any-return]

    monkeypatch.setattr(sqlite3, "connect", counting)
    assert len(many.newest(query)) == found
    assert 0 < steps < ROWS / 4
