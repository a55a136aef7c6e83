# SPDX-License-Identifier: GPL-2.0-only
"""Times as systemd writes them."""

from __future__ import annotations

import contextlib
from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.ctl.times import LATEST, ago, format_time, parse_time

NOW = int(datetime(2026, 11, 22, 19, 3, 14, tzinfo=UTC).timestamp()) * 1_000_000
EAST = timezone(timedelta(hours=2))


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("now", "2026-11-22 19:03:14"),
        ("today", "2026-11-22 00:00:00"),
        ("yesterday", "2026-11-21 00:00:00"),
        ("tomorrow", "2026-11-23 00:00:00"),
        ("-2h", "2026-11-22 17:03:14"),
        ("-1d 2h30min", "2026-11-21 16:33:14"),
        ("+1.5h", "2026-11-22 20:33:14"),
        ("2 days ago", "2026-11-20 19:03:14"),
        ("90 ago", "2026-11-22 19:01:44"),
        ("3 min left", "2026-11-22 19:06:14"),
        ("1week ago", "2026-11-15 19:03:14"),
        ("2026-11-20", "2026-11-20 00:00:00"),
        ("26-11-20", "2026-11-20 00:00:00"),
        ("2026-11-20 10:00", "2026-11-20 10:00:00"),
        (" 2026-11-20T10:00:01Z ", "2026-11-20 10:00:01"),
        ("2026-11-20 10:00:01 UTC", "2026-11-20 10:00:01"),
        ("2026-11-20 10:00:01+02:00", "2026-11-20 08:00:01"),
        ("Fri 2026-11-20 10:00:01", "2026-11-20 10:00:01"),
        ("10:00", "2026-11-22 10:00:00"),
        ("10:00:59", "2026-11-22 10:00:59"),
        ("@1795374194", "2026-11-22 19:03:14"),
    ],
)
def test_what_is_understood(text: str, found: str) -> None:
    assert format_time(parse_time(text, NOW, UTC) / 1e6, UTC) == found


def test_parts_of_a_second() -> None:
    assert parse_time("2026-11-22 19:03:14.25", NOW, UTC) == NOW + 250_000
    assert parse_time("@1795374194.5", NOW, UTC) == NOW + 500_000
    assert parse_time("-5ms", NOW, UTC) == NOW - 5_000


def test_the_zone_is_that_of_who_asks() -> None:
    assert parse_time("today", NOW, EAST) == NOW - (21 * 3600 + 3 * 60 + 14) * 1_000_000
    late = NOW + 4 * 3600 * 1_000_000
    assert format_time(parse_time("today", late, EAST) / 1e6, EAST) == "2026-11-23 00:00:00"
    # The day on which clocks are set back has 25 hours.
    berlin = ZoneInfo("Europe/Berlin")
    after = int(datetime(2026, 10, 25, 12, tzinfo=berlin).timestamp()) * 1_000_000
    assert (after - parse_time("today", after, berlin)) // 3_600_000_000 == 13


@pytest.mark.parametrize(
    "text",
    [
        *("", " ", "soon", "2h", "-", "ago", "-2x", "2026-13-01", "2026-02-30", "25:00", "10", "@", "@x"),
        *("2026-11-20 10", "-1d-", "10:00 Mars/Base", "@99999999999999999999", "-99999999y", "@nan", "@-1"),
        *("999999999999999999y ago", "@1e999", "2026-11-20 10:00:00 ago"),
    ],
)
def test_what_is_not_understood(text: str) -> None:
    with pytest.raises(ValueError, match="is no time; write it like"):
        parse_time(text, NOW, UTC)


@given(st.text("0123456789-+:.@ TZdhmayogu", max_size=24))
def test_no_text_is_too_odd(text: str) -> None:
    with contextlib.suppress(ValueError):
        assert 0 <= parse_time(text, NOW, UTC) <= LATEST


@given(st.integers(1, LATEST // 1_000_000))
def test_what_is_shown_is_understood(seconds: int) -> None:
    assert parse_time(format_time(seconds, UTC), NOW, UTC) == seconds * 1_000_000


@pytest.mark.parametrize("seconds", [0, -5, 1e18, LATEST])
def test_what_is_no_time(seconds: float) -> None:
    assert format_time(seconds, UTC) == ""


@pytest.mark.parametrize(
    ("passed", "text"),
    [
        *((0, "0 s ago"), (59, "59 s ago"), (60, "1 min ago"), (7_300, "2 h ago"), (90_000, "1 day ago")),
        *((180_000, "2 days ago"), (2_629_800, "1 month ago"), (63_115_200, "2 years ago")),
        (-5, "in the future"),
    ],
)
def test_ago(passed: int, text: str) -> None:
    assert ago(1_000_000_000 - passed, 1_000_000_000) == text
