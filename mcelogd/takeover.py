# SPDX-License-Identifier: GPL-2.0-only
"""Going on where an earlier run stopped, on a machine that may have been rebooted or rebuilt since."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING

from mcelogd.account.memory import ANY
from mcelogd.account.pages import PageState
from mcelogd.account.parts import Part
from mcelogd.store.database import StoreError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcelogd.account.books import Books
    from mcelogd.act.actions import Actions
    from mcelogd.dimms.names import DimmNames
    from mcelogd.pipeline import Pipeline
    from mcelogd.reporter import EventReporter
    from mcelogd.store.database import Saved, Store

REMEMBERED = 64
"""Records of an earlier run whose copies are recognized."""

BOOT = "boot"
"""Name in the store's state of the boot that page states are of."""


def restore(pipeline: Pipeline, actions: Actions, saved: Saved) -> None:
    """Go on with the counters."""
    pipeline.books.restore(saved.memory, saved.pages, saved.objects)
    actions.restore(saved.objects)
    pipeline.restore_totals(saved.state.get("totals", ""), saved.state.get("page_use", ""))
    pipeline.next_id = saved.last_event_id + 1


def remember(pipeline: Pipeline, store: Store) -> None:
    """Look at the last records, so that a copy that firmware makes of one is known for what it is."""
    with contextlib.suppress(StoreError):
        for row in store.last_events(REMEMBERED):
            pipeline.remember(row.record)


def meet_dimms(books: Books, names: DimmNames, reporter: EventReporter, *, prepopulate: bool) -> None:
    """Let the counters follow the DIMMs, and list those that had no error yet."""
    now = int(time.time())
    known = names.known()
    # Most processors name the channel only: its counters are those of the one DIMM there, if it is one.
    channels = {key: names.of(*key) for key in {key._replace(dimm=ANY) for key in known}}
    everywhere = {
        **known,
        **{key: name for key, name in channels.items() if name is not None and name.serial},
    }
    present = {key: Part(name.serial, name.label, name.part) for key, name in everywhere.items()}
    for past in books.look_at_slots(present, now):
        reporter.replaced(past)
    for key in known if prepopulate else ():
        books.memory.get(key, now)


def pages_of_earlier_boot(books: Books, state: Mapping[str, str], boot: str) -> list[int]:
    """The pages that were off-lined when the machine was last started: the kernel uses them again.

    They are noted as on line, so that they can be off-lined again; none, if it is the same boot.
    """
    before = state.get(BOOT, "")
    if books.pages is None or not before or not boot or before == boot:
        return []
    pages = [page for page in books.pages if page.state is not PageState.ONLINE]
    for page in pages:
        was_offline = page.state is PageState.OFFLINE
        reason = f"was off-lined ({page.reason}) until the reboot" if was_offline else ""
        page.multiplier = 1
        books.pages.set_state(page, PageState.ONLINE, reason, int(time.time()))
    return [page.address for page in pages if page.reason]
