# SPDX-License-Identifier: GPL-2.0-only
"""Nothing that was read is lost, and nothing counts twice, however the daemon ends."""

from __future__ import annotations

import random
import signal
import sqlite3
import threading
import time
from collections import Counter
from contextlib import closing, contextmanager
from os import kill
from typing import TYPE_CHECKING

from guest import mce, service
from guest.journal import entries, wait_for_entries
from guest.registry import scenario
from guest.service import UNIT, message_id
from guest.shell import run, wait_for

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

BASE = 0x4C0000000
PAGE = 4096
IN_FLIGHT = 24
"""Records on their way at most: the kernel keeps 32, so none is lost before it was read."""


class Feeder:
    """Injects numbered records, at most as fast as they are stored: the kernel's log never overflows."""

    def __init__(self, pause: float = 0.002) -> None:
        """`pause`: seconds between two records."""
        self.sent = 0
        self._pause = pause
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._feed)

    def _feed(self) -> None:
        while not self._stop.is_set():
            room = count_stored() + IN_FLIGHT - self.sent
            for _ in range(room):
                mce.send_raw(mce.RECORD | {"addr": BASE + self.sent * PAGE})
                self.sent += 1
                time.sleep(self._pause)
            time.sleep(0.05)

    def wait_for_flow(self) -> None:
        """Wait until records were read since now: the daemon is at work."""
        goal = self.sent + IN_FLIGHT
        wait_for(lambda: self.sent > goal, "records to flow", 60)

    @contextmanager
    def running(self) -> Iterator[None]:
        self._thread.start()
        try:
            yield
        finally:
            self._stop.set()
            self._thread.join()


def count_stored() -> int:
    try:
        with closing(sqlite3.connect(f"file:{service.DATABASE}?mode=ro", uri=True, timeout=30)) as database:
            (count,) = database.execute("SELECT count(*) FROM events").fetchone()
    except sqlite3.OperationalError:
        return 0
    return int(count)


def _interrupt(times: int, how: Callable[[], None]) -> int:
    """Feed records and interrupt the daemon at random moments; how many records were sent."""
    service.drop_in("Unit", "StartLimitIntervalSec=0")
    service.drop_in("Service", "RestartSec=100ms")
    service.configure(EACH_ONE)
    service.start()
    feeder = Feeder()
    chance = random.Random(times)
    with feeder.running():
        for _ in range(times):
            feeder.wait_for_flow()
            time.sleep(chance.random())
            how()
    print(f"{feeder.sent} records sent over {times} interruptions", flush=True)
    service.wait_for_stored(feeder.sent)
    return feeder.sent


def _kept_once(sent: int) -> None:
    """Every record is in the store once, and counted once."""
    wanted = Counter(BASE + number * PAGE for number in range(sent))
    found = Counter(one["addr"] for one in service.stored())
    assert not entries(message_id("RECORDS_LOST")), "the feeder let the kernel overflow: no valid test"
    assert found == wanted, f"in the store too often: {found - wanted}, too rarely: {wanted - found}"
    wait_for(lambda: f"{sent} total" in service.client(), "the client's count")


def _told(sent: int) -> Counter[int]:
    """How often the journal has each record, by number; each is there."""
    found = wait_for_entries(message_id("CORRECTED_MEMORY_ERROR"), count=sent)
    told = Counter((int(entry["MCE_ADDR"], 16) - BASE) // PAGE for entry in found)
    never = [number for number in range(sent) if number not in told]
    assert not never, f"not in the journal: {never}"
    return told


EACH_ONE = "storm-threshold = off"
"""An entry of its own for every record, however many there are."""


@scenario(limit=300)
def restart_under_load() -> None:
    """systemctl restart while records pour in: all in store and journal once."""
    sent = _interrupt(3, _restart)
    _kept_once(sent)
    assert not _twice(_told(sent))


def _restart() -> None:
    run("systemctl", "restart", UNIT, limit=100)


@scenario(limit=300)
def sigkill_under_load() -> None:
    """SIGKILL while records pour in: all in the store once, none missing in the journal."""
    sent = _interrupt(5, _kill_and_wait)
    _kept_once(sent)
    twice = _twice(_told(sent))
    print(f"twice in the journal: {twice}", flush=True)


def _kill_and_wait() -> None:
    pid = service.main_pid()
    kill(pid, signal.SIGKILL)
    service.wait_for_successor(pid)


def _twice(told: Counter[int]) -> list[int]:
    return sorted(number for number, count in told.items() if count > 1)


@scenario(limit=120)
def killed_right_after_reading() -> None:
    """Killed before it could do anything with a burst it has just read: in the store once."""
    _kill_after_reading()
    _kept_once(30)


@scenario(limit=120)
def journal_once_after_sigkill() -> None:
    """Killed between telling the journal and storing: not told again."""
    _kill_after_reading()
    twice = _twice(_told(30))
    assert not twice, f"twice in the journal: {twice}"


def _kill_after_reading() -> None:
    service.configure(EACH_ONE)
    service.start()
    pid = service.main_pid()
    kill(pid, signal.SIGSTOP)
    for number in range(30):
        mce.send_raw(mce.RECORD | {"addr": BASE + number * PAGE})
    wait_for(mce.pending, "the burst to be in the kernel's log")
    kill(pid, signal.SIGCONT)
    wait_for(lambda: not mce.pending(), "the burst to be read", 10)
    kill(pid, signal.SIGKILL)
    service.wait_for_successor(pid)
    service.wait_for_stored(30)
