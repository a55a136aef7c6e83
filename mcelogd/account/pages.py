# SPDX-License-Identifier: GPL-2.0-only
"""Corrected errors per 4 KiB page of memory."""

from __future__ import annotations

import contextlib
import enum
import json
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account.bucket import Bucket, natural
from mcelogd.account.duplicates import is_sandy_bridge_copy
from mcelogd.account.memory import Counter
from mcelogd.decode import physical_address
from mcelogd.event import NOWHERE, Kind
from mcelogd.rate import NEVER
from mcelogd.report import page_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from mcelogd.event import Event, Location
    from mcelogd.rate import Rate

PAGE_SIZE = 4096

LARGEST_MULTIPLIER = 128
"""Of the threshold, after 7 failures to off-line a page: it doubles no further. (The C program's overflows
to 0 at the 8th, after which each error is a try.)"""

REPLACEMENTS = ("page-replacements", "all")
"""Kind and name of the one object in the store that counts replaced pages."""


class PageState(enum.StrEnum):
    """Whether the kernel still uses the page."""

    ONLINE = "online"
    OFFLINE = "offline"
    OFFLINE_FAILED = "offline-failed"


class PageErrors:
    """The counter of one page; `address` is its first byte.

    `reason` says why `state` is what it is: how it was off-lined ("soft",
    "hard"), or what was in the way; empty for a page nothing was done to.
    `since` is when `state` became what it is, in seconds since the epoch, 0 if
    it always was. `pending`: it is being taken off line, and crosses no more
    until that has come to its end.
    """

    __slots__ = (
        "address",
        "bucket",
        "multiplier",
        "pending",
        "reason",
        "since",
        "state",
        "total",
        "triggered",
    )

    def __init__(self, address: int, bucket: Bucket, total: int = 0) -> None:
        self.address = address
        self.bucket = bucket
        self.total = total
        self.state = PageState.ONLINE
        self.reason = ""
        self.since = 0
        self.triggered = False
        self.pending = False
        self.multiplier = 1


class PageCrossing(NamedTuple):
    """A page whose corrected errors crossed the threshold, and which is not off line as far as is known.

    `location` is where the error was that crossed it. `exact` says that its
    address names that page and no other: only then may the page be off-lined.
    """

    page: PageErrors
    rate: Rate
    time: int
    location: Location = NOWHERE
    exact: bool = False


class ReplacementCrossing(NamedTuple):
    """Too many pages lost their counters to others: there are more failing pages than are counted."""

    counter: Counter
    rate: Rate
    time: int

    @property
    def bucket(self) -> Bucket:
        return self.counter.bucket

    @property
    def total(self) -> int:
        """Replacements since the store was made."""
        return self.counter.total


class Replacements:
    """How often a page's counter made room for another's."""

    def __init__(self, rate: Rate) -> None:
        self.rate = rate
        self.counter = Counter(Bucket(0))
        self._is_changed = False

    def count(self, time: int, now: int) -> list[ReplacementCrossing]:
        """One replacement, by an error at `time`; the crossing, if it is one."""
        self._is_changed = True
        self.counter.total += 1
        if not self.counter.bucket.add(self.rate, 1, time, clock=now):
            return []
        return [ReplacementCrossing(self.counter, self.rate, time)]

    def take_changed(self) -> dict[tuple[str, str], str | None]:
        """The object that restore() reads, if it changed since the last call."""
        if not self._is_changed:
            return {}
        self._is_changed = False
        state = {"total": self.counter.total, **self.counter.bucket.as_state()}
        return {REPLACEMENTS: json.dumps(state)}

    def restore(self, objects: Mapping[tuple[str, str], str]) -> None:
        """Take over what was saved; a damaged object is as good as none."""
        with contextlib.suppress(AttributeError, LookupError, RecursionError, TypeError, ValueError):
            state = json.loads(objects[REPLACEMENTS])
            self.counter = Counter(Bucket.from_state(state), natural(state, "total"))


