# SPDX-License-Identifier: GPL-2.0-only
"""Entries in a real journald, and its catalog.

The journald runs with sockets and files of its own, in a private mount
namespace, so that it may be stopped and restarted. The one of a booted system,
which has its sockets from systemd, is the VM layer's matter.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import signal
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd import cpu, decode, journal, message_ids, report
from mcelogd.event import Event, Finding, Kind, Location, Severity
from mcelogd.record import MceRecord
from tests.integration.journal_peer import JOURNALD, Journald, as_bytes, failing_after
from tests.integration.reliability import Claims, Part, fault

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

CATALOG = Path(__file__).parents[2] / "data/mcelog.catalog"


@pytest.fixture
def journald() -> Iterator[Journald]:
    if not JOURNALD.exists() or shutil.which("journalctl") is None or shutil.which("unshare") is None:
        pytest.skip("systemd-journald, journalctl or unshare is not installed")
    with tempfile.TemporaryDirectory(prefix="mcelog-") as directory:
        daemon = Journald(directory)
        daemon.start()
        try:
            if not daemon.is_ready():
                pytest.skip(f"journald does not run in a mount namespace here: {daemon.output()}")
            yield daemon
        finally:
            daemon.stop()


def two_dimms() -> Event:
    locations = (Location(channel=0, dimm=1), Location(channel=2, dimm=1))
    finding = Finding(Kind.MEMORY, Severity.CORRECTED, "Memory read error", locations=locations)
    return Event(MceRecord(bank=7, socketid=1), cpu.GENERIC, finding)


def test_an_event_comes_back_from_a_real_journald(journald: Journald) -> None:
    record = MceRecord(status=0x8C00004000010091, addr=0x123456789, misc=0x86, socketid=1, bank=7)
    event = decode.decode(record, cpu.INTEL)
    fields = report.fields(event, event_id=1, labels=["DIMM_A1"])
    sender = journal.Journal(journald.socket)
    sender.send(fields)
    (entry,) = journald.entries(1)
    assert {name: entry.get(name) for name in fields} == fields
    assert entry["SYSLOG_IDENTIFIER"] == "mcelog"
    assert entry["_TRANSPORT"] == "journal"
    matched = journald.journalctl(f"MESSAGE_ID={message_ids.CORRECTED_MEMORY_ERROR}", "-o", "cat")
    assert matched == fields["MESSAGE"] + "\n"
    sender.close()


def test_an_event_of_two_dimms_is_found_by_either(journald: Journald) -> None:
    sender = journal.Journal(journald.socket)
    sender.send(report.fields(two_dimms()))
    (entry,) = journald.entries(1)
    assert sorted(entry["MCE_CHANNEL"]) == ["0", "2"]
    assert entry["MCE_DIMM"] == "1"
    assert sorted(entry["MCE_LOCATION"]) == ["socket 1 channel 0 DIMM 1", "socket 1 channel 2 DIMM 1"]
    for channel in (0, 2):
        assert journald.journalctl(f"MCE_CHANNEL={channel}", "-o", "cat") == f"{entry['MESSAGE']}\n"
    sender.close()


def test_values_of_any_kind_come_back_from_a_real_journald(journald: Journald) -> None:
    fields: dict[str, str | bytes] = {
        "MESSAGE": "Ünï ✓",
        "MCE_DECODED": "one\n\ntwo\nPRIORITY=0\n",
        "MCE_RAW": b"\0\n=\xff",
        "MCE_ERROR": "a\0b",
        "MCE_OBJECT": "x" * 1_000_000,
    }
    sender = journal.Journal(journald.socket)
    sender.send(fields)
    (entry,) = journald.entries(1)
    for name, value in fields.items():
        shown = bytes(entry[name]) if isinstance(entry[name], list) else entry[name].encode()
        assert shown == as_bytes(value), name
    assert "PRIORITY" not in entry
    sender.close()


@fault(
    Part.JOURNAL,
    "journald is stopped (SIGSTOP), and goes on later",
    says="journald did not take … entries in time: they are missing here",
    sees="That entry, at the place of what is missing. Nothing waits for journald",
    lost="Entries beyond what the queue holds. No record, no count: the store has them",
    recovers="By itself: what the queue held is sent, in order, when journald reads again",
)
def test_a_stopped_journald_gets_all_that_was_kept_and_how_many_were_not(
    journald: Journald, claims: Claims
) -> None:
    count = 2000

    async def scenario() -> int:
        sender = journal.Journal(journald.socket, max_entries=100)
        sender.attach(asyncio.get_running_loop())
        journald.process.send_signal(signal.SIGSTOP)
        await until(journald.is_stopped)
        for number in range(count):
            sender.send({"MESSAGE": "x", "N": number})
        await asyncio.sleep(0.1)
        assert sender.queued == 100
        dropped = sender.dropped
        journald.process.send_signal(signal.SIGCONT)
        await until(lambda: not sender.queued)
        sender.send({"MESSAGE": "x", "N": count})
        assert sender.close() == 0
        return dropped

    with failing_after(30):
        dropped = asyncio.run(scenario())
    entries = journald.entries(count - dropped + 2)
    numbers = [int(entry["N"]) for entry in entries if "N" in entry]
    claims.kept(numbers, [*range(count - dropped), count])
    claims.recovered([entry.get("MCE_DROPPED") for entry in entries[-2:]] == [str(dropped), None])
    claims.saw(entries[-2]["MESSAGE"])


@fault(
    Part.JOURNAL,
    "journald is away for a while, and started again",
    sees="Entries come late",
    lost="Nothing that the queue holds",
    recovers="By itself: what waits is sent to the new one",
)
def test_a_restarted_journald_gets_what_was_sent_meanwhile(journald: Journald, claims: Claims) -> None:
    async def scenario() -> None:
        sender = journal.Journal(journald.socket)
        sender.attach(asyncio.get_running_loop())
        sender.send({"MESSAGE": "x", "N": 0})
        journald.entries(1)
        journald.stop()
        for number in range(1, 50):
            sender.send({"MESSAGE": "x", "N": number})
        assert sender.queued == 49
        journald.start()
        await until(lambda: not sender.queued)
        claims.recovered(sender.close() == 0)

    asyncio.run(scenario())
    claims.kept([int(entry["N"]) for entry in journald.entries(50)], list(range(50)))


async def until(condition: Callable[[], object], seconds: float = 10) -> None:
    """Wait for it, letting the loop run."""
    async with asyncio.timeout(seconds):
        while not condition():  # noqa: ASYNC110 - what is waited for has no event to set
            await asyncio.sleep(0.005)


# The catalog


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A root directory with our catalog, as installed."""
    if shutil.which("journalctl") is None:
        pytest.skip("journalctl is not installed")
    sources = tmp_path / "usr/lib/systemd/catalog"
    sources.mkdir(parents=True)
    shutil.copy(CATALOG, sources)
    (tmp_path / "var/lib/systemd/catalog").mkdir(parents=True)
    return tmp_path


