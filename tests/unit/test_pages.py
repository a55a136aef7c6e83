# SPDX-License-Identifier: GPL-2.0-only
"""account/pages.py: corrected errors per page, what became of pages, and which make room for others."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from mcelogd import cpu
from mcelogd.account.pages import REPLACEMENTS, PageCrossing, PageState, PageTable, ReplacementCrossing
from mcelogd.account.text import pages_text
from mcelogd.decode import decode
from mcelogd.event import Location
from mcelogd.rate import NEVER, parse_rate
from mcelogd.record import MceRecord

NOW = 1_795_000_000
TWO_A_DAY = parse_rate("2 / 24h")
READ_ERROR = MceRecord(
    status=0x9C00004000010090, addr=0x1234_5678, socketid=0, mcgcap=1 << 10, time=NOW, cpuid=0x606A6
)
NEHALEM = cpu.INTEL


def page_error(frame: int, time: int = NOW) -> MceRecord:
    return READ_ERROR._replace(addr=frame << 12 | 0x40, time=time)


def hit(pages: PageTable, frame: int, errors: int = 1) -> list[PageCrossing | ReplacementCrossing]:
    event = decode(page_error(frame), NEHALEM)
    return [crossing for _ in range(errors) for crossing in pages.account(event, NOW)]


def frames(pages: PageTable) -> list[int]:
    return [page.address >> 12 for page in pages]


def test_the_second_error_of_a_page_crosses() -> None:
    pages = PageTable(TWO_A_DAY, 100)
    assert hit(pages, 5) == []
    (crossing,) = hit(pages, 5)
    assert isinstance(crossing, PageCrossing)
    assert crossing.page.address == 5 << 12
    assert crossing.page.triggered
    assert crossing.location.channel == 0


def test_a_page_that_is_offline_crosses_no_more_but_is_counted() -> None:
    pages = PageTable(TWO_A_DAY, 100)
    (crossing,) = hit(pages, 5, 2)
    assert isinstance(crossing, PageCrossing)
    pages.set_state(crossing.page, PageState.OFFLINE, "soft", NOW + 1)
    assert hit(pages, 5, 8) == []
    page = pages.find(5 << 12 | 0xFFF)
    assert page is crossing.page
    assert (page.total, page.bucket.seen, page.state, page.reason, page.since) == (
        *(10, 10),
        *(PageState.OFFLINE, "soft", NOW + 1),
    )


def test_since_is_when_the_state_changed_not_when_it_was_confirmed() -> None:
    pages = PageTable(TWO_A_DAY, 100)
    page = pages.get(0x5678, NOW)
    for seconds, reason in ((1, "EBUSY"), (2, "EIO")):
        pages.set_state(page, PageState.OFFLINE_FAILED, reason, NOW + seconds)
        assert (page.address, page.reason, page.since) == (0x5000, reason, NOW + 1)
        assert pages.take_changed() == ([page], [])


def test_a_page_replaced_while_its_off_lining_was_under_way_comes_back() -> None:
    pages = PageTable(TWO_A_DAY, 2)
    page = pages.get(5 << 12, NOW)
    for frame in (6, 7):
        hit(pages, frame)
    assert frames(pages) == [6, 7]
    pages.set_state(page, PageState.OFFLINE, "soft", NOW)
    assert frames(pages) == [5, 7]
    assert pages.take_changed() == ([pages.find(7 << 12), page], [6 << 12])


def test_a_page_counted_anew_while_its_off_lining_was_under_way_gets_the_state() -> None:
    pages = PageTable(TWO_A_DAY, 1)
    old = pages.get(5 << 12, NOW)
    for frame in (6, 5):
        hit(pages, frame)
    pages.set_state(old, PageState.OFFLINE, "soft", NOW)
    (page,) = pages
    assert page is not old
    assert (page.total, page.state) == (1, PageState.OFFLINE)


def test_pages_that_are_offline_stay_as_long_as_others_can_make_room() -> None:
    pages = PageTable(NEVER, 4)
    for frame in (1, 2, 3):
        pages.set_state(pages.get(frame << 12, NOW), PageState.OFFLINE, "soft", NOW)
    for frame in range(10, 20):
        hit(pages, frame)
    assert frames(pages) == [1, 2, 3, 19]
    pages.set_state(pages.get(19 << 12, NOW), PageState.OFFLINE, "soft", NOW)
    hit(pages, 20)
    assert frames(pages) == [2, 3, 19, 20]
    assert len(pages) == 4


@given(st.lists(st.integers(0, 12), max_size=100), st.integers(1, 8), st.integers(1, 8))
def test_the_order_of_use_survives_a_restart(hits: list[int], limit: int, batch: int) -> None:
    """Pages are restored in the order in which take_changed() gave them last."""
    lasting, pages = PageTable(NEVER, limit), PageTable(NEVER, limit)
    saved: dict[int, object] = {}
    for number, frame in enumerate(hits):
        hit(lasting, frame)
        hit(pages, frame)
        if number % batch == 0:
            changed, dropped = pages.take_changed()
            for address in (*dropped, *(page.address for page in changed)):
                saved.pop(address, None)
            saved |= {page.address: page for page in changed}
            pages = PageTable(NEVER, limit)
            pages.restore(saved.values())  # type: ignore[arg-type]
    assert [(page.address, page.total) for page in pages] == [(page.address, page.total) for page in lasting]


def test_a_smaller_limit_than_before_is_kept() -> None:
    pages = PageTable(NEVER, 10)
    for frame in range(10):
        hit(pages, frame)
    (saved, _) = pages.take_changed()
    smaller = PageTable(NEVER, 3)
    smaller.restore(saved)
    assert frames(smaller) == [7, 8, 9]
    assert smaller.take_changed() == ([], [frame << 12 for frame in range(7)])


def test_a_damaged_multiplier_neither_blocks_nor_floods() -> None:
    for multiplier, errors in ((0, 2), (-5, 2), (10**9, 256)):
        saved = PageTable(TWO_A_DAY, 1)
        page = saved.get(0x5000, NOW)
        page.multiplier = multiplier
        pages = PageTable(TWO_A_DAY, 1)
        pages.restore([page])
        assert hit(pages, 5, errors - 1) == []
        assert len(hit(pages, 5)) == 1


def test_too_many_replacements_cross() -> None:
    """As the C program's page-error-counter-replacement.conf has it: 156 pages, 126 counters, 20 / 1h."""
    pages = PageTable(NEVER, 126, replacement_rate=parse_rate("20 / 1h"))
    crossed = [(frame, crossing) for frame in range(156) for crossing in hit(pages, frame)]
    ((frame, crossing),) = crossed
    assert isinstance(crossing, ReplacementCrossing)
    assert frame == 126 + 20 - 1
    assert (crossing.total, crossing.bucket.seen, crossing.time) == (30, 30, NOW)
    assert crossing.counter is pages.replacements.counter


