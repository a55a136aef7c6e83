# SPDX-License-Identifier: GPL-2.0-only
"""account/: buckets against a plain model, counters per DIMM and socket, and their text."""

from __future__ import annotations

from typing import TYPE_CHECKING

from hypothesis import given
from hypothesis import strategies as st

from mcelogd import cpu
from mcelogd.account.bucket import Bucket
from mcelogd.account.memory import ANY, MemoryKey, MemoryTable, Rates
from mcelogd.account.text import memory_text
from mcelogd.decode import decode
from mcelogd.rate import NEVER, Rate, parse_rate
from mcelogd.record import MceRecord

if TYPE_CHECKING:
    import pytest

NOW = 1_795_000_000
DAY = 86_400
TEN_A_DAY = parse_rate("10 / 24h")
TWO_A_DAY = parse_rate("2 / 24h")
READ_ERROR = MceRecord(
    status=0x9C00004000010090, addr=0x1234_5678, socketid=0, mcgcap=1 << 10, time=NOW, cpuid=0x606A6
)
NEHALEM = cpu.INTEL


def table(ce: Rate = TEN_A_DAY, uc: Rate = NEVER, **track: bool) -> MemoryTable:
    tracking = {"track_dimms": None, "track_sockets": None, **track}
    return MemoryTable(Rates(ce, uc), Rates(ce, uc), **tracking)  # type: ignore[arg-type]


@given(
    st.lists(st.tuples(st.integers(-5000, 90_000), st.integers(1, 20)), max_size=60),
    st.integers(1, 50),
    st.integers(1, DAY),
)
def test_bucket_equals_its_definition(steps: list[tuple[int, int]], capacity: int, agetime: int) -> None:
    """A second, straightforward writing of the leaky bucket, with exact fractions."""
    bucket = Bucket(NOW)
    rate = Rate(capacity, agetime)
    count = excess = 0
    stamp = now = NOW
    for elapsed, errors in steps:
        now += elapsed
        if now - stamp >= agetime:
            count = max(0, count - (now - stamp) * capacity // agetime)
            excess = 0
            stamp = now
        count += errors
        crossed = count >= capacity
        if crossed:
            excess += count
            count = 0
        assert bucket.add(rate, errors, now) is crossed
        assert (bucket.count, bucket.excess, bucket.stamp) == (count, excess, stamp)


def test_the_tenth_error_of_a_day_crosses() -> None:
    memory = table()
    event = decode(READ_ERROR, NEHALEM)
    crossed = [memory.account(event, NOW) for _ in range(10)]
    assert [len(crossings) for crossings in crossed] == [0] * 9 + [2]
    dimm, socket = crossed[-1]
    assert dimm.errors.key == MemoryKey(0, 0, ANY)
    assert socket.errors.key == MemoryKey(0, ANY, ANY)
    assert dimm.is_corrected


def test_errors_a_day_apart_do_not_cross() -> None:
    memory = table(TWO_A_DAY)
    for day in range(5):
        event = decode(READ_ERROR._replace(time=NOW + 2 * DAY * day), NEHALEM)
        assert memory.account(event, NOW) == []


def test_counts_the_hardware_lost_go_to_the_socket_only() -> None:
    memory = table()
    event = decode(READ_ERROR._replace(status=READ_ERROR.status | 7 << 38), NEHALEM)
    memory.account(event, NOW)
    assert [(row.key, row.corrected.total) for row in memory] == [((0, ANY, ANY), 7), ((0, 0, ANY), 1)]


def test_uncorrected_errors_have_their_own_counter() -> None:
    memory = table(uc=parse_rate("1 / 24h"))
    event = decode(READ_ERROR._replace(status=READ_ERROR.status | 1 << 61), NEHALEM)
    assert [crossing.is_corrected for crossing in memory.account(event, NOW)] == [False, False]
    assert [(row.corrected.total, row.uncorrected.total) for row in memory] == [(0, 1), (0, 1)]


def test_what_is_not_counted() -> None:
    memory = table()
    cache = decode(READ_ERROR._replace(status=0x8C0000400000010E), NEHALEM)
    too_short = decode(READ_ERROR._replace(socketid=None), NEHALEM)
    elsewhere = decode(READ_ERROR, cpu.P4)
    for event in (cache, too_short, elsewhere):
        assert memory.account(event, NOW) == []
    assert list(memory) == []
    always = table(track_dimms=True, track_sockets=False)
    always.account(elsewhere, NOW)
    assert [row.key for row in always] == [(0, 0, ANY)]


def test_places_that_damaged_records_name_are_limited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcelogd.account.memory.MOST_ROWS", 4)
    memory = table()
    for socket in range(9):
        memory.account(decode(READ_ERROR._replace(socketid=socket), NEHALEM), NOW)
    memory.account(decode(READ_ERROR, NEHALEM), NOW)
    assert [(row.key, row.corrected.total) for row in memory] == [
        ((0, ANY, ANY), 2),
        ((0, 0, ANY), 2),
        ((1, ANY, ANY), 1),
        ((1, 0, ANY), 1),
    ]


def test_only_changed_rows_are_saved() -> None:
    memory = table()
    memory.get(MemoryKey(1, 0, 0), NOW)
    memory.account(decode(READ_ERROR, NEHALEM), NOW)
    assert {row.key for row in memory.take_changed()} == {(0, ANY, ANY), (0, 0, ANY)}
    assert memory.take_changed() == []


def test_text_of_the_whole_table() -> None:
    memory = table()
    row = memory.get(MemoryKey(0, 1, 2), NOW)
    row.label, row.label_location = "DIMM_A1", "NODE 0 CHANNEL 1 DIMM 2"
    memory.account(decode(READ_ERROR, NEHALEM), NOW)
    assert memory_text(memory, NOW, every=True, bios=True) == (
        "Memory errors\n"
        "SOCKET 0 CHANNEL any DIMM any\n"
        "corrected memory errors:\n\t1 total\n\t1 in 24h\n"
        "uncorrected memory errors:\n\t0 total\n\t0 in 24h\n"
        "\n"
        "SOCKET 0 CHANNEL 0 DIMM any\n"
        "corrected memory errors:\n\t1 total\n\t1 in 24h\n"
        "uncorrected memory errors:\n\t0 total\n\t0 in 24h\n"
        "\n"
        "SOCKET 0 CHANNEL 1 DIMM 2\n"
        'DMI_NAME "DIMM_A1" DMI_LOCATION "NODE 0 CHANNEL 1 DIMM 2"\n'
        "corrected memory errors:\n\t0 total\n\t0 in 24h\n"
        "uncorrected memory errors:\n\t0 total\n\t0 in 24h\n"
    )


def test_text_without_zeros() -> None:
    memory = table()
    memory.get(MemoryKey(0, 1, 2), NOW)
    memory.account(decode(READ_ERROR, NEHALEM), NOW)
    text = memory_text(memory, NOW + 3 * DAY, every=False, bios=True)
    assert "uncorrected" not in text
    assert "DIMM 2" not in text
    assert "\t1 total\n\t0 in 24h\n" in text
    assert memory_text(table(), NOW, every=True, bios=True) == ""
