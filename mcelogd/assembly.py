# SPDX-License-Identifier: GPL-2.0-only
"""Settings -> the daemon's parts: what counts, what tells, what acts."""

from __future__ import annotations

import logging
import os
import stat
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd import message_ids, report
from mcelogd.account.books import Books
from mcelogd.account.cores import CoreTable
from mcelogd.account.faults import FaultTable
from mcelogd.account.memory import UNNAMED, MemoryTable, Name, Rates
from mcelogd.account.pages import PageTable
from mcelogd.account.storms import Storms
from mcelogd.act import topology
from mcelogd.act.actions import Actions, Told
from mcelogd.act.fork import Credentials, ForkLauncher
from mcelogd.act.offline import How, Limits, PageOffliner
from mcelogd.act.runner import Preferring, TriggerRunner
from mcelogd.act.trust import Careful, weakness_of
from mcelogd.credentials import group_of
from mcelogd.pipeline import Pipeline
from mcelogd.reporter import EventReporter, Logged
from mcelogd.server import Access
from mcelogd.settings import PageAction, RowAction
from mcelogd.smbios_lines import SmbiosLines
from mcelogd.triggers import NOT_KNOWN, ROWS, SEARCH_PATH, Triggers
from mcelogd.values import ANYONE

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.account.memory import MemoryKey
    from mcelogd.act.runner import Launcher
    from mcelogd.dbus.connection import BusConnection, BusState
    from mcelogd.dbus_iface import Machine, Service
    from mcelogd.dimms.names import DimmNames
    from mcelogd.dimms.told import ToldLabels
    from mcelogd.event import Event
    from mcelogd.journal import Journal
    from mcelogd.output import Output
    from mcelogd.pipeline import CpuChoice, Listener
    from mcelogd.settings import Settings

log = logging.getLogger(__name__)

SYSTEMD = "/run/systemd/system"
"""Is there where systemd is the service manager: sd_booted(3)."""

PAGE_ACTIONS = {
    PageAction.SOFT: How.SOFT,
    PageAction.HARD: How.HARD,
    PageAction.SOFT_THEN_HARD: How.SOFT_THEN_HARD,
}


def make_books(settings: Settings, names: DimmNames) -> Books:
    """The counters, all at zero."""

    def name(key: MemoryKey) -> Name:
        found = names.of(*key)
        return UNNAMED if found is None else Name(found.label or None, found.location or None)

    memory = MemoryTable(
        Rates(settings.ce_error_threshold, settings.uc_error_threshold),
        Rates(settings.mem_ce_error_threshold, settings.mem_uc_error_threshold),
        track_dimms=settings.dimm_tracking_enabled,
        track_sockets=settings.socket_tracking_enabled,
        name=name,
    )
    pages = None
    if settings.memory_ce_action is not PageAction.OFF or settings.row_ce_action is not RowAction.OFF:
        pages = PageTable(
            settings.memory_ce_threshold,
            settings.max_corr_err_counters,
            retry=settings.memory_ce_offline_retry,
            replacement_rate=settings.counter_replacement_threshold,
        )
    return Books(
        memory,
        pages=pages,
        cores=CoreTable(settings.core_ce_error_threshold),
        faults=FaultTable(settings.row_ce_threshold),
    )


def make_reporter(
    settings: Settings, names: DimmNames, told: ToldLabels, journal: Journal, text: Output
) -> EventReporter:
    """What sends events to the journal and to the log."""

    def labels(event: Event) -> list[str | None]:
        return told.labels(event, time.monotonic())

    def label(key: MemoryKey) -> str:
        name = names.of(*key)
        return "" if name is None else name.label

    return EventReporter(
        journal.send,
        text,
        Storms(settings.storm_threshold, settings.storm_summary_seconds),
        time.monotonic,
        labels=labels,
        smbios_text=SmbiosLines(settings, names.smbios),
        label=label,
        logged=logged(settings),
        raw=settings.raw,
    )


def logged(settings: Settings) -> Logged:
    """Which crossings go to the log."""
    return Logged(
        dimm_corrected=settings.ce_error_log,
        dimm_uncorrected=settings.uc_error_log,
        socket_corrected=settings.mem_ce_error_log,
        socket_uncorrected=settings.mem_uc_error_log,
        page=settings.memory_ce_log,
        replacement=settings.counter_replacement_log,
        core=settings.core_ce_error_log,
        cache=settings.cache_threshold_log,
    )


def make_bus(settings: Settings, on_change: Callable[[BusState, str], None]) -> BusConnection | None:
    """The connection to D-Bus, not made yet; None where there is to be none."""
    if settings.bus == "none":
        return None
    try:
        from mcelogd.dbus.connection import BusConnection
    except ImportError as error:
        log.warning("without D-Bus, %s is missing: install python3-dbus-next, or set bus = none", error.name)
        return None

    return BusConnection(settings.bus, name="org.mcelog", on_change=on_change)


def make_service(bus: BusConnection, machine: Machine, books: Books) -> Service:
    """What is offered on D-Bus; in a running event loop."""
    from mcelogd.dbus.wire import DBUS, DBUS_PATH
    from mcelogd.dbus_iface import Service
    from mcelogd.polkit import Authority

    async def uid_of(sender: str) -> int:
        return int((await bus.call(DBUS, DBUS_PATH, DBUS, "GetConnectionUnixUser", "s", [sender]))[0])

    return Service(bus, Authority(bus).check, uid_of, machine, books, time.monotonic)


