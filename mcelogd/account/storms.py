# SPDX-License-Identifier: GPL-2.0-only
"""Storms: of errors that are all the same, which are told one by one and which only as a number.

Errors are the same if their kind, severity, error code, bank, socket and place
are: the DIMM of a memory error, the CPU of any other; whatever their addresses
and times. More than the threshold's count within its time begin a storm. From
then on they are summed up, until no more than that count come within such a
time. Counters are not concerned: all errors are counted by others.

Because a thousand different errors flood a log too, the errors told of all
together have a limit, OVERALL_FACTOR times the threshold's: what exceeds it is
summed up as one mixed storm. The first error of its own sort is told even
then. Errors that lost data (deferred ones and worse) have limits of their own,
UNCORRECTED_FACTOR times as high, which corrected ones cannot use up.

Each event is told by itself or is part of exactly one Summary, once finish()
was called.

Times are seconds of any clock that does not jump, as time.monotonic(). One
that does shortens or lengthens a storm; nothing is lost.
"""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.event import Kind
from mcelogd.rate import NEVER

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    from mcelogd.event import Event, Location
    from mcelogd.rate import Rate

OVERALL_FACTOR = 10
UNCORRECTED_FACTOR = 10

MOST_KEYS = 1024
"""Sorts of errors that are told apart at a time; more are one mixed sort."""


class Verdict(enum.Enum):
    """What to do about an event.

    BEGIN: tell it, and that those like it are summed up from now on;
    BEGIN_MIXED: the same of errors of all sorts. SUPPRESS: a Summary will count it.
    """

    TELL = enum.auto()
    BEGIN = enum.auto()
    BEGIN_MIXED = enum.auto()
    SUPPRESS = enum.auto()

    @property
    def is_told(self) -> bool:
        return self is not Verdict.SUPPRESS


class Summary(NamedTuple):
    """`suppressed` events like `event`, the last of them, came within `seconds` and were not told.

    `ended`: the storm is over, after `total` events that were not told in
    `lasted` seconds. `mixed`: they were of different sorts.
    """

    event: Event
    suppressed: int
    seconds: float
    ended: bool
    mixed: bool
    total: int
    lasted: float


class Storm:
    """One that goes on: what was not told since the last summary, and how fast events come."""

    __slots__ = ("began", "event", "mixed", "suppressed", "told", "total")

    def __init__(self, event: Event, now: float, *, mixed: bool) -> None:
        self.event = event
        self.mixed = mixed
        self.began = now
        self.told = now
        self.suppressed = 0
        self.total = 0

    def suppress(self, event: Event) -> Verdict:
        self.event = event
        self.suppressed += 1
        self.total += 1
        return Verdict.SUPPRESS

    def sum_up(self, now: float, *, ended: bool) -> Summary:
        """What was not told since the last call."""
        suppressed, self.suppressed = self.suppressed, 0
        since, self.told = self.told, now
        return Summary(
            self.event,
            suppressed,
            max(0.0, now - since),
            ended,
            self.mixed,
            self.total,
            max(0.0, now - self.began),
        )


class Sort:
    """Events that share a limit: how many came since `since`, and their storm if there is one."""

    __slots__ = ("count", "limit", "mixed", "since", "storm")

    def __init__(self, limit: int, now: float, *, mixed: bool = False) -> None:
        self.limit = limit
        self.mixed = mixed
        self.since = now
        self.count = 0
        self.storm: Storm | None = None

    def count_one(self, now: float, seconds: float) -> None:
        """Count an event that is told in any case."""
        if _is_over(self.since, seconds, now):
            self._begin_period(now)
        self.count += 1

    def take(self, event: Event, now: float, seconds: float) -> Verdict:
        """Count an event and say what to do about it."""
        self.count_one(now, seconds)
        if self.storm is not None:
            return self.storm.suppress(event)
        if self.count <= self.limit:
            return Verdict.TELL
        self.storm = Storm(event, now, mixed=self.mixed)
        # Whether it goes on is for those to say that follow.
        self._begin_period(now)
        return Verdict.BEGIN_MIXED if self.mixed else Verdict.BEGIN

    def due(self, now: float, seconds: float, summary_seconds: float) -> Summary | None:
        """The storm's summary, if it is time; at its end there always is one."""
        if self.storm is None:
            return None
        if _is_over(self.since, seconds, now):
            if self.count <= self.limit:
                return self.end(now)
            self._begin_period(now)
        if not _is_over(self.storm.told, summary_seconds, now):
            return None
        summary = self.storm.sum_up(now, ended=False)
        return summary if summary.suppressed else None

    def end(self, now: float) -> Summary | None:
        """The last summary of the storm, if there is one."""
        storm, self.storm = self.storm, None
        return None if storm is None else storm.sum_up(now, ended=True)

    def _begin_period(self, now: float) -> None:
        self.since = now
        self.count = 0


