# SPDX-License-Identifier: GPL-2.0-only
"""Rate strings; the table's values are those the C program computes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.rate import LARGEST, NEVER, SECONDS, Rate, parse_rate

HOUR = 3600
DAY = 24 * HOUR


@pytest.mark.parametrize(
    ("text", "rate", "period"),
    [
        ("10 / 24h", Rate(10, DAY, "h"), "24h"),
        ("2/24h", Rate(2, DAY, "h"), "24h"),
        ("  2  /24   h  ", Rate(2, DAY, "h"), "24h"),
        ("1k / 1d", Rate(1000, DAY, "d"), "1d"),
        ("1K/1D", Rate(1000, DAY, "d"), "1d"),
        ("3 m / 5 m", Rate(3_000_000, 300, "m"), "5m"),
        ("4g / 1m", Rate(4_000_000_000, 60, "m"), "1m"),
        ("100 / 24H", Rate(100, DAY, "h"), "24h"),
        ("10 / 5", Rate(10, 5, ""), "5"),
        ("10 / 90", Rate(10, 90, ""), "90"),
        ("1 / 1min", Rate(1, 60, "m"), "1m"),
        ("1 / 2 hours or so", Rate(1, 2 * HOUR, "h"), "2h"),
        ("007 / 008h", Rate(7, 8 * HOUR, "h"), "8h"),
        ("+10 / +1h", Rate(10, HOUR, "h"), "1h"),
        (f"{LARGEST} / {LARGEST}", Rate(LARGEST, LARGEST, ""), f"{LARGEST}"),
    ],
)
def test_rates(text: str, rate: Rate, period: str) -> None:
    parsed = parse_rate(text)
    assert parsed == rate
    assert parsed.period == period


@pytest.mark.parametrize(
    "text",
    [
        "",
        "10",
        "10 24h",
        "10 /",
        "/ 24h",
        "ten / 24h",
        "10 / h",
        "10 // 24h",
        "10kk / 24h",
        "10x / 24h",
        "1.5 / 24h",
        "10 / 1.5h",
        "10, / 24h",
    ],
)
def test_what_is_no_rate(text: str) -> None:
    with pytest.raises(ValueError, match=r'^not a rate: "COUNT / TIME"|^the unit of the time'):
        parse_rate(text)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("0 / 24h", "must be 1 to 4294967295"),
        ("10 / 0h", "must be 1 to 4294967295"),
        ("5g / 1h", "must be 1 to 4294967295"),
        ("1 / 50000d", "must be 1 to 4294967295"),
        ("-10 / 24h", "not a rate"),
        ("10 / 5s", "none of d, h, m"),
        ("10 / 5 weeks", "none of d, h, m"),
        ("1k / 5", 'a count with "k" needs a time with a unit'),
        ("9" * 5000 + " / 1h", "not a rate"),
        ("١ / ١h", "not a rate"),  # noqa: RUF001  # other digits are the point
    ],
)
def test_refusals_say_what_is_wrong(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        parse_rate(text)


@st.composite
def rates(draw: st.DrawFn) -> Rate:
    unit = draw(st.sampled_from(sorted(SECONDS)))
    time = draw(st.integers(1, LARGEST // SECONDS[unit]))
    return Rate(draw(st.integers(1, LARGEST)), time * SECONDS[unit], unit)


@given(rates())
def test_a_rate_is_parsed_back_from_its_text(rate: Rate) -> None:
    assert parse_rate(str(rate)) == rate


@given(st.text() | st.text("0123456789kmgdhKMGDHs /+-."))
def test_any_text_is_a_usable_rate_or_a_value_error(text: str) -> None:
    try:
        rate = parse_rate(text)
    except ValueError as error:
        assert str(error).isprintable()  # noqa: PT017  # or it parses
    else:
        assert rate.capacity > 0
        assert rate.agetime > 0
        assert parse_rate(str(rate)) == rate


def test_never_is_beyond_every_rate() -> None:
    assert NEVER.capacity > LARGEST
    assert NEVER.period == "24h"
    with pytest.raises(ValueError, match="must be"):
        parse_rate(str(NEVER))
