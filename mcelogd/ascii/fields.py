# SPDX-License-Identifier: GPL-2.0-only
"""The registers a line names: `KEY value` words, in any order and number.

Keys are those of Linux arch/x86/kernel/cpu/mce/core.c (print_mce), of
mcelog's own output and of mce-inject.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.cpu import format_cpuid, parse_cpuid, vendor_number
from mcelogd.decode import bits
from mcelogd.record import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable


class Style(enum.Enum):
    """Who wrote a record's lines; it decides the base of SOCKETID and APICID."""

    PLAIN = enum.auto()
    """Not known yet, or an mce-inject file."""
    KERNEL = enum.auto()
    DECODED = enum.auto()
    """mcelog's decoded text: numbers of CPUs are hex."""
    RAW = enum.auto()
    """`mcelog --raw`: one field a line, numbers of CPUs are decimal."""
    AMD = enum.auto()
    """The kernel's decoding of an AMD CPU's error: labels of its own, see `amd`."""


MAX = {field.name: (1 << 8 * (field.end - field.offset)) - 1 for field in FIELDS}
"""The largest value of each field of `struct mce`."""

UNKNOWN_VENDOR = 255
"""X86_VENDOR_UNKNOWN (arch/x86/include/asm/processor.h)."""

_LARGEST_VENDOR = MAX["cpuvendor"]
_LARGEST_CPUID = MAX["cpuid"]

FLAGS = {
    "VAL": bits.MCI_STATUS_VAL,
    "OVER": bits.MCI_STATUS_OVER,
    "UC": bits.MCI_STATUS_UC,
    "EN": bits.MCI_STATUS_EN,
    "MISCV": bits.MCI_STATUS_MISCV,
    "ADDRV": bits.MCI_STATUS_ADDRV,
    "PCC": bits.MCI_STATUS_PCC,
    "S": bits.MCI_STATUS_S,
    "AR": bits.MCI_STATUS_AR,
    "CORRECTED": bits.MCI_STATUS_VAL | bits.MCI_STATUS_EN,
    "UNCORRECTED": bits.MCI_STATUS_VAL | bits.MCI_STATUS_EN | bits.MCI_STATUS_UC,
    "FATAL": bits.MCI_STATUS_VAL | bits.MCI_STATUS_EN | bits.MCI_STATUS_UC | bits.MCI_STATUS_PCC,
}
"""Names mce-inject takes for bits of STATUS (its SPEC file)."""

MCG_FLAGS = {
    "RIPV": bits.MCG_STATUS_RIPV,
    "EIPV": bits.MCG_STATUS_EIPV,
    "MCIP": bits.MCG_STATUS_MCIP,
    "LMCE": bits.MCG_STATUS_LMCES,
}
FLAG_NAMES = {"status": FLAGS, "mcgstatus": MCG_FLAGS}

_DAYS = ("Mon", "Tue", "Wed", "Thu", "Fri", "Sat", "Sun")
_CTIME_WORDS = 5


class Found:
    """What the words of a line say.

    `values` are fields of MceRecord, and `cpu`. `whole` means that every word
    was understood, `bad` that a key had a value its field cannot hold.
    `rest` is the index of the first word of the next record, if there is one;
    `wrapped` a last key whose value must be on the next line.
    """

    __slots__ = ("bad", "rest", "style", "symbol", "values", "whole", "wrapped")

    def __init__(self, style: Style) -> None:
        self.style = style
        self.values: dict[str, int] = {}
        self.whole = True
        self.bad = False
        self.symbol = ""
        self.rest: int | None = None
        self.wrapped = ""


def number(word: str, base: int, largest: int) -> int | None:
    """The value of an unsigned number of `base`, or hex after 0x; None if it is none or too large."""
    # int() alone would take signs, underscores and the digits of every script.
    if not word.isalnum() or not word.isascii():
        return None
    try:
        value = int(word, base)
    except ValueError:
        if base == 16 or word[:2] not in ("0x", "0X"):
            return None
        return number(word, 16, largest)
    return value if value <= largest else None


