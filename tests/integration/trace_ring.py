# SPDX-License-Identifier: GPL-2.0-only
"""A ring of the trace event that is no kernel's: a pipe with as much room, in which pages are lost that find
none.

No kernel reports that many machine checks, but an emulated one, where everything else is as slow. What a real
ring does is tested in the virtual machine (tracefs.*).
"""

from __future__ import annotations

import fcntl
import os
import struct
import termios
import time
from typing import TYPE_CHECKING

from mcelogd.record import LENGTH, layout
from mcelogd.sources.tracefs import EVENT, INSTANCE
from tests.ring_pages import FIXTURES, FORMATS, entry, page, payload

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

KERNEL = "6.12-debian"
IN_PAGE = 30
"""Records; a page has room for a few more."""

LOOK = 0.002
"""Seconds between two looks at what is to be sent."""


class TraceRing:
    """A directory in the place of tracefs, with the instance and the buffer of one processor."""

    def __init__(self, root: Path, room: int = 256 << 10) -> None:
        """`room` in bytes: a processor's buffer, as trace-buffer-size has it."""
        instance = root / INSTANCE
        for event in (root / EVENT, instance / EVENT):
            event.mkdir(parents=True)
        (instance / EVENT / "format").write_text((FIXTURES / f"{KERNEL}.format").read_text())
        (instance / "events/header_page").write_text((FIXTURES / "header_page").read_text())
        for switch in (instance / "tracing_on", instance / EVENT / "enable"):
            switch.touch()
        (instance / "buffer_size_kb").write_text(f"{room >> 10}\n")
        buffer = instance / "per_cpu/cpu0/trace_pipe_raw"
        buffer.parent.mkdir(parents=True)
        os.mkfifo(buffer)
        # It becomes readable when there is something in a buffer, and nobody reads from it.
        (instance / "trace_pipe").symlink_to(buffer)
        self._fd = os.open(buffer, os.O_RDWR | os.O_NONBLOCK)
        fcntl.fcntl(self._fd, fcntl.F_SETPIPE_SZ, room)

    def send(self, pages: list[bytes], a_second: float) -> int:
        """Send so many pages a second; how many found no room."""
        lost = sent = 0
        start = time.perf_counter()
        while sent < len(pages):
            due = int((time.perf_counter() - start) * a_second) + 1
            lost += sum(not self._put(one) for one in pages[sent:due])
            sent = due
            time.sleep(LOOK)
        return lost

    def send_all(self, pages: list[bytes]) -> None:
        """Send them as fast as there is room."""
        for one in pages:
            while not self._put(one):
                time.sleep(LOOK)

    def _put(self, one: bytes) -> bool:
        try:
            os.write(self._fd, one)
        except BlockingIOError:
            return False
        return True

    @property
    def waiting(self) -> int:
        """Bytes that were not read yet."""
        found: int = struct.unpack("i", fcntl.ioctl(self._fd, termios.FIONREAD, bytes(4)))[0]
        return found

    def close(self) -> None:
        os.close(self._fd)


def full_pages(records: Iterable[bytes]) -> Iterator[bytes]:
    """Pages with IN_PAGE records each; what does not fill one is left out."""
    form, event = layout(LENGTH), FORMATS[KERNEL]
    entries = []
    for data in records:
        record = form.parse(data)
        entries.append(
            entry(payload(event, record._asdict() | {"walltime": record.time, "cpu": record.extcpu}))
        )
        if len(entries) == IN_PAGE:
            yield page(entries)
            entries = []