class Storms:
    """Decides for each event whether it is told.

    `threshold` is how many events of a sort are told in its time; rate.NEVER
    tells all. `summary_seconds` is how often a storm is summed up. At most
    `keys_limit` sorts are told apart.
    """

    def __init__(self, threshold: Rate, summary_seconds: float = 60, keys_limit: int = MOST_KEYS) -> None:
        self.summary_seconds = summary_seconds
        self.keys_limit = keys_limit
        self._capacity = threshold.capacity
        self._seconds = threshold.agetime
        self._is_off = threshold.capacity >= NEVER.capacity
        self._calm: OrderedDict[Hashable, Sort] = OrderedDict()
        self._stormy: dict[Hashable, Sort] = {}
        self._overall = {
            is_corrected: Sort(OVERALL_FACTOR * self._limit(is_corrected=is_corrected), 0, mixed=True)
            for is_corrected in (True, False)
        }

    def take(self, event: Event, now: float) -> Verdict:
        """What to do about an event that comes at `now`.

        If next_due() has come, call due() first: it may end a storm.
        """
        if self._is_off:
            return Verdict.TELL
        overall = self._overall[event.severity.is_corrected]
        key = key_of(event)
        sort = self._stormy.get(key) or self._calm.get(key)
        if sort is None:
            return self._take_first(event, key, now)
        verdict = sort.take(event, now, self._seconds)
        if verdict is Verdict.BEGIN:
            self._stormy[key] = self._calm.pop(key)
        elif verdict is Verdict.TELL:
            self._calm.move_to_end(key)
            verdict = overall.take(event, now, self._seconds)
        return verdict

    def due(self, now: float) -> list[Summary]:
        """The summaries for which it is time."""
        summaries = [sort.due(now, self._seconds, self.summary_seconds) for sort in self._storming()]
        self._calm_down()
        return [summary for summary in summaries if summary is not None]

    def next_due(self) -> float | None:
        """When to call due(); None while there is no storm. Only due(), and take()
        where a storm begins, change that."""
        return min((self._due_time(sort) for sort in self._storming()), default=None)

    def finish(self, now: float) -> list[Summary]:
        """End all storms: the last summaries."""
        summaries = [sort.end(now) for sort in self._storming()]
        self._calm_down()
        return [summary for summary in summaries if summary is not None]

    def _take_first(self, event: Event, key: Hashable, now: float) -> Verdict:
        """The first event of its sort for a while; it is told as long as there is room to remember it."""
        is_corrected = event.severity.is_corrected
        overall = self._overall[is_corrected]
        if not self._has_room(now):
            return overall.take(event, now, self._seconds)
        overall.count_one(now, self._seconds)
        sort = self._calm[key] = Sort(self._limit(is_corrected=is_corrected), now)
        return sort.take(event, now, self._seconds)

    def _has_room(self, now: float) -> bool:
        """Whether one more sort can be remembered; one that had its time without a storm is forgotten."""
        if len(self._calm) + len(self._stormy) < self.keys_limit:
            return True
        oldest = next(iter(self._calm), None)
        if oldest is None or not _is_over(self._calm[oldest].since, self._seconds, now):
            return False
        del self._calm[oldest]
        return True

    def _limit(self, *, is_corrected: bool) -> int:
        return self._capacity * (1 if is_corrected else UNCORRECTED_FACTOR)

    def _storming(self) -> Iterator[Sort]:
        yield from self._stormy.values()
        yield from (sort for sort in self._overall.values() if sort.storm is not None)

    def _calm_down(self) -> None:
        self._stormy = {key: sort for key, sort in self._stormy.items() if sort.storm is not None}

    def _due_time(self, sort: Sort) -> float:
        assert sort.storm is not None
        return min(sort.since + self._seconds, sort.storm.told + self.summary_seconds)


def key_of(event: Event) -> Hashable:
    """What events have in common that are the same error again."""
    record, finding = event.record, event.finding
    what = (event.kind, event.severity, finding.what, record.bank, record.socketid)
    if event.kind is Kind.MEMORY:
        return (*what, *(_dimm(location) for location in finding.locations))
    return (*what, record.cpu)


def _dimm(location: Location) -> tuple[int | None, ...]:
    return (
        location.die,
        location.memory_controller,
        location.channel,
        location.dimm,
        location.chip_select,
    )


def _is_over(since: float, seconds: float, now: float) -> bool:
    """Whether `seconds` have passed; a clock that went backwards begins anew.

    By the same sum as in _due_time(), so that what is due then is over then, however it is rounded.
    """
    return now < since or now >= since + seconds
