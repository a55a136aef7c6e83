# SPDX-License-Identifier: GPL-2.0-only
"""The daemon as a process: sources, sockets, signals, logs, and what it says when it cannot start."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from mcelogd.record import LENGTH

from .conftest import DEVICE_FIXTURES, Scratch, memory_error, run_mcelog, wait_for
from .reliability import Claims, Part, fault


def test_recorded_records_of_a_real_kernel(scratch: Scratch) -> None:
    scratch.start()
    for name in ("icx_mem_read_multi", "icx_bus", "icx_cache_green_yellow", "raw_thermal", "nhm_tlb"):
        scratch.send((DEVICE_FIXTURES / f"{name}.bin").read_bytes())
    scratch.wait_stored(16)
    kinds = scratch.query("SELECT kind, severity, count(*) FROM events GROUP BY kind, severity ORDER BY 1, 2")
    assert kinds == [
        ("bus", "corrected", 3),
        ("cache", "corrected", 4),
        ("memory", "corrected", 4),
        ("thermal", "corrected", 1),
        ("thermal", "info", 1),
        ("tlb", "corrected", 3),
    ]
    shown = scratch.command("--client").stdout
    assert "SOCKET 0 CHANNEL 3 DIMM any\n" in shown
    assert '4c0000000: total 1 seen "1 in 24h" online\n' in shown
    scratch.stop()
    log = scratch.log.read_text()
    assert log.count("Hardware event. This is not a software error.\n") == 16
    assert "MCA: MEMORY CONTROLLER RD_CHANNEL3_ERR\n" in log


def test_log_text_reads_back_as_the_same_records(scratch: Scratch) -> None:
    scratch.start()
    scratch.send((DEVICE_FIXTURES / "icx_mem_read_multi.bin").read_bytes())
    scratch.wait_stored(4)
    scratch.stop()
    statuses = [line for line in scratch.log.read_text().splitlines() if line.startswith("STATUS")]
    again = run_mcelog("--ascii", "--file", str(scratch.log)).stdout
    assert len(statuses) == 4
    assert [line for line in again.splitlines() if line.startswith("STATUS")] == statuses


def test_thresholds_are_told(scratch: Scratch) -> None:
    scratch.start()
    scratch.send(b"".join(memory_error(7) for _ in range(10)))
    scratch.wait_stored(10)
    scratch.stop()
    log = scratch.log.read_text()
    assert "corrected DIMM memory error count exceeded threshold: 10 in 24h\n" in log
    assert "Location SOCKET:0 CHANNEL:0 DIMM:? []\n" in log
    assert "Corrected memory errors on page 7000 exceed threshold 2 in 24h\n" in log


def test_a_record_written_in_pieces_stays_whole(scratch: Scratch) -> None:
    scratch.start()
    data = memory_error(1) + memory_error(2)
    for start in range(0, len(data), 50):
        os.write(scratch.feed, data[start : start + 50])
        time.sleep(0.02)
    scratch.wait_stored(2)
    half = memory_error(3)
    os.write(scratch.feed, half[:40])
    time.sleep(0.2)
    scratch.stop(signal.SIGKILL)
    scratch.start()
    os.write(scratch.feed, half[40:])
    scratch.wait_stored(3)
    assert [row[0] for row in scratch.query("SELECT record FROM events ORDER BY id")][2] == half
    scratch.stop()


@fault(
    Part.SOURCE,
    "Who writes into a FIFO goes away amid a record",
    says="…: 30 bytes at the end are no whole record",
    lost="The half of a record, which nobody could decode",
    recovers="At once: the next writer's records are read",
)
def test_half_a_record_of_a_writer_that_went_away(scratch: Scratch, claims: Claims) -> None:
    other = scratch.directory / "other"
    os.mkfifo(other)
    scratch.start(device=str(other))
    for rest in (b"\xff" * 30, b""):
        with other.open("wb", buffering=0) as writer:
            writer.write(memory_error(1) + rest)
            wait_for(lambda: scratch.stored() >= 1, "the record")
            time.sleep(0.1)
    scratch.wait_stored(2)
    scratch.stop()
    claims.saw(scratch.log.read_text())
    claims.kept(scratch.stored(), 2)
    claims.recovered(scratch.query("SELECT max(id) FROM events") == [(2,)])


def test_idle_costs_no_cpu_time(scratch: Scratch) -> None:
    """Also with half a record in the pipe, which makes it readable for ever."""
    process = scratch.start()
    os.write(scratch.feed, memory_error(1)[:40])
    time.sleep(1.5)
    ticks = [
        Path(f"/proc/{process.pid}/stat").read_text().split()[13:15] for _ in (0, 1) if not time.sleep(1)
    ]
    assert ticks[0] == ticks[1]
    scratch.stop()


def test_a_file_is_read_once(scratch: Scratch) -> None:
    records = scratch.directory / "records"
    records.write_bytes(b"".join(memory_error(n) for n in range(1000)) + b"\x01\x02\x03")
    for number in (signal.SIGTERM, signal.SIGKILL, signal.SIGTERM):
        scratch.start(device=str(records))
        scratch.wait_stored(1000)
        time.sleep(0.1)
        scratch.stop(number)
        assert scratch.stored() == 1000
    with records.open("r+b") as file:
        file.seek(1000 * LENGTH)
        file.write(memory_error(1000))
    scratch.start(device=str(records))
    scratch.wait_stored(1001)
    scratch.stop()
    assert "3 bytes at the end are no whole record" in scratch.log.read_text()


def test_the_log_file_is_reopened(scratch: Scratch) -> None:
    process = scratch.start()
    scratch.send(memory_error(1))
    wait_for(lambda: "Hardware event" in scratch.log.read_text(), "the first event")
    rotated = scratch.directory / "log.1"
    scratch.log.rename(rotated)
    process.send_signal(signal.SIGUSR1)
    wait_for(scratch.log.exists, "a new log file")
    scratch.send(memory_error(2))
    wait_for(lambda: "ADDR 2000" in scratch.log.read_text(), "the second event")
    assert "ADDR 2000" not in rotated.read_text()
    scratch.stop()


def test_in_the_background(scratch: Scratch) -> None:
    """The classic daemon: the command returns when it works; its pid file, log and socket are there."""
    pidfile = scratch.directory / "pid"
    started = scratch.command("--daemon", "--pidfile", str(pidfile), str(scratch.fifo))
    assert started.returncode == 0, started.stderr
    pid = int(pidfile.read_text())
    try:
        assert Path(f"/proc/{pid}/cwd").readlink() == Path("/")
        assert os.getsid(pid) == pid
        assert scratch.command("--ping").stdout == "pong\n"
        scratch.send(memory_error(1))
        scratch.wait_stored(1)
    finally:
        os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not pidfile.exists(), "the end of the daemon")
    wait_for(lambda: not scratch.client_path.exists(), "its socket to go")
    assert "ADDR 1000" in scratch.log.read_text()


def test_in_the_background_with_relative_paths(scratch: Scratch) -> None:
    """They are relative to where it was started, not to where the daemon lives."""
    scratch.config.write_text("[server]\nsocket-path = client\n")
    options = ("--logfile", "log", "--state-dir", "state", "--pidfile", "pid", "--config-file", "mcelog.conf")
    started = run_mcelog("--daemon", *options, "device", cwd=scratch.directory)
    assert started.returncode == 0, started.stderr
    pid = int((scratch.directory / "pid").read_text())
    scratch.log.rename(scratch.directory / "log.1")
    os.kill(pid, signal.SIGUSR1)
    wait_for(scratch.log.exists, "a new log file")
    scratch.send(memory_error(1))
    scratch.wait_stored(1)
    os.kill(pid, signal.SIGTERM)
    wait_for(lambda: not (scratch.directory / "pid").exists(), "the end of the daemon")
    wait_for(lambda: not scratch.client_path.exists(), "its socket to go")
    assert "ADDR 1000" in scratch.log.read_text()


def test_in_the_background_a_failed_start_is_seen(scratch: Scratch) -> None:
    scratch.start()
    second = scratch.command("--daemon", "--pidfile", str(scratch.directory / "pid"), str(scratch.fifo))
    assert second.returncode == 1
    assert "another mcelog uses" in second.stderr
    assert not (scratch.directory / "pid").exists()
    scratch.stop()


def test_a_second_daemon_on_the_same_socket(scratch: Scratch) -> None:
    scratch.start()
    second = scratch.command(
        "--daemon", "--foreground", "--state-dir", str(scratch.directory / "state2"), str(scratch.fifo)
    )
    assert second.returncode == 1
    assert "already running" in second.stdout + second.stderr + scratch.log.read_text()
    assert scratch.command("--ping").returncode == 0
    scratch.stop()


def test_without_a_state_directory_it_works_on(scratch: Scratch) -> None:
    scratch.state.write_text("a file is in the way")
    scratch.start()
    scratch.send(memory_error(1))
    wait_for(lambda: "ADDR 1000" in scratch.log.read_text(), "the event")
    assert "\t1 total\n" in scratch.command("--client").stdout
    scratch.stop()
    assert "do not survive a restart" in scratch.log.read_text()


@fault(
    Part.DISK,
    "The store is no database any more",
    says="…: file is not a database; moved aside to …, a new one begins",
    lost="Counters of before: they begin anew, and the old file is kept. No record that is read from then on",
    recovers="At once: it goes on with a new store",
)
def test_a_damaged_store_is_moved_aside_and_said(scratch: Scratch, claims: Claims) -> None:
    scratch.state.mkdir()
    scratch.database.write_bytes(os.urandom(20_000))
    scratch.start()
    scratch.send(memory_error(1))
    scratch.wait_stored(1)
    scratch.stop()
    claims.saw(scratch.log.read_text())
    claims.kept(len(list(scratch.state.glob("mcelog.db.damaged-*"))), 1)
    claims.recovered(scratch.stored() == 1)


@fault(
    Part.SOURCE,
    "The source gives nonsense",
    sees="Events of unknown kinds, with the record as it was",
    lost="Nothing: each is counted, told and stored",
    recovers="At once: each record stands for itself",
)
def test_random_bytes_stop_nothing(scratch: Scratch, claims: Claims) -> None:
    scratch.start()
    scratch.send(os.urandom(LENGTH * 500) + memory_error(1))
    scratch.wait_stored(501)
    claims.recovered(scratch.command("--ping").returncode == scratch.command("--client").returncode == 0)
    scratch.stop()
    assert "Traceback" not in scratch.log.read_text()
    claims.kept(scratch.stored(), 501)


def test_num_errors_ends_the_daemon(scratch: Scratch) -> None:
    process = scratch.start("--num-errors", "3")
    scratch.send(b"".join(memory_error(n) for n in range(5)))
    assert process.wait(20) == 0
    assert scratch.stored() == 3


def test_journal_entries_have_the_fields(scratch: Scratch) -> None:
    """A socket of our own where journald's would be; the VM layer reads them back from the real one."""
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind(str(scratch.directory / "journal"))
    journal.settimeout(20)
    scratch.start()
    scratch.send(memory_error(5, extcpu=3, ppin=0xABCD))
    entries = []
    while not entries or b"MCE_KIND=memory" not in entries[-1]:
        entries.append(journal.recv(1 << 16))
    lines = entries[-1].split(b"\n")
    for field in (
        b"MESSAGE_ID=f29f01451c0d440a89ae8019bbcb83d8",
        b"PRIORITY=4",
        b"SYSLOG_IDENTIFIER=mcelog",
        b"MCE_EVENT_ID=1",
        b"MCE_SEVERITY=corrected",
        b"MCE_CPU=3",
        b"MCE_BANK=5",
        b"MCE_STATUS=0x9c00004000010090",
        b"MCE_ADDR=0x5000",
        b"MCE_SOCKET=0",
        b"MCE_CHANNEL=0",
        b"MCE_PPIN=0xabcd",
    ):
        assert field in lines, field
    scratch.stop()
    journal.close()


