# SPDX-License-Identifier: GPL-2.0-only
"""The format of mcelog.conf."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.config import LARGEST_FILE, ConfigError, load, parse, quoted

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NOBODY = 65534


def values(text: str, *keys: tuple[str, str]) -> list[str | None]:
    config = parse(text, "mcelog.conf")
    return [entry.value if (entry := config.find(*key)) else None for key in keys]


def test_entries_and_headers_keep_their_lines() -> None:
    config = parse("a = 1\n\n[dimm]\n  b=2 # why\n", "mcelog.conf")
    assert config.file == "mcelog.conf"
    entries = [(entry.section, entry.name, entry.value, entry.line) for entry in config.entries]
    assert entries == [("global", "a", "1", 1), ("dimm", "b", "2", 4)]
    assert [(header.section, header.line) for header in config.headers] == [("dimm", 3)]


@pytest.mark.parametrize(
    ("line", "name", "value"),
    [
        ("name=value", "name", "value"),
        (" \t name \v=\f value \r", "name", "value"),
        ("name = two words", "name", "two words"),
        ("name = a=b", "name", "a=b"),
        ("name = value#comment", "name", "value"),
        ('name = "quoted"', "name", '"quoted"'),
        ("name =", "name", ""),
        ("= value", "", "value"),
        ("name = \u00a0x\u00a0", "name", "\u00a0x\u00a0"),
    ],
)
def test_lines(line: str, name: str, value: str) -> None:
    assert values(line, ("global", name)) == [value]


def test_the_first_of_equal_options_counts() -> None:
    assert values("a = 1\na = 2\n", ("global", "a")) == ["1"]


def test_a_section_may_appear_again() -> None:
    text = "[s]\na = 1\n[t]\na = 2\n[s]\na = 3\nb = 4\n"
    assert values(text, ("s", "a"), ("s", "b"), ("t", "a")) == ["1", "4", "2"]


def test_global_is_the_fallback_wherever_it_stands() -> None:
    text = "a = 1\n[s]\nb = 2\n[global]\na = 3\nb = 4\nc = 5\n"
    assert values(text, ("s", "a"), ("s", "b"), ("s", "c"), ("global", "b")) == ["1", "2", "5", "4"]
    assert values(text, ("t", "c"), ("t", "d")) == ["5", None]


def test_blanks_in_a_header_are_part_of_its_name() -> None:
    assert values("[ s ]\na = 1\n", ("s", "a"), (" s ", "a")) == [None, "1"]


@pytest.mark.parametrize(
    ("text", "line", "reason"),
    [
        (
            "a = 1\nnonsense\n",
            2,
            '"nonsense" is neither "name = value" nor "[section]"; comments start with #',
        ),
        ("[dimm\n", 1, 'the header "[dimm" has no closing "]"'),
        ("[dimm # ]\n", 1, 'the header "[dimm" has no closing "]"'),
        ("[dimm] x = 1\n", 1, '"x = 1" after the "]" of a header'),
        ("\ufeffa\n", 1, '"\\ufeffa" is neither "name = value" nor "[section]"; comments start with #'),
        ("a = \0\n", 1, "a NUL character; this is not a text file"),
    ],
)
def test_errors_name_file_line_and_reason(text: str, line: int, reason: str) -> None:
    with pytest.raises(ConfigError) as caught:
        parse(text, "mcelog.conf")
    assert (caught.value.file, caught.value.line, caught.value.reason) == ("mcelog.conf", line, reason)
    assert str(caught.value) == f"mcelog.conf:{line}: {reason}"


def test_messages_carry_no_control_characters() -> None:
    with pytest.raises(ConfigError) as caught:
        parse("\x1b[2J evil\r\u2028\udc80", "a\nb.conf")
    assert str(caught.value).startswith('a\\nb.conf:1: "\\x1b[2J evil\\r\\u2028\\udc80" is neither')
    assert quoted("x" * 100) == '"' + "x" * 80 + '..."'


def test_load(tmp_path: Path) -> None:
    path = tmp_path / "mcelog.conf"
    path.write_bytes(b"logfile = /tmp/\xe4\n")
    config = load(str(path), must_exist=True)
    entry = config.find("global", "logfile")
    assert entry is not None
    assert os.fsencode(entry.value) == b"/tmp/\xe4"


def test_a_missing_file_is_empty_unless_it_must_exist(tmp_path: Path) -> None:
    path = str(tmp_path / "none.conf")
    config = load(path, must_exist=False)
    assert (config.entries, config.problem) == ((), "")
    with pytest.raises(ConfigError, match=r"none\.conf: cannot be read: No such file or directory$"):
        load(path, must_exist=True)


@pytest.fixture
def forbidden(tmp_path: Path) -> Iterator[str]:
    """The path of a file that the test, running as an unprivileged user, may not read."""
    path = tmp_path / "mcelog.conf"
    path.write_text("raw = yes\n")
    path.chmod(0)
    user = os.geteuid()
    if user == 0:
        os.seteuid(NOBODY)
    try:
        yield str(path)
    finally:
        os.seteuid(user)


def test_a_forbidden_file_is_empty_and_says_so(forbidden: str) -> None:
    config = load(forbidden, must_exist=False)
    assert (config.entries, config.problem) == ((), "Permission denied")
    with pytest.raises(ConfigError, match="cannot be read: Permission denied"):
        load(forbidden, must_exist=True)


@pytest.mark.parametrize("must_exist", [True, False])
def test_what_is_no_file_is_refused(tmp_path: Path, must_exist: bool) -> None:
    with pytest.raises(ConfigError, match="cannot be read: Is a directory"):
        load(str(tmp_path), must_exist=must_exist)
    with pytest.raises(ConfigError, match=f"longer than {LARGEST_FILE} bytes"):
        load("/dev/zero", must_exist=must_exist)


FRAGMENTS = ["[", "]", "[a]", "[global]", "=", "#", "\n", "\n", "x", "y", " ", "\t", "\r", "x=1\n", "y = 2\n"]


@given(st.text() | st.lists(st.sampled_from(FRAGMENTS)).map("".join))
def test_any_text_parses_or_is_refused_in_one_line(text: str) -> None:
    try:
        config = parse(text, "mcelog.conf")
    except ConfigError as error:
        message = str(error)
        lines = range(1, text.count("\n") + 2)
        assert (message.isprintable(), error.line in lines) == (True, True)  # noqa: PT017  # or it parses
    else:
        assert all("\n" not in entry.value and "#" not in entry.value for entry in config.entries)


NAMES = st.sampled_from(["a", "b", "c"])
SECTIONS = st.sampled_from(["global", "s", "t"])


@given(st.lists(st.tuples(SECTIONS, NAMES, st.integers())), SECTIONS, NAMES)
def test_lookup_equals_a_plain_search(options: list[tuple[str, str, int]], section: str, name: str) -> None:
    text = "".join(f"[{where}]\n{what} = {value}\n" for where, what, value in options)
    order = sorted(options, key=lambda option: option[0] != section)  # stable: own section, then the rest
    found = [str(value) for where, what, value in order if what == name and where in (section, "global")]
    assert values(text, (section, name)) == [found[0] if found else None]
