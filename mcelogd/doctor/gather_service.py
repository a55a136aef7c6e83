# SPDX-License-Identifier: GPL-2.0-only
"""Facts of mcelog and of what is around it: bus, journal, triggers, state."""

from __future__ import annotations

import contextlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd import message_ids
from mcelogd.config import Config, ConfigError, load
from mcelogd.doctor.facts import Answer, Chosen, Reading, Service, Stored, Surroundings, TriggerFile
from mcelogd.doctor.parse import parse_journald, parse_properties
from mcelogd.doctor.reading import ask
from mcelogd.settings import Settings
from mcelogd.store import DATABASE
from mcelogd.store.aside import kept_aside
from mcelogd.store.database import StoreError
from mcelogd.store.reader import EventQuery, StoreReader
from mcelogd.triggers import ROWS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcelogd.doctor.reading import Root

UNIT = "mcelog.service"
ACTIONS = ("/usr/share/polkit-1/actions", "/etc/polkit-1/actions", "/usr/local/share/polkit-1/actions")
BUS_POLICIES = ("/usr/share/dbus-1/system.d", "/etc/dbus-1/system.d", "/usr/local/share/dbus-1/system.d")
POLKITD = ("/usr/lib/polkit-1/polkitd", "/usr/libexec/polkitd", "/usr/lib/policykit-1/polkitd")
CATALOGS = ("/usr/lib/systemd/catalog", "/etc/systemd/catalog")
CATALOG_DATABASE = "/var/lib/systemd/catalog/database"
JOURNALD = ("/etc/systemd", "/run/systemd", "/usr/local/lib/systemd", "/usr/lib/systemd")
JOURNALS = ("/var/log/journal", "/run/log/journal")
PROPERTIES = (
    "LoadState,ActiveState,SubState,Result,StatusText,ConditionResult,ConditionTimestampMonotonic,"
    "LogRateLimitBurst,LogRateLimitIntervalUSec"
)
MOST_RECORDS = 10_000
LARGEST_DATABASE = 16 << 20


def chosen(root: Root, file: str) -> tuple[Chosen, Settings]:
    """mcelog.conf; where it cannot be used, what would be without it."""
    error, denied = "", False
    settings = Settings.load(Config(file))
    try:
        config = load(str(root / file), must_exist=False)
        denied = bool(config.problem)
        if not denied:
            settings = Settings.load(config)
    except ConfigError as problem:
        error = str(problem)
    found = Chosen(
        file=file,
        error=error,
        denied=denied,
        is_there=root.look(file) is not Reading.MISSING,
        warnings=tuple(map(str, settings.warnings)),
        source=str(settings.source),
        page_action=str(settings.memory_ce_action),
        bus=settings.bus,
    )
    return found, settings


def service(root: Root) -> Service:
    if not root.is_running:
        said = ask("systemctl", f"--root={root.path}", "is-enabled", UNIT)
        return Service({}, said.output.strip()) if said.status is not None else Service()
    if root.look("/run/systemd/system") is not Reading.THERE:
        return Service()
    said = ask("systemctl", "show", "--no-pager", "-p", PROPERTIES, UNIT)
    if said.status != 0:
        return Service()
    return Service(parse_properties(said.output), ask("systemctl", "is-enabled", UNIT).output.strip())


def surroundings(root: Root, settings: Settings) -> Surroundings:
    catalog = root.first(*(f"{place}/mcelog.catalog" for place in CATALOGS))
    return Surroundings(
        polkitd=root.first(*POLKITD),
        policy=root.first(*(f"{place}/org.mcelog.policy" for place in ACTIONS)),
        bus_policy=root.first(*(f"{place}/org.mcelog.conf" for place in BUS_POLICIES)),
        bus_answer=_bus_answer(root),
        journald=parse_journald(_journald(root)),
        journal_socket=root.look(settings.journal_socket) is not Reading.MISSING,
        journal_kept=root.look(JOURNALS[0]) is Reading.THERE,
        catalog=catalog,
        catalog_known=_catalog_known(root),
        trigger_directory=_file(root, "directory", settings.trigger_directory or "/", stat.S_ISDIR),
        triggers=tuple(_triggers(root, settings)),
    )


def _bus_answer(root: Root) -> Answer:
    if not root.is_running:
        return Answer()
    # Not get-property: that starts the service whatever --auto-start= says.
    get = ("org.mcelog", "/org/mcelog", "org.freedesktop.DBus.Properties", "Get")
    version = ("ss", "org.mcelog.Manager", "Version")
    return ask("busctl", "--system", "--auto-start=no", "--timeout=5", "call", *get, *version)


