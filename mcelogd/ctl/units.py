# SPDX-License-Identifier: GPL-2.0-only
"""DIMMs and sockets as mcelog's objects tell of them. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, NamedTuple

from mcelogd.ctl.place import place_of, words_of

if TYPE_CHECKING:
    from collections.abc import Mapping


class Unit(NamedTuple):
    """One object with its properties. One that is missing, in another version, is empty or 0."""

    path: str
    properties: Mapping[str, Any]

    def text(self, name: str) -> str:
        return str(self.properties.get(name, ""))

    def number(self, name: str) -> int:
        return int(self.properties.get(name, 0))

    @property
    def place(self) -> str:
        """`0/1/0`, or `0` of a socket."""
        return place_of(self.path)

    @property
    def name(self) -> str:
        """For people: `DIMM CPU1_DIMM_B1 (0/1/0)`, `DIMM 0/1/0`, `socket 0`."""
        label = self.text("Label")
        return f"DIMM {label} ({self.place})" if label else words_of(self.path) or self.path

    @property
    def has_errors(self) -> bool:
        return bool(self.number("CorrectedErrors") or self.number("UncorrectedErrors"))


def units(objects: Mapping[str, Mapping[str, Mapping[str, Any]]], interface: str) -> list[Unit]:
    """All objects with that interface, in the order of their numbers."""
    found = [Unit(path, of_path[interface]) for path, of_path in objects.items() if interface in of_path]
    return sorted(found, key=lambda unit: _sort_key(unit.path))


def _sort_key(path: str) -> list[tuple[int, str]]:
    """Numbers by their size, `any` before them."""
    words = re.split(r"[/_]", path)
    return [(int(word), "") if word.isdecimal() else (-1, word) for word in words]


def snake_case(name: str) -> str:
    """`corrected_errors` of CorrectedErrors."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", name).lower()


def members(properties: Mapping[str, Any]) -> dict[str, Any]:
    """Properties for JSON."""
    return {snake_case(name): value for name, value in properties.items()}
