#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What a daemon costs that has nothing to do, and whether that stays so.

    .venv/bin/python bench/idle.py [RECORDS]

Watched for half a minute right after its start, and again after RECORDS
(1,000,000 if not given), half of one fault and half each of another page, have
gone through it. Its memory is compared with that of an interpreter that has
imported the same modules and does no more.
"""

from __future__ import annotations

import sys
import time
from typing import NamedTuple

from common import Daemon, bare, distinct, imported, machine, memory_error, processes

RECORDS = 1_000_000
BLOCK = 10_000
SECONDS = 30.0
WATCHDOG = 30.0
"""WatchdogSec= of the unit: a sign of life each 15 s."""

SETTINGS = "storm-summary-seconds = 5"
"""So that the storm that this makes is over when the daemon is watched again."""

CALM = 30.0
"""Seconds until it is."""

DAY = 86_400


class State(NamedTuple):
    """Memory in bytes; the other two are those of SECONDS."""

    wake_ups: int
    seconds: float
    memory: int
    own: int
    descriptors: int


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    print(machine())
    least = bare(imported()).memory
    with Daemon(SETTINGS, watchdog=WATCHDOG) as daemon:
        time.sleep(3)  # the status line, the first commit
        show("after the start", watched(daemon.pid), least)
        for first in range(0, count, BLOCK):
            of_one_fault = first // BLOCK % 2
            daemon.send(memory_error(1) * BLOCK if of_one_fault else b"".join(distinct(BLOCK, first=first)))
            daemon.wait_stored(first + BLOCK)
            if first + BLOCK == count // 10:
                time.sleep(CALM)
                show(f"after {first + BLOCK} records", watched(daemon.pid), least)
        time.sleep(CALM)
        show(f"after {count} records", watched(daemon.pid), least)


def watched(pid: int) -> State:
    wake_ups, seconds = processes.wake_ups(pid), processes.run_seconds(pid)
    time.sleep(SECONDS)
    return State(
        processes.wake_ups(pid) - wake_ups,
        processes.run_seconds(pid) - seconds,
        processes.memory(pid),
        processes.own_memory(pid),
        processes.descriptors(pid),
    )


def show(title: str, state: State, least: int) -> None:
    print(
        f"{title}: {state.wake_ups} wake-ups in {SECONDS:.0f} s"
        f" ({SECONDS / WATCHDOG * 2:.0f} are the watchdog's),"
        f" {state.seconds * DAY / SECONDS:.2f} s of a processor a day,"
        f" {state.memory / (1 << 20):.1f} MiB ({(state.memory - least) / (1 << 20):.1f} above the imports,"
        f" {state.own / (1 << 20):.1f} its own), {state.descriptors} descriptors",
        flush=True,
    )


if __name__ == "__main__":
    main()
