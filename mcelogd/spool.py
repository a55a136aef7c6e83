# SPDX-License-Identifier: GPL-2.0-only
"""Where records land the instant the kernel lets go of them.

The kernel forgets a record when it is read. read(2) therefore fills a mapping
of a file: a record is in that file as soon as the kernel has handed it over,
whatever happens to this process then. The spool is a short-lived buffer; the
store takes the records from it and remembers how far it got.

A spool file holds one generation of records::

    spool-GENERATION: header page | landing | record | record | ... | zeros

The landing is there for a source whose records need to be taken out of what is
read: a page of a trace ring buffer. Such a page lands there as it is, its
records are put behind the others, then it is cleared. Where a crash comes
between, the page is taken apart once more.

Nothing says how many records there are, since nothing could be written at the
instant they arrive: the end is where only zeros follow. An all-zero record is
no machine check, so none is lost by that. Files are written once and never
reused, so that stale records cannot look like new ones after a loss of power.
"""

from __future__ import annotations

import contextlib
import mmap
import os
import struct
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.record import RecordLengthError, layout

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CAPACITY = 1 << 20
"""Bytes of records a spool file has room for: 8192 records of 128 bytes."""

_MAGIC = b"MCESPOOL"
_HEADER = struct.Struct("<8sIIQQ64s")
_VERSION, _VERSION_LANDING = 1, 2
_TOLD = struct.Struct("<Q")
_TOLD_AT = 256
_LANDING = struct.Struct("<QQ")
_LANDING_AT = 264
"""Bytes of the landing; records there were before what is in it."""
_DATA = 4096
_PREFIX = "spool-"


class SpoolError(OSError):
    """The spool file cannot be made: no space, no permission, no such directory."""


class Position(NamedTuple):
    """A place in the stream of spooled records: every record before it is in the store."""

    generation: int
    records: int


class Leftover(NamedTuple):
    """Records an earlier run spooled, from `first` on those the store does not have.

    Of all its records, `told` were reported. `origin` and `offset` say what was read, and from
    where on, where that can be read again. The records of what `landed` come after `data`.
    """

    generation: int
    record_length: int
    data: bytes
    first: int
    told: int
    origin: str
    offset: int
    landed: bytes = b""