def missing_triggers(settings: Settings) -> list[str]:
    """A line for each program of mcelog.conf that cannot be run, or is not because of who can write it."""
    directory = Path(settings.trigger_directory or "/")
    names = {row.setting: settings.values[row.setting].value for row in ROWS}
    lines = []
    for name, program in names.items():
        if not isinstance(program, str):
            continue
        if not os.access(directory / program, os.X_OK):
            why = f"{directory / program} cannot be run; install it or remove the line"
        else:
            why = weakness_of(directory / program, _trusted(settings))
        if why:
            lines.append(f"{name} = {program}: {why}")
    return lines


def _trusted(settings: Settings) -> set[int]:
    """Who may have written a trigger: root, and as whom it is run."""
    return {0, os.geteuid(), settings.run_credentials_user or 0}


def make_launcher(
    settings: Settings, bus: BusConnection | None, *, gives_up_root: bool, for_itself: bool = False
) -> Launcher:
    """What triggers are run by: systemd, outside our own sandbox, where that can be; else as our children.

    `gives_up_root`: we become run-credentials-user ourselves, and our children are that anyway.
    `for_itself`: what is run is mcelog, as the user it was started as.
    """
    directory = settings.trigger_directory or "/"
    user, group = settings.run_credentials_user, settings.run_credentials_group
    if for_itself:
        directory, user, group = "/", None, None
    credentials = None
    if user is not None and not gives_up_root:
        credentials = Credentials(user, group if group is not None else group_of(user))
    fork = ForkLauncher(directory, credentials)
    runtime = os.environ.get("RUNTIME_DIRECTORY", "")
    if bus is None or os.geteuid() != 0 or not Path(SYSTEMD).is_dir() or not _is_private(runtime):
        return fork
    from mcelogd.act.transient import TransientLauncher, TransientSettings
    from mcelogd.dbus.wire import BusError

    asked = TransientSettings(
        directory,
        runtime,
        message_ids.TRIGGER_OUTPUT,
        user="" if user is None else str(user),
        group="" if group is None else str(group),
    )
    return Preferring(TransientLauncher(bus, (BusError,), asked), fork)


def make_triggers(settings: Settings) -> Triggers:
    """What is run when."""
    programs = {row.setting: settings.values[row.setting].value for row in ROWS}
    return Triggers(
        {name: program for name, program in programs.items() if isinstance(program, str)},
        search_path=os.environ.get("PATH") or SEARCH_PATH,
        sysfs=settings.sysfs_root,
        dry_run=settings.dry_run,
    )


def offline_limits(settings: Settings) -> Limits:
    """How many pages may be taken out of use."""
    return Limits(settings.offline_max_per_day, settings.offline_max, settings.offline_max_share)


def make_actions(
    settings: Settings, books: Books, told: Told, launcher: Launcher, save: Callable[[], None]
) -> Actions:
    """What runs triggers and takes pages out of use."""
    offliner = PageOffliner(
        settings.sysfs_root,
        limits=offline_limits(settings),
        huge_pages=settings.offline_huge_pages,
        dry_run=settings.dry_run,
    )
    runner = TriggerRunner(
        Careful(launcher, settings.trigger_directory or "/", _trusted(settings)),
        told.trigger_ended,
        children_max=settings.children_max,
        time_limit=settings.trigger_seconds,
    )

    def affected_cpus(event: Event) -> str:
        unit = event.finding.cache
        if unit is None or unit.type_number is None:
            return NOT_KNOWN
        found = topology.affected_cpus(settings.sysfs_root, event.record.cpu, unit.level, unit.type_number)
        return " ".join(map(str, found)) if found else NOT_KNOWN

    return Actions(
        make_triggers(settings),
        runner,
        offliner,
        books,
        page_action=PAGE_ACTIONS.get(settings.memory_ce_action),
        row_action=How.SOFT if settings.row_ce_action is RowAction.SOFT else None,
        affected_cpus=affected_cpus,
        told=told,
        save=save,
        clock=time.time,
    )


def make_pipeline(
    settings: Settings,
    cpu: CpuChoice,
    names: DimmNames,
    books: Books,
    reporter: Listener,
    actions: Listener,
) -> Pipeline:
    """The way of each record, through all of these."""
    return Pipeline(
        cpu=cpu,
        books=books,
        reporter=reporter,
        actions=actions,
        summarize=report.summary,
        located=names.located,
        clock=time.time,
        log_memory_errors=not settings.filter_memory_errors,
        log_known_bogus=not settings.filter,
    )


def make_access(settings: Settings) -> Access:
    """Who may ask at the legacy socket."""
    user, group = settings.client_user, settings.client_group
    # Root is always answered; the default user then stands for who runs the daemon by hand.
    return Access(
        uid=None if user == ANYONE else user or os.geteuid(),
        gid=None if group == ANYONE else group,
        any_user=user == ANYONE,
        any_group=group == ANYONE,
    )


def _is_private(directory: str) -> bool:
    """Whether variables of triggers are safe from other users there."""
    try:
        found = Path(directory).stat() if directory else None
    except OSError:
        return False
    return found is not None and found.st_uid == 0 and not stat.S_IMODE(found.st_mode) & 0o077
