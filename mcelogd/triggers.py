# SPDX-License-Identifier: GPL-2.0-only
"""Which program is run when. Pure: what it is told is in trigger_variables.py, running it is for mcelogd/act.

docs/triggers.md is the reference.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd import trigger_variables as told
from mcelogd.account.text import seen
from mcelogd.event import Tracking
from mcelogd.trigger_variables import NOT_KNOWN as NOT_KNOWN

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcelogd.account.cores import CoreCrossing
    from mcelogd.account.memory import Counter, Crossing, MemoryErrors
    from mcelogd.account.pages import PageCrossing
    from mcelogd.event import Event
    from mcelogd.rate import Rate
    from mcelogd.trigger_variables import Variables


class Trigger(NamedTuple):
    """One run of a program: `setting` of mcelog.conf names it, `reporter` is v208's word for who asks.

    `path` is as configured: a relative one is looked up in the triggers' directory.
    """

    setting: str
    reporter: str
    path: str
    environment: dict[str, str]
    arguments: tuple[str, ...] = ()


class Row(NamedTuple):
    """A kind of trigger: its setting, the script that comes with mcelog if one does, and the variables
    it may get."""

    setting: str
    script: str
    reporter: str
    variables: str


EVERY = "PATH MCELOG_SETTING "
LEVEL = EVERY + "THRESHOLD TOTALCOUNT LASTEVENT AGETIME MESSAGE THRESHOLD_COUNT "
MEMORY = LEVEL + "LOCATION DMI_LOCATION DMI_NAME DIMM CHANNEL SOCKETID CECOUNT UCCOUNT "
PAGE = MEMORY + "MCELOG_PAGE MCELOG_PAGE_STATE "
EVENT = EVERY + "MESSAGE SOCKETID CPU MCELOG_EVENT_ID "
CACHE = EVENT + "LEVEL TYPE AFFECTED_CPUS MCELOG_SYSFS MCELOG_DRY_RUN "
BUS = EVENT + "LOCATION LEVEL PARTICIPATION REQUEST ORIGIN TIMEOUT "
IOMCA = EVENT + "LOCATION SEG BUS DEVICE FUNCTION "
UNKNOWN = EVENT + "LOCATION STATUS MISC ADDR MCGSTATUS MCGCAP "
CORE = LEVEL + "LOCATION SOCKETID CPU CECOUNT MCELOG_KIND "

DIMM_CORRECTED = Row("ce-error-trigger", "dimm-error-trigger", "memdb", MEMORY)
DIMM_UNCORRECTED = Row("uc-error-trigger", "dimm-error-trigger", "memdb", MEMORY)
SOCKET_CORRECTED = Row("mem-ce-error-trigger", "socket-memory-error-trigger", "sockdb_memdb", MEMORY)
SOCKET_UNCORRECTED = Row("mem-uc-error-trigger", "socket-memory-error-trigger", "sockdb_memdb", MEMORY)
SOCKET_LOST = Row("mem-ce-error-trigger", "socket-memory-error-trigger", "sockdb_fallback", MEMORY)
BUS_ERROR = Row("bus-uc-threshold-trigger", "bus-error-trigger", "bus", BUS)
IOMCA_ERROR = Row("iomca-threshold-trigger", "iomca-error-trigger", "iomca", IOMCA)
UNKNOWN_ERROR = Row("unknown-threshold-trigger", "unknown-error-trigger", "unknown", UNKNOWN)
CACHE_YELLOW = Row("cache-threshold-trigger", "cache-error-trigger", "yellow", CACHE)
PAGE_CORRECTED = Row("memory-ce-trigger", "page-error-trigger", "page", PAGE)
PAGE_BEFORE_SOFT = Row(
    "memory-pre-sync-soft-ce-trigger", "page-error-pre-sync-soft-trigger", "page_pre_soft", PAGE
)
PAGE_AFTER_SOFT = Row(
    "memory-post-sync-soft-ce-trigger", "page-error-post-sync-soft-trigger", "page_post_soft", PAGE
)
COUNTER_REPLACED = Row(
    "memory-ce-counter-replacement-trigger",
    "page-error-counter-replacement-trigger",
    "page-error-counter",
    LEVEL,
)
CORE_CORRECTED = Row("core-ce-error-trigger", "", "core", CORE)

ROWS: tuple[Row, ...] = (DIMM_CORRECTED, DIMM_UNCORRECTED, SOCKET_CORRECTED, SOCKET_UNCORRECTED, SOCKET_LOST)
ROWS += (BUS_ERROR, IOMCA_ERROR, UNKNOWN_ERROR, CACHE_YELLOW)
ROWS += (PAGE_CORRECTED, PAGE_BEFORE_SOFT, PAGE_AFTER_SOFT, COUNTER_REPLACED, CORE_CORRECTED)

SEARCH_PATH = "/sbin:/usr/sbin:/bin:/usr/bin"
"""PATH of a trigger where the daemon has none."""


class Triggers:
    """Makes the triggers that are configured; None or nothing for those that are not.

    `programs` maps names of settings to programs. `search_path` is their
    PATH. `sysfs` and `dry_run` are passed on to the cache's trigger, the one
    that acts on the machine.
    """

    def __init__(
        self,
        programs: Mapping[str, str | None],
        *,
        search_path: str = SEARCH_PATH,
        sysfs: str = "/sys",
        dry_run: bool = False,
    ) -> None:
        self._programs = programs
        self._search_path = search_path
        self._cache_options: Variables = {
            "MCELOG_SYSFS": None if sysfs == "/sys" else sysfs,
            "MCELOG_DRY_RUN": "1" if dry_run else None,
        }

    def memory(self, crossing: Crossing) -> Trigger | None:
        """For too many errors of a DIMM or socket."""
        # v208 does not say when errors crossed that were counted but not recorded.
        time = None if crossing.lost else crossing.time
        level = told.level(crossing.counter, crossing.rate, memory_message(crossing), time)
        return self._make(_memory_row(crossing), {**level, **told.place(crossing.errors)})

    def page(self, crossing: PageCrossing, errors: MemoryErrors | None) -> Trigger | None:
        """For too many errors of a page; `errors` are those of its DIMM where that is known."""
        level = seen(crossing.page.bucket, crossing.rate)
        message = f"Corrected memory errors on page {crossing.page.address:x} exceed threshold {level}"
        return self._make(PAGE_CORRECTED, told.page(crossing, errors, message))

    def before_soft(self, crossing: PageCrossing, errors: MemoryErrors | None) -> Trigger | None:
        """To be waited for before a page is soft off-lined; the argument is its address, in decimal."""
        address = str(crossing.page.address)
        variables = told.page(crossing, errors, f"pre soft trigger run for page {address}")
        return self._make(PAGE_BEFORE_SOFT, variables, address)

    def after_soft(self, crossing: PageCrossing, errors: MemoryErrors | None) -> Trigger | None:
        """The same afterwards: MCELOG_PAGE_STATE says how it ended."""
        address = str(crossing.page.address)
        variables = told.page(crossing, errors, f"post soft trigger run for page {address}")
        return self._make(PAGE_AFTER_SOFT, variables, address)

    def counter_replacement(self, counter: Counter, rate: Rate, time: int) -> Trigger | None:
        """For too many pages whose counter made room for another's."""
        level = seen(counter.bucket, rate)
        message = f"Replacements of page correctable error counter exceed threshold {level}"
        return self._make(COUNTER_REPLACED, told.level(counter, rate, message, time))

    def core(self, crossing: CoreCrossing) -> Trigger | None:
        """For too many corrected errors of a CPU; the C program does not count these."""
        return self._make(CORE_CORRECTED, told.core(crossing))

    def event(
        self, event: Event, *, event_id: int | None = None, affected_cpus: str = NOT_KNOWN
    ) -> list[Trigger]:
        """For an event by itself, whatever was counted: several where it is of several classes.

        `affected_cpus` lists the CPUs that share the cache, `0 1`; needed only where is_cache_worn().
        An error on the bus runs its trigger whether it was corrected or not, as in v208.
        """
        finding = event.finding
        made = []
        if is_cache_worn(event) and finding.cache is not None:
            variables = told.cache(event, finding.cache, affected_cpus)
            made.append(self._make(CACHE_YELLOW, {**variables, **self._cache_options}, event_id=event_id))
        if finding.bus is not None:
            made.append(self._make(BUS_ERROR, told.bus(event, finding.bus), event_id=event_id))
        if finding.root_port is not None:
            made.append(self._make(IOMCA_ERROR, told.iomca(event, finding.root_port), event_id=event_id))
        if not finding.classified:
            made.append(self._make(UNKNOWN_ERROR, told.unknown(event), event_id=event_id))
        return [trigger for trigger in made if trigger is not None]

    def _make(
        self, row: Row, variables: Variables, *arguments: str, event_id: int | None = None
    ) -> Trigger | None:
        """The trigger; variables that are None are left out."""
        path = self._programs.get(row.setting)
        if not path:
            return None
        every: Variables = {"PATH": self._search_path, **variables}
        every |= {"MCELOG_SETTING": row.setting, "MCELOG_EVENT_ID": event_id}
        environment = {name: told.clean(value) for name, value in every.items() if value is not None}
        return Trigger(row.setting, row.reporter, path, environment, arguments)


def is_cache_worn(event: Event) -> bool:
    """Whether the CPU says that a cache has too many corrected errors: the case of the cache's trigger."""
    return event.finding.tracking is Tracking.YELLOW and event.finding.cache is not None


def memory_message(crossing: Crossing) -> str:
    """What crossed, without the level; v208 does begin one of them with a small letter."""
    kind = "Socket" if crossing.errors.key.is_socket else "DIMM"
    if crossing.lost:
        return f"Fallback {kind} memory error count {crossing.lost} exceeded threshold"
    severity = "corrected" if crossing.is_corrected else "Uncorrected"
    return f"{severity} {kind} memory error count exceeded threshold"


def _memory_row(crossing: Crossing) -> Row:
    if not crossing.errors.key.is_socket:
        return DIMM_CORRECTED if crossing.is_corrected else DIMM_UNCORRECTED
    if crossing.lost:
        return SOCKET_LOST
    return SOCKET_CORRECTED if crossing.is_corrected else SOCKET_UNCORRECTED
