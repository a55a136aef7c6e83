# SPDX-License-Identifier: GPL-2.0-only
"""Corrected errors per 4 KiB page of memory."""

from __future__ import annotations

import enum
from collections import OrderedDict
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account.bucket import Bucket
from mcelogd.decode import physical_address
from mcelogd.event import Kind

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcelogd.event import Event
    from mcelogd.rate import Rate

PAGE_SIZE = 4096


class PageState(enum.StrEnum):
    """Whether the kernel still uses the page."""

    ONLINE = "online"
    OFFLINE = "offline"
    OFFLINE_FAILED = "offline-failed"


class PageErrors:
    """The counter of one page; `address` is its first byte."""

    __slots__ = ("address", "bucket", "multiplier", "state", "total", "triggered")

    def __init__(self, address: int, bucket: Bucket, total: int = 0) -> None:
        self.address = address
        self.bucket = bucket
        self.total = total
        self.state = PageState.ONLINE
        self.triggered = False
        self.multiplier = 1


class PageCrossing(NamedTuple):
    """A page whose corrected errors crossed the threshold."""

    page: PageErrors
    rate: Rate
    time: int


class PageTable:
    """The pages with corrected errors: at most `limit`, the least recently hit makes room."""

    def __init__(self, rate: Rate, limit: int) -> None:
        self.rate = rate
        self.limit = max(1, limit)
        self.replaced = 0
        self._pages: OrderedDict[int, PageErrors] = OrderedDict()
        self._changed: dict[int, PageErrors] = {}
        self._removed: set[int] = set()

    def __len__(self) -> int:
        return len(self._pages)

    def __iter__(self) -> Iterator[PageErrors]:
        """In the order of addresses."""
        return (self._pages[address] for address in sorted(self._pages))

    def account(self, event: Event, now: int) -> list[PageCrossing]:
        """Count a corrected memory error that has an address; the crossing, if it is one.

        An error of several DIMMs counts once for each of them.
        """
        if event.kind is not Kind.MEMORY or not event.severity.is_corrected:
            return []
        address = physical_address(event.record, event.cpu_type)
        if address is None:
            return []
        page = self._page(address & ~(PAGE_SIZE - 1), now)
        return [crossing for _ in event.finding.locations for crossing in self._add(page, event.record.time)]

    def take_changed(self) -> tuple[list[PageErrors], list[int]]:
        """The pages that changed and the addresses that were dropped since the last call."""
        changed = (list(self._changed.values()), sorted(self._removed))
        self._changed.clear()
        self._removed.clear()
        return changed

    def restore(self, pages: Iterable[PageErrors]) -> None:
        """Take over pages that were saved, least recently hit first."""
        for page in pages:
            self._pages[page.address] = page

    def _page(self, address: int, now: int) -> PageErrors:
        page = self._pages.get(address)
        if page is None:
            if len(self._pages) >= self.limit:
                self._drop_oldest()
            page = self._pages[address] = PageErrors(address, Bucket(now))
            self._removed.discard(address)
        else:
            self._pages.move_to_end(address)
        return page

    def _drop_oldest(self) -> None:
        address, _ = self._pages.popitem(last=False)
        self._changed.pop(address, None)
        self._removed.add(address)
        self.replaced += 1

    def _add(self, page: PageErrors, now: int) -> list[PageCrossing]:
        self._changed[page.address] = page
        page.total += 1
        if not page.bucket.add(self.rate, 1, now, page.multiplier) or page.state is not PageState.ONLINE:
            return []
        page.triggered = True
        return [PageCrossing(page, self.rate, now)]
