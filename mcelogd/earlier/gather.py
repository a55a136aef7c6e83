# SPDX-License-Identifier: GPL-2.0-only
"""Everything that is left of machine checks from before, in one call: for a thread, it reads files."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd.earlier import kernel_log, pstore
from mcelogd.earlier.found import Found, Origin
from mcelogd.earlier.messages import count_told, found_in

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence
    from pathlib import Path

MOST = 4096
"""Records that are handed on, the newest."""

MOST_AGE = 30 * 86400
"""Seconds: archives of pstore are kept for years, and what is that old is told to nobody as news."""

KERNEL_LOG = "kernel log"
"""The source of what was found in the journal."""


class Gathered(NamedTuple):
    """What was found, by time.

    `seen` is for the next call, and replaces what was given to this one.
    `problems` are lines for the administrator. `has_kernel_log` is False where
    the journal could not be read, or not to its end: worth another try.
    `told` is how many machine checks the kernel's messages tell of, at least.
    """

    found: list[Found]
    seen: set[str]
    problems: list[str]
    has_kernel_log: bool
    told: int = 0


def gather(
    roots: Sequence[Path],
    boot: str,
    seen: Collection[str],
    now: int,
    *,
    journal: Path | None = None,
    most_age: int = MOST_AGE,
) -> Gathered:
    """Machine checks in pstore below `roots`, and among the kernel messages of the boot `boot`.

    Files named in `seen` are left out; the journal is not asked if `boot` is
    empty. `now` is the time in seconds since the epoch. `journal` is a
    directory of journals in the place of this machine's. Takes seconds at
    worst and never raises.
    """
    left = pstore.read(roots, seen, now)
    recent = [one for one in left.found if one.when >= now - most_age]
    problems = left.problems
    if len(recent) < len(left.found):
        old = len(left.found) - len(recent)
        problems.append(f"{old} machine checks in pstore are older than {most_age // 86400} days: left alone")
    has_kernel_log, told = False, 0
    if boot:
        log = kernel_log.read(boot, journal)
        has_kernel_log = log.is_whole
        problems += [log.problem] if log.problem else []
        told = count_told(line.text for line in log.lines)
        recent += found_in(log.lines, Origin.KERNEL_LOG, KERNEL_LOG, now)
    recent.sort(key=lambda one: one.when)
    if len(recent) > MOST:
        problems.append(f"{len(recent) - MOST} machine checks too many were found: the oldest are left out")
    return Gathered(recent[-MOST:], left.seen, problems, has_kernel_log, told)
