# SPDX-License-Identifier: GPL-2.0-only
"""account/storms.py: what is told one by one, what as a number, and that no event is missing."""

from __future__ import annotations

from collections import Counter as Tally
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd import cpu
from mcelogd.account.storms import OVERALL_FACTOR, Storms, Summary, Verdict, key_of
from mcelogd.decode import decode
from mcelogd.rate import NEVER, Rate
from mcelogd.record import MceRecord

if TYPE_CHECKING:
    from mcelogd.event import Event

TWENTY = Rate(20, 10)
UNCORRECTED = 1 << 61
MEMORY_ERROR = MceRecord(status=0x8C00004000010091, bank=7, socketid=0, mcgcap=1 << 10, cpuid=0x606A6)
CACHE_ERROR = MEMORY_ERROR._replace(status=0x8C0000400001010A, bank=1)
HOT = MEMORY_ERROR._replace(bank=128, status=3)


def event(record: MceRecord = MEMORY_ERROR, **fields: int) -> Event:
    return decode(record._replace(**fields), cpu.INTEL)


def worse(record: MceRecord = MEMORY_ERROR) -> Event:
    return event(record, status=record.status | UNCORRECTED)


def cpus(count: int) -> list[Event]:
    """Errors that are different: each of another CPU."""
    return [event(CACHE_ERROR, extcpu=number) for number in range(1, count + 1)]


class Watcher:
    """Does what the daemon does: sums up when it is time, tells what is to be told."""

    def __init__(self, storms: Storms) -> None:
        self.storms = storms
        self.taken = 0
        self.told: list[Event] = []
        self.began: list[Verdict] = []
        self.summaries: list[Summary] = []

    def wait_until(self, now: float) -> None:
        while (due := self.storms.next_due()) is not None and due <= now:
            self.summaries += self.storms.due(due)

    def take(self, taken: Event, now: float) -> Verdict:
        self.wait_until(now)
        self.taken += 1
        verdict = self.storms.take(taken, now)
        if verdict.is_told:
            self.told.append(taken)
        if verdict in (Verdict.BEGIN, Verdict.BEGIN_MIXED):
            self.began.append(verdict)
        return verdict

    def finish(self, now: float) -> None:
        self.summaries += self.storms.finish(now)

    @property
    def summed_up(self) -> int:
        return sum(summary.suppressed for summary in self.summaries)


def storm(rate: Rate = TWENTY, **options: int) -> Watcher:
    return Watcher(Storms(rate, **options))


def test_one_error_after_another_is_told() -> None:
    watcher = storm()
    verdicts = {watcher.take(event(), second / 2) for second in range(1000)}
    assert verdicts == {Verdict.TELL}
    assert watcher.storms.next_due() is None


def test_a_storm_from_its_beginning_to_its_end() -> None:
    """100 a second for 150 seconds."""
    watcher = storm()
    verdicts = [watcher.take(event(addr=number << 12), number / 100) for number in range(15_000)]
    assert verdicts[:20] == [Verdict.TELL] * 20
    assert verdicts[20] is Verdict.BEGIN
    assert set(verdicts[21:]) == {Verdict.SUPPRESS}
    watcher.wait_until(1000)
    assert watcher.storms.next_due() is None
    assert [(summary.suppressed, summary.seconds, summary.ended) for summary in watcher.summaries] == [
        (6000 - 1, 60, False),
        (6000, 60, False),
        (15_000 - 21 - 11_999, pytest.approx(40), True),
    ]
    last = watcher.summaries[-1]
    assert (last.total, last.lasted, last.mixed) == (15_000 - 21, pytest.approx(160), False)
    assert last.event.record.addr == 14_999 << 12
    assert watcher.take(event(), 1000) is Verdict.TELL


def test_a_storm_goes_on_as_long_as_more_come_than_the_threshold() -> None:
    """3 a second are 30 in 10 seconds; 1 a second are 10, and are told again."""
    watcher = storm()
    for tick in range(3 * 100):
        watcher.take(event(), tick / 3)
    assert [summary.ended for summary in watcher.summaries] == [False]
    watcher.told.clear()
    for second in range(100, 200):
        watcher.take(event(), second)
    assert [summary.ended for summary in watcher.summaries] == [False, True]
    assert 80 <= len(watcher.told) < 100
    assert watcher.began == [Verdict.BEGIN]


def test_exactly_the_threshold_is_no_storm() -> None:
    watcher = storm()
    for second in range(0, 100, 10):
        assert {watcher.take(event(), second) for _ in range(20)} == {Verdict.TELL}
    assert watcher.take(event(), 99.9) is Verdict.BEGIN


