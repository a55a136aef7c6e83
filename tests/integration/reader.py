# SPDX-License-Identifier: GPL-2.0-only
"""A machine for who reads the documents: a failing DIMM, the daemon, a bus, a journal, those of others."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd.record import MceRecord, pack

from . import acting
from .acting import Acting, OfflineFile
from .conftest import wait_for
from .ctl_peers import ROOT, environment, journal
from .dbus_daemon import shipped_bus
from .journal_peer import JOURNALD, Journald
from .privatebus import need
from .test_fleet import CORRECTED, DEFERRED

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from .privatebus import PrivateBus

SECONDS = 60.0
HOST = "db7"
"""The name that the documents give to the machine."""
LABELS = "socket 0 channel 0 = CPU1_DIMM_A1\nsocket 0 channel 1 = CPU1_DIMM_B1\n"

IN_PLACE = (
    "mkdir -p /run/log /var/log/journal"
    ' && mount --bind "$1/journald/log" /run/log && mount --bind "$1/collected" /var/log/journal'
    ' && cd "$1/home" && exec bash -o pipefail -c "$2"'
)
"""A shell for which the journal of this machine is the stage's, and that of others what was collected."""

MEMORY = MceRecord(
    status=0x9C00004000000091,
    cpuid=0x606A6,
    bank=13,
    extcpu=2,
    socketid=0,
    apicid=4,
    mcgcap=0x0F000C20,
    microcode=0xD0003A5,
    ppin=0xB1C2D3E4F5061728,
)
"""A corrected read of channel 1, as an Ice Lake server has it."""
PANIC = ROOT / "tests/fixtures/ascii/panic.txt"
PLACES = (
    "dimm-labels = {directory}/labels",
    "earlier-journal = {directory}/before",
    "earlier-pstore = {directory}/pstore",
)
NOT_CORRECTED = 0xBC00000000000091
CACHE = MEMORY._replace(status=0x9000004000000135, bank=1, misc=0, addr=0)
PAGE = 0x4C0D00000


def at(row: int, column: int = 3, page: int = PAGE, **changes: int) -> MceRecord:
    """An error of a place in bank 2 of rank 0."""
    misc = 2 << 42 | row << 19 | column << 9 | 0x86
    return MEMORY._replace(misc=misc, addr=page)._replace(**changes)


def history(now: int) -> list[MceRecord]:
    """What came in the hours before: rows of one bank, a page that was hit twice, a loss, a cache's error."""
    rows = range(5)
    found = [at(0x1C00 + 0x133 * row, 3 + 40 * row, PAGE + 0x8000 * row) for row in rows]
    found += [at(0x1C00, 9), at(0x2C00, 70, 0x4C0E40000, status=NOT_CORRECTED), CACHE]
    return [one._replace(time=now - 600 * (len(found) - number)) for number, one in enumerate(found)]


