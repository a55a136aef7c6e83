# SPDX-License-Identifier: GPL-2.0-only
"""store/schema.py: a store of every version there was is opened with all that is in it.

tests/fixtures/store has one of each, as SQL; a new version adds its predecessor
there and a row to OLD.
"""

from __future__ import annotations

import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from store_samples import batch

from mcelogd.account.memory import MemoryKey
from mcelogd.account.pages import PageState
from mcelogd.store import schema
from mcelogd.store.database import Store, StoreError, open_or_replace, peek
from mcelogd.store.schema import SCHEMA_VERSION

if TYPE_CHECKING:
    from mcelogd.store.database import Saved

ROOT = Path(__file__).parents[2]
FIXTURES = ROOT / "tests/fixtures/store"
OLD = [1, 2]


def make(version: int, path: Path) -> None:
    with closing(sqlite3.connect(path)) as db:
        db.executescript((FIXTURES / f"v{version}.sql").read_text(encoding="utf-8"))
        assert schema.version_of(db) == version


def tables(path: Path) -> dict[str, list[tuple[object, ...]]]:
    """What each table and index looks like to a program; how it came about does not count."""
    with closing(sqlite3.connect(path)) as db:
        names = [row[0] for row in db.execute("SELECT name FROM sqlite_master ORDER BY name")]
        return {
            name: db.execute(f"PRAGMA table_info({name})").fetchall()
            + db.execute(f"PRAGMA index_info({name})").fetchall()
            for name in names
        }


def check_saved(saved: Saved) -> None:
    """All that is in the fixtures."""
    counters = {
        row.key: (row.corrected.total, row.corrected.bucket.seen, row.uncorrected.total)
        for row in saved.memory
    }
    assert counters == {
        MemoryKey(0, -1, -1): (5, 15, 1),
        MemoryKey(0, 0, -1): (3, 9, 1),
        MemoryKey(1, 2, 1): (0, 0, 1),
    }
    assert {row.uncorrected.bucket.stamp for row in saved.memory} == {1_795_000_060}
    pages = [(page.address >> 12, page.total, page.state, page.triggered) for page in saved.pages]
    assert pages == [
        (0x1235, 7, PageState.OFFLINE, True),
        (0x1234, 1, PageState.ONLINE, False),
        ((1 << 52) - 1, 2, PageState.OFFLINE_FAILED, True),
    ]
    assert saved.pages[2].multiplier == 4
    assert saved.state == {"totals": "4 2 5 1 1795000120", "page_use": "3", "file": "512 65024:77"}
    assert saved.position == (7, 4)
    assert saved.last_event_id == 4


@pytest.mark.parametrize("version", OLD)
def test_everything_is_there_after_migration(tmp_path: Path, version: int) -> None:
    make(version, tmp_path / "db")
    store, saved, problem = open_or_replace(tmp_path / "db")
    assert problem is None
    check_saved(saved)
    events = store.events()
    assert [(event.id, event.cpu, event.bank) for event in events[:3]] == [(n + 1, n, 5) for n in range(3)]
    assert events[3][1:] == (
        *((1 << 63) - 1, "unknown", "uncorrected", 255, 255, None, None, None),
        *("It's odd; \u00b5", b"\xff" * 16, ""),
    )
    store.commit(batch(5, position=(8, 1))._replace(objects={("core", "0"): "{}"}))
    store.close()
    store = Store(tmp_path / "db")
    assert len(store.events()) == 5
    assert store.load().position == (8, 1)
    store.close()


def test_what_version_1_did_not_know_is_empty(tmp_path: Path) -> None:
    make(1, tmp_path / "db")
    store = Store(tmp_path / "db")
    saved = store.load()
    assert {(page.reason, page.since) for page in saved.pages} == {("", 0)}
    assert saved.objects == {}
    store.close()


