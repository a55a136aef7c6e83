# SPDX-License-Identifier: GPL-2.0-only
"""What mcelogctl talks to: an mcelog that says what the test wants, and journals of the test's making."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcelogd.dbus.connection import BusConnection, BusState
from mcelogd.dbus.library import Message, body_of
from mcelogd.dbus.wire import ACCESS_DENIED, INTERACTION_REQUIRED, UNKNOWN_METHOD, BusError

from .privatebus import need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcelogd.dbus.repairs import RepairedBus

    from .privatebus import PrivateBus

SECONDS = 20.0
DENIED, ASKS = ACCESS_DENIED, INTERACTION_REQUIRED
ROOT = Path(__file__).resolve().parents[2]
JOURNAL_REMOTE = Path("/lib/systemd/systemd-journal-remote")

STATE: dict[str, Any] = {"Version": "9.9", "CpuType": "icelake_server", "CpuVendor": "Intel"}
STATE |= {"Source": "/dev/mcelog", "SourceState": "reading", "PageAction": "soft"}
TOTALS = {"RecordsRead": 12, "RecordsLost": 0, "CorrectedErrors": 12, "UncorrectedErrors": 0}
TOTALS |= {"LastEventTime": 1_795_374_194}
NUMBERS = (
    "CorrectedErrors",
    "UncorrectedErrors",
    "CorrectedInPeriod",
    "UncorrectedInPeriod",
    "LastErrorTime",
)
TEXTS = ("Label", "Location", "Manufacturer", "PartNumber", "SerialNumber", "FaultMode")
TEXTS += ("CorrectedThreshold", "UncorrectedThreshold")


def dimm(**properties: Any) -> dict[str, Any]:
    """The interfaces of a DIMM that is well, but for what is said."""
    values = dict.fromkeys((*NUMBERS, "Size"), ("t", 0)) | dict.fromkeys(TEXTS, ("s", ""))
    values |= {"Socket": ("i", 0), "Channel": ("i", 0), "Dimm": ("i", 0)}
    values |= {"Advice": ("s", "none"), "AdviceReasons": ("as", [])}
    for name, value in properties.items():
        values[name] = (values[name][0], value)
    return {"org.mcelog.Dimm": values}


PLACE, LABEL = "/org/mcelog/dimm/1_1_0", "CPU1_DIMM_B1"


def some_dimms() -> dict[str, dict[str, Any]]:
    """The objects of a machine: some have labels, one has errors."""
    return {
        PLACE: dimm(Label=LABEL, CorrectedErrors=12, CorrectedInPeriod=3, CorrectedThreshold="10 / 24h"),
        "/org/mcelog/dimm/0_10_any": dimm(),
        "/org/mcelog/dimm/0_2_0": dimm(Label="twin"),
        "/org/mcelog/dimm/0_3_0": dimm(Label="Twin"),
    }


class FakeMcelog:
    """org.mcelog on a bus, in a thread. Its answers are attributes, to be changed at any time."""

    def __init__(self, bus: PrivateBus) -> None:
        self.manager: dict[str, Any] = {name: ("s", value) for name, value in STATE.items()}
        self.manager |= {name: ("t", value) for name, value in TOTALS.items()}
        self.objects: dict[str, dict[str, Any]] = {}
        self.answers: dict[str, tuple[str, list[Any]]] = {}
        """Of methods: member -> signature and values."""
        self.events: list[tuple[Any, ...]] = []
        self.denied: dict[str, str] = {}
        """Member -> name of the error; INTERACTION_REQUIRED is for who does not allow interaction."""
        self.calls: list[tuple[str, list[Any]]] = []
        self._bus = bus
        self._loop = asyncio.new_event_loop()
        self._ready = threading.Event()
        self._stop = asyncio.Event()
        self.connection = BusConnection(self._bus.address, name="org.mcelog")
        self._thread = threading.Thread(target=lambda: self._loop.run_until_complete(self._run()))

    def __enter__(self) -> FakeMcelog:
        self._thread.start()
        assert self._ready.wait(SECONDS)
        return self

    def __exit__(self, *_: object) -> None:
        self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(SECONDS)
        self._loop.close()

    def emit(self, path: str, interface: str, member: str, signature: str, *values: Any) -> None:
        """Send a signal."""
        self._loop.call_soon_threadsafe(self.connection.emit, path, interface, member, signature, values)

    def log_event(self, number: int, **row: Any) -> None:
        """Have one more event, and tell of it."""
        self.events.append(event(number, **row))
        values = (number, "memory", "corrected", "/org/mcelog")
        self.emit("/org/mcelog", "org.mcelog.Manager", "EventLogged", "tsso", *values)

    async def _run(self) -> None:
        self.connection.serve(self._handle)
        self.connection.start()
        await self.connection.settle(SECONDS)
        assert self.connection.state is BusState.UP, self.connection.reason
        self._ready.set()
        await self._stop.wait()
        await self.connection.close()

    def _handle(self, bus: RepairedBus, call: Message) -> bool:
        with bus.reply_to(call) as reply:
            member = str(call.member)
            self.calls.append((member, list(call.body)))
            error = self.denied.get(member)
            if error and not (error == INTERACTION_REQUIRED and call.flags & 4):
                raise BusError(error, f"{member} is not for you")
            signature, values = self._answer(call, member)
            reply(Message.new_method_return(call, signature, body_of(signature, values)))
        return True

    def _answer(self, call: Message, member: str) -> tuple[str, list[Any]]:
        if member == "GetAll":
            of_path = {"org.mcelog.Manager": self.manager} | self.objects.get(str(call.path), {})
            return "a{sv}", [of_path[call.body[0]]]
        if member == "GetManagedObjects":
            return "a{oa{sa{sv}}}", [self.objects]
        if member == "GetEvents":
            after, limit = call.body
            return "a(ttssuuosay)", [[row for row in self.events if row[0] > after][:limit]]
        if member in self.answers:
            return self.answers[member]
        if member in ("MarkReplaced", "Acquit", "ResetCounters"):
            return "", []
        raise BusError(UNKNOWN_METHOD, f"no method {member}")


def event(number: int, **row: Any) -> tuple[Any, ...]:
    """A row of GetEvents."""
    values = {"time": 1_795_374_000 + number, "kind": "memory", "severity": "corrected", **row}
    return (number, values["time"], values["kind"], values["severity"], 3, 5, "/", f"event {number}", b"\0\1")


def ctl(*arguments: str, bus: PrivateBus | None = None, **popen: Any) -> subprocess.CompletedProcess[str]:
    """Run mcelogctl to its end; its system bus is `bus`, or none that there is."""
    options: dict[str, Any] = {"env": environment(bus), "timeout": SECONDS, **popen}
    return subprocess.run(command(*arguments), capture_output=True, text=True, check=False, **options)


def command(*arguments: str) -> list[str]:
    return [sys.executable, "-m", "mcelogd.ctl", *arguments]


def environment(bus: PrivateBus | None = None, **more: str) -> dict[str, str]:
    address = "unix:path=/nonexistent/bus" if bus is None else bus.address
    return {
        "PATH": os.environ["PATH"],
        "PYTHONPATH": str(ROOT),
        "LC_ALL": "C.UTF-8",
        "TZ": "UTC",
        "DBUS_SYSTEM_BUS_ADDRESS": address,
        **more,
    }


class Live:
    """A program that runs until it is ended, and what it prints meanwhile; on a terminal, if asked for."""

    def __init__(self, argv: list[str], env: dict[str, str], *, columns: int = 0) -> None:
        self.printed = ""
        if columns:
            self._output, theirs = pty.openpty()
            subprocess.run(["stty", "cols", str(columns), "rows", "24"], stdin=theirs, check=True)
            streams: dict[str, Any] = {"stdin": theirs, "stdout": theirs, "stderr": theirs}
        else:
            self._output, theirs = os.pipe()
            streams = {"stdin": subprocess.DEVNULL, "stdout": theirs, "stderr": theirs}
        self.process = subprocess.Popen(argv, env=env, start_new_session=True, **streams)
        os.close(theirs)

    def __enter__(self) -> Live:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        os.close(self._output)

    def read_until(self, text: str) -> str:
        """What was printed in all, once `text` is there."""
        end = time.monotonic() + SECONDS
        while text not in self.printed:
            assert time.monotonic() < end, f"no {text!r} in {self.printed!r}"
            assert self._read(0.1) or self.process.poll() is None, f"no {text!r} in {self.printed!r}"
        return self.printed

    def finish(self) -> int:
        """Read to the end; the exit status."""
        end = time.monotonic() + SECONDS
        while self._read(0.1) or self.process.poll() is None:
            assert time.monotonic() < end, f"did not end: {self.printed!r}"
        return self.process.wait()

    def interrupt(self) -> int:
        self.process.send_signal(signal.SIGINT)
        return self.finish()

    def type(self, text: str) -> None:
        os.write(self._output, text.encode())

    def _read(self, seconds: float) -> bool:
        if not select.select([self._output], [], [], seconds)[0]:
            return False
        with contextlib.suppress(OSError):  # EIO: nobody has the terminal open any more
            data = os.read(self._output, 65536)
            self.printed += data.decode(errors="replace")
            return bool(data)
        return False


class Journal:
    """A journal file, written by the program that collects those of other machines."""

    def __init__(self, directory: Path, name: str = "db7") -> None:
        need(JOURNAL_REMOTE, "systemd-journal-remote")
        self.machine = (name.encode().hex() * 32)[:32]
        self.name = name
        self._count = 0
        self._writer = subprocess.Popen(
            [JOURNAL_REMOTE, "-o", directory / f"remote-{name}.journal", "-"],
            stdin=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )

    def add(self, message: str, seconds: float = 0.0, *, uid: int = 0, **fields: str | list[str]) -> None:
        """An entry, logged so many seconds after 2026-11-22 19:03:14 UTC."""
        self._count += 1
        stamp = 1_795_374_194_000_000 + int(seconds * 1e6)
        known: dict[str, str | list[str]] = {
            "__REALTIME_TIMESTAMP": str(stamp),
            "__MONOTONIC_TIMESTAMP": str(stamp - 1_795_000_000_000_000 + self._count),
            "_BOOT_ID": self.machine,
            "_MACHINE_ID": self.machine,
            "_HOSTNAME": self.name,
            "_UID": str(uid),
            "MESSAGE": message,
            **fields,
        }
        entry = b"".join(
            _exported(name, value)
            for name, values in known.items()
            for value in ([values] if isinstance(values, str) else values)
        )
        assert self._writer.stdin is not None
        self._writer.stdin.write(entry + b"\n")
        self._writer.stdin.flush()

    def close(self) -> None:
        assert self._writer.stdin is not None
        self._writer.stdin.close()
        self._writer.wait(SECONDS)


def _exported(name: str, value: str) -> bytes:
    """As journald's export format has it (https://systemd.io/JOURNAL_EXPORT_FORMATS)."""
    data = value.encode()
    if data.isascii() and value.isprintable():
        return f"{name}={value}\n".encode()
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"


@contextlib.contextmanager
def journal(directory: Path, name: str = "db7") -> Iterator[Journal]:
    made = Journal(directory, name)
    try:
        yield made
    finally:
        made.close()
