# SPDX-License-Identifier: GPL-2.0-only
"""The kernel's own decoding of an AMD or Hygon machine check, back to registers.

Source: Linux drivers/edac/mce_amd.c (amd_decode_mce) from 2.6.36 to 6.18. Only
STATUS is always printed; MISC and the time never are. The sentences around
the registers say what STATUS and IPID say.
"""

from __future__ import annotations

import re

from mcelogd.ascii.fields import MAX, Style, number
from mcelogd.ascii.heads import Head
from mcelogd.cpu import Vendor, format_cpuid, parse_cpuid

HYGON_FAMILY = 0x18

_STATUS = re.compile(
    r"(?:CPU:\s?(\d{1,10})\s+(?:\(([\da-f]{1,3}):([\da-f]{1,2}):([\da-f])\)\s+)?)?"
    r"MC(\d{1,3})_STATUS\[[\w|-]{1,100}\]:\s(?:0x)?([\da-fA-F]{16})\s*$",
    re.ASCII,
)
_REGISTER = re.compile(
    r"(Error Addr|MC\d{1,3}_ADDR|PPIN|IPID|Syndrome[12]?|TSC):\s(?:0x)?(\w{1,40})(?:,\s|\s*$)", re.ASCII
)
_FIELDS = {
    "Error Addr": ("addr", 16),
    "PPIN": ("ppin", 16),
    "IPID": ("ipid", 16),
    "Syndrome": ("synd", 16),
    "TSC": ("tsc", 10),
}
_SENTENCES = re.compile(r"[^:]{1,80} Ext\. Error Code: \d|Bank \d{1,3} is reserved\.")


def head(text: str) -> Head | None:
    """`CPU:2 (19:1:1) MC17_STATUS[-|CE|MiscV|...]: 0x9c2040000000011b`, in the kernels' variations."""
    match = _STATUS.match(text)
    if match is None:
        return None
    cpu, family, model, stepping, bank, status = match.groups()
    values = {"status": int(status, 16), "cpuvendor": int(Vendor.AMD)}
    bad = int(bank) > MAX["bank"]
    if not bad:
        values["bank"] = int(bank)
    if cpu is not None and int(cpu) <= MAX["extcpu"]:
        values["cpu"] = int(cpu)
    if family is not None:
        signature = (int(family, 16), int(model, 16), int(stepping, 16))
        values["cpuid"] = format_cpuid(*signature)
        bad |= parse_cpuid(values["cpuid"]) != signature
        if signature[0] == HYGON_FAMILY:
            values["cpuvendor"] = int(Vendor.HYGON)
    return Head(Style.AMD, values, [], bad)


def registers(text: str) -> tuple[dict[str, int], bool]:
    """The fields a later line of the block names; whether one of them could not be read."""
    values: dict[str, int] = {}
    bad = False
    at = 0
    while match := _REGISTER.match(text, at):
        at = match.end()
        field, base = _FIELDS.get(match[1], ("addr", 16) if match[1].startswith("MC") else ("", 16))
        if field:
            value = number(match[2], base, MAX[field])
            bad |= value is None
            if value is not None:
                values[field] = value
    return values, bad


def is_sentence(text: str) -> bool:
    """Whether a line of the block says in words what its registers say."""
    return text.startswith(("Syndrome1: ", "cache level: ", "internal: ")) or bool(_SENTENCES.match(text))
