# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's trace event mce:mce_record, which kernels without /dev/mcelog have as well.

Read from an instance of the trace buffers that is ours alone: what others do
with tracing does not touch it, and it goes on buffering while mcelog is
restarted. Each CPU has a buffer of its own, in pages (mcelogd/ring takes them
apart); a record is in that of the CPU that reported it, whichever it is about.
One buffer is read after the other: of records that several CPUs reported at
once those of each come in their order, but not all in that of their time.

Source: Linux Documentation/trace/ftrace.rst, "Instances", "trace_pipe_raw",
"buffer_percent".
"""

from __future__ import annotations

import contextlib
import errno
import os
import select
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd.record import LENGTH
from mcelogd.ring.events import RecordFormat
from mcelogd.ring.format import FormatError, parse_event, parse_page
from mcelogd.ring.mc_event import McEvent, McEventFormat
from mcelogd.ring.page import read_page
from mcelogd.sources import SourceError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcelogd.ring.page import Page
    from mcelogd.spool import Spool

ROOT = "/sys/kernel/tracing"
INSTANCE = "instances/mcelog"
EVENT = "events/mce/mce_record"
LABELS = "events/ras/mc_event"
"""What EDAC drivers say of memory errors; kernels without EDAC have none."""

_ROUNDED = 8
"""KiB that the kernel may make of a buffer beyond what was asked for: whole pages, two at least."""

_LOCKDOWN = "/sys/kernel/security/lockdown"
_SANDBOX = "mcelog.service makes it before it starts (mcelog --prepare-source)"


class TracefsSource:
    """An open trace instance, which prepare() has made."""

    record_length = LENGTH
    origin = ""
    offset = 0
    unread_seconds = 0.005
    """Each CPU's buffer holds two thousand records; a look at empty ones costs some microseconds."""

    def __init__(self, root: str = ROOT, buffer_kib: int = 256) -> None:
        """Open it; SourceError names what is wrong."""
        instance = Path(root, INSTANCE)
        self.name = str(instance)
        prepare(root, buffer_kib)
        self._cpus: dict[int, int] = {}
        self._ready: list[int] = []
        self._lost = 0
        self._damaged = 0
        self.told: Callable[[McEvent], None] = lambda _: None
        """Hears what EDAC drivers say, before the records of the same page are handed over."""
        try:
            self._form = parse_page((instance / "events/header_page").read_text())
            self._records = RecordFormat(parse_event((instance / EVENT / "format").read_text()))
            self._labels = _label_format(instance / LABELS / "format")
            # Read from by nobody: it becomes readable for any CPU's buffer, also one that comes later.
            self._wake = os.open(instance / "trace_pipe", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        except FormatError as error:
            raise SourceError(f"{instance}: the kernel's format is not understood: {error}") from error
        except OSError as error:
            raise _source_error(error, instance) from error
        self._poll = select.poll()
        self._poll.register(self._wake, select.POLLIN)
        self.landing = self._form.page_size
        # A record takes about as much room in a page as in the spool; twice that is enough for any.
        self.read_size = 2 * self.landing // LENGTH * LENGTH
        self._open_buffers()

    def fileno(self) -> int:
        return self._wake

    def read_into(self, spool: Spool) -> int:
        """One page of records; those of other events are passed over."""
        if not self._ready:
            self._look()
        is_first = len(self._ready) == len(self._cpus)
        while self._ready:
            page = self._land(spool, self._cpus[self._ready[-1]])
            if page is None:
                self._ready.pop()
                continue
            is_first = False
            records = self._taken_apart(page)[: self.read_size]
            spool.put(records)
            if records:
                return len(records)
        if is_first and self._has_something():
            # Asked again at once, it would be so for ever.
            raise OSError(errno.EIO, "something is there that cannot be read", self.name)
        return 0

    def read_all(self) -> Iterator[bytes]:
        for fd in self._cpus.values():
            while data := _read(fd, self.landing):
                records = self._taken_apart(memoryview(data))
                for start in range(0, len(records), LENGTH):
                    yield records[start : start + LENGTH]

    def taken_apart(self, landed: bytes) -> bytes:
        return self._taken_apart(memoryview(landed))

    def lost(self) -> int:
        """Records that the kernel overwrote since the last call; exact, but for the smallest kernels.

        Where an EDAC driver tells of the same errors, what it told counts, too.
        """
        lost, self._lost = self._lost, 0
        return lost

    def take_damaged(self) -> int:
        damaged, self._damaged = self._damaged, 0
        return damaged

    def close(self) -> None:
        for fd in (*self._cpus.values(), self._wake):
            os.close(fd)
        self._cpus.clear()

    def _look(self) -> None:
        """Find out whether there is something; a CPU that came since has a buffer to be opened."""
        if self._has_something():
            self._open_buffers()
            self._ready = list(self._cpus)

    def _has_something(self) -> bool:
        return any(events & select.POLLIN for _, events in self._poll.poll(0))

    def _open_buffers(self) -> None:
        """Open the buffer of each CPU that has one, once. Those of CPUs that went stay readable."""
        directory = Path(self.name, "per_cpu")
        try:
            found = [int(path.name.removeprefix("cpu")) for path in directory.glob("cpu[0-9]*")]
            for cpu in sorted(set(found) - self._cpus.keys()):
                self._cpus[cpu] = os.open(
                    directory / f"cpu{cpu}/trace_pipe_raw", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC
                )
        except OSError as error:
            raise _source_error(error, directory) from error

    def _land(self, spool: Spool, fd: int) -> memoryview | None:
        try:
            return spool.land(fd) or None
        except OSError as error:
            if error.errno == errno.ENODEV:
                return None
            raise

    def _taken_apart(self, data: memoryview) -> bytes:
        page: Page = read_page(data, self._form)
        self._lost += page.lost
        self._damaged += len(data) if page.damaged else 0
        if self._labels is not None:
            for event in filter(None, map(self._labels.event, page.entries)):
                self.told(event)
        found = (self._records.record(entry) for entry in page.entries)
        return b"".join(record for record in found if record is not None)


def prepare(root: str = ROOT, buffer_kib: int = 256) -> None:
    """Make the instance and switch the event on in it; what is right already is not touched.

    SourceError names what is wrong. The service does this before it is in its
    sandbox, where none of it can be written.
    """
    top, instance = Path(root), Path(root, INSTANCE)
    try:
        if not (top / "instances").is_dir():
            # A kernel that is locked down leaves it empty.
            remedy = _lockdown() or f"mount -t tracefs tracefs {root}"
            raise SourceError(f"tracefs is not mounted at {root}: {remedy}")
        if not (top / EVENT).is_dir():
            raise SourceError(
                f"the kernel has no trace event {EVENT.removeprefix('events/')} (CONFIG_X86_MCE,"
                " CONFIG_EVENT_TRACING): machine checks cannot be read"
            )
        instance.mkdir(mode=0o750, exist_ok=True)
        # Without this a single event wakes nobody up on kernels since 6.1.
        _set(instance / "buffer_percent", "0", missing_ok=True)
        if not buffer_kib <= _size(instance) <= buffer_kib + _ROUNDED:
            _set(instance / "buffer_size_kb", str(buffer_kib))
        _set(instance / "tracing_on", "1")
        _set(instance / EVENT / "enable", "1")
        with contextlib.suppress(OSError):
            # Records come without labels, too.
            _set(instance / LABELS / "enable", "1")
    except OSError as error:
        raise _source_error(error, instance) from error


def _label_format(path: Path) -> McEventFormat | None:
    """None where the kernel has no such event, or one that is not understood: records come without."""
    try:
        return McEventFormat(parse_event(path.read_text()))
    except (FileNotFoundError, FormatError):
        return None


def cleanup(root: str = ROOT) -> None:
    """Remove the instance with what is buffered in it; SourceError if somebody uses it."""
    try:
        Path(root, INSTANCE).rmdir()
    except FileNotFoundError:
        return
    except OSError as error:
        if error.errno == errno.EBUSY:
            raise SourceError(f"{root}/{INSTANCE} is in use; stop mcelog first") from error
        raise _source_error(error, Path(root, INSTANCE)) from error


def _size(instance: Path) -> int:
    """KiB of each CPU's buffer; 0 where they are not all of one size."""
    text = (instance / "buffer_size_kb").read_text().split()
    return int(text[0]) if text and text[0].isdigit() else 0


def _set(path: Path, value: str, *, missing_ok: bool = False) -> None:
    try:
        if path.read_text().strip() != value:
            path.write_text(value)
    except FileNotFoundError:
        if not missing_ok:
            raise


def _read(fd: int, size: int) -> bytes:
    try:
        return os.read(fd, size)
    except BlockingIOError:
        return b""
    except OSError as error:
        if error.errno == errno.ENODEV:
            return b""
        raise


def _lockdown() -> str:
    """Why nobody can read traces; empty if that is not so."""
    with contextlib.suppress(OSError):
        if "[confidentiality]" in Path(_LOCKDOWN).read_text():
            return (
                "the kernel is locked down and shows no traces;"
                " lockdown=integrity instead of lockdown=confidentiality on its command line would do"
            )
    return ""


def _source_error(error: OSError, path: Path) -> SourceError:
    remedies = {
        errno.EACCES: "run mcelog as root",
        errno.EBUSY: f"another program reads it; stop that program (fuser -v {path}/trace_pipe names it)",
        errno.EROFS: _SANDBOX,
        errno.ENOMEM: "there is not enough memory for its buffers; see trace-buffer-size in mcelog.conf",
    }
    remedy = remedies.get(error.errno or 0, "")
    if error.errno == errno.EPERM:
        remedy = _lockdown() or "run mcelog as root"
    text = f"cannot use {error.filename or path}: {error.strerror}"
    return SourceError(f"{text}; {remedy}" if remedy else text)
