# SPDX-License-Identifier: GPL-2.0-only
"""What is read, and when, where the source is a kernel with room for few records.

The source is a stand-in: when /dev/mcelog overflows depends on the machine, and it is in the VM only.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
from typing import TYPE_CHECKING

import pytest

from mcelogd import intake
from mcelogd.intake import Intake, Spools, recover
from mcelogd.record import LENGTH, layout, pack
from mcelogd.spool import Position, Spool, files, leftovers

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcelogd.pipeline import Pipeline
    from mcelogd.record import Layout
    from mcelogd.sources import Source
    from mcelogd.store.rows import Batch

    Put = Callable[[Batch, Callable[[], None]], None]

ROOM = 32
BURST = 500
ERROR = layout(LENGTH).parse(bytes(LENGTH))._replace(status=1 << 63)


class Kernel:
    """A log of 32 records; each record that is handled gives two new ones the time to come."""

    name, origin = "kernel", ""
    record_length, read_size = LENGTH, ROOM * LENGTH
    offset = landing = 0

    def __init__(self, unread_seconds: float) -> None:
        self.unread_seconds = unread_seconds
        self.queued: list[bytes] = []
        self.sent = 0
        self.overflowed = 0
        self.ended = asyncio.Event()
        self.readable = os.eventfd(1)
        self.fails_once = False
        """At the next read, which the one after that makes good."""

    def send(self, count: int) -> None:
        for _ in range(min(count, BURST - self.sent)):
            self.sent += 1
            if len(self.queued) < ROOM:
                self.queued.append(pack(ERROR._replace(addr=self.sent)))
            else:
                self.overflowed += 1

    def fileno(self) -> int:
        return self.readable

    def read_into(self, spool: Spool) -> int:
        if self.fails_once:
            self.fails_once = False
            raise OSError(errno.EIO, "broken")
        if not self.queued and self.sent == BURST:
            self.ended.set()
        count = len(self.queued) * LENGTH
        spool.put(b"".join(self.queued))
        self.queued.clear()
        return count

    def lost(self) -> int:
        return 0

    def take_damaged(self) -> int:
        return 0


class Slow:
    """A pipeline that is slower than the errors come."""

    def __init__(self, kernel: Kernel) -> None:
        self.kernel = kernel
        self.taken: list[bytes] = []

    def take(self, _form: Layout, data: bytes, _number: int) -> None:
        self.taken.append(data)
        self.kernel.send(2)
        self.kernel.fails_once = len(self.taken) == BURST // 5 and self.kernel.unread_seconds == 0

    def take_batch(self, *_: object) -> None: ...


def slow_store(kernel: Kernel) -> Put:
    """A store for which what would overflow the kernel's log comes while it takes a batch."""

    def put(_: Batch, meanwhile: Callable[[], None]) -> None:
        for _ in range(2 * ROOM):
            kernel.send(1)
            meanwhile()

    return put


def taken(kernel: Kernel, put: Put = lambda *_: None) -> list[int]:
    """Addresses of the records that arrive, in order."""
    source: Source = kernel  # type: ignore[assignment]  # what Intake asks of one
    slow = Slow(kernel)
    pipeline: Pipeline = slow  # type: ignore[assignment]  # what Intake asks of one

    async def run() -> None:
        reading = Intake(
            source,
            Spools(None, source, 1, lambda: (1, 0)),
            pipeline,
            put,
            lost=lambda _: None,
            done=lambda: None,
            changed=lambda: None,
        )
        kernel.send(ROOM)
        reading.start(asyncio.get_running_loop())
        await asyncio.wait_for(kernel.ended.wait(), 20)
        reading.stop()

    asyncio.run(run())
    return [layout(LENGTH).parse(data).addr for data in slow.taken]


def test_a_source_that_cannot_wait_is_read_while_records_are_handled() -> None:
    kernel = Kernel(unread_seconds=0.0)
    assert taken(kernel) == list(range(1, BURST + 1))
    assert kernel.overflowed == 0


def test_what_a_recovery_tells_is_told_already_for_the_one_after_it(tmp_path: Path) -> None:
    """As if killed in the middle: at each record, those before it count as told."""
    spool = Spool.create(tmp_path, 1, LENGTH)
    spool.put(pack(ERROR) * 3)
    list(spool.take(1))
    spool.mark_told()
    seen: list[tuple[bool, int]] = []

    class Watching:
        def take(self, _form: Layout, _data: bytes, *, told: bool) -> None:
            seen.append((told, leftovers(tmp_path, Position(1, 0))[0].told))

        def take_batch(self, *_: object) -> None: ...

    pipeline: Pipeline = Watching()  # type: ignore[assignment]  # what recover() asks of one
    recover(tmp_path, (1, 0), pipeline, lambda _: None)
    assert seen == [(True, 1), (False, 1), (False, 2)]
    assert leftovers(tmp_path, Position(1, 0))[0].told == 3


def test_one_that_can_wait_is_not() -> None:
    kernel = Kernel(unread_seconds=1000.0)
    assert len(taken(kernel)) == BURST - kernel.overflowed
    assert kernel.overflowed > ROOM


def test_it_is_read_while_the_store_has_its_turn() -> None:
    kernel = Kernel(unread_seconds=1000.0)
    assert len(taken(kernel, slow_store(kernel))) == BURST - kernel.overflowed
    # What comes while records are decoded is no matter of the store.
    assert kernel.overflowed < taken_without_reading(Kernel(unread_seconds=1000.0))


def taken_without_reading(kernel: Kernel) -> int:
    put = slow_store(kernel)
    taken(kernel, lambda batch, _: put(batch, lambda: None))
    return kernel.overflowed


