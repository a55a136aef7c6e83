# SPDX-License-Identifier: GPL-2.0-only
"""org.mcelog on D-Bus: the objects, and what they offer. data/org.mcelog.xml is the contract.

Start at Service: the daemon tells it of events, like everyone else who
listens; callers get to the daemon through Machine.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcelogd import __version__
from mcelogd.account.memory import ANY, MemoryKey, memory_key
from mcelogd.account.parts import name_of
from mcelogd.account.text import fault_place
from mcelogd.dbus.declare import Emits, Interface, method, readable, signal
from mcelogd.dbus.gate import Gate, caller
from mcelogd.dbus.memory import (
    COUNTS,
    DIMM_CHANGES,
    MANAGER,
    READ,
    SOCKET_CHANGES,
    Dimm,
    InvalidArgumentError,
    Socket,
    key_of_path,
    path_of,
)
from mcelogd.dbus.objects import ObjectTree

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from mcelogd.account.books import AnyCrossing, Books
    from mcelogd.account.parts import Past
    from mcelogd.dbus.connection import BusConnection
    from mcelogd.dbus.gate import Authorize
    from mcelogd.dimms.names import DimmName
    from mcelogd.event import Event
    from mcelogd.pipeline import About, Totals
    from mcelogd.store.rows import StoredEvent

OFFLINE_PAGE: Final = "org.mcelog.offline-page"
RESET_COUNTERS: Final = "org.mcelog.reset-counters"
RELOAD: Final = "org.mcelog.reload"
SELF_TEST: Final = "org.mcelog.self-test"


MOST_AT_ONCE: Final = 1000
"""Pages or events in one answer."""

MOST_OBJECTS: Final = 4096
"""Objects for DIMMs; a damaged record can name any."""

SIGNALS: Final = 4
"""Signals of one kind about one object in a second."""

CHANGING: Final = ("RecordsRead", "RecordsLost", "CorrectedErrors", "UncorrectedErrors", "LastEventTime")

Link = tuple[str, bool, str]
"""One link of the self test's chain: name, whether it held, what is to say."""


class Machine(Protocol):
    """What the daemon is asked for. BusError says why something cannot be."""

    cpu_type: str
    cpu_vendor: str
    source: str

    @property
    def source_state(self) -> str: ...
    @property
    def totals(self) -> Totals: ...
    @property
    def page_action(self) -> str: ...

    def name_of(self, key: MemoryKey) -> DimmName | None: ...
    async def events(self, after_id: int, limit: int) -> Sequence[StoredEvent]: ...
    async def event_fields(self, event_id: int) -> Mapping[str, Sequence[str]] | None: ...
    async def offline_page(self, address: int, mode: str) -> tuple[bool, str]: ...
    def reset(self, key: MemoryKey | None, uid: int) -> bool: ...
    def replaced(self, key: MemoryKey, uid: int) -> bool: ...
    def acquit(self, key: MemoryKey, uid: int) -> bool: ...
    def reload(self) -> Sequence[str]: ...
    async def self_test(self) -> tuple[bool, Sequence[Link]]: ...


