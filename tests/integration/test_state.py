# SPDX-License-Identifier: GPL-2.0-only
"""What a daemon knew, the next one knows; and what an administrator and SMBIOS tell about DIMMs."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd.client import run_command
from mcelogd.message_ids import (
    CORRECTED_MEMORY_ERROR,
    DIMM_ACQUITTED,
    DIMM_REPLACED,
    STORM_BEGUN,
    STORM_ENDED,
    STORM_GOES_ON,
    THRESHOLD_EXCEEDED,
)

from . import acting
from .conftest import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .acting import Acting

SMBIOS = Path(__file__).parent.parent / "fixtures/smbios/dmi_q35_4dimms_file.bin"
NOBODY = 65534
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root")

DIMMS = """
dmi-table = {directory}/smbios
dimm-labels = {directory}/labels
[dimm]
ce-error-threshold = 10 / 24h
[page]
memory-ce-threshold = 2 / 24h
memory-ce-action = account
"""
SLOT = "SOCKET 0 CHANNEL 1 DIMM 0\n"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Acting]:
    with acting.bench_in(tmp_path) as bench:
        bench.configure(DIMMS)
        (tmp_path / "labels").write_text("socket 0 channel 1 dimm 0 = CPU0_DIMM_B1\n")
        (tmp_path / "smbios").write_bytes(SMBIOS.read_bytes())
        yield bench


def error(frame: int, **changes: int) -> bytes:
    """On channel 1, DIMM 0, now."""
    return acting.page(frame, 1, time=int(time.time()), **changes)


def count(bench: Acting, *records: bytes) -> None:
    before = bench.stored()
    bench.send(b"".join(records))
    bench.wait_stored(before + len(records))


def of_slot(shown: str) -> str:
    """What the client shows of that DIMM."""
    return shown.partition(SLOT)[2].partition("SOCKET")[0]


def put_in_another_dimm(bench: Acting, old: bytes = b"SNA1000001") -> None:
    table = SMBIOS.read_bytes()
    assert old in table
    (bench.directory / "smbios").write_bytes(table.replace(old, b"SNB7654321"))


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_restart_changes_nothing_that_is_shown(bench: Acting, how: signal.Signals) -> None:
    bench.start()
    uncorrected = error(9, status=acting.VALID | acting.MISC_VALID | acting.ADDRESS_VALID | 1 << 61 | 0xB1)
    count(bench, error(7), error(7), error(8), acting.page(5, 2, 1, time=int(time.time())), uncorrected)
    shown = bench.command("--client").stdout
    assert 'DMI_NAME "CPU0_DIMM_B1" DMI_LOCATION "CPU0_CH1"\n' in of_slot(shown)
    assert "corrected memory errors:\n\t3 total\n\t3 in 24h\n" in of_slot(shown)
    assert "uncorrected memory errors:\n\t1 total\n" in of_slot(shown)
    assert '7000: total 2 seen "2 in 24h" online triggered\n' in shown
    for _ in range(3):
        bench.stop(how)
        bench.start()
        assert bench.command("--client").stdout == shown
    count(bench, error(8))
    assert "\t4 total\n\t4 in 24h\n" in of_slot(bench.command("--client").stdout)
    bench.stop()


def test_a_threshold_is_crossed_by_errors_before_and_after_a_restart(bench: Acting) -> None:
    bench.listen()
    bench.start()
    count(bench, *[acting.memory(1, 0, time=int(time.time()))] * 9)
    assert not bench.entries(THRESHOLD_EXCEEDED)
    bench.stop(signal.SIGKILL)
    bench.start()
    count(bench, acting.memory(1, 0, time=int(time.time())))
    (entry,) = bench.wait_entries(THRESHOLD_EXCEEDED)
    assert entry["MCE_COUNT"] == b"10"
    assert b"CPU0_DIMM_B1" in entry["MCE_LOCATION"]
    bench.stop()


def test_names_are_told(bench: Acting) -> None:
    bench.listen()
    bench.start()
    count(bench, error(7), acting.page(5, 2, 1, time=int(time.time())))
    named, other = bench.wait_entries(CORRECTED_MEMORY_ERROR, 2)
    assert named["MCE_DIMM_LABEL"] == b"CPU0_DIMM_B1"
    assert b"CPU0_DIMM_B1" in named["MESSAGE"]
    assert "MCE_DIMM_LABEL" not in other
    bench.stop()


def test_another_serial_number_is_another_dimm(bench: Acting) -> None:
    """Counted from zero; what the old one had can still be read, also later."""
    bench.listen()
    bench.start()
    count(bench, error(7), error(8), acting.page(5, 2, 1, time=int(time.time())))
    bench.stop()
    put_in_another_dimm(bench, b"SNA1000003")
    bench.start()
    assert "\t2 total\n" in of_slot(bench.command("--client").stdout)
    assert bench.command("--history").stdout == ""
    bench.stop()
    put_in_another_dimm(bench)
    bench.start()
    (entry,) = bench.wait_entries(DIMM_REPLACED)
    assert entry["MCE_REASON"] == b"it has another serial number"
    shown = bench.command("--client").stdout
    assert "corrected memory errors:\n\t0 total\n\t0 in 24h\n" in of_slot(shown)
    assert "\t1 total\n" in shown.partition("SOCKET 0 CHANNEL 2 DIMM 1\n")[2]
    history = bench.command("--history").stdout
    assert SLOT[:-1] + " until " in history
    assert "SNA1000001" in history
    assert "\t2 corrected memory errors\n" in history
    count(bench, error(9))
    bench.stop()
    bench.start()
    assert bench.command("--history").stdout == history
    assert "\t1 total\n" in of_slot(bench.command("--client").stdout)
    assert len(bench.entries(DIMM_REPLACED)) == 1
    bench.stop()


def test_an_administrator_says_it_was_replaced(bench: Acting) -> None:
    bench.listen()
    bench.start()
    count(bench, error(7), error(8))
    done = bench.command("--replaced", "0/1/0")
    assert (done.returncode, done.stdout) == (0, "socket 0 channel 1 DIMM 0: done\n")
    (entry,) = bench.wait_entries(DIMM_REPLACED)
    assert entry["MCE_REASON"] == f"user {os.getuid()} said so".encode()
    history = bench.command("--history").stdout
    assert "\t2 corrected memory errors\n" in history
    bench.stop(signal.SIGKILL)
    bench.start()
    assert "\t0 total\n" in of_slot(bench.command("--client").stdout)
    assert bench.command("--history").stdout == history
    bench.stop()


def test_an_administrator_says_it_is_sound(bench: Acting) -> None:
    """Its thresholds begin anew, its totals stay."""
    bench.listen()
    bench.start()
    count(bench, *[acting.memory(1, 0, time=int(time.time()))] * 9)
    assert bench.command("--acquit", "0/1/0").returncode == 0
    (entry,) = bench.wait_entries(DIMM_ACQUITTED)
    assert entry["MCE_USER"] == str(os.getuid()).encode()
    bench.stop()
    bench.start()
    assert "\t9 total\n\t0 in 24h\n" in of_slot(bench.command("--client").stdout)
    count(bench, acting.memory(1, 0, time=int(time.time())))
    assert not bench.entries(THRESHOLD_EXCEEDED)
    bench.stop()


@pytest.mark.parametrize("place", ["0/1", "x", "", "0/1/0/2", "9/9/9", "0/1/0\ndump", "9" * 5000])
def test_what_is_no_dimm_is_said(bench: Acting, place: str) -> None:
    bench.start()
    for option in ("--replaced", "--acquit"):
        done = bench.command(option, place)
        assert done.returncode == 1
        assert done.stdout == ""
        assert done.stderr.startswith("mcelog: ")
        assert done.stderr.count("\n") == 1
        assert len(done.stderr) < 300
    bench.stop()


@as_root
@pytest.mark.parametrize("user", ["root", "nobody"])
def test_only_root_changes_what_is_counted(
    bench: Acting, user: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Not even one whom client-user lets ask."""
    bench.configure(DIMMS + f"[server]\nclient-user = {user}\n")
    bench.start()
    count(bench, error(7))
    bench.directory.chmod(0o755)
    monkeypatch.chdir(bench.directory)
    os.seteuid(NOBODY)
    try:
        commands = ("replaced 0/1/0", "acquit 0/1/0", "history")
        replies = [run_command("client", command) for command in commands]
    finally:
        os.seteuid(0)
    said = capfd.readouterr()
    assert replies == ([1, 1, 1] if user == "root" else [1, 1, 0])
    assert said.err.count("permission denied") == sum(replies)
    assert bench.command("--history").stdout == ""
    assert "\t1 total\n" in of_slot(bench.command("--client").stdout)
    bench.stop()


