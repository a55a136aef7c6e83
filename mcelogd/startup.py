# SPDX-License-Identifier: GPL-2.0-only
"""Starting mcelog on a source of records: once, or as a daemon in the foreground or background."""

from __future__ import annotations

import contextlib
import logging
import os
import stat
import sys
import syslog
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd import cpu as cpus
from mcelogd import message_ids, output
from mcelogd.pipeline import CpuChoice
from mcelogd.record import LENGTH, RecordLengthError, layout
from mcelogd.service_manager import ServiceManager, is_journal
from mcelogd.settings import DAEMON_LOGFILE, Settings, Syslog
from mcelogd.sources import SourceError, choice
from mcelogd.sources.device import PATH, DeviceSource
from mcelogd.sources.stream import StreamSource

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcelogd.journal import Journal
    from mcelogd.sources import Source

log = logging.getLogger(__name__)

CPUINFO = "/proc/cpuinfo"

SHIPPED_LENGTHS = (128, 120, 112, 104, 88, 72, 124, 116)
"""Lengths of struct mce that kernels have shipped, the newest of x86-64 first."""


def run_daemon(settings: Settings, device: str, reread: Callable[[], Settings]) -> int:
    """`--daemon`: the exit status once it has ended. `reread` reads the settings again, for a reload."""
    from mcelogd.journal import Journal

    journal = Journal(settings.journal_socket)
    _log_to_stderr(is_daemon=sys.stderr is not None)
    source = _open_source(settings, device)
    if isinstance(source, int):
        return source
    from mcelogd.daemon import Daemon
    from mcelogd.state import StartError

    in_background = not settings.foreground
    launcher = _Launcher() if in_background else None
    if launcher is not None and launcher.is_parent:
        return launcher.wait()
    text = _daemon_output(settings, journal)
    _log_as_daemon(settings, journal, text)
    for warning in settings.warnings:
        extra = {"MESSAGE_ID": message_ids.CONFIG_PROBLEM, "MCE_ERROR": str(warning)}
        log.warning("warning: %s", warning, extra=extra)
    try:
        manager = ServiceManager(os.environ, os.getpid())
        daemon = Daemon(settings, source, _cpu_choice(settings), text, manager, journal, reread)
        with _pidfile(settings):
            daemon.run(launcher.ready if launcher is not None else lambda: None)
    except StartError as error:
        log.error("%s", error)
        return 1
    return 0


def run_once(settings: Settings, device: str) -> int:
    """Print the records that are there now: the way of cron and of the kernel's trigger."""
    from mcelogd.oneshot import print_records

    _log_to_stderr()
    source = _open_source(settings, device)
    if isinstance(source, int):
        return source
    try:
        sinks = _once_sinks(settings, is_device=not isinstance(source, StreamSource))
    except OSError as error:
        _complain(f"cannot open logfile {settings.logfile}: {error.strerror}")
        return 1
    text = output.Output(sinks)
    with contextlib.closing(source), contextlib.closing(text):
        status = print_records(settings, source, _cpu_choice(settings), text)
        return status or int(any(isinstance(sink, output.StreamSink) and sink.failed for sink in sinks))


def _open_source(settings: Settings, device: str) -> Source | int:
    """The source, or the exit status where there is none."""
    try:
        if choice.is_tracefs(settings, device):
            from mcelogd.sources.tracefs import TracefsSource

            return TracefsSource(settings.tracefs_root, settings.trace_buffer_size)
        path = device or PATH
        if _is_stream(path):
            return StreamSource(path, _record_length(settings, path))
        return DeviceSource(path)
    except SourceError as error:
        if settings.ignorenodev:
            return 0
        _complain(str(error))
        return 1


def _is_stream(path: str) -> bool:
    try:
        return not stat.S_ISCHR(Path(path).stat().st_mode)
    except OSError:
        return False


def _record_length(settings: Settings, path: str) -> int:
    """Bytes of a record in a stream; for a --binary file of unknown kernel the length that divides it."""
    if not settings.binary or settings.values["record-length"].origin != "default":
        return settings.record_length
    with contextlib.suppress(OSError):
        size = Path(path).stat().st_size
        for length in SHIPPED_LENGTHS:
            if size and size % length == 0:
                return length
        with contextlib.suppress(RecordLengthError):
            # One record of a kernel newer than this program.
            return layout(size).length if size > LENGTH else settings.record_length
    return settings.record_length


def _cpu_choice(settings: Settings) -> CpuChoice:
    try:
        info = cpus.parse_cpuinfo(Path(CPUINFO).read_text(errors="replace"))
    except OSError as error:
        log.warning("cannot read %s: %s", CPUINFO, error.strerror)
        info = None
    return CpuChoice(settings.cpu, info.cpu_type if info else cpus.GENERIC)


