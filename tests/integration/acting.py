# SPDX-License-Identifier: GPL-2.0-only
"""A daemon that acts: on a scratch sysfs, with scripts for triggers, and on a /proc of its own."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import subprocess
import sys
import time
import weakref
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import pytest

from mcelogd.record import MceRecord, pack

from .conftest import Scratch, wait_for
from .journal_peer import Fields, Peer

if TYPE_CHECKING:
    from collections.abc import Iterator

UNSHARE = ["unshare", "-m"] if os.geteuid() == 0 else ["unshare", "-rm"]
"""Mounts of a process and its children alone."""


def _can_unshare() -> bool:
    command = [*UNSHARE, "sh", "-c", "mount --bind / /mnt"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


own_proc = pytest.mark.skipif(not _can_unshare(), reason="needs a mount namespace, for a /proc of its own")

NEHALEM = MceRecord(time=1_795_000_000, cpuid=0x106A5, bank=2, mcgcap=0x100010A)
"""As the kernel of a virtual Nehalem fills it in, whatever is injected: no MCG_CMCI_P, no MCG_TES_P."""

TES = 1 << 11
"""MCG_CAP: the yellow and green of caches count."""

VALID, MISC_VALID, ADDRESS_VALID = 1 << 63, 1 << 59, 1 << 58

BASE = """\
logfile = {directory}/log
state-dir = {directory}/state
journal-socket = {directory}/journal
sysfs-root = {directory}/sys
bus = none
"""
SERVER = """
[server]
socket-path = {directory}/client
[trigger]
directory = {directory}/triggers
"""


def memory(channel: int, dimm: int, errors: int = 0, **changes: int) -> bytes:
    """A corrected memory error without an address, at a DIMM of a Nehalem."""
    status = VALID | MISC_VALID | errors << 38 | 0xB0 + channel
    return pack(NEHALEM._replace(status=status, misc=channel << 18 | dimm << 16)._replace(**changes))


def page(frame: int, channel: int = 0, dimm: int = 0, errors: int = 0, **changes: int) -> bytes:
    """The same in a page; the fields of MISC say DIMM and channel, so they cannot say how exact it is."""
    status = VALID | MISC_VALID | ADDRESS_VALID | errors << 38 | 0xB0 + channel
    record = NEHALEM._replace(status=status, misc=channel << 18 | dimm << 16, addr=frame << 12, mcgcap=0xA)
    return pack(record._replace(**changes))


def cache(cpu: int, level: int, kind: int, colour: int, **changes: int) -> bytes:
    """A corrected error of a cache; `kind` 0 instruction, 1 data, 2 any, `colour` 1 green, 2 yellow."""
    status = VALID | MISC_VALID | colour << 53 | 0x100 + level + (kind << 2)
    return pack(NEHALEM._replace(status=status, extcpu=cpu, mcgcap=NEHALEM.mcgcap | TES)._replace(**changes))  # type: ignore[operator]  # not None


class Run(NamedTuple):
    """What a script noted of one run: what it is called, its arguments, its variables."""

    script: str
    arguments: list[str]
    variables: dict[str, str]


class Acting(Scratch):
    """Adds a scratch sysfs, a directory of triggers, and a journal.

    `own_proc`, if set before the start, has the daemon see `proc` as /proc: there no kpageflags says
    that a page was not really off-lined, and boot() is a reboot.
    """

    def __init__(self, directory: Path) -> None:
        super().__init__(directory)
        self.sysfs = directory / "sys"
        self.proc = directory / "proc"
        self.triggers = directory / "triggers"
        self.runs_directory = directory / "runs"
        self.triggers.mkdir()
        self.runs_directory.mkdir()
        # For those who run as another user.
        self.runs_directory.chmod(0o777)
        (self.sysfs / "devices/system/memory").mkdir(parents=True)
        self.boot("first")
        self.own_proc = False
        self.journal: Peer | None = None
        self._entries: list[Fields] = []

    def listen(self) -> None:
        """Be the journal, from here on."""
        self.journal = Peer(str(self.directory / "journal"))

    def entries(self, message_id: str) -> list[Fields]:
        """What was told with that id so far."""
        assert self.journal is not None
        self._entries += self.journal.read()
        return [entry for entry in self._entries if entry.get("MESSAGE_ID") == message_id.encode()]

    def stop(self, number: int = signal.SIGTERM) -> str:
        """End the daemon; the journal goes on listening meanwhile."""
        assert self.process is not None
        self.process.send_signal(number)
        while self.process.poll() is None:
            if self.journal is not None:
                self._entries += self.journal.read()
            time.sleep(0.01)
        return self.process.communicate()[0]

    def wait_entries(self, message_id: str, count: int = 1) -> list[Fields]:
        """All entries with that id, as soon as there are so many."""
        wait_for(lambda: len(self.entries(message_id)) >= count, f"{count} entries with the id {message_id}")
        return self.entries(message_id)

    def configure(self, text: str) -> None:
        """Settings; those above any section come first."""
        above, bracket, sections = text.partition("[")
        self.config.write_text((BASE + above + bracket + sections + SERVER).format(directory=self.directory))

    def script(self, name: str, *lines: str) -> Path:
        """A shell script that notes what it was given and then does what `lines` say."""
        path = self.triggers / name
        runs = shlex.quote(str(self.runs_directory))
        given = f"echo 'SCRIPT {name}'; printf 'ARG %s\\n' \"$@\"; env"
        note = f"{{ {given}; }} > {runs}/.$$ && mv {runs}/.$$ {runs}/$$"
        path.write_text("\n".join(["#!/bin/sh", note, *lines, ""]))
        path.chmod(0o755)
        return path

    def runs(self) -> list[Run]:
        """What scripts have noted so far, in the order in which they did."""
        files = sorted(self.runs_directory.glob("[!.]*"), key=lambda file: file.stat().st_mtime_ns)
        return [_run(file.read_text().splitlines()) for file in files]

    def wait_runs(self, count: int) -> list[Run]:
        wait_for(lambda: len(self.runs()) >= count, f"{count} runs of triggers")
        return self.runs()

    def running_lines(self) -> int:
        """How often the log says that a trigger is run."""
        return self.log.read_text().count("Running trigger") if self.log.exists() else 0

    def boot(self, name: str) -> None:
        """Make /proc that of another boot."""
        path = self.proc / "sys/kernel/random/boot_id"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{name}\n")
        (self.proc / "cpuinfo").write_text("vendor_id : GenuineIntel\ncpu family : 6\nmodel : 26\n")

    def start(self, *arguments: str, wait: bool = True, device: str | None = None) -> subprocess.Popen[str]:
        if not self.own_proc:
            return super().start(*arguments, wait=wait, device=device)
        shell = 'mount --bind "$1" /proc; shift; exec "$@"'
        daemon = [sys.executable, "-m", "mcelogd", "--config-file", str(self.config), "--daemon"]
        self.process = subprocess.Popen(
            [
                *(*UNSHARE, "sh", "-c", shell, "sh", str(self.proc)),
                *(*daemon, "--foreground", *arguments, device or str(self.fifo)),
            ],
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        if wait:
            wait_for(self.is_listening, "the daemon's socket")
        return self.process


def _run(lines: list[str]) -> Run:
    script, *rest = lines
    arguments = [line[4:] for line in rest if line.startswith("ARG ") and line != "ARG "]
    pairs = [line.partition("=") for line in rest if not line.startswith("ARG ")]
    variables = {name: value for name, _, value in pairs}
    return Run(script.removeprefix("SCRIPT "), arguments, variables)


class OfflineFile:
    """A FIFO in the place of soft_offline_page or hard_offline_page: the addresses written to it."""

    def __init__(self, acting: Acting, name: str) -> None:
        self.path = acting.sysfs / f"devices/system/memory/{name}_offline_page"
        os.mkfifo(self.path)
        # Opened for both, so that who writes need not wait for a reader.
        self._feed = os.open(self.path, os.O_RDWR | os.O_NONBLOCK)
        self._text = ""
        weakref.finalize(self, os.close, self._feed)

    @property
    def addresses(self) -> list[int]:
        """In the order in which they came."""
        with contextlib.suppress(BlockingIOError):
            self._text += os.read(self._feed, 1 << 16).decode()
        return [int(word, 16) for word in self._text.split("0x")[1:]]


def refuse(acting: Acting, name: str) -> None:
    """Writing to that file fails, whoever tries."""
    (acting.sysfs / f"devices/system/memory/{name}_offline_page").mkdir()


@contextlib.contextmanager
def bench_in(directory: Path) -> Iterator[Acting]:
    """A daemon that acts, not started yet; it has ended afterwards."""
    bench = Acting(directory)
    try:
        yield bench
    finally:
        if bench.process is not None:
            bench.process.kill()
            bench.process.wait()
            assert bench.process.stdout is not None
            bench.process.stdout.close()
        if bench.journal is not None:
            bench.journal.stop()
        os.close(bench.feed)


def children_of(pid: int) -> list[str]:
    """Names and states of the processes that a process has made and not yet reaped."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            head, _, rest = stat.read_text().rpartition(")")
            if rest.split()[1] == str(pid):
                found.append(f"{head.partition('(')[2]} {rest.split()[0]}")
    return found
