# SPDX-License-Identifier: GPL-2.0-only
"""A trigger as a real child process: one that behaves, and many that do not."""

from __future__ import annotations

import asyncio
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd.act import fork
from mcelogd.act.fork import Credentials, ForkLauncher
from mcelogd.act.runner import Outcome
from mcelogd.triggers import Trigger

from .trigger_directory import ENVIRONMENT, SECONDS, Directory, descriptors, is_running, until, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

NOBODY = 65534


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


def test_a_trigger_has_its_variables_and_nothing_else(directory: Directory) -> None:
    trigger = directory.file(
        "#!/usr/bin/env -S python3 -E -S\nimport os\nprint(sorted(os.environ.items()))\n"
    )
    outcome = directory.launch(trigger)
    # The interpreter sets LC_CTYPE when there is no locale at all.
    assert outcome.ok
    assert [item for item in eval(outcome.output[0]) if item[0] != "LC_CTYPE"] == sorted(ENVIRONMENT.items())


def test_a_trigger_runs_in_its_directory_with_its_arguments(directory: Directory) -> None:
    trigger = directory.script('pwd; echo "$# $1"; umask; cat; ls -l /proc/$$/fd | grep -c " -> "')
    outcome = directory.launch(trigger._replace(arguments=("12 345",)))
    *lines, descriptors = outcome.output
    assert lines == [str(directory.path), "1 12 345", "0022"]
    # Standard input, output, error, and the script itself.
    assert int(descriptors) == 4


