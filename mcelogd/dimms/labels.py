# SPDX-License-Identifier: GPL-2.0-only
"""The administrator's own names of DIMMs: the format of dimm-labels.conf.

    # a comment
    socket 0 channel 1 dimm 0 = CPU1_DIMM_B1     a place, numbered as mcelog reports it
    socket 0 channel 1 = CPU1 channel B          errors that name a channel only
    serial SNA1000000 = bought in May            a DIMM, wherever it is plugged in

A line that cannot be used is reported and left out; the others count.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account.memory import ANY, MemoryKey

if TYPE_CHECKING:
    from collections.abc import Mapping

LONGEST_LABEL = 60
"""Clients read a DIMM's names into lines of 127 bytes."""

LARGEST_FILE = 1 << 20

_PLACE = re.compile(
    r"socket\s+(\d{1,4})\s+channel\s+(\d{1,4})(?:\s+dimm\s+(\d{1,4}))?", re.ASCII | re.IGNORECASE
)
_SERIAL = re.compile(r"serial\s+(\S.*)", re.ASCII | re.IGNORECASE)

FORMS = '"socket 0 channel 1 dimm 0 = NAME" or "serial NUMBER = NAME"'


class LabelProblem(NamedTuple):
    """A line that was left out, and what to write instead; `str()` is one line."""

    file: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.file}:{self.line}: {self.text}"


class Labels(NamedTuple):
    """Names by place (`dimm` is ANY in those of a whole channel) and by serial number."""

    by_place: Mapping[MemoryKey, str] = {}
    by_serial: Mapping[str, str] = {}
    problems: tuple[LabelProblem, ...] = ()


def parse_labels(text: str, file: str) -> Labels:
    """The names in `text`; `file` is what problems call it."""
    names: dict[MemoryKey | str, str] = {}
    lines: dict[MemoryKey | str, int] = {}
    problems = []
    for number, line in enumerate(text.split("\n"), 1):
        content = line.strip()
        if not content or content.startswith("#"):
            continue
        try:
            whose, name = _parse_line(content)
            if whose in names:
                raise ValueError(f"line {lines[whose]} names it already and counts; remove one of them")
        except ValueError as error:
            problems.append(LabelProblem(file, number, str(error)))
        else:
            names[whose], lines[whose] = name, number
    return Labels(
        {whose: name for whose, name in names.items() if isinstance(whose, MemoryKey)},
        {whose: name for whose, name in names.items() if isinstance(whose, str)},
        tuple(problems),
    )


def _parse_line(content: str) -> tuple[MemoryKey | str, str]:
    whose, equals, name = content.partition("=")
    if not equals:
        raise ValueError(f'there is no "=": write {FORMS}')
    if place := _PLACE.fullmatch(whose.strip()):
        socket, channel, dimm = place.groups()
        return MemoryKey(int(socket), int(channel), ANY if dimm is None else int(dimm)), _label(name)
    if serial := _SERIAL.fullmatch(whose.strip()):
        return serial[1], _label(name)
    raise ValueError(f'not a place or serial number before "=": write {FORMS}')


def _label(text: str) -> str:
    """The name, with or without double quotes around it."""
    name = text.strip()
    if len(name) >= 2 and name[0] == name[-1] == '"':
        name = name[1:-1].strip()
    if not name:
        raise ValueError('there is no name behind "="')
    if len(name) > LONGEST_LABEL:
        raise ValueError(f"the name has {len(name)} characters: shorten it to {LONGEST_LABEL}")
    if not name.isprintable() or '"' in name:
        raise ValueError("the name has a control character or a double quote: remove it")
    return name
