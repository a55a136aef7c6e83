# SPDX-License-Identifier: GPL-2.0-only
"""What errors leave behind: in a cell, in a row, and in time."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.account.bucket import Bucket

if TYPE_CHECKING:
    from mcelogd.rate import Rate

MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR

STORMS = 2
"""So many storms within STORM_WINDOW tell against a DIMM."""
STORM_WINDOW = 5 * DAY
STORM_PAUSE = MINUTE
"""Longest time between two errors of a storm."""
STORM_BREAK = HOUR
"""After less than that another storm is still the same."""


class Cell:
    """The corrected errors of one CellKey; `device` and `page` are those of the last that had one.

    `is_shared`: reported together with another DIMM's, one error of a pair.
    """

    __slots__ = ("count", "device", "first", "is_shared", "last", "page")

    def __init__(self, time: int, *, is_shared: bool) -> None:
        self.first = time
        self.last = time
        self.count = 0
        self.device: int | None = None
        self.page: int | None = None
        self.is_shared = is_shared


class Row:
    """A DRAM row with corrected errors, and the pages of memory they were in.

    `pages` says of a page whether it was announced. `column` had the last
    error, at `column_time`; another one had its last at `other_time`.
    """

    __slots__ = ("bucket", "cells", "column", "column_time", "is_failing", "other_time", "pages")

    def __init__(self, time: int) -> None:
        self.bucket = Bucket(time)
        self.cells = 0
        self.column: int | None = None
        self.column_time = time
        self.other_time: int | None = None
        self.is_failing = False
        self.pages: dict[int, bool] = {}

    def hit(self, column: int | None, page: int | None, time: int, rate: Rate, most_pages: int) -> None:
        """Count an error; of the row's pages the first `most_pages` are remembered."""
        self.bucket.add(rate, 1, time)
        if column != self.column:
            if self.column is not None:
                self.other_time = self.column_time
            self.column = column
        self.column_time = time
        if page is not None and page not in self.pages and len(self.pages) < most_pages:
            self.pages[page] = False

    def take_new_pages(self, time: int, rate: Rate) -> list[int]:
        """The pages to announce: none until errors in two columns cross the threshold, each of them once."""
        if not self.is_failing:
            has_two = self.other_time is not None and time - self.other_time < rate.agetime
            self.is_failing = has_two and self.bucket.seen >= rate.capacity
        if not self.is_failing:
            return []
        new = [page for page, announced in self.pages.items() if not announced]
        self.pages.update(dict.fromkeys(new, True))
        return new

    def set_back(self, now: int) -> None:
        """Nothing was later than now."""
        self.bucket.stamp = min(self.bucket.stamp, now)
        self.column_time = min(self.column_time, now)
        self.other_time = None if self.other_time is None else min(self.other_time, now)


class Storms:
    """Corrected errors in close succession: `run` of them since `start`, the last at `last`.

    `ends` are the times of the last errors of the last storms.
    """

    __slots__ = ("ends", "last", "run", "start")

    def __init__(self) -> None:
        self.run = 0
        self.start = 0
        self.last = 0
        self.ends: list[int] = []

    def hit(self, time: int, enough: int) -> bool:
        """Count an error; True when with it a storm begins."""
        if time - self.last > STORM_PAUSE:
            self.run = 0
            self.start = time
        self.run += 1
        self.last = time
        if self.run < enough:
            return False
        if self.ends and self.start - self.ends[-1] <= STORM_BREAK:
            self.ends[-1] = time
            return False
        self.ends = [*self.ends[1 - STORMS :], time]
        return True

    def set_back(self, now: int) -> None:
        """Nothing was later than now."""
        self.start = min(self.start, now)
        self.last = min(self.last, now)
        self.ends = [min(end, now) for end in self.ends]

    def count(self, time: int) -> int:
        """How many there were lately, STORMS at the most."""
        return sum(time - end < STORM_WINDOW for end in self.ends)
