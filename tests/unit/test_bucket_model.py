# SPDX-License-Identifier: GPL-2.0-only
"""Counting against a model of the leaky bucket that is written another way, whatever time does."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd import cpu
from mcelogd.account.bucket import Bucket
from mcelogd.account.memory import ANY, MemoryKey, MemoryTable, Rates
from mcelogd.account.pages import PageCrossing, PageState, PageTable
from mcelogd.decode import decode
from mcelogd.rate import Rate
from mcelogd.record import MceRecord

if TYPE_CHECKING:
    from collections.abc import Iterator

NOW = 1_795_000_000
DAY = 86_400
YEAR = 365 * DAY
MEMORY_ERROR = MceRecord(status=0x8C00004000010090, mcgcap=1 << 10, cpuid=0x606A6, cpuvendor=0, bank=7)
UNCORRECTED = 1 << 61
LAST_SECOND = 2**64 - 1

STARTS = st.sampled_from(
    (0, 1, NOW, 1_792_886_400 - 90, 2**31 - 90, 2**32 - 90, 253_402_300_800, 2**63 - 90, LAST_SECOND - 90)
)
"""Among them an end of summer time, 2038, 2106 and the year 10000: epoch seconds know none of them."""

STEPS = st.one_of(
    st.integers(0, 3), st.integers(-100, 2000), st.sampled_from((-20 * YEAR, -3600, 3600, DAY, 20 * YEAR))
)
RATES = st.builds(Rate, st.integers(1, 12), st.sampled_from((1, 60, 3600, DAY)))


class Model:
    """A counter, as a person would tell it: errors of the period, thrown out when the period is over."""

    def __init__(self, rate: Rate, start: int) -> None:
        self.rate = rate
        self.total = 0
        self.start = start
        self.since_crossing = 0
        self.before = 0

    def hit(self, errors: int, time: int, factor: int = 1) -> bool:
        self.total += errors
        if time >= self.start + self.rate.agetime:
            self.start, self.since_crossing, self.before = time, 0, 0
        self.since_crossing += errors
        if self.since_crossing < factor * self.rate.capacity:
            return False
        self.before += self.since_crossing
        self.since_crossing = 0
        return True

    @property
    def seen(self) -> int:
        return self.before + self.since_crossing


def times(start: int, steps: list[int]) -> Iterator[tuple[int, int]]:
    """Time of a record after each step, and of the clock, which no record is ahead of."""
    clock = start
    for step in steps:
        start = min(max(start + step, 0), LAST_SECOND)
        clock = max(clock, start)
        yield start, clock


Errors = list[tuple[int, int, int, int, bool]]
"""Step of time, socket, channel, hardware's count, whether uncorrected."""

ERRORS = st.lists(
    st.tuples(
        STEPS,
        st.integers(0, 1),
        st.sampled_from((0, 1, 15)),
        st.sampled_from((0, 1, 2, 9, 0x7FFF)),
        st.booleans(),
    ),
    max_size=40,
)


@given(ERRORS, STARTS, RATES, RATES)
def test_dimms_and_sockets_equal_the_model(errors: Errors, start: int, dimm: Rate, socket: Rate) -> None:
    memory = MemoryTable(Rates(dimm, dimm), Rates(socket, socket), track_dimms=True, track_sockets=True)
    models: dict[tuple[MemoryKey, bool], Model] = {}

    def hit(key: MemoryKey, count: int, *, corrected: bool) -> list[tuple[MemoryKey, bool]]:
        rate = socket if key.is_socket else dimm
        for severity in (True, False):
            models.setdefault((key, severity), Model(rate, now))
        return [(key, corrected)] if models[key, corrected].hit(count, time) else []

    for (time, now), (_, number, channel, count, uncorrected) in zip(
        times(start, [error[0] for error in errors]), errors, strict=True
    ):
        corrected = not uncorrected
        expected = []
        if channel != 15:
            expected += hit(MemoryKey(number, channel, ANY), 1, corrected=corrected)
        if count > 1:
            expected += hit(MemoryKey(number, ANY, ANY), count - 1, corrected=True)
        expected += hit(MemoryKey(number, ANY, ANY), 1, corrected=corrected)
        status = MEMORY_ERROR.status & ~(0x7FFF << 38 | 0xF) | count << 38 | channel
        status |= UNCORRECTED if uncorrected else 0
        record = MEMORY_ERROR._replace(status=status, socketid=number, time=time)
        crossed = memory.account(decode(record, cpu.INTEL), now)
        assert [(crossing.errors.key, crossing.is_corrected) for crossing in crossed] == expected
    for row in memory:
        for corrected, counter in ((True, row.corrected), (False, row.uncorrected)):
            model = models[row.key, corrected]
            assert (counter.total, counter.bucket.seen) == (model.total, model.seen)


class PageModel(Model):
    def __init__(self, rate: Rate, start: int) -> None:
        super().__init__(rate, start)
        self.state = PageState.ONLINE
        self.factor = 1

    def off_line(self, state: PageState, *, retry: bool) -> None:
        self.state = state
        if retry and state is PageState.OFFLINE_FAILED and self.factor < 128:
            self.factor *= 2

    def crosses(self, time: int, *, retry: bool) -> bool:
        acts_on = {PageState.ONLINE, PageState.OFFLINE_FAILED} if retry else {PageState.ONLINE}
        return self.hit(1, time, self.factor) and self.state in acts_on


