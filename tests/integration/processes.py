# SPDX-License-Identifier: GPL-2.0-only
"""What a running process has cost and holds, as the kernel counts it: proc(5)."""

from __future__ import annotations

import os
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid: int) -> float:
    """Processor time of all its threads so far, its own and the kernel's; in steps of 10 ms as a rule."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def run_seconds(pid: int) -> float:
    """Processor time of the threads it has, to the nanosecond."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def memory(pid: int, what: str = "VmRSS") -> int:
    """Bytes: what is resident now, or with VmHWM the most there ever was."""
    return _status(pid, what) << 10


def own_memory(pid: int) -> int:
    """Bytes that are resident and nobody else's: no shared library, no page of a file."""
    return _status(pid, "RssAnon") << 10


def descriptors(pid: int) -> int:
    """Open files."""
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


def wake_ups(pid: int) -> int:
    """How often one of its threads went to sleep so far, which is how often one was woken."""
    tasks = Path(f"/proc/{pid}/task").iterdir()
    return sum(_status(int(task.name), "voluntary_ctxt_switches") for task in tasks)


def _status(pid: int, what: str) -> int:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith(f"{what}:"))
    return int(line.split()[1])
