# SPDX-License-Identifier: GPL-2.0-only
"""ring/ against pages that kernels produced, pages built by the published formats, and pages of anything."""

from __future__ import annotations

import contextlib
import json
import struct
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.ascii import Assembled, assemble
from mcelogd.record import LENGTH, MceRecord, layout
from mcelogd.ring.events import RecordFormat
from mcelogd.ring.format import FormatError, parse_event, parse_page
from mcelogd.ring.page import Page, read_page
from tests.ring_pages import (
    END,
    FIXTURES,
    FORMATS,
    PAGE,
    discarded,
    entry,
    page,
    payload,
    time_extend,
    time_stamp,
)

if TYPE_CHECKING:
    from pathlib import Path

DEVICE = json.loads((FIXTURES.parent / "device" / "manifest.json").read_text())
PAGES = sorted(FIXTURES.glob("trace_*.bin"))
FORM = layout(LENGTH)

TRACED = set(FORM.parse(bytes(LENGTH))._fields) - {"inject_flags", "severity", "kflags", "finished", "cpu8"}
"""What the event has of `struct mce`, in its newest form."""
SINCE_6_10 = {"ppin", "microcode"}


def event_of(path: Path) -> str:
    return "6.1-debian" if "stock" in path.name else "6.1-own"


def records_in(data: bytes, event: str) -> tuple[list[MceRecord], list[Page]]:
    records, pages = [], []
    form = RecordFormat(FORMATS[event])
    for at in range(0, len(data), PAGE.page_size):
        found = read_page(memoryview(data)[at : at + PAGE.page_size], PAGE)
        pages.append(found)
        made = (form.record(one) for one in found.entries)
        records += [FORM.parse(one) for one in made if one is not None]
    return records, pages


def recorded(name: str) -> list[MceRecord]:
    """Of all CPUs, by CPU of the buffer."""
    paths = sorted(FIXTURES.glob(f"trace_{name}_cpu[0-9].bin"))
    return [one for path in paths for one in records_in(path.read_bytes(), event_of(path))[0]]


def without(record: MceRecord, names: set[str]) -> dict[str, Any]:
    return {name: value for name, value in record._asdict().items() if name in TRACED - names}


NAMES = sorted({path.stem.removeprefix("trace_").rpartition("_")[0] for path in PAGES})
TEXTS = [name for name in NAMES if (FIXTURES / f"trace_{name}.txt").exists()]


def test_there_are_real_pages() -> None:
    assert len(TEXTS) > 12
    assert len(PAGES) > 20


@pytest.mark.parametrize("name", TEXTS)
def test_the_same_as_the_kernels_own_text(name: str) -> None:
    lines = (FIXTURES / f"trace_{name}.txt").read_text().splitlines()
    said = [one.record for one in assemble(lines) if isinstance(one, Assembled)]
    assert said
    fields = {"time", "status", "addr", "misc", "mcgstatus", "mcgcap", "ip", "tsc", "cpuid", "cpuvendor"}
    fields |= {"cs", "bank", "extcpu", "socketid", "apicid", "synd", "ipid"}

    def told(record: MceRecord) -> list[int]:
        return [getattr(record, field) or 0 for field in sorted(fields)]

    assert sorted(map(told, recorded(name))) == sorted(map(told, said))


@pytest.mark.parametrize("name", [name for name in NAMES if f"{name}.bin" in DEVICE])
def test_the_same_as_the_device_gave(name: str) -> None:
    gave = list(FORM.parse_all((FIXTURES.parent / f"device/{name}.bin").read_bytes()))
    expected = [without(record, SINCE_6_10) for record in gave]
    found = [without(record, SINCE_6_10) for record in recorded(name)]
    assert sorted(found, key=repr) == sorted(expected, key=repr)


def test_lost_events_are_counted_by_the_kernel() -> None:
    path = FIXTURES / "trace_stock_lost_cpu0.bin"
    records, pages = records_in(path.read_bytes(), event_of(path))
    assert [(len(one.entries), one.lost, one.damaged) for one in pages] == [
        (10, 0, False),
        (35, 245, False),
        (10, 0, False),
    ]
    assert len(records) == 55


def test_other_events_are_passed_over() -> None:
    path = FIXTURES / "trace_stock_amd_mixed_cpu0.bin"
    records, (found,) = records_in(path.read_bytes(), event_of(path))
    assert (len(found.entries), len(records)) == (18, 6)


values = st.fixed_dictionaries(
    {
        name: st.integers(0, (1 << 8 * field.size) - 1)
        for name, field in FORMATS["6.14"].fields.items()
        if not name.startswith("common_")
    }
)
between = st.one_of(
    st.binary(min_size=8, max_size=200).map(lambda data: entry(b"\xff\xff" + data)),
    st.integers(1, (1 << 59) - 1).map(time_extend),
    st.integers(0, (1 << 59) - 1).map(time_stamp),
    st.integers(1, 40).map(lambda words: discarded(4 * words)),
)


