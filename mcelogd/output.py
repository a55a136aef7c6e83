# SPDX-License-Identifier: GPL-2.0-only
"""Where decoded text goes: standard output, a log file, syslog, or several of them."""

from __future__ import annotations

import contextlib
import errno
import logging
import os
import select
import socket
import syslog
from typing import TYPE_CHECKING, Protocol, TextIO

if TYPE_CHECKING:
    from pathlib import Path

log = logging.getLogger(__name__)

DEV_LOG = "/dev/log"

MOST_LINKS = 8
"""Symbolic links that are followed to a log file."""


class Sink(Protocol):
    """One place text goes to. Writing never raises and never waits for long."""

    def write(self, text: str) -> None:
        """Whole lines of text, made visible at once."""

    def reopen(self) -> None:
        """Open anew what may have been rotated away."""

    def close(self) -> None: ...


class StreamSink:
    """Standard output; when it cannot be written to, `instead` gets what would be lost."""

    def __init__(self, stream: TextIO | LiveStream, instead: Sink | None = None) -> None:
        self._stream: TextIO | LiveStream | None = stream
        self._instead = instead

    @property
    def failed(self) -> bool:
        return self._stream is None

    def write(self, text: str) -> None:
        if self._stream is None:
            if self._instead is not None:
                self._instead.write(text)
            return
        try:
            self._stream.write(text)
            self._stream.flush()
        except (OSError, ValueError) as error:
            self._stream = None
            instead = "no longer goes there" if self._instead is None else "goes to syslog instead"
            log.error("cannot write to standard output: %s; decoded text %s", error, instead)
            self.write(text)

    def reopen(self) -> None:
        pass

    def close(self) -> None:
        pass


class LiveStream:
    """A stream for as long as somebody reads it: what it does not take at once is counted, and dropped.

    A terminal may be stopped and a pager may wait; a daemon must not.
    """

    def __init__(self, stream: TextIO) -> None:
        """`stream` has a file descriptor; nothing else may write to it by its buffer."""
        self._fd = stream.fileno()
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLOUT)
        self._dropped = 0
        self._is_cut = False

    def write(self, text: str) -> None:
        """Whole lines. Never waits; OSError if nobody can read any more."""
        if self._dropped:
            begin = "\n" if self._is_cut else ""
            if not self._put(f"{begin}{self._dropped} lines were dropped here: nobody read them\n"):
                self._dropped += text.count("\n")
                return
            self._dropped, self._is_cut = 0, False
        for line in text.splitlines(keepends=True):
            if self._dropped or not self._put(line):
                self._dropped += 1

    def flush(self) -> None:
        """Nothing is kept back."""

    def _put(self, line: str) -> bool:
        """Whether the line is out as a whole."""
        data = line.encode("utf-8", "replace")
        # What is ready takes so many bytes without waiting.
        for start in range(0, len(data), select.PIPE_BUF):
            if not self._poll.poll(0):
                self._is_cut = start > 0
                return False
            os.write(self._fd, data[start : start + select.PIPE_BUF])
        return True


class FileSink:
    """A log file, appended to."""

    def __init__(self, path: Path) -> None:
        """Open the file; OSError if that fails."""
        self.path = path
        self._file: TextIO | None = _open(path)
        self._failing = False

    def write(self, text: str) -> None:
        if self._file is None:
            return
        try:
            self._file.write(text)
            self._file.flush()
        except OSError as error:
            # One message for each time it starts to fail: a full disk would fill with them.
            if not self._failing:
                log.error("cannot write to %s: %s", self.path, error.strerror)
            self._failing = True
            with contextlib.suppress(OSError):
                self._reopen()
        else:
            self._failing = False

    def reopen(self) -> None:
        try:
            self._reopen()
        except OSError as error:
            log.error("cannot reopen %s: %s", self.path, error.strerror)

    def close(self) -> None:
        if self._file is not None:
            with contextlib.suppress(OSError):
                self._file.close()
            self._file = None

    def _reopen(self) -> None:
        self.close()
        self._file = _open(self.path)


def _open(path: Path) -> TextIO:
    """Open for appending; OSError if it cannot be, or if it is a link of somebody else's.

    Who may write to the directory could make a link to any file of root's. A
    FIFO that nobody reads is an error, too: nothing here waits.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK | os.O_CLOEXEC
    for _ in range(MOST_LINKS):
        # Those of /proc, which /dev/stdout leads to, are the kernel's, and lead to no name.
        follow = path.parent.resolve().is_relative_to("/proc")
        try:
            fd = os.open(path, flags if follow else flags | os.O_NOFOLLOW, 0o666)
        except OSError as error:
            if error.errno != errno.ELOOP:
                raise
            path = path.parent / _target(path)
        else:
            return os.fdopen(fd, "a", encoding="utf-8", errors="replace")
    raise OSError(errno.ELOOP, os.strerror(errno.ELOOP))


def _target(link: Path) -> str:
    """Where a link leads that root or we ourselves have made; OSError for another's."""
    # Held by a descriptor, so that what is read is the link whose owner was looked at.
    fd = os.open(link, os.O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        if os.fstat(fd).st_uid not in (0, os.geteuid()):
            raise OSError(errno.EACCES, "a symbolic link that another user has made; remove it")
        return os.readlink("", dir_fd=fd)
    finally:
        os.close(fd)


class SyslogSink:
    """syslog by its socket, line by line.

    Not syslog(3): that waits for ever for a log daemon that has stopped
    reading. Lines it does not take are counted and said when it reads again.
    """

    def __init__(self, level: int = syslog.LOG_WARNING, path: str = DEV_LOG) -> None:
        self._prefix = f"<{syslog.LOG_DAEMON | level}>mcelog[{os.getpid()}]: "
        self._path = path
        self._socket: socket.socket | None = None
        self._dropped = 0

    def write(self, text: str) -> None:
        if self._dropped and self._send(f"{self._dropped} lines were dropped here: syslog did not read"):
            self._dropped = 0
        for line in text.splitlines():
            if line and not self._send(line):
                self._dropped += 1

    def reopen(self) -> None:
        self.close()

    def close(self) -> None:
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _send(self, line: str) -> bool:
        message = (self._prefix + line).encode("utf-8", "replace")
        for _ in range(2):
            try:
                if self._socket is None:
                    self._socket = self._connect()
                self._socket.send(message)
            except BlockingIOError:
                return False
            except OSError:
                self.close()
            else:
                return True
        return False

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
        connection.setblocking(False)
        try:
            connection.connect(self._path)
        except OSError:
            connection.close()
            raise
        return connection


class Output:
    """All sinks together."""

    def __init__(self, sinks: list[Sink]) -> None:
        self._sinks = sinks

    def write(self, text: str) -> None:
        for sink in self._sinks:
            sink.write(text)

    def reopen(self) -> None:
        for sink in self._sinks:
            sink.reopen()

    def close(self) -> None:
        for sink in self._sinks:
            sink.close()
