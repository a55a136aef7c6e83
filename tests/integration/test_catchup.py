# SPDX-License-Identifier: GPL-2.0-only
"""Machine checks from before, through the real daemon: told once, counted once, acted upon never."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd import message_ids
from mcelogd.assembly import make_books, make_pipeline
from mcelogd.catchup import CatchUp, Places
from mcelogd.cpu import GENERIC
from mcelogd.dimms.names import DimmNames
from mcelogd.pipeline import CpuChoice, Everyone
from mcelogd.record import LENGTH, MceRecord, layout, pack
from mcelogd.settings import Settings
from mcelogd.spool import Spool

from .conftest import Scratch, memory_error, wait_for
from .ctl_peers import journal
from .journal_peer import Fields, Peer

if TYPE_CHECKING:
    from collections.abc import Iterator

BOOT = Path("/proc/sys/kernel/random/boot_id").read_text().strip().replace("-", "")
NOW = int(time.time())
KILLS = min(10, int(os.environ.get("MCELOG_KILLS", "5")))
BEFORE = 10
"""Records in the kernel's log: as many as cross the DIMM's threshold of the scratch configuration."""


def printed(record: MceRecord) -> tuple[str, ...]:
    """As the kernel writes it out."""
    return (
        f"mce: [Hardware Error]: CPU {record.cpu}: Machine Check: 0 Bank {record.bank}: {record.status:016x}",
        f"mce: [Hardware Error]: TSC {record.tsc:x} ADDR {record.addr:x} MISC {record.misc:x} ",
        f"mce: [Hardware Error]: PROCESSOR 0:{record.cpuid:x} TIME {record.time} SOCKET {record.socketid}"
        f" APIC {record.apicid:x} microcode d0003a5",
    )


def error(number: int, **changes: int) -> MceRecord:
    known = {"tsc": 1000 + number, "time": NOW - 100 + number, **changes}
    return layout(LENGTH).parse(memory_error(number, **known))


class Machine:
    """A scratch daemon with a journal of this boot, a pstore, and a socket in the place of journald's."""

    def __init__(self, scratch: Scratch) -> None:
        self.scratch = scratch
        self.journal = scratch.directory / "kernel"
        self.pstore = scratch.directory / "pstore"
        self.pstore.mkdir()
        self.peer = Peer(str(scratch.directory / "journal"))
        self.heard: list[Fields] = []
        self.tell([line for number in range(BEFORE) for line in printed(error(number))])
        places = f"earlier-journal = {self.journal}\nearlier-pstore = {self.pstore}\n"
        scratch.config.write_text(places + scratch.config.read_text())

    def tell(self, lines: list[str]) -> None:
        """The kernel's messages of this boot are these."""
        self.journal.mkdir(exist_ok=True)
        for old in self.journal.iterdir():
            old.unlink()
        with journal(self.journal) as one:
            for number, line in enumerate(["Linux version 6.12", *lines]):
                one.add(line, number, _TRANSPORT="kernel", SYSLOG_FACILITY="0", _BOOT_ID=BOOT, PRIORITY="0")

    def entries(self, message_id: str, count: int = 0) -> list[Fields]:
        """Those that there are, as soon as there are so many."""

        def found() -> list[Fields]:
            self.heard += self.peer.read()
            return [one for one in self.heard if one.get("MESSAGE_ID") == message_id.encode()]

        wait_for(lambda: len(found()) >= count, f"{count} entries")
        return found()

    def memory_errors(self, count: int = 0) -> list[Fields]:
        return self.entries(message_ids.CORRECTED_MEMORY_ERROR, count)

    def is_done(self) -> bool:
        """Whether all of it is in the store."""
        self.heard += self.peer.read()
        return self.seen() is not None and not list((self.scratch.state / "earlier").glob("spool-*"))

    def seen(self) -> str | None:
        """The files of pstore that were read."""
        found = self.scratch.query("SELECT value FROM state WHERE name = 'earlier_seen'")
        return str(found[0][0]) if found else None

    def start(self) -> None:
        self.scratch.start()
        wait_for(self.is_done, "the records of before", 60)

    def totals(self) -> list[int]:
        (row,) = self.scratch.query("SELECT value FROM state WHERE name = 'totals'")
        return [int(number) for number in str(row[0]).split()]


@pytest.fixture
def machine(scratch: Scratch) -> Iterator[Machine]:
    made = Machine(scratch)
    yield made
    made.peer.stop()


