# SPDX-License-Identifier: GPL-2.0-only
"""docs/fleet.md: journals sent by systemd-journal-upload, collected by systemd-journal-remote, and asked."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd import message_ids

from .conftest import wait_for
from .ctl_peers import JOURNAL_REMOTE, ROOT, Journal, ctl, journal
from .privatebus import need, private_bus
from .test_ctl_events import with_journal
from .test_metrics import Program, can_connect, free_port

if TYPE_CHECKING:
    from collections.abc import Iterator

UPLOAD = Path("/lib/systemd/systemd-journal-upload")
FLEET = ROOT / "bench/fleet.py"

CORRECTED = {"MESSAGE_ID": message_ids.CORRECTED_MEMORY_ERROR, "MCE_SEVERITY": "corrected"}
DEFERRED = {"MESSAGE_ID": message_ids.UNCORRECTED_MEMORY_ERROR, "MCE_SEVERITY": "deferred"}
FATAL = {**DEFERRED, "MCE_SEVERITY": "fatal"}
A1 = {"MCE_LOCATION": "socket 0 channel 0 DIMM 0", "MCE_DIMM_LABEL": "A1"}
B1 = {"MCE_LOCATION": "socket 0 channel 1 DIMM 0", "MCE_DIMM_LABEL": "B1"}


def fail(journal: Journal, times: int, begin: int = 1, **dimm: str) -> None:
    """So many corrected errors, a second apart."""
    for count in range(begin, begin + times):
        journal.add("an error", count, MCE_COUNT=str(count), **CORRECTED, **dimm)


def tallied(directory: Path, *arguments: str) -> dict[tuple[str, str], tuple[int, int]]:
    """Host and DIMM -> corrected and uncorrected errors, in the order shown."""
    ran = ctl("events", "--by", "dimm", "--json", "-D", str(directory), *arguments, timeout=120)
    assert (ran.returncode, ran.stderr) == (0, "")
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    return {
        (one["hostname"], one.get("label", one["place"])): (
            one["corrected_errors"],
            one["uncorrected_errors"],
        )
        for one in found
    }


# -- from senders to the collector -------------------------------------------------------------


@pytest.fixture(scope="module")
def senders(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The journals of three machines, by host name."""
    found = {}
    for number, name in enumerate(("db7", "db8", "web1")):
        found[name] = tmp_path_factory.mktemp(name)
        with journal(found[name], name) as one:
            fail(one, 3 + 10 * number, **A1)
            fail(one, 2, **B1)
            one.add("something else", 100)
    return found


@contextlib.contextmanager
def collector(scratch: Path, port: int) -> Iterator[Path]:
    """Where it writes what it is sent."""
    need(UPLOAD, "systemd-journal-remote")
    directory = scratch / "remote"
    directory.mkdir(exist_ok=True)
    receive = [str(JOURNAL_REMOTE), f"--listen-http=127.0.0.1:{port}", f"--output={directory}"]
    with Program(receive, dict(os.environ), scratch / "log"):
        wait_for(lambda: can_connect(port), "the collector")
        yield directory


def upload(source: Path, port: int, state: Path) -> int:
    """Send what is new; the exit status."""
    send = [UPLOAD, f"--url=http://127.0.0.1:{port}", f"--directory={source}"]
    send += ["--follow=no", f"--save-state={state}"]
    return subprocess.run(send, capture_output=True, timeout=60, check=False).returncode


