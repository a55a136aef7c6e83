# SPDX-License-Identifier: GPL-2.0-only
"""How many errors DIMMs had, of one machine or of a fleet, and how that is shown. Pure."""

from __future__ import annotations

import json
import re
from collections import defaultdict
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.ctl.table import Cell, Column
from mcelogd.ctl.text import plural
from mcelogd.ctl.times import format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mcelogd.ctl.look import Look

_NUMBER = re.compile(r"\b(socket|channel|DIMM) (\d+)")


class DimmTally(NamedTuple):
    """One DIMM of one machine."""

    machine: str
    """Its machine id."""
    host: str
    place: str
    """As `mcelogctl dimms` has it: 0/1/0, 0/1/any."""
    label: str
    corrected: int
    uncorrected: int
    last: int
    """When its last error was logged, in microseconds since 1970."""

    @property
    def errors(self) -> int:
        return self.corrected + self.uncorrected


def place_of_location(location: str) -> str:
    """The DIMM that an MCE_LOCATION is about, whatever else it names; empty if none."""
    numbers = dict(_NUMBER.findall(location))
    return "/".join(numbers.get(word, "any") for word in ("socket", "channel", "DIMM")) if numbers else ""


def increase(before: int | None, count: int | None) -> int:
    """Errors from one entry of a DIMM to the next, by their MCE_COUNT: also those that a storm kept from
    being logged. A count that fell began anew; where there is none, an entry is an error."""
    if before is None or count is None:
        return 1
    return count - before if count >= before else count


def merged(tallies: Iterable[DimmTally]) -> list[DimmTally]:
    """Each DIMM once: a machine that was renamed, or has another address now, has several journals."""
    found: dict[tuple[str, str], DimmTally] = {}
    for one in tallies:
        key = (one.machine, one.place)
        other = found.get(key, one._replace(corrected=0, uncorrected=0))
        newer = max(one, other, key=lambda tally: tally.last)
        found[key] = newer._replace(
            corrected=one.corrected + other.corrected, uncorrected=one.uncorrected + other.uncorrected
        )
    return list(found.values())


def worst_first(tallies: Iterable[DimmTally], more_than: int = 0, most: int | None = None) -> list[DimmTally]:
    """Those with more errors than that, at most so many."""
    found = [one for one in tallies if one.errors > more_than]
    return sorted(found, key=lambda one: (-one.errors, one.host, one.machine, one.place))[:most]


def json_line(tally: DimmTally) -> str:
    """One object, ASCII only; without what is not known."""
    members = {
        "machine_id": tally.machine,
        "hostname": tally.host,
        "place": tally.place,
        "label": tally.label,
    }
    known = {name: text for name, text in members.items() if text}
    numbers = {"corrected_errors": tally.corrected, "uncorrected_errors": tally.uncorrected}
    return json.dumps({**known, **numbers, "last_error": tally.last / 1e6}, separators=(",", ":"))


_COLUMNS = (
    Column("MACHINE", least=8),
    Column("DIMM"),
    Column("LABEL", 1, least=8),
    Column("CORRECTED", right=True),
    Column("UNCORRECTED", right=True),
    Column("LAST ERROR", 2),
)


def lines(tallies: Sequence[DimmTally], look: Look) -> list[str]:
    """A line each, in the order given."""
    if not tallies:
        return ["No DIMM."]
    ids: defaultdict[str, set[str]] = defaultdict(set)
    for one in tallies:
        ids[one.host].add(one.machine)
    rows = [
        [
            Cell(_name(one, is_shared=len(ids[one.host]) > 1)),
            Cell(one.place),
            Cell(one.label),
            Cell(f"{one.corrected:,}"),
            Cell(f"{one.uncorrected:,}", "bad" if one.uncorrected else ""),
            Cell(format_time(one.last / 1e6, look.zone)),
        ]
        for one in tallies
    ]
    machines = plural(len({one.machine for one in tallies}), "machine")
    return [*look.table(_COLUMNS, rows), *look.sum(f"{plural(len(tallies), 'DIMM')} of {machines}.")]


def _name(tally: DimmTally, *, is_shared: bool) -> str:
    """The host name; with the start of the id where another machine has it, too."""
    if not tally.host:
        return tally.machine
    return f"{tally.host}~{tally.machine[:6]}" if is_shared else tally.host
