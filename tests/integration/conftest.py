# SPDX-License-Identifier: GPL-2.0-only
"""A real daemon in a scratch directory, fed through a FIFO."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd.record import MceRecord, pack

from .reliability import Claims

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

SECONDS = 20.0
DEVICE_FIXTURES = Path(__file__).parent.parent / "fixtures" / "device"

CONFIG = """\
logfile = {directory}/log
state-dir = {directory}/state
journal-socket = {directory}/journal
bus = none
[server]
socket-path = {directory}/client
[dimm]
ce-error-threshold = 10 / 24h
uc-error-threshold = 1 / 24h
ce-error-log = yes
[socket]
mem-ce-error-threshold = 100 / 24h
mem-uc-error-threshold = 100 / 24h
[page]
memory-ce-threshold = 2 / 24h
memory-ce-action = account
memory-ce-log = yes
"""


def wait_for(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Poll until `condition` holds; fail with `what` if it does not."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"timed out waiting for {what}"
        time.sleep(0.01)


def memory_error(number: int, **changes: int) -> bytes:
    """A corrected memory read on an Ice Lake server, told apart by its page."""
    record = MceRecord(
        status=0x9C00004000010090,
        misc=0x200000C086,
        addr=number << 12,
        time=1_795_000_000,
        cpuid=0x606A6,
        bank=5,
        socketid=0,
        apicid=0,
        mcgcap=0x100010A,
    )
    return pack(record._replace(**changes))


class Scratch:
    """A directory with configuration and FIFO, and the daemon that runs in it."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.fifo = directory / "device"
        self.log = directory / "log"
        self.state = directory / "state"
        self.database = self.state / "mcelog.db"
        self.client_path = directory / "client"
        self.config = directory / "mcelog.conf"
        self.config.write_text(CONFIG.format(directory=directory))
        os.mkfifo(self.fifo)
        # Opened for both, so that the pipe and what is in it outlive the daemon.
        self.feed = os.open(self.fifo, os.O_RDWR | os.O_NONBLOCK)
        self.process: subprocess.Popen[str] | None = None

    def command(self, *arguments: str, **popen: object) -> subprocess.CompletedProcess[str]:
        """Run `mcelog` with this directory's configuration."""
        return run_mcelog("--config-file", str(self.config), *arguments, **popen)

    def start(
        self, *arguments: str, wait: bool = True, device: str | None = None, from_fifo: bool = True
    ) -> subprocess.Popen[str]:
        """Run the daemon; not `from_fifo`: the configuration names the source."""
        source = [device or str(self.fifo)] if from_fifo else []
        self.process = subprocess.Popen(
            [
                *(sys.executable, "-m", "mcelogd", "--config-file", str(self.config)),
                *("--daemon", "--foreground", *arguments, *source),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if wait:
            wait_for(self.is_listening, "the daemon's socket")
        return self.process

    def is_listening(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, self.process.communicate()[0]
        return self.client_path.exists() and self.command("--ping").returncode == 0

    def stop(self, number: int = signal.SIGTERM) -> str:
        """End the daemon; what it printed."""
        assert self.process is not None
        self.process.send_signal(number)
        printed, _ = self.process.communicate(timeout=SECONDS)
        return printed

    def send(self, data: bytes) -> None:
        """Write whole records into the FIFO, waiting for room."""
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self.feed, view[:4096]) :]
            except BlockingIOError:
                time.sleep(0.002)

    def query(self, sql: str) -> list[tuple[object, ...]]:
        with sqlite3.connect(f"file:{self.database}?mode=ro", uri=True) as db:
            rows = db.execute(sql).fetchall()
        db.close()
        return rows

    def stored(self) -> int:
        return int(str(self.query("SELECT count(*) FROM events")[0][0])) if self.database.exists() else 0

    def wait_stored(self, count: int) -> None:
        wait_for(lambda: self.stored() >= count, f"{count} stored events")


def run_mcelog(*arguments: str, **popen: object) -> subprocess.CompletedProcess[str]:
    """Run `mcelog` to its end."""
    options: dict[str, object] = {"capture_output": True, "text": True, "timeout": SECONDS, **popen}
    return subprocess.run([sys.executable, "-m", "mcelogd", *arguments], check=False, **options)  # type: ignore[call-overload, no-any-return]  # options for Popen, of any type


@pytest.fixture
def scratch(tmp_path: Path) -> Iterator[Scratch]:
    scratch = Scratch(tmp_path)
    yield scratch
    if scratch.process is not None:
        scratch.process.kill()
        scratch.process.wait()
        assert scratch.process.stdout is not None
        scratch.process.stdout.close()
    os.close(scratch.feed)


@pytest.fixture
def claims(request: pytest.FixtureRequest) -> Claims:
    """What a test that carries a row of docs/reliability.md has to prove of it."""
    return Claims(request.function.fault)
