# SPDX-License-Identifier: GPL-2.0-only
"""Each page of the database damaged in turn, and bytes anywhere: counting and keeping go on."""

from __future__ import annotations

import contextlib
import random
import tempfile
from contextlib import closing
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcelogd.store.database import Store, StoreError, open_or_replace
from mcelogd.store.reader import EventQuery, StoreReader
from mcelogd.store.retention import Limits
from mcelogd.store.rows import Batch
from mcelogd.store.writer import StoreWriter
from tests.integration.reliability import Claims, Part, fault
from tests.unit.store_samples import batch, comparable, counted, event, memory, page

PAGE = 4096
ROWS = 400


def _database() -> bytes:
    """Several pages of every table and index, and some that are free."""
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "db"
        # Some that are too old, so that there are free pages.
        clock = iter((0, 10**9, 10**9))
        with closing(Store(path, Limits(days=1), lambda: next(clock))) as store:
            store.commit(batch(*range(1, 101)))
            kinds = ("memory", "cache", "bus")
            events = [event(number)._replace(kind=kinds[number % 3]) for number in range(101, 501)]
            store.commit(
                Batch(
                    events=events,
                    memory=[memory(number, number, 0, 0) for number in range(ROWS)],
                    pages=[page(number)._replace(reason="x" * 20) for number in range(ROWS)],
                    dropped_frames=[],
                    state={f"state {number}": "text" * 20 for number in range(ROWS)},
                    position=(1, ROWS),
                    objects={("core", str(number)): "{}" * 20 for number in range(ROWS)},
                )
            )
            store.prune(ROWS)
        return path.read_bytes()


DATABASE = _database()
PAGES = len(DATABASE) // PAGE

FILLS = {
    "pattern": b"\xa5" * PAGE,
    "zeros": bytes(PAGE),
    "noise": random.Random(1).randbytes(PAGE),
}


def use(path: Path) -> tuple[object, str | None]:
    """Start, count one error, be asked, end: what the start found."""
    store, saved, problem = open_or_replace(path, Limits(days=1))
    loaded = comparable(saved)
    told: list[str | None] = []
    writer = StoreWriter(
        store,
        saved.position,
        told.append,
        saved=saved,
        reopen=lambda damage: open_or_replace(path, damage=damage),
    )
    number = saved.last_event_id + 1
    writer.put(counted(1)._replace(events=[event(number)], memory=[memory(1234)], position=(2, 1)))
    ask(path)
    assert writer.close(20)
    assert told in ([], [*told[:1], None]), "what began to fail did not work again"
    return loaded, problem


def ask(path: Path) -> None:
    """Whatever is wrong, nothing but StoreError comes of it."""
    reader = StoreReader(path)
    with contextlib.suppress(StoreError):
        reader.events()
    with contextlib.suppress(StoreError):
        reader.newest(EventQuery(kinds=("memory", "bus"), limit=1000))
    with contextlib.suppress(StoreError):
        reader.newest(EventQuery(since=5, limit=1000))


def has_aside(path: Path) -> bool:
    return any(path.parent.glob("db.damaged-*"))


def check_counted(path: Path) -> None:
    """The next start finds what was counted last, or a damage that was not met before."""
    store, saved, problem = open_or_replace(path)
    if problem is None:
        assert memory(1234) in comparable(saved)[0]  # type: ignore[operator]
        assert saved.position == (2, 1)
    store.commit(batch(saved.last_event_id + 1))
    store.close()


@pytest.mark.parametrize("fill", FILLS)
@fault(
    Part.DISK,
    "Any one page of the store is zeros, a pattern or noise",
    says="…; moved aside to …db.damaged-…, a new one begins",
    sees="Nothing, where the page held old records or nothing: then the counters are all there",
    lost="Counters of before: they begin anew, and the old file is kept. No record that is read from then on",
    recovers="At once: the next start, or commit, goes on with a new store",
)
def test_each_page_in_turn(tmp_path: Path, fill: str, claims: Claims) -> None:
    assert PAGES > 30
    (tmp_path / "db").write_bytes(DATABASE)
    untouched, _ = use(tmp_path / "db")
    whole, problems = 0, []
    for number in range(PAGES):
        path = tmp_path / str(number) / "db"
        path.parent.mkdir()
        path.write_bytes(DATABASE[: number * PAGE] + FILLS[fill] + DATABASE[(number + 1) * PAGE :])
        loaded, problem = use(path)
        assert problem is not None or loaded == untouched, f"page {number} was read as something else"
        assert path.parent.joinpath("db").exists()
        check_counted(path)
        claims.kept(problem is None or has_aside(path), True)
        whole += problem is None
        problems.append(str(problem))
    claims.recovered(0 < whole < PAGES)
    claims.saw("\n".join(problems))


@pytest.mark.parametrize("length", [0, 1, 100, 511, 4096, 3 * 4096, len(DATABASE) // 2, len(DATABASE) - 1])
def test_cut_off(tmp_path: Path, length: int) -> None:
    path = tmp_path / "db"
    path.write_bytes(DATABASE[:length])
    use(path)
    check_counted(path)


@pytest.mark.parametrize("number", range(0, PAGES, 3))
def test_damaged_in_use(tmp_path: Path, number: int) -> None:
    """What the connection has in memory hides it, for a time."""
    path = tmp_path / "db"
    path.write_bytes(DATABASE)
    store, saved, _ = open_or_replace(path)
    with path.open("r+b") as file:
        file.seek(number * PAGE)
        file.write(FILLS["noise"])
    writer = StoreWriter(
        store,
        saved.position,
        lambda _: None,
        saved=saved,
        reopen=lambda damage: open_or_replace(path, damage=damage),
    )
    writer.put(batch(501)._replace(memory=[memory(1234)], position=(2, 1)))
    assert writer.close(20)
    check_counted(path)


changes = st.lists(
    st.tuples(st.integers(0, len(DATABASE) - 1), st.binary(min_size=1, max_size=8)), min_size=1
)


@settings(max_examples=40, deadline=None)
@given(changes)
def test_any_bytes_changed(changes: list[tuple[int, bytes]]) -> None:
    content = bytearray(DATABASE)
    for offset, data in changes:
        content[offset : offset + len(data)] = data
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "db"
        path.write_bytes(content)
        # A count changed to another cannot be seen; a schema of a newer version is refused.
        with contextlib.suppress(StoreError):
            use(path)
            open_or_replace(path)[0].close()
