# SPDX-License-Identifier: GPL-2.0-only
"""Telling: events and what crossed a threshold, to the journal and as text."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from mcelogd import message_ids, render, report
from mcelogd.account.text import location_of, seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcelogd.account.memory import Crossing
    from mcelogd.account.pages import PageCrossing
    from mcelogd.event import Event

log = logging.getLogger(__name__)


class Text(Protocol):
    """Where decoded text goes."""

    def write(self, text: str) -> None: ...


class EventReporter:
    """Sends each event to the journal as a structured entry, and to `text` as mcelog prints it."""

    def __init__(
        self, journal: Callable[[Mapping[str, str | list[str]]], None], text: Text, *, raw: bool
    ) -> None:
        self._journal = journal
        self._text = text
        self._raw = raw

    def event(self, event: Event, event_id: int, number: int, count: int | None) -> None:
        if self._raw:
            self._text.write(render.raw_text(event.record))
        else:
            self._text.write(render.event_text(event, number))
        self._journal(report.fields(event, event_id=event_id, count=count))

    def memory_threshold(self, crossing: Crossing) -> None:
        errors = crossing.errors
        kind = "Socket" if errors.key.is_socket else "DIMM"
        level = seen(crossing.counter.bucket, crossing.rate)
        if crossing.lost:
            what = f"Fallback {kind} memory error count {crossing.lost} exceeded threshold"
        else:
            severity = "Corrected" if crossing.is_corrected else "Uncorrected"
            what = f"{severity} {kind} memory error count exceeded threshold"
        location = location_of(errors)
        self._text.write(f"{what}: {level}\nLocation {location}\n")
        self._exceeded(f"{what}: {level}", location, str(crossing.rate), crossing.counter.total)

    def page_threshold(self, crossing: PageCrossing) -> None:
        page = crossing.page
        level = seen(page.bucket, crossing.rate)
        message = f"Corrected memory errors on page {page.address:x} exceed threshold {level}"
        self._text.write(message + "\n")
        self._exceeded(message, f"page {page.address:#x}", str(crossing.rate), page.total)

    def _exceeded(self, message: str, location: str, threshold: str, count: int) -> None:
        self._journal(
            {
                "MESSAGE": f"{message} ({location})",
                "MESSAGE_ID": message_ids.THRESHOLD_EXCEEDED,
                "PRIORITY": "4",
                "MCE_LOCATION": location,
                "MCE_THRESHOLD": threshold,
                "MCE_COUNT": str(count),
            }
        )
