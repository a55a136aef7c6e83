# SPDX-License-Identifier: GPL-2.0-only
"""Reads back what a manual written in mdoc(7) lists and shows, as far as the project's manuals go."""

from __future__ import annotations

import re
from typing import NamedTuple


class Entry(NamedTuple):
    """An item of a list: `tag` is what stands behind .It, `body` the lines up to the next item of the list.

    `depth` is 1 for a list that is in no other.
    """

    section: str
    subsection: str
    depth: int
    tag: str
    body: list[str]

    @property
    def text(self) -> str:
        return "\n".join(self.body)


def entries(page: str) -> list[Entry]:
    """The items of all lists, in their order. What is in one of an inner list is in the outer list's, too."""
    found: list[Entry] = []
    opened: list[Entry | None] = []
    section = subsection = ""
    for line in page.splitlines():
        macro, _, rest = line.partition(" ")
        if macro == ".It":
            opened[-1] = None
        for entry in opened:
            if entry is not None:
                entry.body.append(line)
        if macro == ".Sh":
            section, subsection = rest, ""
        elif macro == ".Ss":
            subsection = rest
        elif macro == ".Bl":
            opened.append(None)
        elif macro == ".El":
            opened.pop()
        elif macro == ".It":
            opened[-1] = Entry(section, subsection, len(opened), rest, [])
            found.append(opened[-1])
    return found


def arguments(macro: str, text: str) -> list[str]:
    """What follows a macro, in lines and in tags: `-daemon` of Fl in `.It Fl -daemon`."""
    return re.findall(rf"(?:^\.| ){macro} (\S+)", text, re.MULTILINE)


def words(tag: str) -> str:
    """A tag without its macros: `--intel-cpu FAMILY,MODEL`."""
    text = re.sub(r"\bFl (-?)", r"-\1", tag)
    return re.sub(
        r" ?\bNs ?| (?=[,:])", "", re.sub(r"\b(?:Ar|Cm|Ic|Op|No|Dv|Ev|Pa|Oo|Oc) ?", "", text)
    ).strip()


def literals(page: str) -> list[str]:
    """What is shown as to be typed or written, each piece as one text; a line that goes on is one line."""
    pieces = re.findall(r"^\.Bd -literal[^\n]*\n(.*?)^\.Ed|^\.Dl ([^\n]*)", page, re.MULTILINE | re.DOTALL)
    return [(block or line).replace("\\e\n", " ").replace("\\e", "\\").rstrip("\n") for block, line in pieces]
