# SPDX-License-Identifier: GPL-2.0-only
"""`mcelog --daemon`: the composition root. It makes the parts, joins them, and runs them."""

from __future__ import annotations

import asyncio
import fcntl
import functools
import logging
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd import __version__, message_ids, report
from mcelogd.account.memory import MemoryTable, Rates
from mcelogd.account.pages import PageTable
from mcelogd.account.text import memory_text, pages_text
from mcelogd.intake import Intake, Recovered, Spools, recover
from mcelogd.pipeline import Pipeline
from mcelogd.reporter import EventReporter
from mcelogd.server import Access, LegacyServer, ServerRunning, SocketError, respond
from mcelogd.settings import PageAction
from mcelogd.sources.stream import StreamSource
from mcelogd.store.database import NOTHING, StoreError, open_or_replace
from mcelogd.store.writer import StoreWriter
from mcelogd.values import ANYONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.journal import Journal
    from mcelogd.output import Output
    from mcelogd.pipeline import CpuChoice
    from mcelogd.service_manager import ServiceManager
    from mcelogd.settings import Settings
    from mcelogd.sources import Source
    from mcelogd.store.database import Saved, Store
    from mcelogd.store.rows import Batch

log = logging.getLogger(__name__)

DATABASE = "mcelog.db"

STORE_SECONDS = 10.0
"""How long the end of the daemon waits for the disk."""

STATUS_SECONDS = 1.0
"""The status line is renewed at most this often."""


class StartError(Exception):
    """The daemon cannot start; the message names cause and remedy."""


