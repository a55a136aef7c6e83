# SPDX-License-Identifier: GPL-2.0-only
"""ras:mc_event: entries built from the published format, and its labels joined with records."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcelogd import cpu
from mcelogd.decode import decode
from mcelogd.dimms.labels import parse_labels
from mcelogd.dimms.names import DimmNames
from mcelogd.dimms.told import MOST, SECONDS, ToldLabels
from mcelogd.record import MceRecord
from mcelogd.ring.events import RecordFormat
from mcelogd.ring.format import Field, FormatError, PageFormat, parse_event
from mcelogd.ring.mc_event import McEvent, McEventFormat
from mcelogd.ring.page import read_page

MEMBERS = (
    ("unsigned short common_type", 0, 2),
    ("unsigned char common_flags", 2, 1),
    ("unsigned char common_preempt_count", 3, 1),
    ("int common_pid", 4, 4),
    ("unsigned int error_type", 8, 4),
    ("__data_loc char[] msg", 12, 4),
    ("__data_loc char[] label", 16, 4),
    ("u16 error_count", 20, 2),
    ("u8 mc_index", 22, 1),
    ("s8 top_layer", 23, 1),
    ("s8 middle_layer", 24, 1),
    ("s8 lower_layer", 25, 1),
    ("long address", 32, 8),
    ("u8 grain_bits", 40, 1),
    ("long syndrome", 48, 8),
    ("__data_loc char[] driver_detail", 56, 4),
)
ADDRESS = 0x1_2345_6780
ID = 417
END = 60
FIELDS = "".join(f"\tfield:{name};\toffset:{at};\tsize:{size};\tsigned:0;\n" for name, at, size in MEMBERS)
FORMAT = f'name: mc_event\nID: {ID}\nformat:\n{FIELDS}\nprint fmt: "x"\n'


def entry(address: int, label: bytes, *, grain: int = 6, number: int = ID, relative: bool = False) -> bytes:
    """As the kernel writes one: the texts behind the fixed members, each with its NUL."""
    texts = (b"memory read error", label, b"rank:1 row:2")
    words, content, at = [], b"", END
    for text in texts:
        start = at + len(content) - (END if relative else 0)
        words.append(len(text) + 1 << 16 | start)
        content += text + b"\0"
    data = bytearray(END)
    struct.pack_into("<HBBi", data, 0, number, 0, 0, 77)
    struct.pack_into("<III", data, 8, 0, words[0], words[1])
    struct.pack_into("<QB", data, 32, address, grain)
    struct.pack_into("<QI", data, 48, 0, words[2])
    return bytes(data) + content


def event(data: bytes, text: str = FORMAT) -> McEvent | None:
    return McEventFormat(parse_event(text)).event(memoryview(data))


LABELS = st.binary(max_size=60).filter(lambda text: b"\0" not in text)


@settings(deadline=None)
@given(st.integers(0, (1 << 64) - 1), LABELS, st.integers(0, 63))
def test_what_the_kernel_writes_is_read(address: int, label: bytes, grain: int) -> None:
    text = label.decode(errors="replace").strip()
    assert event(entry(address, label, grain=grain)) == McEvent(address, grain, text)


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_entry_can_be_read(data: bytes) -> None:
    form = McEventFormat(parse_event(FORMAT))
    form.event(memoryview(data))
    found = form.event(memoryview(struct.pack("<H", ID) + data))
    assert found is None or 0 <= found.grain_bits <= 63


@settings(deadline=None)
@given(st.integers(0, 120))
def test_an_entry_that_is_cut_off_raises_nothing(size: int) -> None:
    found = event(entry(0x1234, b"DIMM_A1")[:size])
    assert found is None or "DIMM_A1".startswith(found.label)


def test_other_events_are_passed_over() -> None:
    assert event(entry(0x1234, b"DIMM_A1", number=ID + 1)) is None


@pytest.mark.parametrize("label", [b"", b"any memory", b"unknown memory", b" "])
def test_what_names_no_dimm_is_no_label(label: bytes) -> None:
    assert event(entry(0x1234, label)) == McEvent(0x1234, 6, "")


def test_members_elsewhere_and_of_another_kind() -> None:
    """Newer kernels may count offsets from the member, and have no grain."""
    moved = FORMAT.replace("__data_loc char[] label", "__rel_loc char[] label")
    data = bytearray(entry(0x1234, b"DIMM_B2"))
    (word,) = struct.unpack_from("<I", data, 16)
    struct.pack_into("<I", data, 16, word - 20)
    assert event(bytes(data), moved) == McEvent(0x1234, 6, "DIMM_B2")
    without = "\n".join(line for line in FORMAT.splitlines() if "grain" not in line)
    assert event(entry(0x1234, b"DIMM_B2"), without) == McEvent(0x1234, 0, "DIMM_B2")


@pytest.mark.parametrize("name", ["common_type", "address", "label"])
def test_a_format_that_lacks_something(name: str) -> None:
    text = "\n".join(line for line in FORMAT.splitlines() if f" {name};" not in line)
    with pytest.raises(FormatError):
        McEventFormat(parse_event(text))


def test_a_page_with_both_events() -> None:
    """As a CPU's buffer has them: the record, and behind it what the driver made of it."""
    members = (
        *MEMBERS[:4],
        ("u64 status", 8, 8),
        ("u64 addr", 16, 8),
        ("u8 bank", 24, 1),
        ("u32 cpu", 28, 4),
    )
    fields = "".join(f"\tfield:{name};\toffset:{at};\tsize:{size};\n" for name, at, size in members)
    records = RecordFormat(parse_event(f"ID: 99\n{fields}"))
    one = struct.pack("<HHiQQQI", 99, 0, 77, 0x8C00004000010091, ADDRESS, 5, 3)[:32]
    data = b"".join(
        struct.pack("<II", 0, 4 + len(payload) + -len(payload) % 4) + payload + bytes(-len(payload) % 4)
        for payload in (one, entry(ADDRESS, b"DIMM_B1"))
    )
    page = struct.pack("<QQ", 0, len(data)) + data
    form = PageFormat(Field(8, 8), 16, 4096)
    entries = read_page(memoryview(page.ljust(4096, b"\0")), form).entries
    labels = McEventFormat(parse_event(FORMAT))
    assert [labels.event(payload) for payload in entries] == [None, McEvent(ADDRESS, 6, "DIMM_B1")]
    assert [records.record(payload) is not None for payload in entries] == [True, False]