class PageTable:
    """The pages with corrected errors: at most `limit`, the least recently hit makes room.

    Pages that are off line stay as long as there is any other to make room:
    they are how an administrator sees what was done. `retry` lets a page that
    could not be off-lined cross again, at twice the errors each time.
    """

    def __init__(
        self, rate: Rate, limit: int, *, retry: bool = False, replacement_rate: Rate = NEVER
    ) -> None:
        self.rate = rate
        self.limit = max(1, limit)
        self.retry = retry
        self.replacements = Replacements(replacement_rate)
        self._pages: OrderedDict[int, PageErrors] = OrderedDict()
        self._in_order: list[int] | None = None
        """The addresses, sorted; None if that has to be done anew."""
        self._changed: dict[int, PageErrors] = {}
        self._removed: set[int] = set()

    def __len__(self) -> int:
        return len(self._pages)

    def __iter__(self) -> Iterator[PageErrors]:
        """In the order of addresses."""
        return (self._pages[address] for address in self._addresses())

    def slice(self, offset: int, limit: int) -> list[PageErrors]:
        """At most `limit` pages after the first `offset`, in the order of addresses."""
        return [self._pages[address] for address in self._addresses()[offset : offset + limit]]

    def find(self, address: int) -> PageErrors | None:
        """The page that holds `address`, if it is counted."""
        return self._pages.get(_first_byte(address))

    def get(self, address: int, now: int) -> PageErrors:
        """The page that holds `address`, counted from now on if it was not."""
        return self.find(address) or self._put(PageErrors(_first_byte(address), Bucket(now)))

    def account(self, event: Event, now: int) -> list[PageCrossing | ReplacementCrossing]:
        """Count a corrected memory error that has an address; what crossed, in order.

        An error of several DIMMs counts once for each of them. Errors of a page
        that is off line are counted too, and cross no more.
        """
        address = _counted_address(event)
        if address is None:
            return []
        time = event.record.time
        is_full = len(self._pages) >= self.limit and self.find(address) is None
        crossed: list[PageCrossing | ReplacementCrossing] = []
        crossed += self.replacements.count(time, now) if is_full else []
        page = self.get(address, now)
        for location in event.finding.locations or (NOWHERE,):
            if self._count(page, time, now):
                exact = page_of(event) is not None
                crossed.append(PageCrossing(page, self.rate, time, location, exact))
        return crossed

    def set_state(self, page: PageErrors, state: PageState, reason: str, now: int) -> None:
        """Note what became of a page at `now`; one whose counter was replaced meanwhile is counted again."""
        page = self.find(page.address) or self._put(page)
        if state is not page.state:
            page.since = now
        if state is PageState.OFFLINE_FAILED and self.retry:
            page.multiplier = min(2 * page.multiplier, LARGEST_MULTIPLIER)
        page.state = state
        page.reason = reason
        page.pending = False
        self._touch(page)

    def take_changed(self) -> tuple[list[PageErrors], list[int]]:
        """The pages that changed since the last call, in the order in which they make room, and the
        addresses that were dropped."""
        changed = (list(self._changed.values()), sorted(self._removed))
        self._changed.clear()
        self._removed.clear()
        return changed

    def restore(self, pages: Iterable[PageErrors]) -> None:
        """Take over pages that were saved, least recently touched first."""
        for page in pages:
            page.multiplier = min(max(1, page.multiplier), LARGEST_MULTIPLIER)
            self._put(page)

    def seen(self, page: PageErrors, now: int) -> int:
        """The page's errors of the period that `now` is in."""
        return page.bucket.seen_at(self.rate, now, page.multiplier)

    def _addresses(self) -> list[int]:
        """Who lists a hundred thousand pages part by part would else have them sorted for each part."""
        if self._in_order is None:
            self._in_order = sorted(self._pages)
        return self._in_order

    def _put(self, page: PageErrors) -> PageErrors:
        if page.address not in self._pages:
            self._in_order = None
            if len(self._pages) >= self.limit:
                self._drop_one()
        self._removed.discard(page.address)
        self._pages[page.address] = page
        return page

    def _drop_one(self) -> None:
        pages = self._pages.values()
        page = next((page for page in pages if page.state is not PageState.OFFLINE), next(iter(pages)))
        del self._pages[page.address]
        self._changed.pop(page.address, None)
        self._removed.add(page.address)

    def _touch(self, page: PageErrors) -> None:
        """The page is the last to make room, here and, by its place in take_changed(), after a restart."""
        self._pages.move_to_end(page.address)
        self._changed.pop(page.address, None)
        self._changed[page.address] = page

    def _count(self, page: PageErrors, time: int, now: int) -> bool:
        """Whether one more error crosses the threshold and something can be done about the page."""
        self._touch(page)
        page.total += 1
        if not page.bucket.add(self.rate, 1, time, page.multiplier, clock=now):
            return False
        has_failed = page.state is PageState.OFFLINE_FAILED
        if page.pending or page.state is PageState.OFFLINE or (has_failed and not self.retry):
            return False
        page.triggered = True
        return True


def _first_byte(address: int) -> int:
    return address & ~(PAGE_SIZE - 1)


def _counted_address(event: Event) -> int | None:
    """The address an error is counted for; as in the C program it need not be exact."""
    if event.kind is not Kind.MEMORY or not event.severity.is_corrected or is_sandy_bridge_copy(event):
        return None
    return physical_address(event.record, event.cpu_type)
