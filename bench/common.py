# SPDX-License-Identifier: GPL-2.0-only
"""What the measurements share: what a command costs, a daemon to measure, a journal that takes all.

They use the tests' way of looking at processes, so they run with the interpreter that tools/test
sets up: .venv/bin/python bench/NAME.py
"""

from __future__ import annotations

import contextlib
import multiprocessing
import os
import resource
import signal
import socket
import sqlite3
import statistics
import subprocess
import sys
import sysconfig
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, Self

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

try:
    import systemd.daemon  # noqa: F401  # without it the daemon cannot say that it is ready

    from tests.integration import processes
    from tests.integration.conftest import memory_error
except ImportError as problem:
    sys.exit(f"{problem}: run tools/test once, then this with .venv/bin/python")

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, MutableSequence
    from types import TracebackType

    Counted = MutableSequence[float]

__all__ = [
    "ROOT",
    "Daemon",
    "bare",
    "imported",
    "interleaved",
    "machine",
    "median",
    "memory_error",
    "processes",
    "ratio",
]

PYTHON = os.path.realpath(sys.executable)
"""The interpreter without the environment that tests run in: what it loads at its start is not ours."""

PACKAGES = sysconfig.get_path("purelib")
"""Where that environment has the packages that the daemon uses."""

IMPORTS = """
import importlib, sys
sys.path[:0] = {path!r}
for name in {names!r}:
    try:
        importlib.import_module(name)
    except ImportError:
        pass
print(*(line.split()[1] for line in open("/proc/self/status") if line.startswith("VmRSS")))
"""

FORK = multiprocessing.get_context("fork")

CONFIG = """\
journal-socket = {directory}/journal
state-dir = {directory}/state
sysfs-root = {directory}/sys
bus = none
no-imc-log = yes
{settings}
[server]
socket-path = {directory}/client
[page]
memory-ce-action = account
"""

SECONDS = 600.0
"""How long anything is waited for."""


def machine() -> str:
    """What this was measured on, in one line."""
    load = os.getloadavg()[0]
    version = sys.version.split()[0]
    return f"Python {version}, {os.cpu_count()} processors, load {load:.1f}"


def median(values: Iterable[float]) -> float:
    return statistics.median(values)


def ratio(ours: Iterable[float], floor: Iterable[float]) -> float:
    """The median of the rounds' ratios: what slows a round down slows down both."""
    return median(one / other for one, other in zip(ours, floor, strict=True))


