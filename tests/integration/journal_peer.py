# SPDX-License-Identifier: GPL-2.0-only
"""The other side of mcelogd.journal in tests: a socket of the test's own, or a real journald."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import resource
import signal
import socket
import struct
import subprocess
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcelogd import journal

Fields = dict[str, bytes]

JOURNALD = Path("/lib/systemd/systemd-journald")
ALL_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def parse(data: bytes) -> list[tuple[str, bytes]]:
    """An entry of the native protocol, read as its specification says."""
    fields = []
    while data:
        line, data = data.split(b"\n", 1)
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack_from("<Q", data)
            value, end, data = data[8 : 8 + size], data[8 + size : 9 + size], data[9 + size :]
            assert end == b"\n"
        fields.append((name.decode(), value))
    return fields


class Peer:
    """A socket in the place of journald's, which reads only when told to."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.start()

    def start(self) -> None:
        self.socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.socket.bind(self.path)
        self.socket.setblocking(False)

    def stop(self) -> None:
        Path(self.path).unlink(missing_ok=True)
        self.socket.close()

    def read(self) -> list[Fields]:
        """All entries that are there."""
        entries = []
        with contextlib.suppress(BlockingIOError):
            while True:
                data, fds, _, _ = socket.recv_fds(self.socket, 1 << 20, 4)
                entries.append(dict(parse(data or read_sealed(fds))))
        return entries

    def read_until_empty(self, sender: journal.Journal) -> list[Fields]:
        """Take everything a Journal without a loop has queued."""
        entries = self.read()
        while sender.queued:
            sender.send({"MESSAGE": "push"})
            entries += self.read()
        return entries


def read_sealed(fds: list[int]) -> bytes:
    (fd,) = fds
    with os.fdopen(fd, "rb") as file:
        assert fcntl.fcntl(fd, fcntl.F_GET_SEALS) == ALL_SEALS
        file.seek(0)
        return file.read()


@contextlib.contextmanager
def open_peer() -> Iterator[Peer]:
    """A Peer on a socket; pytest's own directories can have paths too long for one."""
    with tempfile.TemporaryDirectory(prefix="mcelog-") as directory:
        peer = Peer(f"{directory}/socket")
        yield peer
        peer.stop()


def numbers(entries: list[Fields]) -> list[int]:
    return [int(entry["N"]) for entry in entries if "N" in entry]


def gaps(entries: list[Fields]) -> list[int]:
    return [int(entry["MCE_DROPPED"]) for entry in entries if "MCE_DROPPED" in entry]


def as_bytes(value: str | bytes | int) -> bytes:
    return value if isinstance(value, bytes) else str(value).encode(errors="backslashreplace")


@contextlib.contextmanager
def no_new_descriptors() -> Iterator[None]:
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, limits[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def open_files() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


@contextlib.contextmanager
def failing_after(seconds: int) -> Iterator[None]:
    """Fail, instead of hanging, when something blocks the only thread."""

    def alarm(_number: int, _frame: object) -> None:
        # No TimeoutError: that is an OSError, which the code under test takes for a broken connection.
        raise AssertionError(f"blocked for {seconds} seconds")

    previous = signal.signal(signal.SIGALRM, alarm)
    signal.alarm(seconds)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, previous)


class Journald:
    """A journald whose /run is `directory`."""

    CONFIG = """[Journal]
        Storage=volatile
        Audit=
        ReadKMsg=no
        ForwardToSyslog=no
        ForwardToConsole=no
        ForwardToWall=no
        RateLimitIntervalSec=0
        """
    START = 'mount --make-rprivate / && mount --rbind "$1" /run && exec "$2"'

    def __init__(self, directory: str) -> None:
        self.directory = Path(directory)
        self.socket = str(self.directory / "systemd/journal/socket")
        config = self.directory / "systemd/journald.conf.d/test.conf"
        config.parent.mkdir(parents=True)
        config.write_text(self.CONFIG)
        (self.directory / "log").mkdir()

    def start(self) -> None:
        namespace = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
        with (self.directory / "output").open("w") as output:
            self.process = subprocess.Popen(
                ["unshare", *namespace, "sh", "-c", self.START, "sh", self.directory, JOURNALD],
                stdout=output,
                stderr=output,
                env={"PATH": os.environ["PATH"]},
            )

    def is_ready(self) -> bool:
        """Whether it takes entries within ten seconds."""
        end = time.monotonic() + 10
        while self.process.poll() is None and time.monotonic() < end:
            if Path(self.socket).exists() and any((self.directory / "log").rglob("*.journal")):
                return True
            time.sleep(0.02)
        return False

    def is_stopped(self) -> bool:
        stat = Path(f"/proc/{self.process.pid}/stat").read_text()
        return stat.rpartition(") ")[2].startswith("T")

    def stop(self) -> None:
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(10)

    def output(self) -> str:
        return (self.directory / "output").read_text().strip()

    def entries(self, count: int) -> list[dict[str, Any]]:
        """The entries of mcelog, as soon as there are `count`."""
        end = time.monotonic() + 20
        while len(lines := self.journalctl("--all", "-o", "json").splitlines()) < count:
            assert time.monotonic() < end, f"{len(lines)} of {count} entries"
            time.sleep(0.05)
        return [json.loads(line) for line in lines]

    def journalctl(self, *options: str) -> str:
        command = ["journalctl", "-D", self.directory / "log/journal", "-t", "mcelog", "--no-pager", *options]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout
