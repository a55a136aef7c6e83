#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Events a second through the whole daemon: FIFO, spool, decoder, counters, store, journal.

    .venv/bin/python bench/throughput.py [RECORDS]

Processor time of the daemon for each record, next to what cannot be done
without on the same machine at the same time: a row in SQLite, with the same
journal mode and synchronous setting, and a datagram as long as the entry. Once
with every event told, once as it comes set up: as a storm, summed up.
"""

from __future__ import annotations

import socket
import sqlite3
import sys
import tempfile
import time
from pathlib import Path

from common import Daemon, Journal, distinct, machine, median, memory_error, processes, ratio

RECORDS = 20_000
ROUNDS = 3
PIECE = 4000
"""Records at a time: a journal that is slow may have 10,000 entries waiting."""

ROWS = 32
"""Records in a transaction, as many as are decoded between two looks at the source."""


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    print(f"{count} records, {ROUNDS} rounds; {machine()}")
    records = list(distinct(count))
    told, storm, commits, sends, rates = [], [], [], [], []
    for _ in range(ROUNDS):
        cpu, seconds, size = whole(records, every=True)
        told.append(cpu)
        rates.append(count / seconds)
        storm.append(whole([memory_error(1)] * count, every=False)[0])
        commits.append(commit(records) / count)
        sends.append(send(count, size) / count)
    floor = [one + other for one, other in zip(commits, sends, strict=True)]
    print(f"{'':34} {'us':>7} {'ratio':>6}")
    print(f"{'SQLite, a row':34} {median(commits) * 1e6:7.1f}")
    print(f"{'journal, a datagram':34} {median(sends) * 1e6:7.1f}")
    print(f"{'daemon, every event told':34} {median(told) * 1e6:7.1f} {ratio(told, floor):6.1f}")
    print(f"{'daemon, a storm':34} {median(storm) * 1e6:7.1f} {ratio(storm, commits):6.1f}")
    print(f"every event told: {median(rates):.0f} a second by the clock, {1 / median(told):.0f} a processor")


def whole(records: list[bytes], *, every: bool) -> tuple[float, float, int]:
    """The daemon's processor seconds for each record, seconds of the clock, bytes of a journal entry."""
    with Daemon("storm-threshold = off" if every else "") as daemon:
        before, start = processes.cpu_seconds(daemon.pid), time.perf_counter()
        said = daemon.journal.count
        for first in range(0, len(records), PIECE):
            piece = records[first : first + PIECE]
            daemon.send(b"".join(piece))
            daemon.wait_stored(first + len(piece))
            if every:
                daemon.journal.wait(said + first + len(piece))
        spent, seconds = processes.cpu_seconds(daemon.pid) - before, time.perf_counter() - start
        return spent / len(records), seconds, daemon.journal.size // max(1, daemon.journal.count)


def commit(records: list[bytes]) -> float:
    """Processor seconds for rows of that size, in transactions that are on the disk when they end."""
    with tempfile.TemporaryDirectory() as scratch:
        db = sqlite3.connect(Path(scratch) / "db", isolation_level=None)
        db.execute("PRAGMA journal_mode = WAL").fetchall()
        db.execute("PRAGMA synchronous = FULL")
        db.execute("CREATE TABLE events (id INTEGER PRIMARY KEY, time, kind, summary, record)")
        rows = [(n, 1, "memory", "corrected memory error", record) for n, record in enumerate(records)]
        before = time.process_time()
        for first in range(0, len(rows), ROWS):
            db.execute("BEGIN")
            db.executemany("INSERT INTO events VALUES (?, ?, ?, ?, ?)", rows[first : first + ROWS])
            db.execute("COMMIT")
        spent = time.process_time() - before
        db.close()
        return spent


def send(count: int, size: int) -> float:
    """Processor seconds for datagrams of that size to somebody who reads them."""
    with tempfile.TemporaryDirectory() as scratch:
        path = Path(scratch) / "journal"
        journal = Journal(path)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            sender.connect(str(path))
            entry = bytes(size)
            before = time.process_time()
            for _ in range(count):
                sender.send(entry)
            spent = time.process_time() - before
        journal.close()
        return spent


if __name__ == "__main__":
    main()