def _journald(root: Root) -> Iterator[str]:
    """The texts that make up its settings, in the order in which they count (journald.conf(5))."""
    main = root.first(*(f"{place}/journald.conf" for place in JOURNALD))
    if main:
        yield root.text(main).text
    drop_ins: dict[str, str] = {}
    for place in JOURNALD:
        for name in root.names(f"{place}/journald.conf.d")[1]:
            if name.endswith(".conf"):
                drop_ins.setdefault(name, f"{place}/journald.conf.d/{name}")
    for _, path in sorted(drop_ins.items()):
        yield root.text(path).text


def _catalog_known(root: Root) -> bool | None:
    reading, content = root.bytes(CATALOG_DATABASE, LARGEST_DATABASE)
    if reading is Reading.MISSING:
        return False
    return bytes.fromhex(message_ids.SERVICE_STARTED) in content if reading is Reading.THERE else None


def _triggers(root: Root, settings: Settings) -> Iterator[TriggerFile]:
    directory = Path(settings.trigger_directory or "/")
    for name in dict.fromkeys(row.setting for row in ROWS):
        program = settings.values[name].value
        if isinstance(program, str):
            yield _file(root, name, str(directory / program), stat.S_ISREG)


def _file(root: Root, setting: str, path: str, is_kind: Callable[[int], bool]) -> TriggerFile:
    reading, found = root.stat(path)
    if found is None:
        return TriggerFile(setting, path, reading)
    kind = is_kind(found.st_mode)
    return TriggerFile(setting, path, reading, kind, stat.S_IMODE(found.st_mode), found.st_uid, found.st_gid)


def records(root: Root, settings: Settings, booted: int | None) -> int | None:
    """How many were recorded since the boot, by the store or the journal; None if neither may be read."""
    found = []
    path = Path(root / settings.state_dir) / DATABASE
    if root.look(str(Path(settings.state_dir) / DATABASE)) is Reading.THERE and os.access(path, os.R_OK):
        with contextlib.suppress(StoreError):  # state() says so
            found.append(len(StoreReader(path).newest(EventQuery(since=booted or 0, limit=MOST_RECORDS))))
    if root.is_running and os.geteuid() == 0:
        only = ("-o", "cat", "--output-fields=MCE_STATUS", "-t", "mcelog", "-n", "100000")
        said = ask("journalctl", "-q", "--no-pager", "-b", *only)
        found.append(sum(line.startswith("0x") for line in said.output.splitlines()))
    if root.look(settings.state_dir) is Reading.MISSING:
        found.append(0)
    return max(found, default=None)


def stored(root: Root, settings: Settings) -> Stored:
    directory = settings.state_dir
    reading, found = root.stat(directory)
    if found is None:
        return Stored(directory, reading)
    names, database = root.names(directory)[0], root.look(f"{directory}/{DATABASE}")
    if Reading.DENIED in (names, database):
        return Stored(directory, Reading.DENIED)
    path = Path(root / directory)
    writable, read_only, free = _space(path)
    trouble, newest = _store(path / DATABASE, database)
    return Stored(
        directory,
        reading,
        is_directory=stat.S_ISDIR(found.st_mode),
        writable=writable,
        read_only=read_only,
        free=free,
        database=Reading.DENIED
        if database is Reading.THERE and not os.access(path / DATABASE, os.R_OK)
        else database,
        trouble=trouble,
        aside=_aside(path / DATABASE),
        newest=newest,
    )


def _space(path: Path) -> tuple[bool, bool, int | None]:
    writable = os.access(path, os.W_OK | os.X_OK)
    try:
        found = os.statvfs(path)
    except OSError:
        return writable, False, None
    return writable, bool(found.f_flag & os.ST_RDONLY), found.f_bavail * found.f_frsize


def _aside(path: Path) -> tuple[str, ...]:
    try:
        return tuple(one.name for one in kept_aside(path))
    except OSError:
        return ()


def _store(path: Path, reading: Reading) -> tuple[str, int]:
    """Why the store cannot be used, and the time of its newest record."""
    if reading is not Reading.THERE or not os.access(path, os.R_OK):
        return "", 0
    try:
        newest = StoreReader(path).newest(EventQuery(limit=1))
    except StoreError as error:
        return str(error), 0
    return "", newest[0].time if newest else 0