def test_a_storm_ends_when_just_the_threshold_is_left() -> None:
    for errors, goes_on in ((20, False), (21, True)):
        watcher = storm()
        for _ in range(21):
            watcher.take(event(), 0)
        for number in range(errors):
            watcher.take(event(), number / 10)
        watcher.wait_until(10)
        assert (watcher.storms.next_due() is not None) is goes_on


def test_a_clock_set_back_does_not_make_a_storm_last() -> None:
    storms = Storms(TWENTY)
    for _ in range(25):
        storms.take(event(), 1e9)
    (summary,) = storms.due(5)
    assert (summary.suppressed, summary.seconds, summary.ended) == (4, 0, True)


def test_the_sort_that_is_forgotten_is_the_one_that_was_longest_ago() -> None:
    storms = Storms(TWENTY, keys_limit=2)
    first, second, third = cpus(3)
    for taken, now in ((first, 0), (second, 0), (first, 15), (third, 16)):
        storms.take(taken, now)
    assert set(storms._calm) == {key_of(first), key_of(third)}


def test_a_storm_that_stops_at_once_is_ended_with_nothing_left_out() -> None:
    watcher = storm()
    for _ in range(21):
        watcher.take(event(), 5)
    watcher.wait_until(15)
    assert [(summary.suppressed, summary.ended, summary.event) for summary in watcher.summaries] == [
        (0, True, event())
    ]


def test_the_same_error_is_that_of_the_same_place() -> None:
    same = {key_of(event(addr=5, time=7, tsc=9, extcpu=3)), key_of(event(addr=0x9000, misc=4))}
    assert len(same) == 1
    others = [
        event(),
        event(status=MEMORY_ERROR.status ^ 3),
        event(bank=8),
        event(socketid=1),
        event(status=0x8C00004000010081),
        worse(),
        *cpus(2),
        event(HOT, extcpu=1),
        event(HOT, extcpu=2),
        event(HOT, extcpu=2, status=2),
    ]
    assert len({key_of(other) for other in others}) == len(others)


def test_another_error_is_told_in_the_midst_of_a_storm() -> None:
    watcher = storm()
    for tick in range(1000):
        watcher.take(event(), tick / 100)
    assert watcher.take(event(bank=8), 10) is Verdict.TELL
    assert watcher.take(event(HOT, extcpu=1), 10) is Verdict.TELL
    assert watcher.take(worse(), 10) is Verdict.TELL
    assert watcher.take(event(), 10) is Verdict.SUPPRESS


def test_thermal_storms_are_of_one_cpu() -> None:
    watcher = storm()
    for tick in range(100):
        watcher.take(event(HOT, extcpu=1), tick / 100)
    assert watcher.take(event(HOT, extcpu=1), 1) is Verdict.SUPPRESS
    assert watcher.take(event(HOT, extcpu=2), 1) is Verdict.TELL


def test_errors_that_lost_data_are_told_ten_times_as_long() -> None:
    watcher = storm()
    verdicts = [watcher.take(worse(), number / 10_000) for number in range(10_000)]
    assert verdicts.index(Verdict.BEGIN) == 200
    assert set(verdicts[:200]) == {Verdict.TELL}
    assert set(verdicts[201:]) == {Verdict.SUPPRESS}


def test_many_different_errors_are_a_storm_too() -> None:
    """30 CPUs, none of which has more errors than its own threshold."""
    watcher = storm()
    for round_ in range(19):
        for taken in cpus(30):
            watcher.take(taken, round_ / 10)
    assert watcher.began == [Verdict.BEGIN_MIXED]
    assert len(watcher.told) == 20 * OVERALL_FACTOR + 1
    watcher.wait_until(100)
    (summary,) = watcher.summaries
    assert summary.mixed
    assert summary.ended
    assert summary.suppressed == 19 * 30 - 201


def test_the_first_error_of_its_sort_is_told_in_a_mixed_storm_too() -> None:
    watcher = storm(keys_limit=2000)
    firsts = {key_of(taken) for taken in cpus(1000)}
    for _ in range(3):
        for taken in cpus(1000):
            watcher.take(taken, 1)
    assert {key_of(taken) for taken in watcher.told} == firsts
    assert len(watcher.told) == 1000 + 1