@pytest.mark.parametrize("version", OLD)
def test_old_stores_become_what_new_ones_are(tmp_path: Path, version: int) -> None:
    make(version, tmp_path / "old")
    for name in ("old", "new"):
        Store(tmp_path / name).close()
    assert tables(tmp_path / "old") == tables(tmp_path / "new")
    for name in ("old", "new"):
        with closing(sqlite3.connect(tmp_path / name)) as db:
            assert schema.version_of(db) == SCHEMA_VERSION
            assert schema.pragma(db, "auto_vacuum") == 2, "space is not given back"


def test_there_is_a_fixture_of_every_old_version() -> None:
    assert sorted(int(path.stem[1:]) for path in FIXTURES.glob("v*.sql")) == OLD
    assert [*OLD, SCHEMA_VERSION] == list(range(1, SCHEMA_VERSION + 1))


def test_ids_go_on_after_a_migration_that_found_no_event(tmp_path: Path) -> None:
    make(1, tmp_path / "db")
    with closing(sqlite3.connect(tmp_path / "db")) as db:
        db.execute("DELETE FROM events")
        db.commit()
    store = Store(tmp_path / "db")
    assert store.load().last_event_id == 0
    store.close()


def test_a_damaged_old_store_is_moved_aside(tmp_path: Path) -> None:
    make(1, tmp_path / "db")
    with closing(sqlite3.connect(tmp_path / "db")) as db:
        db.execute("DROP TABLE pages")
    store, _, problem = open_or_replace(tmp_path / "db")
    assert problem is not None
    assert "no such table: pages" in problem
    store.close()


KILLED_AT_EACH_STATEMENT = """
import os, pathlib, shutil, signal, sqlite3, sys
from mcelogd.store.database import Store

real = sqlite3.connect
left = 0

def connect(*arguments, **keywords):
    db = real(*arguments, **keywords)
    db.set_trace_callback(count)
    return db

def count(statement):
    global left
    left -= 1
    if left < 0:
        os.kill(os.getpid(), signal.SIGKILL)

sqlite3.connect = connect
directory = pathlib.Path(sys.argv[1])
for allowed in range(1000):
    path = directory / str(allowed) / "db"
    path.parent.mkdir()
    shutil.copy(directory / "old", path)
    child = os.fork()
    if not child:
        left = allowed
        Store(path).close()
        os._exit(0)
    if not os.waitpid(child, 0)[1]:
        break
print(allowed)
"""


@pytest.mark.parametrize("version", OLD)
def test_a_migration_that_is_killed_leaves_the_old_or_the_new(tmp_path: Path, version: int) -> None:
    """SIGKILL before each statement in turn."""
    make(version, tmp_path / "old")
    command = [sys.executable, "-c", KILLED_AT_EACH_STATEMENT, str(tmp_path)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True)
    kills = int(done.stdout)
    assert kills > 10, "this was no migration"
    found = set()
    for number in range(kills):
        shutil.copytree(tmp_path / str(number), tmp_path / "look" / str(number))
        copy = tmp_path / "look" / str(number) / "db"
        with closing(sqlite3.connect(copy)) as db:
            version_found = schema.version_of(db)
        found.add((version_found, str(tables(copy))))
        store, saved, problem = open_or_replace(tmp_path / str(number) / "db")
        assert problem is None
        check_saved(saved)
        assert len(store.events()) == 4
        store.close()
    assert sorted(version for version, _ in found) == [version, SCHEMA_VERSION], "half a migration"


def test_a_newer_version_is_refused_and_left_alone(tmp_path: Path) -> None:
    Store(tmp_path / "db").close()
    with closing(sqlite3.connect(tmp_path / "db")) as db:
        db.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    before = (tmp_path / "db").read_bytes()
    with pytest.raises(StoreError, match=rf"newer mcelog \(schema {SCHEMA_VERSION + 1}\); upgrade or move"):
        open_or_replace(tmp_path / "db")
    with pytest.raises(StoreError, match="newer mcelog"):
        peek(tmp_path / "db")
    assert (tmp_path / "db").read_bytes() == before
