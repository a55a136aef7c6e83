# SPDX-License-Identifier: GPL-2.0-only
"""How soon an error is told, and what a burst costs, beside the C program; figures stand in the logs.

The C program is not ours to ship: MCELOG_C names one, linked statically; without it ours is measured alone.
"""

from __future__ import annotations

import operator
import os
import shutil
import statistics
import time
from pathlib import Path
from typing import TYPE_CHECKING

from guest import mce, service
from guest.journal import wait_for_entries
from guest.registry import Skip, scenario
from guest.service import UNIT, message_id
from guest.shell import run, wait_for
from scenarios.durability import BASE, PAGE, count_stored

if TYPE_CHECKING:
    from collections.abc import Callable

SHARED = Path("/vm/peer")
PROGRAM = Path("/run/peer")
PEER = "peer.service"
PEER_LOG = Path("/run/peer.log")
ONE_RECORD = "Hardware event."
"""What each record begins with in the C program's log."""

PROBES = 100 if SHARED.exists() else 20
BURSTS = (32, 1000, 10_000)
ROUNDS = 5
SETTLED = 4
"""Seconds in which no record arrives any more."""


@scenario(device=True, limit=300)
def soon_in_the_journal() -> None:
    """From the injection to journald's time stamp."""
    if SHARED.exists():
        _start_peer("--syslog")
        theirs = _latencies(f"_SYSTEMD_UNIT={PEER}", "MESSAGE", lambda text: text.rpartition("ADDR ")[2])
        print(f"C program: {_shown(theirs)}", flush=True)
        run("systemctl", "stop", PEER)
    service.configure("storm-threshold = off")
    service.start()
    ours = _latencies(message_id("CORRECTED_MEMORY_ERROR"), "MCE_ADDR", str)
    print(f"mcelog: {_shown(ours)}", flush=True)
    assert statistics.median(ours) < 1.0


@scenario(device=True, limit=900)
def a_burst_beside_the_c_program() -> None:
    """No more is lost than the C program loses."""
    if not SHARED.exists():
        raise Skip("no C program; MCELOG_C names one to compare with")
    _start_peer("--logfile", str(PEER_LOG))
    wait_for(_count_logged, "the first record in the log")
    theirs = [_lost(count, _count_logged) for count in BURSTS]
    run("systemctl", "stop", PEER)
    service.start()
    ours = [_lost(count, count_stored) for count in BURSTS]
    print(f"sent {BURSTS}\nlost by the C program {theirs}\nlost by mcelog {ours}", flush=True)
    assert all(map(operator.le, ours, theirs))


def _start_peer(*options: str) -> None:
    """Nothing but errors of before is in the log then."""
    shutil.copy(SHARED, PROGRAM)
    PROGRAM.chmod(0o755)
    service.stop(UNIT, "mcelog.socket", "mcelog.path")
    PEER_LOG.unlink(missing_ok=True)
    command = (str(PROGRAM), "--daemon", "--foreground", "--config-file", "/dev/null")
    run("systemd-run", f"--unit={PEER}", *command, *options)
    wait_for(lambda: service.is_active(PEER), PEER)
    mce.send_raw(mce.RECORD)
    wait_for(lambda: not mce.pending(), "the first record to be read")


def _latencies(match: str, field: str, address: Callable[[str], str]) -> list[float]:
    """Seconds, least first."""
    sent = {}
    for number in range(PROBES):
        where = BASE + number * PAGE
        sent[where] = time.time()
        mce.send_raw(mce.RECORD | {"addr": where})
        time.sleep(0.2)
    took: dict[int, float] = {}
    for entry in wait_for_entries(match, count=PROBES, limit=60):
        text = address(str(entry[field])).split()
        if text and (found := _number(text[0])) in sent:
            took.setdefault(found, int(entry["__REALTIME_TIMESTAMP"]) / 1e6 - sent[found])
    assert len(took) == PROBES, f"{len(took)} of {PROBES} were told"
    return sorted(took.values())


def _number(text: str) -> int:
    try:
        return int(text, 16)
    except ValueError:
        return -1


def _shown(took: list[float]) -> str:
    most = took[len(took) * 99 // 100 - 1]
    return (
        f"median {statistics.median(took) * 1000:.1f} ms, 99th percentile {most * 1000:.1f} ms of {len(took)}"
    )


def _lost(count: int, arrived: Callable[[], int]) -> float:
    """The median of some rounds: what else the host does decides about each."""
    lost = []
    for _ in range(ROUNDS):
        before = arrived()
        seconds = _send(count)
        lost.append(count - (_settled(arrived) - before))
        print(f"{count} sent in {seconds:.3f} s, {lost[-1]} lost", flush=True)
    return statistics.median(lost)


def _send(count: int) -> float:
    """As fast as one process can; how long it took."""
    tool = mce.tool()
    packed = [tool.pack(mce.RECORD | {"addr": BASE + number * PAGE}) for number in range(count)]
    node = os.open(tool.RAW, os.O_WRONLY)
    begin = time.monotonic()
    for record in packed:
        os.write(node, record)
    took = time.monotonic() - begin
    os.close(node)
    return took


def _count_logged() -> int:
    return PEER_LOG.read_text(errors="replace").count(ONE_RECORD) if PEER_LOG.exists() else 0


def _settled(count: Callable[[], int]) -> int:
    """The count once it does not change any more."""
    last, since = count(), time.monotonic()
    while time.monotonic() - since < SETTLED:
        time.sleep(0.5)
        if (now := count()) != last:
            last, since = now, time.monotonic()
    return last
