# SPDX-License-Identifier: GPL-2.0-only
"""Entries of the journal that mcelog wrote, or events of its store as such; which are wanted. Pure."""

from __future__ import annotations

import json
import re
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from mcelogd import message_ids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

EVENTS: Final = (
    message_ids.CORRECTED_MEMORY_ERROR,
    message_ids.UNCORRECTED_MEMORY_ERROR,
    message_ids.CACHE_ERROR,
    message_ids.TLB_ERROR,
    message_ids.BUS_ERROR,
    message_ids.IO_ERROR,
    message_ids.INTERNAL_ERROR,
    message_ids.THERMAL_EVENT,
    message_ids.UNKNOWN_ERROR,
    message_ids.RECORD_UNDECODED,
)
GAPS: Final = (
    message_ids.RECORDS_LOST,
    message_ids.STORM_BEGUN,
    message_ids.STORM_GOES_ON,
    message_ids.STORM_ENDED,
    message_ids.JOURNAL_DROPPED,
)
"""Events that are not there one by one: without these a list of events would not be true."""

EVERYTHING: Final = tuple(
    value for name, value in vars(message_ids).items() if name.isupper() and isinstance(value, str)
)

ALL_MACHINES: Final = "all"
_MACHINE_ID = re.compile(r"[0-9a-fA-F]{8}-?([0-9a-fA-F]{4}-?){3}[0-9a-fA-F]{12}")
_NUMBER = re.compile(r"[0-9]{1,18}")


class Entry(NamedTuple):
    """One entry. A field that is there several times is a list."""

    time: int
    """Microseconds since 1970: when it was logged; of the store, when the kernel saw it."""
    fields: Mapping[str, str | list[str]]
    cursor: str = ""
    """Empty for what does not come from the journal."""

    def all(self, name: str) -> list[str]:
        value = self.fields.get(name, [])
        return [value] if isinstance(value, str) else list(value)

    def first(self, name: str) -> str:
        """Empty if it is not there."""
        return next(iter(self.all(name)), "")

    def number(self, name: str) -> int | None:
        text = self.first(name)
        return int(text) if _NUMBER.fullmatch(text) else None


class Wanted(NamedTuple):
    """Which entries somebody wants to see. What is empty or None does not matter."""

    kinds: frozenset[str] = frozenset()
    severities: frozenset[str] = frozenset()
    since: int | None = None
    until: int | None = None
    everything: bool = False
    machine: str = ALL_MACHINES
    event_id: int | None = None

    def matches(self, uids: Sequence[int]) -> list[list[tuple[str, str]]]:
        """Fields and values: of each list one must hold. `uids` are the users whose entries count.

        Anybody may write entries that look like ours, but nobody in another's name.
        """
        ids = EVERYTHING if self.everything else (*EVENTS, *GAPS)
        found = [
            [("MESSAGE_ID", one) for one in ids],
            [("_UID", str(uid)) for uid in uids],
            [("MCE_KIND", kind) for kind in sorted(self.kinds)],
            [("MCE_SEVERITY", severity) for severity in sorted(self.severities)],
        ]
        if self.event_id is not None:
            found.append([("MCE_EVENT_ID", str(self.event_id))])
        if self.machine != ALL_MACHINES:
            found.append([machine_match(self.machine)])
        return [alternatives for alternatives in found if alternatives]

    def wants(self, entry: Entry) -> bool:
        """The same question for an entry that comes without being asked for by matches()."""
        return (
            (not self.kinds or entry.first("MCE_KIND") in self.kinds)
            and (not self.severities or entry.first("MCE_SEVERITY") in self.severities)
            and (self.since is None or entry.time >= self.since)
            and (self.until is None or entry.time <= self.until)
        )


def machine_match(machine: str) -> tuple[str, str]:
    """The field that tells a machine from others, by its id or its host name."""
    if _MACHINE_ID.fullmatch(machine):
        return "_MACHINE_ID", machine.replace("-", "").lower()
    return "_HOSTNAME", machine


def stored_entry(row: Sequence[Any]) -> Entry:
    """One of GetEvents."""
    number, seconds, kind, severity, cpu, bank, _, message, record = row
    fields = {
        "MESSAGE": str(message),
        "MCE_EVENT_ID": str(number),
        "MCE_KIND": str(kind),
        "MCE_SEVERITY": str(severity),
        "MCE_CPU": str(cpu),
        "MCE_BANK": str(bank),
        "MCE_RAW": bytes(record).hex(),
    }
    return Entry(int(seconds) * 1_000_000, fields)


def stored_fields(fields: Mapping[str, list[str]]) -> Entry:
    """What GetEvent returns."""
    found = Entry(0, {name: values[0] if len(values) == 1 else values for name, values in fields.items()})
    return found._replace(time=(found.number("MCE_TIME") or 0) * 1_000_000)


_NUMBERS = {"id": "MCE_EVENT_ID", "priority": "PRIORITY"}
_TEXTS = {
    "kind": "MCE_KIND",
    "severity": "MCE_SEVERITY",
    "message": "MESSAGE",
    "hostname": "_HOSTNAME",
    "machine_id": "_MACHINE_ID",
    "message_id": "MESSAGE_ID",
}


def json_line(entry: Entry) -> str:
    """One object, ASCII only: nothing in it commands a terminal. What is not known is absent.

    Of `fields`, one that is there several times is an array, as journalctl -o json has it.
    """
    members: dict[str, Any] = {"time": entry.time / 1e6}
    members |= {name: entry.number(field) for name, field in _NUMBERS.items()}
    members |= {name: entry.first(field) for name, field in _TEXTS.items()}
    members["fields"] = {name: value for name, value in entry.fields.items() if name.startswith("MCE_")}
    members["cursor"] = entry.cursor
    known = {name: value for name, value in members.items() if value not in (None, "")}
    return json.dumps(known, separators=(",", ":"))
