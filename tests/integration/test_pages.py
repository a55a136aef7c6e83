# SPDX-License-Identifier: GPL-2.0-only
"""Pages taken out of use: how often it is tried, how many are taken, and what a reboot does to them.

The kernel is a FIFO that takes addresses, or a directory, which no address can be written to.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

import pytest

from mcelogd.message_ids import PAGE_OFFLINE_FAILED, PAGE_OFFLINED, TRIGGER_RUN
from mcelogd.record import MceRecord, pack

from . import acting
from .acting import Acting, OfflineFile, own_proc, refuse
from .conftest import wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = own_proc

SOFT = "[page]\nmemory-ce-threshold = 2 / 24h\nmemory-ce-action = soft\n"


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Acting]:
    with acting.bench_in(tmp_path) as bench:
        bench.own_proc = True
        yield bench


def error(frame: int) -> bytes:
    return acting.page(frame, time=int(time.time()))


def state_of(bench: Acting, frame: int) -> str:
    """The page's line of `mcelog --client`, without its address."""
    lines = bench.command("--client").stdout.splitlines()
    return next(line.partition(": ")[2] for line in lines if line.startswith(f"{frame << 12:x}: "))


def test_a_page_that_fails_is_tried_at_twice_the_errors_each_time(bench: Acting) -> None:
    refuse(bench, "soft")
    bench.listen()
    bench.configure(SOFT + "memory-ce-offline-retry = yes\n")
    bench.start()
    tries = []
    for number in range(1, 31):
        bench.send(error(7))
        bench.wait_stored(number)
        before = len(tries)
        if number in (2, 6, 14, 30):
            tries = bench.wait_entries(PAGE_OFFLINE_FAILED, before + 1)
        assert len(bench.entries(PAGE_OFFLINE_FAILED)) == before + (number in (2, 6, 14, 30)), number
    assert {entry["MCE_PAGE"] for entry in tries} == {b"0x7000"}
    assert [entry["MCE_COUNT"] for entry in tries] == [b"2", b"6", b"14", b"30"]
    assert b"EISDIR" in tries[0]["MCE_ERROR"]
    assert state_of(bench, 7) == 'total 30 seen "30 in 24h" offline-failed triggered'
    bench.stop()
    bench.start()
    bench.send(error(7) * 31)
    bench.wait_stored(61)
    assert len(bench.entries(PAGE_OFFLINE_FAILED)) == 4
    bench.send(error(7))
    assert bench.wait_entries(PAGE_OFFLINE_FAILED, 5)[-1]["MCE_COUNT"] == b"62"
    bench.stop()


def test_without_retry_it_is_tried_once(bench: Acting) -> None:
    refuse(bench, "soft")
    bench.configure(SOFT)
    bench.start()
    for _ in range(2):
        bench.send(error(7) * 20)
        bench.wait_stored(20)
        wait_for(lambda: "failed" in bench.log.read_text(), "the failure")
    bench.stop()
    bench.start()
    bench.send(error(7) * 20)
    bench.wait_stored(60)
    bench.stop()
    assert bench.log.read_text().count("Offlining page 7000 failed") == 1


def test_soft_then_hard(bench: Acting) -> None:
    refuse(bench, "soft")
    hard = OfflineFile(bench, "hard")
    bench.listen()
    bench.configure(SOFT.replace("soft", "soft-then-hard"))
    bench.start()
    bench.send(error(7) * 2)
    (entry,) = bench.wait_entries(PAGE_OFFLINED)
    assert (entry["MCE_PAGE_ACTION"], entry["MCE_PAGE"]) == (b"hard", b"0x7000")
    assert hard.addresses == [0x7000]
    assert state_of(bench, 7).endswith("offline triggered")
    bench.stop()


