# SPDX-License-Identifier: GPL-2.0-only
"""Corrected errors of the processor itself, per CPU: a core that wears out shows here first.

Counted where the record names a cache, a TLB, a bus or the processor's
insides, for the CPU that reported it. Threads of one core are counted each by
itself, and an error of what cores share (an L3 cache, a bus) for the one CPU
that happened to read its bank.
"""

from __future__ import annotations

import contextlib
import json
from collections import OrderedDict
from typing import TYPE_CHECKING, Any, NamedTuple

from mcelogd.account.bucket import Bucket, natural
from mcelogd.account.memory import ANY
from mcelogd.decode import is_known_bogus
from mcelogd.event import Kind, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mcelogd.event import Event
    from mcelogd.rate import Rate

CORE = "core"
"""Kind of the objects in the store."""

KINDS = (Kind.CACHE, Kind.TLB, Kind.BUS, Kind.INTERNAL)
"""What is counted. An error of I/O is a device's; of an unknown code nobody knows whose it is."""

MOST_CORES = 8192
"""The most CPUs Linux can be built for on x86. A damaged record can name any."""


class CoreKey(NamedTuple):
    """Which CPU: its socket, ANY where the record does not say, and its Linux number."""

    socket: int
    cpu: int

    @property
    def name(self) -> str:
        """`socket/cpu`, as objects of the store are named."""
        return f"{self.socket}/{self.cpu}"


class CoreErrors:
    """Corrected errors of one CPU: totals for ever by kind, and the bucket of the current period."""

    __slots__ = ("bucket", "key", "totals")

    def __init__(self, key: CoreKey, bucket: Bucket) -> None:
        self.key = key
        self.bucket = bucket
        self.totals = dict.fromkeys(KINDS, 0)

    @property
    def total(self) -> int:
        """Errors of all kinds."""
        return sum(self.totals.values())


class CoreCrossing(NamedTuple):
    """A CPU whose corrected errors crossed the threshold; `kind` is that of the last one."""

    errors: CoreErrors
    kind: Kind
    rate: Rate
    time: int


class CoreTable:
    """The CPUs that had corrected errors; of more than MOST_CORES the least recently hit makes room."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self._cores: OrderedDict[CoreKey, CoreErrors] = OrderedDict()
        self._changed: dict[CoreKey, CoreErrors | None] = {}

    def __len__(self) -> int:
        return len(self._cores)

    def __iter__(self) -> Iterator[CoreErrors]:
        """In the order of socket and CPU."""
        return (self._cores[key] for key in sorted(self._cores))

    def find(self, key: CoreKey) -> CoreErrors | None:
        """The counters of `key`, if it had errors."""
        return self._cores.get(key)

    def account(self, event: Event, now: int) -> list[CoreCrossing]:
        """Count a corrected error that is the processor's, as often as the hardware says; the crossing,
        if it is one."""
        record = event.record
        if event.kind not in KINDS or event.severity is not Severity.CORRECTED:
            return []
        if is_known_bogus(record, event.cpu_type):
            return []
        core = self._core(key_of(event), now)
        errors = max(1, event.finding.corrected_count or 0)
        core.totals[event.kind] += errors
        if not core.bucket.add(self.rate, errors, record.time, clock=now):
            return []
        return [CoreCrossing(core, event.kind, self.rate, record.time)]

    def forget(self, key: CoreKey) -> CoreErrors | None:
        """Begin anew, as for a processor that was replaced; what there was is returned."""
        core = self._cores.pop(key, None)
        if core is not None:
            self._changed[key] = None
        return core

    def take_changed(self) -> dict[tuple[str, str], str | None]:
        """The objects that changed since the last call, as restore() reads them; None where one is gone."""
        changed, self._changed = self._changed, {}
        return {(CORE, key.name): None if core is None else _state(core) for key, core in changed.items()}

    def restore(self, objects: Mapping[tuple[str, str], str]) -> None:
        """Take over what was saved; damaged objects, and those of other kinds, are left out."""
        for (kind, name), text in objects.items():
            if kind != CORE or len(self._cores) >= MOST_CORES:
                continue
            with contextlib.suppress(AttributeError, LookupError, RecursionError, TypeError, ValueError):
                core = _core(name, json.loads(text))
                self._cores[core.key] = core

    def _core(self, key: CoreKey, now: int) -> CoreErrors:
        core = self._cores.get(key)
        if core is None:
            if len(self._cores) >= MOST_CORES:
                self.forget(next(iter(self._cores)))
            core = self._cores[key] = CoreErrors(key, Bucket(now))
        self._cores.move_to_end(key)
        self._changed[key] = core
        return core


def key_of(event: Event) -> CoreKey:
    """The CPU that reported the event."""
    socket = event.record.socketid
    return CoreKey(ANY if socket is None else socket, event.record.cpu)


def _state(core: CoreErrors) -> str:
    totals = {kind.value: total for kind, total in core.totals.items() if total}
    return json.dumps({"totals": totals, **core.bucket.as_state()})


def _core(name: str, state: dict[str, Any]) -> CoreErrors:
    """The reverse of _state(); raises what restore() suppresses for a damaged one."""
    socket, cpu = map(int, name.split("/"))
    core = CoreErrors(CoreKey(socket, cpu), Bucket.from_state(state))
    if core.key.name != name:
        raise ValueError(f"{name} is no name of a CPU")
    saved = state["totals"]
    if not isinstance(saved, dict):
        raise TypeError(f"totals of CPU {name} are none")
    core.totals |= {kind: natural(saved, kind.value) for kind in KINDS if kind.value in saved}
    return core
