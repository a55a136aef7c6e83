# SPDX-License-Identifier: GPL-2.0-only
"""Register bits shared by every CPU, and the row types decode tables are made of.

Bit names and positions: Intel SDM vol. 3B, chapter "Machine-Check
Architecture", figures "IA32_MCG_STATUS Register", "IA32_MCG_CAP Register" and
"IA32_MCi_STATUS Register".
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

MCI_STATUS_VAL: Final = 1 << 63
MCI_STATUS_OVER: Final = 1 << 62
MCI_STATUS_UC: Final = 1 << 61
MCI_STATUS_EN: Final = 1 << 60
MCI_STATUS_MISCV: Final = 1 << 59
MCI_STATUS_ADDRV: Final = 1 << 58
MCI_STATUS_PCC: Final = 1 << 57
MCI_STATUS_S: Final = 1 << 56
MCI_STATUS_AR: Final = 1 << 55
MCI_STATUS_FWST: Final = 1 << 37
"""Firmware updated this status (IA32_MCG_CAP.ELOG_P processors)."""

MCG_STATUS_RIPV: Final = 1 << 0
MCG_STATUS_EIPV: Final = 1 << 1
MCG_STATUS_MCIP: Final = 1 << 2
MCG_STATUS_LMCES: Final = 1 << 3

MCG_CAP_CMCI_P: Final = 1 << 10
MCG_CAP_TES_P: Final = 1 << 11
MCG_CAP_SER_P: Final = 1 << 24

# Banks the kernel makes up (arch/x86/include/asm/mce.h, include/acpi/apei.h).
FIRST_SOFTWARE_BANK: Final = 128
THERMAL_BANK: Final = 128
TIMEOUT_BANK: Final = 218
APEI_BANK: Final = 255


def extract(value: int, lo: int, hi: int) -> int:
    """Bits lo..hi of value, both included, lo at bit 0."""
    return value >> lo & (1 << hi - lo + 1) - 1


class Flag(NamedTuple):
    """One status bit: `text` is shown when it is set."""

    bit: int
    text: str


class Choice(NamedTuple):
    """Bits lo..hi hold a code; `texts` names the known ones.

    An unknown code is shown as `<lo:code>`, unless it is 0.
    """

    lo: int
    hi: int
    texts: Mapping[int, str]


class Number(NamedTuple):
    """Bits lo..hi hold a number, shown as `name: value`, in hex where `base` is 16.

    A number that is 0 is left out unless `always` is set.
    """

    lo: int
    hi: int
    name: str
    base: int = 10
    always: bool = False


LINE_WIDTH = 75
"""Texts of flags and choices share a line up to this many characters."""


def describe_bits(value: int, fields: Iterable[Flag | Choice]) -> list[str]:
    """The texts of `fields` that hold in `value`, wrapped into lines."""
    lines: list[str] = []
    used = 0
    for text in _texts(value, fields):
        if not lines or used + len(text) > LINE_WIDTH:
            lines.append(text)
            used = len(text) + 1
        else:
            lines[-1] += " " + text
            used += len(text) + 1
    return lines


def describe_numbers(value: int, fields: Iterable[Number]) -> list[str]:
    """One line for each number of `fields` that is not 0 in `value`."""
    lines = []
    for field in fields:
        number = extract(value, field.lo, field.hi)
        if number or field.always:
            lines.append(f"{field.name}: {number:x}" if field.base == 16 else f"{field.name}: {number}")
    return lines


def _texts(value: int, fields: Iterable[Flag | Choice]) -> Iterator[str]:
    for field in fields:
        if isinstance(field, Flag):
            if value >> field.bit & 1:
                yield field.text
            continue
        code = extract(value, field.lo, field.hi)
        text = field.texts.get(code)
        if text is not None:
            yield text
        elif code:
            yield f"<{field.lo}:{code:x}>"
