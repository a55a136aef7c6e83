# SPDX-License-Identifier: GPL-2.0-only
"""What the machine does to the process: the clock jumps, memory and descriptors run out."""

from __future__ import annotations

import contextlib
import os
import re
import resource
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd.record import LENGTH
from mcelogd.spool import CAPACITY

from .conftest import Scratch, memory_error, wait_for
from .legacy import connect
from .reliability import Claims, Part, fault

if TYPE_CHECKING:
    from collections.abc import Iterator

FAKETIME = next(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"), None)
SPOOL = CAPACITY // LENGTH
DAY = 86400
YEARS = 365 * DAY


def errors(first: int, count: int, **changes: int) -> bytes:
    return b"".join(memory_error(number, **changes) for number in range(first, first + count))


def numbered(scratch: Scratch) -> list[tuple[object, ...]]:
    """Numbers and different records of what is stored."""
    return scratch.query("SELECT count(*), count(DISTINCT record), count(DISTINCT id) FROM events")


# The clock


@pytest.fixture
def clock(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A file that says by how many seconds the daemon's clock is wrong, at each look at it.

    A time namespace has no wall clock of its own, so it takes a library in front of the C library's.
    Records bring their own times, which a test gives them.
    """
    if FAKETIME is None:
        assert not os.environ.get("CI"), "CI must have libfaketime"
        pytest.skip("libfaketime is not installed")
    path = tmp_path / "clock"
    path.write_text("+0")
    for name, value in {
        "LD_PRELOAD": str(FAKETIME),
        "FAKETIME_TIMESTAMP_FILE": str(path),
        "FAKETIME_NO_CACHE": "1",
        "FAKETIME_DONT_FAKE_MONOTONIC": "1",
    }.items():
        monkeypatch.setenv(name, value)
    return path


@pytest.mark.parametrize("jump", [-30 * YEARS, 300 * DAY])
@fault(
    Part.PROCESS,
    "The clock jumps, years back or most of a year ahead, and is put right again",
    sees="Each event has the time its record was given",
    lost="Nothing: no record, no count. A threshold may be crossed later than it should",
    recovers="By itself: a period that begins in the future is begun anew",
)
def test_a_clock_that_jumps(scratch: Scratch, clock: Path, jump: int, claims: Claims) -> None:
    process = scratch.start()
    count = 0
    for seconds in (0, jump, 0):
        clock.write_text(f"{seconds:+d}")
        for record_time in (int(time.time()) + seconds, 0):
            scratch.send(errors(count, 5, time=record_time))
            count += 5
            scratch.wait_stored(count)
        times = [
            int(str(row[0])) for row in scratch.query("SELECT time FROM events ORDER BY id DESC LIMIT 10")
        ]
        assert all(abs(one - time.time() - seconds) < 100 for one in times), (
            "the record's own, or the clock's"
        )
    before = processor_ticks(process.pid)
    time.sleep(1)
    assert processor_ticks(process.pid) - before < 30
    shown = scratch.command("--client").stdout
    assert f"\t{count} total\n" in shown
    scratch.stop()
    claims.kept(numbered(scratch), [(count, count, count)])
    scratch.send(b"".join(memory_error(7, time=int(time.time())) for _ in range(10)))
    log = scratch.log.read_text()
    scratch.start()
    scratch.wait_stored(count + 10)
    scratch.stop()
    claims.recovered("exceed threshold 2 in 24h" in scratch.log.read_text().removeprefix(log))
    assert "Traceback" not in log


@fault(
    Part.PROCESS,
    "The clock jumps further ahead than `store-max-age` (a year)",
    sees="Older records are gone, as they would be once that time has come; counters stay",
    lost="Stored records that are too old by that clock. None that is read from then on, and no count",
    recovers="With the clock: what is read later is kept as ever",
)
def test_a_clock_far_ahead(scratch: Scratch, clock: Path, claims: Claims) -> None:
    scratch.start()
    scratch.send(errors(0, 5))
    scratch.wait_stored(5)
    clock.write_text(f"{10 * YEARS:+d}")
    scratch.send(errors(5, 5))
    wait_for(lambda: scratch.query("SELECT min(id) FROM events") == [(6,)], "the old records to go")
    clock.write_text("+0")
    scratch.send(errors(10, 5))
    wait_for(lambda: scratch.query("SELECT max(id) FROM events") == [(15,)], "the new records")
    assert "\t15 total\n" in scratch.command("--client").stdout
    scratch.stop()
    claims.kept(numbered(scratch), [(10, 10, 10)])
    scratch.start()
    scratch.send(errors(15, 1))
    scratch.wait_stored(11)
    claims.recovered("\t16 total\n" in scratch.command("--client").stdout)
    scratch.stop()


def processor_ticks(pid: int) -> int:
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:13]))


# File descriptors


@fault(
    Part.PROCESS,
    "File descriptors are used up",
    says=(
        "cannot make a spool in …: Too many open files; what is being read is lost if mcelog is killed",
        "cannot accept clients: Too many open files; trying again every second",
    ),
    sees="new clients wait",
    lost="Nothing, unless mcelog is killed: records wait in memory",
    recovers="By itself, as soon as there are descriptors again",
)
def test_no_file_descriptors(scratch: Scratch, claims: Claims) -> None:
    process = scratch.start()
    scratch.send(errors(0, 10))
    scratch.wait_stored(10)
    limits = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (3, limits[1]))
    scratch.send(errors(10, SPOOL))
    with connect(scratch.client_path, timeout=20) as client:
        client.sendall(b"ping\n")
        wait_for(lambda: "cannot accept" in scratch.log.read_text(), "the message about clients")
        wait_for(lambda: "cannot make a spool" in scratch.log.read_text(), "the message about the spool")
        resource.prlimit(process.pid, resource.RLIMIT_NOFILE, limits)
        claims.recovered(client.recv(5) == b"pong\n")
    scratch.wait_stored(10 + SPOOL)
    scratch.stop()
    claims.kept(numbered(scratch), [(10 + SPOOL,) * 3])
    claims.saw(scratch.log.read_text())
    assert "Traceback" not in scratch.log.read_text()


# Memory


def resident_bytes(pid: int, what: str = "VmSize") -> int:
    status = Path(f"/proc/{pid}/status").read_text()
    found = re.search(rf"{what}:\s+(\d+) kB", status)
    assert found
    return int(found[1]) << 10


@fault(
    Part.PROCESS,
    "Memory is refused while records are taken in (a limit on the address space)",
    says="out of memory: mcelog ends; its next start goes on with what was read",
    sees="the exit status is 1, so the unit starts it again",
    lost="Nothing that was read: it is in the spool",
    recovers="With the next start",
)
def test_no_memory(scratch: Scratch, claims: Claims) -> None:
    process = scratch.start()
    scratch.send(errors(0, 10))
    scratch.wait_stored(10)
    used = resident_bytes(process.pid)
    resource.prlimit(process.pid, resource.RLIMIT_AS, (used + (1 << 20), resource.RLIM_INFINITY))
    scratch.send(errors(10, SPOOL))
    printed, _ = process.communicate(timeout=20)
    assert process.returncode == 1
    claims.saw(printed + scratch.log.read_text())
    scratch.start()
    scratch.wait_stored(10 + SPOOL)
    claims.recovered(f"\t{10 + SPOOL} total\n" in scratch.command("--client").stdout)
    scratch.stop()
    claims.kept(numbered(scratch), [(10 + SPOOL,) * 3])


@pytest.fixture
def small_group() -> Iterator[Path]:
    """A control group whose processes may use one megabyte more than they brought along."""
    for top, limit in (
        (Path("/sys/fs/cgroup/memory"), "memory.limit_in_bytes"),
        (Path("/sys/fs/cgroup"), "memory.max"),
    ):
        group = top / f"mcelog-test-{os.getpid()}"
        with contextlib.suppress(OSError):
            group.mkdir()
            try:
                (group / limit).write_text("1M")
                yield group / "cgroup.procs"
            finally:
                group.rmdir()
            return
    pytest.skip("no control group with a limit of memory can be made here")


@fault(
    Part.PROCESS,
    "More memory than the unit's `MemoryMax=` is needed: the kernel kills the process",
    says="records were read but not stored before; stored now",
    sees="SIGKILL is how it ended, so the unit starts it again",
    lost="Nothing that was read: it is in the spool",
    recovers="With the next start",
)
def test_a_limit_of_memory(scratch: Scratch, small_group: Path, claims: Claims) -> None:
    process = scratch.start()
    scratch.send(errors(0, 10))
    scratch.wait_stored(10)
    small_group.write_text(str(process.pid))
    scratch.send(errors(10, SPOOL))
    assert process.wait(20) == -signal.SIGKILL
    process.communicate()
    scratch.start()
    scratch.wait_stored(10 + SPOOL)
    claims.recovered(f"\t{10 + SPOOL} total\n" in scratch.command("--client").stdout)
    scratch.stop()
    claims.kept(numbered(scratch), [(10 + SPOOL,) * 3])
    claims.saw(scratch.log.read_text())
