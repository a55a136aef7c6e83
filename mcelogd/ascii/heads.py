# SPDX-License-Identifier: GPL-2.0-only
"""The lines that begin a record, by who wrote them.

Kernels: arch/x86/kernel/cpu/mce/core.c (print_mce) and its forebears back to
i386, drivers/edac; Xen: xen/arch/x86/cpu/mcheck/mce.c (x86_mcinfo_dump).
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.ascii.fields import KEYS, MAX, Style, number, scan
from mcelogd.decode import bank_name, bits

if TYPE_CHECKING:
    from collections.abc import Sequence

_HEX = r"(?:0x)?([\da-fA-F]{1,40})\b"

_MACHINE_CHECK = re.compile(
    rf"CPU:?\s*(\d{{1,40}}):?\s+Machine\s+Check(?:\s+(?:Exception|Event)\b)?"
    rf"(?::?\s+{_HEX}(?:\s+Bank\s+(\d{{1,40}})\b:?(?:\s+{_HEX})?)?)?",
    re.ASCII,
)
_POLLED = re.compile(
    r"The\s+hardware\s+reports\s+a\s+non\s+fatal,\s+correctable\s+incident\s+occurr?ed\s+on\s+CPU\s+(\d{1,40})",
    re.ASCII,
)
# A status has 16 digits: its topmost bit is set, or, by kernels that had cleared that, it is zero-padded.
_BANK = re.compile(
    r"Bank\s+(\d{1,40}):\s*(?:0x)?([\da-fA-F]{16})\b"
    r"(?:\s*\[\s*([\da-fA-F]{1,40})\])?(?:\s*at\s+([\da-fA-F]{1,40}))?\s*$",
    re.ASCII,
)

_SOFTWARE_BANKS = {
    tuple(bank_name(bank).split()): bank for bank in (bits.THERMAL_BANK, bits.TIMEOUT_BANK, bits.APEI_BANK)
}
_UNDECODED = ["Undecoded", "extended", "event"]

_K8_UNITS = frozenset(
    (
        *("data", "instruction", "bus", "load/store", "northbridge", "fixed-issue", "unknown", "Unknown"),
        *("MC4_MISC0", "MC4_MISC1", "MC4_MISC2", "MC4_MISC3"),
    )
)
"""First words of the bank names the C program printed for AMD K8."""


_BASES = {key.field: (key.base, key.largest) for key in KEYS.values() if key.read is None}


class Head(NamedTuple):
    """What a first line says.

    `values` are fields of MceRecord, and `cpu`. `rest` are the words behind
    the head. `prose` means that decoded sentences follow. `wrapped` is the
    text of a head that goes on on the next line.
    """

    style: Style
    values: dict[str, int]
    rest: list[str]
    bad: bool = False
    prose: bool = False
    wrapped: str = ""


def machine_check(text: str) -> Head | None:
    """`CPU 3: Machine Check Exception: f Bank 1: bd80000000100134`, in the kernels' variations."""
    match = _MACHINE_CHECK.match(text)
    if match is None:
        return None
    values, bad = _numbers(("cpu", "mcgstatus", "bank", "status"), match.groups())
    wrapped = text if match[4] is None else ""
    return Head(Style.KERNEL, values, text[match.end() :].split(), bad, wrapped=wrapped)


def polled(text: str) -> Head | None:
    """Xen's and old i386 kernels' line above a corrected error; `Bank` lines follow."""
    match = _POLLED.match(text)
    if match is None:
        return Head(Style.KERNEL, {}, [], wrapped=text) if text.startswith("The hardware reports") else None
    values, bad = _numbers(("cpu",), (match[1],))
    return Head(Style.KERNEL, values, [], bad)


def bank_line(text: str) -> Head | None:
    """`Bank 2: d400008000040150[misc] at 182c480179cf0` of Xen and i386 kernels."""
    match = _BANK.match(text)
    if match is None:
        return None
    values, bad = _numbers(("bank", "status", "misc", "addr"), match.groups())
    return Head(Style.KERNEL, values, [], bad)


def mcelog_head(words: list[str]) -> Head | None:
    """`CPU 3 BANK 5 TSC ...`, `CPU 3 5`, `CPU 3`, `CPU 3 THERMAL EVENT` and their like; words[0] is CPU."""
    if len(words) < 2 or not words[1].isdigit():
        return None
    if len(words) == 2:
        return _head(Style.RAW, words, 2)
    if words[2] == "BANK":
        return _head(Style.PLAIN, words, 4, words[3]) if len(words) > 3 and words[3][0].isdigit() else None
    if words[2].isdigit():
        if len(words) > 3 and words[3] in _K8_UNITS:
            end = next((i for i in range(4, len(words)) if words[i] in KEYS), len(words))
            return _head(Style.DECODED, words, end, words[2], prose=True)
        return _head(Style.PLAIN, words, 3, words[2])
    if words[2] in KEYS:
        return _head(Style.PLAIN, words, 2) if scan(words, 2).whole else None
    return _software_head(words)


def tag(words: list[str]) -> int | None:
    """The CPU of `CPU 3: TSC ...`, a later line of its record; None if it is no such line."""
    if len(words) < 3 or words[0] != "CPU" or words[1][-1] != ":" or words[2] not in KEYS:
        return None
    return number(words[1][:-1], 10, MAX["extcpu"])


def _software_head(words: list[str]) -> Head | None:
    """A bank that is none: the kernel's thermal events, timeouts and what firmware reported."""
    for name, bank in _SOFTWARE_BANKS.items():
        end = 2 + len(name)
        if tuple(words[2:end]) == name:
            return _head(Style.DECODED, words, end, str(bank), prose=True)
    if words[2:5] == _UNDECODED and len(words) > 5:
        return _head(Style.DECODED, words, 6, "0x" + words[5], prose=True)
    return None


def _head(
    style: Style, words: list[str], end: int, bank: str | None = None, *, prose: bool = False
) -> Head | None:
    """The head in words[:end]; None where what follows shows that it is not one."""
    rest = words[end:]
    if rest and rest[0] not in KEYS and rest[0][0] != "#":
        return None
    values, bad = _numbers(("cpu", "bank"), (words[1], bank))
    return Head(style, values, rest, bad, prose)


def _numbers(names: tuple[str, ...], texts: Sequence[str | None]) -> tuple[dict[str, int], bool]:
    """The values of the fields that have a text which fits; whether one did not fit."""
    values = {}
    bad = False
    for name, text in zip(names, texts, strict=True):
        if text is not None:
            base, largest = _BASES[name]
            value = number(text, base, largest)
            if value is None:
                bad = True
            else:
                values[name] = value
    return values, bad
