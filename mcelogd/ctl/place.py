# SPDX-License-Identifier: GPL-2.0-only
"""How people name DIMMs and sockets, and which objects of the bus those are. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Final

from mcelogd.ctl.exits import CtlError, Exit

if TYPE_CHECKING:
    from collections.abc import Mapping

ROOT: Final = "/org/mcelog"
DIMMS: Final = f"{ROOT}/dimm/"
SOCKETS: Final = f"{ROOT}/socket/"

_NUMBERS = re.compile(r"(\d{1,10})/(\d{1,10}|any|-1|\?)/(\d{1,10}|any|-1|\?)")
_OBJECT = re.compile(rf"{ROOT}/(dimm|socket)/[A-Za-z0-9_]+")
_UNKNOWN = ("-1", "?")


def place_of(path: str) -> str:
    """`0/1/0` of a DIMM's object, `0` of a socket's; other paths as they are."""
    if path.startswith(DIMMS):
        return path.removeprefix(DIMMS).replace("_", "/")
    return path.removeprefix(SOCKETS)


def words_of(path: str) -> str:
    """The same for a sentence: `DIMM 0/1/0`, `socket 0`; empty if it is neither."""
    if path.startswith(DIMMS):
        return f"DIMM {place_of(path)}"
    return f"socket {place_of(path)}" if path.startswith(SOCKETS) else ""


def object_of(place: str) -> str:
    """The object that numbers name: a DIMM by three, a socket by one. Empty if these are no numbers."""
    if _OBJECT.fullmatch(place):
        return place
    if place.isascii() and place.isdecimal() and len(place) <= len("4294967295"):
        return f"{SOCKETS}{int(place)}"
    found = _NUMBERS.fullmatch(place)
    if found is None:
        return ""
    numbers = ("any" if number in (*_UNKNOWN, "any") else str(int(number)) for number in found.groups())
    return DIMMS + "_".join(numbers)


def labelled(label: str, labels: Mapping[str, str]) -> str:
    """The object of the DIMM with that label, in capitals or not; `labels` are those of all objects.

    Raises CtlError if there is none, or more than one.
    """
    named = {path: of_path for path, of_path in labels.items() if of_path}
    found = [path for path, of_path in named.items() if of_path == label]
    found = found or [path for path, of_path in named.items() if of_path.casefold() == label.casefold()]
    if len(found) == 1:
        return found[0]
    if found:
        places = ", ".join(sorted(map(place_of, found)))
        raise CtlError(f'several DIMMs are labelled "{label}": name one of {places}')
    raise CtlError(f'no DIMM is labelled "{label}"; mcelogctl dimms shows what there is')


def dimm_path(path: str) -> str:
    """`path`, if it is a DIMM's; CtlError otherwise."""
    if not path.startswith(DIMMS):
        raise CtlError(
            f"{words_of(path) or path} is no DIMM: write SOCKET/CHANNEL/DIMM, such as 0/1/0, or a label",
            Exit.USAGE,
        )
    return path
