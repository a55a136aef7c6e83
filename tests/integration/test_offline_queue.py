# SPDX-License-Identifier: GPL-2.0-only
"""The queue of pages to off-line: nothing waits for the kernel, limits hold, and the end is orderly."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mcelogd.act.offline import MOST_WAITING, How, Limits, Result
from tests.integration.page_kernel import PAGE, SECONDS, Kernel, Machine, run

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture(autouse=True)
def _no_thread_is_left() -> Iterator[None]:
    yield
    deadline = time.monotonic() + SECONDS
    while any(thread.name == "offline" for thread in threading.enumerate()):
        assert time.monotonic() < deadline, "the off-liner's thread does not end"
        time.sleep(0.01)


def test_a_kernel_that_takes_its_time_holds_up_nothing(machine: Machine) -> None:
    """The file blocks; the loop turns on, other pages wait, and get their answers in the end."""
    os.mkfifo(machine.soft)
    second = PAGE + 0x1000
    machine.mark(second)

    async def steps() -> Result:
        offliner = machine.offliner()
        first = asyncio.create_task(offliner.offline(PAGE, "soft"))
        twin = asyncio.create_task(offliner.offline(PAGE + 8, "soft"))
        behind = asyncio.create_task(offliner.offline(second, "soft"))
        longest = 0.0
        for _ in range(50):
            before = time.monotonic()
            await asyncio.sleep(0.005)
            longest = max(longest, time.monotonic() - before)
        assert longest < 0.5
        assert offliner.waiting == 2
        assert not any(task.done() for task in (first, twin, behind))
        got = await asyncio.to_thread(machine.soft.read_text)
        assert got == "0x12345000"
        assert await first is await twin
        assert (await behind).already
        assert offliner.waiting == 0
        offliner.close()
        return await first

    assert not run(steps()).ok


def test_who_gives_up_waiting_leaves_the_page_to_others(machine: Machine) -> None:
    os.mkfifo(machine.soft)

    async def steps() -> Result:
        offliner = machine.offliner()
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(offliner.offline(PAGE, "soft"), 0.05)
        other = asyncio.create_task(offliner.offline(PAGE, "soft"))
        await asyncio.sleep(0)
        assert await asyncio.to_thread(machine.soft.read_text) == "0x12345000"
        try:
            return await other
        finally:
            offliner.close()

    assert "did not mark" in run(steps()).reason


def test_the_queue_is_bounded_and_its_end_answers_all(machine: Machine) -> None:
    os.mkfifo(machine.soft)

    async def steps() -> Result:
        offliner = machine.offliner()
        tasks = [
            asyncio.create_task(offliner.offline(PAGE + n * 4096, "soft")) for n in range(MOST_WAITING + 1)
        ]
        await asyncio.sleep(0.05)
        assert [task.done() for task in tasks] == [False] * MOST_WAITING + [True]
        assert "which is at page 0x12345000" in (await tasks[-1]).reason
        offliner.close()
        assert {(await task).reason for task in tasks[:-1]} == {"mcelog stops"}
        late = await offliner.offline(PAGE, "hard")
        # The kernel lets go of the first page; the others it is not asked for any more.
        assert await asyncio.to_thread(machine.soft.read_text) == "0x12345000"
        return late

    result = run(steps())
    assert (result.ok, result.how, result.reason) == (False, How.HARD, "mcelog stops")


def test_the_loop_may_end_before_the_kernel_answers(machine: Machine) -> None:
    os.mkfifo(machine.soft)

    async def steps() -> Result:
        offliner = machine.offliner()
        task = asyncio.create_task(offliner.offline(PAGE, "soft"))
        await asyncio.sleep(0.05)
        offliner.close()
        return await task

    assert run(steps()).reason == "mcelog stops"
    assert machine.soft.read_text() == "0x12345000"


def test_the_process_ends_while_the_kernel_is_at_a_page(machine: Machine) -> None:
    os.mkfifo(machine.soft)
    code = (
        "import asyncio, sys\n"
        "from mcelogd.act.offline import PageOffliner\n"
        "async def steps():\n"
        "    offliner = PageOffliner(*sys.argv[1:])\n"
        "    task = asyncio.create_task(offliner.offline(0x12345000, 'soft'))\n"
        "    await asyncio.sleep(0.1)\n"
        "    offliner.close()\n"
        "    print((await task).reason)\n"
        "asyncio.run(steps())\n"
    )
    command = [sys.executable, "-c", code, str(machine.sysfs), str(machine.proc)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    assert (done.returncode, done.stdout, done.stderr) == (0, "mcelog stops\n", "")


def test_limits_hold_and_are_kept(machine: Machine) -> None:
    """Two pages a day: the third is refused, after a restart and a reboot too; one of before goes."""
    pages = [PAGE + n * 4096 for n in range(5)]

    def work(kernel: Kernel) -> None:
        for number in range(2):
            kernel.off_line(pages[number], 4 + 4 * number)
        for _ in range(2):
            kernel.show_memory(8)
        kernel.off_line(pages[4], 4)

    kernel = Kernel(machine, work)
    machine.boot("boot 1")
    limits = Limits(per_day=2, in_all=2, share=0)

    async def first_run() -> dict[tuple[str, str], str | None]:
        offliner = machine.offliner(limits)
        results = [await offliner.offline(page, "soft") for page in pages[:3]]
        offliner.close()
        assert [result.ok for result in results] == [True, True, False]
        assert "max-per-day" in results[2].reason
        saved = offliner.take_changed()
        assert offliner.take_changed() == {}
        return saved

    async def after_reboot(saved: dict[tuple[str, str], str]) -> list[Result]:
        offliner = machine.offliner(limits)
        offliner.restore(saved)
        refused = await offliner.offline(pages[3], "soft")
        again = await offliner.again([pages[4]])
        offliner.close()
        return [refused, *again]

    saved = asyncio.run(asyncio.wait_for(first_run(), SECONDS))
    state = saved["offline", "caps"]
    assert state is not None
    assert json.loads(state)["taken"] == 2
    machine.boot("boot 2")
    refused, again = asyncio.run(asyncio.wait_for(after_reboot({("offline", "caps"): state}), SECONDS))
    assert "max-per-day" in refused.reason
    assert again == Result(pages[4], True, How.SOFT, lost=True)
    assert kernel.got == [f"{page:#x}" for page in (pages[0], pages[1], pages[4])]


def test_again_goes_through_all_pages_and_says_of_each(machine: Machine) -> None:
    machine.soft.touch()
    pages = [PAGE + n * 4096 for n in range(2 * MOST_WAITING)]
    for page in pages[1:]:
        machine.mark(page)

    async def steps() -> Result:
        offliner = machine.offliner()
        results = await offliner.again(pages)
        offliner.close()
        assert [result.address for result in results] == pages
        assert [result.already for result in results] == [False] + [True] * (len(pages) - 1)
        return results[0]

    assert not run(steps()).ok


def test_a_damaged_count_is_said_and_begins_anew(machine: Machine, caplog: pytest.LogCaptureFixture) -> None:
    offliner = machine.offliner()
    offliner.restore({("offline", "caps"): "{", ("core", "1"): "{}"})
    assert [record.getMessage() for record in caplog.records] == [
        "the saved number of off-lined pages is damaged; it begins anew"
    ]
