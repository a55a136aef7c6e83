# SPDX-License-Identifier: GPL-2.0-only
"""The legacy Unix socket, client side: `mcelog --client` and `mcelog --ping`.

Speaks to this daemon and to the C program's alike.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:  # as typing's, whose import would cost as much as all this
    from collections.abc import Iterator

CLIENT_SECONDS = 30.0
"""A daemon that this very connection starts (mcelog.socket) may take its time on a slow machine."""

PING_SECONDS = 10.0

LONGEST_LINE = 65536
"""Bytes after which a line is taken as it is, so that no answer can fill the memory."""

_START_IT = "start it with 'systemctl start mcelog', or correct socket-path in mcelog.conf"

REMEDIES = {
    errno.ECONNREFUSED: f"no mcelog daemon listens there; {_START_IT}",
    errno.ENOENT: f"no mcelog daemon has made it; {_START_IT}",
    errno.EACCES: "run this as root",
    errno.ECONNRESET: "the mcelog daemon went away; try again",
}
"""What to do when the system reports this error."""

REFUSALS = {
    b"permission denied\n": "run this as root, or set client-user or client-group in mcelog.conf",
    b"mcelog server too busy\n": "too many clients are connected; try again later",
    b"Unknown command\n": "this mcelog daemon does not know the command; is it another version?",
}
"""Answers that are errors, and what to do."""


ERROR = b"error: "
"""What an answer begins with that says why a command was not carried out."""


class ClientError(Exception):
    """The daemon cannot be asked, or does not answer; the text is one line with cause and remedy."""


def ask(path: str, command: str, timeout: float = CLIENT_SECONDS) -> Iterator[bytes]:
    """The lines of the answer to `command`, up to its `done` line, which is left out.

    `timeout` is the longest time in seconds without a byte from the daemon.
    Raises ClientError.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as connection:
        try:
            _connect(connection, path, timeout)
            _send(connection, command.encode() + b"\n")
            for line in _lines(connection):
                if line == b"done\n":
                    return
                if line in REFUSALS:
                    raise ClientError(f"{path}: {line.decode().strip()}: {REFUSALS[line]}")
                if line.startswith(ERROR):
                    raise ClientError(line.removeprefix(ERROR).decode(errors="replace").strip())
                yield line
        except BlockingIOError:
            raise ClientError(
                f"{path}: no answer for {timeout:g} s: the mcelog daemon hangs or is overloaded;"
                " see 'systemctl status mcelog'"
            ) from None
        except OSError as error:
            remedy = REMEDIES.get(error.errno or 0, "see socket-path in mcelog.conf")
            raise ClientError(f"{path}: {error.strerror or error}: {remedy}") from None
    raise ClientError(f"{path}: the mcelog daemon went away before its answer was complete; try again")


def run_client(path: str, timeout: float = CLIENT_SECONDS) -> int:
    """`mcelog --client`: print memory and page errors; the exit status."""

    def answers() -> Iterator[bytes]:
        yield from ask(path, "dump all bios", timeout)
        yield from ask(path, "pages", timeout)

    return _print(answers())


def run_ping(path: str, timeout: float = PING_SECONDS) -> int:
    """`mcelog --ping`: print `pong` if a daemon answers; the exit status."""

    def answer() -> Iterator[bytes]:
        for line in ask(path, "ping", timeout):
            if line == b"pong\n":
                yield line
                return
        raise ClientError(f"{path}: what listens there is no mcelog daemon; see 'ss -xlp'")

    return _print(answer())


def run_command(path: str, command: str, timeout: float = CLIENT_SECONDS) -> int:
    """Print the answer to any other command; the exit status."""
    return _print(ask(path, command, timeout))


def _connect(connection: socket.socket, path: str, timeout: float) -> None:
    if not path or "\0" in path:
        raise ClientError("no socket to ask: correct socket-path in mcelog.conf")
    # Not settimeout(): that makes the socket non-blocking, and connecting would fail at once
    # while the daemon's backlog is full. With these the kernel waits, and then says EAGAIN.
    # Zero would mean for ever.
    limit = struct.pack("@ll", int(timeout), max(1, int(timeout % 1 * 1_000_000)))
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_SNDTIMEO, limit)
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, limit)
    connection.connect(path)


def _send(connection: socket.socket, request: bytes) -> None:
    try:
        connection.sendall(request)
    except BrokenPipeError:
        # A daemon that is full says so and closes at once: its line is there to be read.
        return


def _lines(connection: socket.socket) -> Iterator[bytes]:
    """What arrives, line by line; not by makefile(), which takes EAGAIN for the end."""
    rest = b""
    while data := connection.recv(65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line + b"\n"
        if len(rest) > LONGEST_LINE:
            yield rest
            rest = b""
    if rest:
        yield rest


def _print(lines: Iterator[bytes]) -> int:
    """Lines to stdout, a ClientError as one line to stderr; the exit status."""
    if sys.stdout is None:
        return _fail("standard output is closed")
    problem = ""
    try:
        try:
            for line in lines:
                sys.stdout.buffer.write(line)
        except ClientError as error:
            problem = str(error)
        sys.stdout.flush()
    except OSError as error:
        # Python flushes once more at its end, and would complain about it.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        # A reader that has seen enough (`mcelog --client | head`) is no problem.
        if not isinstance(error, BrokenPipeError):
            problem = f"cannot write to standard output: {error.strerror}"
    return _fail(problem) if problem else 0


def _fail(problem: str) -> int:
    if sys.stderr is not None:
        print(f"mcelog: {problem}", file=sys.stderr)
    return 1
