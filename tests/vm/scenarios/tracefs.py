# SPDX-License-Identifier: GPL-2.0-only
"""Kernels without /dev/mcelog: the trace event, its buffers, and what may be wrong with them."""

from __future__ import annotations

import os
import signal
import time
from os import kill
from pathlib import Path

from guest import mce, service
from guest.journal import wait_for_entries
from guest.registry import Skip, scenario
from guest.service import PROGRAM, UNIT, message_id
from guest.shell import run, wait_for
from scenarios.durability import BASE, PAGE, count_stored
from scenarios.smoke import EVERY_FIELD

BURST = 10_000
NEVER = ("inject_flags", "severity")
CPU1 = Path("/sys/devices/system/cpu/cpu1/online")


def _stats() -> dict[str, int]:
    """What the kernel counts of the instance's buffers, all CPUs together."""
    total: dict[str, int] = {}
    for path in mce.INSTANCE.glob("per_cpu/cpu*/stats"):
        for line in path.read_text().splitlines():
            name, _, value = line.partition(":")
            if value.strip().isdecimal():
                total[name] = total.get(name, 0) + int(value)
    return total


@scenario(tracefs=True)
def every_field_arrives() -> None:
    """All that the event has; microcode and PPIN where the kernel is new enough."""
    mce.inject(EVERY_FIELD)
    service.start()
    (record,) = service.wait_for_stored(1)
    print((mce.EVENT / "format").read_text(), flush=True)
    expected = {name: value for name, value in EVERY_FIELD.items() if name not in NEVER}
    expected |= dict.fromkeys(mce.lacking(), 0)
    assert {name: record[name] for name in expected} == expected
    assert record["time"] == EVERY_FIELD["time"]


@scenario(tracefs=True, limit=600)
def a_burst_loses_nothing() -> None:
    """10,000 records in one go into a running daemon: what the ring kept is stored, the rest is counted."""
    service.start()
    _send(BURST)
    _assert_accounted()


@scenario(tracefs=True, limit=300)
def what_was_overwritten_is_counted() -> None:
    """The daemon sleeps through more than the buffers hold."""
    service.configure("trace-buffer-size = 64")
    mce.drain()
    service.start()
    pid = service.main_pid()
    kill(pid, signal.SIGSTOP)
    # A few at a time: of many at once a slow kernel drops most before they are traced.
    wait_for(_send_until_overwritten, "a record to be overwritten")
    kill(pid, signal.SIGCONT)
    assert _assert_accounted() > 0
    entries = wait_for_entries(message_id("RECORDS_LOST"))
    assert sum(int(entry["MCE_LOST"]) for entry in entries) == _stats()["overrun"]
    assert service.main_pid() == pid


def _send(count: int) -> None:
    for number in range(count):
        mce.send_raw(mce.RECORD | {"addr": BASE + number * PAGE})


def _send_until_overwritten() -> bool:
    _send(50)
    return _stats()["overrun"] > 0


def _when_settled() -> dict[str, int]:
    """The buffers are empty, and the kernel has nothing more to put there: it lags behind what is sent."""
    before = _stats()
    time.sleep(1)
    after = _stats()
    return after if after == before and not mce.pending() else {}


def _assert_accounted() -> int:
    """Every record that reached the buffers is stored, or told to be lost; how many are."""
    stats = wait_for(_when_settled, "the buffers to be read", 300)
    print(stats, flush=True)
    assert stats["read events"] > 0
    wait_for(lambda: count_stored() >= stats["read events"], "the records in the store", 300)
    assert count_stored() == stats["read events"]
    lost = f"{stats['overrun']} lost"
    wait_for(lambda: lost in service.prop("StatusText"), lost)
    assert stats["dropped events"] == 0
    return stats["overrun"]


@scenario(tracefs=True, limit=120)
def buffered_while_away() -> None:
    """Stopped, or killed: the kernel goes on buffering for us, and the next start has it all."""
    service.start()
    service.stop()
    _send(5)
    assert mce.pending()
    service.start()
    service.wait_for_stored(5)
    run("systemctl", "kill", "-s", "KILL", UNIT)
    _send(5)
    wait_for(lambda: count_stored() == 10, "all of them", 60)