@pytest.mark.parametrize("kernel", FORMATS)
@given(
    st.lists(st.tuples(values, st.lists(between, max_size=2)), max_size=5),
    st.none() | st.integers(-1, 1 << 40),
    st.booleans(),
)
def test_what_goes_in_comes_out(
    kernel: str, wanted: list[tuple[dict[str, int], list[bytes]]], lost: int | None, ends: bool
) -> None:
    event = FORMATS[kernel]
    entries = []
    for one, others in wanted:
        entries += [*others, entry(payload(event, one), delta=len(entries))]
    if ends and lost is None:
        entries.append(END)
    found = read_page(memoryview(page(entries, lost)), PAGE)
    form = RecordFormat(event)
    records = [FORM.parse(data) for one in found.entries if (data := form.record(one)) is not None]
    assert (found.lost, found.damaged) == (0 if lost is None else abs(lost), False)
    assert len(records) == len(wanted)
    for record, (one, _) in zip(records, wanted, strict=True):
        has = {"time": "walltime", "extcpu": "cpu"}
        for name in TRACED:
            its = has.get(name, name)
            assert getattr(record, name) == (one[its] if its in event.fields else 0), name
        assert record.cpu == one["cpu"]


def test_short_and_long_entries_are_both_tried() -> None:
    sizes = {kernel: len(entry(payload(event, {}))) for kernel, event in FORMATS.items()}
    assert sizes["6.1-debian"] == 4 + 112
    assert sizes["6.12-debian"] > 8 + 112
    assert sizes["6.14"] > 8 + 112


@given(st.binary(max_size=5000), st.sampled_from(sorted(FORMATS)))
def test_any_bytes_are_taken(data: bytes, kernel: str) -> None:
    _assert_bounded(data, kernel)


@given(
    st.sampled_from(PAGES),
    st.lists(st.tuples(st.integers(0, 4095), st.integers(0, 255)), max_size=8),
    st.integers(0, 4096),
)
def test_damaged_pages_are_taken(path: Path, changes: list[tuple[int, int]], length: int) -> None:
    data = bytearray(path.read_bytes()[:4096])
    for at, value in changes:
        data[at] = value
    _assert_bounded(bytes(data[:length]), event_of(path))


def _assert_bounded(data: bytes, kernel: str) -> None:
    found = read_page(memoryview(data), PAGE)
    form = RecordFormat(FORMATS[kernel])
    assert all(one is None or len(one) == LENGTH for one in map(form.record, found.entries))
    assert sum(len(one) for one in found.entries) <= len(data)
    assert 0 <= found.lost <= 1 << 48


@pytest.mark.parametrize(
    ("bad", "good"),
    [
        (struct.pack("<II", 0, 0) + bytes(8), 0),
        (struct.pack("<II", 0, 3), 0),
        (struct.pack("<II", 0, 1 << 31) + bytes(8), 0),
        (struct.pack("<I", 28), 0),
        (struct.pack("<II", 1 << 5 | 29, 5000), 0),
        (b"\0\0", 0),
    ],
)
def test_what_stands_before_the_damage_is_kept(bad: bytes, good: int) -> None:
    event = FORMATS["6.1-debian"]
    found = read_page(memoryview(page([entry(payload(event, {"status": 7})), bad])), PAGE)
    assert (len(found.entries), found.damaged) == (1 + good, True)


def test_a_page_that_says_it_is_longer_than_it_is() -> None:
    data = bytearray(page([entry(payload(FORMATS["6.1-own"], {"bank": 3}))]))
    struct.pack_into("<Q", data, 8, 0xFFFFF)
    found = read_page(memoryview(data), PAGE)
    assert found.damaged
    assert found.entries
    assert read_page(memoryview(bytes(7)), PAGE) == Page([], 0, damaged=True)
    assert read_page(memoryview(b""), PAGE) == Page([])


def test_fields_keep_their_width() -> None:
    """A kernel whose field is wider than that of struct mce."""
    text = (
        (FIXTURES / "6.1-own.format")
        .read_text()
        .replace("u32 socketid;\toffset:100;\tsize:4", "u64 socketid;\toffset:112;\tsize:8")
    )
    event = parse_event(text)
    record = RecordFormat(event).record(memoryview(payload(event, {"socketid": 5 << 32 | 3, "bank": 9})))
    assert record is not None
    assert (FORM.parse(record).socketid, FORM.parse(record).bank) == (3, 9)


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("ID: 70", "ID: many", "number"),
        ("common_type", "uncommon_type", "common_type"),
        ("u64 status", "u64 state", "status"),
        ("u64 status;\toffset:", "u64 status;\toffset:20000", "long"),
        ("u8 bank", "__data_loc u8[] bank", "bank"),
    ],
)
def test_a_format_that_cannot_be(old: str, new: str, says: str) -> None:
    text = (FIXTURES / "6.1-own.format").read_text()
    assert old in text
    with pytest.raises(FormatError, match=says):
        RecordFormat(parse_event(text.replace(old, new)))


@pytest.mark.parametrize(
    ("old", "new", "says"),
    [
        ("commit", "admit", "commit"),
        ("offset:8;\tsize:8", "offset:8;\tsize:3", "layout"),
        ("offset:16;\tsize:4080", "offset:10;\tsize:4080", "layout"),
        ("size:4080", "size:4080000", "layout"),
    ],
)
def test_a_page_header_that_cannot_be(old: str, new: str, says: str) -> None:
    text = (FIXTURES / "header_page").read_text()
    assert old in text
    with pytest.raises(FormatError, match=says):
        parse_page(text.replace(old, new))


@given(st.text(max_size=400))
def test_any_text_is_a_format_or_is_refused(text: str) -> None:
    for parse in (parse_event, parse_page):
        with contextlib.suppress(FormatError):
            assert parse("\tfield:" + text)
