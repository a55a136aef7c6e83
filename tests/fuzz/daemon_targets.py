# SPDX-License-Identifier: GPL-2.0-only
"""Targets of the daemon's sides: its clients, and the files that an earlier run left."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import socket
import sqlite3
import struct
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mcelogd import cpu
from mcelogd.account.books import Books
from mcelogd.account.cores import CoreTable
from mcelogd.account.faults import FaultTable
from mcelogd.account.memory import MemoryKey, MemoryTable, Rates
from mcelogd.account.pages import PageTable
from mcelogd.account.text import history_text, memory_text, pages_text
from mcelogd.dbus.library import Received
from mcelogd.dbus.memory import MANAGER, READ, Dimm, path_of
from mcelogd.dbus.objects import ObjectTree
from mcelogd.dbus.wire import BusError, Frames, Kind, WireError, read_header
from mcelogd.dbus_iface import Manager
from mcelogd.intake import recover
from mcelogd.pipeline import Pipeline
from mcelogd.rate import NEVER, parse_rate
from mcelogd.record import LENGTH, MceRecord, layout, pack
from mcelogd.server.access import Peer
from mcelogd.server.commands import respond
from mcelogd.server.connection import Connection, Limits
from mcelogd.store.database import StoreError, open_or_replace, peek
from mcelogd.store.reader import EventQuery, StoreReader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcelogd.cpu import CpuType
    from mcelogd.dbus.gate import Job
    from mcelogd.event import Event
    from mcelogd.pipeline import Totals

NOW = 1_795_000_000
READ_ERROR = MceRecord(
    status=0x8C00004000010090, misc=0x86, addr=0x5000, time=NOW, cpuid=0x50654, bank=13, socketid=0, apicid=4
)


class Nobody:
    """Hears what happens, and does nothing about it."""

    def event(self, event: Event, about: object) -> None: ...

    def crossed(self, crossing: object, event: Event) -> None: ...


class Known:
    """Whose records they are."""

    def of(self, record: MceRecord) -> CpuType:
        return cpu.by_cpuid(record.cpuvendor, record.cpuid)


def books() -> Books:
    rates = Rates(parse_rate("2 / 24h"), NEVER)
    return Books(
        MemoryTable(rates, rates, track_dimms=None, track_sockets=None),
        pages=PageTable(parse_rate("2 / 24h"), 10),
        cores=CoreTable(parse_rate("2 / 24h")),
        faults=FaultTable(parse_rate("2 / 24h")),
    )


def pipeline() -> Pipeline:
    return Pipeline(
        cpu=Known(),
        books=books(),
        reporter=Nobody(),
        actions=Nobody(),
        summarize=lambda event: event.finding.what,
        clock=lambda: float(NOW),
        log_memory_errors=True,
    )


@functools.cache
def counted() -> Pipeline:
    """One that has counted something."""
    made = pipeline()
    for _ in range(3):
        made.take(layout(LENGTH), pack(READ_ERROR))
    return made


@functools.cache
def scratch() -> Path:
    """A directory in memory, where there is one, for all runs of this process."""
    shared = Path("/dev/shm")
    directory = tempfile.TemporaryDirectory(prefix="mcelog-fuzz-", dir=shared if shared.is_dir() else None)
    scratch.kept = directory  # type: ignore[attr-defined]  # removed when the process ends
    return Path(directory.name)


# -- the legacy socket ------------------------------------------------------------------------------


class Content:
    """What the daemon has to tell."""

    def dump_memory_errors(self, all: bool, bios: bool) -> str:
        return memory_text(counted().books.memory, NOW, every=all, bios=bios)

    def dump_page_errors(self) -> str:
        pages = counted().books.pages
        return pages_text(pages) if pages is not None else ""

    def dump_history(self) -> str:
        return history_text(counted().books.history)

    def change(self, *_: object) -> str:
        raise AssertionError("nobody but root may change anything")


ENDS = (b"done\n", b"pong\n", b"Unknown command\n", b"permission denied\n")


def legacy(data: bytes) -> int:
    """A client that is not root sends this, hangs up, and reads what it is answered: whole replies."""
    answered = asyncio.run(_talk(data))
    assert not answered or answered.endswith(ENDS)
    commands = sum(1 for line in data.replace(b"\0", b"").split(b"\n") if line.strip())
    assert sum(answered.count(b"\n" + end) for end in ENDS) <= commands
    return len(answered)


async def _talk(data: bytes) -> bytes:
    ours, theirs = socket.socketpair()
    closed = asyncio.get_running_loop().create_future()
    theirs.setblocking(False)

    def answer(_: Connection, line: str) -> bytes:
        return respond(Content(), line, 1000)

    Connection(ours, Peer(1, 1000, 1000), Limits(), answer, closed.set_result)
    loop = asyncio.get_running_loop()
    answered = bytearray()

    async def read() -> None:
        with contextlib.suppress(ConnectionResetError):
            while received := await loop.sock_recv(theirs, 1 << 16):
                answered.extend(received)

    with theirs:
        async with asyncio.timeout(10):
            reading = loop.create_task(read())
            with contextlib.suppress(BrokenPipeError, ConnectionResetError):
                await loop.sock_sendall(theirs, data)
            with contextlib.suppress(OSError):
                theirs.shutdown(socket.SHUT_WR)
            await closed
            await reading
    return bytes(answered)


# -- D-Bus ------------------------------------------------------------------------------------------


class Machine:
    """The daemon, as far as who is refused can come."""

    cpu_type = cpu_vendor = source = source_state = page_action = "x"

    @property
    def totals(self) -> Totals:
        return counted().totals

    def name_of(self, _: MemoryKey) -> None:
        return None

    def reload(self) -> list[str]:
        return ["nothing changed"]


class Bus:
    """Takes answers and signals; what is no BusError is nobody's to hide."""

    unique_name = ":1.1"

    def __init__(self) -> None:
        self.sent = 0

    def serve(self, handler: object) -> None: ...

    def emit(self, *_: object) -> bool:
        return True

    @contextlib.contextmanager
    def reply_to(self, _: Received) -> Iterator[None]:
        try:
            yield
        except BusError as error:
            self.sent += len(error.name) + len(error.text)


