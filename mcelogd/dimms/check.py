# SPDX-License-Identifier: GPL-2.0-only
"""How far SMBIOS can be relied on: whether addresses may be looked up in it, and what is wrong with it."""

from __future__ import annotations

from collections import Counter
from itertools import pairwise
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.dimms.names import serial_numbers

if TYPE_CHECKING:
    from mcelogd.dimms.names import DimmNames
    from mcelogd.dimms.smbios import Smbios


NOT_MAPPED = "SMBIOS does not map addresses to DIMMs (no type 20)"


class Verdict(NamedTuple):
    """Whether `--dmi` may be switched on by itself; `reason` is one line that says why not."""

    is_sane: bool
    reason: str = ""


def sanity(smbios: Smbios) -> Verdict:
    """A verdict on the mapping of addresses to DIMMs, as the C program's: unique ranges, unique locators.

    Interleaved memory fails it, and so do all tables without type 20. Names
    by place do not depend on it.
    """
    reason = _ranges_at_fault(smbios) or _locators_at_fault(smbios)
    return Verdict(not reason, reason)


def _ranges_at_fault(smbios: Smbios) -> str:
    ranges = smbios.device_ranges
    if not ranges:
        return NOT_MAPPED
    if any(later.start < earlier.end for earlier, later in pairwise(ranges)):
        return "address ranges in SMBIOS overlap (interleaved DIMMs)"
    if len(ranges) <= 2 < len(_in_use(smbios)):
        return "not enough unique address ranges in SMBIOS for its DIMMs"
    return ""


def _locators_at_fault(smbios: Smbios) -> str:
    count = Counter(_in_use(smbios))
    if "" in count:
        return "a DIMM in SMBIOS has no locator"
    twice = next((locator for locator, times in count.items() if times > 1), None)
    return "" if twice is None else f'{count[twice]} DIMMs in SMBIOS have the locator "{twice}"'


def _in_use(smbios: Smbios) -> list[str]:
    return [device.locator for device in smbios.devices if device.is_populated]


def problems(smbios: Smbios, names: DimmNames) -> list[str]:
    """What keeps DIMMs from being named or followed, and what can be done; one line each."""
    dimms = smbios.dimms()
    if not dimms:
        return [*smbios.problems, "SMBIOS lists no DIMMs: name them in dimm-labels.conf"]
    found = list(smbios.problems)
    if not names.known():
        found.append("SMBIOS does not say which channel its DIMMs are on: name them in dimm-labels.conf")
    found += filter(None, [_locators_at_fault(smbios)])
    without = len(dimms) - len(serial_numbers(dimms))
    if without:
        found.append(
            f"{without} of {len(dimms)} DIMMs in SMBIOS have no serial number of their own: "
            "when they are replaced, mcelog has to be told"
        )
    if not smbios.device_ranges:
        found.append(NOT_MAPPED)
    return found