def test_the_kernels_log_of_this_boot(machine: Machine) -> None:
    machine.scratch.send(pack(error(3)) + pack(error(7)) + memory_error(100))
    machine.start()
    assert machine.scratch.stored() == BEFORE + 1
    assert machine.totals()[:4] == [BEFORE + 1, 0, BEFORE + 1, 0]
    told = machine.memory_errors(BEFORE + 1)
    assert [one.get("MCE_ORIGIN") for one in told] == [None] * 3 + [b"kernel-log"] * (BEFORE - 2)
    assert {one["MCE_MARKS"] for one in told[3:]} == {b"kernel-log"}
    assert all(one["MESSAGE"].endswith(b", found in the kernel's log") for one in told[3:])
    addresses = sorted(int(one["MCE_ADDR"], 16) >> 12 for one in told)
    assert addresses == [*range(BEFORE), 100]
    stored = machine.scratch.query(
        "SELECT origin, count(*), min(summary LIKE '%kernel''s log') FROM events"
        " GROUP BY origin ORDER BY origin"
    )
    assert stored == [("", 3, 0), ("kernel-log", BEFORE - 2, 1)]


def test_a_restart_finds_nothing_new(machine: Machine) -> None:
    dump = machine.pstore / f"mce-erst-{(NOW - 900 << 32) + 1}"
    dump.write_bytes(pack(error(50, status=0xBE00000000800400, mcgstatus=5, bank=3)))
    machine.start()
    assert machine.scratch.stored() == BEFORE + 1
    assert len(machine.memory_errors(BEFORE)) == BEFORE
    (panic,) = machine.entries(message_ids.INTERNAL_ERROR, 1)
    assert (panic["MCE_ORIGIN"], panic["MCE_SEVERITY"]) == (b"pstore", b"fatal")
    machine.scratch.stop()
    # systemd-pstore moves files.
    dump.rename(machine.pstore / f"mce-erst-{(NOW - 900 << 32) + 2}")
    seen = machine.seen()
    machine.scratch.start()
    wait_for(lambda: machine.seen() != seen, "the second look")
    assert len(machine.memory_errors()) == BEFORE
    assert len(machine.entries(message_ids.INTERNAL_ERROR)) == 1
    assert machine.scratch.stored() == BEFORE + 1


def test_what_crossed_a_threshold_is_told_and_not_acted_upon(machine: Machine) -> None:
    ran = machine.scratch.directory / "ran"
    script = machine.scratch.directory / "trigger"
    script.write_text(f"#!/bin/sh\necho $THRESHOLD >> {ran}\n")
    script.chmod(0o755)
    config = machine.scratch.config
    text = config.read_text().replace("[dimm]\n", f"[dimm]\nce-error-trigger = {script}\n")
    config.write_text(text + "[trigger]\ndirectory = /\n")
    machine.start()
    assert machine.entries(message_ids.THRESHOLD_EXCEEDED, 1)
    time.sleep(0.3)
    assert not ran.exists()
    # Now that errors come it is acted upon as ever.
    machine.scratch.send(b"".join(pack(error(200 + number, time=NOW)) for number in range(BEFORE)))
    wait_for(ran.exists, "the trigger")


def test_killed_again_and_again(machine: Machine) -> None:
    """Each time it has told some more: nothing is told or counted twice but what was being told at a kill."""
    many = 150
    machine.tell([line for number in range(many) for line in printed(error(number))])
    machine.scratch.config.write_text("storm-threshold = off\n" + machine.scratch.config.read_text())
    chance = random.Random(3)
    for _ in range(KILLS):
        process = machine.scratch.start(wait=False)
        enough = min(many, len(machine.memory_errors()) + chance.randint(1, 20))
        end = time.monotonic() + 2
        while len(machine.memory_errors()) < enough and time.monotonic() < end:
            pass
        process.send_signal(signal.SIGKILL)
        process.communicate()
    machine.start()
    machine.scratch.stop()
    told = [(int(one["MCE_EVENT_ID"]), int(one["MCE_ADDR"], 16) >> 12) for one in machine.memory_errors()]
    # What waited for the journal's socket at a kill is in the store alone.
    assert set(told) <= {(number + 1, number) for number in range(many)}
    assert len(told) <= len(set(told)) + KILLS
    assert machine.totals()[:4] == [many, 0, many, 0]
    assert machine.scratch.query("SELECT count(DISTINCT record) FROM events") == [(many,)]


