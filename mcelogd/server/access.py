# SPDX-License-Identifier: GPL-2.0-only
"""Who may ask: `client-user` and `client-group` of mcelog.conf against the peer's credentials."""

from __future__ import annotations

import socket
import struct
from typing import NamedTuple

SO_PEERGROUPS = 59
"""Linux 4.13, include/uapi/asm-generic/socket.h; Python has no name for it."""


class Peer(NamedTuple):
    """Who connected; `groups` are the supplementary ones."""

    pid: int
    uid: int
    gid: int
    groups: frozenset[int] = frozenset()


def peer_of(connection: socket.socket) -> Peer:
    """The process that called connect(), as the kernel saw it then. Raises OSError.

    SO_PEERCRED and not SCM_CREDENTIALS, which describes whoever wrote the
    bytes: a program with more rights can be made to write into a socket that
    it was handed as its stdout. Clients that send SCM_CREDENTIALS may do so.
    """
    pid, uid, gid = struct.unpack("iII", connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    try:
        # 1024 bytes are what Python allows: whoever is in more than 256 groups is in none here.
        packed = connection.getsockopt(socket.SOL_SOCKET, SO_PEERGROUPS, 1024)
    except OSError:
        packed = b""
    return Peer(pid, uid, gid, frozenset(struct.unpack(f"{len(packed) // 4}I", packed)))


class Access(NamedTuple):
    """Who is answered, besides root. None is what is not set; `any_user` and `any_group` are `*`."""

    uid: int | None = 0
    gid: int | None = None
    any_user: bool = False
    any_group: bool = False

    def allows(self, peer: Peer) -> bool:
        """Whether root, the user named, or a member of the group named.

        `*` for the user lets in everyone, unless a group is named. A group
        that is `*` or not set matches any, "but still user checking"
        (mcelog.conf): it lets nobody in by itself.
        """
        if peer.uid == 0:
            return True
        gid = None if self.any_group else self.gid
        if gid is not None and (gid == peer.gid or gid in peer.groups):
            return True
        return gid is None if self.any_user else peer.uid == self.uid
