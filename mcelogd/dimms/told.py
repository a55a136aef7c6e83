# SPDX-License-Identifier: GPL-2.0-only
"""Labels that EDAC drivers give to single errors, joined with the records of the same errors. Pure.

The kernel tells of an error twice, as a record and, where a driver knows the
memory controller, as an event with a label. Either may be read first. What is
told of an address goes for records of that address, whenever they come within
a while: which DIMM it is on does not change. A record that came before only
leaves its place, which then is called so from there on. Nothing is counted by
what a driver says.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mcelogd.account.memory import memory_key
from mcelogd.decode import physical_address
from mcelogd.dimms.names import Source
from mcelogd.event import Kind

if TYPE_CHECKING:
    from mcelogd.account.memory import MemoryKey
    from mcelogd.dimms.names import DimmNames
    from mcelogd.event import Event

    Line = tuple[int, int]
    V = TypeVar("V")

SECONDS = 600.0
"""How long what is told of an address is good for."""

MOST = 4096
"""Addresses that are remembered, and as many places that wait for a label."""

LINE_BITS = 6
"""An error is somewhere in a line of 64 bytes, whatever the last bits of its address are."""


class _Said(NamedTuple):
    label: str
    time: float


class _Waiting(NamedTuple):
    key: MemoryKey
    time: float


class ToldLabels:
    """Labels by address. Times are seconds of any clock that does not jump."""

    def __init__(self, names: DimmNames) -> None:
        self._names = names
        self._said: OrderedDict[Line, _Said] = OrderedDict()
        self._waiting: OrderedDict[Line, _Waiting] = OrderedDict()
        self._grains = {LINE_BITS}
        """How exact addresses are that were told of."""

    def tell(self, address: int, grain_bits: int, label: str, now: float) -> None:
        """A driver said that the error at `address` is on the DIMM `label`."""
        if not address or not label:
            return
        grain = max(LINE_BITS, grain_bits)
        self._grains.add(grain)
        line = (grain, address >> grain)
        _put(self._said, line, _Said(label, now))
        waiting = self._waiting.pop(line, None)
        if waiting is not None and now - waiting.time <= SECONDS:
            self._names.learn(waiting.key, label)

    def labels(self, event: Event, now: float) -> list[str | None]:
        """The labels of an event's DIMMs, one for each of its locations.

        What the administrator calls a DIMM comes first, then what a driver said
        of this error. One without a location has a label too, if it was told of.
        """
        names = self._names.of_event(event)
        labels = [name.label or None if name is not None else None for name in names]
        if event.kind is not Kind.MEMORY or len(event.finding.locations) > 1:
            return labels
        if names and names[0] is not None and names[0].source is Source.USER:
            return labels
        said = self._of(event, now)
        return [said] if said else labels

    def _of(self, event: Event, now: float) -> str:
        address = physical_address(event.record, event.cpu_type)
        if address is None:
            return ""
        socket, places = event.record.socketid, event.finding.locations
        key = memory_key(socket, places[0]) if socket is not None and places else None
        lines = [(grain, address >> grain) for grain in sorted(self._grains)]
        for line in lines:
            said = self._said.get(line)
            if said is not None and now - said.time <= SECONDS:
                if key is not None:
                    self._names.learn(key, said.label)
                return said.label
        if key is not None:
            for line in lines:
                _put(self._waiting, line, _Waiting(key, now))
        return ""


def _put(table: OrderedDict[Line, V], line: Line, value: V) -> None:
    table[line] = value
    table.move_to_end(line)
    if len(table) > MOST:
        table.popitem(last=False)