def test_corrected_errors_do_not_use_up_the_limit_of_the_others() -> None:
    watcher = storm()
    for round_ in range(100):
        for taken in cpus(100):
            watcher.take(taken, round_ / 100)
    assert Verdict.BEGIN_MIXED in watcher.began
    assert {watcher.take(worse(), 2) for _ in range(200)} == {Verdict.TELL}


def test_more_sorts_than_can_be_told_apart_are_one() -> None:
    watcher = storm(keys_limit=50)
    for second in range(10):
        for number in range(1000):
            watcher.take(event(CACHE_ERROR, extcpu=1000 * second + number), second)
    assert len(watcher.told) <= 50 + 20 * OVERALL_FACTOR + 1
    assert len(watcher.storms._calm) == 50
    watcher.finish(10)
    assert len(watcher.told) + watcher.summed_up == 10_000
    later = storm(keys_limit=50)
    for second in range(0, 10_000, 10):
        assert later.take(event(CACHE_ERROR, extcpu=second), second) is Verdict.TELL
    assert len(later.storms._calm) == 50


def test_a_flood_of_garbage_is_told_at_a_bounded_rate() -> None:
    """10,000 a second for a minute, all different."""
    watcher = storm()
    for number in range(60_000):
        watcher.take(event(CACHE_ERROR, extcpu=number, socketid=number % 7), number / 1000)
    assert len(watcher.told) < 60 * (1024 + 20 * OVERALL_FACTOR) / 10 + 1
    watcher.finish(60)
    assert len(watcher.told) + watcher.summed_up == 60_000


def test_off_tells_all() -> None:
    watcher = storm(NEVER)
    assert {watcher.take(event(), 0) for _ in range(10_000)} == {Verdict.TELL}
    assert watcher.storms.next_due() is None
    assert watcher.storms.finish(0) == watcher.storms.due(0) == []


def test_at_the_end_nothing_is_left_unsaid() -> None:
    watcher = storm()
    for number in range(500):
        watcher.take(event(), 1 + number / 1000)
        watcher.take(worse(CACHE_ERROR), 1 + number / 1000)
    watcher.finish(3)
    assert sorted((summary.suppressed, summary.ended) for summary in watcher.summaries) == [
        (500 - 201, True),
        (500 - 21, True),
    ]
    assert watcher.storms.finish(3) == []


def test_a_storm_is_summed_up_only_when_there_is_something_to_say() -> None:
    """The summary's time may be shorter than the threshold's."""
    watcher = storm(Rate(2, 100), summary_seconds=1)
    for _ in range(5):
        watcher.take(event(), 0)
    watcher.wait_until(200)
    assert [(summary.suppressed, summary.seconds, summary.ended) for summary in watcher.summaries] == [
        (2, 1, False),
        (0, 1, True),
    ]


SORTS = [event(), event(bank=8), event(HOT, extcpu=1), worse(), worse(CACHE_ERROR), *cpus(3)]
STEPS = st.one_of(st.just(0.0), st.floats(0, 0.5), st.floats(0, 30), st.sampled_from((-1e6, -5.0, 1e9)))


@given(
    st.lists(st.tuples(STEPS, st.integers(0, len(SORTS) - 1), st.booleans()), max_size=150),
    st.builds(Rate, st.integers(1, 4), st.integers(1, 12)),
    st.integers(1, 90),
    st.integers(1, 10),
)
def test_told_and_summed_up_are_all_that_was_taken(
    steps: list[tuple[float, int, bool]], rate: Rate, summary_seconds: int, keys_limit: int
) -> None:
    """Whatever the clock does, and whether or not due() is called in time."""
    storms = Storms(rate, summary_seconds, keys_limit)
    taken: Tally[bool] = Tally()
    said: Tally[bool] = Tally()
    totals = 0
    now = 100.0
    known = set()
    for step, number, with_due in steps:
        now += step
        if with_due and (due := storms.next_due()) is not None and due <= now:
            for summary in storms.due(now):
                said[summary.event.severity.is_corrected] += summary.suppressed
                totals += summary.total if summary.ended else 0
        sort = SORTS[number]
        taken[sort.severity.is_corrected] += 1
        verdict = storms.take(sort, now)
        said[sort.severity.is_corrected] += verdict.is_told
        if key_of(sort) not in known and keys_limit >= len(SORTS):
            assert verdict.is_told
        known.add(key_of(sort))
    in_time = +said
    for summary in storms.finish(now):
        said[summary.event.severity.is_corrected] += summary.suppressed
        totals += summary.total
        assert summary.ended
    assert said == taken
    assert totals >= sum((said - in_time).values())
    assert storms.next_due() is None
