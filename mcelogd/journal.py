# SPDX-License-Identifier: GPL-2.0-only
"""Structured entries to journald, without ever waiting for it.

sd_journal_sendv() blocks while journald does not read, and both
systemd.journal.sendv and cysystemd.journal.send hold the interpreter's lock
meanwhile: with a stuck journald (SIGSTOP, a hanging disk) one call stops every
thread of the process, watchdog and signal handling included. So this module
speaks journald's protocol itself, on a non-blocking socket, and keeps what
journald does not take in a bounded queue.

Protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL
"""

from __future__ import annotations

import enum
import errno
import fcntl
import functools
import logging
import os
import re
import select
import socket
import struct
import threading
import time
from collections import deque
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

from mcelogd import message_ids

if TYPE_CHECKING:
    import asyncio

Value = str | int | bytes
Fields = Mapping[str, Value | Sequence[Value]]
"""Field name -> value; a list where the entry has the field several times."""

SOCKET = "/run/systemd/journal/socket"
IDENTIFIER = "mcelog"
MAX_ENTRIES = 10_000
MAX_BYTES = 16 << 20
CLOSE_TIMEOUT = 2.0

BATCH = 256
"""Entries sent in one go: about 3 ms, so that a long queue does not hold up the loop."""

FIRST_RETRY = 0.1
LAST_RETRY = 10.0
"""Seconds between attempts to connect while journald is away: doubled from first to last."""

INVALID_FIELDS = "MCE_INVALID_FIELDS"
"""Names a caller got wrong, so that the mistake shows; journald would drop them in silence."""

_NAME = re.compile(r"[A-Z][A-Z0-9_]{0,63}")
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


@functools.lru_cache(maxsize=1024)
def is_field_name(name: str) -> bool:
    """Whether journald takes this field from a client: `_` at the start is its own."""
    return _NAME.fullmatch(name) is not None


def encode(fields: Fields) -> bytes:
    """One entry as journald's native protocol has it, SYSLOG_IDENTIFIER added where it is missing.

    Values may hold anything, line ends and NUL included. Fields with an
    invalid name are left out and named in INVALID_FIELDS.
    """
    parts: list[bytes] = []
    invalid: list[str] = []
    for name, value in fields.items():
        if not is_field_name(name):
            invalid.append(repr(name))
        elif isinstance(value, (list, tuple)):
            parts += [_encode_field(name, one) for one in value]
        else:
            parts.append(_encode_field(name, value))
    if invalid:
        parts.append(_encode_field(INVALID_FIELDS, " ".join(invalid)))
    if "SYSLOG_IDENTIFIER" not in fields:
        parts.append(_encode_field("SYSLOG_IDENTIFIER", IDENTIFIER))
    return b"".join(parts)


def _encode_field(name: str, value: object) -> bytes:
    if isinstance(value, bytes):
        data = value
    elif "\n" not in (text := str(value)):
        return f"{name}={text}\n".encode(errors="backslashreplace")
    else:
        data = text.encode(errors="backslashreplace")
    return name.encode() + b"\n" + struct.pack("<Q", len(data)) + data + b"\n"


class _Outcome(enum.Enum):
    """What became of one attempt to send."""

    SENT = enum.auto()
    FULL = enum.auto()
    """journald does not read: the socket becomes writable when it does."""
    AWAY = enum.auto()
    """Nobody there: nothing but time can tell when that changes."""
    IMPOSSIBLE = enum.auto()
    """This entry can never be sent."""


class _Connection:
    """The socket to journald, made anew when it breaks; `met` once it was there."""

    def __init__(self, path: str) -> None:
        self._path = path
        self.socket: socket.socket | None = None
        self.met = False

    def connect(self) -> bool:
        """Whether there is a connection, now that it was tried."""
        if self.socket is None:
            try:
                self.socket = _connected(self._path)
            except OSError:  # absent, refused, forbidden, no descriptor left: no journal, for now
                return False
            self.met = True
        return True

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()
            self.socket = None

    def send(self, entry: bytes) -> _Outcome:
        """Try once; over a new connection if the old one broke, as after a restart of journald."""
        for _ in range(2):
            if not self.connect() or self.socket is None:
                return _Outcome.AWAY
            try:
                return _send(self.socket, entry)
            except BlockingIOError:
                return _Outcome.FULL
            except OSError:  # refused, reset, no buffers ...: nothing a new connection could harm
                self.close()
        return _Outcome.AWAY

    def wait(self, seconds: float) -> None:
        """Until the socket is writable, or a twentieth of a second where there is none."""
        if self.socket is None:
            time.sleep(min(seconds, 0.05))
            return
        poll = select.poll()
        poll.register(self.socket, select.POLLOUT)
        poll.poll(seconds * 1000)


