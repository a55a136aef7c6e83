# SPDX-License-Identifier: GPL-2.0-only
"""Text as a terminal shows it: harmless, and as wide as it is. Pure.

Names of DIMMs come from the firmware, messages from the journal: what is in
them must not command the terminal.
"""

from __future__ import annotations

import unicodedata
from typing import Final

ELLIPSIS: Final = "…"

_SEQUENCES: Final = {
    "": "",
    "bold": "1",
    "heading": "4",
    "grey": "38;5;245",
    "good": "32",
    "watch": "33",
    "bad": "1;31",
}
"""ECMA-48, "Select Graphic Rendition", by what the text means."""


def paint(text: str, style: str, *, colour: bool) -> str:
    """`text` so that it looks like what it means: one of good, watch, bad, bold, grey, heading."""
    sequence = _SEQUENCES[style]
    return f"\x1b[{sequence}m{text}\x1b[0m" if colour and sequence and text else text


def printable(text: str) -> str:
    """One line without control characters, those that turn the direction of writing, and the like."""
    if text.isprintable():
        return text
    return "".join(char if char.isprintable() else _visible(char) for char in text)


def printable_lines(text: str) -> list[str]:
    """The same of a text of several lines; tabs become blanks."""
    return [printable(line.expandtabs()) for line in text.split("\n")]


def _visible(char: str) -> str:
    category = unicodedata.category(char)
    if category == "Zs" or char in "\n\t":
        return " "
    return char.encode("unicode_escape", "surrogatepass").decode()


def width(text: str) -> int:
    """Columns that a line takes on a terminal (Unicode Standard Annex #11)."""
    if text.isascii():
        return len(text)
    return sum(_char_width(char) for char in text)


def _char_width(char: str) -> int:
    if unicodedata.category(char) in ("Mn", "Me", "Cf"):
        return 0
    return 2 if unicodedata.east_asian_width(char) in "WF" else 1


def ellipsized(text: str, columns: int) -> str:
    """`text` in at most so many columns, 0 or more; what is cut off is marked as such."""
    if width(text) <= columns:
        return text
    used, kept = 0, []
    for char in text:
        used += _char_width(char)
        if used > columns - 1:
            break
        kept.append(char)
    return "".join(kept) + ELLIPSIS if columns else ""


def padded(text: str, columns: int, *, right: bool = False) -> str:
    """`text` in exactly so many columns; `right` puts it at their right side."""
    cut = ellipsized(text, columns)
    blanks = " " * (columns - width(cut))
    return blanks + cut if right else cut + blanks


def wrapped(text: str, columns: int) -> list[str]:
    """`text` in lines of at most so many columns, broken between words; a longer word stays whole."""
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}" if line else word
        if line and width(longer) > columns:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line]


def plural(number: int, one: str, many: str = "") -> str:
    """`1 error`, `2 errors`."""
    return f"{number:,} {one if number == 1 else many or one + 's'}"