@pytest.fixture(scope="module")
def collected(senders: dict[str, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    scratch, port = tmp_path_factory.mktemp("collector"), free_port()
    with collector(scratch, port) as directory:
        for name, source in senders.items():
            assert upload(source, port, scratch / name) == 0
        wait_for(lambda: len(tallied(directory)) == 6, "the entries")
    return directory


def test_what_was_logged_while_the_collector_was_away_comes_later_and_counts_once(tmp_path: Path) -> None:
    """The entry at the seam may be sent twice."""
    source, port = tmp_path / "source", free_port()
    source.mkdir()
    with journal(source) as one:
        fail(one, 3, **A1)
        wait_for(lambda: tallied(source) == {("db7", "A1"): (3, 0)}, "the sender's journal")
        with collector(tmp_path, port) as directory:
            assert upload(source, port, tmp_path / "state") == 0
        fail(one, 2, begin=4, **A1)
        wait_for(lambda: tallied(source) == {("db7", "A1"): (5, 0)}, "the sender's journal")
        assert upload(source, port, tmp_path / "state") != 0
        with collector(tmp_path, port):
            assert upload(source, port, tmp_path / "state") == 0
    assert tallied(directory) == {("db7", "A1"): (5, 0)}
    listed = ctl("events", "--json", "-D", str(directory)).stdout.splitlines()
    assert {json.loads(line)["fields"]["MCE_COUNT"] for line in listed} == set("12345")


def test_which_dimms_of_which_machines(collected: Path) -> None:
    """The question that a fleet is collected for."""
    assert tallied(collected, "-s", "corrected", "--more-than", "3") == {
        ("web1", "A1"): (23, 0),
        ("db8", "A1"): (13, 0),
    }
    assert tallied(collected, "--machine", "db7") == {("db7", "A1"): (3, 0), ("db7", "B1"): (2, 0)}
    shown = ctl("events", "--by", "dimm", "-D", str(collected), "-n", "1").stdout.splitlines()
    assert shown[0].split() == ["MACHINE", "DIMM", "LABEL", "CORRECTED", "UNCORRECTED", "LAST", "ERROR"]
    assert shown[1].split() == ["web1", "0/0/0", "A1", "23", "0", "2026-11-22", "19:03:37"]
    assert shown[2:] == ["", "1 DIMM of 1 machine."]
    assert ctl("events", "--by", "dimm", "-D", str(collected), "--more-than", "999").stdout == "No DIMM.\n"


def test_events_of_one_of_the_machines(collected: Path) -> None:
    ran = ctl("events", "--json", "-D", str(collected), "--machine", "db8")
    found = [json.loads(line) for line in ran.stdout.splitlines()]
    assert len(found) == 15
    assert {one["hostname"] for one in found} == {"db8"}


# -- what is counted ---------------------------------------------------------------------------


def test_what_a_storm_kept_from_the_journal_is_counted(tmp_path: Path) -> None:
    with journal(tmp_path) as one:
        fail(one, 10, **A1)
        fail(one, 5, begin=1001, **A1)
    assert tallied(tmp_path) == {("db7", "A1"): (1005, 0)}
    assert tallied(tmp_path, "--until", f"@{1_795_374_194 + 500}") == {("db7", "A1"): (10, 0)}
    assert tallied(tmp_path, "--since", f"@{1_795_374_194 + 8}") == {("db7", "A1"): (1005 - 7, 0)}


def test_another_dimm_in_the_slot_begins_at_one(tmp_path: Path) -> None:
    with journal(tmp_path) as one:
        fail(one, 10, **A1)
        for count in range(1, 4):
            one.add("of the new one", 100 + count, MCE_COUNT=str(count), **CORRECTED, **A1)
    assert tallied(tmp_path) == {("db7", "A1"): (13, 0)}


def test_severities(tmp_path: Path) -> None:
    with journal(tmp_path) as one:
        fail(one, 2, **A1)
        one.add("lost", 50, MCE_COUNT="1", **DEFERRED, **A1)
        one.add("lost", 51, MCE_COUNT="2", **FATAL, **A1)
        one.add("lost", 52, MCE_COUNT="3", **DEFERRED, **A1)
    assert tallied(tmp_path) == {("db7", "A1"): (2, 3)}
    assert tallied(tmp_path, "-s", "corrected") == {("db7", "A1"): (2, 0)}
    assert tallied(tmp_path, "-s", "deferred+") == {("db7", "A1"): (0, 3)}
    assert tallied(tmp_path, "-s", "deferred") == {("db7", "A1"): (0, 2)}
    assert tallied(tmp_path, "-s", "corrected,fatal") == {("db7", "A1"): (2, 1)}
    assert tallied(tmp_path, "-s", "fatal", "--more-than", "1") == {}


def test_ranks_of_a_dimm_are_added_up_and_pairs_counted_twice(tmp_path: Path) -> None:
    with journal(tmp_path) as one:
        for count in range(1, 7):
            location = f"socket 0 channel 2 DIMM 0 rank {count % 2}"
            one.add("an error", count, MCE_COUNT=str(count), MCE_LOCATION=location, **CORRECTED)
        both = [f"socket 1 channel {channel} DIMM 0" for channel in range(2)]
        one.add("of two", 10, MCE_COUNT="1", MCE_LOCATION=both, **CORRECTED)
    assert tallied(tmp_path) == {("db7", "0/2/0"): (6, 0), ("db7", "1/0/0"): (1, 0), ("db7", "1/1/0"): (1, 0)}


def test_what_others_wrote_is_not_counted(tmp_path: Path) -> None:
    with journal(tmp_path) as one:
        fail(one, 2, **A1)
        one.add("a lie", 20, uid=1000, MCE_COUNT="999", **CORRECTED, **A1)
        one.add("threshold", 21, MESSAGE_ID=message_ids.THRESHOLD_EXCEEDED, MCE_COUNT="10", **A1)
    assert tallied(tmp_path) == {("db7", "A1"): (2, 0)}


def test_a_journal_that_was_rotated(tmp_path: Path) -> None:
    """A count that goes on in the next file is of the same DIMM."""
    with journal(tmp_path) as one:
        fail(one, 5, **A1)
    full = tmp_path / "remote-db7@0005a3b0c0ffee00-0000000000000001-0005a3b0c0ffee00.journal"
    (tmp_path / "remote-db7.journal").rename(full)
    with journal(tmp_path) as one:
        fail(one, 5, begin=106, **A1)
    assert tallied(tmp_path) == {("db7", "A1"): (110, 0)}


def test_a_damaged_journal_is_told_and_the_others_are_read(tmp_path: Path) -> None:
    for name in ("db7", "db8"):
        with journal(tmp_path, name) as one:
            fail(one, 2, **A1)
    (tmp_path / "remote-db7.journal").write_bytes(b"no journal at all" * 1000)
    ran = ctl("events", "--by", "dimm", "-D", str(tmp_path), "--no-legend")
    assert [line.split()[0] for line in ran.stdout.splitlines()] == ["db8"]
    assert (
        ran.stderr == f"mcelogctl: {tmp_path}/remote-db7: Bad message; errors of that machine are missing\n"
    )


@pytest.mark.parametrize(
    "arguments",
    [
        "--by rank",
        "--by dimm -f",
        "--by dimm --all",
        "--by dimm -k memory",
        "--more-than 3",
        "--by dimm -H db7",
    ],
)
def test_what_makes_no_sense(arguments: str) -> None:
    ran = ctl("events", *arguments.split())
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)


def test_this_machines_own_journal(tmp_path: Path) -> None:
    with journal(tmp_path) as one:
        fail(one, 4, **A1)
    with private_bus() as bus:
        words = ("events", "--by", "dimm", "--no-legend")
        ran = with_journal(tmp_path / "remote-db7.journal", bus, *words)
        assert ran.stdout.split()[:5] == ["db7", "0/0/0", "A1", "4", "0"], ran.stderr
        ran = with_journal(None, bus, *words)
    assert (ran.returncode, ran.stderr) == (1, "mcelogctl: there is no journal here\n")


# -- many --------------------------------------------------------------------------------------


def test_a_week_of_a_fleet(tmp_path: Path) -> None:
    """What is answered is what was made, from 50,000 entries, in a time that shows that they are not read."""
    need(JOURNAL_REMOTE, "systemd-journal-remote")
    made = json.loads(
        subprocess.run(
            [sys.executable, FLEET, tmp_path, "50000", "5"], check=True, capture_output=True, timeout=300
        ).stdout
    )
    expected = {(host, label): (errors, 0) for host, dimms in made.items() for label, errors in dimms.items()}
    assert sum(errors for errors, _ in expected.values()) == 50_000
    begun = time.monotonic()
    assert tallied(tmp_path, "--since", "-7d") == expected
    seconds = time.monotonic() - begun
    assert seconds < 20
    worst = tallied(tmp_path, "--machine", "node00003", "-s", "corrected", "--more-than", "1000")
    assert list(worst.values()) == [(5000, 0), (2500, 0), (1250, 0)]
    shutil.rmtree(tmp_path)
