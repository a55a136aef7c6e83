# SPDX-License-Identifier: GPL-2.0-only
"""record.py against bytes that a real kernel produced."""

from __future__ import annotations

import json
import struct
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.record import FIELDS, LENGTH, SHORTEST, Layout, MceRecord, RecordLengthError, layout, pack

FIXTURES = Path(__file__).parent.parent / "fixtures" / "device"
MANIFEST = json.loads((FIXTURES / "manifest.json").read_text())


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_every_field_of_a_real_record(name: str) -> None:
    expected = MANIFEST[name]["records"]
    records = list(layout(LENGTH).parse_all((FIXTURES / name).read_bytes()))
    assert len(records) == len(expected)
    for record, fields in zip(records, expected, strict=True):
        for field, value in record._asdict().items():
            known_as = "cpu" if field == "cpu8" else field
            assert value == int(fields.get(known_as, "0"), 16), field


@pytest.mark.parametrize("name", sorted(MANIFEST))
def test_pack_is_the_reverse_of_parse(name: str) -> None:
    data = (FIXTURES / name).read_bytes()
    assert b"".join(pack(record) for record in layout(LENGTH).parse_all(data)) == data


@pytest.mark.parametrize(
    ("length", "last"),
    [
        (72, "extcpu"),
        (88, "mcgcap"),
        (104, "ipid"),
        (112, "ppin"),
        (116, "microcode"),
        (120, "microcode"),
        (124, "microcode"),
        (128, "kflags"),
        (192, "kflags"),
    ],
)
def test_shorter_and_longer_structs(length: int, last: str) -> None:
    data = bytes(range(1, 129)).ljust(length, b"\xff")[:length]
    record = layout(length).parse(data)
    names = [field.name for field in FIELDS]
    known = names[: names.index(last) + 1]
    whole = layout(LENGTH).parse(data.ljust(LENGTH, b"\0"))
    for name in names:
        value = getattr(record, name)
        assert value == (getattr(whole, name) if name in known else None), name


@pytest.mark.parametrize("length", [-1, 0, 1, 71, 73, 130, 4100, 1 << 40])
def test_lengths_no_kernel_has_are_refused(length: int) -> None:
    with pytest.raises(RecordLengthError, match="record length"):
        Layout(length)


def test_only_longer_records_have_ignored_bytes() -> None:
    assert [layout(length).ignored for length in (72, 124, 128, 136)] == [0, 0, 0, 8]


def test_a_cut_off_record_is_left_out() -> None:
    data = pack(MceRecord(bank=1)) + pack(MceRecord(bank=2))[:-1]
    assert [record.bank for record in layout(LENGTH).parse_all(data)] == [1]
    with pytest.raises(struct.error):
        layout(LENGTH).parse(data, LENGTH)


def test_cpu_is_extcpu_unless_that_is_not_filled() -> None:
    assert MceRecord(cpu8=44, extcpu=300).cpu == 300
    assert MceRecord(cpu8=7, extcpu=0).cpu == 7


@given(st.binary(min_size=SHORTEST, max_size=200))
def test_any_bytes_parse(data: bytes) -> None:
    length = len(data) // 4 * 4
    record = layout(length).parse(data)
    assert record.status == int.from_bytes(data[:8], "little")