def test_what_was_told_but_not_stored_is_stored_only(machine: Machine) -> None:
    """Killed in the instant between."""
    directory = machine.scratch.state / "earlier"
    directory.mkdir(parents=True)
    spool = Spool.create(directory, 1, LENGTH)
    spool.put(b"".join(pack(as_printed(error(number))) for number in range(BEFORE)))
    list(spool.take(4))
    spool.mark_told()
    machine.start()
    assert machine.scratch.stored() == BEFORE
    assert len(machine.memory_errors(BEFORE - 4)) == BEFORE - 4


def test_killed_before_it_could_forget_it_forgets_at_the_next_start(machine: Machine) -> None:
    machine.start()
    machine.scratch.stop()
    directory = machine.scratch.state / "earlier"
    assert not directory.exists()
    directory.mkdir()
    Spool.create(directory, 1, LENGTH).put(pack(as_printed(error(0))))
    machine.scratch.start()
    wait_for(lambda: not directory.exists(), "the end of what it remembers")
    assert machine.scratch.stored() == BEFORE


def as_printed(record: MceRecord) -> MceRecord:
    """The record as it comes out of the text."""
    return record._replace(cpu8=0, mcgcap=0, microcode=0xD0003A5)


def test_it_can_be_switched_off(machine: Machine) -> None:
    config = machine.scratch.config
    config.write_text("earlier-records = no\n" + config.read_text())
    machine.scratch.start()
    machine.scratch.send(memory_error(1))
    machine.scratch.wait_stored(1)
    time.sleep(0.5)
    assert machine.scratch.stored() == 1
    assert not machine.scratch.query("SELECT value FROM state WHERE name LIKE 'earlier%'")


def test_nobodys_kernel_log_goes_with_a_fifo(scratch: Scratch) -> None:
    """What comes out of one may be another machine's."""
    scratch.start()
    scratch.send(memory_error(1))
    scratch.wait_stored(1)
    time.sleep(0.3)
    assert not scratch.query("SELECT value FROM state WHERE name LIKE 'earlier%'")


@pytest.mark.parametrize(("lines", "warned"), [(1, False), (3, True)])
def test_the_kernel_told_of_more_than_came(machine: Machine, lines: int, *, warned: bool) -> None:
    machine.tell(["mce: [Hardware Error]: Machine check events logged"] * lines)
    machine.scratch.send(memory_error(1))
    machine.start()
    missing = machine.entries(message_ids.RECORDS_MISSING)
    assert [(one["MCE_TOLD"], one["MCE_RECEIVED"]) for one in missing] == [(b"3", b"1")] * warned
    # What was read before the restart counts.
    machine.scratch.send(memory_error(2))
    machine.scratch.wait_stored(2)
    machine.scratch.stop()
    machine.entries(message_ids.SERVICE_STOPPED, 1)
    machine.heard.clear()
    machine.scratch.start()
    time.sleep(1)
    assert machine.entries(message_ids.RECORDS_MISSING) == []


class Flushed:
    """A store that has nothing to write."""

    def flush(self, timeout: float) -> bool:
        return timeout > 0


def test_what_the_kernel_tells_of_later(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    """The hourly look goes by what is new; the same shortfall is told once."""
    line = "mce: [Hardware Error]: Machine check events logged"
    settings = Settings.load()
    names = DimmNames(GENERIC)
    pipeline = make_pipeline(
        settings, CpuChoice(None, GENERIC), names, make_books(settings, names), Everyone(), Everyone()
    )
    catch_up = CatchUp(
        Places([], tmp_path), tmp_path, BOOT, {}, pipeline, lambda _: None, Flushed(), lambda call: call()
    )

    def tell(name: str, *seconds: int) -> None:
        """The kernel does so, so many seconds from now."""
        now = int(time.time()) - 1_795_374_194
        with journal(tmp_path, name) as one:
            for at in seconds:
                one.add(line, now + at, _TRANSPORT="kernel", SYSLOG_FACILITY="0", _BOOT_ID=BOOT)

    def told() -> list[str]:
        return [str(vars(one)["MCE_TOLD"]) for one in caplog.records if "MCE_TOLD" in vars(one)]

    async def idle() -> None:
        while catch_up.is_busy:  # noqa: ASYNC110  # a thread, which knows no asyncio.Event
            await asyncio.sleep(0.01)
        await asyncio.sleep(0)

    async def go() -> None:
        tell("first", -9, -8, -7)
        pipeline.take(layout(LENGTH), memory_error(1))
        pipeline.take(layout(LENGTH), memory_error(2))
        catch_up.start(asyncio.get_running_loop())
        await idle()
        assert told() == []
        tell("later", 2, 2)
        await asyncio.sleep(3)
        for _ in range(2):
            catch_up.look()
            await idle()
        assert told() == ["5"]

    asyncio.run(go())