class Reader:
    """Who types what the documents say."""

    def __init__(self, directory: Path, bus: PrivateBus, bench: Acting) -> None:
        self.directory = directory
        self.home = directory / "home"
        self.bus = bus
        self.bench = bench
        self.watched = directory / "watched"
        """What watch() has seen."""
        self.watched.touch()

    @property
    def environ(self) -> dict[str, str]:
        env = environment(self.bus)
        return env | {"PATH": f"{self.directory}/bin:{env['PATH']}", "SYSTEMD_PAGER": "cat", "COLUMNS": "200"}

    def shell(self, text: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            ["unshare", "--mount", "sh", "-c", IN_PLACE, "sh", str(self.directory), text],
            env=self.environ,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def type(self, text: str) -> tuple[int, str]:
        """Run a command to its end; status, and what was printed."""
        with self.shell(text) as process:
            try:
                printed, _ = process.communicate(timeout=SECONDS)
            except subprocess.TimeoutExpired:
                os.killpg(process.pid, signal.SIGKILL)
                raise
        return process.returncode, self._as_documented(printed)

    def watch(self, text: str, enough: Callable[[str], bool]) -> str:
        """Run a command that does not end, while errors come; what was printed when `enough` said so."""
        with self.shell(f"{{ {text}\n}} >{self.watched} 2>&1") as process:
            try:
                self._send_until(lambda: enough(self.watched.read_text()), process)
            finally:
                os.killpg(process.pid, signal.SIGKILL)
        return self._as_documented(self.watched.read_text())

    def _as_documented(self, printed: str) -> str:
        """With the names that the documents have for things."""
        return printed.replace(socket.gethostname(), HOST).replace(str(self.bench.fifo), "/dev/mcelog")

    def _send_until(self, condition: Callable[[], bool], process: subprocess.Popen[str]) -> None:
        end = time.monotonic() + SECONDS
        while not condition():
            assert time.monotonic() < end, self.watched.read_text()[:2000]
            assert process.poll() is None, self.watched.read_text()[:2000]
            self.bench.send(pack(at(row=0x1C00)._replace(time=int(time.time()))))
            time.sleep(1)


def _programs(directory: Path, bench: Acting, bus: PrivateBus) -> None:
    """The programs as a package installs them, and an ssh that goes nowhere but to the bus."""
    scripts = {
        "mcelog": f'exec {sys.executable} -m mcelogd --config-file {bench.config} "$@"',
        "mcelogctl": f'exec {sys.executable} -m mcelogd.ctl "$@"',
        "python3": f'exec {sys.executable} "$@"',
        "ssh": f"exec systemd-stdio-bridge --bus-path={bus.address}",
    }
    (directory / "bin").mkdir()
    for name, line in scripts.items():
        path = directory / "bin" / name
        path.write_text(f"#!/bin/sh\n{line}\n")
        path.chmod(0o755)


def _configure(bench: Acting, bus: PrivateBus) -> None:
    """The settings that are shipped, in other places."""
    (bench.directory / "journal").symlink_to(bench.directory / "journald/systemd/journal/socket")
    (bench.directory / "labels").write_text(LABELS)
    places = acting.BASE.replace("none", bus.address) + "".join(f"{name}\n" for name in PLACES)
    shipped = (ROOT / "data/mcelog.conf").read_text().replace("/etc/mcelog\n", f"{bench.triggers}\n")
    shipped = shipped.replace("#socket-path = /run/mcelog-client", f"socket-path = {bench.client_path}")
    bench.config.write_text(places.format(directory=bench.directory) + shipped)
    for script in (ROOT / "data/triggers").glob("*-trigger"):
        shutil.copy(script, bench.triggers)


def _leave_a_panic(pstore: Path, when: int) -> None:
    """What the kernel before this one said when it died."""
    text = re.sub(r"TIME \d+", f"TIME {when}", PANIC.read_text())
    (pstore / f"dmesg-efi-{when}01001").write_text(f"Panic#1 Part1\n{text}")


def _collect(directory: Path) -> None:
    """The journals of two machines, as systemd-journal-remote writes them."""
    remote = directory / "remote"
    remote.mkdir(parents=True)
    for name, label, errors in (("db7", "CPU1_DIMM_B1", 113), ("web1", "CPU0_DIMM_A1", 4993)):
        with journal(remote, name) as one:
            begun = time.time() - 1_795_374_194 - 60
            where = {"MCE_KIND": "memory", "MCE_LOCATION": "socket 1 channel 1", "MCE_DIMM_LABEL": label}
            for count in (1, errors):
                one.add("an error", begun + (count > 1), MCE_COUNT=str(count), **CORRECTED, **where)
            one.add("an error", begun + 2, MCE_COUNT="1", **DEFERRED, **where)


@contextlib.contextmanager
def reader(*, died: bool = False) -> Iterator[Reader]:
    """At a machine whose DIMM has been failing for some hours; the kernel before may have `died` of it."""
    need(JOURNALD, "systemd")
    directory = Path(tempfile.mkdtemp(prefix="mcelog-"))
    with contextlib.ExitStack() as stack:
        stack.callback(shutil.rmtree, directory)
        for name in ("home", "journald", "pstore", "before"):
            (directory / name).mkdir()
        if died:
            _leave_a_panic(directory / "pstore", int(time.time()) - 900)
        _collect(directory / "collected")
        journald = Journald(str(directory / "journald"))
        journald.start()
        stack.callback(journald.stop)
        assert journald.is_ready(), journald.output()
        bus = stack.enter_context(shipped_bus())
        bench = stack.enter_context(acting.bench_in(directory))
        _configure(bench, bus)
        _programs(directory, bench, bus)
        bench.own_proc = True
        (bench.proc / "cpuinfo").write_text("vendor_id : GenuineIntel\ncpu family : 6\nmodel : 106\n")
        pages = OfflineFile(bench, "soft")
        bench.start()
        records = history(int(time.time()))
        bench.send(b"".join(map(pack, records)))
        bench.wait_stored(len(records))
        wait_for(lambda: " offline " in bench.command("--client").stdout, "the page to be taken out of use")
        assert pages.addresses == [PAGE]
        yield Reader(directory, bus, bench)
        bench.stop()