class StateDirectory:
    """The directory that state is kept in, locked for this process; or none, and then why is logged."""

    def __init__(self, path: Path) -> None:
        """Make and lock the directory. StartError if another daemon has it."""
        self.path: Path | None = path
        self._lock: int | None = None
        try:
            path.mkdir(mode=0o750, parents=True, exist_ok=True)
            self._lock = os.open(path / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            log.error(
                "no state in %s: %s; counters and records do not survive a restart", path, error.strerror
            )
            self.path = None
            return
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            os.close(self._lock)
            raise StartError(f"another mcelog uses {path}; stop it, or give another state-dir") from error

    def open_store(self) -> tuple[Store | None, Saved]:
        """The database and what it holds; None, and why is logged, if there can be none."""
        if self.path is None:
            return None, NOTHING
        try:
            store, saved, problem = open_or_replace(self.path / DATABASE)
        except StoreError as error:
            log.error(
                "working without a store until the next start: %s",
                error,
                extra=_store_failed(self.path, error),
            )
            return None, NOTHING
        if problem:
            log.error("%s", problem, extra=_store_failed(self.path, problem))
        return store, saved

    def close(self) -> None:
        if self._lock is not None:
            os.close(self._lock)


class Daemon:
    """Everything that runs between start and stop."""

    def __init__(
        self,
        settings: Settings,
        source: Source,
        cpu: CpuChoice,
        output: Output,
        manager: ServiceManager,
        journal: Journal,
    ) -> None:
        """Join the parts and take in what an earlier run left; StartError if it cannot be."""
        self._settings = settings
        self._source = source
        self._output = output
        self._manager = manager
        self._journal = journal
        self._pipeline = _pipeline(settings, cpu, EventReporter(journal.send, output, raw=settings.raw))
        self._state = StateDirectory(Path(settings.state_dir))
        store, saved = self._state.open_store()
        self._restore(saved)
        self._writer = StoreWriter(store, saved.position, self._store_failed)
        directory = self._state.path if store is not None else None
        recovered = Recovered(generation=1)
        if directory is not None:
            recovered = recover(directory, saved.position, self._pipeline, self._writer.put)
            self._writer.flush(STORE_SECONDS)
            self._seek(recovered.origin, recovered.offset)
        self._spools = Spools(directory, source, recovered.generation)
        self._spools.forget(self._writer.committed)
        self._server = LegacyServer(functools.partial(respond, self), _access(settings))
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._status_due: asyncio.TimerHandle | None = None

    def run(self, ready: Callable[[], None]) -> None:
        """Run until SIGTERM or SIGINT; `ready` is called when records are being read.

        Raises StartError if another daemon serves our socket.
        """
        asyncio.run(self._run(ready))

    def dump_memory_errors(self, all: bool, bios: bool) -> str:
        return memory_text(self._pipeline.memory, int(time.time()), every=all, bios=bios)

    def dump_page_errors(self) -> str:
        pages = self._pipeline.pages
        return pages_text(pages) if pages is not None else ""

    async def _run(self, ready: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self._loop.add_signal_handler(number, self._stop.set)
        for number in (signal.SIGUSR1, signal.SIGHUP):
            self._loop.add_signal_handler(number, self._output.reopen)
        self._journal.attach(self._loop)
        intake = Intake(
            self._source,
            self._spools,
            self._pipeline,
            self._put,
            committed=lambda: self._writer.committed,
            lost=self._records_lost,
            done=self._at_end,
            at_most=self._settings.num_errors,
        )
        try:
            await self._serve()
        except ServerRunning as error:
            self._shut_down()
            raise StartError(str(error)) from error
        except SocketError as error:
            # Clients come second: errors are recorded and reported without them.
            log.error("%s; going on without clients", error)
        intake.start(self._loop)
        self._keep_alive()
        ready()
        self._manager.ready(self._status())
        self._tell_started()
        await self._stop.wait()
        self._manager.stopping()
        intake.stop()
        self._server.close()
        self._shut_down()

    async def _serve(self) -> None:
        """Take over the socket the service manager opened, or open our own."""
        handed_over = self._manager.sockets()
        if handed_over:
            self._server.adopt(next(iter(handed_over)))
        elif self._settings.socket_path:
            await self._server.bind(
                self._settings.socket_path,
                self._settings.listen_backlog,
                self._settings.initial_ping_timeout,
            )

    def _shut_down(self) -> None:
        if not self._writer.close(STORE_SECONDS):
            log.error(
                "the store did not answer; what it has not taken is read from the spool at the next start",
                extra=_store_failed(self._state.path, "no answer"),
            )
        self._spools.forget(self._writer.committed)
        log.info("mcelog %s stops", __version__, extra={"MESSAGE_ID": message_ids.SERVICE_STOPPED})
        self._source.close()
        self._output.close()
        self._journal.close()
        self._state.close()

    def _restore(self, saved: Saved) -> None:
        """Go on with the counters of earlier runs."""
        pipeline = self._pipeline
        pipeline.memory.restore(saved.memory)
        if pipeline.pages is not None:
            pipeline.pages.restore(saved.pages)
        pipeline.restore_totals(saved.state.get("totals", ""), saved.state.get("page_use", ""))
        pipeline.next_id = saved.last_event_id + 1
        offset, _, origin = saved.state.get("file", "").partition(" ")
        if offset.isdigit():
            self._seek(origin, int(offset))

    def _seek(self, origin: str, offset: int) -> None:
        """Go on in a file where an earlier run stopped, if it is the same file."""
        if isinstance(self._source, StreamSource) and origin and origin == self._source.origin:
            self._source.seek(offset)

    def _put(self, batch: Batch) -> None:
        self._writer.put(batch)
        self._status_changed()

    def _records_lost(self, count: int) -> None:
        log.warning(
            "the kernel's log of machine checks overflowed: at least %d record was lost",
            count,
            extra={"MESSAGE_ID": message_ids.RECORDS_LOST, "MCE_SOURCE": self._source.name},
        )
        self._output.write("Warning: MCE buffer is overflowed.\n")

    def _at_end(self) -> None:
        """A file was read to its end, or as many records as were asked for."""
        if self._settings.num_errors and self._stop is not None:
            self._stop.set()

    def _store_failed(self, problem: str | None) -> None:
        """Called from the store's thread."""
        if problem is None:
            log.warning(
                "the store works again",
                extra=_store_failed(self._state.path, "") | {"MESSAGE_ID": message_ids.STORE_RECOVERED},
            )
        else:
            log.error(
                "records are not kept for now: %s", problem, extra=_store_failed(self._state.path, problem)
            )

    def _keep_alive(self) -> None:
        interval = self._manager.watchdog_interval
        if interval is not None and self._loop is not None:
            self._manager.alive()
            self._loop.call_later(interval, self._keep_alive)

    def _status_changed(self) -> None:
        if self._loop is not None and self._status_due is None:
            self._status_due = self._loop.call_later(STATUS_SECONDS, self._renew_status)

    def _renew_status(self) -> None:
        self._status_due = None
        self._manager.status(self._status())

    def _status(self) -> str:
        totals = self._pipeline.totals
        return (
            f"Reading {self._source.name}: {totals.records_read} records, "
            f"{totals.corrected_errors} corrected and {totals.uncorrected_errors} uncorrected errors, "
            f"{totals.records_lost} lost"
        )

    def _tell_started(self) -> None:
        name = self._source.name
        extra = {
            "MESSAGE_ID": message_ids.SERVICE_STARTED,
            "MCE_VERSION": __version__,
            "MCE_SOURCE": name,
        }
        log.info("mcelog %s reads %s", __version__, name, extra=extra)


def _store_failed(directory: Path | None, problem: object) -> dict[str, str]:
    """Fields of the journal entry about a store that fails."""
    return {
        "MESSAGE_ID": message_ids.STORE_FAILED,
        "MCE_STORE": str(directory and directory / DATABASE),
        "MCE_ERROR": str(problem),
    }


def _pipeline(settings: Settings, cpu: CpuChoice, reporter: EventReporter) -> Pipeline:
    memory = MemoryTable(
        Rates(settings.ce_error_threshold, settings.uc_error_threshold),
        Rates(settings.mem_ce_error_threshold, settings.mem_uc_error_threshold),
        track_dimms=settings.dimm_tracking_enabled,
        track_sockets=settings.socket_tracking_enabled,
    )
    pages = None
    if settings.memory_ce_action is not PageAction.OFF:
        pages = PageTable(settings.memory_ce_threshold, settings.max_corr_err_counters)
    return Pipeline(
        cpu=cpu,
        memory=memory,
        pages=pages,
        reporter=reporter,
        summarize=report.summary,
        clock=time.time,
        log_memory_errors=not settings.filter_memory_errors,
        log_known_bogus=not settings.filter,
    )


def _access(settings: Settings) -> Access:
    user, group = settings.client_user, settings.client_group
    # Root is always answered; the default user then stands for who runs the daemon by hand.
    return Access(
        uid=None if user == ANYONE else user or os.geteuid(),
        gid=None if group == ANYONE else group,
        any_user=user == ANYONE,
        any_group=group == ANYONE,
    )