def scan(words: list[str], at: int = 0, style: Style = Style.PLAIN, *, has_cpu: bool = False) -> Found:
    """What words from index `at` on say; stops where a field repeats.

    `has_cpu`: the record they belong to has its CPU number already, so that
    another begins a new one.
    """
    found = Found(style)
    values = found.values
    count = len(words)
    name = ""
    while at < count:
        key = KEYS.get(words[at])
        if key is None:
            at = _skip(words, at, name, found)
            continue
        name, base, largest, read = key
        if name in values or (has_cpu and name == "cpu"):
            found.rest = at
            break
        if read is not None:
            at = read(words, at, found)
        elif at + 1 == count:
            at = _wrap(words, at, found)
        else:
            value = number(words[at + 1], base, largest)
            if value is None:
                at = _unreadable(words, at, name, found)
            else:
                values[name] = value
                at += 2
    return found


def _skip(words: list[str], at: int, last: str, found: Found) -> int:
    """Past a word that is no key: what is known to follow `last`, a comment, or news."""
    word = words[at]
    if word[0] == "#":
        return len(words)
    if last == "time" and word in _DAYS:
        return at + _CTIME_WORDS
    if last == "tsc" and word == "[at":
        # mcelog's guess at the uptime, in brackets
        while at < len(words) and not words[at].endswith("]"):
            at += 1
        return at + 1
    flag = FLAG_NAMES[last].get(word.upper()) if last in FLAG_NAMES and last in found.values else None
    if flag is None:
        found.whole = False
    else:
        found.values[last] |= flag
    return at + 1


def _wrap(words: list[str], at: int, found: Found) -> int:
    """The value must be on the next line."""
    found.wrapped = " ".join(words[at:])
    return len(words)


def _unreadable(words: list[str], at: int, name: str, found: Found) -> int:
    """Past a key whose next word is not its value: mce-inject's flags, damage, or mere prose."""
    word = words[at + 1]
    if name in FLAG_NAMES and word.upper() in FLAG_NAMES[name]:
        found.values[name] = FLAG_NAMES[name][word.upper()]
        return at + 2
    found.whole = False
    if word[0].isdigit() or (at == 0 and len(words) == 2):
        found.bad = True
        return at + 2
    return at + 1


def _read_processor(words: list[str], at: int, found: Found) -> int:
    """`PROCESSOR vendor:cpuid`, the vendor as the kernel numbers it."""
    if at + 1 == len(words):
        return _wrap(words, at, found)
    vendor, _, cpuid = words[at + 1].partition(":")
    cpuvendor = number(vendor, 10, _LARGEST_VENDOR)
    eax = number(cpuid, 16, _LARGEST_CPUID)
    if cpuvendor is None or eax is None:
        return _unreadable(words, at, "cpuid", found)
    found.values["cpuvendor"] = cpuvendor
    found.values["cpuid"] = eax
    return at + 2


def _read_rip(words: list[str], at: int, found: Found) -> int:
    """`RIP [!INEXACT!] cs:<ip> [{symbol}]`; the brackets, cs and a blank inside the braces may be."""
    start = at
    at += 1
    if at < len(words) and words[at] == "!INEXACT!":
        at += 1
    if at == len(words):
        return _wrap(words, start, found)
    word, brace, symbol = words[at].partition("{")
    cs, _, ip = word.replace("<", "").replace(">", "").rpartition(":")
    selector = number(cs or "0", 16, MAX["cs"])
    pointer = number(ip, 16, MAX["ip"])
    if selector is None or pointer is None:
        return _unreadable(words, at - 1, "ip", found)
    found.values["ip"] = pointer
    found.values["cs"] = selector
    at += 1
    parts = [brace + symbol] if brace else []
    if not parts and at < len(words) and words[at][0] == "{":
        parts.append(words[at])
        at += 1
    while parts and not parts[-1].endswith("}") and at < len(words) and words[at] not in KEYS:
        parts.append(words[at])
        at += 1
    found.symbol = " ".join(parts)
    return at