class Ring:
    """What holds many records, and gives them as fast as they are read."""

    name, origin = "ring", ""
    record_length, read_size = LENGTH, ROOM * LENGTH
    offset = landing = 0
    unread_seconds = 1000.0

    def __init__(self, count: int) -> None:
        self.queued = [pack(ERROR._replace(addr=number)) for number in range(1, count + 1)]

    def fileno(self) -> int | None:
        return None

    def read_into(self, spool: Spool) -> int:
        records, self.queued = self.queued[:ROOM], self.queued[ROOM:]
        spool.put(b"".join(records))
        return len(records) * LENGTH

    def lost(self) -> int:
        return 0

    def take_damaged(self) -> int:
        return 0


class Reading:
    """An intake that reads a ring; `left` has how much was not read yet at each record."""

    def __init__(self, directory: Path | None, count: int) -> None:
        self.ring = Ring(count)
        self.left: list[int] = []
        self.addresses: list[int] = []
        self.position = (0, 0)
        source: Source = self.ring  # type: ignore[assignment]  # what Intake asks of one
        pipeline: Pipeline = self  # type: ignore[assignment]  # what Intake asks of one
        self.spools = Spools(directory, source, 1, lambda: self.position)
        self.done = asyncio.Event()
        self.intake = Intake(
            source,
            self.spools,
            pipeline,
            lambda *_: None,
            lost=lambda _: None,
            done=self.done.set,
            changed=lambda: None,
        )

    def take(self, form: Layout, data: bytes, _number: int = 0, *, told: bool = False) -> None:
        assert not told
        self.left.append(len(self.ring.queued))
        self.addresses.append(form.parse(data).addr)

    def take_batch(self, position: tuple[int, int], *_: object) -> None:
        self.position = position

    async def run(self) -> None:
        self.intake.start(asyncio.get_running_loop())
        await asyncio.wait_for(self.done.wait(), 20)

    async def one_turn(self) -> None:
        self.intake.start(asyncio.get_running_loop())
        await asyncio.sleep(0)
        self.intake.stop()


@pytest.fixture
def small_spools(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcelogd.spool.CAPACITY", 2 * ROOM * LENGTH)
    monkeypatch.setattr(intake, "MOST_WAITING", 4)


@pytest.mark.usefixtures("small_spools")
@pytest.mark.parametrize("kept", [True, False])
def test_more_is_read_while_a_full_spool_waits(tmp_path: Path, *, kept: bool) -> None:
    count, file = 20 * ROOM + 5, 2 * ROOM
    reading = Reading(tmp_path if kept else None, count)
    asyncio.run(reading.run())
    assert reading.addresses == list(range(1, count + 1))
    assert reading.left[0] == count - 4 * file, "it stops where too many wait"
    assert reading.left[: 2 * file : file] == [reading.left[0], reading.left[0] - file]
    assert reading.spools.pending == 0
    reading.spools.forget()
    assert [generation for generation, _ in files(tmp_path)] == ([reading.position[0]] if kept else [])


@pytest.mark.usefixtures("small_spools")
def test_a_source_that_can_wait_is_not_read_ahead(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Ring, "unread_seconds", math.inf)
    reading = Reading(tmp_path, 8 * ROOM)
    asyncio.run(reading.run())
    assert reading.addresses == list(range(1, 8 * ROOM + 1))
    assert reading.left[:: 2 * ROOM] == [6 * ROOM, 4 * ROOM, 2 * ROOM, 0]


def test_reading_leaves_others_their_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    """More is there at each read."""
    monkeypatch.setattr(intake, "READ_SECONDS", 0.01)
    reading = Reading(None, 0)

    def endless(spool: Spool) -> int:
        reading.ring.queued = [pack(ERROR)]
        return Ring.read_into(reading.ring, spool)

    monkeypatch.setattr(reading.ring, "read_into", endless)

    async def run() -> int:
        reading.intake.start(asyncio.get_running_loop())
        await asyncio.sleep(0)
        return reading.spools.pending

    assert 0 < asyncio.run(run()) < 50_000, "no more than what is read in that time"
    assert reading.addresses


@pytest.mark.usefixtures("small_spools")
def test_what_several_spools_hold_is_found_by_the_next_start(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(intake, "STOP_SECONDS", -1.0)
    reading = Reading(tmp_path, 6 * ROOM)
    asyncio.run(reading.one_turn())
    assert len(reading.addresses) == ROOM
    again = Reading(None, 0)
    pipeline: Pipeline = again  # type: ignore[assignment]  # what recover() asks of one
    signs: list[int] = []
    recovered = recover(
        tmp_path,
        reading.position,
        pipeline,
        lambda _: None,
        progress=lambda: signs.append(len(again.addresses)),
    )
    assert signs == [0, ROOM, 3 * ROOM, 5 * ROOM]
    assert reading.addresses + again.addresses == list(range(1, 6 * ROOM + 1))
    last, _ = files(tmp_path)[-1]
    assert (again.position, recovered.generation) == ((last, 0), last + 1)


@pytest.mark.usefixtures("small_spools")
@pytest.mark.parametrize("kept", [True, False])
def test_stopping_takes_no_longer_than_it_may(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, kept: bool
) -> None:
    """What is in a file waits for the next start; what is in memory only is handled still."""
    monkeypatch.setattr(intake, "STOP_SECONDS", -1.0)
    reading = Reading(tmp_path if kept else None, 4 * ROOM)
    asyncio.run(reading.one_turn())
    assert len(reading.addresses) == (ROOM if kept else 4 * ROOM)
    assert reading.spools.pending == (3 * ROOM if kept else 0)
