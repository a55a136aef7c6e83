# SPDX-License-Identifier: GPL-2.0-only
"""The page /metrics, on sockets that systemd listens on."""

from __future__ import annotations

import selectors
import sys
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from socketserver import BaseServer
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable

    Render = Callable[[str], tuple[bytes, str]]

PATH: Final = "/metrics"
REQUEST_SECONDS = 10
"""Whoever does not send a request, or take the answer, in that time is not waited for."""


class Handler(BaseHTTPRequestHandler):
    """One request."""

    server: Server
    timeout = REQUEST_SECONDS

    def do_GET(self) -> None:
        if self.path.partition("?")[0] == PATH:
            self._answer(HTTPStatus.OK, *self.server.render(self.headers.get("Accept", "")))
            return
        status = HTTPStatus.OK if self.path == "/" else HTTPStatus.NOT_FOUND
        self._answer(status, f"The metrics of mcelog are at {PATH}.\n".encode(), "text/plain; charset=utf-8")

    def do_HEAD(self) -> None:
        self.do_GET()

    def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def version_string(self) -> str:
        """Who answers; nobody need know by which Python."""
        return "mcelog"

    def log_message(self, format: str, *args: object) -> None:
        """Nobody wants a line in the journal every few seconds."""


class Server(ThreadingHTTPServer):
    """On a socket that listens already. A thread for each request, so that a slow one holds up no other."""

    daemon_threads = True

    def __init__(self, listener: socket.socket, render: Render) -> None:
        """`render` makes a page and its Content-Type of an Accept header."""
        # Not TCPServer's, which makes a socket: the unit is not allowed to.
        BaseServer.__init__(self, listener.getsockname(), Handler)
        self.socket = listener
        self.render = render

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002  # the base's
        error = sys.exception()
        if not isinstance(error, OSError):  # those are clients that went away
            sys.stderr.write(f"mcelogctl: a request could not be answered: {error!r}\n")


def serve(listeners: Iterable[socket.socket], render: Render, idle_seconds: float) -> None:
    """Answer requests until none came for so long; systemd starts us again for the next."""
    with selectors.DefaultSelector() as selector:
        servers = [Server(listener, render) for listener in listeners]
        for server in servers:
            server.timeout = 0  # another process may have taken the connection
            selector.register(server, selectors.EVENT_READ)
        while ready := selector.select(idle_seconds):
            for key, _ in ready:
                assert isinstance(key.fileobj, Server)
                key.fileobj.handle_request()
        for server in servers:
            server.server_close()