def _read_cpuid(words: list[str], at: int, found: Found) -> int:
    """`CPUID Vendor NAME Family n Model n [Step n]`; the name may have blanks."""
    family = next((i for i in range(at + 2, min(at + 8, len(words))) if words[i] == "Family"), 0)
    if words[at + 1 : at + 2] not in ([], ["Vendor"]):
        found.whole = False
        return at + 1
    if not family or len(words) < family + 4:
        return _wrap(words, at, found)
    name = " ".join(words[at + 2 : family])
    has_step = words[family + 4 : family + 5] == ["Step"]
    numbers = words[family + 1 : family + 6 : 2]
    values = [number(word, 10, MAX["cpuid"]) for word in (numbers if has_step else numbers[:2])]
    signature = tuple(0 if value is None else value for value in (*values, *(0,) * (3 - len(values))))
    eax = format_cpuid(*signature)
    if None in values or parse_cpuid(eax) != signature:
        found.bad = True
        found.whole = False
    else:
        vendor = vendor_number(name)
        found.bad |= vendor is None and name != "Unknown vendor"
        found.values["cpuvendor"] = UNKNOWN_VENDOR if vendor is None or vendor > UNKNOWN_VENDOR else vendor
        found.values["cpuid"] = eax
    return family + (6 if has_step else 4)


def _read_socketid(words: list[str], at: int, found: Found) -> int:
    """Hex in decoded text, where it follows APICID; decimal where it stands alone."""
    is_hex = found.style is Style.DECODED or "apicid" in found.values
    return _read_id(words, at, found, "socketid", 16 if is_hex else 10)


def _read_apicid(words: list[str], at: int, found: Found) -> int:
    """Hex, but decimal in `--raw` output."""
    return _read_id(words, at, found, "apicid", 10 if found.style is Style.RAW else 16)


def _read_id(words: list[str], at: int, found: Found, name: str, base: int) -> int:
    if at + 1 == len(words):
        return _wrap(words, at, found)
    value = number(words[at + 1], base, MAX[name])
    if value is None and base == 10:
        value = number(words[at + 1], 16, MAX[name])
    if value is None:
        return _unreadable(words, at, name, found)
    found.values[name] = value
    return at + 2


class Key(NamedTuple):
    """What stands behind a key: the field, and either its base and largest value or how to read it."""

    field: str
    base: int = 16
    largest: int = 0
    read: Callable[[list[str], int, Found], int] | None = None


def _hex(field: str) -> Key:
    return Key(field, 16, MAX[field])


KEYS = {
    "CPU": Key("cpu", 10, MAX["extcpu"]),
    "BANK": Key("bank", 10, MAX["bank"]),
    "STATUS": _hex("status"),
    "MCGSTATUS": _hex("mcgstatus"),
    "MISC": _hex("misc"),
    "ADDR": _hex("addr"),
    "TSC": _hex("tsc"),
    "TIME": Key("time", 10, MAX["time"]),
    "MCGCAP": _hex("mcgcap"),
    "SYND": _hex("synd"),
    "IPID": _hex("ipid"),
    "PPIN": _hex("ppin"),
    "MICROCODE": _hex("microcode"),
    "microcode": _hex("microcode"),
    "SOCKET": Key("socketid", 10, MAX["socketid"]),
    "APIC": _hex("apicid"),
    "SOCKETID": Key("socketid", read=_read_socketid),
    "APICID": Key("apicid", read=_read_apicid),
    "PROCESSOR": Key("cpuid", read=_read_processor),
    "CPUID": Key("cpuid", read=_read_cpuid),
    "RIP": Key("ip", read=_read_rip),
}