def test_a_storm_is_summed_up_exactly(bench: Acting) -> None:
    """5,000 records, few entries; what was told and the sums are as many as were sent, the store has all."""
    bench.listen()
    bench.configure("storm-threshold = 20 / 2\nstorm-summary-seconds = 1\n" + DIMMS)
    bench.start()
    for _ in range(5):
        bench.send(error(7) * 1000)
        bench.wait_stored(1)
        bench.entries(STORM_ENDED)
    bench.wait_stored(5000)
    ended = bench.wait_entries(STORM_ENDED)
    told, begun = bench.entries(CORRECTED_MEMORY_ERROR), bench.entries(STORM_BEGUN)
    sums = [int(entry["MCE_COUNT"]) for entry in bench.entries(STORM_GOES_ON)]
    assert len(told) + sum(sums) == 5000
    assert len(begun) == len(ended) >= 1
    assert sum(int(entry["MCE_COUNT"]) for entry in ended) == sum(sums)
    assert len(told) <= 21 * len(begun)
    assert len(bench.entries(THRESHOLD_EXCEEDED)) < 50
    assert bench.stored() == 5000
    assert "\t5000 total\n" in of_slot(bench.command("--client").stdout)
    assert '7000: total 5000 seen "5000 in 24h"' in bench.command("--client").stdout
    bench.stop()