def cost(command: list[str]) -> float:
    """Seconds of a processor, its own and the kernel's, that a process takes whose output nobody reads."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def interleaved(commands: Mapping[str, list[str]], rounds: int) -> dict[str, list[float]]:
    """What each costs, in turns, so that they all see the same machine."""
    spent: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(rounds):
        for name, command in commands.items():
            spent[name].append(cost(command))
    return spent


class Journal:
    """Stands where journald would, in a process of its own, and counts what comes."""

    def __init__(self, path: Path) -> None:
        self._counted: Counted = FORK.RawArray("d", 3)
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._socket.bind(str(path))
        self._process = FORK.Process(target=self._run, daemon=True)
        self._process.start()
        self._socket.close()

    @property
    def count(self) -> int:
        return int(self._counted[0])

    @property
    def size(self) -> int:
        """Bytes of all of them."""
        return int(self._counted[1])

    @property
    def last(self) -> float:
        """When the last came, by time.perf_counter()."""
        return self._counted[2]

    def wait(self, count: int) -> None:
        wait_for(lambda: self.count >= count, lambda: f"{self.count} of {count} entries in the journal")

    def _run(self) -> None:
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        while entry := self._socket.recv(1 << 18):
            self._counted[2] = time.perf_counter()
            self._counted[1] += len(entry)
            self._counted[0] += 1

    def close(self) -> None:
        self._process.terminate()
        self._process.join()


def wait_for(condition: Callable[[], bool], what: Callable[[], str]) -> None:
    """Look every few milliseconds; end with how far it came where that takes too long."""
    end = time.monotonic() + SECONDS
    while not condition():
        if time.monotonic() > end:
            sys.exit(f"only {what()} within {SECONDS:.0f} s")
        time.sleep(0.01)


class Daemon:
    """A daemon as the service manager starts it, in a scratch directory, that reads from a FIFO."""

    def __init__(
        self,
        settings: str = "",
        *,
        watchdog: float = 0,
        options: tuple[str, ...] = (),
        from_fifo: bool = True,
    ) -> None:
        """`watchdog` as WatchdogSec=; `options` are the interpreter's. Not `from_fifo`: the settings name the
        source."""
        self._scratch = tempfile.TemporaryDirectory()
        self.directory = Path(self._scratch.name)
        self.database = self.directory / "state/mcelog.db"
        self.client = self.directory / "client"
        config = self.directory / "mcelog.conf"
        config.write_text(CONFIG.format(directory=self.directory, settings=settings))
        (self.directory / "sys").mkdir()
        os.mkfifo(self.directory / "device")
        self.feed = os.open(self.directory / "device", os.O_RDWR)
        self.journal = Journal(self.directory / "journal")
        self._notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._notify.bind(str(self.directory / "notify"))
        self._environ = {
            **os.environ,
            "PYTHONPATH": PACKAGES,
            "NOTIFY_SOCKET": str(self.directory / "notify"),
        }
        if watchdog:
            self._environ["WATCHDOG_USEC"] = str(round(watchdog * 1_000_000))
        self._command = [PYTHON, *options, "-m", "mcelogd"]
        self._command += ["--config-file", str(config), "--daemon", "--foreground"]
        self._command += [str(self.directory / "device")] if from_fifo else []
        self._messages = self.directory / "messages"
        self._process: subprocess.Popen[bytes] | None = None

    def start(self) -> Self:
        """Return when it says that it is ready."""
        with self._messages.open("wb") as messages:
            self._process = subprocess.Popen(
                self._command, cwd=ROOT, env=self._environ, stdout=messages, stderr=messages
            )
        self._notify.settimeout(1)
        wait_for(self._is_ready, lambda: f"a daemon that does not start: {self.messages()}")
        self._notify.settimeout(None)
        # From here on nobody reads that: it must not hold up whoever writes.
        threading.Thread(target=self._drain, daemon=True).start()
        return self

    def _is_ready(self) -> bool:
        assert self._process is not None
        if self._process.poll() is not None:
            sys.exit(f"the daemon does not start: {self.messages()}")
        try:
            return b"READY=1" in self._notify.recv(4096)
        except TimeoutError:
            return False

    def _drain(self) -> None:
        with contextlib.suppress(OSError):
            while self._notify.recv(4096):
                pass

    @property
    def pid(self) -> int:
        assert self._process is not None
        return self._process.pid

    def messages(self) -> str:
        """What it has written to standard output and standard error."""
        return self._messages.read_text()

    def send(self, records: bytes) -> None:
        """Write them to the FIFO, waiting for room."""
        view = memoryview(records)
        while view:
            view = view[os.write(self.feed, view[: 1 << 16]) :]

    def stored(self) -> int:
        """How many records there ever were in the store."""
        with contextlib.closing(sqlite3.connect(f"file:{self.database}?mode=ro", uri=True)) as db:
            (found,) = db.execute("SELECT coalesce(max(id), 0) FROM events").fetchone()
        return int(found)

    def wait_stored(self, count: int) -> None:
        wait_for(lambda: self.stored() >= count, lambda: f"{self.stored()} of {count} records in the store")

    def stop(self) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGTERM)
            self._process.wait()
            self._process = None

    def __enter__(self) -> Self:
        try:
            return self.start()
        except BaseException:
            self.close()
            raise

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self.close()

    def close(self) -> None:
        self.stop()
        os.close(self.feed)
        self.journal.close()
        with contextlib.suppress(OSError):
            self._notify.shutdown(socket.SHUT_RDWR)
        self._notify.close()
        self._scratch.cleanup()


class Bare(NamedTuple):
    """An interpreter that imports what a daemon has imported, and does no more."""

    seconds: float
    """Of a processor."""
    memory: int
    """Bytes that are resident then."""


def bare(names: list[str]) -> Bare:
    """Measure it once."""
    code = IMPORTS.format(path=[str(ROOT), PACKAGES], names=names)
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    printed = subprocess.run([PYTHON, "-I", "-c", code], check=True, capture_output=True, text=True).stdout
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Bare(spent, int(printed) << 10)


def imported() -> list[str]:
    """The modules that a daemon has loaded once it is ready and has taken a few records."""
    with Daemon(options=("-X", "importtime")) as daemon:
        daemon.send(b"".join(distinct(3)))
        daemon.wait_stored(3)
        lines = [line for line in daemon.messages().splitlines() if line.startswith("import time:")]
    return [line.rpartition("|")[2].strip() for line in lines[1:]]


def distinct(count: int, *, first: int = 0) -> Iterator[bytes]:
    """Memory errors, each of another page, on eight channels of two sockets."""
    for number in range(first, first + count):
        yield memory_error(number, socketid=number % 2, bank=13 + number % 8, apicid=64 * (number % 2))
