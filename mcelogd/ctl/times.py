# SPDX-License-Identifier: GPL-2.0-only
"""Times as people write and read them, in the ways of systemd. Pure: the zone comes in, None is local.

Source: systemd.time(7), "Parsing Time Spans" and "Parsing Timestamps".
"""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta, timezone
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from datetime import tzinfo

_UNITS = {
    "usec us μs µs": 1,
    "msec ms": 1_000,
    "seconds second sec s": 1_000_000,
    "minutes minute min m": 60_000_000,
    "hours hour hr h": 3_600_000_000,
    "days day d": 86_400_000_000,
    "weeks week w": 604_800_000_000,
    "months month M": 2_629_800_000_000,
    "years year y": 31_557_600_000_000,
}
_MICROSECONDS = {name: length for names, length in _UNITS.items() for name in names.split()}
_PART = re.compile(r"\s*(\d+(?:\.\d+)?)\s*([^\W\d]*)")
_DAYS = {"today": 0, "yesterday": -1, "tomorrow": 1}
_WEEKDAY = re.compile(r"(mon|tues?|wed(nes)?|thu(rs)?|fri|sat(ur)?|sun)(day)?,?\s+", re.IGNORECASE)
_STAMP = re.compile(
    r"(?:(?P<date>\d{4}-\d{1,2}-\d{1,2}|\d{2}-\d{1,2}-\d{1,2})(?:[\sT]+|$))?"
    r"(?:(?P<hour>\d{1,2}):(?P<minute>\d{1,2})(?::(?P<second>\d{1,2})(?:\.(?P<fraction>\d{1,6})\d*)?)?)?"
    r"\s*(?P<zone>UTC|Z|[+-]\d{2}:?\d{2})?"
)
LATEST = 253_370_764_800_000_000
"""The year 9999, in microseconds: no calendar here has later ones, in whatever zone."""


def parse_time(text: str, now: int, zone: tzinfo | None = None) -> int:
    """Microseconds since 1970 of what somebody wrote; `now` in the same. ValueError names the remedy.

    Such as today, -2h, 3 days ago, +5min, @1395716396, 10:00, 2026-11-22 10:00:00 UTC.
    """
    written = text.strip()
    try:
        found = _parse(written, now, zone)
    except (ValueError, OverflowError):
        found = -1
    if not 0 <= found <= LATEST:
        raise ValueError(
            f'"{text}" is no time; write it like "2026-11-22 10:00", 10:00, today, -2h or @1795374194'
        )
    return found


def _parse(written: str, now: int, zone: tzinfo | None) -> int:
    if written == "now":
        return now
    if written in _DAYS:
        midnight = _at(now, zone).replace(hour=0, minute=0, second=0, microsecond=0, tzinfo=None)
        return _microseconds(midnight + timedelta(days=_DAYS[written]), zone)
    if written.startswith("@"):
        return round(float(written[1:]) * 1e6)
    if written.startswith(("-", "+")):
        span = _span(written[1:])
        return now - span if written[0] == "-" else now + span
    if written.endswith((" ago", " left")):
        span = _span(written.rpartition(" ")[0])
        return now - span if written.endswith("ago") else now + span
    return _stamp(_WEEKDAY.sub("", written, count=1), now, zone)


def _span(written: str) -> int:
    """Microseconds of `2h 30min`; seconds where no unit is named."""
    total, at = 0.0, 0
    while at < len(written.rstrip()):
        part = _PART.match(written, at)
        if part is None:
            raise ValueError(written)
        unit = part[2] or "s"
        if unit not in _MICROSECONDS:
            raise ValueError(unit)
        total += float(part[1]) * _MICROSECONDS[unit]
        at = part.end()
    if not at:
        raise ValueError("empty")
    return round(total)


def _stamp(written: str, now: int, zone: tzinfo | None) -> int:
    """A date, a time, or both."""
    found = _STAMP.fullmatch(written)
    if found is None or not (found["date"] or found["hour"]):
        raise ValueError(written)
    if found["zone"]:
        zone = _zone(found["zone"])
    day = _at(now, zone)
    if found["date"]:
        year, month, number = (int(part) for part in found["date"].split("-"))
        day = day.replace(year=year + 2000 if year < 100 else year, month=month, day=number)
    moment = datetime(
        day.year,
        day.month,
        day.day,
        int(found["hour"] or 0),
        int(found["minute"] or 0),
        int(found["second"] or 0),
        int((found["fraction"] or "0").ljust(6, "0")),
    )
    return _microseconds(moment, zone)


def _zone(written: str) -> tzinfo:
    if written in ("UTC", "Z"):
        return UTC
    sign = -1 if written[0] == "-" else 1
    return timezone(sign * timedelta(hours=int(written[1:3]), minutes=int(written[-2:])))


def _at(microseconds: int, zone: tzinfo | None) -> datetime:
    return datetime.fromtimestamp(microseconds // 1_000_000, zone)


def _microseconds(moment: datetime, zone: tzinfo | None) -> int:
    """Of a time without a zone, in that zone."""
    return int(moment.replace(microsecond=0, tzinfo=zone).timestamp()) * 1_000_000 + moment.microsecond


def format_time(seconds: float, zone: tzinfo | None = None) -> str:
    """`2026-11-22 21:28:10`; empty for 0, which stands for never, and for what no calendar has."""
    if not 0 < seconds <= LATEST / 1e6:
        return ""
    return datetime.fromtimestamp(int(seconds), zone).strftime("%Y-%m-%d %H:%M:%S")


_STEPS = (("year", 31_557_600), ("month", 2_629_800), ("day", 86_400), ("h", 3_600), ("min", 60))


def ago(seconds: float, now: float) -> str:
    """`3 min ago`, in the largest unit that is there twice, or once."""
    passed = int(now - seconds)
    if passed < 0:
        return "in the future"
    for name, length in _STEPS:
        if count := passed // length:
            return f"{count} {name}{'s' if count > 1 and length > 3_600 else ''} ago"
    return f"{passed} s ago"