def _connected(path: str) -> socket.socket:
    new = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    new.setblocking(False)
    try:
        new.connect(path)
    except OSError:
        new.close()
        raise
    return new


def _send(sock: socket.socket, entry: bytes) -> _Outcome:
    try:
        sock.send(entry)
    except OSError as error:
        if error.errno != errno.EMSGSIZE:
            raise
        return _send_file(sock, entry)
    return _Outcome.SENT


def _send_file(sock: socket.socket, entry: bytes) -> _Outcome:
    """Hand over an entry too large for a datagram as a sealed memory file."""
    try:
        fd = os.memfd_create("mcelog-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    except OSError:  # no descriptors left, or forbidden: the entries behind this one must not wait for it
        return _Outcome.IMPOSSIBLE
    with os.fdopen(fd, "wb", buffering=0) as file:
        try:
            written = file.write(entry)
            fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        except OSError:  # no memory left
            return _Outcome.IMPOSSIBLE
        if written != len(entry):
            return _Outcome.IMPOSSIBLE
        socket.send_fds(sock, [b""], [fd])
    return _Outcome.SENT


class Journal:
    """Sends entries to journald; never blocks and never raises.

    What journald does not take at once waits in a queue of at most
    `max_entries` and `max_bytes`. When that is full the newest are dropped
    until it is half empty: what stands at the beginning of trouble is what
    explains it, and the gap is one, at the place where the entry that counts
    it (JOURNAL_DROPPED) then stands.

    Where there never was a journald, entries are discarded: `available` says so.
    Safe to call from any thread; `attach` and `close` only from the loop's.
    """

    def __init__(
        self, path: str = SOCKET, *, max_entries: int = MAX_ENTRIES, max_bytes: int = MAX_BYTES
    ) -> None:
        self.max_entries = max_entries
        self.max_bytes = max_bytes
        self.dropped = 0
        self._connection = _Connection(path)
        self._queue: deque[bytes] = deque()
        self._bytes = 0
        self._gap = 0
        self._delay = FIRST_RETRY
        self._loop: asyncio.AbstractEventLoop | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._writer: socket.socket | None = None
        self._waiting = False
        self._flowing = False
        self._closed = False
        # Reentrant: the garbage collector may log, through JournalLogHandler, in the midst of a send.
        self._lock = threading.RLock()
        self._connection.connect()

    @property
    def available(self) -> bool:
        """Whether there is, or has been, a journald to send to."""
        return self._connection.met

    @property
    def queued(self) -> int:
        """Entries that wait for journald."""
        return len(self._queue)

    @property
    def queued_bytes(self) -> int:
        """Size of the entries that wait for journald."""
        return self._bytes

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Let `loop` send what is queued as soon as journald takes it.

        Without a loop, each `send` and finally `close` try again.
        """
        with self._lock:
            self._loop = loop
            self._wake()

    def send(self, fields: Fields) -> None:
        """Send one entry now, or as soon as journald takes it."""
        entry = encode(fields)
        with self._lock:
            if self._closed or not (self._connection.met or self._connection.connect()):
                return
            if self._gap or not self._has_room(entry):
                self._drop()
            else:
                self._append(entry)
            if not self._waiting:
                self._wait(self._flow())

    def close(self, timeout: float = CLOSE_TIMEOUT) -> int:
        """Send what is queued, for at most `timeout` seconds; blocks, for the end of a process.

        Returns how many entries journald did not get and was not told of. What
        is sent from now on is discarded.
        """
        with self._lock:
            self._closed = True
            self._disarm()
            self._loop = None
        deadline = time.monotonic() + timeout
        self._flow()
        while self._queue and (remaining := deadline - time.monotonic()) > 0:
            self._connection.wait(remaining)
            self._flow()
        self._connection.close()
        return len(self._queue) + self._gap

    def _has_room(self, entry: bytes) -> bool:
        return len(self._queue) < self.max_entries and self._bytes + len(entry) <= self.max_bytes

    def _append(self, entry: bytes) -> None:
        self._queue.append(entry)
        self._bytes += len(entry)

    def _drop(self) -> None:
        self._gap += 1
        self.dropped += 1

    def _end_gap(self) -> None:
        """Say what was dropped, once there is room again."""
        half_empty = len(self._queue) <= self.max_entries // 2 and self._bytes <= self.max_bytes // 2
        if self._gap and half_empty:
            self._append(encode(_gap_entry(self._gap)))
            self._gap = 0

    def _flow(self) -> _Outcome:
        """Send from the queue until it is empty, a batch is out, or journald takes no more."""
        outcome = _Outcome.SENT
        if self._flowing:  # called from within itself, see _lock: the outer call sees the new entry
            return outcome
        self._flowing = True
        self._end_gap()
        for _ in range(BATCH):
            if not self._queue:
                break
            outcome = self._connection.send(self._queue[0])
            if outcome in (_Outcome.FULL, _Outcome.AWAY):
                break
            self._bytes -= len(self._queue.popleft())
            self._delay = FIRST_RETRY
            if outcome is _Outcome.IMPOSSIBLE:
                self._drop()
            self._end_gap()
        self._flowing = False
        return outcome

    def _wait(self, outcome: _Outcome) -> None:
        """Have the loop go on with what is left in the queue."""
        if not self._queue or self._loop is None:
            return
        try:
            self._loop.call_soon_threadsafe(self._arm, outcome)
            self._waiting = True
        except RuntimeError:  # the loop was closed: go on without
            self._loop = None

    def _arm(self, outcome: _Outcome) -> None:
        with self._lock:
            if self._loop is None or not self._waiting:
                return
            self._writer = None if outcome is _Outcome.AWAY else self._connection.socket
            if self._writer is not None:
                self._loop.add_writer(self._writer, self._wake)
            else:
                self._timer = self._loop.call_later(self._delay, self._wake)
                self._delay = min(2 * self._delay, LAST_RETRY)

    def _disarm(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        if self._writer is not None and self._loop is not None:
            self._loop.remove_writer(self._writer)
        self._timer = self._writer = None
        self._waiting = False

    def _wake(self) -> None:
        with self._lock:
            self._disarm()
            self._wait(self._flow())


def _gap_entry(count: int) -> Fields:
    return {
        "MESSAGE": f"journald did not take {count} entries in time: they are missing here, "
        "but the events are in mcelog's store and its counters are right",
        "MESSAGE_ID": message_ids.JOURNAL_DROPPED,
        "PRIORITY": 4,
        "MCE_DROPPED": count,
    }


class JournalLogHandler(logging.Handler):
    """Sends log records through a Journal.

    Attributes given by `extra` whose names are field names become fields:
    `log.warning("...", extra={"MESSAGE_ID": message_ids.SOURCE_LOST})`.
    """

    def __init__(self, journal: Journal, level: int = logging.NOTSET) -> None:
        super().__init__(level)
        self._journal = journal

    def emit(self, record: logging.LogRecord) -> None:
        try:
            message = self.format(record)
        except Exception:  # a wrong logging call must not end the caller: logging's own convention
            self.handleError(record)
            return
        self._journal.send(log_fields(record, message))


def log_fields(record: logging.LogRecord, message: str) -> dict[str, Value | Sequence[Value]]:
    """The fields of a log record."""
    extra = {name: value for name, value in record.__dict__.items() if is_field_name(name)}
    return extra | {
        "MESSAGE": message,
        "PRIORITY": priority(record.levelno),
        "LOGGER": record.name,
        "CODE_FILE": record.pathname,
        "CODE_LINE": record.lineno,
        "CODE_FUNC": record.funcName or "",
    }


def priority(level: int) -> int:
    """syslog(3) priority of a logging level, 2 (critical) to 7 (debug)."""
    limits = ((logging.CRITICAL, 2), (logging.ERROR, 3), (logging.WARNING, 4), (logging.INFO, 6))
    return next((number for limit, number in limits if level >= limit), 7)