class Gate:
    """Lets everybody do at once what waits for nothing."""

    def take(self, bus: Bus, _: Received, job: Job) -> None:
        assert all(action.startswith("org.mcelog.") for action in job.actions)
        if not job.waits:
            answer = job.answer(job.work())
            answer.serial = 1
            bus.sent += len(answer._marshall())


def dbus(data: bytes) -> int:
    """A stream of messages from the bus; calls are answered up to where polkit would be asked."""
    bus = Bus()
    tree = ObjectTree(bus, MANAGER, Gate(), read=READ)
    tree.add(MANAGER, Manager(Machine(), counted().books, lambda _: None))
    for row in counted().books.memory:
        if not row.key.is_socket:
            tree.add(path_of(row.key), Dimm(row.key, counted().books, lambda _: None))
    frames = Frames({Kind.CALL: 4096}, 1 << 16)
    with contextlib.suppress(WireError):
        for start in range(0, len(data), 64):
            frames.feed(data[start : start + 64])
            while (frame := frames.next()) is not None:
                _take_call(tree, bus, frame)
    assert len(frames._buffer) <= max(1 << 17, len(data))
    return bus.sent // 4


def _take_call(tree: ObjectTree, bus: Bus, frame: bytes) -> None:
    try:
        header = read_header(frame)
        call = Received(header, frame)
    except (ValueError, TypeError):  # the connection passes those over
        return
    if header.kind == Kind.CALL and header.path:
        assert tree.handle(bus, call) in (True, False)


# -- what an earlier run left -----------------------------------------------------------------------


def spool(data: bytes) -> int:
    """A spool file: a header's first 280 bytes, then what is behind the header."""
    directory = scratch()
    content = data[:280].ljust(4096, b"\0") + data[280:]
    (directory / "spool-000000000001").write_bytes(content)
    taken = pipeline()
    kept = 0

    def put(batch: Any) -> None:
        nonlocal kept
        kept += sum(len(event.record) for event in batch.events)

    found = recover(directory, (1, 0), taken, put)
    assert found.generation >= 2
    assert kept <= len(data) + LENGTH
    return kept


@functools.cache
def database() -> bytes:
    """A store as a run leaves it."""
    path = scratch() / "whole.db"
    stored, _, _ = open_or_replace(path)
    taken = pipeline()
    for number in range(40):
        record = READ_ERROR._replace(addr=number << 12, time=NOW + number, bank=number % 20, extcpu=number)
        taken.take(layout(LENGTH), pack(record))
    stored.commit(taken.take_batch((3, 40), {"file": "128 1:2"}))
    stored.close()
    with contextlib.closing(sqlite3.connect(path)) as db:
        db.execute("PRAGMA journal_mode = DELETE")
    return path.read_bytes()


def store(data: bytes) -> int:
    """Damage: five bytes say what is written where, in the page number given by the first two."""
    content = bytearray(database())
    for start in range(0, len(data) - 4, 5):
        page, offset, value = struct.unpack_from("<BHH", data, start)
        struct.pack_into("<H", content, (page * 4096 + offset % 4095) % (len(content) - 1), value)
    path = scratch() / "damaged.db"
    for left in path.parent.glob("damaged.db*"):
        left.unlink()
    path.write_bytes(content)
    with contextlib.suppress(StoreError):
        peek(path)
    with contextlib.suppress(StoreError):
        opened, saved, _ = open_or_replace(path)
        with contextlib.closing(opened):
            return _go_on(path, saved)
    return 0


def _go_on(path: Path, saved: Any) -> int:
    taken = pipeline()
    taken.books.restore(saved.memory, saved.pages, saved.objects)
    taken.restore_totals(saved.state.get("totals", ""), saved.state.get("page_use", ""))
    reader = StoreReader(path)
    rows = []
    for ask in (lambda: reader.events(0, 100), lambda: reader.newest(EventQuery(kinds=["memory"]))):
        with contextlib.suppress(StoreError):
            rows += ask()
    for row in rows:
        taken.remember(row.record)
    memory_text(taken.books.memory, NOW, every=True, bios=True)
    return sum(len(row.summary) for row in rows)
