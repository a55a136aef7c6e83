# SPDX-License-Identifier: GPL-2.0-only
"""Files of pstore -> dumps."""

from __future__ import annotations

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.earlier.dumps import Dump, Name, Piece, What, dumps_of, name_of, record_of
from mcelogd.record import MceRecord, pack

NOW = 1_795_400_000
T = NOW - 500


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("dmesg-efi-179539950001001", (What.TEXT, "efi", 179539950001001)),
        ("dmesg-erst-7711182137437585409", (What.TEXT, "erst", 7711182137437585409)),
        ("dmesg-ramoops-0", (What.TEXT, "ramoops", 0)),
        ("dmesg-pstore_blk-3", (What.TEXT, "pstore_blk", 3)),
        ("dmesg-efi-179539950001001.enc.z", (What.COMPRESSED, "efi", 179539950001001)),
        ("mce-erst-5950000000000000001", (What.RECORD, "erst", 5950000000000000001)),
        ("dmesg.txt", (What.TEXT, "dmesg.txt", 0)),
        ("console-ramoops-0", None),
        ("dmesg-efi-", None),
        ("dmesg-efi-1٣", None),
        ("mce-erst-" + "9" * 40, None),
        (".dmesg.txt.swp", None),
        ("", None),
    ],
)
def test_names(name: str, expected: tuple[What, str, int] | None) -> None:
    assert name_of(name) == (None if expected is None else Name(*expected))


def efi(part: int, text: str, *, when: int = T, count: int = 1, reason: str = "Panic") -> Piece:
    name = f"dmesg-efi-{when}{part:02}{count:03}"
    found = name_of(name)
    assert found is not None
    return Piece(name, found, f"{reason}#{count} Part{part}\n{text}\n".encode(), NOW)


def texts(dump: Dump) -> list[str]:
    return [line.text for line in dump.lines if line.text and "#" not in line.text]


def test_the_parts_of_a_dump_are_put_in_the_order_of_time() -> None:
    pieces = [efi(part, f"<4>[  {20 - part}.5] line {part}", when=T + (part > 3)) for part in range(1, 13)]
    for seed in range(5):
        random.Random(seed).shuffle(pieces)
        (dump,) = dumps_of(pieces, NOW)
        assert texts(dump) == [f"<4>[  {20 - part}.5] line {part}" for part in range(12, 0, -1)]
        # Part 1 ends with the last line, printed when the dump was written.
        assert [line.when for line in dump.lines if "line" in line.text] == [
            T + 1 - n for n in range(11, -1, -1)
        ]
        assert dump.path == f"dmesg-efi-{T}01001"


def test_dumps_are_kept_apart() -> None:
    first = [efi(part, f"a{part}") for part in (1, 2)]
    oops = [efi(part, f"b{part}", count=1, reason="Oops") for part in (1, 2)]
    second = [efi(part, f"c{part}", count=2) for part in (1, 2)]
    next_boot = [efi(part, f"d{part}", when=T + 20) for part in (1, 2)]
    incomplete = [efi(part, f"e{part}", when=T - 900) for part in (3, 4)]
    pieces = [*first, *oops, *second, *next_boot, *incomplete]
    for seed in range(5):
        random.Random(seed).shuffle(pieces)
        found = sorted(texts(dump) for dump in dumps_of(pieces, NOW))
        assert found == [["a2", "a1"], ["b2", "b1"], ["c2", "c1"], ["d2", "d1"], ["e4", "e3"]]


def test_what_has_no_parts_stands_alone() -> None:
    ramoops = [Piece(f"r{i}", Name(What.TEXT, "ramoops", i), b"Panic#1 Part1\nx%d" % i, T) for i in range(3)]
    joined = Piece("dmesg.txt", Name(What.TEXT, "dmesg.txt", 0), b"Panic#1 Part1\ny\nPanic#1 Part2\nz", T)
    bare = Piece("b", Name(What.TEXT, "erst", 7), b"no header", T)
    found = sorted(texts(dump) for dump in dumps_of([*ramoops, joined, bare], NOW))
    assert found == [["no header"], ["x0"], ["x1"], ["x2"], ["y", "z"]]


@pytest.mark.parametrize(
    ("backend", "number", "expected"),
    [
        ("efi", T * 100_000 + 1001, T),
        ("erst", (T << 32) + 17, T),
        ("erst", 3, NOW - 9),
        ("efi", (NOW + 99) * 100_000, NOW - 9),
        ("efi", 10**20 - 1, NOW - 9),
        ("ramoops", T * 100_000, NOW - 9),
    ],
)
def test_when_a_dump_was_written(backend: str, number: int, expected: int) -> None:
    piece = Piece("x", Name(What.TEXT, backend, number), b"Panic#1 Part1\n[    7.25] a\n[   10.0] b", NOW - 9)
    (dump,) = dumps_of([piece], NOW)
    assert [line.when for line in dump.lines] == [expected, expected - 3, expected]


RECORD = MceRecord(status=0xBE00000000800400, time=T, bank=3)


@pytest.mark.parametrize("length", [72, 88, 104, 112, 120, 128])
def test_a_record_of_any_kernel(length: int) -> None:
    record = record_of(pack(RECORD)[:length], NOW)
    assert record is not None
    assert (record.status, record.time, record.bank) == (RECORD.status, T, 3)
    assert record_of(pack(RECORD) + bytes(64), NOW) is not None


@pytest.mark.parametrize(
    "data",
    [
        b"",
        bytes(128),
        pack(RECORD)[:70],
        pack(RECORD._replace(time=0)),
        pack(RECORD._replace(time=NOW + 90_000)),
        pack(RECORD._replace(status=1)),
        b"\xff" * 128,
        bytes(5000),
        random.Random(1).randbytes(128),
    ],
)
def test_what_is_no_record(data: bytes) -> None:
    assert record_of(data, NOW) is None


header = st.builds(
    lambda reason, count, part: b"%s#%d Part%d\n" % (reason, count, part),
    st.sampled_from([b"Panic", b"Oops", b""]),
    st.integers(0, 3),
    st.integers(0, 4),
)
pieces = st.builds(
    lambda backend, number, head, rest: Piece("p", Name(What.TEXT, backend, number), head + rest, T),
    st.sampled_from(["efi", "erst", "ramoops", "dmesg.txt"]),
    st.integers(0, 10**20 - 1),
    header | st.binary(max_size=20),
    st.binary(max_size=40),
)


@given(st.lists(pieces, max_size=12))
def test_every_line_comes_out_once(given_pieces: list[Piece]) -> None:
    dumps = list(dumps_of(given_pieces, NOW))
    came = sorted(line.text for dump in dumps for line in dump.lines)
    went = (piece.data.decode("utf-8", "replace").split("\n") for piece in given_pieces)
    assert came == sorted(itertools.chain.from_iterable(went))
