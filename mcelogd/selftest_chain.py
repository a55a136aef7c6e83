# SPDX-License-Identifier: GPL-2.0-only
"""What the self test follows its record through: this daemon's source, store and journal."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import mcelogd
from mcelogd import message_ids
from mcelogd.act.inject import STATUSES
from mcelogd.selftest import Injection, NoJournalError
from mcelogd.store.database import StoreError
from mcelogd.triggers import Trigger

if TYPE_CHECKING:
    from mcelogd.act.runner import Launcher
    from mcelogd.settings import Settings
    from mcelogd.sources import Source
    from mcelogd.store.reader import StoreReader

INJECTION_SECONDS = 30.0
JOURNALCTL_SECONDS = 8.0
SEARCH_PATH = "/usr/sbin:/usr/bin:/sbin:/bin"


class DaemonChain:
    """See selftest.Chain."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        launcher: Launcher,
        reader: StoreReader | None,
        *,
        has_journal: bool,
    ) -> None:
        self._settings = settings
        self._record_length = source.record_length
        self._launcher = launcher
        self._reader = reader
        self._has_journal = has_journal
        self.source = source.name

    async def inject(self, number: int) -> Injection:
        # A process of its own: it needs rights, and a file system, that the sandbox took from us.
        command = ["-m", "mcelogd", "--inject-self-test", f"--sysfs-root={self._settings.sysfs_root}"]
        command += [f"--record-length={self._record_length}", str(number), self.source]
        environment = {"PATH": SEARCH_PATH, "PYTHONPATH": str(Path(mcelogd.__file__).parents[1])}
        itself = Trigger("self-test", "self-test", sys.executable, environment, ("-B", *command))
        outcome = await self._launcher.launch(itself, INJECTION_SECONDS)
        if outcome.ok:
            return Injection(True, "one harmless record, marked as a test")
        return Injection(False, _why(outcome.error, outcome.output))

    async def is_stored(self, event_id: int) -> bool:
        if self._reader is None:
            return False
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(None, self._reader.event, event_id) is not None
        except StoreError:
            return False

    async def is_in_journal(self, event_id: int) -> bool:
        if not self._has_journal:
            raise NoJournalError(f"there is no journald here: {self._settings.journal_socket} is not there")
        matches = [
            f"_PID={os.getpid()}",
            f"MESSAGE_ID={message_ids.SELF_TEST_RECORD}",
            f"MCE_EVENT_ID={event_id}",
        ]
        try:
            process = await asyncio.create_subprocess_exec(
                *("journalctl", "--quiet", "--no-pager", "--output=cat", "--lines=1", *matches),
                stdin=asyncio.subprocess.DEVNULL,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise NoJournalError(f"journalctl cannot be run: {error.strerror}") from error
        try:
            async with asyncio.timeout(JOURNALCTL_SECONDS):
                output, errors = await process.communicate()
        except TimeoutError:
            process.kill()
            await process.wait()
            return False
        if process.returncode and errors.strip():
            said = errors.decode(errors="replace").strip().splitlines()[-1]
            raise NoJournalError(f"journalctl: {said}")
        return bool(output.strip())


def _why(error: str, output: tuple[str, ...]) -> str:
    """Why nothing was injected: of a unit of systemd's we know the exit status only."""
    if output:
        return output[-1].removeprefix("mcelog: self test: ")
    known = (text for status, text in STATUSES.items() if error == f"exit status {status}")
    return next(known, error)
