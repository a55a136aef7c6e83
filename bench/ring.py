#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What is overwritten in the ring of the trace event where records come faster than they are decoded.

    .venv/bin/python bench/ring.py [SECONDS]

SECONDS is how long 10,000 records a second are sent at the end, 60 if it is not given.

The ring is no kernel's (tests/integration/trace_ring.py); tracefs.a_burst_loses_nothing is about a real one,
in a machine that is emulated.
"""

from __future__ import annotations

import sys
import tempfile
import time
from contextlib import closing
from pathlib import Path

from common import Daemon, distinct, machine, processes

from tests.integration.trace_ring import IN_PAGE, TraceRing, full_pages

A_SECOND = 10_000
AT_ONCE = 100_000, 100_000
"""Records, and how many of them a second: the kernel takes some microseconds for each."""


def main() -> None:
    seconds = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    print(machine())
    columns = f"{'overwritten':>11} {'stored':>8} {'stored s':>8} {'cpu s':>7} {'MiB before':>10} {'peak':>6}"
    print(f"{'':28} {columns}")
    measure("100,000 at once", *AT_ONCE)
    measure(f"{A_SECOND} a second for {seconds:.0f} s", round(seconds * A_SECOND), A_SECOND)


def measure(title: str, count: int, rate: int) -> None:
    pages = list(full_pages(distinct(count)))
    with (
        tempfile.TemporaryDirectory() as scratch,
        closing(TraceRing(Path(scratch))) as ring,
        Daemon(f"source = tracefs\ntracefs-root = {scratch}", from_fifo=False) as daemon,
    ):
        before, cpu = processes.memory(daemon.pid), processes.cpu_seconds(daemon.pid)
        start = time.perf_counter()
        lost = ring.send(pages, rate / IN_PAGE)
        daemon.wait_stored((len(pages) - lost) * IN_PAGE)
        stored = time.perf_counter() - start
        cpu = processes.cpu_seconds(daemon.pid) - cpu
        peak = processes.memory(daemon.pid, "VmHWM")
        print(
            f"{title:28} {lost * IN_PAGE:11} {daemon.stored():8} {stored:8.2f} {cpu:7.2f}"
            f" {before / (1 << 20):10.1f} {peak / (1 << 20):6.1f}"
        )


if __name__ == "__main__":
    main()
