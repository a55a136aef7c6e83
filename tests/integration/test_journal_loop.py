# SPDX-License-Identifier: GPL-2.0-only
"""The journal's queue in an event loop: never in its way, and asleep while there is nothing to do."""

from __future__ import annotations

import asyncio
import contextlib
import resource
import selectors
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcelogd import journal
from tests.integration.journal_peer import (
    Fields,
    Peer,
    failing_after,
    gaps,
    numbers,
    open_files,
    open_peer,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator


@pytest.fixture
def peer() -> Iterator[Peer]:
    with open_peer() as peer:
        yield peer


def test_a_stuck_journald_costs_neither_time_nor_memory_nor_the_loop(peer: Peer) -> None:
    """100,000 entries of 1 KiB to a socket that nobody reads."""
    count = 100_000
    entries: list[Fields] = []

    async def scenario() -> None:
        sender = journal.Journal(peer.path)
        sender.attach(asyncio.get_running_loop())
        memory = resident_bytes()
        async with measured_turns() as turns:
            slept = await send_all(sender, count)
            assert slept < 5
            assert resident_bytes() - memory < 40 << 20
            assert sender.queued == journal.MAX_ENTRIES
            at_once = len(peer.read())
            assert sender.dropped == count - journal.MAX_ENTRIES - at_once
            dropped = sender.dropped
            while sender.queued:
                entries.extend(peer.read())
                await asyncio.sleep(0)
        entries.extend(peer.read())
        assert max(turns) < 0.25
        assert numbers(entries) == list(range(at_once, count - dropped))
        assert gaps(entries) == [dropped]
        assert "MCE_DROPPED" in entries[-1]
        sender.send({"N": -1})
        assert numbers(peer.read()) == [-1]
        assert sender.close() == 0

    with failing_after(60):
        asyncio.run(scenario())


async def send_all(sender: journal.Journal, count: int) -> int:
    """Send them while the loop runs; returns how often the thread slept within a send.

    Not the time: a busy machine takes the processor away for as long as it likes, but only who waits
    gives it up.
    """
    slept = 0
    for number in range(count):
        before = resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw
        sender.send({"N": number, "MCE_DECODED": "x" * 1024})
        slept += resource.getrusage(resource.RUSAGE_THREAD).ru_nvcsw - before
        if number % 500 == 0:
            await asyncio.sleep(0)
    return slept


@contextlib.asynccontextmanager
async def measured_turns() -> AsyncIterator[list[float]]:
    """Seconds of processor time that each turn of the loop took, for as long as others had to wait."""
    turns = [0.0]

    async def measure() -> None:
        while True:
            before = time.thread_time()
            await asyncio.sleep(0)
            turns.append(time.thread_time() - before)

    task = asyncio.create_task(measure())
    try:
        yield turns
    finally:
        task.cancel()


class CountingSelector(selectors.DefaultSelector):
    """Counts how often the loop was woken."""

    def __init__(self) -> None:
        super().__init__()
        self.wakes = 0

    def select(self, timeout: float | None = None) -> Any:
        self.wakes += 1
        return super().select(timeout)


def wakes_in_half_a_second(prepare: Callable[[journal.Journal], None], path: str) -> int:
    """Wakes of a loop that has nothing to do but the journal; one is the measurement's own."""
    selector = CountingSelector()

    async def scenario() -> int:
        sender = journal.Journal(path)
        sender.attach(asyncio.get_running_loop())
        prepare(sender)
        await asyncio.sleep(0.05)
        before = selector.wakes
        await asyncio.sleep(0.5)
        wakes = selector.wakes - before
        sender.close(0)
        return wakes

    with asyncio.Runner(loop_factory=lambda: asyncio.SelectorEventLoop(selector)) as runner:
        return runner.run(scenario())


def test_a_loop_sleeps_while_nothing_is_queued(peer: Peer) -> None:
    assert wakes_in_half_a_second(lambda sender: sender.send({"N": 0}), peer.path) <= 2


def test_a_loop_sleeps_while_journald_is_stuck(peer: Peer) -> None:
    def fill(sender: journal.Journal) -> None:
        for number in range(1000):
            sender.send({"N": number})
        assert sender.queued

    assert wakes_in_half_a_second(fill, peer.path) <= 2


def test_a_loop_retries_seldom_while_journald_is_away(peer: Peer) -> None:
    def lose(sender: journal.Journal) -> None:
        peer.stop()
        sender.send({"N": 0})
        assert sender.queued

    assert 1 <= wakes_in_half_a_second(lose, peer.path) <= 6


def test_a_loop_sends_what_is_queued_when_journald_is_back(peer: Peer) -> None:
    async def scenario() -> None:
        sender = journal.Journal(peer.path)
        sender.attach(asyncio.get_running_loop())
        peer.stop()
        before = open_files()
        for number in range(20):
            sender.send({"N": number})
        await asyncio.sleep(0.3)
        assert (sender.queued, open_files()) == (20, before - 1)
        peer.start()
        entries: list[Fields] = []
        async with asyncio.timeout(10):
            while len(entries) < 20:
                entries += peer.read()
                await asyncio.sleep(0.001)
        assert numbers(entries) == list(range(20))
        assert sender.close() == 0

    asyncio.run(scenario())


def test_journald_dies_while_it_is_stuck(peer: Peer) -> None:
    """What it had in its socket is gone, nobody can tell; the queue goes to the next one."""

    async def scenario() -> None:
        sender = journal.Journal(peer.path)
        sender.attach(asyncio.get_running_loop())
        for number in range(500):
            sender.send({"N": number})
        waiting = sender.queued
        await asyncio.sleep(0)
        peer.stop()
        peer.start()
        entries: list[Fields] = []
        async with asyncio.timeout(10):
            while sender.queued:
                entries += peer.read()
                await asyncio.sleep(0.001)
        entries += peer.read()
        assert numbers(entries) == list(range(500 - waiting, 500))
        sender.close()

    asyncio.run(scenario())


@pytest.fixture
def hasty_threads() -> Iterator[None]:
    """Threads that take turns so often that they meet where they must not."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    yield
    sys.setswitchinterval(interval)


@pytest.mark.usefixtures("hasty_threads")
def test_threads_may_send_while_the_loop_drains(peer: Peer) -> None:
    async def scenario() -> None:
        sender = journal.Journal(peer.path)
        sender.attach(asyncio.get_running_loop())
        entries: list[Fields] = []

        def send(first: int) -> None:
            for number in range(first, first + 1000):
                sender.send({"N": number})

        threads = [threading.Thread(target=send, args=(1000 * i,)) for i in range(4)]
        for thread in threads:
            thread.start()
        async with asyncio.timeout(30):
            while sender.queued or any(thread.is_alive() for thread in threads):
                entries += peer.read()
                await asyncio.sleep(0)
        entries += peer.read()
        found = numbers(entries)
        assert sorted(found) == list(range(4000))
        assert (sender.queued_bytes, sender.dropped) == (0, 0)
        for first in range(0, 4000, 1000):
            assert [n for n in found if first <= n < first + 1000] == list(range(first, first + 1000))
        sender.close()

    asyncio.run(scenario())


def test_a_loop_that_was_closed_is_no_trouble(peer: Peer) -> None:
    sender = journal.Journal(peer.path)

    async def scenario() -> None:
        sender.attach(asyncio.get_running_loop())

    asyncio.run(scenario())
    for number in range(500):
        sender.send({"N": number})
    assert numbers(peer.read_until_empty(sender)) == list(range(500))
    sender.close()


def resident_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize()
