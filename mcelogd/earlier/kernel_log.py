# SPDX-License-Identifier: GPL-2.0-only
"""This boot's kernel messages about hardware, as the journal has them.

journalctl reads it, in a process of its own: however large, damaged or slow
the journal is, it can be ended, and holds up no thread of ours.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import selectors
import subprocess
import time
from collections import deque
from typing import IO, TYPE_CHECKING, NamedTuple

from mcelogd.earlier.found import Line
from mcelogd.earlier.messages import is_about_hardware

if TYPE_CHECKING:
    from pathlib import Path

JOURNALCTL = "journalctl"

SECONDS = 10.0
"""How long the journal is read at most."""

LAST_SECONDS = 1.0
"""How long it may take to end, when it has printed all or was killed."""

MOST_LINES = 1 << 14
"""Lines about hardware that are kept, the newest."""

LONGEST_LINE = 1 << 16
"""Bytes of an entry; the kernel's messages are shorter than 1 KiB."""

MARKER = b"[Hardware Error]"

# A path, where there is no environment to trust.
ENVIRONMENT = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LC_ALL": "C.UTF-8"}

_BOOT_ID = re.compile(r"[0-9a-f]{32}")
_FIELDS = "MESSAGE,_SOURCE_MONOTONIC_TIMESTAMP"


class KernelLog(NamedTuple):
    """What the kernel said about hardware.

    `problem` is why that may not be all, in one line, or empty. `is_whole`:
    the journal was read to its end.
    """

    lines: list[Line]
    problem: str = ""
    is_whole: bool = False


def read(
    boot: str,
    directory: Path | None = None,
    *,
    since: int = 0,
    program: str = JOURNALCTL,
    seconds: float = SECONDS,
) -> KernelLog:
    """The kernel's lines about hardware since the boot `boot` (32 hex digits, dashes or not).

    From the journals in `directory`, or those of this machine; with `since`
    (seconds since the epoch), what came since then only. Takes at most
    `seconds`, and some more to end journalctl. Never raises.
    """
    boot = boot.replace("-", "")
    if not _BOOT_ID.fullmatch(boot):
        return KernelLog([], "which boot this is, is not known: the kernel's messages are not looked at")
    reader = _Reader()
    try:
        problem = _run(_command(program, boot, directory, since), reader, seconds)
    except (OSError, ValueError) as error:
        problem = f"cannot run {program}: {getattr(error, 'strerror', None) or error}"
    if not problem and not reader.count and not since:
        problem = "no kernel message of this boot is in the journal"
    is_whole = not problem
    if is_whole and reader.dropped:
        problem = f"the journal has too many messages about hardware; the first {reader.dropped} are left out"
    return KernelLog(list(reader.lines), problem, is_whole)


def _command(program: str, boot: str, directory: Path | None, since: int) -> list[str]:
    # What processes write to /dev/kmsg has another facility than the kernel's own 0.
    matches = [f"_BOOT_ID={boot}", "_TRANSPORT=kernel", "SYSLOG_FACILITY=0"]
    where = [] if directory is None else [f"--directory={directory}"]
    where += [f"--since=@{since}"] if since else []
    options = ["--no-pager", "--quiet", "--all", "--output=json", f"--output-fields={_FIELDS}"]
    return [program, *options, *where, *matches]


def _run(command: list[str], reader: _Reader, seconds: float) -> str:
    """Have the reader read what the command prints; what went wrong."""
    process = subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=ENVIRONMENT,
        bufsize=0,
    )
    assert process.stdout is not None
    assert process.stderr is not None
    with process.stdout, process.stderr:
        complaint = _pump(process.stdout, process.stderr, reader, time.monotonic() + seconds)
    if complaint is None:
        _end(process)
        return f"reading the journal took longer than {seconds:g} s and was given up"
    if _end(process, LAST_SECONDS):
        return f"{command[0]} failed: {complaint or f'exit status {process.returncode}'}"
    return ""


def _end(process: subprocess.Popen[bytes], grace: float = 0.0) -> int | None:
    """End the process within `grace` seconds; its exit status, None if it sits in a disk that hangs."""
    for seconds in (grace, LAST_SECONDS):
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(seconds)
        process.kill()
    return None


def _pump(output: IO[bytes], errors: IO[bytes], reader: _Reader, end: float) -> str | None:
    """Read both to their ends; the first line of the errors, None if time ran out before."""
    complaint = b""
    with selectors.DefaultSelector() as selector:
        for stream in (output, errors):
            selector.register(stream, selectors.EVENT_READ)
        while selector.get_map():
            ready = selector.select(max(0.0, end - time.monotonic()))
            if not ready or time.monotonic() > end:
                return None
            for key, _ in ready:
                data = os.read(key.fd, 1 << 16)
                if not data:
                    selector.unregister(key.fileobj)
                elif key.fileobj is output:
                    reader.feed(data)
                elif len(complaint) < LONGEST_LINE:
                    complaint += data
    lines = complaint.decode("utf-8", "replace").strip().splitlines()
    return "".join(c if c.isprintable() else "?" for c in lines[0][:200]) if lines else ""


class _Reader:
    """Takes apart what journalctl prints, one entry a line; only entries that matter are looked into."""

    def __init__(self) -> None:
        self.lines: deque[Line] = deque(maxlen=MOST_LINES)
        self.count = 0
        self.dropped = 0
        self._rest = b""
        self._is_cut = False

    def feed(self, data: bytes) -> None:
        *whole, rest = data.split(b"\n")
        if whole:
            first = self._rest + whole[0]
            self._rest = rest
            if not self._is_cut:
                self._take(first)
            self._is_cut = False
            for entry in whole[1:]:
                self._take(entry)
        else:
            self._rest += rest
        if len(self._rest) > LONGEST_LINE:
            self._rest = b""
            self._is_cut = True

    def _take(self, entry: bytes) -> None:
        self.count += 1
        line = _line_of(entry) if MARKER in entry else None
        if line is not None:
            self.dropped += len(self.lines) == MOST_LINES
            self.lines.append(line)


def _line_of(entry: bytes) -> Line | None:
    """The line in an entry; None if it is not about hardware, or damaged."""
    try:
        fields = json.loads(entry)
    except (ValueError, RecursionError):
        return None
    message = fields.get("MESSAGE") if isinstance(fields, dict) else None
    if not isinstance(message, str) or not is_about_hardware(message):
        return None
    received = _number(fields.get("__REALTIME_TIMESTAMP"))
    since_boot = _number(fields.get("__MONOTONIC_TIMESTAMP"))
    printed = _number(fields.get("_SOURCE_MONOTONIC_TIMESTAMP"))
    # What was printed before journald ran was received long after.
    delay = since_boot - printed if 0 < printed <= since_boot else 0
    return Line(message, max(0, received - delay) // 1_000_000)


def _number(value: object) -> int:
    is_number = isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 19
    return int(str(value)) if is_number else 0
