# SPDX-License-Identifier: GPL-2.0-only
"""The leaky bucket behind every threshold.

A rate of `10 / 24h` means: 10 errors within a day cross the threshold. The
bucket fills by one for each error and leaks its capacity once per period.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from mcelogd.rate import Rate


class Bucket:
    """One bucket's level.

    `count` is the level, `excess` what overflowed within the current period,
    `stamp` the time of the last leak in seconds since the epoch.
    """

    __slots__ = ("count", "excess", "stamp")

    def __init__(self, stamp: int, count: int = 0, excess: int = 0) -> None:
        self.stamp = stamp
        self.count = count
        self.excess = excess

    @property
    def seen(self) -> int:
        """Errors of the current period."""
        return self.count + self.excess

    def age(self, rate: Rate, now: int, multiplier: int = 1) -> None:
        """Leak what has leaked by `now`; a clock that went backwards leaks nothing."""
        elapsed = now - self.stamp
        if elapsed < rate.agetime:
            return
        leaked = int(elapsed / rate.agetime * rate.capacity * multiplier)
        self.stamp = now
        self.count = max(0, self.count - leaked)
        self.excess = 0

    def add(self, rate: Rate, errors: int, now: int, multiplier: int = 1) -> bool:
        """Count `errors` at `now`; True when that crosses `multiplier` times the rate's capacity."""
        self.age(rate, now, multiplier)
        self.count += errors
        if self.count < rate.capacity * multiplier:
            return False
        self.excess += self.count
        self.count = 0
        return True
