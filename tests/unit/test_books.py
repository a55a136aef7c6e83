# SPDX-License-Identifier: GPL-2.0-only
"""account/books.py: DIMMs that move or are replaced, and what administrators say of them."""

from __future__ import annotations

from mcelogd import cpu
from mcelogd.account.books import Books
from mcelogd.account.faults import FaultTable
from mcelogd.account.memory import ANY, MemoryKey, MemoryTable, Rates
from mcelogd.account.pages import PageTable
from mcelogd.account.parts import Part
from mcelogd.decode import decode
from mcelogd.rate import parse_rate
from mcelogd.record import MceRecord

NOW = 1_795_000_000
RATE = parse_rate("10 / 24h")
READ_ERROR = MceRecord(
    status=0x9C00004000010090, addr=0x5000, socketid=0, time=NOW, cpuid=0x606A6, bank=5, mcgcap=1 << 10
)
CHANNEL_0 = MemoryKey(0, 0, ANY)
CHANNEL_1 = MemoryKey(0, 1, ANY)
SOCKET = MemoryKey(0, ANY, ANY)


def books(**sitting: str) -> Books:
    rates = Rates(RATE, RATE)
    made = Books(
        MemoryTable(rates, rates, track_dimms=True, track_sockets=True),
        pages=PageTable(RATE, 100),
        faults=FaultTable(),
    )
    made.look_at_slots(slots(**sitting), NOW)
    return made


def slots(**serials: str) -> dict[MemoryKey, Part]:
    """By channel: `c0="S1"`."""
    return {MemoryKey(0, int(name[1]), ANY): Part(serial) for name, serial in serials.items()}


def hit(made: Books, times: int, channel: int = 0) -> None:
    record = READ_ERROR._replace(status=READ_ERROR.status | channel)
    for number in range(times):
        made.account(decode(record._replace(addr=(number + 1) << 12), cpu.by_cpuid(0, 0x606A6)), NOW)


def totals(made: Books) -> dict[MemoryKey, int]:
    return {row.key: row.corrected.total for row in made.memory}


def test_counters_follow_the_dimm() -> None:
    made = books(c0="S1", c1="S2")
    hit(made, 3)
    hit(made, 5, channel=1)
    assert made.look_at_slots(slots(c0="S2", c1="S1"), NOW) == []
    assert totals(made) == {SOCKET: 8, CHANNEL_0: 5, CHANNEL_1: 3}
    assert made.history == []


def test_a_new_dimm_begins_anew_and_the_old_ones_history_stays() -> None:
    made = books(c0="S1", c1="S2")
    hit(made, 3)
    gone = made.look_at_slots(slots(c0="S9", c1="S2"), NOW + 5)
    assert [(past.key, past.part.serial, past.corrected, past.until) for past in gone] == [
        (CHANNEL_0, "S1", 3, NOW + 5)
    ]
    assert made.history == gone
    assert totals(made)[CHANNEL_0] == 0
    objects = made.take_changed().objects
    again = books()
    again.restore([], [], {key: state for key, state in objects.items() if state is not None})
    assert again.history == gone
    assert again.sitting == made.sitting
    assert again.look_at_slots(slots(c0="S9", c1="S2"), NOW + 9) == []


def test_someone_says_it_was_replaced() -> None:
    made = books(c0="S1")
    hit(made, 3)
    past = made.replace(CHANNEL_0, NOW, "user 0 said so")
    assert past is not None
    assert (past.corrected, past.why) == (3, "user 0 said so")
    assert totals(made) == {SOCKET: 3, CHANNEL_0: 0}
    assert made.replace(MemoryKey(7, 7, 7), NOW, "") is None


def test_someone_says_it_is_sound() -> None:
    made = books(c0="S1")
    hit(made, 9)
    assert made.faults is not None
    assert made.faults.verdict(CHANNEL_0) is not None
    assert made.acquit(CHANNEL_0)
    assert made.faults.verdict(CHANNEL_0) is None
    assert totals(made)[CHANNEL_0] == 9
    row = made.memory.find(CHANNEL_0)
    assert row is not None
    assert row.corrected.bucket.seen == 0
    assert row in made.take_changed().memory
    assert not made.acquit(MemoryKey(7, 7, 7))
