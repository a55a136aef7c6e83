# SPDX-License-Identifier: GPL-2.0-only
"""The way to a bus: a socket of this machine, or ssh to that of another, as systemctl --host goes.

Source: systemctl(1), "--host"; systemd-stdio-bridge(1).
"""

from __future__ import annotations

import contextlib
import re
import socket
import subprocess
from typing import TYPE_CHECKING

from mcelogd.ctl.exits import CtlError, Exit
from mcelogd.dbus.connection import addresses

if TYPE_CHECKING:
    from collections.abc import Callable

SSH = "ssh"
BRIDGE = "systemd-stdio-bridge"

_WORD = r"[^\s:@/\[\]-][^\s:@/\[\]]*"
"""No option of ssh, and no address of the Internet with its colons: that is written in brackets."""

_HOST = re.compile(rf"(?P<login>{_WORD}@)?(?P<host>{_WORD}|\[[\w:.%]+\])(:(?P<port>\d{{1,5}}))?")
_LEAVE_SECONDS = 2.0


def open_local(setting: str) -> socket.socket:
    """Connected to the bus that `setting` names: system, session, or an address. CtlError if that fails."""
    try:
        places = addresses(setting)
    except ValueError as error:
        raise CtlError(f"no bus: {error}", Exit.UNREACHABLE) from None
    problem = ""
    for place in places:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            connection.connect(place)
        except (OSError, ValueError) as error:
            connection.close()
            why = getattr(error, "strerror", None) or error
            problem = f"{place.replace(chr(0), '@', 1)}: {why}"
        else:
            return connection
    raise CtlError(f"no bus: {problem}; is dbus running?", Exit.UNREACHABLE)


def ssh_command(host: str) -> list[str]:
    """What leads to the system bus of `host`, [USER@]HOST[:PORT]; CtlError if that is no host."""
    found = _HOST.fullmatch(host)
    if found is None:
        raise CtlError(f"{host!r} is no host: write it as user@host or user@host:port", Exit.USAGE)
    port = ["-p", found["port"]] if found["port"] else []
    target = (found["login"] or "") + found["host"].strip("[]")
    return [SSH, "-xT", *port, "--", target, BRIDGE]


def open_remote(host: str) -> tuple[socket.socket, Callable[[], int | None]]:
    """Connected to the bus of another machine; and what to call at the end: it returns ssh's exit status."""
    command = ssh_command(host)
    ours, theirs = socket.socketpair()
    try:
        process = subprocess.Popen(command, stdin=theirs.fileno(), stdout=theirs.fileno())
    except OSError as error:
        ours.close()
        raise CtlError(f"cannot run {SSH}: {error.strerror}; is it installed?", Exit.UNREACHABLE) from None
    finally:
        theirs.close()

    def leave() -> int | None:
        with contextlib.suppress(subprocess.TimeoutExpired):
            return process.wait(_LEAVE_SECONDS)
        process.terminate()
        process.wait()
        return None

    return ours, leave