def _once_sinks(settings: Settings, *, is_device: bool) -> list[output.Sink]:
    """Where one shot's text goes; started without standard output, by the kernel, it goes to syslog.

    So does what a device gave and standard output does not take: it can be read nowhere else.
    """
    sinks = _syslog_sinks(settings)
    if settings.logfile:
        sinks.append(output.FileSink(Path(settings.logfile)))
    if not sinks:
        stdout = sys.stdout
        may_log = is_device and settings.syslog is not Syslog.NEVER
        instead = output.SyslogSink() if may_log else None
        sinks.append(output.SyslogSink() if stdout is None else output.StreamSink(stdout, instead))
    return sinks


def _daemon_output(settings: Settings, journal: Journal) -> output.Output:
    sinks = _syslog_sinks(settings)
    logfile = settings.logfile
    if not logfile and not sinks and not settings.foreground:
        logfile = DAEMON_LOGFILE
    if logfile:
        try:
            sinks.append(output.FileSink(Path(logfile)))
        except OSError as error:
            _complain(f"cannot open logfile {logfile}: {error.strerror}; decoded records go to syslog")
            sinks = sinks or [output.SyslogSink()]
    elif not sinks and not (journal.available and is_journal(1, os.environ)):
        sinks.append(output.StreamSink(output.LiveStream(sys.stdout)))
    return output.Output(sinks)


def _syslog_sinks(settings: Settings) -> list[output.Sink]:
    if settings.syslog is Syslog.YES:
        return [output.SyslogSink()]
    if settings.syslog is Syslog.ERROR:
        return [output.SyslogSink(syslog.LOG_ERR)]
    return []


def _log_to_stderr(*, is_daemon: bool = False) -> None:
    """Messages while starting are for whoever started us."""
    handler = logging.StreamHandler(output.LiveStream(sys.stderr) if is_daemon else None)
    handler.setFormatter(logging.Formatter("mcelog: %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


def _log_as_daemon(settings: Settings, journal: Journal, text: output.Output) -> None:
    """The daemon's own messages: to the journal, else to standard error or syslog; to a log file as well."""
    from mcelogd.journal import JournalLogHandler

    root = logging.getLogger()
    if journal.available:
        root.addHandler(JournalLogHandler(journal))
        if not settings.foreground or is_journal(2, os.environ):
            root.removeHandler(root.handlers[0])
    elif not settings.foreground and settings.syslog is not Syslog.NEVER:
        root.addHandler(_SinkHandler(output.SyslogSink(syslog.LOG_ERR)))
    if settings.logfile or not settings.foreground:
        root.addHandler(_SinkHandler(text))


class _SinkHandler(logging.Handler):
    """Messages of the daemon, among the decoded records."""

    def __init__(self, sink: output.Output | output.Sink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        if record.name != output.__name__:
            self._sink.write(f"mcelog: {record.getMessage()}\n")


class _Launcher:
    """The classic daemon: the parent returns when the child works, with its exit status if it does not."""

    def __init__(self) -> None:
        self._read, self._write = os.pipe()
        self._child = os.fork()
        self.is_parent = self._child != 0
        if not self.is_parent:
            os.close(self._read)
            os.setsid()

    def wait(self) -> int:
        """In the parent: 0 as soon as the child is ready."""
        os.close(self._write)
        if os.read(self._read, 1):
            return 0
        _, status = os.waitpid(self._child, 0)
        return os.waitstatus_to_exitcode(status)

    def ready(self) -> None:
        """In the child: leave the terminal and the directory, and let the parent go."""
        os.chdir("/")
        null = os.open(os.devnull, os.O_RDWR)
        for descriptor in range(3):
            os.dup2(null, descriptor)
        os.close(null)
        os.write(self._write, b"1")
        os.close(self._write)


@contextlib.contextmanager
def _pidfile(settings: Settings) -> Iterator[None]:
    """The file with the process id, while we run; systemd keeps track of a foreground service itself."""
    explicit = settings.values["pidfile"].origin != "default"
    if settings.foreground and not explicit:
        yield
        return
    path = Path(settings.pidfile)
    try:
        path.write_text(f"{os.getpid()}\n")
    except OSError as error:
        log.error("cannot write pidfile %s: %s", path, error.strerror)
    try:
        yield
    finally:
        path.unlink(missing_ok=True)


def _complain(message: str) -> None:
    if sys.stderr is not None:
        sys.stderr.write(f"mcelog: {message}\n")
