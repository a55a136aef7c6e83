# SPDX-License-Identifier: GPL-2.0-only
"""System calls that fail or are the last ones, by strace: no hook in the program, no library in its place."""

from __future__ import annotations

import collections
import contextlib
import os
import re
import shutil
import signal
import subprocess
from typing import TYPE_CHECKING, NamedTuple

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

STRACE = ["strace", "--follow-forks", "-qq"]
"""Without --seccomp-bpf, which makes a signal at the entry of a system call ineffective (strace 6.1)."""


class Step(NamedTuple):
    """The `number`-th time that a thread makes this system call, counted from 1."""

    call: str
    number: int

    def __str__(self) -> str:
        return f"{self.call} {self.number}"


def need_strace() -> None:
    """Skip where a process may not be traced; in CI strace must be there."""
    if shutil.which("strace") is None:
        assert not os.environ.get("CI"), "CI must have strace"
        pytest.skip("strace is not installed")
    tried = subprocess.run(["strace", "-qq", "-o/dev/null", "true"], capture_output=True, check=False)
    if tried.returncode:
        pytest.skip(tried.stderr.decode().strip())


@contextlib.contextmanager
def failing(pid: int, call: str, error: str) -> Iterator[None]:
    """Within the block that system call fails with that errno, in all threads of a running process."""
    need_strace()
    command = [*STRACE[:2], "-o/dev/null", f"--inject={call}:error={error}", f"-p{pid}"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as strace:
        assert strace.stderr is not None
        line = strace.stderr.readline()
        if "Operation not permitted" in line:
            pytest.skip(line.strip())
        assert "attached" in line, line
        try:
            yield
        finally:
            strace.send_signal(signal.SIGINT)


def killing_at(step: Step) -> list[str]:
    """To be put before a command: it is killed on its way into that system call, which is not made."""
    kill = f"--inject={step.call}:signal=KILL:when={step.number}"
    return [*STRACE, "-o/dev/null", f"--trace={step.call}", kill]


def noting(calls: str, path: Path) -> list[str]:
    """To be put before a command: these system calls are noted in the file."""
    return [*STRACE, f"-o{path}", f"--trace={calls}"]


def steps_in(path: Path) -> list[Step]:
    """Every system call that was noted there, in the order of the first thread to make it that often."""
    made: collections.Counter[tuple[str, str]] = collections.Counter()
    steps: dict[Step, None] = {}
    for line in path.read_text(errors="replace").splitlines():
        if found := re.match(r"(\d+) +(\w+)\(", line):
            thread_and_call = (found[1], found[2])
            made[thread_and_call] += 1
            steps[Step(found[2], made[thread_and_call])] = None
    return list(steps)