@scenario(tracefs=True)
def removed_by_cleanup() -> None:
    """mcelog --cleanup, as purging the package runs it: not under a running daemon, and twice if need be."""
    service.start()
    busy = run(PROGRAM, "--cleanup", check=False)
    assert (busy.returncode, busy.stdout) == (1, "")
    assert "stop mcelog first" in busy.stderr, busy.stderr
    service.stop()
    assert mce.INSTANCE.is_dir()
    for _ in range(2):
        run(PROGRAM, "--cleanup")
        assert not mce.INSTANCE.exists()


@scenario(tracefs=True, limit=120)
def a_cpu_comes_and_goes() -> None:
    """What a CPU reported before it went is read; one that comes back is heard again."""
    if not CPU1.exists():
        raise Skip("there is no CPU that can be taken offline")
    service.start()
    _send_on(1)
    service.wait_for_stored(1)
    pid = service.main_pid()
    kill(pid, signal.SIGSTOP)
    try:
        _send_on(1)
        CPU1.write_text("0")
        kill(pid, signal.SIGCONT)
        service.wait_for_stored(2)
        ticks = _ticks(pid)
        run("sleep", "3")
        assert _ticks(pid) - ticks < 50, "it does not wait, but asks again and again"
        CPU1.write_text("1")
        _send_on(1)
        service.wait_for_stored(3)
    finally:
        CPU1.write_text("1")
        kill(pid, signal.SIGCONT)
    assert service.main_pid() == pid


@scenario(tracefs=True, append="maxcpus=1", limit=120)
def a_cpu_that_was_never_there_comes() -> None:
    """Its buffer is opened when there is something in it; until then it costs nothing."""
    service.start()
    ticks = _ticks(service.main_pid())
    run("sleep", "3")
    assert _ticks(service.main_pid()) - ticks < 50
    CPU1.write_text("1")
    _send_on(1)
    service.wait_for_stored(1)


def _send_on(cpu: int) -> None:
    """The kernel reports it from there, so it is in that CPU's buffer."""
    everywhere = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {cpu})
    try:
        mce.send_raw(mce.RECORD)
    finally:
        os.sched_setaffinity(0, everywhere)


def _ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@scenario()
def the_trace_event_by_choice() -> None:
    """source = tracefs, also on a kernel that has /dev/mcelog: read there, and not from both."""
    service.configure("source = tracefs")
    service.start()
    assert str(mce.INSTANCE) in service.prop("StatusText")
    mce.inject(mce.RECORD, "--count", "3", "--step", "addr=4096")
    service.wait_for_stored(3)
    assert "3 total" in service.client()
    assert len(service.stored()) == 3


@scenario(limit=120)
def what_is_wrong_is_said() -> None:
    """tracefs that is not mounted, has another reader, or a size that cannot be: one line each."""
    tracefs = ("--source", "tracefs")
    run("systemctl", "stop", mce.TRACEFS_MOUNT)
    try:
        _assert_says("mount -t tracefs", *tracefs)
    finally:
        run("systemctl", "start", mce.TRACEFS_MOUNT)
    _assert_says("tracefs is not mounted at /nowhere", *tracefs, "--tracefs-root", "/nowhere")
    run(PROGRAM, *tracefs, "--prepare-source")
    with (mce.INSTANCE / "trace_pipe").open():
        _assert_says("another program reads it", *tracefs)
    run(PROGRAM, *tracefs)


def _assert_says(words: str, *options: str) -> None:
    done = run(PROGRAM, *options, check=False)
    assert (done.returncode, done.stdout) == (1, "")
    (line,) = done.stderr.strip().splitlines()
    assert words in line, line


@scenario(tracefs=True, append="lockdown=confidentiality", limit=120)
def a_locked_down_kernel() -> None:
    """It shows no traces: said by the daemon, and by doctor."""
    said = run(PROGRAM, "--source", "tracefs", check=False)
    assert said.returncode == 1
    assert "lockdown=confidentiality" in said.stderr, said.stderr
    found = run("mcelogctl", "doctor", check=False, limit=100).stdout
    assert "lockdown=integrity instead" in found, found
