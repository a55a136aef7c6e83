# SPDX-License-Identifier: GPL-2.0-only
"""`mcelog --daemon`: the composition root. It makes the parts, joins them, and runs them."""

from __future__ import annotations

import asyncio
import functools
import logging
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd import __version__, message_ids
from mcelogd.act import imc_log
from mcelogd.administration import Administration
from mcelogd.assembly import (
    make_access,
    make_actions,
    make_books,
    make_bus,
    make_launcher,
    make_pipeline,
    make_reporter,
    make_service,
    missing_triggers,
)
from mcelogd.catchup import CatchUp, places
from mcelogd.config import ConfigError
from mcelogd.credentials import CredentialsError, become
from mcelogd.dimms.told import ToldLabels
from mcelogd.firmware import dimm_names
from mcelogd.intake import Intake, Recovered, Spools, recover
from mcelogd.pipeline import Everyone
from mcelogd.reload import Parts, apply
from mcelogd.selftest import SelfTest
from mcelogd.selftest_chain import DaemonChain
from mcelogd.server import LegacyServer, ServerRunning, SocketError, respond
from mcelogd.sources.stream import StreamSource
from mcelogd.sources.tracefs import TracefsSource
from mcelogd.state import DATABASE, StartError, StateDirectory, store_failed
from mcelogd.store.database import anew
from mcelogd.store.reader import StoreReader
from mcelogd.store.retention import Limits
from mcelogd.store.writer import StoreWriter
from mcelogd.takeover import BOOT, meet_dimms, pages_of_earlier_boot, remember, restore

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.act.actions import PageDone
    from mcelogd.act.runner import TriggerResult
    from mcelogd.dbus.connection import BusState
    from mcelogd.dbus_iface import Service
    from mcelogd.journal import Journal
    from mcelogd.output import Output
    from mcelogd.pipeline import CpuChoice
    from mcelogd.service_manager import ServiceManager
    from mcelogd.settings import Settings
    from mcelogd.sources import Source
    from mcelogd.store.database import Saved
    from mcelogd.store.rows import Batch
    from mcelogd.triggers import Trigger

log = logging.getLogger(__name__)

STORE_SECONDS = 10.0
"""How long the end of the daemon waits for the disk."""

ACTION_SECONDS = 5.0
"""How long it waits for triggers; with its other waits within TimeoutStopSec= of the unit."""

EXPIRE_SECONDS = 3600.0
"""How often evidence against DIMMs that is too old is dropped."""

BUS_SECONDS = 2.0
"""How long the start waits for D-Bus: the first triggers may need it."""

LEAST_TICK = 0.1
"""Seconds between two looks at storms."""

