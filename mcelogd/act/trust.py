# SPDX-License-Identifier: GPL-2.0-only
"""No program is run that strangers could have written: they would be root."""

from __future__ import annotations

import asyncio
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd.act.runner import Outcome

if TYPE_CHECKING:
    from collections.abc import Collection

    from mcelogd.act.runner import Launcher
    from mcelogd.triggers import Trigger


class Careful:
    """Runs by `launcher` those triggers that nobody but the `trusted` user ids can change."""

    def __init__(self, launcher: Launcher, directory: str, trusted: Collection[int]) -> None:
        self._launcher = launcher
        self._directory = directory
        self._trusted = trusted

    async def launch(self, trigger: Trigger, time_limit: float) -> Outcome:
        program = Path(self._directory, trigger.path)
        # A file system that hangs must not hold up the daemon.
        weakness = await asyncio.to_thread(weakness_of, program, self._trusted)
        if weakness:
            return Outcome(ok=False, error=f"not run: {weakness}")
        return await self._launcher.launch(trigger, time_limit)


def weakness_of(program: Path, trusted: Collection[int]) -> str:
    """Who else could change what is run, and the remedy; empty if nobody, or if there is no such file.

    The program, its directory (scripts read others beside them), and whether
    one above could be exchanged. Groups may have been given the right to write.
    """
    try:
        for path in dict.fromkeys((program.absolute(), program.resolve(strict=True))):
            found = _weakness(path, trusted)
            if found:
                return found
    except (OSError, RuntimeError):
        return ""  # who is to run it says what is wrong
    return ""


def _weakness(program: Path, trusted: Collection[int]) -> str:
    for path in (program, *program.parents):
        status = path.stat()
        is_near = path in (program, program.parent)
        if is_near and status.st_uid not in trusted:
            return f"{path} belongs to user {status.st_uid}, who could have it do anything: chown it to root"
        # In a directory like /tmp nobody can exchange what is another's.
        is_sticky = bool(status.st_mode & stat.S_ISVTX) and not is_near
        if status.st_mode & stat.S_IWOTH and not is_sticky:
            return f"everybody can write to {path}: chmod o-w it"
    return ""
