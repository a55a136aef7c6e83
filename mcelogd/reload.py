# SPDX-License-Identifier: GPL-2.0-only
"""Reading mcelog.conf again while the daemon runs: what takes effect at once, and what needs a restart."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account.memory import Rates
from mcelogd.act.offline import How
from mcelogd.assembly import PAGE_ACTIONS, logged, make_access, make_triggers, offline_limits
from mcelogd.settings import PageAction, RowAction
from mcelogd.triggers import ROWS

if TYPE_CHECKING:
    from mcelogd.account.books import Books
    from mcelogd.act.actions import Actions
    from mcelogd.pipeline import Pipeline
    from mcelogd.reporter import EventReporter
    from mcelogd.server import LegacyServer
    from mcelogd.settings import Settings

AT_ONCE = {
    *("client-user", "client-group", "filter", "filter-memory-errors"),
    *("ce-error-threshold", "uc-error-threshold", "mem-ce-error-threshold", "mem-uc-error-threshold"),
    *("memory-ce-threshold", "memory-ce-counter-replacement-threshold", "memory-ce-offline-retry"),
    *("core-ce-error-threshold", "row-ce-threshold"),
    *("ce-error-log", "uc-error-log", "mem-ce-error-log", "mem-uc-error-log", "cache-threshold-log"),
    *("memory-ce-log", "memory-ce-counter-replacement-log", "core-ce-error-log"),
    *("memory-ce-action", "row-ce-action"),
    *("memory-offline-max-per-day", "memory-offline-max", "memory-offline-max-share"),
    *(row.setting for row in ROWS),
}
"""Settings that take effect when the file is read again."""


class Parts(NamedTuple):
    """Of the daemon, what settings are given to."""

    pipeline: Pipeline
    reporter: EventReporter
    actions: Actions
    server: LegacyServer


def apply(old: Settings, new: Settings, parts: Parts) -> list[str]:
    """Let new settings take effect; a remark for each that needs a restart."""
    _apply_to_books(new, parts.pipeline.books)
    parts.pipeline.log_memory_errors = not new.filter_memory_errors
    parts.pipeline.log_known_bogus = not new.filter
    parts.reporter.logged = logged(new)
    parts.actions.triggers = make_triggers(new)
    parts.actions.page_action = PAGE_ACTIONS.get(new.memory_ce_action)
    parts.actions.row_action = How.SOFT if new.row_ce_action is RowAction.SOFT else None
    parts.actions.limit(offline_limits(new))
    parts.server.access = make_access(new)
    return [
        f"{row.title}: takes effect when mcelog is started again"
        for row in new.rows
        if new.values[row.name].value != old.values[row.name].value and not _is_live(row.name, new, parts)
    ]


def _is_live(name: str, new: Settings, parts: Parts) -> bool:
    if name == "memory-ce-action" and parts.pipeline.books.pages is None:
        # Nothing was counted for pages so far.
        return new.memory_ce_action is PageAction.OFF
    return name in AT_ONCE


def _apply_to_books(new: Settings, books: Books) -> None:
    books.memory.rates = {
        False: Rates(new.ce_error_threshold, new.uc_error_threshold),
        True: Rates(new.mem_ce_error_threshold, new.mem_uc_error_threshold),
    }
    if books.pages is not None:
        books.pages.rate = new.memory_ce_threshold
        books.pages.retry = new.memory_ce_offline_retry
        books.pages.replacements.rate = new.counter_replacement_threshold
    if books.cores is not None:
        books.cores.rate = new.core_ce_error_threshold
    if books.faults is not None:
        books.faults.row_rate = new.row_ce_threshold
