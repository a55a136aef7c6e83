#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What becomes of many records at once: none lost, how long until all are in the store, how much memory.

    .venv/bin/python bench/burst.py [SECONDS]

SECONDS is how long 10,000 records a second are sent at the end, 60 if it is
not given. Each burst meets a daemon of its own that had nothing to do yet.
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

from common import Daemon, distinct, machine, memory_error, processes

BURSTS = (32, 1000, 100_000)
A_SECOND = 10_000
SECONDS = 60
BASE = 100_000
"""Distinct records that are sent again and again."""


class Outcome(NamedTuple):
    """`taken`: seconds until the last byte was in the FIFO; `stored`: until all were in the store.

    `cpu` is the daemon's processor time in seconds, `peak` and `before` its memory in bytes.
    """

    records: int
    lost: int
    taken: float
    stored: float
    cpu: float
    before: int
    peak: int


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else SECONDS
    print(machine())
    print(
        f"{'':34} {'lost':>5} {'taken s':>8} {'stored s':>8} {'cpu s':>6} {'MiB before':>10} {'MiB peak':>8}"
    )
    for count in BURSTS:
        show(f"{count} of one fault at once", measured([memory_error(1)] * count, 0))
        show(f"{count} of as many pages at once", measured(list(distinct(count)), 0))
    steady = list(distinct(BASE)) * -(-round(seconds * A_SECOND) // BASE)
    outcome = measured(steady[: round(seconds * A_SECOND)], A_SECOND)
    show(f"{A_SECOND} a second for {seconds:.0f} s", outcome)


def measured(records: list[bytes], rate: int) -> Outcome:
    """Send all, `rate` a second or, if that is 0, as fast as they are taken."""
    with Daemon() as daemon:
        before, cpu = processes.memory(daemon.pid), processes.cpu_seconds(daemon.pid)
        start = time.perf_counter()
        step = rate // 100 or len(records)
        for first in range(0, len(records), step):
            daemon.send(b"".join(records[first : first + step]))
            if rate:
                time.sleep(max(0, start + (first + step) / rate - time.perf_counter()))
        taken = time.perf_counter() - start
        daemon.wait_stored(len(records))
        stored = time.perf_counter() - start
        cpu = processes.cpu_seconds(daemon.pid) - cpu
        peak = processes.memory(daemon.pid, "VmHWM")
        # Ids are given one by one, to every record that was read.
        return Outcome(len(records), len(records) - daemon.stored(), taken, stored, cpu, before, peak)


def show(title: str, found: Outcome) -> None:
    print(
        f"{title:34} {found.lost:5} {found.taken:8.2f} {found.stored:8.2f} {found.cpu:6.2f}"
        f" {found.before / (1 << 20):10.1f} {found.peak / (1 << 20):8.1f}"
    )


if __name__ == "__main__":
    main()
