# SPDX-License-Identifier: GPL-2.0-only
"""Telling: events and what crossed a threshold, to the journal and as text."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING, Protocol

from mcelogd import message_ids, render, report
from mcelogd.account.memory import ANY
from mcelogd.account.text import seen

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcelogd.account.memory import Crossing, MemoryErrors
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

    def event(self, event: Event, event_id: int, number: int) -> None:
        if self._raw:
            self._text.write(render.raw_text(event.record))
        else:
            self._text.write(render.event_text(event, number))
        self._journal(report.fields(event, event_id=event_id))

    def memory_threshold(self, crossing: Crossing) -> None:
        errors = crossing.errors
        kind = "Socket" if errors.key.is_socket else "DIMM"
        level = seen(crossing.counter.bucket, crossing.rate)
        if crossing.lost:
            what = f"Fallback {kind} memory error count {crossing.lost} exceeded threshold"
        else:
            severity = "Corrected" if crossing.is_corrected else "Uncorrected"
            what = f"{severity} {kind} memory error count exceeded threshold"
        self._remark(f"{what}: {level}", f"Location {location_of(errors)}")

    def page_threshold(self, crossing: PageCrossing) -> None:
        level = seen(crossing.page.bucket, crossing.rate)
        self._remark(f"Corrected memory errors on page {crossing.page.address:x} exceed threshold {level}")

    def _remark(self, message: str, *more: str) -> None:
        self._text.write("\n".join((message, *more)) + "\n")
        self._journal(
            {
                "MESSAGE": "; ".join((message, *more)),
                "MESSAGE_ID": message_ids.THRESHOLD_EXCEEDED,
                "PRIORITY": "4",
            }
        )


def location_of(errors: MemoryErrors) -> str:
    """A DIMM or socket as triggers and logs name it: `SOCKET:0 CHANNEL:1 DIMM:? [label]`."""
    socket, channel, dimm = errors.key
    names = " ".join(name for name in (errors.label_location, errors.label) if name)
    return f"SOCKET:{socket} CHANNEL:{_number(channel)} DIMM:{_number(dimm)} [{names}]"


def _number(number: int) -> str:
    return "?" if number == ANY else str(number)
