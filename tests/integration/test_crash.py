# SPDX-License-Identifier: GPL-2.0-only
"""kill -9 at random points under load: every record read is stored, and counted exactly once.

MCELOG_KILLS says how often (default 20).
"""

from __future__ import annotations

import os
import random
import signal
import threading
import time

from mcelogd.record import LENGTH, layout
from mcelogd.spool import Spool

from .conftest import Scratch, memory_error

KILLS = int(os.environ.get("MCELOG_KILLS", "20"))


class Feeder(threading.Thread):
    """Writes numbered records in bursts until it is told to stop."""

    def __init__(self, scratch: Scratch) -> None:
        super().__init__(daemon=True)
        self.scratch = scratch
        self.sent = 0
        self.stop = threading.Event()

    def run(self) -> None:
        chance = random.Random(1)
        while not self.stop.wait(chance.choice((0, 0.001, 0.01, 0.05))):
            burst = chance.choice((1, 3, 32, 200))
            self.scratch.send(b"".join(memory_error(self.sent + n) for n in range(burst)))
            self.sent += burst


def test_kill_at_random_points(scratch: Scratch) -> None:
    chance = random.Random(2)
    feeder = Feeder(scratch)
    feeder.start()
    for _ in range(KILLS):
        process = scratch.start(wait=False)
        time.sleep(chance.uniform(0.05, 0.7))
        process.send_signal(signal.SIGKILL)
        process.communicate()
    feeder.stop.set()
    scratch.start()
    feeder.join()
    scratch.wait_stored(feeder.sent)
    scratch.stop()

    records = [
        layout(LENGTH).parse(bytes(row[0])) for row in scratch.query("SELECT record FROM events ORDER BY id")
    ]  # type: ignore[arg-type]  # sqlite3 gives object
    numbers = [record.addr >> 12 for record in records]
    assert numbers == list(range(feeder.sent)), "records lost, doubled or out of order"
    totals = str(scratch.query("SELECT value FROM state WHERE name = 'totals'")[0][0]).split()
    assert totals[:4] == [str(feeder.sent), "0", str(feeder.sent), "0"]
    counted = scratch.query("SELECT ce_total FROM memory WHERE channel = -1 AND dimm = -1")
    assert counted == [(feeder.sent,)]


def test_a_stop_in_between_loses_nothing_and_counts_nothing_twice(scratch: Scratch) -> None:
    for part in range(3):
        scratch.start()
        scratch.send(b"".join(memory_error(part * 100 + n) for n in range(100)))
        scratch.wait_stored(part * 100 + 1)
        scratch.stop()
    scratch.start()
    scratch.wait_stored(300)
    shown = scratch.command("--client").stdout
    assert "\t300 total\n" in shown
    scratch.stop()
    assert scratch.stored() == 300


def test_a_file_goes_on_after_what_the_spool_holds(scratch: Scratch) -> None:
    """Killed after reading 60 of 100 records of a file, before anything was stored."""
    records = scratch.directory / "records"
    records.write_bytes(b"".join(memory_error(n) for n in range(100)))
    status = records.stat()
    scratch.state.mkdir()
    origin = f"{status.st_dev}:{status.st_ino}"
    spool = Spool.create(scratch.state, 1, LENGTH, origin=origin)
    with records.open("rb") as file:
        spool.read_from(file.fileno(), 60 * LENGTH)
    scratch.start(device=str(records))
    scratch.wait_stored(100)
    time.sleep(0.2)
    scratch.stop()
    assert scratch.stored() == 100
