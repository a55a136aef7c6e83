# SPDX-License-Identifier: GPL-2.0-only
"""The leaky bucket behind every threshold.

A rate of `10 / 24h` means: 10 errors within a day cross the threshold. The
bucket fills by one for each error and leaks its capacity once per period.
Time is seconds since the epoch, as records have it: no time zone, no DST.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

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

    def age(self, rate: Rate, now: int, multiplier: int = 1, *, clock: int | None = None) -> None:
        """Leak what has leaked by `now`; time that goes backwards leaks nothing.

        As long as no rate changes, a leak empties the bucket: it comes after a
        whole period, and a level of the capacity or more is not kept.

        `clock` is what the clock shows. Where it is given, a stamp it has not
        reached yet and that is more than a period ahead is known to be wrong
        (the clock was set back, or a record was damaged): the period begins
        anew, for else nothing would leak until that time has come.
        """
        elapsed = now - self.stamp
        if clock is not None and elapsed <= -rate.agetime and self.stamp > clock:
            self.stamp = now
        elif elapsed >= rate.agetime:
            self.count = self.seen_at(rate, now, multiplier)
            self.stamp = now
            self.excess = 0

    def seen_at(self, rate: Rate, now: int, multiplier: int = 1) -> int:
        """Errors of the period that `now` is in; nothing leaks by looking."""
        elapsed = now - self.stamp
        if elapsed < rate.agetime:
            return self.seen
        return max(0, self.count - elapsed * rate.capacity * multiplier // rate.agetime)

    def add(
        self, rate: Rate, errors: int, now: int, multiplier: int = 1, *, clock: int | None = None
    ) -> bool:
        """Count `errors` at `now`; True when that crosses `multiplier` times the rate's capacity.

        For `clock` see age().
        """
        self.age(rate, now, multiplier, clock=clock)
        self.count += errors
        if self.count < rate.capacity * multiplier:
            return False
        self.excess += self.count
        self.count = 0
        return True

    def as_state(self) -> dict[str, int]:
        """What from_state() makes a bucket of; JSON can hold it."""
        return {"count": self.count, "excess": self.excess, "stamp": self.stamp}

    @classmethod
    def from_state(cls, state: Mapping[str, Any]) -> Bucket:
        """The reverse of as_state(); ValueError if `state` is not what that returns."""
        return cls(natural(state, "stamp"), natural(state, "count"), natural(state, "excess"))


def natural(state: Mapping[str, Any], name: str) -> int:
    """A number of saved state that is 0 or more; ValueError where there is none."""
    number = state.get(name)
    if type(number) is not int or number < 0:
        raise ValueError(f"{name} is no number that can be counted with: {number!r:.40}")
    return number
