# SPDX-License-Identifier: GPL-2.0-only
"""Files of the kernel, of systemd and of the firmware, as far as checks go by them. Pure; takes any bytes."""

from __future__ import annotations

import re
import struct
from typing import TYPE_CHECKING

from mcelogd.doctor.facts import Hest, Reading

if TYPE_CHECKING:
    from collections.abc import Iterable

_CONFIG = re.compile(r"(?:CONFIG_(\w+)=(\S+)|# CONFIG_(\w+) is not set)", re.ASCII)

# ACPI 6.5, 18.3.2: type of a source -> name, bytes, where the number of banks is, with 28 bytes for each.
_HEST_SOURCES = {
    0: ("machine check exceptions", 40, 32),
    1: ("corrected machine checks", 48, 44),
    2: ("", 20, None),
    6: ("", 48, None),
    7: ("", 44, None),
    8: ("", 56, None),
    9: ("", 64, None),
    10: ("", 92, None),
    11: ("deferred machine checks", 48, 44),
}
_GENERIC = (9, 10)
_HEST_HEADER = 40
_HEST_BANK = 28
_FIRMWARE_FIRST = 1
_MOST_SOURCES = 10_000


def parse_kernel_config(text: str) -> dict[str, str]:
    """Options without CONFIG_: `y`, `m`, a value, or `n` for those that are said not to be set."""
    found = {}
    for line in text.splitlines():
        if match := _CONFIG.match(line):
            found[match[1] or match[3]] = match[2] or "n"
    return found


def parse_hest(table: bytes) -> Hest:
    """What the firmware keeps to itself; what follows a source of unknown type is left out."""
    if len(table) < _HEST_HEADER or table[:4] != b"HEST":
        return Hest(Reading.THERE, damaged=True)
    length, count = struct.unpack_from("<I", table, 4)[0], struct.unpack_from("<I", table, 36)[0]
    table = table[:length]
    kept: list[str] = []
    generic, at = 0, _HEST_HEADER
    for _ in range(min(count, _MOST_SOURCES)):
        kind = struct.unpack_from("<H", table, at)[0] if at + 2 <= len(table) else None
        if kind not in _HEST_SOURCES:
            return Hest(Reading.THERE, tuple(dict.fromkeys(kept)), generic, damaged=True)
        name, size, banks = _HEST_SOURCES[kind]
        if at + size > len(table):
            return Hest(Reading.THERE, tuple(dict.fromkeys(kept)), generic, damaged=True)
        flags, enabled = table[at + 6], table[at + 7]
        if name and flags & _FIRMWARE_FIRST:
            kept.append(name)
        generic += kind in _GENERIC and enabled != 0
        at += size + (table[at + banks] * _HEST_BANK if banks is not None else 0)
    return Hest(Reading.THERE, tuple(dict.fromkeys(kept)), generic)


def parse_journald(texts: Iterable[str]) -> dict[str, str]:
    """Settings of journald; those of a later text count."""
    found: dict[str, str] = {}
    for text in texts:
        section = ""
        for line in map(str.strip, text.splitlines()):
            if line.startswith("["):
                section = line
            elif section == "[Journal]" and "=" in line and not line.startswith(("#", ";")):
                name, _, value = line.partition("=")
                found[name.strip()] = value.strip()
    return found


def parse_properties(text: str) -> dict[str, str]:
    """What `systemctl show` prints."""
    pairs = (line.partition("=") for line in text.splitlines())
    return {name: value for name, equals, value in pairs if equals}


def words_of(cmdline: str) -> list[str]:
    """The words of a kernel command line; those behind -- are not for the kernel."""
    words = cmdline.split()
    return words[: [*words, "--"].index("--")]
