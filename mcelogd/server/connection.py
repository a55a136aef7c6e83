# SPDX-License-Identifier: GPL-2.0-only
"""One client: whole lines in, whole replies out, in order.

Nothing here waits. A client may stay connected and silent for ever (collectd
does), but not leave a command or a reply half-way; it holds at most two
buffers of input and one reply, and nothing is read while a reply is pending.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.server.commands import UNKNOWN_COMMAND

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.server.access import Peer

LARGEST_BUFFER = 256 << 10
"""What SO_SNDBUF is raised to for a large reply at most; the kernel doubles it for its own needs."""


class Limits(NamedTuple):
    """How much clients may ask for; times in seconds.

    `denied` of those who may not ask can wait to be told so, apart from the
    `clients` who may. A client silent for `idle_seconds` gives way when all
    places are taken. `pending_bytes` is for the replies of all clients
    together that the kernel has not taken yet.
    """

    clients: int = 128
    denied: int = 16
    idle_seconds: float = 30.0
    command_seconds: float = 10.0
    reply_seconds: float = 10.0
    line_bytes: int = 4096
    pending_bytes: int = 16 << 20


class Refused(Exception):
    """The client gets this text instead of a reply, and is disconnected."""


class Connection:
    """One client; `answer` gives the reply to a line or raises Refused, `on_close` is told the end.

    `patience` is how long a client may be silent, in seconds; None: for ever.
    """

    def __init__(
        self,
        connection: socket.socket,
        peer: Peer,
        limits: Limits,
        answer: Callable[[Connection, str], bytes],
        on_close: Callable[[Connection], None],
        patience: float | None = None,
    ) -> None:
        connection.setblocking(False)
        self.peer = peer
        self._socket = connection
        self._limits = limits
        self._answer = answer
        self._on_close = on_close
        self._patience = patience
        self._loop = asyncio.get_running_loop()
        self.last_used = self._loop.time()
        self._input = bytearray()
        self._output = memoryview(b"")
        self._no_more_input = False
        self._timer: asyncio.TimerHandle | None = None
        self._wait_for_input()

    @property
    def pending(self) -> int:
        """Bytes of a reply that the kernel has not taken yet."""
        return len(self._output)

    def close(self) -> None:
        if self._socket.fileno() == -1:
            return
        self._stop_timer()
        self._loop.remove_reader(self._socket)
        self._loop.remove_writer(self._socket)
        self._socket.close()
        self._on_close(self)

    def _wait_for_input(self) -> None:
        self._loop.add_reader(self._socket, self._read)
        seconds = self._limits.command_seconds if self._input else self._patience
        if seconds is None:
            self._stop_timer()
        elif self._timer is None:  # one that trickles in has no more time than another
            self._start_timer(seconds)

    def _read(self) -> None:
        try:
            data = self._socket.recv(self._limits.line_bytes)
        except (BlockingIOError, InterruptedError):
            return
        except OSError:
            self.close()
            return
        self._loop.remove_reader(self._socket)
        self._no_more_input = not data
        # collectd sends the NUL that ends its string along with it.
        self._input += data.replace(b"\0", b"")
        self._next_command()

    def _next_command(self) -> None:
        """Answer one line; the rest has to wait for its reply and for everyone else's turn."""
        line = self._take_line()
        if line is None and self._no_more_input:
            self.close()
        elif len(line or self._input) > self._limits.line_bytes:
            self._refuse(UNKNOWN_COMMAND)
        elif line is None:
            self._wait_for_input()
        else:
            self._reply(line.decode("ascii", "replace"))

    def _take_line(self) -> bytes | None:
        """The next line that is not empty; after the client's end also one without its newline."""
        while (end := self._input.find(b"\n")) >= 0:
            line = bytes(self._input[:end])
            del self._input[: end + 1]
            if line.strip():
                return line
        if self._no_more_input and self._input:
            line = bytes(self._input)
            self._input.clear()
            return line
        return None

    def _reply(self, line: str) -> None:
        try:
            reply = self._answer(self, line)
        except Refused as refusal:
            self._refuse(str(refusal))
        except BaseException:
            # A defect is for the event loop to report; it must not leave a client hanging.
            self.close()
            raise
        else:
            self._send(reply)

    def _refuse(self, text: str) -> None:
        self._input.clear()
        self._no_more_input = True
        self._send(text.encode())

    def _send(self, reply: bytes) -> None:
        # collectd takes a pause in a reply for its end: the kernel should take all of it at once.
        if len(reply) > self._socket.getsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF) // 2:
            size = min(len(reply), LARGEST_BUFFER)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, size)
        self._output = memoryview(reply)
        self._stop_timer()
        self._start_timer(self._limits.reply_seconds)
        self._flush()

    def _flush(self) -> None:
        try:
            sent = self._socket.send(self._output, socket.MSG_NOSIGNAL)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:
            self.close()
            return
        self._output = self._output[sent:]
        if self._output:
            self._loop.add_writer(self._socket, self._flush)
            return
        self._loop.remove_writer(self._socket)
        self._stop_timer()
        self.last_used = self._loop.time()
        self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        if self._socket.fileno() != -1:
            self._next_command()

    def _start_timer(self, seconds: float) -> None:
        self._timer = self._loop.call_later(seconds, self.close)

    def _stop_timer(self) -> None:
        if self._timer:
            self._timer.cancel()
            self._timer = None