def test_an_absolute_path_is_taken_as_it_is(directory: Directory, tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    Directory(elsewhere).script("echo here")
    trigger = Trigger("ce-error-trigger", "memdb", str(elsewhere / "trigger"), {})
    assert directory.launch(trigger) == Outcome(ok=True, output=("here",))


@pytest.mark.parametrize(
    ("text", "error"),
    [
        ("exit 3", "exit status 3"),
        ("kill -SEGV $$", "ended by SIGSEGV"),
        ("kill -KILL $$", "ended by SIGKILL"),
        ("kill -40 $$", "ended by signal 40"),
        ("nosuchcommand", "exit status 127"),
    ],
)
def test_a_trigger_that_fails(directory: Directory, text: str, error: str) -> None:
    outcome = directory.launch(directory.script(f"echo before\n{text}"))
    assert not outcome.ok
    assert outcome.error == error
    assert outcome.output[0] == "before"


def test_a_trigger_that_is_missing(directory: Directory) -> None:
    outcome = directory.launch(Trigger("ce-error-trigger", "memdb", "missing", {}))
    assert outcome.error == f"cannot be run: No such file or directory: {directory.path}/missing"


def test_a_directory_that_is_missing(directory: Directory) -> None:
    launcher = ForkLauncher(str(directory.path / "missing"))
    outcome = asyncio.run(launcher.launch(directory.script("exit 0"), SECONDS))
    assert outcome.error == f"cannot be run: No such file or directory: {directory.path}/missing"


@pytest.mark.parametrize(
    ("text", "mode", "error"),
    [
        ("#!/bin/sh\n", 0o644, "Permission denied"),
        ("#!/nowhere/sh\n", 0o755, "No such file or directory"),
        ("echo no shebang\n", 0o755, "Exec format error"),
        ("", 0o755, "Exec format error"),
    ],
)
def test_a_trigger_that_cannot_be_executed(directory: Directory, text: str, mode: int, error: str) -> None:
    outcome = directory.launch(directory.file(text, mode=mode))
    assert outcome.error == f"cannot be run: {error}: {directory.path}/trigger"


def test_a_directory_is_no_trigger(directory: Directory) -> None:
    outcome = directory.launch(Trigger("ce-error-trigger", "memdb", str(directory.path), {}))
    assert outcome.error.startswith("cannot be run: Permission denied")


def test_a_name_that_no_file_can_have(directory: Directory) -> None:
    outcome = directory.launch(Trigger("ce-error-trigger", "memdb", "a\0b", {}))
    assert outcome.error == "cannot be run: embedded null byte"


def test_a_hanging_trigger_is_ended_with_its_children(directory: Directory) -> None:
    trigger = directory.script("sleep 1000 & echo $!; sleep 1000")
    begun = time.monotonic()
    outcome = directory.launch(trigger, limit=0.5)
    assert outcome.error == "did not end within 0.5 seconds; ended by SIGTERM"
    assert time.monotonic() - begun < 5
    wait_for(lambda: not is_running(int(outcome.output[0])), "the end of its child")


def test_a_trigger_that_ignores_sigterm_is_killed(directory: Directory) -> None:
    trigger = directory.script("trap '' TERM; sleep 1000 & echo $!; while :; do sleep 0.1; done")
    outcome = directory.launch(trigger, limit=0.5)
    assert outcome.error == "did not end within 0.5 seconds; ended by SIGKILL"
    wait_for(lambda: not is_running(int(outcome.output[0])), "the end of its child")


def test_a_stopped_trigger_is_ended_too(directory: Directory) -> None:
    outcome = directory.launch(directory.script("kill -STOP $$"), limit=0.3)
    assert outcome.error.endswith("ended by SIGKILL")


def test_a_trigger_that_cleans_up_on_sigterm(directory: Directory) -> None:
    outcome = directory.launch(
        directory.script("trap 'echo cleaned; exit 0' TERM; sleep 100 & wait"), limit=0.3
    )
    assert not outcome.ok
    assert outcome.output == ("cleaned",)


def test_what_a_trigger_leaves_running_is_ended(directory: Directory) -> None:
    """And not waited for, although it holds the output."""
    begun = time.monotonic()
    outcome = directory.launch(directory.script("sleep 1000 & echo $!"))
    assert outcome.ok
    assert time.monotonic() - begun < 5
    wait_for(lambda: not is_running(int(outcome.output[0])), "the end of what it left")


def test_what_leaves_the_session_is_its_own_masters(directory: Directory) -> None:
    outcome = directory.launch(directory.script("setsid sleep 1000 & echo $!; sleep 0.3"))
    assert outcome.ok
    pid = int(outcome.output[0])
    assert is_running(pid)
    os.kill(pid, signal.SIGKILL)


def test_output_is_bounded_and_harmless(directory: Directory) -> None:
    trigger = directory.script(r"printf 'a\033[31mb\000c\377\n'; yes | head -c 5000000; echo end >&2")
    begun = time.monotonic()
    outcome = directory.launch(trigger)
    assert outcome.ok
    assert outcome.output[0] == "a [31mb c\ufffd"
    assert len(outcome.output) == fork.MAX_LINES + 1
    assert outcome.output[-1].startswith("... and 49")
    assert all(line.isprintable() for line in outcome.output)
    assert time.monotonic() - begun < 10


def test_one_endless_line_is_cut(directory: Directory) -> None:
    outcome = directory.launch(directory.script("yes | tr -d '\\n'"), limit=0.5)
    assert not outcome.ok
    line, more = outcome.output
    assert len(line) == fork.MAX_OUTPUT
    assert more.startswith("... and ")


def test_a_trigger_that_closes_its_output_goes_on(directory: Directory) -> None:
    outcome = directory.launch(directory.script("exec >&- 2>&-; sleep 0.3; exit 7"))
    assert outcome == Outcome(ok=False, error="exit status 7")


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another")
def test_a_trigger_runs_as_another_user(directory: Directory) -> None:
    trigger = directory.script("id -u; id -g; id -G")
    for path in (directory.path, *directory.path.parents):
        if path != Path("/"):
            path.chmod(path.stat().st_mode | 0o111)
    launcher = directory.launcher(Credentials(NOBODY, NOBODY))
    outcome = asyncio.run(launcher.launch(trigger, SECONDS))
    assert outcome.output == (str(NOBODY), str(NOBODY), str(NOBODY))


def test_a_daemon_without_room_for_processes_says_so(directory: Directory) -> None:
    """RLIMIT_NPROC does not hold for root, so descriptors run out instead."""
    import resource

    trigger = directory.script("exit 0")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)

    async def main() -> Outcome:
        resource.setrlimit(resource.RLIMIT_NOFILE, (len(descriptors()), limits[1]))
        try:
            return await directory.launcher().launch(trigger, SECONDS)
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, limits)

    assert asyncio.run(main()).error == "cannot be run: Too many open files"


def test_cancelled_it_ends_the_trigger(directory: Directory) -> None:
    trigger = directory.script(f"trap '' TERM; echo $$ > {directory.path}/pid; sleep 1000")

    async def main() -> None:
        task = asyncio.create_task(directory.launcher().launch(trigger, SECONDS))
        pid = directory.path / "pid"
        await until(lambda: pid.exists() and pid.read_text(), "the trigger")
        task.cancel()
        with pytest.raises(asyncio.CancelledError):
            await task
        assert not is_running(int(pid.read_text()))

    asyncio.run(main())
