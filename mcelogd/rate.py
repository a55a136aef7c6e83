# SPDX-License-Identifier: GPL-2.0-only
"""Rates of a leaky bucket: how many errors in what time cross a threshold.

    10 / 24h        2/24h        1k / 1d        100 / 30 (seconds)

`k`, `m` and `g` after the count multiply it by 1000 each; `m`, `h` and `d`
after the time are minutes, hours and days, and what follows that letter is
not looked at (`1 / 1min`). Letters may be capital.
"""

from __future__ import annotations

import re
from typing import NamedTuple

SECONDS = {"": 1, "m": 60, "h": 60 * 60, "d": 24 * 60 * 60}
"""Units of time by their letter."""

MULTIPLIERS = {"": 1, "k": 1000, "m": 1000**2, "g": 1000**3}
"""Multipliers of the count by their letter."""

LARGEST = 2**32 - 1
"""Largest count and largest time in seconds; the C program computes modulo 2^32."""

_RATE = re.compile(
    r"\s*\+?(\d{1,20}) \s*([kmg]?) \s*/ \s*\+?(\d{1,20}) \s*([dhm]?)",
    re.ASCII | re.IGNORECASE | re.VERBOSE,
)


class Rate(NamedTuple):
    """`capacity` errors in `agetime` seconds; `unit` is the letter the time was given in, or empty."""

    capacity: int
    agetime: int
    unit: str = ""

    @property
    def period(self) -> str:
        """The time in its unit, as `24h`: what the legacy protocol and triggers show."""
        return f"{self.agetime // SECONDS[self.unit]}{self.unit}"

    def __str__(self) -> str:
        return f"{self.capacity} / {self.period}"


NEVER = Rate(2**63, SECONDS["d"], "h")
"""The rate of a threshold that is not set: counted by the day, never crossed."""


def parse_rate(text: str) -> Rate:
    """The rate that `text` says.

    Raises ValueError with one line that says what is accepted. As in the C
    program neither number may be 0, and a count with `k`, `m` or `g` needs a
    time with a unit.
    """
    match = _RATE.match(text)
    if not match:
        raise ValueError('not a rate: "COUNT / TIME" such as "10 / 24h" (k, m, g; d, h, m or seconds)')
    multiplier, unit = match[2].lower(), match[4].lower()
    if not unit and text[match.end() :].strip():
        raise ValueError("the unit of the time is none of d, h, m (days, hours, minutes; none: seconds)")
    if multiplier and not unit:
        raise ValueError(f'a count with "{multiplier}" needs a time with a unit: d, h or m')
    rate = Rate(int(match[1]) * MULTIPLIERS[multiplier], int(match[3]) * SECONDS[unit], unit)
    if not 0 < rate.capacity <= LARGEST or not 0 < rate.agetime <= LARGEST:
        raise ValueError(f"count and time in seconds must be 1 to {LARGEST}")
    return rate
