# SPDX-License-Identifier: GPL-2.0-only
"""Both ends of the legacy socket for tests: a server with canned text, clients as others write them."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import os
import queue
import select
import socket
import subprocess
import sys
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd.server import Access, LegacyServer, Limits, respond

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).parents[2]
SOMEBODY = 61234
"""A uid and gid that no system has by name."""

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="becoming another user needs root")

ROW = """\
SOCKET {socket} CHANNEL {channel} DIMM {dimm}
{names}corrected memory errors:
\t{corrected} total
\t{recent} in 24h
uncorrected memory errors:
\t{uncorrected} total
\t0 in 24h
"""
BLOCKED = 2.0
"""Seconds for one turn of the event loop that mean something blocks; a busy machine takes less."""

PAGES = (
    "Per page corrected memory statistics:\n"
    '208c00000: total 11 seen "10 in 24h" offline triggered\n\n'
    '7ff4c000: total 1 seen "1 in 24h" online\n\n'
)


class Canned:
    """Text in the C program's shapes (memdb.c, page.c) for `dimms` DIMMs; nothing at all for 0."""

    def __init__(self, dimms: int = 2, corrected: int = 11, uncorrected: int = 1, pages: str = PAGES) -> None:
        self.dimms = dimms
        self.corrected = corrected
        self.uncorrected = uncorrected
        self.pages = pages

    def dump_memory_errors(self, all: bool, bios: bool, /) -> str:
        rows = [self._row(dimm, bios) for dimm in range(self.dimms) if all or self.corrected]
        if self.dimms:
            rows.append(self._row(None, bios))
        return "Memory errors\n" + "\n".join(rows) if rows else ""

    def dump_page_errors(self) -> str:
        return self.pages

    def dump_history(self) -> str:
        return ""

    def change(self, command: str, place: str, uid: int, /) -> str:
        return f"{command} {place} by {uid}\n"

    def _row(self, dimm: int | None, bios: bool) -> str:
        names = f'DMI_NAME "DIMM_A{dimm}" DMI_LOCATION "Node0_Bank{dimm}"\n'
        return ROW.format(
            socket=0,
            channel="any" if dimm is None else 1,
            dimm="any" if dimm is None else dimm,
            names=names if bios and dimm is not None else "",
            corrected=self.corrected,
            recent=min(self.corrected, 10),
            uncorrected=self.uncorrected,
        )


class Server:
    """A LegacyServer in an event loop of its own thread; `longest_turn` is how long it was busy at a time."""

    def __init__(
        self,
        path: Path,
        content: Canned | None = None,
        access: Access | None = None,
        limits: Limits | None = None,
        answer: Callable[[str, int], bytes] | None = None,
        adopt: socket.socket | None = None,
        ping_timeout: float = 5.0,
    ) -> None:
        self.path = path
        self.problems: list[str] = []
        self.longest_turn = 0.0
        self._content = content or Canned()
        self._answer = answer or (lambda line, uid: respond(self._content, line, uid))
        self._access = access or Access(uid=os.getuid())
        self._limits = limits or Limits()
        self._adopt = adopt
        self._ping_timeout = ping_timeout
        self._ready: queue.Queue[Exception | None] = queue.Queue()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main()))

    def __enter__(self) -> Server:
        self._thread.start()
        if problem := self._ready.get(timeout=10):
            self._thread.join()
            raise problem
        return self

    def __exit__(self, *_: object) -> None:
        self.loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(10)
        assert not self._thread.is_alive()
        assert self.problems == []
        assert self.longest_turn < BLOCKED

    @property
    def connections(self) -> int:
        """How many clients the server serves."""
        return len(self.server._clients)

    @property
    def denied(self) -> int:
        """How many wait to be told that they may not ask."""
        return len(self.server._denied)

    def let_time_pass(self, seconds: float) -> None:
        """Make every client that much more idle."""

        def age() -> None:
            for client in self.server._clients:
                client.last_used -= seconds
            aged.set()

        aged = threading.Event()
        self.loop.call_soon_threadsafe(age)
        assert aged.wait(10)

    async def _main(self) -> None:
        self.loop = asyncio.get_running_loop()
        self.loop.set_exception_handler(lambda _, context: self.problems.append(repr(context)))
        self._stop = asyncio.Event()
        self.server = LegacyServer(self._answer, self._access, self._limits)
        try:
            if self._adopt:
                self.server.adopt(self._adopt.detach())
            else:
                await self.server.bind(str(self.path), ping_timeout=self._ping_timeout)
        except Exception as error:
            self._ready.put(error)
            return
        watch = asyncio.create_task(self._watch())
        self._ready.put(None)
        await self._stop.wait()
        watch.cancel()
        self.server.close()

    async def _watch(self) -> None:
        while True:
            before = time.monotonic()
            await asyncio.sleep(0)
            self.longest_turn = max(self.longest_turn, time.monotonic() - before)
            await asyncio.sleep(0.005)


