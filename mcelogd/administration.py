# SPDX-License-Identifier: GPL-2.0-only
"""What is asked of the daemon, and what an administrator tells it: behind the legacy socket and D-Bus."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from mcelogd import report
from mcelogd.account.parts import key_of
from mcelogd.account.text import fault_place, history_text, memory_text, pages_text
from mcelogd.act.page import How
from mcelogd.cpu import vendor_name
from mcelogd.dbus.wire import BusError
from mcelogd.store.database import StoreError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcelogd.account.books import Books
    from mcelogd.account.memory import MemoryKey
    from mcelogd.act.actions import Actions
    from mcelogd.dbus_iface import Link
    from mcelogd.dimms.names import DimmName, DimmNames
    from mcelogd.pipeline import Pipeline, Totals
    from mcelogd.reporter import EventReporter
    from mcelogd.selftest import SelfTest
    from mcelogd.store.reader import StoreReader
    from mcelogd.store.rows import StoredEvent


NOT_POSSIBLE = "org.mcelog.Error.NotPossible"


class NotPossibleError(BusError):
    """This machine, or its settings, do not allow it."""

    def __init__(self, text: str) -> None:
        super().__init__(NOT_POSSIBLE, text)


class Administration:
    """The daemon as its clients see it."""

    def __init__(
        self,
        pipeline: Pipeline,
        names: DimmNames,
        reporter: EventReporter,
        actions: Actions,
        reader: StoreReader | None,
        *,
        source: str,
        source_state: Callable[[], str],
        page_action: Callable[[], str],
        save: Callable[[], None],
        reload: Callable[[], Sequence[str]],
        self_test: SelfTest,
    ) -> None:
        self._pipeline = pipeline
        self._names = names
        self._reporter = reporter
        self._actions = actions
        self._reader = reader
        self._source_state = source_state
        self._page_action = page_action
        self._save = save
        self._reload = reload
        self._self_test = self_test
        self.source = source
        cpu = pipeline.cpu.forced or pipeline.cpu.host
        self.cpu_type = cpu.name
        self.cpu_vendor = vendor_name(cpu.vendor) if cpu.vendor is not None else ""
        self.changed: Callable[[MemoryKey | None], None] = lambda _: None
        """Hears that counters were set to zero; None for all."""

    @property
    def books(self) -> Books:
        return self._pipeline.books

    @property
    def source_state(self) -> str:
        return self._source_state()

    @property
    def totals(self) -> Totals:
        return self._pipeline.totals

    @property
    def page_action(self) -> str:
        return self._page_action()

    # -- the legacy socket ------------------------------------------------------------------------

    def dump_memory_errors(self, all: bool, bios: bool) -> str:
        return memory_text(self.books.memory, int(time.time()), every=all, bios=bios)

    def dump_page_errors(self) -> str:
        return pages_text(self.books.pages) if self.books.pages is not None else ""

    def dump_history(self) -> str:
        return history_text(self.books.history)

    def change(self, command: str, place: str, uid: int) -> str:
        """Carry out `replaced` or `acquit`; the line to answer with."""
        try:
            key = key_of(place)
        except ValueError:
            how = "name it as SOCKET/CHANNEL/DIMM, such as 0/1/0, with -1 for any"
            return f'error: "{place[:40]}" is no DIMM; {how}\n'
        done = self.replaced(key, uid) if command == "replaced" else self.acquit(key, uid)
        where = fault_place(key)
        return f"{where}: done\n" if done else f"error: {where} is not known; mcelog --client lists what is\n"

    # -- what an administrator says -----------------------------------------------------------------

    def replaced(self, key: MemoryKey, uid: int) -> bool:
        """The DIMM there is another one now; False if none is known there."""
        past = self.books.replace(key, int(time.time()), f"user {uid} said so")
        if past is None:
            return False
        self._reporter.replaced(past)
        self._has_changed(key)
        return True

    def acquit(self, key: MemoryKey, uid: int) -> bool:
        """The DIMM there is sound; False if none is known there."""
        if not self.books.acquit(key):
            return False
        self._reporter.acquitted(fault_place(key), uid)
        self._has_changed(key)
        return True

    def reset(self, key: MemoryKey | None, uid: int) -> bool:
        """Count from zero; None for everything. False if nothing is counted there."""
        if not self.books.reset(key, int(time.time())):
            return False
        if key is None:
            self._pipeline.forget_errors()
        self._reporter.reset("all" if key is None else fault_place(key), uid)
        self._has_changed(key)
        return True

    async def offline_page(self, address: int, mode: str) -> tuple[bool, str]:
        """Take a page out of use; whether it is, and why not."""
        result = await self._actions.offline(address, How(mode))
        return result.ok, result.reason

    def reload(self) -> Sequence[str]:
        """Read mcelog.conf again; what cannot be changed without a restart."""
        return self._reload()

    async def self_test(self) -> tuple[bool, Sequence[Link]]:
        """Inject a record and follow it; whether it arrived, and what each link of the chain did."""
        if self._self_test.is_running:
            raise NotPossibleError("a self test is under way; wait for its end")
        links = await self._self_test.run()
        ok = all(link.held for link in links)
        failed = ", ".join(link.name for link in links if not link.held)
        self._reporter.self_tested(ok=ok, result="passed" if ok else f"failed at: {failed}")
        return ok, links

    # -- what is read -------------------------------------------------------------------------------

    def name_of(self, key: MemoryKey) -> DimmName | None:
        return self._names.of(*key)

    async def events(self, after_id: int, limit: int) -> list[StoredEvent]:
        """Events from the store, which is asked in a thread of its own."""
        reader = self._store()
        try:
            return await asyncio.get_running_loop().run_in_executor(None, reader.events, after_id, limit)
        except StoreError as error:
            raise NotPossibleError(f"the store cannot be read: {error}") from error

    async def event_fields(self, event_id: int) -> dict[str, list[str]] | None:
        """The fields of an event's journal entry; None if the store does not have it."""
        reader = self._store()
        try:
            row = await asyncio.get_running_loop().run_in_executor(None, reader.event, event_id)
        except StoreError as error:
            raise NotPossibleError(f"the store cannot be read: {error}") from error
        if row is None:
            return None
        event = self._pipeline.decoded(row.record)
        labels = [name.label if name else None for name in self._names.of_event(event)]
        found = report.fields(event, event_id=row.id, labels=labels, origin=row.origin)
        return {name: [value] if isinstance(value, str) else value for name, value in found.items()}

    def _store(self) -> StoreReader:
        if self._reader is None:
            raise NotPossibleError("there is no store: see state-dir in mcelog.conf")
        return self._reader

    def _has_changed(self, key: MemoryKey | None) -> None:
        self._save()
        self.changed(key)
