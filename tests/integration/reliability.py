# SPDX-License-Identifier: GPL-2.0-only
"""Faults that are tested, as rows of docs/reliability.md.

A test that makes a fault happen carries its row, and proves it: @fault fails a
test that did not check each claim of its row. `python -m tests.integration.reliability
> docs/reliability.md` writes the document anew.
"""

from __future__ import annotations

import enum
import functools
import importlib
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

HERE = Path(__file__).parent
DOCUMENT = HERE.parents[1] / "docs/reliability.md"

HEAD = """\
# Faults, and what becomes of them

Each row is a fault that a test makes happen, for real where it can be had: a disk that is full, a file system
that is read-only, a process that is stopped or killed, a system call that fails. The row is part of the
test, which checks what it says; this page is written from the rows
(`python -m tests.integration.reliability > docs/reliability.md`), and a test compares the two.

A record counts as read once the kernel has handed it over and forgotten it. Messages are as in the
journal and the log file, `…` stands for what varies.
"""
COLUMNS = ("What happens", "What one sees", "What is lost", "How it recovers", "Test")


class Part(enum.Enum):
    """Where the fault is: a chapter of the document."""

    SOURCE = "The source of records"
    DISK = "The disk and the store"
    JOURNAL = "The journal"
    BUS = "D-Bus and polkit"
    ACTIONS = "Triggers and pages"
    CLIENTS = "Clients of the socket"
    PROCESS = "The process and the machine"


class Row(NamedTuple):
    """One fault. `says` are messages, with … for what varies; `sees` is what one sees besides."""

    part: Part
    cause: str
    lost: str
    recovers: str
    says: tuple[str, ...] = ()
    sees: str = ""
    test: str = ""


class Claims:
    """What of a row a test has still to prove."""

    def __init__(self, row: Row) -> None:
        self._row = row
        self.open = {"lost", "recovers", *row.says}

    def saw(self, text: str) -> None:
        """Each message of the row is somewhere in `text`."""
        for message in self._row.says:
            assert is_said(message, text), f"not said: {message}\nbut: {text}"
            self.open.discard(message)

    def kept(self, found: object, expected: object) -> None:
        """What is there is what should be: nothing else was lost than the row says."""
        assert found == expected
        self.open.discard("lost")

    def recovered(self, condition: object) -> None:
        """It works again, in the way the row says."""
        assert condition
        self.open.discard("recovers")


def is_said(message: str, text: str) -> bool:
    return re.search(".*".join(map(re.escape, message.split("…"))), text) is not None


def fault(
    part: Part, cause: str, *, lost: str, recovers: str, says: tuple[str, ...] | str = (), sees: str = ""
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """The test, which must take `claims`, makes this fault happen and proves the row."""
    says = (says,) if isinstance(says, str) else says
    assert says or sees

    def mark(test: Callable[..., None]) -> Callable[..., None]:
        @functools.wraps(test)
        def proved(*arguments: object, claims: Claims, **others: object) -> None:
            test(*arguments, claims=claims, **others)
            assert not claims.open, f"the row claims what the test did not check: {claims.open}"

        name = f"`tests/integration/{Path(test.__code__.co_filename).name}::{test.__name__}`"
        proved.fault = Row(part, cause, lost, recovers, says, sees, name)  # type: ignore[attr-defined]
        return proved

    return mark


def rows() -> Iterator[Row]:
    """Of all tests, in the order of their files."""
    for path in sorted(HERE.glob("test_*.py")):
        if "\n@fault(" in path.read_text(encoding="utf-8"):
            module = importlib.import_module(f"tests.integration.{path.stem}")
            tests = (value for name, value in vars(module).items() if name.startswith("test_"))
            yield from (test.fault for test in tests if hasattr(test, "fault"))


def render() -> str:
    """The document."""
    found = list(rows())
    text = HEAD
    for part in Part:
        lines = [COLUMNS, ("---",) * len(COLUMNS), *(cells(row) for row in found if row.part is part)]
        table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
        text += f"\n## {part.value}\n\n{table}\n"
    return text


def cells(row: Row) -> tuple[str, ...]:
    said = [f"`{message}`" for message in row.says]
    return (row.cause, "; ".join([*said, *filter(None, [row.sees])]), row.lost, row.recovers, row.test)


if __name__ == "__main__":
    # By its name: the rows of tests are of the module that they import, which is not __main__.
    sys.stdout.write(importlib.import_module("tests.integration.reliability").render())