@given(
    st.lists(
        st.tuples(STEPS, st.integers(0, 3), st.sampled_from((None, None, None, *PageState))), max_size=80
    ),
    STARTS,
    RATES,
    st.booleans(),
)
def test_pages_equal_the_model(
    steps: list[tuple[int, int, PageState | None]], start: int, rate: Rate, retry: bool
) -> None:
    """Errors of pages, and what became of their off-lining, in any order."""
    pages = PageTable(rate, 100, retry=retry)
    models: dict[int, PageModel] = {}
    for (time, now), (_, frame, state) in zip(times(start, [step[0] for step in steps]), steps, strict=True):
        model = models.setdefault(frame, PageModel(rate, now))
        if state is not None:
            model.off_line(state, retry=retry)
            pages.set_state(pages.get(frame << 12, now), state, "", time)
            continue
        event = decode(MEMORY_ERROR._replace(addr=frame << 12 | 8, time=time), cpu.INTEL)
        crossed = pages.account(event, now)
        assert len(crossed) == model.crosses(time, retry=retry)
    assert {page.address >> 12: (page.total, page.bucket.seen, page.state) for page in pages} == {
        frame: (model.total, model.seen, model.state) for frame, model in models.items()
    }


def failing_page(retry: bool) -> list[int]:
    """After how many errors more a page that can never be off-lined crosses, each time."""
    pages = PageTable(Rate(2, DAY, "h"), 10, retry=retry)
    event = decode(MEMORY_ERROR._replace(addr=0x5000, time=NOW), cpu.INTEL)
    gaps: Tally[int] = Tally()
    crossings = 0
    for _ in range(1200):
        gaps[crossings] += 1
        for crossing in pages.account(event, NOW):
            assert isinstance(crossing, PageCrossing)
            pages.set_state(crossing.page, PageState.OFFLINE_FAILED, "EBUSY", NOW)
            crossings += 1
    return [gaps[number] for number in range(crossings)]


def test_a_page_that_cannot_be_off_lined_is_tried_after_twice_the_errors_each_time() -> None:
    assert failing_page(retry=False) == [2]
    assert failing_page(retry=True) == [2, 4, 8, 16, 32, 64, 128, 256, 256, 256]


@pytest.mark.parametrize("ahead", [DAY, YEAR, 2**64])
def test_a_stamp_the_clock_has_not_reached_does_not_stop_the_bucket(ahead: int) -> None:
    """The clock was wrong by that much, then set right."""
    rate = Rate(10, DAY, "h")
    bucket = Bucket(NOW + ahead, 8)
    assert not bucket.add(rate, 1, NOW, clock=NOW)
    assert (bucket.stamp, bucket.count) == (NOW, 9)
    assert not bucket.add(rate, 1, NOW + DAY, clock=NOW + DAY)
    assert bucket.count == 1
    without_a_clock = Bucket(NOW + YEAR, 8)
    assert without_a_clock.add(rate, 2, NOW + 9 * DAY)


def test_less_than_a_period_ahead_is_waited_for() -> None:
    bucket = Bucket(NOW + DAY - 1, 8)
    bucket.add(Rate(10, DAY), 1, NOW, clock=NOW)
    assert (bucket.stamp, bucket.count) == (NOW + DAY - 1, 9)


def test_an_old_record_does_not_move_a_stamp_that_can_be_right() -> None:
    """As one does that firmware kept over a reboot."""
    bucket = Bucket(NOW, 8)
    rate = Rate(10, DAY, "h")
    bucket.add(rate, 1, NOW - YEAR, clock=NOW + 5)
    assert (bucket.stamp, bucket.count) == (NOW, 9)
    bucket.add(rate, 1, NOW + 5, clock=NOW + 5)
    assert bucket.seen == 10


def test_a_bucket_whose_rate_was_lowered_leaks_by_its_share() -> None:
    """The one case in which a leak does not empty it: mcelog.conf changed between two runs."""
    bucket = Bucket(NOW, 100, 7)
    bucket.age(Rate(10, 100), NOW + 99)
    assert (bucket.count, bucket.excess) == (100, 7)
    bucket.age(Rate(10, 100), NOW + 259)
    assert (bucket.count, bucket.excess, bucket.stamp) == (75, 0, NOW + 259)


@given(RATES, st.integers(0, 100), STEPS, st.integers(1, 3))
def test_looking_at_a_bucket_shows_what_has_leaked_and_leaks_nothing(
    rate: Rate, errors: int, later: int, multiplier: int
) -> None:
    bucket = Bucket(NOW)
    bucket.add(rate, errors, NOW, multiplier)
    before = bucket.as_state()
    shown = bucket.seen_at(rate, NOW + later, multiplier)
    assert bucket.as_state() == before
    bucket.age(rate, NOW + later, multiplier)
    assert shown == bucket.seen == (errors if later < rate.agetime else 0)


@given(st.integers(0, LAST_SECOND), st.integers(0, 10**9), st.integers(0, 10**9))
def test_a_bucket_survives_being_saved(stamp: int, count: int, excess: int) -> None:
    bucket = Bucket.from_state(Bucket(stamp, count, excess).as_state())
    assert (bucket.stamp, bucket.count, bucket.excess) == (stamp, count, excess)


@pytest.mark.parametrize("damaged", [{}, {"count": -1}, {"count": 1.5}, {"count": True}, {"stamp": "now"}])
def test_a_damaged_bucket_is_refused(damaged: dict[str, object]) -> None:
    with pytest.raises(ValueError, match="no number"):
        Bucket.from_state({"count": 1, "excess": 0, "stamp": NOW, **damaged} if damaged else {})
