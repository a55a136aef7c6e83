# SPDX-License-Identifier: GPL-2.0-only
"""The daemon on a disk that is full or read-only."""

from __future__ import annotations

import contextlib
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from mcelogd.record import LENGTH
from mcelogd.spool import CAPACITY

from .conftest import Scratch, memory_error, wait_for
from .disks import Disk, small_disk
from .journal_peer import Fields, Peer
from .reliability import Claims, Part, fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FULL = "database or disk is full"
SOME = 10
MANY = 5000
"""So many that what they need in the store is more than what it has in reserve."""

SPOOL = CAPACITY // LENGTH
"""As many records as one spool file has room for."""

BEYOND = 1_000_000_000_000
"""No number of an event that is counted from 1."""


@contextlib.contextmanager
def read_only(path: Path) -> Iterator[None]:
    """Whoever goes by its path finds that directory read-only within the block."""
    for options in (["--bind", path], ["-o", "remount,bind,ro"]):
        done = subprocess.run(["mount", *options, path], capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(done.stderr.strip())
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", path], check=True)


@pytest.fixture
def disk(scratch: Scratch) -> Iterator[Disk]:
    """Where the state is kept: room for a few spool files, and as much again."""
    with small_disk(scratch.state, "6m") as disk:
        yield disk
        if scratch.process is not None:
            scratch.process.kill()
            scratch.process.wait()


def errors(first: int, count: int) -> bytes:
    return b"".join(memory_error(number) for number in range(first, first + count))


def total(scratch: Scratch) -> bool:
    """Whether clients are told of all of them."""
    return f"\t{SOME + MANY} total\n" in scratch.command("--client").stdout


def check_once(scratch: Scratch, claims: Claims) -> None:
    """Every record is stored and counted, and none twice."""
    found = scratch.query("SELECT count(*), count(DISTINCT record) FROM events")
    claims.kept(found, [(SOME + MANY, SOME + MANY)])
    counted = scratch.query("SELECT ce_total FROM memory WHERE channel = -1 AND dimm = -1")
    claims.recovered(counted == [(SOME + MANY,)])


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGTERM])
@fault(
    Part.DISK,
    "The disk becomes full, and mcelog is killed or stopped before there is room again",
    says="the store: …: database or disk is full",
    sees="`mcelog --client` counts on",
    lost="Nothing: the spool file was allocated before the first record was read into it",
    recovers="The next start with room on the disk stores what is in the spool",
)
def test_a_full_disk_and_the_end(scratch: Scratch, disk: Disk, end: signal.Signals, claims: Claims) -> None:
    scratch.start()
    scratch.send(errors(0, SOME))
    scratch.wait_stored(SOME)
    disk.fill()
    scratch.send(errors(SOME, MANY))
    wait_for(lambda: FULL in scratch.log.read_text(), "the message")
    wait_for(lambda: total(scratch), "the counters")
    scratch.stop(end)
    disk.free()
    scratch.start()
    scratch.wait_stored(SOME + MANY)
    scratch.stop()
    check_once(scratch, claims)
    claims.saw(scratch.log.read_text())


@fault(
    Part.DISK,
    "The disk is full at the start",
    says=(
        "records are not kept for now: …",
        "cannot make a spool in …: No space left on device; what is being read is lost if mcelog is killed",
    ),
    sees="The counters of before are there, and clients are answered",
    lost="Nothing, unless mcelog is killed: records wait in memory",
    recovers="By itself within a minute of there being room; or at its end, as here",
)
def test_a_start_on_a_full_disk(scratch: Scratch, disk: Disk, claims: Claims) -> None:
    scratch.start()
    scratch.send(errors(0, SOME))
    scratch.wait_stored(SOME)
    scratch.stop()
    disk.fill()
    scratch.start()
    scratch.send(errors(SOME, MANY))
    wait_for(lambda: total(scratch), "the counters")
    disk.free()
    scratch.stop()
    check_once(scratch, claims)
    claims.saw(scratch.log.read_text())


@fault(
    Part.DISK,
    "The state directory is read-only at the start",
    says=(
        "records are not kept for now: …",
        "cannot make a spool in …: Read-only file system; what is being read is lost if mcelog is killed",
    ),
    sees="The counters of before are there and go on; clients are answered",
    lost="Nothing, unless mcelog is killed: records wait in memory",
    recovers="By itself within a minute of the directory being writable; or at its end, as here",
)
def test_a_read_only_state_directory(scratch: Scratch, disk: Disk, claims: Claims) -> None:
    scratch.start()
    scratch.send(errors(0, SOME))
    scratch.wait_stored(SOME)
    scratch.stop()
    disk.remount("ro")
    scratch.start()
    scratch.send(errors(SOME, MANY))
    wait_for(lambda: total(scratch), "the counters")
    disk.remount("rw")
    scratch.stop()
    check_once(scratch, claims)
    claims.saw(scratch.log.read_text())


@fault(
    Part.DISK,
    "The state directory becomes read-only under the running daemon",
    says="cannot make a spool in …: Read-only file system; what is being read is lost if mcelog is killed",
    sees="Clients are answered; what goes into files that are open goes on",
    lost="Nothing, unless mcelog is killed: records wait in memory",
    recovers="The next spool file is one again, once the directory is writable",
)
def test_a_directory_that_becomes_read_only(scratch: Scratch, claims: Claims) -> None:
    scratch.start()
    scratch.send(errors(0, SOME))
    scratch.wait_stored(SOME)
    with read_only(scratch.state):
        scratch.send(errors(SOME, SPOOL))
        scratch.wait_stored(SOME + SPOOL)
        assert scratch.command("--ping").returncode == 0
        claims.saw(scratch.log.read_text())
    scratch.send(errors(SOME + SPOOL, SPOOL))
    scratch.wait_stored(SOME + 2 * SPOOL)
    scratch.stop()
    claims.kept(scratch.query("SELECT count(DISTINCT record) FROM events"), [(SOME + 2 * SPOOL,)])
    assert "cannot read" not in scratch.log.read_text()
    claims.recovered([path.name for path in scratch.state.glob("spool-*")] == ["spool-000000000003"])


@fault(
    Part.DISK,
    "There can be no state directory: a file is in its place, or the first start is on a read-only disk",
    says="no state in …: …; counters and records do not survive a restart",
    sees="Everything else works; numbers of events are none of an earlier run",
    lost="Counters, when mcelog ends; the journal has the events",
    recovers="The next start that can make the directory",
)
def test_no_state_directory(scratch: Scratch, claims: Claims) -> None:
    scratch.state.write_text("a file is in the way")
    journal = Peer(str(scratch.directory / "journal"))
    scratch.start()
    scratch.send(memory_error(1))
    entries: list[Fields] = []
    wait_for(lambda: ids_in(entries, journal), "the entry")
    assert int(ids_in(entries, journal)[0]) > BEYOND
    assert "\t1 total\n" in scratch.command("--client").stdout
    scratch.stop()
    journal.stop()
    claims.kept(scratch.log.read_text().count("ADDR 1000 "), 1)
    claims.saw(scratch.log.read_text())
    scratch.state.unlink()
    scratch.start()
    scratch.send(memory_error(2))
    scratch.wait_stored(1)
    claims.recovered(scratch.stored() == 1)
    scratch.stop()


def ids_in(entries: list[Fields], journal: Peer) -> list[bytes]:
    """The numbers of the events that the journal has been told of."""
    entries += journal.read()
    return [entry["MCE_EVENT_ID"] for entry in entries if "MCE_EVENT_ID" in entry]
