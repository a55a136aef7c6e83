# SPDX-License-Identifier: GPL-2.0-only
"""The store on a disk that is really full, or really read-only: a small tmpfs, for which root is needed."""

from __future__ import annotations

import sqlite3
import subprocess
import time
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd.store.database import NOTHING, DamagedError, Saved, Store, StoreError, open_or_replace, peek
from mcelogd.store.retention import Limits
from mcelogd.store.rows import Batch, MemoryRow, StoredEvent
from mcelogd.store.schema import version_of
from mcelogd.store.writer import RETRY_SECONDS, StoreWriter

from .disks import Disk, small_disk
from .reliability import Claims, Part, fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

FIXTURES = Path(__file__).parents[1] / "fixtures/store"


@pytest.fixture(autouse=True)
def _quickly(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcelogd.store.writer.RETRY_SECONDS", 0.02)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    """One megabyte."""
    with small_disk(tmp_path / "disk") as disk:
        yield disk


def counted(number: int) -> Batch:
    """The batch after that many errors of one DIMM."""
    one = StoredEvent(number, 1, "memory", "corrected", 0, 5, 0, 0, None, "text", bytes(128))
    row = MemoryRow(0, 0, -1, number, number, 0, 1, 0, 0, 0, 1)
    return Batch([one], [row], [], [], {"totals": str(number)}, (1, number), {("core", "0"): str(number)})


def writer_over(disk: Disk, store: Store | None, saved: Saved | None, told: list[str | None]) -> StoreWriter:
    return StoreWriter(
        store,
        saved.position if saved else (0, 0),
        told.append,
        saved=saved,
        reopen=lambda damage: open_or_replace(disk.store, damage=damage),
    )


def wait_for(condition: Callable[[], object]) -> None:
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def check(disk: Disk, count: int) -> None:
    """As many errors were kept and counted, and nothing had to be moved aside."""
    with closing(Store(disk.store)) as store:
        saved = store.load()
        assert [one.id for one in store.events(limit=count + 1)] == list(range(1, count + 1))
    assert [row.corrected.total for row in saved.memory] == [count]
    assert (saved.position, saved.last_event_id) == ((1, count), count)
    assert (saved.state, saved.objects) == ({"totals": str(count)}, {("core", "0"): str(count)})
    assert not list(disk.path.glob("db.damaged-*"))


@fault(
    Part.DISK,
    "The disk has room again after it was full, or is writable again",
    says="…: database or disk is full",
    sees="then `the store works again`",
    lost="Nothing: what could not be stored waited in memory, and in the spool",
    recovers=f"By itself: the store is tried again every {RETRY_SECONDS} s",
)
def test_a_disk_that_becomes_full(disk: Disk, claims: Claims) -> None:
    told: list[str | None] = []
    writer = writer_over(disk, Store(disk.store), NOTHING, told)
    writer.put(counted(1))
    assert writer.flush(20)
    disk.fill()
    for number in range(2, 200):
        writer.put(counted(number))
    wait_for(lambda: told)
    assert writer.committed == (1, 1)
    disk.free()
    wait_for(lambda: told[-1] is None)
    writer.put(counted(200))
    assert writer.close(20)
    claims.saw(str(told[0]))
    claims.recovered(told == [f"{disk.store}: database or disk is full", None])
    check(disk, 200)
    claims.kept(writer.not_kept, 0)


def test_events_fill_the_disk_by_themselves(disk: Disk) -> None:
    """What does not fit waits, and ends with us; what was committed is whole."""
    told: list[str | None] = []
    writer = writer_over(disk, Store(disk.store), NOTHING, told)
    number = 0
    while not told:
        number += 1
        writer.put(counted(number))
        writer.flush(20)
    assert writer.close(20)
    check(disk, number - 1)


def test_a_limit_below_the_size_of_the_disk_keeps_it_from_being_full(disk: Disk) -> None:
    disk.remount("size=12m")
    told: list[str | None] = []
    store, saved, _ = open_or_replace(disk.store, Limits(megabytes=2))
    writer = writer_over(disk, store, saved, told)
    for start in range(1, 60_001, 1000):
        writer.put(counted(start)._replace(events=[counted(n).events[0] for n in range(start, start + 1000)]))
        assert writer.flush(20)
    assert writer.close(20)
    assert told == []


def test_a_disk_that_is_full_at_the_start(disk: Disk) -> None:
    """The counters are there all the same, and what is counted meanwhile is kept later."""
    with closing(Store(disk.store)) as store:
        for number in range(1, 6):
            store.commit(counted(number))
    disk.fill()
    with pytest.raises(StoreError) as caught:
        open_or_replace(disk.store)
    assert not isinstance(caught.value, DamagedError)
    saved = peek(disk.store)
    assert saved.memory[0].corrected.total == 5
    told: list[str | None] = []
    writer = writer_over(disk, None, saved, told)
    writer.put(counted(6))
    wait_for(lambda: told)
    disk.free()
    wait_for(lambda: told[-1] is None)
    assert writer.close(20)
    check(disk, 6)


def test_the_first_start_on_a_full_disk(disk: Disk) -> None:
    disk.fill()
    with pytest.raises(StoreError):
        open_or_replace(disk.store)
    told: list[str | None] = []
    writer = writer_over(disk, None, NOTHING, told)
    writer.put(counted(1))
    wait_for(lambda: told)
    disk.free()
    wait_for(lambda: told[-1] is None)
    assert writer.close(20)
    check(disk, 1)


def test_a_full_disk_leaves_an_old_store_old_and_whole(disk: Disk) -> None:
    with closing(sqlite3.connect(disk.store)) as db:
        db.executescript((FIXTURES / "v1.sql").read_text(encoding="utf-8"))
    disk.fill()
    with pytest.raises(StoreError) as caught:
        open_or_replace(disk.store)
    assert not isinstance(caught.value, DamagedError)
    disk.free()
    with closing(sqlite3.connect(disk.store)) as db:
        assert version_of(db) == 1
    store, saved, problem = open_or_replace(disk.store)
    assert (saved.last_event_id, problem) == (4, None)
    store.close()


@pytest.fixture
def ext4(tmp_path: Path) -> Iterator[Disk]:
    """A file system that makes itself read-only at an error, also under those who write to it."""
    image, path = tmp_path / "image", tmp_path / "disk"
    path.mkdir()
    with image.open("wb") as file:
        file.truncate(16 << 20)
    for command in (["mkfs.ext4", "-q", image], ["mount", "-o", "loop", image, path]):
        try:
            done = subprocess.run(command, capture_output=True, check=False)
        except OSError as error:
            pytest.skip(str(error))
        if done.returncode:
            pytest.skip(done.stderr.decode().strip())
    yield Disk(path)
    subprocess.run(["umount", path], check=True)


@fault(
    Part.DISK,
    "The file system makes itself read-only after a disk error, under the running daemon",
    says="…: disk I/O error",
    lost="The disk takes nothing any more: what is read since then is in the journal only. What was stored"
    " is whole",
    recovers="With the reboot, or mount, that such a file system asks for",
)
def test_a_disk_that_becomes_read_only(ext4: Disk, claims: Claims) -> None:
    told: list[str | None] = []
    writer = writer_over(ext4, Store(ext4.store), NOTHING, told)
    writer.put(counted(1))
    assert writer.flush(20)
    ext4.remount("abort")
    writer.put(counted(2))
    wait_for(lambda: told)
    writer.put(counted(3))
    assert writer.close(20)
    claims.saw(str(told))
    assert len(told) == 1
    # As after the reboot that such a file system asks for.
    subprocess.run(["umount", ext4.path], check=True)
    subprocess.run(["mount", "-o", "loop", ext4.path.with_name("image"), ext4.path], check=True)
    check(ext4, 1)
    claims.kept(peek(ext4.store).memory[0].corrected.total, 1)
    store, _, problem = open_or_replace(ext4.store)
    store.close()
    claims.recovered(problem is None)


def test_a_disk_that_is_read_only_at_the_start(disk: Disk) -> None:
    with closing(Store(disk.store)) as store:
        for number in range(1, 6):
            store.commit(counted(number))
    disk.remount("ro")
    with pytest.raises(StoreError) as caught:
        open_or_replace(disk.store)
    assert not isinstance(caught.value, DamagedError)
    saved = peek(disk.store)
    assert saved.memory[0].corrected.total == 5
    told: list[str | None] = []
    writer = writer_over(disk, None, saved, told)
    writer.put(counted(6))
    wait_for(lambda: told)
    disk.remount("rw")
    wait_for(lambda: told[-1] is None)
    assert writer.close(20)
    check(disk, 6)


def test_a_damaged_store_on_a_read_only_disk_stays_where_it_is(disk: Disk) -> None:
    disk.store.write_bytes(b"no database" * 1000)
    disk.remount("ro")
    with pytest.raises(StoreError, match="cannot be moved aside: Read-only file system"):
        open_or_replace(disk.store)
    told: list[str | None] = []
    writer = writer_over(disk, None, None, told)
    writer.put(counted(1))
    wait_for(lambda: told)
    disk.remount("rw")
    wait_for(lambda: told[-1] is None)
    assert writer.close(20)
    assert "moved aside to" in str(told[-2])
    with closing(Store(disk.store)) as store:
        assert store.load().memory[0].corrected.total == 1
