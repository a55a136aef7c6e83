# SPDX-License-Identifier: GPL-2.0-only
"""mcelogctl events and show, with real journals, as systemd-journal-remote writes them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcelogd import message_ids
from mcelogd.ctl import journal as reading
from mcelogd.ctl.exits import CtlError, Exit

from .conftest import wait_for
from .ctl_peers import FakeMcelog, Journal, Live, command, ctl, environment, event, journal
from .privatebus import NOBODY, PrivateBus, effective_user, private_bus

if TYPE_CHECKING:
    from collections.abc import Iterator

MEMORY = {"MESSAGE_ID": message_ids.CORRECTED_MEMORY_ERROR, "MCE_KIND": "memory", "MCE_SEVERITY": "corrected"}
CACHE = {"MESSAGE_ID": message_ids.CACHE_ERROR, "MCE_KIND": "cache", "MCE_SEVERITY": "fatal"}


def fill(journal: Journal) -> None:
    """Ten events in as many minutes, the third and the sixth of another kind; and what is not ours."""
    for number in range(1, 11):
        kind = CACHE if number in (3, 6) else MEMORY
        journal.add(f"event {number}", 60 * number, MCE_EVENT_ID=str(number), **kind)
        match number:
            case 1:
                journal.add("something else", 65)
                journal.add("a lie", 90, uid=1000, MCE_EVENT_ID="99", **MEMORY)
            case 4:
                journal.add("threshold", 241, MESSAGE_ID=message_ids.THRESHOLD_EXCEEDED, PRIORITY="4")
            case 5:
                journal.add("a storm", 301, MESSAGE_ID=message_ids.STORM_BEGUN, PRIORITY="4")


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("journals")
    with journal(directory, "db7") as one:
        fill(one)
    with journal(directory, "web1") as other:
        other.add("event of web1", 90, MCE_EVENT_ID="1", **MEMORY)
    return directory


def messages(*arguments: str, directory: Path) -> list[str]:
    ran = ctl("events", "--json", "--directory", str(directory), *arguments)
    assert (ran.returncode, ran.stderr) == (0, "")
    return [json.loads(line)["message"] for line in ran.stdout.splitlines()]


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        ("", "1 web1 2 3 4 5 storm 6 7 8 9 10"),
        ("--machine web1", "web1"),
        ("--machine 77656231776562317765623177656231", "web1"),
        ("--machine db7 --since @1795374494", "5 storm 6 7 8 9 10"),
        ("--until @1795374314", "1 web1 2"),
        ("-n 3", "8 9 10"),
        ("-n 1", "10"),
        ("-n 0", ""),
        ("-n 999", "1 web1 2 3 4 5 storm 6 7 8 9 10"),
        ("-n 2 --until @1795374374.5", "2 3"),
        ("-n 3 --since @1795374734", "9 10"),
        ("-k cache", "3 6"),
        ("-k cache,memory -s corrected", "1 web1 2 4 5 7 8 9 10"),
        ("-s deferred+", "3 6"),
        ("-s fatal -n 1", "6"),
        ("-k tlb", ""),
        ("-k tlb -n 5", ""),
        ("--all -n 9", "4 threshold 5 storm 6 7 8 9 10"),
        ("--since 2030-01-01", ""),
    ],
)
def test_which_events(arguments: str, expected: str, collected: Path) -> None:
    found = [
        message.removeprefix("event ").removeprefix("of ").removeprefix("a ")
        for message in messages(*arguments.split(), directory=collected)
    ]
    assert found == expected.split()


def test_machines_have_a_column(collected: Path) -> None:
    lines = ctl("events", "-D", str(collected)).stdout.splitlines()
    assert lines[0].split() == ["TIME", "MACHINE", "ID", "SEVERITY", "KIND", "WHAT"]
    assert lines[1].split()[:6] == ["2026-11-22", "19:04:14", "db7", "1", "corrected", "memory"]
    assert lines[2].split()[2] == "web1"
    assert lines[-1] == "12 entries."
    only = ctl("events", "-D", str(collected), "--machine", "web1", "--no-legend").stdout
    assert only == "2026-11-22 19:04:44        1  corrected    memory    event of web1\n"
    assert ctl("events", "-D", str(collected), "-k", "tlb").stdout == "No entry.\n"


def test_machines_of_the_same_name_can_be_told_apart(tmp_path: Path) -> None:
    with journal(tmp_path, "db7") as one, journal(tmp_path, "other") as other:
        one.add("here", 1, **MEMORY)
        other.add("there", 2, _HOSTNAME="db7", **MEMORY)
    lines = ctl("events", "-D", str(tmp_path), "--no-legend").stdout.splitlines()
    assert [line.split()[2] for line in lines] == ["db7", f"db7~{other.machine[:6]}"]


def test_nothing_in_an_entry_commands_the_terminal(tmp_path: Path) -> None:
    with journal(tmp_path) as one:
        hostile = "\x1b[2J\x9b31m\u202egnp.exe\nsecond"
        one.add(hostile, MCE_EVENT_ID="5", MCE_DIMM_LABEL=hostile, MCE_DECODED="a\n\x1bc\tb", **MEMORY)
    for arguments in (["events"], ["events", "--json"], ["show", "5"], ["show", "5", "--json"]):
        ran = ctl(*arguments, "-D", str(tmp_path))
        assert ran.returncode == 0
        assert "gnp.exe" in ran.stdout
        assert not {"\x1b", "\x9b", "\u202e"} & set(ran.stdout)
    assert "a\n\\x1bc" in ctl("show", "5", "-D", str(tmp_path)).stdout


def test_show(tmp_path: Path) -> None:
    """The newest of that number; a field that is there several times with all its values."""
    with journal(tmp_path) as one:
        one.add("of the store before", 1, MCE_EVENT_ID="5", **MEMORY)
        places: dict[str, Any] = {"MCE_LOCATION": ["socket 0 DIMM 0", "socket 0 DIMM 1"]}
        one.add("of this one", 2, MCE_EVENT_ID="5", MCE_TIME="1795374194", **places, **MEMORY)
    shown = ctl("show", "#5", "-D", str(tmp_path)).stdout
    assert "of this one" in shown
    assert "Where: socket 0 DIMM 0, socket 0 DIMM 1\n" in shown
    assert "Kernel's time: 2026-11-22 19:03:14 (" in shown
    document = json.loads(ctl("show", "5", "--json", "-D", str(tmp_path)).stdout)
    assert document["fields"]["MCE_LOCATION"] == places["MCE_LOCATION"]
    assert (document["id"], document["time"], document["hostname"]) == (5, 1_795_374_196.0, "db7")
    ran = ctl("show", "6", "-D", str(tmp_path))
    assert (ran.returncode, ran.stderr) == (1, f"mcelogctl: there is no event 6 in {tmp_path}\n")


def test_following(tmp_path: Path) -> None:
    with journal(tmp_path) as one:
        for number in range(20):
            one.add(f"old {number}", number, **MEMORY)
        with Live(command("events", "-f", "--json", "-D", str(tmp_path)), environment()) as events:
            events.read_until("old 19")
            one.add("not ours", 21)
            one.add("new 1", 22, **CACHE)
            events.read_until("new 1")
            with journal(tmp_path, "joined") as other:
                other.add("new 2", 23, **MEMORY)
                events.read_until("new 2")
            one.add("new 3", 24, **MEMORY)
            printed = events.read_until("new 3")
            used = cpu_seconds(events.process.pid)
            time.sleep(0.5)
            assert cpu_seconds(events.process.pid) - used < 0.1
            assert events.interrupt() == 130
    found = [json.loads(line)["message"] for line in printed.splitlines()]
    assert found == [*(f"old {number}" for number in range(10, 20)), "new 1", "new 2", "new 3"]


@pytest.mark.parametrize("lines", ["0", "5"])
def test_following_where_nothing_was_yet(lines: str, tmp_path: Path) -> None:
    with journal(tmp_path) as one:
        one.add("not ours")
        if lines == "0":
            one.add("old", 1, **MEMORY)
        wait_for(lambda: list(tmp_path.iterdir()), "the journal")
        time.sleep(0.2)
        follow = command("events", "-f", "-n", lines, "-D", str(tmp_path), "--no-legend")
        with Live(follow, environment()) as events:
            wait_for(lambda: sleeps(events.process.pid), "events to wait")
            one.add("new", 2, **MEMORY)
            assert "old" not in events.read_until("new")


def cpu_seconds(pid: int) -> float:
    words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / os.sysconf("SC_CLK_TCK")


def sleeps(pid: int) -> bool:
    """Whether a process waits for what may happen."""
    return "poll" in Path(f"/proc/{pid}/wchan").read_text()


@pytest.mark.parametrize("problem", ["missing", "empty", "file"])
def test_directories_without_a_journal(problem: str, tmp_path: Path) -> None:
    directory = tmp_path / "journals"
    if problem == "file":
        directory.write_text("")
    elif problem == "empty":
        directory.mkdir()
    ran = ctl("events", "--directory", str(directory))
    assert (ran.returncode, ran.stdout) == (1, "")
    assert ran.stderr.startswith(f"mcelogctl: {directory}: ")
    assert len(ran.stderr.splitlines()) == 1


# -- this machine's own journal ----------------------------------------------------------------


@pytest.fixture
def bus() -> Iterator[PrivateBus]:
    with private_bus() as bus, FakeMcelog(bus) as mcelog:
        mcelog.events = [event(1)]
        mcelog.answers["GetEvent"] = ("a{sas}", [{"MESSAGE": ["stored"], "MCE_TIME": ["1795374194"]}])
        yield bus


def with_journal(source: Path | None, bus: PrivateBus, *arguments: str) -> subprocess.CompletedProcess[str]:
    """Run mcelogctl where this machine has that journal, or none."""
    if os.geteuid():
        pytest.skip("needs root, to have another journal than this machine's")
    machine = Path("/etc/machine-id").read_text().strip()
    script = "mount -t tmpfs none /var/log/journal && mount -t tmpfs none /run/log"
    if source is not None:
        place = f"/var/log/journal/{machine}"
        script += f" && mkdir {place} && cp {source} {place}/system.journal"
    script = f'mkdir -p /var/log/journal /run/log && {script} && exec "$@"'
    argv = ["unshare", "--mount", "sh", "-c", script, "sh", *command(*arguments)]
    return subprocess.run(argv, env=environment(bus), capture_output=True, text=True, timeout=20, check=False)


def test_the_journal_of_this_machine(bus: PrivateBus, collected: Path) -> None:
    ran = with_journal(collected / "remote-db7.journal", bus, "events", "--no-legend", "-n", "1")
    assert (ran.stdout, ran.stderr) == ("2026-11-22 19:13:14       10  corrected    memory    event 10\n", "")
    assert "event 3" in with_journal(collected / "remote-db7.journal", bus, "show", "3").stdout
    assert "stored" in with_journal(collected / "remote-db7.journal", bus, "show", "12").stdout


def test_no_journal_on_this_machine(bus: PrivateBus) -> None:
    ran = with_journal(None, bus, "events", "--json")
    assert [json.loads(line)["id"] for line in ran.stdout.splitlines()] == [1]
    assert ran.stderr == "mcelogctl: there is no journal here; this is from mcelog's store\n"
    assert "stored" in with_journal(None, bus, "show", "1").stdout


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """One that everybody may look into."""
    directory = Path(tempfile.mkdtemp(prefix="mcelog-journal-"))
    directory.chmod(0o755)
    yield directory
    shutil.rmtree(directory)


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_a_journal_that_may_not_be_read(
    open_directory: Path, collected: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (open_directory / "machine-id").write_text("1234\n")
    own = open_directory / "1234"
    own.mkdir()
    shutil.copy(collected / "remote-db7.journal", own / "system.journal")
    (own / "system.journal").chmod(0o600)
    monkeypatch.setattr(reading, "MACHINE_ID", open_directory / "machine-id")
    monkeypatch.setattr(reading, "JOURNALS", (open_directory,))
    reading.check_local()
    reading.check_directory(open_directory)
    with effective_user(NOBODY):
        with pytest.raises(CtlError, match="group systemd-journal") as raised:
            reading.check_local()
        assert raised.value.status is Exit.DENIED
        with pytest.raises(CtlError, match="none of the journals may be read"):
            reading.check_directory(open_directory)
        os.seteuid(0)
        own.chmod(0o700)
        os.seteuid(NOBODY)
        with pytest.raises(CtlError, match="group systemd-journal"):
            reading.check_local()
