# SPDX-License-Identifier: GPL-2.0-only
"""Running commands and waiting, with everything in the scenario's log."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

T = TypeVar("T")
_SLOWNESS = Path("/vm/slowness")
SLOWNESS = float(_SLOWNESS.read_text()) if _SLOWNESS.exists() else 1.0
"""What time limits are multiplied with on this system."""
SHOWN = 4000
"""Characters of a command's output that go to the log."""


def run(
    *command: str,
    check: bool = True,
    limit: float = 30,
    stdin: str = "",
    env: Mapping[str, str] | None = None,
    quiet: bool = False,
) -> subprocess.CompletedProcess[str]:
    """Run a command; by default a non-zero status fails the scenario. `quiet` for what is asked in a loop."""
    done = subprocess.run(
        command, capture_output=True, text=True, input=stdin, timeout=limit * SLOWNESS, env=env, check=False
    )
    if not quiet:
        print("$", *command)
        for text in (done.stdout, done.stderr):
            if text:
                print(text.rstrip()[:SHOWN])
        sys.stdout.flush()
    if check and done.returncode:
        said = (done.stderr or done.stdout).strip()[-300:]
        raise AssertionError(f"{' '.join(command)}: status {done.returncode}: {said}")
    return done


def wait_for(condition: Callable[[], T], what: str, limit: float = 20) -> T:
    """Ask until the answer is true; return it."""
    deadline = time.monotonic() + limit * SLOWNESS
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {limit:g} s in vain for {what}; last answer: {answer!r}")
        time.sleep(0.1)