def test_a_page_that_is_not_known_exactly_is_left_alone(bench: Acting) -> None:
    """MCG_SER_P: MISC says what the address is, here nothing physical; it is counted all the same."""
    soft = OfflineFile(bench, "soft")
    bench.script("page")
    bench.configure(SOFT + "memory-ce-trigger = page\n")
    bench.start()
    bench.send(acting.page(7, time=int(time.time()), mcgcap=1 << 24 | 0xA) * 2)
    bench.wait_runs(1)
    time.sleep(0.2)
    assert soft.addresses == []
    assert state_of(bench, 7) == 'total 2 seen "2 in 24h" online triggered'
    bench.stop()


def test_so_many_pages_a_day_and_no_more(bench: Acting) -> None:
    """A restart does not forget them."""
    soft = OfflineFile(bench, "soft")
    bench.listen()
    bench.configure(SOFT + "memory-offline-max-per-day = 3\n")
    bench.start()
    for frame in range(1, 6):
        bench.send(error(frame) * 2)
    refused = bench.wait_entries(PAGE_OFFLINE_FAILED, 2)
    assert soft.addresses == [0x1000, 0x2000, 0x3000]
    assert all(b"memory-offline-max-per-day" in entry["MCE_ERROR"] for entry in refused)
    assert state_of(bench, 4) == 'total 2 seen "2 in 24h" online triggered'
    bench.stop()
    bench.start()
    bench.send(error(6) * 2)
    bench.wait_entries(PAGE_OFFLINE_FAILED, 3)
    assert len(soft.addresses) == 3
    bench.stop()


def test_so_many_pages_in_all_until_a_reboot(bench: Acting) -> None:
    soft = OfflineFile(bench, "soft")
    bench.listen()
    bench.configure(SOFT + "memory-offline-max = 2\n")
    bench.start()
    bench.send(error(1) * 2 + error(2) * 2 + error(3) * 2)
    (refused,) = bench.wait_entries(PAGE_OFFLINE_FAILED)
    assert b"memory-offline-max" in refused["MCE_ERROR"]
    bench.stop()
    bench.boot("second")
    bench.start()
    bench.send(error(3) * 2)
    bench.wait_entries(PAGE_OFFLINED, 3)
    assert soft.addresses == [0x1000, 0x2000, 0x3000]
    bench.stop()


def test_a_dry_run_touches_nothing(bench: Acting) -> None:
    """It says what it would do, and tells the cache's trigger that it is one."""
    soft, hard = OfflineFile(bench, "soft"), OfflineFile(bench, "hard")
    bench.script("cache")
    bench.listen()
    bench.configure(
        "dry-run = yes\n"
        + SOFT.replace("soft", "soft-then-hard")
        + "[cache]\ncache-threshold-trigger = cache\n"
    )
    bench.start()
    bench.send(error(7) * 2 + acting.cache(1, 0, 1, 2))
    (entry,) = bench.wait_entries(PAGE_OFFLINE_FAILED)
    assert entry["MCE_ERROR"].startswith(b"dry run: would be soft off-lined")
    (run,) = bench.wait_runs(1)
    assert run.variables["MCELOG_DRY_RUN"] == "1"
    assert state_of(bench, 7).endswith("online triggered")
    bench.stop()
    assert soft.addresses == hard.addresses == []


# Of a DRAM row of 8 KiB, with memory interleaved four times: 128 columns, 1 KiB, in each page.
COLUMNS = [
    *(0x00, 0x08, 0x10, 0x18, 0x20, 0x28, 0x30, 0x38, 0x40, 0x48, 0x88, 0xA0, 0xC8, 0xF0, 0x108, 0x140),
    *(0x1C0, 0x188, 0x1A8, 0x1E0, 0x200, 0x248, 0x270, 0x280, 0x2B0, 0x2E8, 0x300, 0x310, 0x360, 0x368),
    *(0x380, 0x388, 0x390, 0x3C8),
]  # fmt: skip
FIRST_PAGE = 0x4C0D00000


def row_error(number: int) -> bytes:
    """One of 34 within nine minutes in one row, as an Ice Lake server reports it."""
    column, row = COLUMNS[number], 0x1C998
    dram = (column >> 2) << 9 | row << 19 | 2 << 40 | 3 << 42 | 7 << 46 | 1 << 56
    return pack(
        MceRecord(
            status=0x8C00_0040_0080_0090,
            addr=FIRST_PAGE + (column >> 7 << 12) + (column & 0x7F) * 8,
            misc=dram | 2 << 6 | 6,
            mcgcap=0x0F00_0C1C | 1 << 24,
            bank=13,
            cpuid=0x606A6,
            socketid=0,
            time=int(time.time()) - 540 + number * 540 // 34,
        )
    )


