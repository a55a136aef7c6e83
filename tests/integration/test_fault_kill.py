# SPDX-License-Identifier: GPL-2.0-only
"""SIGKILL between any two system calls of a short life: nothing read is lost, doubled or counted twice.

strace kills the daemon on its way into a system call, at each in turn that changes something outside of the
process. MCELOG_STEP says every how manieth is taken (default 16; 1 for all, some minutes).
"""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import sys
import threading
from typing import TYPE_CHECKING

import pytest

from mcelogd.record import LENGTH, layout
from mcelogd.spool import Spool

from .conftest import Scratch, memory_error, wait_for
from .journal_peer import Peer
from .reliability import Claims, Part, fault
from .syscalls import Step, killing_at, need_strace, noting, steps_in

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from .journal_peer import Fields

EVERY = int(os.environ.get("MCELOG_STEP", "16"))

CALLS = "readv,write,pwrite64,sendto,sendmsg,sendmmsg,fdatasync,fsync,rename,unlink,ftruncate,fallocate,flock"
CALLS += ",mkdir,bind,fcntl,munmap"
"""What changes files, sends, or locks."""

RECORDS = 4


class Life(Scratch):
    """A daemon that ends by itself once it has read what there is."""

    def __init__(self, directory: Path) -> None:
        directory.mkdir()
        super().__init__(directory)
        self.journal = Peer(str(directory / "journal"))
        self.entries: list[Fields] = []
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._read_journal)
        self._reader.start()

    def run(self, records: int, *tracer: str) -> int:
        """Until it has read so many; the exit status."""
        command = [sys.executable, "-m", "mcelogd", "--config-file", str(self.config), "--daemon"]
        options = ["--foreground", "--num-errors", str(records), str(self.fifo)]
        done = subprocess.run([*tracer, *command, *options], capture_output=True, check=False, timeout=300)
        return done.returncode

    def run_on(self, records: int) -> None:
        """Start as ever, until so many are stored."""
        self.start(wait=False)
        wait_for(lambda: self.counted() == records, f"{records} stored records; the log: {self.log}")
        self.stop()

    def counted(self) -> int:
        # What is not there yet is a database or a table.
        with contextlib.suppress(sqlite3.OperationalError):
            return self.stored()
        return 0

    def _read_journal(self) -> None:
        """All the time: a socket holds ten entries, and what waits for it ends with the daemon."""
        while not self._ended.wait(0.005):
            self.entries += self.journal.read()
        self.entries += self.journal.read()
        self.journal.stop()

    def end(self) -> None:
        self._ended.set()
        self._reader.join()
        os.close(self.feed)
        if self.process is not None and self.process.stdout is not None:
            self.process.stdout.close()

    def told(self) -> list[tuple[int, int]]:
        """Numbers and pages of the events that the journal has got, in order, also those it has got twice."""
        memory = [
            entry for entry in self.entries if entry.get("MCE_KIND") == b"memory" and "MCE_BANK" in entry
        ]
        return sorted((int(entry["MCE_EVENT_ID"]), int(entry["MCE_ADDR"], 16) >> 12) for entry in memory)


def first_start(life: Life) -> None:
    """Nothing is there yet: the store, the spool, everything is made."""
    life.send(b"".join(map(memory_error, range(RECORDS))))


def start_after_a_crash(life: Life) -> None:
    """A store with a record; two that were read and not stored by a run that was killed; one more."""
    life.send(memory_error(0))
    assert life.run(1) == 0
    life.send(memory_error(1) + memory_error(2))
    ((position,),) = life.query("SELECT value FROM state WHERE name = 'spool'")
    spool = Spool.create(life.state, int(str(position).split()[0]) + 1, LENGTH)
    spool.read_from(life.feed, 2 * LENGTH)
    spool.close()
    life.send(memory_error(3))


LIVES = {first_start: RECORDS, start_after_a_crash: 1}
"""How a life begins, and how many records are left to be read then."""


@pytest.mark.parametrize("begin", LIVES)
@fault(
    Part.PROCESS,
    "SIGKILL, at any system call of a start, of reading and storing, of the end",
    says="records were read but not stored before; stored now",
    sees="at most one event has a second entry in the journal, with the same `MCE_EVENT_ID`: the one that was"
    " being told",
    lost="Nothing: every record is stored, counted once, and told",
    recovers="The next start takes in what is in the spool, before it reads more",
)
def test_killed_at_each_system_call(tmp_path: Path, begin: Callable[[Life], None], claims: Claims) -> None:
    need_strace()
    logs = ""
    with begun(tmp_path / "all", begin) as life:
        assert life.run(LIVES[begin], *noting(CALLS, tmp_path / "steps")) == 0
    steps = steps_in(tmp_path / "steps")
    assert len({step.call for step in steps}) > 9
    # Whatever the sample, the step after the records were read is in it.
    read = next(number for number, step in enumerate(steps) if step.call == "readv")
    tried = sorted({*steps[::EVERY], steps[read + 1]}, key=steps.index)
    ended = 0
    for number, step in enumerate(tried):
        with begun(tmp_path / str(number), begin) as life:
            status = life.run(LIVES[begin], *killing_at(step))
            assert status in {0, -signal.SIGKILL}, step
            # How often SQLite locks its file depends on which thread is faster: the last may not come.
            ended += status == 0
            life.run_on(RECORDS)
        check(life, step)
        logs += life.log.read_text()
    assert ended <= max(1, len(tried) // 20)
    claims.kept(logs.count("Traceback"), 0)
    claims.recovered(len(steps) > 100)
    claims.saw(logs)


def check(life: Life, step: Step) -> None:
    """Each record is stored and counted once, and told; the one being told at the kill perhaps twice."""
    rows = life.query("SELECT record FROM events ORDER BY id")
    pages = [layout(LENGTH).parse(bytes(row[0])).addr >> 12 for row in rows]  # type: ignore[arg-type, operator]  # sqlite3 gives object
    assert pages == list(range(RECORDS)), step
    ((totals,),) = life.query("SELECT value FROM state WHERE name = 'totals'")
    assert str(totals).split()[:4] == [str(RECORDS), "0", str(RECORDS), "0"], step
    assert life.query("SELECT ce_total FROM memory WHERE channel = -1 AND dimm = -1") == [(RECORDS,)], step
    told = life.told()
    assert sorted(set(told)) == [(number + 1, number) for number in range(RECORDS)], step
    assert len(told) <= RECORDS + 1, step


@contextlib.contextmanager
def begun(directory: Path, begin: Callable[[Life], None]) -> Iterator[Life]:
    life = Life(directory)
    begin(life)
    try:
        yield life
    finally:
        life.end()
