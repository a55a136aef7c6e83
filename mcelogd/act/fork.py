# SPDX-License-Identifier: GPL-2.0-only
"""Triggers as children of this process: the way where there is no systemd to run them."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
from pathlib import Path
from typing import IO, TYPE_CHECKING, NamedTuple

from mcelogd.act.runner import Outcome

if TYPE_CHECKING:
    from mcelogd.triggers import Trigger

KILL_AFTER = 5.0
"""Seconds that SIGTERM has to end a trigger before SIGKILL does."""

TERM_WAIT = 1.0
"""The same when mcelog itself ends."""

REAP_WAIT = 2.0
"""Seconds for the kernel to end what was killed; a process stuck in a system call takes longer."""

MAX_OUTPUT = 16 * 1024
MAX_LINES = 100
"""Of what a trigger prints, so much is kept, from the beginning."""

CHUNK = 64 * 1024
THROTTLE = 0.002
"""Seconds between two reads of output that is thrown away: one that prints for ever is not our main work."""


class Credentials(NamedTuple):
    """The user and group that triggers run as."""

    uid: int
    gid: int


class ForkLauncher:
    """Runs a trigger in `directory`, as `credentials` where they are given: that takes root's rights.

    A trigger has a session of its own, its own variables and no others, no
    input, and no file of ours. What it leaves running when it ends is ended.
    """

    def __init__(
        self, directory: str, credentials: Credentials | None = None, *, kill_after: float = KILL_AFTER
    ) -> None:
        self._directory = directory
        self._credentials = credentials
        self._kill_after = kill_after

    async def launch(self, trigger: Trigger, time_limit: float) -> Outcome:
        """Run it; see Launcher. It always runs it: LaunchError is for others."""
        try:
            child = _Child(self._start(trigger))
        except (OSError, ValueError) as error:
            return Outcome(ok=False, error=f"cannot be run: {_said(error)}")
        try:
            if await child.wait(time_limit):
                return _outcome(child)
            return await self._end(child, time_limit)
        except asyncio.CancelledError:
            child.signal(signal.SIGTERM)
            await child.wait(TERM_WAIT)
            child.signal(signal.SIGKILL)
            await child.wait(REAP_WAIT)
            raise

    def _start(self, trigger: Trigger) -> subprocess.Popen[bytes]:
        user = self._credentials
        environment = {
            name.encode(): value.encode(errors="replace") for name, value in trigger.environment.items()
        }
        # Not DEVNULL: Python 3.11.2 forgets to close that one where it then cannot make a pipe.
        with Path(os.devnull).open("rb") as nothing:
            return subprocess.Popen(
                [trigger.path, *trigger.arguments],
                executable=Path(self._directory, trigger.path),
                cwd=self._directory,
                env=environment,
                stdin=nothing,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                bufsize=0,
                start_new_session=True,
                umask=0o022,
                user=None if user is None else user.uid,
                group=None if user is None else user.gid,
                extra_groups=None if user is None else [],
            )

    async def _end(self, child: _Child, time_limit: float) -> Outcome:
        """End a trigger that took too long."""
        error = f"did not end within {time_limit:g} seconds"
        child.signal(signal.SIGTERM)
        if await child.wait(self._kill_after):
            return Outcome(False, f"{error}; ended by SIGTERM", child.output.lines())
        child.signal(signal.SIGKILL)
        ended = await child.wait(REAP_WAIT)
        how = "ended by SIGKILL" if ended else "and not even by SIGKILL: it hangs in the kernel"
        return Outcome(False, f"{error}; {how}", child.output.lines())


class _Child:
    """A process and its output.

    The kernel tells its end through a descriptor, so that no thread waits for
    it; it is reaped there and then, also when nobody waits any more.
    """

    def __init__(self, process: subprocess.Popen[bytes]) -> None:
        self._process = process
        self._loop = asyncio.get_running_loop()
        self._ended = asyncio.Event()
        assert process.stdout is not None
        try:
            self._pidfd = os.pidfd_open(process.pid)
        except OSError:
            process.kill()
            process.wait()
            process.stdout.close()
            raise
        self._loop.add_reader(self._pidfd, self._reap)
        self.output = _Output(process.stdout, self._loop)

    @property
    def status(self) -> int:
        """Exit status, or the signal that ended it, negative."""
        return self._process.returncode or 0

    async def wait(self, seconds: float) -> bool:
        """Whether it ended within that time."""
        # Not asyncio.timeout(): in a task that was cancelled, as launch() is here, the one of Python
        # 3.11.2 cancels once more when it runs out.
        ending = self._loop.create_task(self._ended.wait())
        try:
            await asyncio.wait({ending}, timeout=seconds)
        finally:
            ending.cancel()
        return self._ended.is_set()

    def signal(self, number: int) -> None:
        """To it and all its children that have not left its process group."""
        # As long as it is not reaped, no other group can have its number.
        if self._process.returncode is None:
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self._process.pid, number)

    def _reap(self) -> None:
        self.signal(signal.SIGKILL)
        self._process.wait()
        self._loop.remove_reader(self._pidfd)
        os.close(self._pidfd)
        self.output.finish()
        self._ended.set()


class _Output:
    """The beginning of what a process prints."""

    def __init__(self, pipe: IO[bytes], loop: asyncio.AbstractEventLoop) -> None:
        os.set_blocking(pipe.fileno(), False)
        self._pipe = pipe
        self._loop = loop
        self._kept = bytearray()
        self._more = 0
        loop.add_reader(pipe, self._ready)

    def finish(self) -> None:
        """The process has ended: take what it left in the pipe."""
        while not self._pipe.closed and not self._is_full and self._read():
            pass
        self._close()

    def lines(self) -> tuple[str, ...]:
        """Lines of printable characters, and how much is missing."""
        text = self._kept.decode(errors="replace")
        lines = ["".join(c if c.isprintable() else " " for c in line) for line in text.splitlines()]
        more = self._more + sum(len(line) for line in lines[MAX_LINES:])
        return (*lines[:MAX_LINES], *([f"... and {more} bytes more"] if more else []))

    @property
    def _is_full(self) -> bool:
        return len(self._kept) >= MAX_OUTPUT

    def _ready(self) -> None:
        if self._pipe.closed:
            return
        if self._read() == 0:
            self._close()
        elif self._is_full:
            self._loop.remove_reader(self._pipe)
            self._loop.call_later(THROTTLE, self._go_on)

    def _go_on(self) -> None:
        if not self._pipe.closed:
            self._loop.add_reader(self._pipe, self._ready)

    def _read(self) -> int | None:
        """Take what is there: how much, 0 at the end; None where there is nothing now."""
        try:
            data = os.read(self._pipe.fileno(), CHUNK)
        except BlockingIOError:
            return None
        room = MAX_OUTPUT - len(self._kept)
        self._kept += data[:room]
        self._more += len(data[room:])
        return len(data)

    def _close(self) -> None:
        if not self._pipe.closed:
            self._loop.remove_reader(self._pipe)
            self._pipe.close()


def _outcome(child: _Child) -> Outcome:
    lines = child.output.lines()
    if child.status == 0:
        return Outcome(ok=True, output=lines)
    if child.status > 0:
        return Outcome(False, f"exit status {child.status}", lines)
    return Outcome(False, f"ended by {signal_name(-child.status)}", lines)


def signal_name(number: int) -> str:
    """SIGSEGV of 11."""
    try:
        return signal.Signals(number).name
    except ValueError:
        return f"signal {number}"


def _said(error: OSError | ValueError) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.strerror}: {error.filename}" if error.filename else error.strerror
    return str(error)
