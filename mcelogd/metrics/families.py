# SPDX-License-Identifier: GPL-2.0-only
"""What mcelog's objects on D-Bus say, as families of metrics. Pure.

There are no `_created` samples: mcelog does not know since when a counter has counted, and a guess would be
taken for a reset at each restart of the collector. Nor are there timestamps: what is read is true now.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, Any, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, InfoMetricFamily

from mcelogd.metrics import rows

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from prometheus_client import Metric as Family

    Properties = Mapping[str, Any]

DIMM = "org.mcelog.Dimm"
SOCKET = "org.mcelog.Socket"

_ANY = -1
_CAPACITY = re.compile(r"\d+")
_SEVERITIES = {"corrected": "Corrected", "uncorrected": "Uncorrected"}

Values = list[tuple[tuple[str, ...], float]]
"""Labels in the order of the row, and what is measured."""


class Seen(NamedTuple):
    """What D-Bus gave."""

    manager: Properties | None
    """None where mcelog did not answer."""
    objects: Mapping[str, Mapping[str, Properties]] | None = None
    """Path -> interface -> property -> value; None where reading it was not allowed."""
    pages: Mapping[str, int] | None = None
    """State -> how many pages."""


def families(seen: Seen) -> Iterator[Family]:
    """In the order of rows.METRICS. A property that is missing, in another version, is empty or 0."""
    yield _family(rows.UP, [((), seen.manager is not None)])
    if seen.manager is None:
        return
    yield from _of_manager(seen.manager)
    yield _family(rows.READABLE, [((), seen.objects is not None)])
    if seen.objects is None:
        return
    dimms = [of_path[DIMM] for _, of_path in sorted(seen.objects.items()) if DIMM in of_path]
    sockets = [of_path[SOCKET] for _, of_path in sorted(seen.objects.items()) if SOCKET in of_path]
    yield from _of_counters(dimms)
    yield from _of_sockets(sockets)
    yield from _of_dimms(dimms)
    counts = dict.fromkeys(rows.PAGE_STATES, 0) | dict(seen.pages or {})
    yield _family(rows.PAGES, [((state,), count) for state, count in counts.items()])


def _of_manager(manager: Properties) -> Iterator[Family]:
    names = ("Version", "CpuType", "CpuVendor", "Source", "PageAction")
    yield _info(rows.INFO, [[_text(manager, name) for name in names]])
    yield _family(rows.READING, [((), manager.get("SourceState") == "reading")])
    yield _family(rows.RECORDS, [((), _number(manager, "RecordsRead"))])
    yield _family(rows.RECORDS_LOST, [((), _number(manager, "RecordsLost"))])
    yield _family(rows.ERRORS, _by_severity(manager, ()))
    last = _number(manager, "LastEventTime")
    yield _family(rows.LAST_EVENT, [((), last)] if last else [])


def _of_counters(dimms: Sequence[Properties]) -> Iterator[Family]:
    yield _family(rows.MEMORY_ERRORS, [row for dimm in dimms for row in _by_severity(dimm, _place(dimm))])
    thresholds: Values = []
    for dimm in dimms:
        for severity, prefix in _SEVERITIES.items():
            if capacity := _CAPACITY.match(_text(dimm, f"{prefix}Threshold")):
                thresholds.append(((severity, *_place(dimm)), int(capacity[0])))
    yield _family(rows.MEMORY_THRESHOLD, thresholds)


def _of_sockets(sockets: Sequence[Properties]) -> Iterator[Family]:
    by_severity: Values = []
    by_kind: Values = []
    for socket in sockets:
        number = str(_number(socket, "Socket"))
        by_severity += _by_severity(socket, (number,))
        kinds: Counter[str] = Counter()
        for _, _, _, of_core in socket.get("Cores", ()):
            kinds.update(of_core)
        by_kind += [((kind, number), count) for kind, count in sorted(kinds.items())]
    yield _family(rows.SOCKET_ERRORS, by_severity)
    yield _family(rows.CPU_ERRORS, by_kind)


def _of_dimms(dimms: Sequence[Properties]) -> Iterator[Family]:
    names = ("Location", "Manufacturer", "PartNumber", "SerialNumber")
    yield _info(rows.DIMM_INFO, [[*_place(dimm), *(_text(dimm, name) for name in names)] for dimm in dimms])
    for row, name in ((rows.DIMM_SIZE, "Size"), (rows.DIMM_LAST_ERROR, "LastErrorTime")):
        yield _family(row, [(_place(dimm), value) for dimm in dimms if (value := _number(dimm, name))])
    advice: Values = []
    for dimm in dimms:
        given = _text(dimm, "Advice") or "none"
        known = dict.fromkeys((*rows.ADVICE, given))
        advice += [((word, *_place(dimm)), word == given) for word in known]
    yield _family(rows.DIMM_ADVICE, advice)
    faults = [(_text(dimm, "FaultMode"), dimm) for dimm in dimms]
    yield _family(rows.DIMM_FAULT, [((mode, *_place(dimm)), 1) for mode, dimm in faults if mode])


def _by_severity(properties: Properties, labels: tuple[str, ...]) -> Values:
    """CorrectedErrors and UncorrectedErrors; the severity is the first label."""
    return [
        ((severity, *labels), _number(properties, f"{prefix}Errors"))
        for severity, prefix in _SEVERITIES.items()
    ]


def _place(dimm: Properties) -> tuple[str, ...]:
    numbers = (int(dimm.get(name, _ANY)) for name in ("Socket", "Channel", "Dimm"))
    return (*("any" if number == _ANY else str(number) for number in numbers), _text(dimm, "Label"))


def _text(properties: Properties, name: str) -> str:
    return str(properties.get(name, ""))


def _number(properties: Properties, name: str) -> int:
    return int(properties.get(name, 0))


def _family(row: rows.Metric, values: Iterable[tuple[Sequence[str], float]]) -> Family:
    maker = CounterMetricFamily if row.type is rows.Type.COUNTER else GaugeMetricFamily
    made = maker(row.name, row.help, labels=row.labels, unit=row.unit)
    for labels, value in values:
        made.add_metric(labels, float(value))
    return made


def _info(row: rows.Metric, values: Iterable[Sequence[str]]) -> Family:
    made = InfoMetricFamily(row.name, row.help)
    for texts in values:
        made.add_metric((), dict(zip(row.labels, texts, strict=True)))
    return made