STATUS_SECONDS = 1.0
"""The status line is renewed at most this often."""


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
        reread: Callable[[], Settings],
    ) -> None:
        """Join the parts and take in what an earlier run left; StartError if it cannot be."""
        self._settings = settings
        self._reread = reread
        self._host = cpu.host
        self._source = source
        self._output = output
        self._manager = manager
        self._journal = journal
        self._names = dimm_names(settings, cpu.forced or cpu.host)
        self._books = make_books(settings, self._names)
        told = ToldLabels(self._names)
        if isinstance(source, TracefsSource):
            source.told = lambda event: told.tell(*event, time.monotonic())
        self._reporter = make_reporter(settings, self._names, told, journal, output)
        self._listeners = Everyone(self._reporter)
        self._bus = make_bus(settings, self._bus_changed)
        self._bus_was_lost = False
        launcher = make_launcher(settings, self._bus, gives_up_root=not manager.is_there)
        self._actions = make_actions(settings, self._books, self, launcher, self._save)
        self._pipeline = make_pipeline(
            settings, cpu, self._names, self._books, self._listeners, self._actions
        )
        self._state = StateDirectory(Path(settings.state_dir))
        self._intake: Intake | None = None
        self._stop: asyncio.Event | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._status_due: asyncio.TimerHandle | None = None
        self._storm_timer: asyncio.TimerHandle | None = None
        self._catch_up: CatchUp | None = None
        self._go_on()
        self._self_test = SelfTest(self._make_chain())
        self._listeners.listeners.append(self._self_test)
        self._administration = self._make_administration()
        self._server = LegacyServer(functools.partial(respond, self._administration), make_access(settings))
        self._service: Service | None = None

    def _go_on(self) -> None:
        """Take over what an earlier run left: counters, DIMMs, records that were not stored yet."""
        limits = Limits(self._settings.store_max_age, self._settings.store_max_size)
        store, found = self._state.open_store(limits)
        saved = found if found is not None else anew(time.time())
        self._saved_state = saved.state if found is not None else None
        restore(self._pipeline, self._actions, saved)
        offset, _, origin = saved.state.get("file", "").partition(" ")
        if offset.isdigit():
            self._seek(origin, int(offset))
        if store is not None:
            remember(self._pipeline, store)
        self._writer = StoreWriter(
            store,
            saved.position,
            self._store_failed,
            saved=found,
            reopen=functools.partial(self._state.reopen, limits) if self._state.path is not None else None,
            found=self._store_found,
        )
        boot = self._actions.boot_id
        self._off_line_again = pages_of_earlier_boot(self._books, saved.state, boot)
        meet_dimms(self._books, self._names, self._reporter, prepopulate=self._settings.dmi_prepopulate)
        directory = self._state.path if found is not None else None
        recovered = Recovered(generation=1)
        if directory is not None:
            recovered = recover(
                directory,
                saved.position,
                self._pipeline,
                self._writer.put,
                self._source.taken_apart,
                self._manager.starting,
            )
            self._writer.flush(STORE_SECONDS)
            self._seek(recovered.origin, recovered.offset)
        self._spools = Spools(directory, self._source, recovered.generation, lambda: self._writer.committed)
        self._spools.forget()
        self._writer.put(self._pipeline.take_batch(None, {BOOT: boot}))

    def _make_administration(self) -> Administration:
        path = self._state.path
        return Administration(
            self._pipeline,
            self._names,
            self._reporter,
            self._actions,
            StoreReader(path / DATABASE) if path is not None else None,
            source=self._source.name,
            source_state=lambda: self._intake.state if self._intake is not None else "reading",
            page_action=lambda: self._settings.memory_ce_action.value,
            save=self._save,
            reload=self._reload,
            self_test=self._self_test,
        )

    def _make_catch_up(self, intake: Intake) -> CatchUp | None:
        """What looks for records from before; None without a store, which alone knows what is news."""
        where, directory, state = places(self._settings, self._source), self._state.path, self._saved_state
        if where is None or directory is None or state is None:
            return None
        boot = self._actions.boot_id
        return CatchUp(
            where, directory, boot, state, self._pipeline, self._put, self._writer, intake.when_empty
        )

    def _make_chain(self) -> DaemonChain:
        path = self._state.path
        launcher = make_launcher(
            self._settings, self._bus, gives_up_root=not self._manager.is_there, for_itself=True
        )
        reader = StoreReader(path / DATABASE) if path is not None else None
        has_journal = self._journal.available
        return DaemonChain(self._settings, self._source, launcher, reader, has_journal=has_journal)

    def run(self, ready: Callable[[], None]) -> None:
        """Run until SIGTERM or SIGINT; `ready` is called when records are being read.

        Raises StartError if another daemon serves our socket.
        """
        asyncio.run(self._run(ready))

    async def _run(self, ready: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT):
            self._loop.add_signal_handler(number, self._stop.set)
        self._loop.add_signal_handler(signal.SIGUSR1, self._output.reopen)
        self._loop.add_signal_handler(signal.SIGHUP, self._hang_up)
        self._journal.attach(self._loop)
        self._intake = intake = Intake(
            self._source,
            self._spools,
            self._pipeline,
            self._put,
            lost=self._records_lost,
            done=self._at_end,
            changed=self._state_changed,
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
        self._switch_on_imc_log()
        self._give_up_root()
        intake.start(self._loop)
        await self._serve_bus()
        self._actions.start(self._loop)
        if self._settings.offline_again and self._off_line_again:
            self._actions.off_line_again(self._off_line_again)
        self._expire()
        self._keep_alive()
        ready()
        self._manager.ready(self._status())
        self._tell_started()
        self._catch_up = self._make_catch_up(intake)
        if self._catch_up is not None:
            self._catch_up.start(self._loop)
        for problem in missing_triggers(self._settings):
            log.warning("%s", problem, extra={"MESSAGE_ID": message_ids.CONFIG_PROBLEM, "MCE_ERROR": problem})
        await self._stop.wait()
        self._manager.stopping()
        intake.stop()
        self._server.close()
        await self._actions.close(ACTION_SECONDS)
        if self._service is not None:
            self._service.close()
        if self._bus is not None:
            await self._bus.close()
        self._reporter.finish()
        self._save()
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

    async def _serve_bus(self) -> None:
        """Be on D-Bus, if there is one: whoever waits for READY=1 finds the name owned."""
        if self._bus is None:
            return
        self._service = make_service(self._bus, self._administration, self._books)
        self._administration.changed = self._service.counters_changed
        self._service.start()
        self._listeners.listeners.append(self._service)
        self._bus.start()
        await self._bus.settle(BUS_SECONDS)

    def _bus_changed(self, state: BusState, reason: str) -> None:
        """The connection to D-Bus came or went. It going is told, its first coming is not."""
        if state.value != "up":
            self._bus_was_lost = True
            extra = {"MESSAGE_ID": message_ids.BUS_LOST, "MCE_ERROR": reason}
            log.warning("not on D-Bus: %s", reason, extra=extra)
        elif self._bus_was_lost:
            self._bus_was_lost = False
            log.info("on D-Bus again", extra={"MESSAGE_ID": message_ids.BUS_RESTORED})

    def trigger_begins(self, trigger: Trigger) -> None:
        self._reporter.trigger_begins(trigger)

    def trigger_ended(self, result: TriggerResult) -> None:
        self._reporter.trigger_ended(result)

    def page_done(self, done: PageDone) -> None:
        self._reporter.page_done(done)
        if self._service is not None:
            self._service.page_done(ok=done.result.ok)

    def _switch_on_imc_log(self) -> None:
        """Have the memory controller name DIMMs; in a service, whose sandbox has no MSRs, `--imc-log` did."""
        if self._settings.no_imc_log or self._manager.is_there:
            return
        for problem in imc_log.enable("/dev", self._settings.sysfs_root, self._host):
            log.warning("%s", problem)

    def _give_up_root(self) -> None:
        """Become run-credentials-user. The unit's sandbox has no right to: there it is for triggers only,
        which run outside of it."""
        settings = self._settings
        if settings.run_credentials_user is None and settings.run_credentials_group is None:
            return
        try:
            become(settings.run_credentials_user, settings.run_credentials_group, self._state.files())
        except CredentialsError as error:
            if not self._manager.is_there:
                self._shut_down()
                raise StartError(f"run-credentials-user: {error}; run mcelog as root") from error
            log.warning("run-credentials-user holds for triggers only; the service runs in its sandbox")

    def _shut_down(self) -> None:
        if not self._writer.close(STORE_SECONDS):
            log.error(
                "the store did not answer; what it has not taken is read from the spool at the next start",
                extra=store_failed(self._state.path, "no answer"),
            )
        self._spools.forget()
        log.info("mcelog %s stops", __version__, extra={"MESSAGE_ID": message_ids.SERVICE_STOPPED})
        self._source.close()
        self._output.close()
        self._journal.close()
        self._state.close()

    def _seek(self, origin: str, offset: int) -> None:
        """Go on in a file where an earlier run stopped, if it is the same file."""
        if isinstance(self._source, StreamSource) and origin and origin == self._source.origin:
            self._source.seek(offset)

    def _put(self, batch: Batch, meanwhile: Callable[[], None] = lambda: None) -> None:
        self._writer.put(batch, meanwhile)
        self._status_changed()
        self._tick_storms()

    def _save(self) -> None:
        """Keep what has changed besides records."""
        self._put(self._pipeline.take_batch(None))

    def _reload(self) -> list[str]:
        """Read mcelog.conf again; remarks about what is not in effect."""
        try:
            new = self._reread()
        except ConfigError as error:
            extra = {"MESSAGE_ID": message_ids.CONFIG_PROBLEM, "MCE_ERROR": str(error)}
            log.error("%s; going on with the settings there were", error, extra=extra)
            return [str(error)]
        parts = Parts(self._pipeline, self._reporter, self._actions, self._server)
        remarks = [str(warning) for warning in new.warnings] + apply(self._settings, new, parts)
        self._settings = new
        self._state_changed()
        extra = {"MESSAGE_ID": message_ids.CONFIG_RELOADED, "MCE_CONFIG_FILE": new.config_file}
        log.info("read %s again", new.config_file, extra=extra)
        for remark in remarks:
            log.warning("%s", remark, extra={"MESSAGE_ID": message_ids.CONFIG_PROBLEM, "MCE_ERROR": remark})
        return remarks

    def _hang_up(self) -> None:
        """SIGHUP: as daemons do, configuration and log file anew."""
        self._output.reopen()
        self._manager.reloading()
        self._reload()
        self._manager.ready(self._status())

    def _tick_storms(self) -> None:
        """Have storms summed up in time; a timer runs only while there are some."""
        if self._storm_timer is not None or self._loop is None:
            return
        seconds = self._reporter.tick()
        if seconds is not None:
            self._storm_timer = self._loop.call_later(max(seconds, LEAST_TICK), self._storm_due)

    def _storm_due(self) -> None:
        self._storm_timer = None
        self._tick_storms()

    def _expire(self) -> None:
        """Every now and then: evidence that is too old speaks against nobody."""
        if self._books.faults is not None:
            for verdict in self._books.faults.expire(int(time.time())):
                self._reporter.diagnosed(verdict)
        if self._catch_up is not None:
            self._catch_up.look()
        if self._loop is not None:
            self._loop.call_later(EXPIRE_SECONDS, self._expire)

    def _records_lost(self, count: int) -> None:
        extra = {
            "MESSAGE_ID": message_ids.RECORDS_LOST,
            "MCE_SOURCE": self._source.name,
            "MCE_LOST": count,
        }
        what = "record was" if count == 1 else "records were"
        text = "the kernel's log of machine checks overflowed: at least %d %s lost"
        log.warning(text, count, what, extra=extra)
        self._output.write("Warning: MCE buffer is overflowed.\n")
        self._state_changed()

    def _state_changed(self) -> None:
        if self._service is not None:
            self._service.state_changed()

    def _at_end(self) -> None:
        """A file was read to its end, or as many records as were asked for."""
        self._state_changed()
        if self._settings.num_errors and self._stop is not None:
            self._stop.set()

    def _store_failed(self, problem: str | None) -> None:
        """Called from the store's thread."""
        if problem is None:
            log.warning(
                "the store works again",
                extra=store_failed(self._state.path, "") | {"MESSAGE_ID": message_ids.STORE_RECOVERED},
            )
        else:
            log.error("the store: %s", problem, extra=store_failed(self._state.path, problem))

    def _store_found(self, saved: Saved) -> None:
        """Called from the store's thread: a store that could not be read at the start can be now."""
        if self._loop is not None:
            self._loop.call_soon_threadsafe(self._adopt, saved)

    def _adopt(self, saved: Saved) -> None:
        """Add up what was counted before and since."""
        self._save()
        merged = self._writer.adopt(saved, self._pipeline.totals_with(saved.state))
        self._pipeline.next_id = max(self._pipeline.next_id, merged.last_event_id + 1)
        restore(self._pipeline, self._actions, merged._replace(last_event_id=self._pipeline.next_id - 1))

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
