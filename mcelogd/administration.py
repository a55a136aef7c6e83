# SPDX-License-Identifier: GPL-2.0-only
"""What is asked of the counters, and what an administrator tells about the machine."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcelogd.account.parts import key_of
from mcelogd.account.text import fault_place, history_text, memory_text, pages_text

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.account.books import Books
    from mcelogd.account.memory import MemoryKey
    from mcelogd.reporter import EventReporter


class Administration:
    """The daemon, as a client of the legacy socket sees it."""

    def __init__(self, books: Books, reporter: EventReporter, save: Callable[[], None]) -> None:
        self._books = books
        self._reporter = reporter
        self._save = save

    def dump_memory_errors(self, all: bool, bios: bool) -> str:
        return memory_text(self._books.memory, int(time.time()), every=all, bios=bios)

    def dump_page_errors(self) -> str:
        return pages_text(self._books.pages) if self._books.pages is not None else ""

    def dump_history(self) -> str:
        return history_text(self._books.history)

    def change(self, command: str, place: str, uid: int) -> str:
        """Carry out `replaced` or `acquit`; the line to answer with."""
        try:
            key = key_of(place)
        except ValueError:
            return f'"{place[:40]}" is no DIMM; name it as SOCKET/CHANNEL/DIMM, such as 0/1/0, -1 for any\n'
        done = self.replaced(key, uid) if command == "replaced" else self.acquit(key, uid)
        where = fault_place(key)
        return f"{where}: done\n" if done else f"{where} is not known; mcelog --client lists what is\n"

    def replaced(self, key: MemoryKey, uid: int) -> bool:
        """The DIMM there is another one now; False if none is known there."""
        past = self._books.replace(key, int(time.time()), f"user {uid} said so")
        if past is None:
            return False
        self._reporter.replaced(past)
        self._save()
        return True

    def acquit(self, key: MemoryKey, uid: int) -> bool:
        """The DIMM there is sound; False if none is known there."""
        if not self._books.acquit(key):
            return False
        self._reporter.acquitted(fault_place(key), uid)
        self._save()
        return True
