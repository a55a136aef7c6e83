# SPDX-License-Identifier: GPL-2.0-only
"""The format of mcelog.conf: text -> entries with their lines.

    # a comment, also behind a value
    name = value        before any header: in section `global`
    [section]
    name = value

Read as the C program reads it: the first of several equal options counts, a
section may appear more than once, and what a section does not say is looked
up in `global`. What the options mean is settings.py's business.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:  # as typing's, whose import would be half of what --client costs
    from collections.abc import Sequence

DEFAULT_FILE = "/etc/mcelog/mcelog.conf"
DEFAULT_SOCKET = "/run/mcelog-client"

GLOBAL = "global"
"""The section of options above the first header; every other section falls back to it."""

LARGEST_FILE = 1 << 20
"""Bytes; what is longer (a device, a log) is no configuration file."""

WHITESPACE = " \t\n\v\f\r"
"""What isspace(3) takes for white space in the C locale."""


class ConfigError(Exception):
    """A configuration that cannot be used; `str()` is one line that names file, line and reason.

    `line` is 0 where the reason is not in a line: a file that cannot be read,
    the command line.
    """

    def __init__(self, file: str, line: int, reason: str) -> None:
        super().__init__(file, line, reason)
        self.file = file
        self.line = line
        self.reason = reason

    def __str__(self) -> str:
        return f"{place(self.file, self.line)}: {self.reason}"


class Header:
    """A `[section]` line."""

    __slots__ = ("line", "section")

    def __init__(self, section: str, line: int) -> None:
        self.section = section
        self.line = line


class Entry:
    """A `name = value` line and the section it stands in."""

    __slots__ = ("line", "name", "section", "value")

    def __init__(self, section: str, name: str, value: str, line: int) -> None:
        self.section = section
        self.name = name
        self.value = value
        self.line = line


class Config:
    """A parsed file.

    `file` is its name for messages; `entries` and `headers` are in the file's
    order. `problem` says why a file that need not exist could not be read; it
    is empty otherwise.
    """

    def __init__(
        self, file: str, entries: Sequence[Entry] = (), headers: Sequence[Header] = (), problem: str = ""
    ) -> None:
        self.file = file
        self.entries = tuple(entries)
        self.headers = tuple(headers)
        self.problem = problem
        self._first: dict[tuple[str, str], Entry] = {}
        for entry in entries:
            self._first.setdefault((entry.section, entry.name), entry)

    def find(self, section: str, name: str) -> Entry | None:
        """The entry that counts: the first in the section, else the first in `global`, else None."""
        return self._first.get((section, name)) or self._first.get((GLOBAL, name))


def parse(text: str, name: str) -> Config:
    """Parse the text of the file called `name`; raises ConfigError for a line that is not of the format."""
    entries = []
    headers = []
    section = GLOBAL
    for number, line in enumerate(text.split("\n"), 1):
        content = line.partition("#")[0].strip(WHITESPACE)
        if "\0" in content:
            raise ConfigError(name, number, "a NUL character; this is not a text file")
        if content.startswith("["):
            section = _section(content, name, number)
            headers.append(Header(section, number))
        elif "=" in content:
            option, _, value = content.partition("=")
            entries.append(Entry(section, option.strip(WHITESPACE), value.strip(WHITESPACE), number))
        elif content:
            reason = f'{quoted(content)} is neither "name = value" nor "[section]"; comments start with #'
            raise ConfigError(name, number, reason)
    return Config(name, entries, headers)


def load(path: str, *, must_exist: bool) -> Config:
    """Read and parse a file.

    Raises ConfigError for a file that cannot be read or parsed. Without
    `must_exist` a missing file is an empty one, and so is one that the caller
    may not read (`problem` says so): decoding a log needs no configuration.
    """
    try:
        with open(path, "rb") as file:  # noqa: PTH123  # pathlib costs every --client its import
            data = file.read(LARGEST_FILE + 1)
    except (FileNotFoundError, NotADirectoryError, PermissionError) as error:
        if must_exist:
            raise ConfigError(path, 0, f"cannot be read: {error.strerror}") from error
        return Config(path, problem=str(error.strerror) if isinstance(error, PermissionError) else "")
    except OSError as error:
        raise ConfigError(path, 0, f"cannot be read: {error.strerror}") from error
    if len(data) > LARGEST_FILE:
        raise ConfigError(path, 0, f"longer than {LARGEST_FILE} bytes; this is no configuration file")
    return parse(data.decode(errors="surrogateescape"), path)


def place(file: str, line: int) -> str:
    """`file:line`, or the file alone for line 0."""
    return f"{printable(file)}:{line}" if line else printable(file)


def quoted(text: str, longest: int = 80) -> str:
    """The text in double quotes as a message may show it: cut, control characters escaped."""
    shown = text if len(text) <= longest else text[:longest] + "..."
    return f'"{printable(shown)}"'


def printable(text: str) -> str:
    """The text on one line that any terminal and any encoding of UTF-8 takes."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def _section(content: str, name: str, number: int) -> str:
    section, bracket, rest = content[1:].partition("]")
    if not bracket:
        raise ConfigError(name, number, f'the header {quoted(content)} has no closing "]"')
    if rest:
        raise ConfigError(name, number, f'{quoted(rest.strip(WHITESPACE))} after the "]" of a header')
    return section
