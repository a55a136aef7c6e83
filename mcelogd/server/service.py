# SPDX-License-Identifier: GPL-2.0-only
"""Accepts clients, within limits, and answers those who may ask."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import socket
from collections import Counter
from typing import TYPE_CHECKING

from mcelogd.server import sockets
from mcelogd.server.access import Access, Peer, peer_of
from mcelogd.server.commands import DENIED
from mcelogd.server.connection import Connection, Limits, Refused

if TYPE_CHECKING:
    from collections.abc import Callable

log = logging.getLogger(__name__)

BACKLOG = 128
PING_SECONDS = 2.0

ACCEPTS_PER_TURN = 32
"""Connections accepted before everyone else gets a turn."""

ACCEPT_PAUSE = 1.0
"""Seconds without accepting after the system refused: it would refuse in a busy loop."""

LOG_PAUSE = 60.0
"""Seconds between two log lines that clients can cause at will."""

ROOT_ONLY = Access()
LIMITS = Limits()

BUSY = "mcelog server too busy\n"


class LegacyServer:
    """The server of the legacy socket. `answer` gives the reply to one command line
    of a user.

    bind() or adopt() starts it, in a running event loop. `access` may be
    replaced at any time and holds for those who connect from then on.
    """

    def __init__(
        self,
        answer: Callable[[str, int], bytes],
        access: Access = ROOT_ONLY,
        limits: Limits = LIMITS,
    ) -> None:
        self.access = access
        self._answer = answer
        self._limits = limits
        self._loop: asyncio.AbstractEventLoop  # the one that bind() or adopt() is called in
        self._listener: sockets.Listener | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._clients: set[Connection] = set()
        self._denied: set[Connection] = set()
        self._warnings: dict[str, Seldom] = {}

    async def bind(self, path: str, backlog: int = BACKLOG, ping_timeout: float = PING_SECONDS) -> None:
        """Listen at `path`; raises SocketError (ServerRunning) as sockets.bind() does."""
        self._start(await sockets.bind(path, backlog, ping_timeout))

    def adopt(self, fd: int) -> None:
        """Listen on the socket that systemd handed over; raises SocketError."""
        self._start(sockets.adopt(fd))

    def close(self) -> None:
        """Disconnect everyone, stop listening, remove a socket file of our own."""
        if self._retry:
            self._retry.cancel()
        if self._listener:
            self._loop.remove_reader(self._listener.socket)
            self._listener.close()
            self._listener = None
        for connection in [*self._clients, *self._denied]:
            connection.close()

    def _start(self, listener: sockets.Listener) -> None:
        self._listener = listener
        self._loop = asyncio.get_running_loop()
        self._resume(listener.socket)

    def _resume(self, listening: socket.socket) -> None:
        self._loop.add_reader(listening, self._accept, listening)

    def _accept(self, listening: socket.socket) -> None:
        for _ in range(ACCEPTS_PER_TURN):
            try:
                accepted, _address = listening.accept()
            except (BlockingIOError, InterruptedError):
                return
            except ConnectionAbortedError:
                continue
            except OSError as error:
                self._pause(listening, error)
                return
            self._admit(accepted)

    def _pause(self, listening: socket.socket, error: OSError) -> None:
        self._warn("cannot accept clients: %s; trying again every second", error.strerror)
        self._loop.remove_reader(listening)
        self._retry = self._loop.call_later(ACCEPT_PAUSE, self._resume, listening)

    def _admit(self, accepted: socket.socket) -> None:
        try:
            peer = peer_of(accepted)
        except OSError:
            accepted.close()
            return
        if not self.access.allows(peer):
            self._admit_denied(accepted, peer)
        elif len(self._clients) < self._limits.clients or self._make_room():
            connection = Connection(accepted, peer, self._limits, self._reply, self._clients.discard)
            self._clients.add(connection)
        else:
            self._warn("turned a client away: %d are connected and none is idle", len(self._clients))
            _turn_away(accepted, BUSY)

    def _admit_denied(self, accepted: socket.socket, peer: Peer) -> None:
        """Tell it when it asks: one that is closed before it has written might be killed by SIGPIPE."""
        if len(self._denied) >= self._limits.denied:
            self._warn_denied(peer)
            _turn_away(accepted, DENIED)
            return
        patience = self._limits.command_seconds
        self._denied.add(Connection(accepted, peer, self._limits, self._deny, self._denied.discard, patience))

    def _make_room(self) -> bool:
        """Disconnect the idlest client of the user who has the most connections, if one is idle enough."""
        latest = self._loop.time() - self._limits.idle_seconds
        idle = [client for client in self._clients if client.last_used <= latest and not client.pending]
        if not idle:
            return False
        held = Counter(client.peer.uid for client in self._clients)
        max(idle, key=lambda client: (held[client.peer.uid], -client.last_used)).close()
        return True

    def _reply(self, client: Connection, line: str) -> bytes:
        if sum(other.pending for other in self._clients) > self._limits.pending_bytes:
            raise Refused(BUSY)
        return self._answer(line, client.peer.uid)

    def _deny(self, client: Connection, _line: str) -> bytes:
        self._warn_denied(client.peer)
        raise Refused(DENIED)

    def _warn_denied(self, peer: Peer) -> None:
        self._warn("rejected a client: pid %d, uid %d, gid %d", peer.pid, peer.uid, peer.gid)

    def _warn(self, message: str, *values: object) -> None:
        """Log it unless the same message was logged within the last minute."""
        held_back = self._warnings.setdefault(message, Seldom(LOG_PAUSE)).ask(self._loop.time())
        if held_back is not None:
            more = f" ({held_back} more like it before)" if held_back else ""
            log.warning("%s%s", message % values, more)


class Seldom:
    """Allows something once in `seconds`."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._next = float("-inf")
        self._held_back = 0

    def ask(self, now: float) -> int | None:
        """How often the answer was no since the last yes; None for no."""
        if now < self._next:
            self._held_back += 1
            return None
        held_back, self._held_back, self._next = self._held_back, 0, now + self._seconds
        return held_back


def _turn_away(accepted: socket.socket, text: str) -> None:
    with contextlib.suppress(OSError):
        accepted.send(text.encode(), socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
    accepted.close()
