# SPDX-License-Identifier: GPL-2.0-only
"""Rules of page off-lining: how many pages may go, and which."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.act import kpageflags
from mcelogd.act.caps import DAY, Limits, Memory, OfflineCaps
from mcelogd.act.kpageflags import PageKind, page_kind, read_flags

NOW = 1_795_000_000
GIB = 1 << 30
ANY = Limits(0, 0, 0)


def taken(caps: OfflineCaps, pages: int, now: int = NOW) -> OfflineCaps:
    for _ in range(pages):
        assert caps.refusal(now, None) == ""
        caps.count(now)
    return caps


def test_a_day_has_its_number() -> None:
    caps = taken(OfflineCaps(Limits(per_day=3)), 3)
    assert "memory-offline-max-per-day" in caps.refusal(NOW, None)
    assert "memory-offline-max-per-day" in caps.refusal(NOW + DAY - 1, None)
    assert caps.refusal(NOW + DAY, None) == ""


def test_a_page_taken_again_is_none_of_the_day() -> None:
    caps = taken(OfflineCaps(Limits(per_day=3, in_all=4)), 3)
    assert caps.refusal(NOW, None, again=True) == ""
    caps.count(NOW, again=True)
    assert "memory-offline-max," not in caps.refusal(NOW, None)
    assert caps.refusal(NOW, None, again=True).endswith("memory-offline-max")


def test_in_all_since_the_boot() -> None:
    caps = taken(OfflineCaps(Limits(per_day=0, in_all=5)), 5)
    assert "5 pages" in caps.refusal(NOW + 100 * DAY, None)


@pytest.mark.parametrize(
    ("corrupted", "own", "allowed"),
    [(0, 0, True), (0, 261, True), (0, 262, False), (261 * 4096, 0, True), (262 * 4096, 0, False)],
)
def test_share_of_memory_counts_what_others_took_too(corrupted: int, own: int, allowed: bool) -> None:
    caps = taken(OfflineCaps(Limits(0, 0, 0.001)), own)
    refusal = caps.refusal(NOW, Memory(GIB, corrupted))
    assert refusal == "" if allowed else refusal.startswith("0.1 % of memory")


def test_zero_is_any_number(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcelogd.act.caps.MOST_TIMES", 100)
    caps = taken(OfflineCaps(ANY), 200)
    assert caps.refusal(NOW, Memory(GIB, GIB)) == ""
    assert len(json.loads(caps.save(""))["times"]) == 100


def test_state_is_kept_over_a_restart_and_the_day_over_a_reboot() -> None:
    saved = taken(OfflineCaps(Limits(per_day=3, in_all=3)), 3).save("boot 1")
    same_boot, next_boot = OfflineCaps(Limits(0, 3)), OfflineCaps(Limits(3, 3))
    assert same_boot.restore(saved, "boot 1")
    assert next_boot.restore(saved, "boot 2")
    assert "since the boot" in same_boot.refusal(NOW, None)
    assert next_boot.taken == 0
    assert "24 hours" in next_boot.refusal(NOW, None)


@pytest.mark.parametrize(
    "text",
    [
        *("", "3", "[]", "{}", "[" * 100_000),
        *('{"boot":"","taken":1}', '{"boot":"","taken":1.5,"times":[]}', '{"boot":1,"times":7}'),
        *('{"boot":"","taken":1,"times":["x"]}', '{"boot":"","taken":true,"times":[]}'),
    ],
)
def test_damaged_state_changes_nothing(text: str) -> None:
    caps = taken(OfflineCaps(Limits()), 2)
    before = caps.save("")
    assert not caps.restore(text, "")
    assert caps.save("") == before


@given(st.lists(st.integers(0, DAY), max_size=100), st.integers(1, 5))
def test_no_24_hours_have_more_than_their_number(steps: list[int], per_day: int) -> None:
    caps = OfflineCaps(Limits(per_day, 0, 0))
    times = []
    now = NOW
    for step in steps:
        now += step
        if not caps.refusal(now, None):
            caps.count(now)
            times.append(now)
    for first, last in zip(times, times[per_day:], strict=False):
        assert last - first >= DAY


@given(st.integers(0, 20 * DAY), st.integers(0, 2**40))
def test_a_clock_set_back_refuses_for_a_day_at_most(back: int, ahead: int) -> None:
    caps = taken(OfflineCaps(Limits(per_day=2)), 2, NOW + ahead)
    now = NOW - back
    caps.refusal(now, None)
    assert caps.refusal(now + DAY, None) == ""


@pytest.mark.parametrize(
    ("flags", "kind"),
    [
        # As a 6.18 kernel shows them, tails of slab pages with bits that mean nothing there.
        (0x400, PageKind.MOVABLE),
        (0x0, PageKind.UNCLEAR),
        (0x10080, PageKind.KERNEL),
        (0x211080, PageKind.KERNEL),
        (0x100000000, PageKind.KERNEL),
        (0x4000000, PageKind.KERNEL),
        (0x400410028, PageKind.MOVABLE),
        (0x5828, PageKind.MOVABLE),
        (0x800000060, PageKind.MOVABLE),
        (1 << 20, PageKind.NO_MEMORY),
        (1 << 19, PageKind.POISONED),
        (1 << 19 | 0x28000, PageKind.POISONED),
        (1 << 19 | 0x80, PageKind.KERNEL),
        (0x28000, PageKind.HUGE),
        (0xA8000, PageKind.POISONED),
    ],
)
def test_kind_of_a_page(flags: int, kind: PageKind) -> None:
    assert page_kind(flags) is kind


def test_kpageflags_end_where_memory_ends(tmp_path: Path) -> None:
    (tmp_path / "kpageflags").write_bytes((0x400).to_bytes(8, "little") + bytes(4))
    assert read_flags(str(tmp_path), 0) == 0x400
    assert read_flags(str(tmp_path), 1) == kpageflags.NOPAGE
    assert read_flags(str(tmp_path), 2**52 - 1) == kpageflags.NOPAGE


def test_kpageflags_of_a_page_of_our_own() -> None:
    """The real file: a page of this process is movable, and a physical address beyond all is no memory."""
    memory = bytearray(b"x" * 16384)
    address = id(memory) & ~0xFFF  # the heap that this object is on
    try:
        with Path("/proc/self/pagemap").open("rb", buffering=0) as pagemap:
            pagemap.seek(address // 4096 * 8)
            frame = int.from_bytes(pagemap.read(8), "little") & (1 << 55) - 1
        flags = read_flags("/proc", frame)
    except OSError as error:
        pytest.skip(f"no kpageflags here: {error}")
    if not frame:
        pytest.skip("the kernel hides page frame numbers")
    assert page_kind(flags) is PageKind.MOVABLE
    assert page_kind(read_flags("/proc", 2**52 - 1)) is PageKind.NO_MEMORY