class Manager(Interface, name="org.mcelog.Manager"):
    """The machine as a whole."""

    def __init__(self, machine: Machine, books: Books, uid_of: Callable[[str], Any]) -> None:
        self._machine = machine
        self._books = books
        self._uid_of = uid_of

    @readable("s", Emits.CONST)
    def Version(self) -> str:
        return __version__

    @readable("s", Emits.CONST)
    def CpuType(self) -> str:
        return self._machine.cpu_type

    @readable("s", Emits.CONST)
    def CpuVendor(self) -> str:
        return self._machine.cpu_vendor

    @readable("s", Emits.CONST)
    def Source(self) -> str:
        return self._machine.source

    @readable("s", Emits.VALUE)
    def SourceState(self) -> str:
        return self._machine.source_state

    @readable("t", Emits.VALUE)
    def RecordsRead(self) -> int:
        return self._machine.totals.records_read

    @readable("t", Emits.VALUE)
    def RecordsLost(self) -> int:
        return self._machine.totals.records_lost

    @readable("t", Emits.VALUE)
    def CorrectedErrors(self) -> int:
        return self._machine.totals.corrected_errors

    @readable("t", Emits.VALUE)
    def UncorrectedErrors(self) -> int:
        return self._machine.totals.uncorrected_errors

    @readable("t", Emits.VALUE)
    def LastEventTime(self) -> int:
        return self._machine.totals.last_event_time

    @readable("s", Emits.VALUE)
    def PageAction(self) -> str:
        return self._machine.page_action

    @method("uu", "a(ttusst)u", returns=["pages", "total"], action=READ)
    def ListPages(self, offset: int, limit: int) -> tuple[list[Any], int]:
        _check_limit(limit)
        table = self._books.pages
        if table is None:
            return [], 0
        now = int(time.time())
        shown = [
            (page.address, page.total, table.seen(page, now), page.state.value, page.reason, page.since)
            for page in table.slice(offset, limit)
        ]
        return shown, len(table)

    @method("tu", "a(ttssuuosay)", returns=["events"], action=READ)
    async def GetEvents(self, after_id: int, limit: int) -> list[tuple[object, ...]]:
        _check_limit(limit)
        return [
            (
                *(row.id, row.time, row.kind, row.severity, row.cpu, row.bank),
                *(_object_of(row), row.summary, row.record),
            )
            for row in await self._machine.events(after_id, limit)
        ]

    @method("t", "a{sas}", returns=["fields"], action=READ)
    async def GetEvent(self, id: int) -> dict[str, list[str]]:
        fields = await self._machine.event_fields(id)
        if fields is None:
            raise InvalidArgumentError(f"the store has no event {id}")
        return {name: list(values) for name, values in fields.items()}

    @method("", "a(osssttts)", returns=["dimms"], action=READ)
    def ListReplaced(self) -> list[tuple[object, ...]]:
        return [_replaced(entry) for entry in self._books.history[:MOST_AT_ONCE]]

    @method(
        "ts",
        "bs",
        returns=["ok", "reason"],
        action=OFFLINE_PAGE,
        details=lambda address, mode: {"address": f"{address:#x}", "mode": _how(mode)},
    )
    async def OfflinePage(self, address: int, mode: str) -> tuple[bool, str]:
        return await self._machine.offline_page(address, mode)

    @method("o", action=RESET_COUNTERS, details=lambda object: {"object": _counted(object)})
    async def ResetCounters(self, object: str) -> None:
        key = None if object == MANAGER else key_of_path(object)
        if not self._machine.reset(key, await self._uid_of(caller.get())):
            raise InvalidArgumentError(f"nothing is counted for {object}")

    @method("o", action=RESET_COUNTERS, details=lambda object: {"object": path_of(_dimm_of(object))})
    async def MarkReplaced(self, object: str) -> None:
        if not self._machine.replaced(_dimm_of(object), await self._uid_of(caller.get())):
            raise InvalidArgumentError(f"nothing is counted for {object}")

    @method("o", action=RESET_COUNTERS, details=lambda object: {"object": path_of(_dimm_of(object))})
    async def Acquit(self, object: str) -> None:
        if not self._machine.acquit(_dimm_of(object), await self._uid_of(caller.get())):
            raise InvalidArgumentError(f"nothing is counted for {object}")

    @method("", "as", returns=["remarks"], action=RELOAD)
    def Reload(self) -> list[str]:
        return list(self._machine.reload())

    @method("", "ba(sbs)", returns=["ok", "links"], action=SELF_TEST)
    async def SelfTest(self) -> tuple[bool, list[Link]]:
        ok, links = await self._machine.self_test()
        return ok, list(links)

    @signal("tsso")
    def EventLogged(self, id: int, kind: str, severity: str, object: str) -> None: ...

    @signal("oss")
    def ThresholdExceeded(self, object: str, what: str, message: str) -> None: ...

    @signal("tb")
    def PageOfflined(self, id: int, ok: bool) -> None: ...


