# SPDX-License-Identifier: GPL-2.0-only
"""The guest's journal as scenarios ask for it: only what came since the scenario began."""

from __future__ import annotations

import json
import os
import subprocess
import time
from typing import Any

from guest.shell import wait_for

Entry = dict[str, Any]
BEGIN = "VM_BEGIN"
"""Environment variable: when the scenario began."""


def begin() -> None:
    """From here on counts; called once by the runner."""
    sync()
    os.environ[BEGIN] = repr(time.time())


def sync() -> None:
    """Wait until journald has written what it was sent."""
    subprocess.run(["journalctl", "--sync"], check=False, timeout=60)


def entries(*matches: str) -> list[Entry]:
    """Entries that match, oldest first, as journalctl -o json gives them.

    By time, because --after-cursor passes over the first entry that matches (systemd 252).
    """
    sync()
    done = subprocess.run(
        ["journalctl", "-q", "-o", "json", "--all", f"--since=@{os.environ[BEGIN]}", *matches],
        capture_output=True, text=True, timeout=120, check=True,
    )  # fmt: skip
    return [json.loads(line) for line in done.stdout.splitlines()]


def wait_for_entries(*matches: str, count: int = 1, limit: float = 30) -> list[Entry]:
    """Wait until there are at least so many entries; all of them."""
    found: list[Entry] = []

    def enough() -> bool:
        found[:] = entries(*matches)
        return len(found) >= count

    try:
        wait_for(enough, f"{count} journal entries {' '.join(matches)}", limit)
    except AssertionError:
        print(f"found {len(found)} entries {' '.join(matches)}", flush=True)
        raise
    return found