@pytest.mark.parametrize(("by_page", "taken"), [("off", 8), ("account", 8), ("soft", 8)])
def test_the_row_rule_takes_eight_pages_of_the_published_case(
    bench: Acting, by_page: str, taken: int
) -> None:
    """Whatever the page rule does, with the threshold of the time, and none of them twice."""
    soft = OfflineFile(bench, "soft")
    bench.configure(SOFT.replace("soft", by_page).replace("2 /", "10 /") + "row-ce-action = soft\n")
    bench.start()
    bench.send(b"".join(map(row_error, range(34))))
    bench.wait_stored(34)
    wait_for(lambda: len(soft.addresses) >= taken, "the pages")
    time.sleep(0.2)
    assert sorted(soft.addresses) == [FIRST_PAGE + (number << 12) for number in range(taken)]
    shown = bench.command("--client").stdout
    assert shown.count(" offline") == taken
    bench.stop()


def test_without_the_row_rule_one_page_is_taken(bench: Acting) -> None:
    soft = OfflineFile(bench, "soft")
    bench.configure(SOFT.replace("2 /", "10 /"))
    bench.start()
    bench.send(b"".join(map(row_error, range(34))))
    bench.wait_stored(34)
    wait_for(lambda: soft.addresses, "the page")
    time.sleep(0.2)
    assert soft.addresses == [FIRST_PAGE]
    bench.stop()


def test_after_a_reboot_pages_are_in_use_again(bench: Acting) -> None:
    soft = OfflineFile(bench, "soft")
    bench.listen()
    bench.configure(SOFT)
    bench.start()
    bench.send(error(1) * 2 + error(2))
    bench.wait_entries(PAGE_OFFLINED)
    bench.stop()
    bench.start()
    assert state_of(bench, 1) == 'total 2 seen "2 in 24h" offline triggered'
    bench.stop()
    bench.boot("second")
    bench.start()
    assert state_of(bench, 1) == 'total 2 seen "2 in 24h" online triggered'
    assert state_of(bench, 2) == 'total 1 seen "1 in 24h" online'
    reasons = bench.query("SELECT reason FROM pages ORDER BY frame")
    assert reasons == [("was off-lined (soft) until the reboot",), ("",)]
    assert soft.addresses == [0x1000]
    bench.send(error(1) * 2)
    bench.wait_entries(PAGE_OFFLINED, 2)
    assert soft.addresses == [0x1000, 0x1000]
    bench.stop()


def test_off_lined_again_after_a_reboot(bench: Acting) -> None:
    """Those that were, without triggers, and not if the kernel is the same."""
    soft = OfflineFile(bench, "soft")
    bench.script("around")
    bench.listen()
    bench.configure(
        SOFT
        + "memory-offline-again = yes\nmemory-offline-max-per-day = 2\n"
        + "memory-pre-sync-soft-ce-trigger = around\n"
    )
    bench.start()
    bench.send(error(1) * 2 + error(2) * 2 + error(3))
    bench.wait_entries(PAGE_OFFLINED, 2)
    bench.wait_entries(TRIGGER_RUN, 2)
    bench.stop()
    for boot, written in (("first", 2), ("second", 4), ("second", 4), ("third", 6)):
        bench.boot(boot)
        bench.start()
        wait_for(lambda written=written: len(soft.addresses) >= written, "the pages")
        wait_for(lambda: state_of(bench, 2).endswith("offline triggered"), "the pages' state")
        assert state_of(bench, 1).endswith("offline triggered")
        assert state_of(bench, 3).endswith("online")
        bench.stop()
    assert sorted(soft.addresses) == [0x1000] * 3 + [0x2000] * 3
    assert len(bench.runs()) == 2
