# SPDX-License-Identifier: GPL-2.0-only
"""mcelogctl's text and tables, on terminals of any width."""

from __future__ import annotations

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.ctl.look import Look, size
from mcelogd.ctl.table import Cell, Column, table
from mcelogd.ctl.text import ellipsized, padded, paint, plural, printable, printable_lines, width, wrapped

ANY_TEXT = st.text(st.characters(codec=None), max_size=40)


@given(ANY_TEXT)
def test_what_is_shown_commands_no_terminal(text: str) -> None:
    shown = printable(text)
    assert shown.isprintable()
    assert not {unicodedata.category(char) for char in shown} & {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def test_what_is_not_printable_is_still_seen() -> None:
    assert printable("a\x1b[2Jb\u202ec\udc80\tx\xa0y") == "a\\x1b[2Jb\\u202ec\\udc80 x y"
    assert printable("Größe 漢字") == "Größe 漢字"
    assert printable_lines("a\tb\nc\r") == ["a       b", "c\\r"]


@pytest.mark.parametrize(("text", "columns"), [("abc", 3), ("漢字", 4), ("e\u0301", 1), ("", 0)])
def test_width(text: str, columns: int) -> None:
    assert width(text) == columns


@given(ANY_TEXT.map(printable), st.integers(0, 30))
def test_what_is_cut_or_filled_fits(text: str, columns: int) -> None:
    assert width(ellipsized(text, columns)) <= columns
    assert width(padded(text, columns)) == columns
    assert width(padded(text, columns, right=True)) == columns


def test_what_is_cut_says_so() -> None:
    assert ellipsized("CPU1_DIMM_B1", 8) == "CPU1_DI…"
    assert ellipsized("漢字漢字", 4) == "漢…"
    assert padded("漢字漢字", 4) == "漢… "


@given(st.lists(st.text("ab漢", min_size=1, max_size=12)), st.integers(1, 30))
def test_lines_are_broken_between_words(words: list[str], columns: int) -> None:
    lines = wrapped(" ".join(words), columns)
    assert " ".join(lines).split() == words
    assert all(width(line) <= columns or " " not in line for line in lines)


def test_small_things() -> None:
    assert paint("x", "bad", colour=True) == "\x1b[1;31mx\x1b[0m"
    assert paint("x", "bad", colour=False) == paint("x", "", colour=True) == "x"
    assert (plural(1, "page"), plural(2000, "entry", "entries")) == ("1 page", "2,000 entries")
    assert [size(count) for count in (0, 512, 16 << 30, 3 << 39, 1536 << 20)] == [
        *("", "512 B", "16 GiB", "1.5 TiB", "1.5 GiB")
    ]


COLUMNS = (
    Column("DIMM"),
    Column("LABEL", least=6),
    Column("ERRORS", right=True),
    Column("PART", 2, least=4),
    Column("SERIAL", 1),
)
ROWS = [
    [Cell("0/0/0"), Cell("CPU1_DIMM_B1"), Cell("12", "bad"), Cell("M393A4K40CB2"), Cell("0123")],
    [Cell("0/1/0"), Cell(""), Cell("3"), Cell(""), Cell("")],
]


@pytest.mark.parametrize(
    ("room", "line"),
    [
        (None, "0/0/0  CPU1_DIMM_B1      12  M393A4K40CB2  0123"),
        (49, "0/0/0  CPU1_DIMM_B1      12  M393A4K40CB2  0123"),
        (48, "0/0/0  CPU1_DIMM_B1      12  M393A4K40C…  0123"),
        (41, "0/0/0  CPU1_DIMM_B1      12  M39…  0123"),
        (40, "0/0/0  CPU1_DIMM_B1      12  0123"),
        (34, "0/0/0  CPU1_DIMM_B1      12"),
        (26, "0/0/0  CPU1_DIMM_…      12"),
        (21, "0/0/0  CPU1_…      12"),
        (20, "0/0/0  CPU1_…      …"),
        (3, "0/…"),
    ],
)
def test_what_matters_least_goes_first(room: int | None, line: str) -> None:
    lines = table(COLUMNS, ROWS, room=room, legend=False)
    assert lines[0] == line
    assert room is None or all(width(one) <= room for one in lines)


@given(st.lists(st.tuples(*(ANY_TEXT for _ in COLUMNS)), max_size=4), st.integers(1, 120), st.booleans())
def test_any_table_fits_any_terminal(rows: list[tuple[str, ...]], room: int, legend: bool) -> None:
    lines = table(COLUMNS, [list(map(Cell, row)) for row in rows], room=room, legend=legend)
    assert all(width(line) <= room and line.isprintable() for line in lines)
    assert len(lines) in (0, len(rows) + legend)


def test_headings() -> None:
    lines = table(COLUMNS, ROWS)
    assert lines[0] == "DIMM   LABEL         ERRORS  PART          SERIAL"
    assert lines[2] == "0/1/0                     3"
    assert table(COLUMNS, [ROWS[1]])[0] == "DIMM   ERRORS", "columns without anything are left out"
    assert table(COLUMNS, []) == []
    coloured = table(COLUMNS, ROWS, colour=True)
    assert coloured[1].startswith("0/0/0  CPU1_DIMM_B1      \x1b[1;31m12\x1b[0m  ")
    assert coloured[0].startswith("\x1b[4mDIMM\x1b[0m   ")


def test_pairs() -> None:
    look = Look(0, room=44)
    assert look.pairs([("A", "b"), ("Long name", "x " * 25), ("Empty", "")]) == [
        "          A: b",
        "  Long name: " + "x " * 19 + "x",
        "             x x x x x",
    ]
