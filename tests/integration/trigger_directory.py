# SPDX-License-Identifier: GPL-2.0-only
"""A directory of triggers that a test writes, and what it may look at while they run."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd.act.fork import Credentials, ForkLauncher
from mcelogd.triggers import Trigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.act.runner import Outcome

SECONDS = 20.0
ENVIRONMENT = {"PATH": "/usr/bin:/bin", "MESSAGE": "what happened"}


async def until(condition: Callable[[], object], what: str) -> None:
    """The same as wait_for(), from within a loop."""
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        await asyncio.sleep(0.005)


class Directory:
    """A directory of triggers."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def script(self, text: str, name: str = "trigger") -> Trigger:
        """A trigger that is the shell script `text`."""
        return self.file(f"#!/bin/sh\n{text}\n", name)

    def file(self, text: str, name: str = "trigger", mode: int = 0o755) -> Trigger:
        path = self.path / name
        path.write_text(text)
        path.chmod(mode)
        return Trigger("ce-error-trigger", "memdb", name, dict(ENVIRONMENT))

    def launcher(self, credentials: Credentials | None = None) -> ForkLauncher:
        return ForkLauncher(str(self.path), credentials, kill_after=0.3)

    def launch(self, trigger: Trigger, limit: float = SECONDS) -> Outcome:
        """Run one trigger to its end."""
        return asyncio.run(self.launcher().launch(trigger, limit))


def descriptors() -> set[str]:
    """Those that are open."""
    return {path.name for path in Path("/proc/self/fd").iterdir()}


def is_running(pid: int) -> bool:
    """Whether there is such a process; one that has ended and is reaped by init does not count."""
    try:
        return "\nState:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except (FileNotFoundError, ProcessLookupError):
        return False


def wait_for(condition: Callable[[], object], what: str) -> None:
    deadline = time.monotonic() + SECONDS
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.01)
