# SPDX-License-Identifier: GPL-2.0-only
"""The legacy Unix socket, server side: what collectd, `mcelog --client` and others ask.

commands.py   a command line -> its reply
access.py     who may ask
connection.py one client: whole lines in, whole replies out
sockets.py    the listening socket: bound here or handed over by systemd
service.py    accepts clients; the class that the daemon uses
"""

from mcelogd.server.access import Access, Peer, peer_of
from mcelogd.server.commands import Content, respond
from mcelogd.server.connection import Limits
from mcelogd.server.service import LegacyServer
from mcelogd.server.sockets import ServerRunning, SocketError

__all__ = [
    "Access",
    "Content",
    "LegacyServer",
    "Limits",
    "Peer",
    "ServerRunning",
    "SocketError",
    "peer_of",
    "respond",
]
