# SPDX-License-Identifier: GPL-2.0-only
"""Events as lines that fit together though nobody knows which come next, and one event in full. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.ctl.text import ellipsized, padded, paint, printable, printable_lines
from mcelogd.ctl.times import format_time
from mcelogd.event import Kind, Severity

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcelogd.ctl.entries import Entry
    from mcelogd.ctl.look import Look

_GAP = "  "
_HOST = 16
_WIDTHS = {
    "TIME": len("2026-11-22 21:28:10"),
    "MACHINE": _HOST,
    "ID": 7,
    "SEVERITY": max(map(len, Severity)),
    "KIND": max(map(len, Kind)),
}
_LEAST_MESSAGE = 30
"""Below that, columns are left out for the message, which says the same in words."""

_NOTICE = 5
"""Priorities up to which an entry of no severity is worth a colour."""


class EventLines:
    """A line for each entry. It remembers host names, to tell machines apart that have the same."""

    def __init__(self, look: Look, *, machines: bool) -> None:
        """`machines`: with a column for them."""
        self._look = look
        self._machines = machines
        self._ids: dict[str, str] = {}
        columns = list(_WIDTHS)
        if not machines:
            columns.remove("MACHINE")
        for least in ("KIND", "SEVERITY", "ID", "TIME"):
            if look.room is None or _used(columns) + _LEAST_MESSAGE <= look.room:
                break
            columns.remove(least)
        self._columns = columns

    def heading(self) -> str:
        fields = [padded(column, _WIDTHS[column], right=column == "ID") for column in self._columns]
        line = _GAP.join([*fields, "WHAT"])
        return paint(line, "heading", colour=self._look.colour)

    def line(self, entry: Entry) -> str:
        texts = {
            "TIME": format_time(entry.time / 1e6, self._look.zone),
            "MACHINE": self._machine(entry),
            "ID": entry.first("MCE_EVENT_ID"),
            "SEVERITY": entry.first("MCE_SEVERITY"),
            "KIND": entry.first("MCE_KIND"),
        }
        fields = []
        for column in self._columns:
            field = padded(printable(texts[column]), _WIDTHS[column], right=column == "ID")
            style = _style(entry) if column == "SEVERITY" else ""
            fields.append(paint(field, style, colour=self._look.colour))
        message = printable(entry.first("MESSAGE"))
        if self._look.room is not None:
            message = ellipsized(message, max(self._look.room - _used(self._columns), 1))
        if not entry.first("MCE_SEVERITY"):
            message = paint(message, _style(entry), colour=self._look.colour)
        return _GAP.join([*fields, message]).rstrip()

    def _machine(self, entry: Entry) -> str:
        """The host name; with the start of its id if another machine of that name was here before."""
        host, machine = entry.first("_HOSTNAME"), entry.first("_MACHINE_ID")
        if not host:
            return machine[:_HOST]
        if self._ids.setdefault(host, machine) == machine:
            return host
        return f"{ellipsized(host, _HOST - 7)}~{machine[:6]}"


def _used(columns: list[str]) -> int:
    return sum(_WIDTHS[column] + len(_GAP) for column in columns)


def _style(entry: Entry) -> str:
    severity = entry.first("MCE_SEVERITY")
    if severity:
        return {"corrected": "watch", "info": "grey"}.get(severity, "bad")
    priority = entry.number("PRIORITY")
    if priority is None:
        return ""
    return "bad" if priority < _NOTICE - 1 else "watch" if priority < _NOTICE else "grey"


_HEAD = (
    ("Event", "MCE_EVENT_ID"),
    ("Kind", "MCE_KIND"),
    ("Severity", "MCE_SEVERITY"),
    ("Recovery", "MCE_RECOVERY"),
    ("Error code", "MCE_CODE"),
    ("Marks", "MCE_MARKS"),
    ("Found in", "MCE_ORIGIN"),
    ("DIMM", "MCE_DIMM_LABEL"),
    ("Where", "MCE_LOCATION"),
    ("Page", "MCE_PAGE"),
    ("Socket", "MCE_SOCKET"),
    ("CPU", "MCE_CPU"),
    ("Bank", "MCE_BANK_NAME"),
    ("Errors there", "MCE_COUNT"),
    ("Machine", "_HOSTNAME"),
)


def event_in_full(entry: Entry, look: Look) -> Iterator[str]:
    """All that people want to know; the other fields are in --json."""
    yield paint(printable(entry.first("MESSAGE")) or "Event", "bold", colour=look.colour)
    reported = entry.number("MCE_TIME")
    logged = entry.time // 1_000_000 if entry.cursor else 0
    pairs = [("Logged", look.when(logged)), ("Kernel's time", look.when(reported or 0))]
    pairs += [(name, ", ".join(dict.fromkeys(entry.all(field)))) for name, field in _HEAD]
    yield from look.pairs(pairs)
    if decoded := entry.first("MCE_DECODED"):
        yield ""
        yield from printable_lines(decoded.rstrip("\n"))