@contextlib.contextmanager
def scratch_socket() -> Iterator[Path]:
    """A short path for a socket, where other users may connect: pytest's directories are closed to them."""
    with tempfile.TemporaryDirectory(prefix="mcelog-") as directory:
        Path(directory).chmod(0o755)
        yield Path(directory, "client")


def connect(path: Path, timeout: float = 5.0) -> socket.socket:
    """A connection with a timeout; waits, as blocking clients do, while the backlog is full."""
    client = socket.socket(socket.AF_UNIX)
    client.connect(str(path))
    client.settimeout(timeout)
    return client


def read_reply(client: socket.socket, end: bytes = b"done\n") -> bytes:
    """What arrives up to `end`, or to the end of the connection."""
    reply = b""
    while not reply.endswith(end):
        try:
            data = client.recv(65536)
        except ConnectionResetError:
            break
        if not data:
            break
        reply += data
    return reply


def request(path: Path, text: bytes, end: bytes = b"done\n") -> bytes:
    """The reply to one request on a connection of its own."""
    with connect(path) as client:
        client.sendall(text)
        return read_reply(client, end)


def ends(client: socket.socket, seconds: float) -> bool:
    """Whether the server closes the connection within that time, without another byte."""
    if not select.select([client], [], [], seconds)[0]:
        return False
    try:
        return client.recv(1) == b""
    except ConnectionResetError:
        return True


def request_as(path: Path, text: bytes, uid: int, gid: int, groups: tuple[int, ...] = ()) -> bytes:
    """The reply to a process of another user. Needs root."""
    code = (
        "import os, socket, sys\n"
        f"os.setgroups({list(groups)}); os.setresgid(*[{gid}] * 3); os.setresuid(*[{uid}] * 3)\n"
        f"s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect({str(path)!r})\n"
        f"s.sendall({text!r})\n"
        "sys.stdout.buffer.write(s.recv(65536))\n"
    )
    return subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, timeout=30).stdout


def mcelog(function: str, path: Path | str, *, timeout: float = 5.0) -> list[str]:
    """The command of `mcelog --client` (run_client) or `--ping` (run_ping), command line parsing aside."""
    code = f"import sys; from mcelogd import client; sys.exit(client.{function}({str(path)!r}, {timeout}))"
    return [sys.executable, "-c", code]


def run(command: list[str], **options: object) -> subprocess.CompletedProcess[str]:
    """The finished command; its output as text."""
    runner = functools.partial(
        subprocess.run, check=False, capture_output=True, text=True, timeout=30, cwd=ROOT
    )
    return runner(command, **options)


def eventually(condition: Callable[[], bool], seconds: float = 5.0) -> bool:
    """Whether it comes true within that time."""
    end = time.monotonic() + seconds
    while not (now := condition()) and time.monotonic() < end:
        time.sleep(0.01)
    return now
