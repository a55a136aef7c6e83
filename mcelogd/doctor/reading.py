# SPDX-License-Identifier: GPL-2.0-only
"""Looking at a machine without hanging on it: bounded reads below a root, commands with a time limit."""

from __future__ import annotations

import os
import stat
import subprocess
import zlib
from pathlib import Path

from mcelogd.doctor.facts import Answer, Reading, Text

LARGEST = 1 << 20
"""Bytes of a file that are read."""

COMMAND_SECONDS = 15
LARGEST_OUTPUT = 32 << 20

_DENIED = (PermissionError,)
_MISSING = (FileNotFoundError, NotADirectoryError)


def reading_of(error: OSError) -> Reading:
    if isinstance(error, _MISSING):
        return Reading.MISSING
    return Reading.DENIED if isinstance(error, _DENIED) else Reading.FAILED


class Root:
    """A file system, "/" or one below a directory. Nothing here raises OSError."""

    def __init__(self, path: Path = Path("/")) -> None:
        self.path = path
        self.is_running = path.resolve() == Path("/")
        """Whether it is that of the running system, so that commands can be asked about it."""

    def __truediv__(self, path: str) -> Path:
        return self.path / path.lstrip("/")

    def look(self, path: str) -> Reading:
        """Whether a file or directory is there."""
        return self.stat(path)[0]

    def stat(self, path: str) -> tuple[Reading, os.stat_result | None]:
        try:
            return Reading.THERE, (self / path).stat()
        except OSError as error:
            return reading_of(error), None
        except ValueError:
            return Reading.MISSING, None  # a NUL in a name of mcelog.conf

    def bytes(self, path: str, most: int = LARGEST) -> tuple[Reading, bytes]:
        """At most so many bytes; never waits, should somebody have put a FIFO there."""
        try:
            descriptor = os.open(self / path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY)
        except OSError as error:
            return reading_of(error), b""
        try:
            return Reading.THERE, _all(descriptor, most)
        except OSError as error:
            return reading_of(error), b""
        finally:
            os.close(descriptor)

    def text(self, path: str, most: int = LARGEST) -> Text:
        reading, content = self.bytes(path, most)
        return Text(reading, content.decode(errors="replace"))

    def word(self, path: str) -> str:
        """A file of one line; empty if it cannot be read."""
        return self.text(path, 4096).text.strip()

    def names(self, path: str) -> tuple[Reading, list[str]]:
        """What is in a directory, sorted."""
        try:
            return Reading.THERE, sorted(os.listdir(self / path))  # noqa: PTH208  # names are asked for
        except OSError as error:
            return reading_of(error), []

    def first(self, *paths: str) -> str:
        """The first of them that is there; empty if none is."""
        return next((path for path in paths if self.look(path) is Reading.THERE), "")

    def is_kind(self, path: str, is_kind: int) -> bool:
        """Whether it is there, and of that kind: stat.S_IFCHR, ..."""
        found = self.stat(path)[1]
        return found is not None and stat.S_IFMT(found.st_mode) == is_kind


def _all(descriptor: int, most: int) -> bytes:
    content = b""
    while len(content) < most:
        try:
            more = os.read(descriptor, min(most - len(content), 1 << 16))
        except BlockingIOError:
            break
        except BrokenPipeError:
            continue  # /dev/kmsg: what was to be read next was overwritten
        if not more:
            break
        content += more
    return content


def gunzipped(content: bytes, most: int = LARGEST) -> bytes:
    """What a gzip file holds, at most so much; nothing if it is none."""
    try:
        return zlib.decompressobj(wbits=31).decompress(content, most)
    except zlib.error:
        return b""


def ask(*command: str) -> Answer:
    """What a command says; it is ended after COMMAND_SECONDS."""
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "SYSTEMD_COLORS": "0", "SYSTEMD_PAGER": ""}
    try:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            env=environment,
            timeout=COMMAND_SECONDS,
            check=False,
        )
    except (OSError, subprocess.TimeoutExpired):
        return Answer()
    output, errors = (text[:LARGEST_OUTPUT].decode(errors="replace") for text in (done.stdout, done.stderr))
    return Answer(done.returncode, output, errors)
