# SPDX-License-Identifier: GPL-2.0-only
"""What was found, without what is known: every way in which one machine check is met twice."""

from __future__ import annotations

import time

import pytest

from mcelogd.earlier.found import Found, Origin
from mcelogd.earlier.merge import WINDOW, known_from, records_of, unseen
from mcelogd.record import LENGTH, MceRecord, layout, pack
from mcelogd.store.rows import StoredEvent

T = 1_795_399_000
CORRECTED = MceRecord(
    status=0x9C00004000010090,
    addr=0x1234000,
    misc=0x86,
    tsc=0x1C9F0A2B3D4,
    time=T,
    cpuid=0x606A6,
    bank=5,
    extcpu=3,
)
PANIC = MceRecord(
    status=0xBE00000000800400,
    addr=0xFEE00,
    misc=0x86,
    mcgstatus=5,
    ip=0xFFFF,
    tsc=77,
    time=T,
    bank=3,
    extcpu=2,
)
LEFT_OVER = PANIC._replace(mcgstatus=0, ip=0, tsc=0, time=T + 300)


def found(record: MceRecord, origin: Origin = Origin.KERNEL_LOG, *, incomplete: bool = False) -> Found:
    return Found(pack(record), origin, record.time, "x", incomplete)


def in_words(record: MceRecord) -> Found:
    """As an EDAC driver prints it: without MISC and the socket."""
    return found(record._replace(misc=0, cpuid=0), incomplete=True)


def test_nothing_known_leaves_all_in_order_of_time() -> None:
    later, first = found(CORRECTED), found(PANIC._replace(time=T - 9))
    assert unseen([later, first], []) == [first, later]
    assert unseen([], [CORRECTED]) == []


@pytest.mark.parametrize(
    "known",
    [
        CORRECTED,
        CORRECTED._replace(time=T + 5000),  # the clock was set in between; the TSC tells
        CORRECTED._replace(tsc=0, time=T + WINDOW),
        CORRECTED._replace(tsc=0, time=T - WINDOW),
        CORRECTED._replace(tsc=0, addr=0),
        CORRECTED._replace(tsc=0, misc=0, synd=7),
    ],
)
def test_what_is_known_goes(known: MceRecord) -> None:
    assert unseen([found(CORRECTED)], [known]) == []


@pytest.mark.parametrize(
    "known",
    [
        CORRECTED._replace(tsc=1),
        CORRECTED._replace(status=0x9C00004000010091),
        CORRECTED._replace(bank=6),
        CORRECTED._replace(extcpu=4),
        CORRECTED._replace(tsc=0, time=T + WINDOW + 1),
        CORRECTED._replace(tsc=0, time=T - WINDOW - 1),
        CORRECTED._replace(tsc=0, addr=0x1235000),
        CORRECTED._replace(tsc=0, misc=0x87),
    ],
)
def test_what_is_another_stays(known: MceRecord) -> None:
    assert unseen([found(CORRECTED)], [known]) == [found(CORRECTED)]


def test_what_was_read_and_printed_in_words_is_known() -> None:
    assert unseen([in_words(CORRECTED._replace(time=T + 1))], [CORRECTED]) == []
    assert unseen([in_words(CORRECTED._replace(tsc=0, time=T + 1))], [CORRECTED]) == []


def test_of_two_texts_of_one_error_the_fuller_is_taken() -> None:
    full, words = found(CORRECTED), in_words(CORRECTED._replace(tsc=0, time=T + 1))
    assert unseen([words, full], []) == [full]
    assert unseen([full, words], []) == [full]


def test_a_text_and_the_registers_of_a_panic_are_one() -> None:
    text = found(PANIC._replace(ip=0), Origin.PSTORE)
    registers = found(PANIC._replace(mcgcap=0xF000814), Origin.PSTORE)
    assert unseen([text, registers], []) == [registers]


def test_a_storms_records_differ_by_tsc() -> None:
    storm = [found(CORRECTED._replace(tsc=100 + number)) for number in range(500)]
    assert unseen(storm, []) == storm
    assert unseen(storm, [CORRECTED._replace(tsc=100 + number) for number in range(0, 500, 2)]) == storm[1::2]


def test_what_is_left_over_of_a_panic_is_not_counted_again() -> None:
    panic, left = found(PANIC, Origin.PSTORE), found(LEFT_OVER)
    assert unseen([left, panic], []) == [panic]
    # mcelog read it from the bank before: it was told.
    assert unseen([panic], [LEFT_OVER]) == []
    other_cpu = found(LEFT_OVER._replace(extcpu=9))
    assert unseen([other_cpu, panic], []) == [panic]


@pytest.mark.parametrize(
    "left_over",
    [
        LEFT_OVER._replace(time=T - 300),  # of the panic before
        LEFT_OVER._replace(addr=0xFEE40),
        LEFT_OVER._replace(extcpu=9, socketid=1),
        LEFT_OVER._replace(bank=4),
        LEFT_OVER._replace(tsc=78),
    ],
)
def test_another_fatal_error_is_no_left_over(left_over: MceRecord) -> None:
    assert len(unseen([found(PANIC, Origin.PSTORE), found(left_over)], [])) == 2
    assert unseen([found(PANIC, Origin.PSTORE)], [left_over]) == [found(PANIC, Origin.PSTORE)]


def test_a_left_over_is_news_where_the_panic_was_told_long_ago() -> None:
    assert unseen([found(LEFT_OVER)], [PANIC._replace(time=T - 90_000)]) == [found(LEFT_OVER)]


def test_the_stores_events_are_what_is_known() -> None:
    def row(record: bytes) -> StoredEvent:
        return StoredEvent(1, T, "memory", "corrected", 3, 5, 0, None, None, "", record)

    rows = [row(pack(CORRECTED._replace(time=0))), row(b"short"), row(b"x" * 73), row(pack(PANIC)[:72])]
    first, second = records_of(rows)
    assert first.time == T
    assert (second.status, second.socketid) == (PANIC.status, None)
    assert unseen([found(CORRECTED._replace(tsc=0))], [first]) == []
    assert layout(LENGTH).parse(pack(first)).addr == CORRECTED.addr


def test_from_when_on_the_store_is_asked() -> None:
    assert known_from([found(CORRECTED), found(LEFT_OVER)]) == T - WINDOW
    assert known_from([]) == 0


def test_much_of_the_same_takes_no_time() -> None:
    begin = time.process_time()
    known = [CORRECTED._replace(tsc=0, addr=number << 12) for number in range(20_000)]
    many = [found(CORRECTED._replace(tsc=0, addr=number << 6)) for number in range(1, 4096)]
    unseen(many, known)
    fatal = [found(PANIC._replace(tsc=number, addr=number), Origin.PSTORE) for number in range(1, 4096)]
    unseen(fatal, [LEFT_OVER._replace(addr=number << 20) for number in range(20_000)])
    assert time.process_time() - begin < 10
