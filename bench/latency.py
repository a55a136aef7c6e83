#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""How long it takes from a record in the FIFO to its entry in the journal's socket.

    .venv/bin/python bench/latency.py [RECORDS]

One record at a time, each of another page and each told. The floor is a loop
in Python that reads the record and sends as many bytes: what the kernel and
the interpreter take for the way alone. From the kernel's injection to the
journal is measured in a virtual machine, see docs/performance.md.
"""

from __future__ import annotations

import os
import socket
import sys
import tempfile
import time
from pathlib import Path

from common import FORK, Daemon, Journal, distinct, machine

RECORDS = 1000
PAUSE = 0.005
"""Seconds between two records: the daemon sleeps again, and has committed."""


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    records = list(distinct(count))
    print(f"{count} records; {machine()}")
    with Daemon("storm-threshold = off") as daemon, tempfile.TemporaryDirectory() as scratch:
        while not daemon.journal.count:  # the entry that it has started
            time.sleep(0.01)
        floor = Floor(Path(scratch), 1600)
        ours, least = [], []
        for record in records:
            ours.append(timed(daemon.feed, record, daemon.journal))
            least.append(timed(floor.feed, record, floor.journal))
        floor.close()
    print(f"{'':10} {'median us':>10} {'99th us':>10}")
    for name, times in (("daemon", ours), ("floor", least)):
        print(f"{name:10} {at(times, 0.5):10.0f} {at(times, 0.99):10.0f}")
    print(f"{'ratio':10} {at(ours, 0.5) / at(least, 0.5):10.1f} {at(ours, 0.99) / at(least, 0.99):10.1f}")


def timed(feed: int, record: bytes, journal: Journal) -> float:
    """Microseconds from the write to the entry."""
    count = journal.count
    start = time.perf_counter()
    os.write(feed, record)
    while journal.count <= count:
        time.sleep(0.0002)
    seconds = journal.last - start
    time.sleep(PAUSE)
    return seconds * 1e6


def at(times: list[float], share: float) -> float:
    return sorted(times)[min(len(times) - 1, int(share * len(times)))]


class Floor:
    """A FIFO, a process that reads it and sends an entry for each record, and who takes that."""

    def __init__(self, directory: Path, size: int) -> None:
        os.mkfifo(directory / "device")
        self.feed = os.open(directory / "device", os.O_RDWR)
        self.journal = Journal(directory / "journal")
        self._process = FORK.Process(target=self._run, args=(str(directory / "journal"), bytes(size)))
        self._process.start()

    def _run(self, path: str, entry: bytes) -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(path)
            while os.read(self.feed, 4096):
                sender.send(entry)

    def close(self) -> None:
        self._process.terminate()
        self._process.join()
        self.journal.close()
        os.close(self.feed)


if __name__ == "__main__":
    main()
