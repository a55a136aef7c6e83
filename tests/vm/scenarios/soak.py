# SPDX-License-Identifier: GPL-2.0-only
"""Long life in short time: load, clients, rotated logs and ever new DIMMs; and how soon an error is told."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import NamedTuple

from guest import mce, service
from guest.registry import scenario
from guest.service import UNIT
from guest.shell import run, wait_for
from scenarios.durability import IN_FLIGHT, count_stored

ROUNDS = 8
ERRORS = 300
"""In each round; with what else happens in one, about what a bad machine has in three hours."""
WARM = 3
"""Rounds until all is loaded and each DIMM and page has had its errors."""
MOST_GROWTH_KIB = 1024
MOST_THREADS = 2
"""More than early: asyncio's pool has as many as ever had work at the same instant. Less than one a round."""

STEP = 0x1000
BASE = 0x500000000


class Size(NamedTuple):
    """What the daemon holds."""

    resident_kib: int
    descriptors: int
    threads: int
    files: frozenset[str]


@scenario(limit=600)
def a_day_of_a_bad_machine() -> None:
    """Memory, descriptors, threads and files are after many rounds what they were after a few."""
    service.configure(f"logfile = {service.LOGFILE}")
    service.start()
    pid = service.main_pid()
    sizes = []
    for number in range(ROUNDS):
        _round(number)
        sizes.append(_size(pid))
        print(number, sizes[-1], flush=True)
    assert service.main_pid() == pid, "it was started anew"
    early, last = sizes[WARM], sizes[-1]
    assert last.descriptors <= early.descriptors
    assert last.threads - early.threads <= MOST_THREADS
    assert last.resident_kib - early.resident_kib < MOST_GROWTH_KIB
    assert not [name for name in last.files if name.endswith((".new", ".tmp"))]
    assert len(last.files) <= len(early.files)
    assert count_stored() == ROUNDS * ERRORS
    run("systemctl", "restart", UNIT, limit=100)
    assert count_stored() == ROUNDS * ERRORS
    assert "total" in service.client()


def _round(number: int) -> None:
    """Errors of two DIMMs that always have some and one of several others; clients; a log that is rotated."""
    first = number * ERRORS
    for index in range(ERRORS):
        wait_for(functools.partial(_has_room, first + index), "room in the kernel's log", 60)
        socket = (0, 1, 2 + number % WARM)[index % 3]
        mce.send_raw(mce.RECORD | {"socketid": socket, "addr": BASE + index * STEP})
    service.wait_for_stored(first + ERRORS, 60)
    for _ in range(3):
        run(service.PROGRAM, "--client", quiet=True)
        run("mcelogctl", "status", "--json", check=False, limit=60, quiet=True)
    service.LOGFILE.rename(service.LOGFILE.with_suffix(f".{number}"))
    run("systemctl", "reload", UNIT, limit=60)


def _has_room(sent: int) -> bool:
    return count_stored() + IN_FLIGHT > sent


def _size(pid: int) -> Size:
    process = Path(f"/proc/{pid}")
    fields = dict(line.split(":", 1) for line in (process / "status").read_text().splitlines())
    return Size(
        int(fields["VmRSS"].split()[0]),
        len(list((process / "fd").iterdir())),
        int(fields["Threads"]),
        frozenset(path.name for path in service.DATABASE.parent.iterdir()),
    )
