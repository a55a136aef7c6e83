# SPDX-License-Identifier: GPL-2.0-only
"""Asking for a password on the terminal, where no desktop does: polkit's text agent, as systemctl starts it.

Source: pkttyagent(1).
"""

from __future__ import annotations

import contextlib
import os
import select
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

AGENT = "/usr/bin/pkttyagent"
READY_SECONDS = 10.0
_LEAVE_SECONDS = 5.0


@contextlib.contextmanager
def password_agent(address: str = "") -> Iterator[None]:
    """An agent for this process while the block lasts, where there is a terminal and somebody to ask.

    `address` is that of the bus, if it is not the system's usual one.
    """
    if os.geteuid() == 0 or not os.isatty(0) or not Path(AGENT).exists():
        yield
        return
    process = _start(address)
    try:
        yield
    finally:
        process.terminate()
        try:
            process.wait(_LEAVE_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def _start(address: str) -> subprocess.Popen[bytes]:
    """Return when it is registered with polkit, or has ended, or took too long."""
    heard, told = os.pipe()
    environment = {**os.environ, "DBUS_SYSTEM_BUS_ADDRESS": address} if address else None
    try:
        process = subprocess.Popen(
            [AGENT, "--notify-fd", str(told), "--fallback"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            pass_fds=[told],
            env=environment,
        )
    finally:
        os.close(told)
    select.select([heard], [], [], READY_SECONDS)
    os.close(heard)
    return process
