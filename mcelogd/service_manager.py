# SPDX-License-Identifier: GPL-2.0-only
"""What systemd offers a service: readiness, status, watchdog, sockets. All of it optional.

sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3). Started by hand, every
call does nothing.
"""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


START_SECONDS = 90
"""How long a start may take from one sign that it goes on to the next."""


class ServiceManager:
    """The service manager that started this process, if one did."""

    def __init__(self, environment: Mapping[str, str], pid: int) -> None:
        self._enabled = "NOTIFY_SOCKET" in environment
        self._environment = environment
        self._pid = pid

    @property
    def is_there(self) -> bool:
        """Whether a service manager started us."""
        return self._enabled

    @property
    def watchdog_interval(self) -> float | None:
        """Seconds between two signs of life: half of what the service manager waits. None: it does not."""
        microseconds = self._environment.get("WATCHDOG_USEC", "")
        if not self._enabled or not microseconds.isdigit():
            return None
        if self._environment.get("WATCHDOG_PID", str(self._pid)) != str(self._pid):
            return None
        return int(microseconds) / 2_000_000

    def starting(self) -> None:
        """It takes longer, but goes on."""
        self._notify(f"EXTEND_TIMEOUT_USEC={START_SECONDS * 1_000_000}")

    def ready(self, status: str) -> None:
        self._notify(f"READY=1\nSTATUS={status}")

    def status(self, status: str) -> None:
        self._notify(f"STATUS={status}")

    def reloading(self) -> None:
        self._notify(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")

    def alive(self) -> None:
        self._notify("WATCHDOG=1")

    def stopping(self) -> None:
        self._notify("STOPPING=1")

    def sockets(self) -> dict[int, str]:
        """Descriptors passed by socket activation, with their FileDescriptorName."""
        if self._environment.get("LISTEN_PID") != str(self._pid):
            return {}
        from systemd.daemon import listen_fds_with_names

        return {int(fd): str(name) for fd, name in listen_fds_with_names().items()}

    def _notify(self, state: str) -> None:
        if not self._enabled:
            return
        from systemd.daemon import notify

        try:
            notify(state)
        except OSError:
            # The manager's socket is gone: nothing that is worth stopping for.
            self._enabled = False


def is_journal(fd: int, environment: Mapping[str, str]) -> bool:
    """Whether what is written to `fd` ends up in the journal anyway (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        status = os.fstat(fd)
    except OSError:
        return False
    return environment.get("JOURNAL_STREAM") == f"{status.st_dev}:{status.st_ino}"
