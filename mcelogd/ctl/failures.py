# SPDX-License-Identifier: GPL-2.0-only
"""What an error on the bus means for the person who asked, and what helps. Pure."""

from __future__ import annotations

import re
from typing import Final

from mcelogd.ctl.exits import CtlError, Exit
from mcelogd.ctl.place import ROOT, words_of
from mcelogd.ctl.text import printable
from mcelogd.dbus import wire

READ: Final = "org.mcelog.read"

ACTIONS: Final = {
    "OfflinePage": "org.mcelog.offline-page",
    "ResetCounters": "org.mcelog.reset-counters",
    "MarkReplaced": "org.mcelog.reset-counters",
    "Acquit": "org.mcelog.reset-counters",
    "Reload": "org.mcelog.reload",
    "SelfTest": "org.mcelog.self-test",
}
"""Method -> polkit action; READ for the others. data/org.mcelog.xml names them."""

_OBJECTS = re.compile(rf"{ROOT}/(dimm|socket)/\w+")

_ERROR: Final = "org.freedesktop.DBus.Error."
_GONE = {
    wire.DISCONNECTED,
    wire.SERVICE_UNKNOWN,
    wire.NAME_HAS_NO_OWNER,
    wire.TIMED_OUT,
    f"{_ERROR}NoReply",
    f"{_ERROR}NoServer",
    f"{_ERROR}TimedOut",
}
"""Whoever should answer is not there, or does not."""


def unreachable(error: wire.BusError) -> CtlError:
    """Why mcelog is not on the bus and was not started."""
    if error.name == wire.ACCESS_DENIED:
        return CtlError(f"the bus does not let us start mcelog: {printable(error.text)}", Exit.DENIED)
    if error.name in (wire.SERVICE_UNKNOWN, wire.NAME_HAS_NO_OWNER):
        why = "nobody is org.mcelog on the bus, nor can it be started"
    else:
        why = printable(error.text) or error.name
    return CtlError(f"mcelog cannot be reached: {why}; see systemctl status mcelog", Exit.UNREACHABLE)


def failed(error: wire.BusError, member: str) -> CtlError:
    """Why a call of mcelog was not carried out."""
    text = printable(_OBJECTS.sub(lambda found: words_of(found[0]), error.text))
    action = ACTIONS.get(member, READ)
    if error.name == wire.INTERACTION_REQUIRED:
        return CtlError(
            f"a password is needed ({action}), and nobody here can ask for it; use sudo, or a polkit rule",
            Exit.DENIED,
        )
    if error.name == wire.ACCESS_DENIED:
        why = "" if action in text else f" ({text})"
        return CtlError(
            f"not allowed{why}: {action} is needed; use sudo, or have polkit allow it", Exit.DENIED
        )
    if error.name in _GONE:
        return CtlError(f"mcelog does not answer: {text}; see systemctl status mcelog", Exit.UNREACHABLE)
    if error.name in (wire.UNKNOWN_METHOD, wire.UNKNOWN_INTERFACE):
        return CtlError(f"this mcelog cannot do that, it is another version ({text})")
    if error.name == wire.UNKNOWN_OBJECT:
        return CtlError(
            "mcelog knows nothing of that; mcelogctl dimms and mcelogctl sockets show what it knows"
        )
    return CtlError(text or error.name)
