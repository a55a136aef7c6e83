# SPDX-License-Identifier: GPL-2.0-only
"""DIMMs as the kernel's EDAC drivers show them: which place an entry is of, and whose word its label is.

An administrator's labels get there by `ras-mc-ctl --register-labels` or by
hand; what drivers write themselves is the place in other words. Sources:
Linux drivers/edac/{edac_mc,skx_common,sb_edac,i7core_edac,amd64_edac}.c.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account.memory import MemoryKey
from mcelogd.cpu import Vendor
from mcelogd.dimms.locators import channels_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcelogd.cpu import CpuType

_DRIVERS_OWN = re.compile(r"$|CPU_SrcID#\d|CPU#\d+_?Channel#\d|mc#\d|MC#\d|Slice#\d|unknown memory", re.ASCII)

# Controller names, the number of the socket first, then the memory controller's on it.
_CONTROLLERS = (
    re.compile(r"(?:Skylake|Intel_10nm) Socket#(\d{1,3}) IMC#(\d{1,3})", re.ASCII),
    re.compile(r"[\w ]+ SrcID#(\d{1,3})_Ha#(\d{1,3})", re.ASCII),
    re.compile(r"i7 core #(\d{1,3})()", re.ASCII),
)
_CHANNEL_AND_SLOT = re.compile(r"channel (\d{1,3}) slot (\d{1,3})", re.ASCII)
_CHIP_SELECT = re.compile(r"csrow (\d{1,3}) channel (\d{1,3})", re.ASCII)

_ZEN = re.compile(r"F1[7-9A]h")
_SEVERAL_DIES = frozenset({"zen1", "hygon"})
"""CPUs whose memory controllers are numbered by die."""


class EdacDimm(NamedTuple):
    """A DIMM or rank directory: the number N of its `mcN`, its `mc_name`, `dimm_location`, `dimm_label`."""

    controller: int
    controller_name: str
    location: str
    label: str


def labels(entries: Sequence[EdacDimm], cpu: CpuType) -> dict[MemoryKey, str]:
    """The labels that somebody wrote, by place; none for a place with two."""
    several = len({entry.controller for entry in entries}) > 1
    found: dict[MemoryKey, set[str]] = {}
    for entry in entries:
        key = _key(entry, cpu, several=several)
        if key is not None and _is_written(entry.label):
            found.setdefault(key, set()).add(entry.label)
    return {key: names.pop() for key, names in found.items() if len(names) == 1}


def _is_written(label: str) -> bool:
    return label.isprintable() and '"' not in label and not _DRIVERS_OWN.match(label)


def _key(entry: EdacDimm, cpu: CpuType, *, several: bool) -> MemoryKey | None:
    if cpu.vendor in (Vendor.AMD, Vendor.HYGON):
        return _zen_key(entry, cpu, several=several)
    channels = channels_of(cpu)
    place = _CHANNEL_AND_SLOT.fullmatch(entry.location)
    if channels is None or place is None:
        return None
    for pattern in _CONTROLLERS:
        if found := pattern.fullmatch(entry.controller_name):
            number = channels.of_controller(int(found[2] or 0), int(place[1]))
            return MemoryKey(int(found[1]), number, int(place[2]))
    return None


def _zen_key(entry: EdacDimm, cpu: CpuType, *, several: bool) -> MemoryKey | None:
    """A controller is a socket, its channels are UMCs; two chip selects are a DIMM."""
    place = _CHIP_SELECT.fullmatch(entry.location)
    if place is None or not _ZEN.match(entry.controller_name) or (several and cpu.name in _SEVERAL_DIES):
        return None
    return MemoryKey(entry.controller, int(place[2]), int(place[1]) // 2)