class Service:
    """Keeps the objects, and tells the bus what happens. It listens to the pipeline."""

    def __init__(
        self,
        connection: BusConnection,
        authorize: Authorize,
        uid_of: Callable[[str], Any],
        machine: Machine,
        books: Books,
        clock: Callable[[], float],
    ) -> None:
        self._machine = machine
        self._books = books
        self._clock = clock
        self._gate = Gate(authorize)
        self._tree = ObjectTree(connection, MANAGER, self._gate, read=READ)
        self._manager = Manager(machine, books, uid_of)
        self._objects: dict[MemoryKey, Dimm | Socket] = {}
        self._told: dict[tuple[str, str], tuple[float, int]] = {}
        self._attempts = 0
        self._is_open = False

    def start(self) -> None:
        """Put the objects there; in the event loop, and before the connection is made."""
        self._is_open = True
        self._tree.add(MANAGER, self._manager)
        for row in self._books.memory:
            self._object(row.key)
        for core in self._books.cores if self._books.cores is not None else ():
            self._object(MemoryKey(core.key.socket, ANY, ANY))

    def close(self) -> None:
        """Give up what waits for its authorization."""
        self._is_open = False
        self._gate.close()

    def event(self, event: Event, about: About) -> None:
        if not self._is_open:
            return
        socket = None if about.is_test else event.record.socketid
        key = None
        if socket is not None:
            places = [memory_key(socket, place) for place in event.finding.locations]
            key = places[0] if places else MemoryKey(socket, ANY, ANY)
            for one in dict.fromkeys((*places, MemoryKey(socket, ANY, ANY))):
                self._hit(one, event)
        self._tree.changed(self._manager, *CHANGING)
        path = MANAGER if key is None or key not in self._objects else path_of(key)
        if self._may_tell("EventLogged", path):
            self._manager.EventLogged(about.event_id, event.kind.value, event.severity.value, path)

    def crossed(self, crossing: AnyCrossing, event: Event) -> None:
        if not self._is_open:
            return
        socket = event.record.socketid
        what, key, message = _crossing_words(crossing, MemoryKey(ANY if socket is None else socket, ANY, ANY))
        path = path_of(key) if key in self._objects else MANAGER
        if key in self._objects:
            self._has_changed(key)
        if self._may_tell("ThresholdExceeded", path + what):
            self._manager.ThresholdExceeded(path, what, message)

    def page_done(self, *, ok: bool) -> None:
        """A page was taken out of use, or could not be: no address in this."""
        self._attempts += 1
        if self._is_open:
            self._manager.PageOfflined(self._attempts, ok)

    def counters_changed(self, key: MemoryKey | None) -> None:
        """Counters were set to zero, or a DIMM was replaced; None for all."""
        for one in list(self._objects) if key is None else [key]:
            self._has_changed(one)
        if key is None and self._is_open:
            self._tree.changed(self._manager, *CHANGING)

    def state_changed(self) -> None:
        """The source's state or what is done about pages may be another, or records were lost."""
        if self._is_open:
            self._tree.changed(self._manager, "SourceState", "PageAction", *CHANGING)

    def _object(self, key: MemoryKey) -> Dimm | Socket | None:
        found = self._objects.get(key)
        if found is None and self._is_open and min(key) >= ANY and len(self._objects) < MOST_OBJECTS:
            found = (
                Socket(key, self._books) if key.is_socket else Dimm(key, self._books, self._machine.name_of)
            )
            self._objects[key] = found
            self._tree.add(path_of(key), found)
        return found

    def _hit(self, key: MemoryKey, event: Event) -> None:
        found = self._object(key)
        if isinstance(found, Dimm):
            found.last_error = event.record.time
            self._tree.changed(found, *COUNTS, "LastErrorTime")
        elif found is not None:
            self._tree.changed(found, *COUNTS, "Cores")

    def _has_changed(self, key: MemoryKey) -> None:
        found = self._objects.get(key)
        if found is not None:
            self._tree.changed(found, *(SOCKET_CHANGES if isinstance(found, Socket) else DIMM_CHANGES))

    def _may_tell(self, signal: str, about: str) -> bool:
        """Whether there was room for another such signal within this second."""
        now = self._clock()
        begun, count = self._told.get((signal, about), (now, 0))
        if not 0 <= now - begun < 1:
            begun, count = now, 0
        if len(self._told) > MOST_OBJECTS:
            self._told.clear()
        self._told[signal, about] = (begun, count + 1)
        return count < SIGNALS


def _crossing_words(crossing: Any, socket: MemoryKey) -> tuple[str, MemoryKey, str]:
    """What a crossing is called, whose it is, and a line without addresses or counters."""
    kind = type(crossing).__name__
    if kind == "Crossing":
        key = crossing.errors.key
        severity = "corrected" if crossing.is_corrected else "uncorrected"
        what = "socket" if key.is_socket else "dimm"
        return what, key, f"Too many {severity} memory errors on {fault_place(key)}"
    if kind == "Verdict":
        key = crossing.key
        return "diagnosis", key, f"{fault_place(key)}: {crossing.mode} fault, advice: {crossing.advice}"
    if kind == "RowCrossing":
        return "row", crossing.key, f"A row of the memory on {fault_place(crossing.key)} fails"
    if kind == "CoreCrossing":
        cpu = crossing.errors.key.cpu
        return "core", socket, f"Too many corrected {crossing.kind} errors of CPU {cpu}"
    if kind == "PageCrossing":
        return "page", socket, "Too many corrected errors of a page of memory"
    return "page-counters", socket, "More pages with corrected errors than are counted"


# What a dialog for a password shows is checked before there is one: its text is not the caller's to write.


def _how(mode: str) -> str:
    if mode not in ("soft", "hard"):
        raise InvalidArgumentError(f'mode is "soft" or "hard", not "{mode[:40]}"')
    return mode


def _counted(path: str) -> str:
    return MANAGER if path == MANAGER else path_of(key_of_path(path))


def _check_limit(limit: int) -> None:
    if not 1 <= limit <= MOST_AT_ONCE:
        raise InvalidArgumentError(f"limit is 1 to {MOST_AT_ONCE}, not {limit}")


def _object_of(row: StoredEvent) -> str:
    if row.socket is None:
        return "/"
    if row.kind != "memory":
        return path_of(MemoryKey(row.socket, ANY, ANY))
    channel, dimm = (ANY if number is None else number for number in (row.channel, row.dimm))
    return path_of(MemoryKey(row.socket, channel, dimm))


def _replaced(entry: Past) -> tuple[object, ...]:
    part = entry.part
    return (
        *(path_of(entry.key), part.label, part.part_number, part.serial),
        *(entry.corrected, entry.uncorrected, entry.until, entry.why),
    )


def _dimm_of(path: str) -> MemoryKey:
    key = key_of_path(path)
    if key.is_socket:
        raise InvalidArgumentError(f"{name_of(key)} is a socket; only a DIMM can be replaced or sound")
    return key
