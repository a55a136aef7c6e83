# SPDX-License-Identifier: GPL-2.0-only
"""Tables that fit the terminal: what matters least goes first. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd.ctl.text import ellipsized, padded, paint, printable, width

if TYPE_CHECKING:
    from collections.abc import Sequence

GAP = 2
"""Blanks between columns."""


class Column(NamedTuple):
    """A column; of those with a `rank` above 0 the one with the highest is the first to be left out."""

    title: str
    rank: int = 0
    right: bool = False
    least: int = 0
    """How narrow it may get; 0: it is shown whole, or not at all."""


class Cell(NamedTuple):
    """What stands in a table; the text may be anything."""

    text: str
    style: str = ""


def table(
    columns: Sequence[Column],
    rows: Sequence[Sequence[Cell]],
    *,
    room: int | None = None,
    legend: bool = True,
    colour: bool = False,
) -> list[str]:
    """Lines of a table that is at most `room` wide. A column that is empty in all rows is left out."""
    cells = [[Cell(printable(text), style) for text, style in row] for row in rows]
    heads = [Cell(column.title, "heading") for column in columns]
    shown = [place for place in range(len(columns)) if any(row[place].text for row in cells)]
    if not shown:
        return []
    natural = {place: max(width(row[place].text) for row in [heads, *cells]) for place in shown}
    widths = natural if room is None else _fit(columns, natural, room)
    lines = [_line(columns, row, widths, colour=colour) for row in ([heads] if legend else []) + cells]
    # Colour takes no room, so a line that is cut cannot have any.
    if room is not None and sum(widths.values()) + GAP * (len(widths) - 1) > room:
        plain = [_line(columns, row, widths, colour=False) for row in ([heads] if legend else []) + cells]
        lines = [ellipsized(line, room) for line in plain]
    return lines


def _fit(columns: Sequence[Column], natural: dict[int, int], room: int) -> dict[int, int]:
    """Widths of the columns that are shown: the less important are cut and left out before others are cut."""
    kept = dict(natural)
    while (excess := _total(kept) - room) > 0:
        ranked = [place for place in kept if columns[place].rank]
        spare = {
            place: kept[place] - columns[place].least
            for place in ranked or kept
            if columns[place].least and kept[place] > columns[place].least
        }
        if sum(spare.values()) >= excess:
            return _shrink(kept, spare, excess)
        if not ranked:
            return {place: kept[place] - spare.get(place, 0) for place in kept}
        del kept[max(ranked, key=lambda place: columns[place].rank)]
    return kept


def _total(widths: dict[int, int]) -> int:
    return sum(widths.values()) + GAP * (len(widths) - 1)


def _shrink(widths: dict[int, int], spare: dict[int, int], excess: int) -> dict[int, int]:
    """Take `excess` from those that have something to spare, always from the widest."""
    widths = dict(widths)
    for _ in range(excess):
        widest = max((place for place in spare if spare[place]), key=lambda place: widths[place])
        widths[widest] -= 1
        spare[widest] -= 1
    return widths


def _line(columns: Sequence[Column], row: Sequence[Cell], widths: dict[int, int], *, colour: bool) -> str:
    last = max(widths)
    parts = []
    for place, columns_wide in widths.items():
        text, style = row[place]
        if place == last and not columns[place].right:
            parts.append(paint(ellipsized(text, columns_wide), style, colour=colour))
            continue
        field = padded(text, columns_wide, right=columns[place].right)
        # Only the text is painted: an underlined heading does not reach into the gap.
        bare = field.strip(" ")
        parts.append(field.replace(bare, paint(bare, style, colour=colour), 1) if bare else field)
    return (" " * GAP).join(parts).rstrip(" ")
