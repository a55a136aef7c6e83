# SPDX-License-Identifier: GPL-2.0-only
"""Which DIMM sits where: counters follow a DIMM by its serial number, and end with it.

Kinds of `objects` in the store: `dimm` is what sat in a place when it was last
looked, `replaced` what a DIMM that is gone had counted.
"""

from __future__ import annotations

import contextlib
import json
from typing import TYPE_CHECKING, Any, NamedTuple

from mcelogd.account.memory import MemoryKey

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from mcelogd.account.memory import MemoryErrors

SITTING = "dimm"
REPLACED = "replaced"


class Part(NamedTuple):
    """A DIMM as SMBIOS describes it; empty is what it does not say."""

    serial: str = ""
    label: str = ""
    part_number: str = ""


class Past(NamedTuple):
    """What a DIMM that was replaced had counted; `until` is when that was known, `why` how."""

    key: MemoryKey
    part: Part
    corrected: int
    uncorrected: int
    until: int
    why: str


class Changes(NamedTuple):
    """What is different in the slots: `moved` says for a place where its DIMM was before."""

    moved: dict[MemoryKey, MemoryKey]
    emptied: list[MemoryKey]
    """Places whose DIMM sits elsewhere now, and where none that was known came."""
    replaced: list[MemoryKey]
    """Places whose DIMM is gone and has another in its place."""


def compare(before: Mapping[MemoryKey, Part], now: Mapping[MemoryKey, Part]) -> Changes:
    """What happened between two looks at the slots.

    A DIMM without a serial number cannot be told from another: nothing follows
    from it. One that is gone from a slot with nothing in its place may come back.
    """
    was_in = {part.serial: key for key, part in before.items() if part.serial}
    is_in = {part.serial: key for key, part in now.items() if part.serial}
    moved = {
        key: was_in[serial] for serial, key in is_in.items() if serial in was_in and was_in[serial] != key
    }
    emptied = [key for key in moved.values() if key not in moved]
    replaced = [
        key
        for key in is_in.values()
        if key in before and before[key].serial and before[key].serial not in is_in
    ]
    return Changes(moved, emptied, replaced)


def name_of(key: MemoryKey) -> str:
    """`socket/channel/dimm`, as objects of the store and of D-Bus are named."""
    return "/".join(map(str, key))


def key_of(name: str) -> MemoryKey:
    """The reverse of name_of(); raises ValueError."""
    socket, channel, dimm = map(int, name.split("/"))
    return MemoryKey(socket, channel, dimm)


def load_sitting(objects: Mapping[tuple[str, str], str]) -> dict[MemoryKey, Part]:
    """The DIMMs that sat there when the store was last written; damaged entries are left out."""
    found = {}
    for name, state in _states(objects, SITTING):
        with contextlib.suppress(ValueError):
            found[key_of(name)] = _part(state)
    return found


def sitting(parts: Mapping[MemoryKey, Part]) -> dict[tuple[str, str], str | None]:
    """The entries that load_sitting() reads."""
    return {(SITTING, name_of(key)): json.dumps(part._asdict()) for key, part in parts.items()}


def past(row: MemoryErrors, part: Part, until: int, why: str) -> Past:
    """What is kept of a DIMM that was replaced."""
    return Past(row.key, part, row.corrected.total, row.uncorrected.total, until, why)


def as_object(entry: Past) -> dict[tuple[str, str], str | None]:
    """The entry that load_past() reads."""
    state = {**entry._asdict(), "key": list(entry.key), "part": entry.part._asdict()}
    return {(REPLACED, f"{entry.until}/{name_of(entry.key)}"): json.dumps(state)}


def load_past(objects: Mapping[tuple[str, str], str]) -> list[Past]:
    """The DIMMs that were replaced, the last one first; damaged entries are left out."""
    found = []
    for _, state in _states(objects, REPLACED):
        with contextlib.suppress(KeyError, TypeError, ValueError):
            key = MemoryKey(*map(int, state["key"]))
            corrected, uncorrected = int(state["corrected"]), int(state["uncorrected"])
            found.append(
                Past(
                    key, _part(state["part"]), corrected, uncorrected, int(state["until"]), str(state["why"])
                )
            )
    return sorted(found, key=lambda entry: -entry.until)


def _states(objects: Mapping[tuple[str, str], str], kind: str) -> Iterator[tuple[str, dict[str, Any]]]:
    """Name and state of the entries of that kind that can be read."""
    for (its_kind, name), text in objects.items():
        if its_kind != kind:
            continue
        with contextlib.suppress(ValueError):
            state = json.loads(text)
            if isinstance(state, dict):
                yield name, state


def _part(values: dict[str, Any]) -> Part:
    return Part(**{name: str(values[name]) for name in Part._fields if name in values})
