# SPDX-License-Identifier: GPL-2.0-only
"""How things look where they are shown: width, colour, time. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd.ctl.table import Cell, Column, table
from mcelogd.ctl.text import printable, width, wrapped
from mcelogd.ctl.times import ago, format_time

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import tzinfo

_NARROW = 40
"""Columns that text is given at least, however narrow the terminal: words stay whole."""

_ENDLESS = 10_000


class Look(NamedTuple):
    """Where lines are to be shown, and when; room is None where it does not matter how long they are."""

    now: float
    room: int | None = None
    colour: bool = False
    legend: bool = True
    zone: tzinfo | None = None
    """None is the local one."""

    def table(self, columns: Sequence[Column], rows: Sequence[Sequence[Cell]]) -> list[str]:
        return table(columns, rows, room=self.room, legend=self.legend, colour=self.colour)

    def sum(self, text: str) -> list[str]:
        """The line below a table."""
        return ["", text] if self.legend else []

    def wrapped(self, text: str, indent: int) -> list[str]:
        """Text that is safe to show, in lines that leave `indent` columns free."""
        return wrapped(printable(text), max((self.room or _ENDLESS) - indent, _NARROW))

    def pairs(self, pairs: Iterable[tuple[str, str]]) -> list[str]:
        """Names at the left, what they stand for at the right; what is empty is left out."""
        shown = [(name, text) for name, text in pairs if text]
        wide = max((width(name) for name, _ in shown), default=0)
        lines = []
        for name, text in shown:
            first, *more = self.wrapped(text, wide + 4)
            lines.append(f"  {name:>{wide}}: {first}")
            lines += [" " * (wide + 4) + line for line in more]
        return lines

    def when(self, seconds: int) -> str:
        """`2026-11-22 21:28:10 (3 min ago)`; empty for never."""
        stamp = format_time(seconds, self.zone)
        return f"{stamp} ({ago(seconds, self.now)})" if stamp else ""


def size(count: int) -> str:
    """`16 GiB`; empty for 0."""
    for unit, shift in (("TiB", 40), ("GiB", 30), ("MiB", 20), ("KiB", 10)):
        if count >> shift:
            return f"{round(count / (1 << shift), 1):g} {unit}"
    return f"{count} B" if count else ""
