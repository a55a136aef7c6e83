# SPDX-License-Identifier: GPL-2.0-only
"""Telling: events, what crossed a threshold and what was done, to the journal and as text."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, Protocol

from mcelogd import message_ids, render, report
from mcelogd.account.cells import FaultMode
from mcelogd.account.cores import CoreCrossing
from mcelogd.account.faults import RowCrossing
from mcelogd.account.memory import Crossing
from mcelogd.account.pages import PageCrossing, ReplacementCrossing
from mcelogd.account.storms import Verdict as StormVerdict
from mcelogd.account.text import fault_place, location_of, seen
from mcelogd.account.verdicts import Advice, Verdict
from mcelogd.triggers import is_cache_worn, memory_message

if TYPE_CHECKING:
    import enum
    from collections.abc import Callable, Mapping, Sequence

    from mcelogd.account.books import AnyCrossing
    from mcelogd.account.memory import MemoryKey
    from mcelogd.account.parts import Past
    from mcelogd.account.storms import Storms, Summary
    from mcelogd.event import Event
    from mcelogd.pipeline import About
    from mcelogd.triggers import Trigger

    Fields = Mapping[str, str | list[str]]


class Text(Protocol):
    """Where decoded text goes."""

    def write(self, text: str) -> None: ...


class Result(Protocol):
    """What became of a trigger."""

    @property
    def trigger(self) -> Trigger: ...
    @property
    def ok(self) -> bool: ...
    @property
    def error(self) -> str: ...
    @property
    def seconds(self) -> float: ...
    @property
    def output(self) -> tuple[str, ...]: ...


class PageResult(Protocol):
    """What became of a page."""

    @property
    def address(self) -> int: ...
    @property
    def ok(self) -> bool: ...
    @property
    def how(self) -> enum.StrEnum: ...
    @property
    def reason(self) -> str: ...


class PageDone(Protocol):
    """A page, and how many errors it had."""

    @property
    def result(self) -> PageResult: ...
    @property
    def errors(self) -> int: ...


class Logged(NamedTuple):
    """Which crossings go to the text log as well: the `-log` settings of mcelog.conf."""

    dimm_corrected: bool = False
    dimm_uncorrected: bool = False
    socket_corrected: bool = False
    socket_uncorrected: bool = False
    page: bool = False
    replacement: bool = False
    core: bool = False
    cache: bool = True

    def memory(self, crossing: Crossing) -> bool:
        if crossing.errors.key.is_socket:
            return self.socket_corrected if crossing.is_corrected else self.socket_uncorrected
        return self.dimm_corrected if crossing.is_corrected else self.dimm_uncorrected


MOST_CROSSED = 1000
"""Places whose last crossing is remembered."""

LOG_CACHES = Logged()


class EventReporter:
    """Sends each event to the journal as a structured entry, and to `text` as mcelog prints it.

    `labels` are the names of an event's DIMMs, `label` that of one place, `clock` is any that does not
    jump. In a storm only sums are sent: see tick().
    """

    def __init__(
        self,
        journal: Callable[[Fields], None],
        text: Text,
        storms: Storms,
        clock: Callable[[], float],
        *,
        labels: Callable[[Event], Sequence[str | None]] = lambda _: (),
        label: Callable[[MemoryKey], str] = lambda _: "",
        smbios_text: Callable[[Event], str] = lambda _: "",
        logged: Logged = LOG_CACHES,
        raw: bool = False,
    ) -> None:
        self._journal = journal
        self._text = text
        self._storms = storms
        self._clock = clock
        self._labels = labels
        self._label = label
        self._smbios_text = smbios_text
        self.logged = logged
        self._is_told = True
        self._crossed: dict[str, float] = {}
        self._raw = raw

    def event(self, event: Event, about: About) -> None:
        if about.is_test:
            self._tell_event(event, about)
            return
        verdict = self._storms.take(event, self._clock())
        self._is_told = verdict.is_told
        if not verdict.is_told:
            return
        labels = self._tell_event(event, about)
        if is_cache_worn(event) and self.logged.cache:
            self._text.write(report.worn_cache(event))
        if verdict is not StormVerdict.TELL:
            self._storm_begun(event, labels, is_mixed=verdict is StormVerdict.BEGIN_MIXED)

    def _tell_event(self, event: Event, about: About) -> Sequence[str | None]:
        """Its entry and its text; the labels of its DIMMs."""
        if self._raw:
            self._text.write(render.raw_text(event.record))
        else:
            found = report.found_in(about.origin).removeprefix(", ")
            note = f"{found.capitalize()}: it happened before mcelog ran\n" if found else ""
            self._text.write(render.event_text(event, about.number) + self._smbios_text(event) + note)
        marks = ("duplicate",) if about.is_duplicate else ()
        labels = self._labels(event)
        self._journal(
            report.fields(
                event,
                event_id=about.event_id,
                count=about.errors,
                labels=labels,
                marks=marks,
                origin=about.origin,
            )
        )
        return labels

    def crossed(self, crossing: AnyCrossing, event: Event) -> None:  # noqa: ARG002  # a Listener's
        match crossing:
            case Crossing():
                self._memory_crossed(crossing)
            case PageCrossing():
                self._page_crossed(crossing)
            case ReplacementCrossing():
                self._counters_replaced(crossing)
            case CoreCrossing():
                self._core_crossed(crossing)
            case RowCrossing():
                self._row_crossed(crossing)
            case Verdict():
                self.diagnosed(crossing)

    def tick(self) -> float | None:
        """Tell the sums that are due; the seconds until the next may be, None where no storm goes on."""
        now = self._clock()
        for summary in self._storms.due(now):
            self._summed_up(summary)
        due = self._storms.next_due()
        return None if due is None else max(0.0, due - now)

    def finish(self) -> None:
        """Tell all sums: the daemon ends."""
        for summary in self._storms.finish(self._clock()):
            self._summed_up(summary)

    def diagnosed(self, verdict: Verdict) -> None:
        """What the errors of a DIMM look like has changed."""
        place = fault_place(verdict.key)
        name = self._label(verdict.key)
        why = "; ".join(verdict.reasons)
        advice = {
            Advice.NONE: "nothing speaks against it any more",
            Advice.WATCH: "watch it",
            Advice.REPLACE: "replace the DIMM",
            Advice.CHANNEL: "look at the channel: board, socket, processor, memory settings",
        }[verdict.advice]
        where = f"{name} ({place})" if name else place
        fault = "" if verdict.mode is FaultMode.UNKNOWN else f"{verdict.mode} fault, "
        message = f"Memory at {where}: {fault}{advice} ({why})"
        urgent = verdict.advice in (Advice.REPLACE, Advice.CHANNEL)
        if urgent:
            self._text.write(message + "\n")
        self._send(
            message_ids.MEMORY_DIAGNOSED,
            message,
            4 if urgent else 5,
            MCE_LOCATION=place,
            MCE_FAULT=verdict.mode.value,
            MCE_ADVICE=verdict.advice.value,
            MCE_REASON=why,
            MCE_DIMM_LABEL=name,
        )

    def replaced(self, past: Past) -> None:
        """Another DIMM sits in a slot."""
        place = fault_place(past.key)
        told = f"{past.corrected} corrected and {past.uncorrected} uncorrected errors"
        message = f"DIMM at {place} was replaced ({past.why}); the old one had {told}"
        self._text.write(message + "\n")
        self._send(
            message_ids.DIMM_REPLACED,
            message,
            5,
            MCE_LOCATION=place,
            MCE_REASON=past.why,
            MCE_DIMM_LABEL=past.part.label,
        )

    def trigger_begins(self, trigger: Trigger) -> None:
        self._text.write(f"Running trigger `{trigger.path}' (reporter: {trigger.reporter})\n")

    def trigger_ended(self, result: Result) -> None:
        """A trigger has ended, or was not run at all; the journal holds what it printed."""
        name = result.trigger.path
        for line in result.output:
            self._send(message_ids.TRIGGER_OUTPUT, line, 6, MCE_TRIGGER=name)
        if result.ok:
            message = f"Trigger {name} was run ({result.seconds:.1f} s)"
            self._send(message_ids.TRIGGER_RUN, message, 6, MCE_TRIGGER=name)
            return
        message = f"Trigger {name} failed: {result.error}"
        self._text.write(message + "\n")
        self._send(message_ids.TRIGGER_FAILED, message, 4, MCE_TRIGGER=name, MCE_ERROR=result.error)

    def page_done(self, done: PageDone) -> None:
        """A page was taken out of use, or could not be."""
        result = done.result
        fields = {
            "MCE_PAGE": f"{result.address:#x}",
            "MCE_PAGE_ACTION": result.how.value,
            "MCE_COUNT": str(done.errors),
        }
        if result.ok:
            note = f" ({result.reason})" if result.reason else ""
            message = f"Page {result.address:#x} was {result.how} off-lined{note}"
            self._text.write(f"Offlining page {result.address:x}\n")
            self._send(message_ids.PAGE_OFFLINED, message, 5, **fields)
            return
        message = f"Page {result.address:#x} was not off-lined: {result.reason}"
        self._text.write(f"Offlining page {result.address:x} failed: {result.reason}\n")
        self._send(message_ids.PAGE_OFFLINE_FAILED, message, 4, MCE_ERROR=result.reason, **fields)

    def reset(self, what: str, uid: int) -> None:
        """Counters were set to zero."""
        message = f"The counters of {what} were set to zero by user {uid}"
        self._text.write(message + "\n")
        self._send(message_ids.COUNTERS_RESET, message, 5, MCE_OBJECT=what, MCE_USER=str(uid))

    def self_tested(self, *, ok: bool, result: str) -> None:
        """A self test was made."""
        message = f"Self test of mcelog: {result}"
        self._text.write(message + "\n")
        self._send(message_ids.SELF_TEST, message, 6 if ok else 3, MCE_RESULT=result)

    def acquitted(self, place: str, uid: int) -> None:
        """Someone says that a DIMM is sound."""
        message = f"The DIMM at {place} was said to be sound; its thresholds and its diagnosis begin anew"
        self._text.write(message + "\n")
        self._send(message_ids.DIMM_ACQUITTED, message, 5, MCE_LOCATION=place, MCE_USER=str(uid))

    def _memory_crossed(self, crossing: Crossing) -> None:
        level = seen(crossing.counter.bucket, crossing.rate)
        message = f"{memory_message(crossing)}: {level}"
        location = location_of(crossing.errors)
        if self._is_repeated(f"{location} {crossing.is_corrected}"):
            return
        if self.logged.memory(crossing):
            self._text.write(f"{message}\nLocation {location}\n")
        self._exceeded(message, location, str(crossing.rate), crossing.counter.total)

    def _page_crossed(self, crossing: PageCrossing) -> None:
        page = crossing.page
        if self._is_repeated(f"page {page.address:#x}"):
            return
        level = seen(page.bucket, crossing.rate)
        message = f"Corrected memory errors on page {page.address:x} exceed threshold {level}"
        if self.logged.page:
            self._text.write(message + "\n")
        self._exceeded(message, f"page {page.address:#x}", str(crossing.rate), page.total)

    def _counters_replaced(self, crossing: ReplacementCrossing) -> None:
        if self._is_repeated("page counters"):
            return
        level = seen(crossing.bucket, crossing.rate)
        message = f"Replacements of page correctable error counter exceed threshold {level}"
        if self.logged.replacement:
            self._text.write(message + "\n")
        self._exceeded(message, "page counters", str(crossing.rate), crossing.total)

    def _core_crossed(self, crossing: CoreCrossing) -> None:
        core = crossing.errors
        if self._is_repeated(f"CPU {core.key.cpu}"):
            return
        level = seen(core.bucket, crossing.rate)
        message = f"Corrected {crossing.kind} errors of CPU {core.key.cpu} exceed threshold {level}"
        if self.logged.core:
            self._text.write(message + "\n")
        self._exceeded(message, f"CPU {core.key.cpu}", str(crossing.rate), core.total)

    def _row_crossed(self, crossing: RowCrossing) -> None:
        where = f"row {crossing.row:#x} of bank {crossing.bank}"
        place = fault_place(crossing.key)
        message = f"Corrected memory errors on {where} exceed its threshold; pages: {len(crossing.pages)}"
        self._exceeded(message, f"{place} {where}", "", len(crossing.pages))

    def _is_repeated(self, location: str) -> bool:
        """Whether this was told lately, in a storm: there it would be crossed again with every few errors."""
        now = self._clock()
        last = self._crossed.get(location)
        if not self._is_told and last is not None and 0 <= now - last < self._storms.summary_seconds:
            return True
        if len(self._crossed) > MOST_CROSSED:
            self._crossed.clear()
        self._crossed[location] = now
        return False

    def _exceeded(self, message: str, location: str, threshold: str, count: int) -> None:
        self._send(
            message_ids.THRESHOLD_EXCEEDED,
            f"{message} ({location})",
            4,
            MCE_LOCATION=location,
            MCE_THRESHOLD=threshold or "row-ce-threshold",
            MCE_COUNT=str(count),
        )

    def _storm_begun(self, event: Event, labels: Sequence[str | None], *, is_mixed: bool) -> None:
        what = "Errors of many kinds" if is_mixed else f"Errors like this ({report.summary(event, labels)})"
        message = f"{what} come too fast to log each; they are summed up from here on"
        self._text.write(message + "\n")
        self._send(message_ids.STORM_BEGUN, message, 4)

    def _summed_up(self, summary: Summary) -> None:
        event = summary.event
        what = "errors of many kinds" if summary.mixed else report.summary(event, self._labels(event))
        seconds = f"{summary.seconds:.0f}"
        if summary.suppressed:
            message = f"{summary.suppressed} more in {seconds} seconds: {what}"
            self._text.write(message + "\n")
            self._send(
                message_ids.STORM_GOES_ON, message, 4, MCE_COUNT=str(summary.suppressed), MCE_SECONDS=seconds
            )
        if summary.ended:
            message = f"The storm has ended after {summary.total} errors that were not logged each: {what}"
            self._text.write(message + "\n")
            self._send(
                message_ids.STORM_ENDED,
                message,
                5,
                MCE_COUNT=str(summary.total),
                MCE_SECONDS=f"{summary.lasted:.0f}",
            )

    def _send(self, message_id: str, message: str, priority: int, **fields: str) -> None:
        known = {name: value for name, value in fields.items() if value}
        self._journal({"MESSAGE": message, "MESSAGE_ID": message_id, "PRIORITY": str(priority), **known})
