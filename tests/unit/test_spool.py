# SPDX-License-Identifier: GPL-2.0-only
"""spool.py: what is found after a crash."""

from __future__ import annotations

import os
import struct
from typing import TYPE_CHECKING

import pytest

from mcelogd.record import LENGTH, MceRecord, pack
from mcelogd.spool import CAPACITY, Position, Spool, SpoolError, files, leftovers, remove_before

if TYPE_CHECKING:
    from pathlib import Path


def records(*numbers: int) -> bytes:
    return b"".join(pack(MceRecord(addr=number)) for number in numbers)


def fill(spool: Spool, data: bytes) -> int:
    read, write = os.pipe()
    try:
        os.write(write, data)
        return spool.read_from(read, len(data))
    finally:
        os.close(read)
        os.close(write)


def test_records_come_out_as_they_went_in(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, 1, LENGTH)
    fill(spool, records(1, 2))
    assert list(spool.take(1)) == [records(1)]
    fill(spool, records(3))
    assert spool.pending == 2
    assert list(spool.take(10)) == [records(2), records(3)]
    assert spool.position == Position(1, 3)


def test_what_was_read_is_found_without_anyone_having_said_so(tmp_path: Path) -> None:
    """The process may die the instant read(2) returns: only the records themselves are in the file."""
    spool = Spool.create(tmp_path, 7, LENGTH, origin="1:2", offset=256)
    fill(spool, records(1, 2, 3))
    list(spool.take(2))
    spool.mark_told()
    (found,) = leftovers(tmp_path, Position(0, 0))
    assert (found.generation, found.record_length, found.first, found.told) == (7, LENGTH, 0, 2)
    assert found.data == records(1, 2, 3)
    assert (found.origin, found.offset) == ("1:2", 256)


def test_only_what_the_store_does_not_have_is_left_over(tmp_path: Path) -> None:
    for generation in (3, 4, 5):
        fill(Spool.create(tmp_path, generation, LENGTH), records(generation, generation + 10))
    found = leftovers(tmp_path, Position(4, 1))
    assert [(one.generation, one.first) for one in found] == [(4, 1), (5, 0)]
    assert leftovers(tmp_path, Position(5, 2))[0].first == 2
    remove_before(tmp_path, 5)
    assert [generation for generation, _ in files(tmp_path)] == [5]


def test_zeros_inside_and_at_the_end_of_records(tmp_path: Path) -> None:
    blank = bytes(LENGTH)
    spool = Spool.create(tmp_path, 1, LENGTH)
    fill(spool, records(0x11) + blank + records(1 << 40))
    (found,) = leftovers(tmp_path, Position(0, 0))
    assert found.data == records(0x11) + blank + records(1 << 40)


def landed(spool: Spool, data: bytes) -> bytes:
    read, write = os.pipe()
    try:
        os.write(write, data)
        os.set_blocking(read, False)
        page = bytes(spool.land(read))
        assert not spool.land(read)
        return page
    finally:
        os.close(read)
        os.close(write)


def test_what_lands_is_found_until_its_records_are_there(tmp_path: Path) -> None:
    """The process may die after any of these lines: each record is found once."""
    spool = Spool.create(tmp_path, 1, LENGTH, landing=512)
    fill(spool, records(1))
    assert landed(spool, b"page") == b"page"
    (found,) = leftovers(tmp_path, Position(0, 0))
    assert (found.data, found.landed) == (records(1), b"page".ljust(512, b"\0"))
    # Killed while its records are being put there: those that are count as not there.
    spool._view[LENGTH : 2 * LENGTH] = records(2)
    (found,) = leftovers(tmp_path, Position(1, 1))
    assert (found.data, found.first, found.landed[:4]) == (records(1), 1, b"page")
    spool.put(records(2, 3))
    (found,) = leftovers(tmp_path, Position(0, 0))
    assert (found.data, found.landed) == (records(1, 2, 3), b"")
    assert list(spool.take(9)) == [records(1), records(2), records(3)]
    # A page without records.
    landed(spool, b"other")
    spool.put(b"")
    assert leftovers(tmp_path, Position(0, 0))[0].landed == b""


def test_the_landing_takes_no_room_from_records(tmp_path: Path) -> None:
    assert Spool.create(tmp_path, 1, LENGTH, landing=4096).room == Spool.create(tmp_path, 2, LENGTH).room
    assert landed(Spool.in_memory(3, LENGTH, landing=4096), b"x") == b"x"


def test_a_rest_of_a_record_is_not_kept(tmp_path: Path) -> None:
    spool = Spool.create(tmp_path, 1, LENGTH)
    assert fill(spool, records(1) + b"\xff" * 40) == LENGTH + 40
    assert spool.pending == 1
    fill(spool, records(2))
    assert list(spool.take(10)) == [records(1), records(2)]


def test_room_is_a_whole_number_of_records(tmp_path: Path) -> None:
    for length in (72, 88, 120, 128, 136):
        spool = Spool.create(tmp_path, length, length, at_least=4096)
        assert spool.room % length == 0
        assert spool.room > CAPACITY - length


def test_files_that_are_none_of_ours_are_passed_over(tmp_path: Path) -> None:
    (tmp_path / "spool-x").write_bytes(b"")
    (tmp_path / "spool-000000000001").write_bytes(b"short")
    (tmp_path / "spool-000000000002").write_bytes(os.urandom(10_000))
    (tmp_path / "spool-000000000003").mkdir()
    (tmp_path / "spool-000000000004.new").write_bytes(bytes(5000))
    good = Spool.create(tmp_path, 5, LENGTH)
    fill(good, records(1))
    assert [one.generation for one in leftovers(tmp_path, Position(0, 0))] == [5]


@pytest.mark.parametrize("length", [0, 1, 73, LENGTH + (1 << 30)])
def test_a_record_length_that_none_can_have_is_damage(tmp_path: Path, length: int) -> None:
    spool = Spool.create(tmp_path, 1, LENGTH)
    fill(spool, records(1))
    assert spool.path is not None
    with spool.path.open("r+b") as file:
        file.seek(12)
        file.write(struct.pack("<I", length))
    assert leftovers(tmp_path, Position(0, 0)) == []


def test_no_room_on_the_disk_is_said(tmp_path: Path) -> None:
    with pytest.raises(SpoolError, match="cannot make a spool"):
        Spool.create(tmp_path / "missing", 1, LENGTH)
    assert list(tmp_path.iterdir()) == []


def test_a_spool_in_memory_works_the_same() -> None:
    spool = Spool.in_memory(9, LENGTH)
    fill(spool, records(1, 2))
    assert list(spool.take(10)) == [records(1), records(2)]
    spool.close()