def test_journalctl_takes_the_catalog_without_a_warning(root: Path) -> None:
    command = ["journalctl", "--update-catalog", f"--root={root}"]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stdout + done.stderr == ""
    command = ["journalctl", "--dump-catalog", f"--root={root}"]
    dumped = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    comments = [line for line in CATALOG.read_text().splitlines() if line.startswith("#")]
    assert dumped.count("Defined-By: mcelog\n") == CATALOG.read_text().count("\n-- ") > 20
    assert not any(line in dumped.splitlines() for line in comments)


def test_journalctl_x_explains_an_entry(journald: Journald, root: Path) -> None:
    if not Path("/var/lib/systemd/catalog").is_dir() or os.geteuid() != 0:
        pytest.skip("journalctl -x reads the system's catalog: root can put ours there, for this test only")
    subprocess.run(["journalctl", "--update-catalog", f"--root={root}"], check=True)
    sender = journal.Journal(journald.socket)
    event = decode.decode(MceRecord(status=1 << 63 | 0x91, extcpu=3), cpu.INTEL)
    sender.send(report.fields(event))
    sender.close()
    journald.entries(1)
    show = (
        "mount --make-rprivate / && mount --bind $1 /var/lib/systemd/catalog && "
        "exec journalctl -x --no-pager -D $2 -t mcelog"
    )
    catalog, files = root / "var/lib/systemd/catalog", journald.directory / "log/journal"
    command = ["unshare", "--mount", "sh", "-c", show, "sh", catalog, files]
    shown = subprocess.run(command, check=True, capture_output=True, text=True).stdout
    assert "A memory error was corrected" in shown
    assert "(MEMORY CONTROLLER RD_CHANNEL1_ERR, reported by CPU 3)" in shown