class Spool:
    """One generation's file, open for reading records into."""

    def __init__(
        self, memory: mmap.mmap, generation: int, record_length: int, path: Path | None, landing: int = 0
    ) -> None:
        self.generation = generation
        self.record_length = record_length
        self.path = path
        self._memory = memory
        self._landing = memoryview(memory)[_DATA : _DATA + landing]
        self._view = memoryview(memory)[_DATA + landing :]
        self._capacity = len(self._view) // record_length * record_length
        self._end = 0
        self._taken = 0

    @classmethod
    def create(
        cls,
        directory: Path,
        generation: int,
        record_length: int,
        at_least: int = 0,
        origin: str = "",
        offset: int = 0,
        landing: int = 0,
    ) -> Spool:
        """A new spool file in `directory` with room for `at_least` bytes; SpoolError if there can be none.

        `origin` (at most 64 bytes) and `offset` name what is about to be read, for leftovers().
        `landing` is how much is read at a time of what needs to be taken apart.

        The file is allocated and touched before it is used: a page fault that
        fails inside the kernel's copy loop would lose the records being read.
        """
        size = _DATA + landing + max(CAPACITY, 2 * at_least)
        path = directory / f"{_PREFIX}{generation:012d}"
        fresh = path.with_suffix(".new")
        version = _VERSION_LANDING if landing else _VERSION
        header = _HEADER.pack(_MAGIC, version, record_length, generation, offset, origin.encode())
        try:
            with fresh.open("w+b") as file:
                os.posix_fallocate(file.fileno(), 0, size)
                memory = mmap.mmap(file.fileno(), size)
                _touch(memory)
                memory[: _HEADER.size] = header
                _LANDING.pack_into(memory, _LANDING_AT, landing, 0)
            fresh.rename(path)
        except OSError as error:
            with contextlib.suppress(OSError):
                fresh.unlink()
            raise SpoolError(error.errno, f"cannot make a spool in {directory}: {error.strerror}") from error
        return cls(memory, generation, record_length, path, landing)

    @classmethod
    def in_memory(cls, generation: int, record_length: int, at_least: int = 0, landing: int = 0) -> Spool:
        """A spool that does not outlive the process, for when no file can be had."""
        size = _DATA + landing + max(CAPACITY, 2 * at_least)
        return cls(mmap.mmap(-1, size), generation, record_length, None, landing)

    @property
    def room(self) -> int:
        """Bytes that can still be read into this generation, a whole number of records."""
        return self._capacity - self._end

    @property
    def pending(self) -> int:
        """Whole records that were read and not yet taken."""
        return (self._end - self._taken) // self.record_length

    @property
    def position(self) -> Position:
        """The place after the last record taken."""
        return Position(self.generation, self._taken // self.record_length)

    def read_from(self, fd: int, size: int) -> int:
        """One read(2) of at most `size` bytes into the spool; the bytes read.

        A short rest of a record at the end is discarded: sources hand over
        whole records, a rest is the end of a damaged file.
        """
        count = os.readv(fd, [self._view[self._end : self._end + size]])
        whole = count - count % self.record_length
        self._end += whole
        if whole != count:
            self._view[self._end : self._end + count - whole] = bytes(count - whole)
        return count

    def land(self, fd: int) -> memoryview:
        """One read(2) into the landing; what is there now, empty when nothing was to be read.

        It must be followed by put(), before anything else is read.
        """
        _LANDING.pack_into(self._memory, _LANDING_AT, len(self._landing), self._end // self.record_length)
        try:
            return self._landing[: os.readv(fd, [self._landing])]
        except BlockingIOError:
            return self._landing[:0]

    def put(self, records: bytes) -> None:
        """The records that were in the landing, which is free again then."""
        self._view[self._end : self._end + len(records)] = records
        # Only once they are all there the page may go.
        self._end += len(records)
        self._landing[:] = bytes(len(self._landing))

    def take(self, at_most: int) -> Iterator[bytes]:
        """The next records not yet taken."""
        for _ in range(min(at_most, self.pending)):
            start = self._taken
            self._taken += self.record_length
            yield bytes(self._view[start : self._taken])

    def mark_told(self) -> None:
        """What was taken is reported: whoever takes it again after a crash need not tell it again."""
        _TOLD.pack_into(self._memory, _TOLD_AT, self._taken // self.record_length)

    def close(self) -> None:
        """Unmap the file; what is in it stays."""
        self._view.release()
        self._landing.release()
        self._memory.close()


def leftovers(directory: Path, stored: Position) -> list[Leftover]:
    """What earlier runs spooled and did not get into the store, oldest first.

    Files that cannot be read, or are none of ours, are passed over.
    """
    found = []
    for generation, path in files(directory):
        if generation < stored.generation:
            continue
        first = stored.records if generation == stored.generation else 0
        leftover = _read(path, generation, first)
        if leftover is not None:
            found.append(leftover)
    return found


def mark_told(directory: Path, generation: int, told: int) -> None:
    """So many records of a leftover are reported by now, as far as that can be noted."""
    with contextlib.suppress(OSError), (directory / f"{_PREFIX}{generation:012d}").open("r+b") as file:
        file.seek(_TOLD_AT)
        file.write(_TOLD.pack(told))


def remove_before(directory: Path, generation: int) -> None:
    """Remove the spool files of generations that are wholly in the store, as far as that can be done now."""
    with contextlib.suppress(OSError):
        for number, path in files(directory):
            if number < generation:
                path.unlink(missing_ok=True)


def count_files(directory: Path) -> int:
    """How many spool files there are; SpoolError if that cannot be said: no descriptor, no such directory."""
    try:
        return len(files(directory))
    except OSError as error:
        raise SpoolError(error.errno, f"cannot make a spool in {directory}: {error.strerror}") from error


def files(directory: Path) -> list[tuple[int, Path]]:
    """The spool files of a directory by generation."""
    named = ((path.name.removeprefix(_PREFIX), path) for path in directory.glob(_PREFIX + "*"))
    return sorted((int(number), path) for number, path in named if number.isascii() and number.isdigit())


def _read(path: Path, generation: int, first: int) -> Leftover | None:
    try:
        content = path.read_bytes()
    except OSError:
        return None
    if len(content) < _DATA:
        return None
    magic, version, length, written_as, offset, origin = _HEADER.unpack_from(content)
    is_ours = magic == _MAGIC and version in (_VERSION, _VERSION_LANDING) and written_as == generation
    if not is_ours or not _can_be(length):
        return None
    landing, before = _LANDING.unpack_from(content, _LANDING_AT) if version == _VERSION_LANDING else (0, 0)
    start = _DATA + landing
    used = len(content.rstrip(b"\0")) - start
    records = max(0, -(-used // length))
    landed = content[_DATA:start] if any(content[_DATA:start]) else b""
    if landed:
        # Some of its records may have been put there already.
        records = min(records, before)
    return Leftover(
        generation=generation,
        record_length=length,
        data=content[start : start + records * length],
        first=min(first, records),
        told=_TOLD.unpack_from(content, _TOLD_AT)[0],
        origin=origin.rstrip(b"\0").decode("ascii", "replace"),
        offset=offset,
        landed=landed,
    )


def _can_be(length: int) -> bool:
    """Whether records have that length; where a damaged header says otherwise, nobody can tell them apart."""
    try:
        layout(length)
    except RecordLengthError:
        return False
    return True


def _touch(memory: mmap.mmap) -> None:
    for offset in range(0, len(memory), mmap.PAGESIZE):
        memory[offset] = 0
