# SPDX-License-Identifier: GPL-2.0-only
"""The daemon acts: triggers and off-lining, on a scratch sysfs."""

from __future__ import annotations

import contextlib
import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd.message_ids import TRIGGER_FAILED

from . import acting
from .acting import Acting, OfflineFile, children_of, own_proc
from .conftest import wait_for
from .reliability import Claims, Part, fault

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Acting]:
    with acting.bench_in(tmp_path) as bench:
        yield bench


CACHES = [acting.cache(1, 1, 1, 1), acting.cache(1, 1, 1, 2), acting.cache(1, 2, 2, 2)]
DIMMS = [acting.memory(1, 0, 2), acting.memory(2, 0, 3)]
PAGES = [
    acting.page(0x1111),
    acting.page(0x1111, 1, 1, 5),
    acting.page(0x1111),
    *(acting.page(frame) for frame in (0x2222, 0x3333, 0x4444)),
]
MANY_PAGES = [*PAGES, *(acting.page(frame) for frame in range(0x5000, 0x5096))]
COMPOUND = [0x9C00000000000E0B, 0x9C0000000000040B]
UNKNOWN = [acting.memory(0, 0, status=status, misc=0xABCDEF, addr=0xABCD, bank=1) for status in COMPOUND]

ON_DIMM = """
ce-error-trigger = trigger
ce-error-threshold = {} / 1min
uc-error-trigger = trigger
uc-error-threshold = 1 / 1min
"""
ON_SOCKET = """
[socket]
socket-tracking-enabled = yes
mem-ce-error-trigger = trigger
mem-ce-error-threshold = {} / 1min
mem-uc-error-trigger = trigger
mem-uc-error-threshold = 1 / 1min
"""
DIMM = "[dimm]\ndimm-tracking-enabled = yes"
PAGE = "[page]\nmemory-ce-trigger = trigger\nmemory-ce-threshold = {} / 1h\nmemory-ce-action = {}\n"
REPLACED = """
max-corr-err-counters = 126
[page]
memory-ce-action = account
memory-ce-counter-replacement-threshold = 20 / 1h
memory-ce-counter-replacement-trigger = trigger
"""
OTHERS = """
[socket]
bus-uc-threshold-trigger = trigger
iomca-threshold-trigger = trigger
unknown-threshold-trigger = trigger
"""
FORCED = "cpu = nehalem\n"
ALL = FORCED + "filter-memory-errors = yes\n"

CONFIGURATIONS = [
    ("cache", "[cache]\ncache-threshold-trigger = trigger\n", CACHES, 2),
    ("unknown", OTHERS, UNKNOWN, 3),
    ("memdb-1", ALL + DIMM + ON_DIMM.format(1), DIMMS, 2),
    ("memdb-2", FORCED + DIMM + ON_DIMM.format(2), DIMMS, 0),
    ("socket-1", FORCED + DIMM + ON_SOCKET.format(1), DIMMS, 2),
    ("socket-2", FORCED + DIMM + ON_SOCKET.format(2), DIMMS, 1),
    ("socket-memdb", FORCED + DIMM + ON_SOCKET.format(1) + DIMM + ON_DIMM.format(1), DIMMS, 4),
    ("page-account", PAGE.format(2, "account"), PAGES, 1),
    ("page-off", PAGE.format(2, "off"), PAGES, 0),
    ("page-soft", PAGE.format(2, "soft"), PAGES, 1),
    ("page-hard", PAGE.format(2, "hard"), PAGES, 1),
    ("page-soft-then-hard", PAGE.format(1, "soft-then-hard"), PAGES, 4),
    ("page-memdb", FORCED + PAGE.format(2, "soft") + DIMM + ON_DIMM.format(1), PAGES, 7),
    ("page-error-counter-replacement", REPLACED, MANY_PAGES, 1),
    ("pfa-account", PAGE.format(2, "account"), [PAGES[0]] * 2, 1),
    ("pfa-soft", PAGE.format(2, "soft"), [PAGES[0]] * 2, 1),
    ("pfa-hard", PAGE.format(2, "hard"), [PAGES[0]] * 2, 1),
    ("pfa-soft-then-hard", PAGE.format(1, "soft-then-hard"), [PAGES[0]], 1),
]
"""Thresholds, errors and numbers of triggers as in the C program's own tests."""


@pytest.mark.parametrize(
    ("settings", "records", "triggers"),
    [pytest.param(*case, id=name) for name, *case in CONFIGURATIONS],
)
@own_proc
def test_triggers_of_the_c_programs_tests(
    bench: Acting, settings: str, records: list[bytes], triggers: int
) -> None:
    """All at once, as from a kernel that had them in its log."""
    bench.own_proc = True
    bench.script("trigger")
    bench.configure(settings)
    OfflineFile(bench, "soft")
    OfflineFile(bench, "hard")
    bench.send(b"".join(records))
    bench.start()
    bench.wait_stored(len(records))
    bench.wait_runs(triggers)
    time.sleep(0.2)
    bench.stop()
    assert (len(bench.runs()), bench.running_lines()) == (triggers, triggers)


