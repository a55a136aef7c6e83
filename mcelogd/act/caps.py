# SPDX-License-Identifier: GPL-2.0-only
"""How many pages may be taken out of use: a fault of a whole channel must not eat the memory. Pure."""

from __future__ import annotations

import json
from typing import NamedTuple

PAGE_SIZE = 4096
DAY = 24 * 60 * 60

MOST_TIMES = 4096
"""Times of off-linings that are remembered, where no number of pages a day limits them."""


class Limits(NamedTuple):
    """Most pages in 24 hours, most since the boot, and most as a share of all memory; 0: any number."""

    per_day: int = 32
    in_all: int = 512
    share: float = 0.001


class Memory(NamedTuple):
    """MemTotal and HardwareCorrupted of /proc/meminfo, in bytes."""

    total: int
    corrupted: int


class OfflineCaps:
    """Counts the pages taken out of use and says when it is enough.

    The day goes on over a reboot, so that a machine that reboots in circles
    does not lose its memory in them; the sum starts anew, as the kernel's does.
    """

    def __init__(self, limits: Limits) -> None:
        self.limits = limits
        self.taken = 0
        """Pages since the boot."""
        self._times: list[int] = []

    def refusal(self, now: int, memory: Memory | None, *, again: bool = False) -> str:
        """Why one more page may not be taken at `now`; empty if it may.

        `again` is for a page that an earlier boot had taken: it is no news, so
        the day's number does not apply. `memory` is None where unknown.
        """
        limits = self.limits
        self._forget_old(now)
        if limits.per_day and not again and len(self._times) >= limits.per_day:
            return f"{limits.per_day} pages were off-lined in 24 hours, which is memory-offline-max-per-day"
        if limits.in_all and self.taken >= limits.in_all:
            return f"{limits.in_all} pages were off-lined since the boot, which is memory-offline-max"
        if limits.share and memory is not None and self._exceeds(memory):
            return f"{100 * limits.share:g} % of memory are off-lined, which is memory-offline-max-share"
        return ""

    def count(self, now: int, *, again: bool = False) -> None:
        """One page was taken."""
        self.taken += 1
        if not again:
            self._times = [*self._times, now][-MOST_TIMES:]

    def save(self, boot: str) -> str:
        """The state as JSON; `boot` is what tells this boot from others."""
        return json.dumps({"boot": boot, "taken": self.taken, "times": self._times}, separators=(",", ":"))

    def restore(self, text: str, boot: str) -> bool:
        """Take over a state that save() wrote; False, and nothing is changed, if it is damaged."""
        try:
            state = json.loads(text)
            saved_boot, taken, times = state["boot"], state["taken"], state["times"]
        except (ValueError, TypeError, KeyError, RecursionError):
            return False
        if not isinstance(times, list) or not all(type(number) is int for number in (taken, *times)):
            return False
        self.taken = max(0, taken) if saved_boot == boot else 0
        self._times = times[-MOST_TIMES:]
        return True

    def _forget_old(self, now: int) -> None:
        """Keep the times of the last 24 hours.

        A time to come is that of a clock which went back since. It becomes
        now, else it would count for as long as the clock is behind.
        """
        self._times = [min(time, now) for time in self._times if now - time < DAY]

    def _exceeds(self, memory: Memory) -> bool:
        gone = max(self.taken * PAGE_SIZE, memory.corrupted)
        return gone + PAGE_SIZE > self.limits.share * memory.total