def test_the_replacement_comes_before_the_page() -> None:
    pages = PageTable(parse_rate("1 / 24h"), 1, replacement_rate=parse_rate("1 / 24h"))
    assert [type(crossing) for crossing in hit(pages, 1)] == [PageCrossing]
    assert [type(crossing) for crossing in hit(pages, 2)] == [ReplacementCrossing, PageCrossing]


def test_replacements_survive_a_restart() -> None:
    pages = PageTable(NEVER, 1, replacement_rate=parse_rate("20 / 1h"))
    assert pages.replacements.take_changed() == {}
    for frame in range(6):
        hit(pages, frame)
    objects = pages.replacements.take_changed()
    assert pages.replacements.take_changed() == {}
    again = PageTable(NEVER, 1, replacement_rate=parse_rate("20 / 1h"))
    again.replacements.restore({name: state for name, state in objects.items() if state is not None})
    assert (again.replacements.counter.total, again.replacements.counter.bucket.seen) == (5, 5)
    for damaged in ("", "[]", "{}", '{"total": 1, "count": -1, "excess": 0, "stamp": 0}', "[" * 99_999):
        again.replacements.restore({REPLACEMENTS: damaged})
    again.replacements.restore({})
    assert again.replacements.counter.total == 5


def test_only_an_exact_physical_address_may_be_off_lined() -> None:
    """v208 counts and off-lines whatever MCi_ADDR holds; counted is the same, but marked."""
    with_mode = page_error(5)._replace(mcgcap=1 << 24, status=READ_ERROR.status | 1 << 59)
    cases = {0x86: True, 0x8C: True, 0x8D: False, 0x46: False, 0x06: False, 0xBF: False}
    for misc, exact in cases.items():
        pages = PageTable(TWO_A_DAY, 10)
        event = decode(with_mode._replace(misc=misc), NEHALEM)
        assert pages.account(event, NOW) == []
        (crossing,) = pages.account(event, NOW)
        assert isinstance(crossing, PageCrossing)
        assert crossing.exact is exact, hex(misc)


def test_an_error_of_two_dimms_counts_twice_as_in_v208() -> None:
    pages = PageTable(TWO_A_DAY, 10)
    event = decode(page_error(5), NEHALEM)
    here, there = Location(channel=0, dimm=1), Location(channel=1, dimm=0)
    both = event._replace(finding=event.finding._replace(locations=(here, there)))
    (crossing,) = pages.account(both, NOW)
    assert isinstance(crossing, PageCrossing)
    assert (crossing.page.total, crossing.location) == (2, there)


@given(st.lists(st.integers(0, 12), max_size=200), st.integers(1, 8))
def test_the_least_recently_hit_page_makes_room(hits: list[int], limit: int) -> None:
    pages = PageTable(NEVER, limit)
    recent: list[int] = []
    saved: set[int] = set()
    for frame in hits:
        hit(pages, frame)
        recent = [*(other for other in recent if other != frame), frame][-limit:]
        changed, dropped = pages.take_changed()
        saved = (saved - {address >> 12 for address in dropped}) | {page.address >> 12 for page in changed}
        assert frames(pages) == sorted(recent)
    assert saved == set(recent)


def test_uncorrected_errors_and_errors_without_address_have_no_page() -> None:
    pages = PageTable(TWO_A_DAY, 10)
    for status in (READ_ERROR.status | 1 << 61, READ_ERROR.status & ~(1 << 58)):
        pages.account(decode(READ_ERROR._replace(status=status), NEHALEM), NOW)
    assert len(pages) == 0


def test_text_of_pages() -> None:
    pages = PageTable(TWO_A_DAY, 10)
    assert pages_text(pages) == ""
    for frame in (9, 5, 9):
        hit(pages, frame)
    assert pages_text(pages) == (
        "Per page corrected memory statistics:\n"
        '5000: total 1 seen "1 in 24h" online\n\n'
        '9000: total 2 seen "2 in 24h" online triggered\n\n'
    )
