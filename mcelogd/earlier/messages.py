# SPDX-License-Identifier: GPL-2.0-only
"""Kernel messages -> records, with the time of the message where the record has none. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mcelogd.ascii import Assembled, assemble
from mcelogd.earlier.found import Found
from mcelogd.record import pack

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcelogd.earlier.found import Line, Origin
    from mcelogd.record import MceRecord

# Linux include/linux/printk.h (HW_ERR), behind the subsystem's name and, in a dump, level, time and caller.
# Only at the start: further in it may be the name that a USB stick gives itself.
_ABOUT_HARDWARE = re.compile(
    r"(?:<\d{1,3}>)?(?:\[ {0,12}\d{1,10}\.\d{1,9}\])?(?:\[ {0,12}[TC]\d{1,10}\])? ?"
    r"(?:mce: |MCE: )?\[Hardware Error\]: ",
    re.ASCII,
)

DAY = 86400

_TOLD = "Machine check events logged"
_WRITTEN_OUT = re.compile(r"\[Hardware Error\]: (?:CPU \d+: Machine Check|Machine check: CPU)")

LONGEST = 384
"""Characters of a line that are looked at: the kernel's longest line of a record has some 200."""


class _Clock(str):
    """A line of our own between the others: what begins behind it was printed `when`."""

    when: int

    __slots__ = ("when",)


def is_about_hardware(text: str) -> bool:
    """Whether a kernel's line can be part of a record."""
    return _ABOUT_HARDWARE.match(text) is not None


def count_told(lines: Iterable[str]) -> int:
    """At least so many machine checks the kernel told of.

    It says so twice a minute at most, once for several, or writes each out
    when nobody else takes it.
    """
    told = written_out = 0
    for line in lines:
        told += _TOLD in line
        written_out += _WRITTEN_OUT.search(line) is not None
    return max(told, written_out)


def found_in(lines: Iterable[Line], origin: Origin, source: str, now: int) -> Iterator[Found]:
    """The records in a kernel's log, in order.

    A time that is later than a day from `now` is none. Lines may hold
    anything; never raises.
    """
    when = 0
    for item in assemble(_with_clock(lines)):
        if isinstance(item, _Clock):
            when = item.when
        elif isinstance(item, Assembled):
            yield found(item.record, origin, when, source, now, incomplete=item.incomplete)


def found(
    record: MceRecord, origin: Origin, when: int, source: str, now: int, *, incomplete: bool = False
) -> Found:
    """The record with a time: its own, else `when` it was printed."""
    if not 0 < record.time <= now + DAY:
        record = record._replace(time=max(0, when))
    return Found(pack(record), origin, record.time, source, incomplete)


def _with_clock(lines: Iterable[Line]) -> Iterator[str]:
    """The lines that matter, and the time whenever it is another.

    What belongs to no record is passed through where it stands (`assemble`),
    so the time that comes out last before a record is that of its first line.
    """
    last = None
    for line in lines:
        if not is_about_hardware(line.text):
            continue
        if line.when != last:
            last = line.when
            clock = _Clock(f"@{last}")
            clock.when = last
            yield clock
        # One message, one line: what would be more lines is no kernel's register dump.
        yield line.text[:LONGEST].partition("\n")[0]
