# SPDX-License-Identifier: GPL-2.0-only
"""As many objects and pages as there can be, in the real daemon on a bus.

What takes long is held in processor time of the daemon: a busy machine does not make that longer.
"""

from __future__ import annotations

import asyncio
import contextlib
import statistics
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from mcelogd.account.bucket import Bucket
from mcelogd.account.memory import ANY, MemoryErrors, MemoryKey
from mcelogd.account.pages import PageErrors
from mcelogd.dbus.connection import BusConnection
from mcelogd.dbus.declare import OBJECT_MANAGER
from mcelogd.dbus_iface import MOST_AT_ONCE, MOST_OBJECTS
from mcelogd.store.database import Store
from mcelogd.store.rows import Batch, memory_row, page_row

from .conftest import Scratch
from .privatebus import private_bus
from .processes import cpu_seconds, own_memory

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator
    from pathlib import Path

    from .privatebus import PrivateBus

NAME, MANAGER, MANAGER_INTERFACE = "org.mcelog", "/org/mcelog", "org.mcelog.Manager"

PAGES = 100_000
SOCKETS = 8
"""Objects themselves; the rest of MOST_OBJECTS are DIMMs."""


MOST_OF_AN_OBJECT, MOST_OF_A_PAGE = 4096, 1024
"""Bytes of memory, what it is made of while the store is loaded included."""


class Answer(NamedTuple):
    """Of the daemon, and what it cost it: seconds of a processor."""

    values: list[Any]
    seconds: float


class Large(NamedTuple):
    """A daemon that went on from a large store."""

    bus: PrivateBus
    scratch: Scratch

    @property
    def pid(self) -> int:
        assert self.scratch.process is not None
        return self.scratch.process.pid


@contextlib.contextmanager
def daemon_with(bus: PrivateBus, directory: Path, objects: int, pages: int) -> Iterator[Large]:
    """Which takes over what an earlier run counted: `objects` DIMMs and sockets, and pages."""
    scratch = Scratch(directory)
    settings = f"bus = {bus.address}\nmax-corr-err-counters = {max(1, pages)}"
    scratch.config.write_text(scratch.config.read_text().replace("bus = none", settings))
    scratch.state.mkdir()
    keys = [MemoryKey(n, ANY, ANY) for n in range(SOCKETS)]
    keys += [MemoryKey(n % SOCKETS, n // SOCKETS, 0) for n in range(objects - SOCKETS)]
    # Neighbours in memory fail at different times: the pages were not met in the order of addresses.
    frames = [n * 7919 % pages for n in range(pages)]
    with contextlib.closing(Store(scratch.database)) as store:
        memory = [memory_row(MemoryErrors(key, 1))._replace(ce_total=1) for key in keys]
        rows = [page_row(PageErrors(frame << 12, Bucket(1), 1), use) for use, frame in enumerate(frames)]
        store.commit(Batch([], memory, rows, [], {}, (0, 0)))
    try:
        scratch.start()
        assert scratch.process is not None
        yield Large(bus, scratch)
    finally:
        if scratch.process is not None and scratch.process.poll() is None:
            scratch.stop()


async def ask(large: Large, client: BusConnection, interface: str, member: str, *call: Any) -> Answer:
    before = cpu_seconds(large.pid)
    values = await client.call(NAME, MANAGER, interface, member, *call)
    return Answer(values, cpu_seconds(large.pid) - before)


@contextlib.asynccontextmanager
async def client_of(bus: PrivateBus) -> AsyncIterator[BusConnection]:
    client = BusConnection(bus.address)
    client.start()
    await client.settle(10)
    try:
        yield client
    finally:
        await client.close()


@pytest.fixture(scope="module")
def bus() -> Iterator[PrivateBus]:
    with private_bus() as bus:
        yield bus


@pytest.fixture(scope="module")
def bare(bus: PrivateBus, tmp_path_factory: pytest.TempPathFactory) -> int:
    """Bytes of memory of a daemon with next to nothing to offer."""
    with daemon_with(bus, tmp_path_factory.mktemp("bare"), SOCKETS, 0) as large:
        return own_memory(large.pid)


def test_thousands_of_objects_are_got_within_a_second(bus: PrivateBus, bare: int, tmp_path: Path) -> None:
    async def main(large: Large) -> None:
        async with client_of(large.bus) as client:
            for _ in range(2):
                answer = await ask(large, client, OBJECT_MANAGER, "GetManagedObjects")
                (objects,) = answer.values
                assert len(objects) == MOST_OBJECTS
                assert answer.seconds < 1
                last = objects[f"{MANAGER}/dimm/7_{MOST_OBJECTS // SOCKETS - 2}_0"]["org.mcelog.Dimm"]
                assert (last["Socket"], last["CorrectedErrors"]) == (7, 1)

    with daemon_with(bus, tmp_path, MOST_OBJECTS, 0) as large:
        each = (own_memory(large.pid) - bare) / MOST_OBJECTS
        assert each < MOST_OF_AN_OBJECT
        asyncio.run(main(large))
        # The answer itself is some 2 MB, and in parts; of it nothing stays.
        assert own_memory(large.pid) - bare < MOST_OBJECTS * MOST_OF_AN_OBJECT + (16 << 20)


def test_pages_are_listed_in_parts(bus: PrivateBus, bare: int, tmp_path: Path) -> None:
    async def main(large: Large) -> None:
        seen: list[int] = []
        costs: list[float] = []
        async with client_of(large.bus) as client:
            while len(seen) < PAGES:
                call = ("uu", [len(seen), MOST_AT_ONCE])
                answer = await ask(large, client, MANAGER_INTERFACE, "ListPages", *call)
                pages, total = answer.values
                assert (len(pages), total) == (MOST_AT_ONCE, PAGES)
                seen += [page[0] for page in pages]
                costs.append(answer.seconds)
        assert seen == [frame << 12 for frame in range(PAGES)]
        # Not sorted anew for each part, which alone took twice as long.
        assert statistics.mean(costs[1:]) < 0.025

    with daemon_with(bus, tmp_path, SOCKETS, PAGES) as large:
        assert (own_memory(large.pid) - bare) / PAGES < MOST_OF_A_PAGE
        asyncio.run(main(large))
