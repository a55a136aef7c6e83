# SPDX-License-Identifier: GPL-2.0-only
"""What is found, and the lines it is found in."""

from __future__ import annotations

import enum
from typing import NamedTuple


class Origin(enum.StrEnum):
    """Where a record was found that no source gave; also its mark in reports."""

    KERNEL_LOG = "kernel-log"
    """In this boot's kernel messages."""
    PSTORE = "pstore"
    """In what a kernel kept when it died, mostly that of an earlier boot."""


class Found(NamedTuple):
    """A machine check of before.

    `record` has the 128 bytes of the current `struct mce`; fields that a text
    did not show are 0. `when` is its time in seconds since the epoch, also in
    the record: the kernel's own, else that of its message. `source` says where
    it was found, for people. `incomplete` texts lack more than most, or could
    not be read in part (see mcelogd.ascii.Assembled).
    """

    record: bytes
    origin: Origin
    when: int
    source: str
    incomplete: bool = False


class Line(NamedTuple):
    """A line of a kernel's log, and when it was printed: seconds since the epoch."""

    text: str
    when: int
