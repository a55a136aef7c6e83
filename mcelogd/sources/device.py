# SPDX-License-Identifier: GPL-2.0-only
"""/dev/mcelog, the kernel's character device (CONFIG_X86_MCELOG_LEGACY).

Source: Linux arch/x86/kernel/cpu/mce/dev-mcelog.c. A read returns everything
that is queued and needs room for the whole log; with nothing queued it returns
0 at once, which is not an end of file. The log keeps the oldest records: the
overflow flag says that newer ones were lost, not how many.
"""

from __future__ import annotations

import errno
import fcntl
import os
import select
import struct
import time
from typing import TYPE_CHECKING

from mcelogd.record import RecordLengthError, layout
from mcelogd.sources import SourceError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcelogd.spool import Spool

PATH = "/dev/mcelog"

# _IOR('M', 1..3, int): arch/x86/include/uapi/asm/mce.h. They need CAP_SYS_ADMIN.
MCE_GET_RECORD_LEN = 0x80044D01
MCE_GET_LOG_LEN = 0x80044D02
MCE_GETCLEAR_FLAGS = 0x80044D03
MCE_OVERFLOW = 1 << 0

LINGER_MS = 2
BURST_SECONDS = 0.5
"""How long is waited for more before what came is handled; and how long a burst may be that is read on and
on."""

_NO_DRIVER = "is your kernel built with CONFIG_X86_MCELOG_LEGACY=y, and does this CPU report machine checks?"
_REMEDIES = {
    errno.ENOENT: _NO_DRIVER,
    errno.ENXIO: _NO_DRIVER,
    errno.ENODEV: _NO_DRIVER,
    errno.EBUSY: "another program has it open exclusively; stop that program (fuser -v {path} names it)",
    errno.EACCES: "run mcelog as root",
    errno.EPERM: "mcelog needs CAP_SYS_ADMIN to ask the device for its sizes; run it as root",
    errno.ENOTTY: "it is no machine-check device",
}


class DeviceSource:
    """An open /dev/mcelog."""

    origin = ""
    offset = 0
    landing = 0
    unread_seconds = 0.001
    """The log holds 32 records, or as many as there are CPUs; a read of an empty one costs a microsecond."""

    def __init__(self, path: str = PATH) -> None:
        """Open the device and ask it for its sizes; SourceError names what is wrong."""
        self.name = path
        try:
            self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        except OSError as error:
            raise _source_error(path, error) from error
        try:
            self.record_length = self._ask(MCE_GET_RECORD_LEN)
            self.log_length = self._ask(MCE_GET_LOG_LEN)
            layout(self.record_length)
        except OSError as error:
            self.close()
            raise _source_error(path, error) from error
        except RecordLengthError as error:
            self.close()
            raise SourceError(f"{path}: {error}") from error
        self.read_size = self.record_length * self.log_length
        self._was_full = False
        self._burst_until = 0.0
        self._poll = select.poll()
        self._poll.register(self._fd, select.POLLIN)

    def fileno(self) -> int:
        return self._fd

    def read_into(self, spool: Spool) -> int:
        """What is there now, and then what comes within a moment.

        A single record may be the first of a burst that fills the log before one is handled. Where records
        wait to be handled already, there is no waiting for more: they would pile up.
        """
        count = spool.read_from(self._fd, self.read_size)
        if not count and self._burst_until:
            if time.monotonic() < self._burst_until and self._poll.poll(LINGER_MS):
                count = spool.read_from(self._fd, self.read_size)
            else:
                self._burst_until = 0.0
        elif count and count == spool.pending * self.record_length:
            self._burst_until = time.monotonic() + BURST_SECONDS
        self._was_full = self._was_full or count == self.read_size
        return count

    def read_all(self) -> Iterator[bytes]:
        while data := os.read(self._fd, self.read_size):
            self._was_full = self._was_full or len(data) == self.read_size
            for start in range(0, len(data), self.record_length):
                yield data[start : start + self.record_length]

    def lost(self) -> int:
        """1 if the kernel's log overflowed since the last call: at least that many are lost.

        Only a log that was read full can have overflowed, so only then is the
        flag asked for.
        """
        if not self._was_full:
            return 0
        self._was_full = False
        try:
            return 1 if self._ask(MCE_GETCLEAR_FLAGS) & MCE_OVERFLOW else 0
        except PermissionError:
            # Without CAP_SYS_ADMIN, after the start, reading goes on but the flag cannot be asked for.
            return 0

    def take_damaged(self) -> int:
        return 0

    def taken_apart(self, landed: bytes) -> bytes:  # noqa: ARG002  # a Source's
        return b""

    def close(self) -> None:
        os.close(self._fd)

    def _ask(self, request: int) -> int:
        answer: int = struct.unpack("i", fcntl.ioctl(self._fd, request, bytes(4)))[0]
        return answer


def _source_error(path: str, error: OSError) -> SourceError:
    remedy = _REMEDIES.get(error.errno or 0, "")
    text = f"cannot open {path}: {error.strerror}"
    return SourceError(f"{text}; {remedy.format(path=path)}" if remedy else text)