@fault(
    Part.JOURNAL,
    "journald's socket is full, and mcelog ends meanwhile",
    sees="Nothing in the journal; the log file, the store and clients have it all, without delay",
    lost="Entries that still wait, after a second at the end. No record, no count",
    recovers="What journald missed is in the store: `mcelogctl events` can read it there",
)
def test_a_journal_that_does_not_read_delays_nothing(scratch: Scratch, claims: Claims) -> None:
    journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    journal.bind(str(scratch.directory / "journal"))
    scratch.start()
    scratch.send(b"".join(memory_error(n) for n in range(2000)))
    scratch.wait_stored(2000)
    assert scratch.command("--ping").returncode == 0
    assert "\t2000 total\n" in scratch.command("--client").stdout
    scratch.stop()
    journal.close()
    claims.kept(scratch.stored(), 2000)
    claims.recovered(scratch.query("SELECT max(summary) IS NOT NULL FROM events") == [(1,)])


@pytest.mark.parametrize("clients", [100])
def test_many_clients_at_once(scratch: Scratch, clients: int) -> None:
    scratch.start()
    scratch.send(memory_error(1))
    scratch.wait_stored(1)
    replies: list[bytes] = []

    def ask() -> None:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout(20)
            connection.connect(str(scratch.client_path))
            connection.sendall(b"dump all bios\n")
            reply = b""
            while not reply.endswith(b"done\n"):
                reply += connection.recv(1 << 16)
            replies.append(reply)

    threads = [threading.Thread(target=ask) for _ in range(clients)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(replies) == clients
    assert set(replies) == {replies[0]}
    scratch.stop()


@fault(
    Part.SOURCE,
    "There is no device at the start",
    says="cannot open …: No such file or directory; is your kernel built with CONFIG_X86_MCELOG_LEGACY=y",
    sees="The exit status is 1; with `--ignorenodev` 0, and not a word. Units do not fail but wait",
    lost="Nothing: what the kernel has not handed over stays with it",
    recovers="`mcelog.path` starts the service when the device appears",
)
def test_no_device(scratch: Scratch, claims: Claims) -> None:
    missing = str(scratch.directory / "missing")
    for arguments in ([missing], ["--daemon", "--foreground", missing], ["--daemon", missing]):
        ended = scratch.command(*arguments)
        assert ended.returncode == 1
        assert ended.stderr.count("\n") == 1
        claims.saw(ended.stderr)
        quiet = scratch.command("--ignorenodev", *arguments)
        assert (quiet.returncode, quiet.stdout, quiet.stderr) == (0, "", "")
    claims.kept(scratch.state.exists(), False)
    units = Path(__file__).parents[2] / "data"
    assert "ConditionPathExists=|/dev/mcelog" in (units / "mcelog.service").read_text()
    claims.recovered("PathExists=/dev/mcelog" in (units / "mcelog.path").read_text())


@pytest.mark.parametrize(
    ("device", "message"),
    [("/dev/null", "no machine-check device"), ("/", "it is a directory")],
)
def test_what_is_no_source(scratch: Scratch, device: str, message: str) -> None:
    ended = scratch.command("--daemon", "--foreground", device)
    assert ended.returncode == 1
    assert message in ended.stderr
    assert "Traceback" not in ended.stderr
