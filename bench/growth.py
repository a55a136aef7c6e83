#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What grows with what was counted and kept, and how far: pages, DIMMs, stored events.

    .venv/bin/python bench/growth.py [LARGEST]

LARGEST (1,000,000 if not given) is the number of pages and of events; a ratio
is to the smallest case of the same run. Pages and DIMMs are counted by the
daemon's own tables in this process, where their memory can be told apart;
events are in a store on the disk, which a daemon then starts with.
"""

from __future__ import annotations

import contextlib
import functools
import sys
import time
import tracemalloc
from typing import TYPE_CHECKING, NamedTuple

from common import Daemon, machine, median, memory_error, processes

from mcelogd import cpu
from mcelogd.account.memory import MemoryTable, Rates
from mcelogd.account.pages import PageTable
from mcelogd.account.text import memory_text, pages_text
from mcelogd.decode import decode
from mcelogd.event import Location
from mcelogd.rate import Rate
from mcelogd.record import LENGTH, layout
from mcelogd.settings import Settings
from mcelogd.store.database import Store
from mcelogd.store.reader import EventQuery, StoreReader
from mcelogd.store.rows import Batch, StoredEvent

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from mcelogd.event import Event

LARGEST = 1_000_000
LIMIT = Settings.max_corr_err_counters.default
DIMMS = (1, 4096)
RECORD = memory_error(1)
SAMPLE = decode(layout(LENGTH).parse(RECORD), cpu.by_cpuid(cpu.Vendor.INTEL, 0x606A6))

HITS = 20_000
"""Errors that are counted at least, for a time."""

CHUNK = 10_000
NOW = 1_795_000_000
TWO_A_DAY = Rate(2, 86_400, "d")
RATES = Rates(TWO_A_DAY, TWO_A_DAY)

HEAD = f"{'KiB':>7} {'us an error':>11} {'ratio':>6} {'ms to list':>10}"


def main() -> None:
    largest = int(sys.argv[1]) if len(sys.argv) > 1 else LARGEST
    print(machine())
    pages(sorted({1, 10_000, largest}))
    dimms()
    events(sorted({1000, largest}))


class Cost(NamedTuple):
    """Microseconds of a processor for an error, bytes that the table takes, milliseconds to list it."""

    each: float
    size: int
    listed: float = 0.0


def pages(counts: list[int]) -> None:
    print(f"\n{'pages met':>9} {'counted':>8} {HEAD}")
    first = 0.0
    for count in counts:
        found = page_costs(count)
        first = first or found.each
        show(f"{count:9} {min(count, LIMIT):8}", found, first)


def page_costs(count: int) -> Cost:
    """Of a table that meets so many pages, and counts as many as it may."""
    table = PageTable(TWO_A_DAY, LIMIT)
    found = counted(table, count, lambda n: SAMPLE._replace(record=SAMPLE.record._replace(addr=n << 12)))
    return found._replace(listed=timed(functools.partial(pages_text, table)))


def dimms() -> None:
    print(f"\n{'DIMMs':>9} {'':8} {HEAD}")
    first = 0.0
    for count in DIMMS:
        table = MemoryTable(RATES, RATES, track_dimms=True, track_sockets=True)
        found = counted(table, count, on_dimm)
        first = first or found.each
        listing = functools.partial(memory_text, table, NOW, every=True, bios=True)
        show(f"{count:9} {'':8}", found._replace(listed=timed(listing)), first)


def on_dimm(number: int) -> Event:
    """An error of that DIMM, of 16 sockets with two a channel."""
    place = Location(channel=number // 32, dimm=number // 16 % 2)
    finding = SAMPLE.finding._replace(locations=(place,))
    return SAMPLE._replace(record=SAMPLE.record._replace(socketid=number % 16), finding=finding)


def counted(table: PageTable | MemoryTable, count: int, error: Callable[[int], Event]) -> Cost:
    """Count an error of each, and more where they are few."""
    tracemalloc.start()
    for number in range(min(count, CHUNK)):
        table.account(error(number), NOW)
    table.take_changed()
    size = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    spent, done = 0.0, 0
    while done < max(count, HITS):
        found = [error((done + n) % count) for n in range(CHUNK)]
        start = time.process_time()
        for one in found:
            table.account(one, NOW)
        table.take_changed()
        spent += time.process_time() - start
        done += CHUNK
    return Cost(spent / done * 1e6, size)


def show(title: str, found: Cost, first: float) -> None:
    ratio = found.each / first
    print(
        f"{title} {found.size / 1024:7.0f} {found.each:11.1f} {ratio:6.2f} {found.listed:10.1f}", flush=True
    )


def events(counts: list[int]) -> None:
    for count in counts:
        # None too old, none too many.
        daemon = Daemon("store-max-age = 0\nstore-max-size = 0")
        daemon.database.parent.mkdir()
        fill(daemon.database, count)
        times = query_times(daemon.database, count)
        if count == counts[0]:
            heads = " ".join(f"{one:>10}" for one in times)
            print(f"\n{'events':>9} {'MB':>5} {heads} {'ready ms':>10} {'MiB':>6}")
        size = daemon.database.stat().st_size >> 20
        with daemon:
            ready = processes.run_seconds(daemon.pid) * 1e3
            memory = processes.memory(daemon.pid) / (1 << 20)
        shown = " ".join(f"{one:10.1f}" for one in times.values())
        print(f"{count:9} {size:5} {shown} {ready:10.0f} {memory:6.1f}", flush=True)


def query_times(database: Path, count: int) -> dict[str, float]:
    """Milliseconds of a processor for what is asked of a store that fill() made."""
    reader = StoreReader(database)
    span = EventQuery(since=NOW - count // 2, until=NOW - count // 4, limit=1000)
    asked: dict[str, Callable[[], object]] = {
        "first 1000": functools.partial(reader.events, 0, 1000),
        "last 1000": functools.partial(reader.events, count - 1000, 1000),
        "one": functools.partial(reader.event, count // 2),
        "100 caches": functools.partial(reader.newest, EventQuery(kinds=("cache",), limit=100)),
        "of a span": functools.partial(reader.newest, span),
    }
    return {name: timed(question) for name, question in asked.items()}


def fill(path: Path, count: int) -> None:
    """A store with so many events, one a second, each hundredth of a cache."""
    with contextlib.closing(Store(path)) as store:
        for first in range(1, count + 1, CHUNK):
            rows = [row(number, count) for number in range(first, min(first + CHUNK, count + 1))]
            store.commit(Batch(rows, [], [], [], {}, None))


def row(number: int, count: int) -> StoredEvent:
    kind = "cache" if number % 100 == 0 else "memory"
    where = (0, number % 8, number % 2)
    words = (kind, "corrected", 1, 13, *where, "corrected memory error on socket 0 channel 1 DIMM 0")
    return StoredEvent(number, NOW - count + number, *words, RECORD)


def timed(work: Callable[[], object]) -> float:
    """Milliseconds of a processor, the median of a few; what it takes the first time is not counted."""
    times = []
    for _ in range(6):
        start = time.process_time()
        work()
        times.append(time.process_time() - start)
    return median(times[1:]) * 1e3


if __name__ == "__main__":
    main()