# -- the join ---------------------------------------------------------------------------------------


def record(address: int = ADDRESS, **changes: int) -> MceRecord:
    """A corrected memory error on an Ice Lake server, which names channel 1 and no DIMM."""
    known = {"status": 0x8C00004000010091, "addr": address, "socketid": 0, "bank": 13, "cpuid": 0x606A6}
    return MceRecord(**(known | changes))


def labels(told: ToldLabels, now: float = 0.0, **changes: int) -> list[str | None]:
    one = record(**changes)
    return told.labels(decode(one, cpu.by_cpuid(0, one.cpuid)), now)


def test_a_label_goes_with_the_record_of_its_address() -> None:
    told = ToldLabels(DimmNames(cpu.GENERIC))
    assert labels(told) == [None]
    told.tell(ADDRESS, 0, "DIMM_B1", 0)
    assert labels(told) == ["DIMM_B1"]
    assert labels(told, address=ADDRESS ^ 0x3F) == ["DIMM_B1"]
    assert labels(told, address=ADDRESS ^ 0x40) == [None]


def test_a_driver_that_knows_the_page_only() -> None:
    told = ToldLabels(DimmNames(cpu.GENERIC))
    told.tell(ADDRESS & ~0xFFF, 12, "DIMM_B1", 0)
    assert labels(told) == ["DIMM_B1"]
    assert labels(told, address=ADDRESS ^ 0x1000) == [None]


def test_it_is_forgotten() -> None:
    told = ToldLabels(DimmNames(cpu.GENERIC))
    told.tell(ADDRESS, 0, "DIMM_B1", 100)
    assert labels(told, 100 + SECONDS) == ["DIMM_B1"]
    assert labels(told, 101 + SECONDS) == [None]
    for number in range(1, MOST + 1):
        told.tell(ADDRESS + (number << 6), 0, "DIMM_C1", 200)
    assert labels(told, 200) == [None]


def test_what_says_nothing_is_left_out() -> None:
    told = ToldLabels(DimmNames(cpu.GENERIC))
    told.tell(0, 0, "DIMM_B1", 0)
    told.tell(ADDRESS, 0, "", 0)
    assert labels(told, address=0) == labels(told) == [None]


def test_the_administrators_name_comes_first() -> None:
    names = DimmNames(cpu.by_cpuid(0, 0x606A6), labels=parse_labels("socket 0 channel 1 = Mine\n", "x"))
    told = ToldLabels(names)
    told.tell(ADDRESS, 0, "DIMM_B1", 0)
    assert labels(told) == ["Mine"]


def test_who_comes_first_does_not_matter_for_what_follows() -> None:
    """The place learns the label, and its counters and later errors have it."""
    nehalem = {"cpuid": 0x106A5, "bank": 8, "misc": 0x50000}  # channel 1 DIMM 1
    for is_record_first in (False, True):
        names = DimmNames(cpu.GENERIC)
        told = ToldLabels(names)
        if not is_record_first:
            told.tell(ADDRESS, 0, "DIMM_B2", 0)
        first = labels(told, **nehalem)
        if is_record_first:
            assert first == [None]
            told.tell(ADDRESS, 0, "DIMM_B2", 1)
        name = names.of(0, 1, 1)
        assert name is not None
        assert (name.label, name.source) == ("DIMM_B2", "EDAC")
        assert labels(told, 2, address=0x99000, **nehalem) == ["DIMM_B2"]


def test_a_channel_learns_nothing() -> None:
    """There may be several DIMMs on it."""
    names = DimmNames(cpu.GENERIC)
    told = ToldLabels(names)
    told.tell(ADDRESS, 0, "DIMM_B1", 0)
    assert labels(told) == ["DIMM_B1"]
    assert names.of(0, 1, -1) is None
