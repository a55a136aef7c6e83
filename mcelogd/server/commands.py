# SPDX-License-Identifier: GPL-2.0-only
"""A command line -> its reply, as mcelog v208 words it.

    dump [all] [bios]   counters; all: rows and lines that are 0 too, bios: names of the DIMMs
    pages               counters per page
    ping                pong

and, not in v208,

    history                         DIMMs that were replaced, and what they had counted
    replaced SOCKET/CHANNEL/DIMM    the DIMM is another one: count it from zero
    acquit SOCKET/CHANNEL/DIMM      the DIMM is sound: forget what speaks against it

the last two for root. What begins with `dump` or `pages` is taken for that command, as it always was.
"""

from __future__ import annotations

from typing import Protocol

UNKNOWN_COMMAND = "Unknown command\n"
DENIED = "permission denied\n"

CHANGES = ("replaced", "acquit")
"""Commands that change what is counted."""


class Content(Protocol):
    """Where the text comes from: whole lines, empty when there is nothing to report."""

    def dump_memory_errors(self, all: bool, bios: bool, /) -> str: ...

    def dump_page_errors(self) -> str: ...

    def dump_history(self) -> str: ...

    def change(self, command: str, place: str, uid: int, /) -> str:
        """Carry out one of CHANGES; a line that says what was done, or why not."""


def respond(content: Content, line: str, uid: int) -> bytes:
    """The reply to one command line of that user; nothing to an empty one."""
    line = line.strip()
    command, _, argument = line.partition(" ")
    if line.startswith("dump"):
        text = _dump(content, line.split())
    elif line.startswith("pages"):
        text = content.dump_page_errors() + "done\n"
    elif line == "ping":
        text = "pong\n"
    elif line == "history":
        text = content.dump_history() + "done\n"
    elif command in CHANGES:
        text = DENIED if uid else content.change(command, argument.strip(), uid) + "done\n"
    else:
        text = UNKNOWN_COMMAND if line else ""
    return text.encode(errors="replace")


def _dump(content: Content, words: list[str]) -> str:
    unknown = sum(word not in ("dump", "all", "bios") for word in words)
    errors = content.dump_memory_errors("all" in words, "bios" in words)
    return "Unknown dump parameter\n" * unknown + errors + "done\n"
