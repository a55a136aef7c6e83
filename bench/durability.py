#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""How long a record that was read can be lost by a loss of power.

Measures, on the disk of the directory given, the time from the read(2) that
puts records into the spool to the end of the commit that has them on the disk:

    bench/durability.py [DIRECTORY]

A crash of mcelog alone has no such window: the spool is a file.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent.parent))

from mcelogd import cpu
from mcelogd.account.books import Books
from mcelogd.account.memory import MemoryTable, Rates
from mcelogd.pipeline import CpuChoice, Pipeline
from mcelogd.rate import NEVER
from mcelogd.record import LENGTH, MceRecord, layout, pack
from mcelogd.spool import Spool
from mcelogd.store.database import Store
from mcelogd.store.writer import StoreWriter

ROUNDS = 50


class Silent:
    """Tells nobody, does nothing."""

    def event(self, *_: object) -> None: ...

    def crossed(self, *_: object) -> None: ...


def main() -> None:
    directory = Path(sys.argv[1]) if len(sys.argv) > 1 else None
    with tempfile.TemporaryDirectory(dir=directory) as scratch:
        print("records  median ms  worst ms   (from read to committed; fsync alone below)")
        for burst in (1, 32, 400):
            times = measure(Path(scratch), burst)
            print(f"{burst:7}  {statistics.median(times) * 1e3:9.2f}  {max(times) * 1e3:8.2f}")
        times = [fsync(Path(scratch)) for _ in range(ROUNDS)]
        print(f"  fsync  {statistics.median(times) * 1e3:9.2f}  {max(times) * 1e3:8.2f}")


def measure(directory: Path, burst: int) -> list[float]:
    writer = StoreWriter(Store(directory / f"{burst}.db"), (0, 0), print)
    rates = Rates(NEVER, NEVER)
    pipeline = Pipeline(
        cpu=CpuChoice(None, cpu.INTEL),
        books=Books(MemoryTable(rates, rates, track_dimms=None, track_sockets=None)),
        reporter=Silent(),
        actions=Silent(),
        summarize=lambda event: event.finding.what,
        clock=time.time,
    )
    spool = Spool.create(directory, burst, LENGTH, ROUNDS * burst * LENGTH)
    data = pack(MceRecord(status=0x9C00004000010090, socketid=0, cpuid=0x606A6, time=1)) * burst
    times = []
    for _ in range(ROUNDS):
        read, write = os.pipe()
        os.write(write, data)
        start = time.perf_counter()
        spool.read_from(read, len(data))
        for record in spool.take(burst):
            pipeline.take(layout(LENGTH), record)
        writer.put(pipeline.take_batch(spool.position))
        writer.flush(60)
        times.append(time.perf_counter() - start)
        os.close(read)
        os.close(write)
    writer.close(60)
    return times


def fsync(directory: Path) -> float:
    with (directory / "probe").open("ab") as file:
        file.write(bytes(4096))
        file.flush()
        start = time.perf_counter()
        os.fsync(file.fileno())
        return time.perf_counter() - start


if __name__ == "__main__":
    main()
