# SPDX-License-Identifier: GPL-2.0-only
"""The files that dying kernels left: /sys/fs/pstore, and where systemd-pstore moves them at boot.

Nothing is deleted or changed. What is read is bounded; of too much, the newest.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.earlier.dumps import JOINED, Piece, What, dumps_of, name_of, record_of
from mcelogd.earlier.found import Found, Origin
from mcelogd.earlier.messages import found, found_in

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from mcelogd.earlier.dumps import Name

ROOTS = (Path("/sys/fs/pstore"), Path("/var/lib/systemd/pstore"))

DEEPEST = 4
"""Directories below a root: systemd-pstore makes two."""

MOST_ENTRIES = 20_000
"""Entries of directories that are looked at."""

MOST_FILES = 2000
MOST_BYTES = 4 << 20
LARGEST = 1 << 20
"""Bytes of a file that are read, its last: a panic is at the end."""


class Left(NamedTuple):
    """What dying kernels left.

    `seen` names the files that are there now and were read, this time or
    before; `problems` are lines that name a file and what is wrong with it.
    """

    found: list[Found]
    seen: set[str]
    problems: list[str]


class _File(NamedTuple):
    path: Path
    name: Name
    size: int
    written_ns: int

    @property
    def key(self) -> str:
        """Stands for the file as it is now."""
        text = f"{self.path}\0{self.size}\0{self.written_ns}"
        return hashlib.blake2b(os.fsencode(text), digest_size=8).hexdigest()


def read(roots: Sequence[Path], seen: Collection[str], now: int) -> Left:
    """The records in files below `roots` that are not in `seen`; `now` in seconds since the epoch.

    A root that does not exist is empty. Never raises.
    """
    left = Left([], set(), [])
    room = MOST_BYTES
    for root in roots:
        files = _files(root, left.problems)
        left.seen.update(file.key for file in files if file.key in seen)
        new = [file for file in _chosen(files) if file.key not in seen]
        packed = [file.key for file in new if file.name.what is What.COMPRESSED]
        if packed:
            left.seen.update(packed)
            left.problems.append(f"{root}: {len(packed)} compressed files (.enc.z) are not read")
        pieces = list(_pieces(new, room, left))
        room -= sum(len(piece.data) for piece in pieces)
        left.found.extend(_found_in(pieces, now, left.problems))
    return left


def _files(root: Path, problems: list[str]) -> list[_File]:
    """The newest files below a root, newest first."""
    files: list[_File] = []
    entries = 0
    waiting = [(root, 0)]
    while waiting and entries < MOST_ENTRIES:
        directory, depth = waiting.pop()
        try:
            with os.scandir(directory) as listing:
                for entry in listing:
                    entries += 1
                    if entries > MOST_ENTRIES:
                        break
                    if entry.is_dir(follow_symlinks=False) and depth < DEEPEST:
                        waiting.append((Path(entry.path), depth + 1))
                    files += _file(entry)
        except (FileNotFoundError, NotADirectoryError):
            continue
        except OSError as error:
            problems.append(f"{directory}: {error.strerror}")
    files.sort(key=lambda file: (file.written_ns, file.path), reverse=True)
    if entries >= MOST_ENTRIES or len(files) > MOST_FILES:
        problems.append(f"{root}: there are too many files; only {MOST_FILES} at most are looked at")
    return files[:MOST_FILES]


def _file(entry: os.DirEntry[str]) -> Iterator[_File]:
    name = name_of(entry.name)
    if name is not None and entry.is_file(follow_symlinks=False):
        with contextlib.suppress(FileNotFoundError):  # systemd-pstore moves them
            status = entry.stat(follow_symlinks=False)
            yield _File(Path(entry.path), name, status.st_size, status.st_mtime_ns)


def _chosen(files: list[_File]) -> Iterator[_File]:
    """Without the texts that systemd-pstore joined, where the parts are there, too."""
    with_parts = {file.path.parent for file in files if _is_part(file.name)}
    return (file for file in files if file.name.backend != JOINED or file.path.parent not in with_parts)


def _is_part(name: Name) -> bool:
    return name.what is What.TEXT and name.backend != JOINED


def _pieces(files: Iterable[_File], room: int, left: Left) -> Iterator[Piece]:
    for file in files:
        if file.name.what is What.COMPRESSED:
            continue
        if room <= 0:
            left.problems.append(f"{file.path} and what is older: there is too much, left for the next start")
            return
        try:
            data = _tail(file.path, min(room, LARGEST))
        except OSError as error:
            if not isinstance(error, FileNotFoundError):
                left.problems.append(f"{file.path}: {error.strerror}")
            continue
        left.seen.add(file.key)
        room -= len(data)
        if file.size > len(data):
            left.problems.append(f"{file.path}: only its last {len(data)} bytes are looked at")
        yield Piece(str(file.path), file.name, data, max(0, file.written_ns // 1_000_000_000))


def _tail(path: Path, size: int) -> bytes:
    """The last bytes of a regular file. OSError if it is none, or cannot be read."""
    fd = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        status = os.fstat(fd)
        if not stat.S_ISREG(status.st_mode):
            raise OSError(0, "is no regular file")
        offset = max(0, status.st_size - size)
        if offset:
            os.lseek(fd, offset, os.SEEK_SET)
        data = bytearray()
        while len(data) < size and (more := os.read(fd, size - len(data))):
            data += more
        return bytes(data)
    finally:
        os.close(fd)


def _found_in(pieces: Iterable[Piece], now: int, problems: list[str]) -> Iterator[Found]:
    texts = []
    for piece in pieces:
        if piece.name.what is What.TEXT:
            texts.append(piece)
            continue
        record = record_of(piece.data, now)
        if record is None:
            problems.append(f"{piece.path}: is no machine check ({len(piece.data)} bytes)")
        else:
            yield found(record, Origin.PSTORE, record.time, piece.path, now)
    for dump in dumps_of(texts, now):
        yield from found_in(dump.lines, Origin.PSTORE, dump.path, now)
