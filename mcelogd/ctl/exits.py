# SPDX-License-Identifier: GPL-2.0-only
"""What `mcelogctl` exits with: scripts go by these numbers. Pure."""

from __future__ import annotations

import enum


class Exit(enum.IntEnum):
    """Exit statuses; those from 10 on are of `status` alone. They never change their meaning.

    `doctor` has its own: doctor/finding.py.
    """

    OK = 0
    FAILURE = 1
    USAGE = 2
    UNREACHABLE = 3
    """There is no bus, or mcelog is not on it and cannot be started."""
    DENIED = 4
    """Whoever asks may not."""
    WATCH = 10
    """A DIMM is to be watched."""
    ACT = 11
    """A DIMM or channel is to be dealt with, or there were uncorrected errors."""
    BLIND = 12
    """Machine checks are not being read, so that nothing can be said."""


class CtlError(Exception):
    """What could not be done and why, in one line for the person who asked."""

    def __init__(self, text: str, status: Exit = Exit.FAILURE) -> None:
        super().__init__(text)
        self.status = status
