# SPDX-License-Identifier: GPL-2.0-only
"""A FIFO or a file of back-to-back binary records.

Only whole records are read: what a writer has half written stays in the pipe,
also when this process dies and another one takes over.
"""

from __future__ import annotations

import array
import fcntl
import math
import os
import select
import stat
import termios
from typing import TYPE_CHECKING

from mcelogd.record import RecordLengthError, layout
from mcelogd.sources import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcelogd.spool import Spool

READ_RECORDS = 512
"""Records read at a time: as much as a pipe's default 64 KiB holds of today's length."""


class StreamSource:
    """An open FIFO, pipe or regular file."""

    landing = 0
    unread_seconds = math.inf
    """A full pipe holds its writer up."""

    def __init__(self, path: str, record_length: int) -> None:
        """Open `path`; SourceError names what is wrong."""
        self.name = path
        try:
            layout(record_length)
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except RecordLengthError as error:
            raise SourceError(f"{path}: {error}") from error
        except OSError as error:
            raise SourceError(f"cannot open {path}: {error.strerror}") from error
        self.record_length = record_length
        self.read_size = READ_RECORDS * record_length
        self.damaged = 0
        """Bytes at the end of the stream that are no whole record, since they were last asked for."""
        status = os.fstat(self._fd)
        self._poll: select.epoll | None = None
        self.is_file = stat.S_ISREG(status.st_mode)
        self.origin = ""
        self.offset = 0
        if self.is_file:
            self.origin = f"{status.st_dev}:{status.st_ino}"
        elif stat.S_ISDIR(status.st_mode):
            self.close()
            raise SourceError(f"cannot read {path}: it is a directory; name a FIFO or a file of records")
        else:
            self._watch()

    def fileno(self) -> int | None:
        """An epoll descriptor that becomes readable once for each write.

        Edge-triggered, since a pipe that holds half a record, or has lost its
        last writer, is readable for ever.
        """
        return None if self._poll is None else self._poll.fileno()

    def read_into(self, spool: Spool) -> int:
        return self._read_file(spool) if self.is_file else self._read_pipe(spool)

    def seek(self, offset: int) -> None:
        """Go on in a regular file where an earlier run stopped; if it is shorter now, begin anew."""
        if self.is_file and offset <= os.fstat(self._fd).st_size:
            self.offset = os.lseek(self._fd, offset, os.SEEK_SET)

    def read_all(self) -> Iterator[bytes]:
        """Every record until the last writer of a pipe has closed it."""
        os.set_blocking(self._fd, True)
        rest = b""
        while data := os.read(self._fd, self.read_size):
            data = rest + data
            whole = len(data) // self.record_length * self.record_length
            for start in range(0, whole, self.record_length):
                yield data[start : start + self.record_length]
            rest = data[whole:]
        self.damaged += len(rest)

    def taken_apart(self, landed: bytes) -> bytes:  # noqa: ARG002  # a Source's
        return b""

    def lost(self) -> int:
        return 0

    def take_damaged(self) -> int:
        damaged, self.damaged = self.damaged, 0
        return damaged

    def close(self) -> None:
        if self._poll is not None:
            self._poll.close()
        os.close(self._fd)

    def _watch(self) -> None:
        self._poll = select.epoll()
        try:
            self._poll.register(self._fd, select.EPOLLIN | select.EPOLLET)
        except OSError as error:
            self.close()
            raise SourceError(
                f"cannot wait for {self.name}: {error.strerror}; name a FIFO or a file"
            ) from error

    def _read_file(self, spool: Spool) -> int:
        count = spool.read_from(self._fd, min(self.read_size, spool.room))
        rest = count % self.record_length
        self.offset += count
        self.damaged += rest
        return count - rest

    def _read_pipe(self, spool: Spool) -> int:
        assert self._poll is not None
        self._poll.poll(0)
        ready = self._waiting()
        whole = min(ready, self.read_size, spool.room) // self.record_length * self.record_length
        if whole:
            return spool.read_from(self._fd, whole)
        if 0 < ready < self.record_length and self._has_no_writer():
            # The last writer is gone: the rest of this record never comes.
            self.damaged += len(os.read(self._fd, ready))
        return 0

    def _has_no_writer(self) -> bool:
        level = select.poll()
        level.register(self._fd, 0)
        return any(events & select.POLLHUP for _, events in level.poll(0))

    def _waiting(self) -> int:
        answer = array.array("i", [0])
        fcntl.ioctl(self._fd, termios.FIONREAD, answer)
        return answer[0]
