# SPDX-License-Identifier: GPL-2.0-only
"""The listening socket: bound here, or handed over by systemd.

bind() is what decides between two daemons that start at the same time: it
makes the file or finds it there, never both. What takes more than one step -
making a socket that listens, removing one that nobody serves - is done under
a lock on the directory, so that no daemon sees another's half way.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import fcntl
import logging
import os
import socket
import stat
import time
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

log = logging.getLogger(__name__)

MODE = 0o666
"""Connecting needs write permission. Who is answered depends on credentials, so anyone may connect."""

LONGEST_PATH = 107
"""Bytes of sun_path less the closing NUL: unix(7)."""

ATTEMPTS = 5
"""How often a stale socket is looked for in the way before giving up."""

SECOND_LOOK = 0.1
"""Seconds within which a program that knows nothing of the lock gets from its bind() to its listen()."""

LOCK_SECONDS = 2.0
"""How long the lock is waited for: whoever can read the directory can hold it, and must not stop a daemon."""


class SocketError(Exception):
    """The socket cannot be served; the text is one line with cause and remedy."""


class ServerRunning(SocketError):
    """Another daemon answers at this path."""


class Identity(NamedTuple):
    """Which file it is. File systems give an inode's number to the next file: hence the time."""

    device: int
    inode: int
    mtime: int


class Listener:
    """A listening socket; `path` is the file it has to take away in the end, None if it is not its own."""

    def __init__(self, listening: socket.socket, path: str | None = None) -> None:
        self.socket = listening
        self._path = path
        self._identity = _identity(Path(path)) if path else None

    def close(self) -> None:
        """Stop listening; a file that another daemon has put there since is left alone."""
        self.socket.close()
        if self._path:
            with contextlib.suppress(OSError):
                if _identity(Path(self._path)) == self._identity:
                    Path(self._path).unlink()


def adopt(fd: int) -> Listener:
    """The listening socket that systemd handed over as `fd`. Raises SocketError."""
    try:
        listening = socket.socket(fileno=fd)
    except OSError as error:
        raise SocketError(
            f"descriptor {fd} from systemd is no socket: {error.strerror}; see mcelog.socket"
        ) from None
    if (
        listening.family != socket.AF_UNIX
        or listening.type != socket.SOCK_STREAM
        or not listening.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)
    ):
        listening.detach()
        raise SocketError(
            f"descriptor {fd} from systemd is no listening Unix stream socket;"
            " see ListenStream= in mcelog.socket"
        )
    listening.set_inheritable(False)
    listening.setblocking(False)
    return Listener(listening)


async def bind(path: str, backlog: int, ping_timeout: float) -> Listener:
    """Listen at `path`, in place of a socket that nobody serves any more.

    A daemon that does not answer a ping within `ping_timeout` seconds counts
    as gone. Raises ServerRunning, or SocketError for anything else in the way.
    """
    if not path or "\0" in path:
        raise SocketError("socket-path in mcelog.conf is empty or holds a NUL: name a file")
    if len(os.fsencode(path)) > LONGEST_PATH:
        raise SocketError(
            f"{path}: too long for a Unix socket: at most {LONGEST_PATH} bytes; shorten socket-path"
        )
    listening = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        listening.setblocking(False)
        for _ in range(ATTEMPTS):
            async with _alone_in(Path(path).parent):
                if _is_free(listening, path):
                    return _listen(listening, path, backlog)
            with contextlib.suppress(FileNotFoundError):  # whose it was has removed it
                await _clear(Path(path), ping_timeout)
        raise SocketError(f"{path}: another program keeps creating it; see 'ss -xlp'")
    except OSError as error:
        listening.close()
        raise _explain(path, error) from None
    except BaseException:
        listening.close()
        raise


@contextlib.asynccontextmanager
async def _alone_in(directory: Path) -> AsyncIterator[None]:
    """No other daemon makes or removes a socket in that directory meanwhile."""
    descriptor = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        end = time.monotonic() + LOCK_SECONDS
        while not _locks(descriptor):
            if time.monotonic() > end:
                log.warning("%s is locked by another program; see 'lslocks'", directory)
                break
            await asyncio.sleep(0.01)
        yield
    finally:
        os.close(descriptor)


def _locks(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _is_free(listening: socket.socket, path: str) -> bool:
    """Whether the name was free: it is the socket's then."""
    try:
        listening.bind(path)
    except OSError as error:
        if error.errno != errno.EADDRINUSE:
            raise
        return False
    return True


def _listen(listening: socket.socket, path: str, backlog: int) -> Listener:
    Path(path).chmod(MODE)
    listening.listen(backlog)
    return Listener(listening, path)


async def _clear(path: Path, ping_timeout: float) -> None:
    """Remove a stale socket. Raises ServerRunning, or SocketError if it is no socket."""
    identity = _socket_at(path)
    server = await _server_at(str(path), ping_timeout)
    if server is _Server.ANSWERS:
        raise ServerRunning(f"mcelog server already running at {path}; stop it or set another socket-path")
    log.info("replacing the stale socket %s", path)
    async with _alone_in(path.parent):
        # Another daemon may have removed it meanwhile, and listen there.
        if server is _Server.HANGS or not _is_listening(str(path)):
            _remove(path, identity)


def _socket_at(path: Path) -> Identity:
    if not stat.S_ISSOCK(path.lstat().st_mode):
        raise SocketError(f"{path}: exists and is no socket; remove it or correct socket-path in mcelog.conf")
    return _identity(path)


def _remove(path: Path, identity: Identity) -> None:
    if _identity(path) == identity:
        path.unlink()


class _Server(Enum):
    """What is at the other end of a socket."""

    ANSWERS = auto()
    HANGS = auto()
    GONE = auto()


async def _server_at(path: str, seconds: float) -> _Server:
    """Looks twice where nobody listens (yet)."""
    for pause in (SECOND_LOOK, 0):
        try:
            await _ping(path, seconds)
        except TimeoutError:
            log.warning("the server of %s does not answer", path)
            return _Server.HANGS
        except ConnectionError:
            await asyncio.sleep(pause)
        else:
            return _Server.ANSWERS
    return _Server.GONE


def _is_listening(path: str) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except ConnectionError:
            return False
        except BlockingIOError:
            return True  # its backlog is full
    return True


async def _ping(path: str, seconds: float) -> None:
    """Return if anything is answered: a server that is busy or denies us is one too.

    Raises ConnectionError, TimeoutError.
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.setblocking(False)
        try:
            probe.connect(path)
        except BlockingIOError:
            return  # its backlog is full
        # One that turns us away at once has said so before it closed.
        with contextlib.suppress(BrokenPipeError):
            probe.send(b"ping\n", socket.MSG_NOSIGNAL)
        async with asyncio.timeout(seconds):
            if not await asyncio.get_running_loop().sock_recv(probe, 64):
                raise ConnectionResetError


def _identity(path: Path) -> Identity:
    status = path.lstat()
    return Identity(status.st_dev, status.st_ino, status.st_mtime_ns)


def _explain(path: str, error: OSError) -> SocketError:
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        return SocketError(f"{path}: no directory {Path(path).parent}; make it or correct socket-path")
    return SocketError(f"{path}: {error.strerror or error}; run as root or set another socket-path")