def test_the_end_of_the_daemon_sums_up_a_storm(bench: Acting) -> None:
    bench.listen()
    bench.start()
    count(bench, error(7) * 500)
    bench.wait_stored(500)
    bench.stop()
    (ended,) = bench.entries(STORM_ENDED)
    told = len(bench.entries(CORRECTED_MEMORY_ERROR))
    assert told + int(ended["MCE_COUNT"]) == 500


def owners(pid: int) -> list[str]:
    """The user and group ids of a process: real, effective, saved, and of files."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return [line.partition(":")[2].strip() for line in lines if line.startswith(("Uid", "Gid", "Groups"))]


@as_root
def test_it_becomes_another_user(bench: Acting) -> None:
    """For good, with its triggers, and the store goes on; also at the next start, and as root again."""
    parents = [bench.directory, *bench.directory.parents][:3]
    for path in parents:
        path.chmod(path.stat().st_mode | 0o055)
    bench.script("who", f"id -u > {bench.runs_directory}/.user && id -g >> {bench.runs_directory}/.user")
    for path in (bench.triggers, bench.log):
        path.touch()
        os.chown(path, NOBODY, -1)
    sections = "[socket]\nunknown-threshold-trigger = who\n"
    bench.configure("run-credentials-user = nobody\n" + DIMMS + sections)
    user = bench.runs_directory / ".user"
    for number in (1, 2):
        process = bench.start()
        wait_for(lambda pid=process.pid: owners(pid)[0] == "\t".join([str(NOBODY)] * 4), "another user")
        assert owners(process.pid)[2] in ("", str(NOBODY))
        count(bench, error(7), acting.memory(0, 0, status=0x9C0000000000040B, bank=1))
        bench.wait_runs(number)
        wait_for(lambda: user.exists() and user.read_text().count("\n") == 2, "the trigger")
        assert set(user.read_text().split()) == {str(NOBODY)}
        user.unlink()
        bench.stop()
        assert process.returncode == 0
    bench.configure(DIMMS + sections)
    bench.start()
    count(bench, error(7))
    assert "\t3 total\n" in of_slot(bench.command("--client").stdout)
    bench.stop()
    assert "Traceback" not in bench.log.read_text()
