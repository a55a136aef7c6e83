# SPDX-License-Identifier: GPL-2.0-only
"""Many triggers as real processes: how many at once, in what order, and what becomes of the rest."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import subprocess
import sys
import time
from typing import TYPE_CHECKING, Any

import pytest

from mcelogd.act.runner import LaunchError, Outcome, Preferring, TriggerResult, TriggerRunner
from mcelogd.triggers import Trigger

from .trigger_directory import SECONDS, Directory, descriptors, is_running, until, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    return Directory(tmp_path)


@pytest.fixture(autouse=True)
def _nothing_is_left() -> Iterator[None]:
    """No child, zombie or not, and no descriptor."""
    before = descriptors()
    yield
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)
    assert descriptors() <= before


class Told(list[TriggerResult]):
    """What was reported."""

    async def until(self, count: int) -> None:
        await until(lambda: len(self) >= count, f"{count} results")


def runner(directory: Directory, told: Told, children_max: int = 2, **options: Any) -> TriggerRunner:
    options = {"time_limit": SECONDS, **options}
    return TriggerRunner(directory.launcher(), told.append, children_max=children_max, **options)


def test_so_many_at_once_and_the_others_later(directory: Directory) -> None:
    """Each says how many there are while it runs."""
    trigger = directory.script(
        "d=$(mktemp -d running.XXXXXX); sleep 0.05; set -- running.*; rmdir $d; echo $#"
    )

    async def main() -> None:
        told = Told()
        tried = runner(directory, told, children_max=3)
        for _ in range(20):
            tried.run(trigger)
        assert (tried.running, tried.waiting) == (3, 17)
        await told.until(20)
        assert {int(result.output[0]) for result in told} <= {1, 2, 3}
        assert all(result.ok for result in told)
        await tried.close(SECONDS)

    asyncio.run(main())


def test_a_thousand_at_once(directory: Directory) -> None:
    trigger = directory.script("exit 0")

    async def main() -> None:
        told = Told()
        tried = runner(directory, told, children_max=0)
        for _ in range(1000):
            tried.run(trigger)
        assert tried.running == 64
        longest = 0.0
        async with asyncio.timeout(60):
            while len(told) < 1000:
                begun = time.monotonic()
                await asyncio.sleep(0)
                longest = max(longest, time.monotonic() - begun)
        assert {result.error for result in told} == {""}
        # Starting 64 in one go is the most that the loop is held up.
        assert longest < 2
        await tried.close(1)

    asyncio.run(main())


def test_a_full_queue_drops_the_newest_and_says_so(directory: Directory) -> None:
    trigger = directory.script("read line < go")
    os.mkfifo(directory.path / "go")

    async def main() -> None:
        told = Told()
        tried = runner(directory, told, children_max=1, queue_limit=3)
        for number in range(10):
            tried.run(trigger._replace(arguments=(str(number),)))
        assert (tried.running, tried.waiting) == (1, 3)
        assert [(result.error, result.trigger.arguments) for result in told] == [
            ("not run: 3 triggers wait already", ("4",))
        ]
        for _ in range(4):
            await asyncio.to_thread((directory.path / "go").write_text, "\n")
            await asyncio.sleep(0.1)
        await told.until(6)
        ran = [result.trigger.arguments[0] for result in told if result.ok]
        assert ran == ["0", "1", "2", "3"]
        (summed_up,) = [result for result in told[1:] if not result.ok]
        assert summed_up.error == "not run, like 4 others before it: too many triggers waited"
        assert summed_up.trigger.arguments == ("9",)
        await tried.close(0)

    asyncio.run(main())


def test_one_that_is_waited_for_goes_first(directory: Directory) -> None:
    trigger = directory.script('echo "$1"; sleep 0.05')

    async def main() -> None:
        told = Told()
        tried = runner(directory, told, children_max=1)
        for number in range(3):
            tried.run(trigger._replace(arguments=(str(number),)))
        result = await tried.run_and_wait(trigger._replace(arguments=("now",)))
        assert result.output == ("now",)
        assert result.seconds >= 0.05
        assert [one.output[0] for one in told] == ["0", "now"]
        await told.until(4)
        await tried.close(0)

    asyncio.run(main())


def test_one_that_is_waited_for_has_its_time_limit(directory: Directory) -> None:
    async def main() -> None:
        tried = runner(directory, Told(), time_limit=0.3)
        result = await tried.run_and_wait(directory.script("sleep 1000"))
        assert result.error.startswith("did not end within 0.3 seconds")
        await tried.close(0)

    asyncio.run(main())


def test_hanging_triggers_do_not_keep_others_from_running_for_ever(directory: Directory) -> None:
    hanging = directory.script("sleep 1000", "hanging")
    good = directory.script("exit 0", "good")

    async def main() -> None:
        told = Told()
        tried = runner(directory, told, children_max=2, time_limit=0.3)
        for trigger in (hanging, hanging, good, good):
            tried.run(trigger)
        await told.until(4)
        assert [result.trigger.path for result in told if result.ok] == ["good", "good"]
        await tried.close(0)

    asyncio.run(main())


def test_closing_gives_time_and_then_ends_what_runs(directory: Directory) -> None:
    short = directory.script("sleep 0.2", "short")
    hanging = directory.script(f"echo $$ > {directory.path}/pid; trap '' TERM; sleep 1000", "hanging")

    async def main() -> None:
        told = Told()
        tried = runner(directory, told)
        for trigger in (short, hanging, short, short):
            tried.run(trigger)
        await asyncio.sleep(0.1)
        await tried.close(0.5)
        assert sorted((result.trigger.path, result.error) for result in told) == [
            ("hanging", "ended: mcelog ends"),
            ("short", ""),
            ("short", "not run: mcelog ends"),
            ("short", "not run: mcelog ends"),
        ]
        assert not is_running(int((directory.path / "pid").read_text()))
        tried.run(short)
        assert told[-1].error == "not run: mcelog ends"
        assert (await tried.run_and_wait(short)).error == "not run: mcelog ends"

    asyncio.run(main())


def test_who_waits_for_a_queued_trigger_hears_of_the_end(directory: Directory) -> None:
    async def main() -> None:
        tried = runner(directory, Told(), children_max=1)
        tried.run(directory.script("sleep 0.5"))
        waiting = asyncio.create_task(tried.run_and_wait(directory.script("sleep 0.5")))
        await asyncio.sleep(0.1)
        await tried.close(0)
        assert (await waiting).error == "not run: mcelog ends"

    asyncio.run(main())


def test_who_no_longer_waits_harms_nobody(directory: Directory) -> None:
    async def main() -> None:
        told = Told()
        tried = runner(directory, told)
        waiting = asyncio.create_task(tried.run_and_wait(directory.script("sleep 0.2")))
        await asyncio.sleep(0.05)
        waiting.cancel()
        await told.until(1)
        assert told[0].ok
        await tried.close(0)

    asyncio.run(main())


def test_a_daemon_that_is_killed_leaves_no_zombie(directory: Directory, tmp_path: Path) -> None:
    """What runs goes on, as it does for the C program, and init takes care of it."""
    directory.script(f"echo $$ >> {tmp_path}/pids; sleep 0.5; exit 0")
    code = (
        "import asyncio, sys\n"
        "from mcelogd.act.fork import ForkLauncher\n"
        "from mcelogd.act.runner import TriggerRunner\n"
        "from mcelogd.triggers import Trigger\n"
        "async def main():\n"
        "    runner = TriggerRunner(ForkLauncher(sys.argv[1]), print, children_max=4, time_limit=20)\n"
        "    for _ in range(100): runner.run(Trigger('', '', 'trigger', {'PATH': '/usr/bin:/bin'}))\n"
        "    await asyncio.sleep(20)\n"
        "asyncio.run(main())\n"
    )
    daemon = subprocess.Popen([sys.executable, "-c", code, str(directory.path)])
    pids = tmp_path / "pids"
    wait_for(lambda: pids.exists() and len(pids.read_text().split()) == 4, "four triggers")
    daemon.kill()
    daemon.wait()
    wait_for(lambda: not any(is_running(int(pid)) for pid in pids.read_text().split()), "their end")
    assert len(pids.read_text().split()) == 4


# Which launcher.


class Fake:
    """A launcher that says what it is told to say."""

    def __init__(self, *answers: Outcome | Exception) -> None:
        self.answers = list(answers)

    async def launch(self, trigger: Trigger, time_limit: float) -> Outcome:  # noqa: ARG002
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer


TRIGGER = Trigger("ce-error-trigger", "memdb", "trigger", {})
FAILED = Outcome(ok=False, error="exit status 1")
GOOD = Outcome(ok=True)


def test_the_second_launcher_runs_what_the_first_cannot(caplog: pytest.LogCaptureFixture) -> None:
    first = Fake(LaunchError("no bus"), LaunchError("no bus"), FAILED, LaunchError("no bus"))
    tried = Preferring(first, Fake(GOOD, GOOD, GOOD))

    async def main() -> list[Outcome]:
        return [await tried.launch(TRIGGER, 1) for _ in range(4)]

    with caplog.at_level(logging.WARNING):
        # One that was run and failed is not run again.
        assert asyncio.run(main()) == [GOOD, GOOD, FAILED, GOOD]
    assert [record.getMessage() for record in caplog.records] == [
        "triggers are run by mcelog itself, within its own sandbox: no bus"
    ] * 2


def test_a_launcher_that_cannot_is_reported() -> None:
    told = Told()

    async def main() -> None:
        tried = TriggerRunner(Fake(LaunchError("no bus")), told.append, children_max=1, time_limit=1)
        await tried.run_and_wait(TRIGGER)

    asyncio.run(main())
    assert told[0].error == "no bus"


def test_a_mistake_in_a_launcher_costs_one_trigger(caplog: pytest.LogCaptureFixture) -> None:
    told = Told()

    async def main() -> None:
        launcher = Fake(ZeroDivisionError("oops"), GOOD)
        tried = TriggerRunner(launcher, told.append, children_max=1, time_limit=1)
        tried.run(TRIGGER)
        await tried.run_and_wait(TRIGGER)
        await told.until(2)

    with caplog.at_level(logging.ERROR), contextlib.suppress(ZeroDivisionError):
        asyncio.run(main())
    assert sorted(result.error for result in told) == ["", "mistake in mcelog: oops"]
    assert "please report" in caplog.text