UNKNOWN_TRIGGER = "[socket]\nunknown-threshold-trigger = {}\n[trigger]\ntime-limit = {}\nchildren-max = {}\n"


def test_fifty_triggers_two_at_a_time(bench: Acting) -> None:
    """All are run, no more than children-max at once, and none is left as a zombie."""
    bench.script(
        "slow", "mkdir running.$$", "ls -d running.* | wc -l >> counts", "sleep 0.02", "rmdir running.$$"
    )
    bench.configure(UNKNOWN_TRIGGER.format("slow", 60, 2))
    process = bench.start()
    bench.send(UNKNOWN[1] * 50)
    bench.wait_runs(50)
    counts = (bench.triggers / "counts").read_text
    wait_for(lambda: len(counts().split()) == 50 and not children_of(process.pid), "the last trigger's end")
    assert set(counts().split()) <= {"1", "2"}
    assert "2" in counts().split()
    bench.stop()
    assert bench.running_lines() == 50
    assert "failed" not in bench.log.read_text()


LONG_SLEEP = f"sleep 321.{os.getpid()}"
"""Told from that of another run of these tests."""


@fault(
    Part.ACTIONS,
    "A trigger hangs",
    says="did not end within 1 seconds; ended by SIGTERM",
    sees="That entry of the journal names the trigger; `time-limit` sets the seconds",
    lost="Nothing: errors were recorded and told before the trigger began",
    recovers="By itself: it is ended with all it started, and the next one gets its turn",
)
def test_a_hung_trigger_is_ended(bench: Acting, claims: Claims) -> None:
    """And said so with its reason; what it started is ended too, and the next in the queue gets its turn."""
    bench.listen()
    bench.script("hung", f'test "$MCELOG_EVENT_ID" = 1 && {LONG_SLEEP}', "exit 0")
    bench.configure(UNKNOWN_TRIGGER.format("hung", 1, 1))
    process = bench.start()
    bench.send(UNKNOWN[1] * 2)
    (entry,) = bench.wait_entries(TRIGGER_FAILED)
    assert entry["MCE_TRIGGER"] == b"hung"
    claims.saw(entry["MCE_ERROR"].decode())
    claims.recovered([run.variables["MCELOG_EVENT_ID"] for run in bench.wait_runs(2)] == ["1", "2"])
    wait_for(lambda: not children_of(process.pid), "the end of the triggers")
    assert not is_running(LONG_SLEEP)
    bench.stop()
    claims.kept(bench.stored(), 2)


def is_running(command: str) -> bool:
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with contextlib.suppress(OSError):
            if path.read_bytes().replace(b"\0", b" ").strip() == command.encode():
                return True
    return False


@pytest.mark.parametrize(
    ("body", "error"),
    [
        (None, "cannot be run: No such file or directory: {}"),
        ("no interpreter here", "cannot be run: Exec format error: {}"),
        ("#!/bin/sh\nexit 3\n", "exit status 3"),
        ("#!/bin/sh\nkill -9 $$\n", "ended by SIGKILL"),
    ],
)
@fault(
    Part.ACTIONS,
    "A trigger is missing, cannot be run, fails or is killed",
    sees="An entry of the journal that names trigger and cause: `cannot be run: No such file or directory`,"
    " `exit status 3`",
    lost="Nothing, besides what the trigger would have done",
    recovers="With the trigger: it is run at the next threshold",
)
def test_a_trigger_that_fails_costs_nothing_else(
    bench: Acting, body: str | None, error: str, claims: Claims
) -> None:
    bench.listen()
    if body is not None:
        (bench.triggers / "bad").write_text(body)
        (bench.triggers / "bad").chmod(0o755)
    bench.configure(UNKNOWN_TRIGGER.format("bad", 60, 4))
    bench.start()
    bench.send(UNKNOWN[1] * 2)
    entries = bench.wait_entries(TRIGGER_FAILED, 2)
    assert {entry["MCE_ERROR"].decode() for entry in entries} == {error.format(bench.triggers / "bad")}
    assert bench.command("--client").returncode == 0
    bench.stop()
    claims.kept(bench.stored(), 2)
    claims.recovered(len(entries) == 2)
    assert "Traceback" not in bench.log.read_text()


def test_the_daemon_ends_with_triggers_running(bench: Acting) -> None:
    """In time, with its status 0; they are ended with it, those that wait are said not to be run."""
    bench.script("long", LONG_SLEEP)
    bench.configure(UNKNOWN_TRIGGER.format("long", 60, 2))
    process = bench.start()
    bench.send(UNKNOWN[1] * 5)
    bench.wait_runs(2)
    began = time.monotonic()
    bench.stop()
    assert process.returncode == 0
    assert time.monotonic() - began < 15
    assert not is_running(LONG_SLEEP)
    assert len(bench.runs()) == 2
    assert bench.log.read_text().count("failed: not run: mcelog ends") == 3
    assert bench.log.read_text().count("failed: ended: mcelog ends") == 2
