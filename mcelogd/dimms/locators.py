# SPDX-License-Identifier: GPL-2.0-only
"""From what firmware calls a slot to the numbers the hardware reports, where the name really says them.

A wrong name is worse than none, so only names that number sockets, channels
and DIMMs as the hardware does are understood:

    P0_Node1_Channel2_Dimm0        bank locator: Supermicro; Node may be a part of a socket
    _Node1_Channel2_Dimm0          bank locator: Huawei and others; Node is the socket
    NODE 1 CHANNEL 2 DIMM 0        bank locator: Intel's server boards
    CPU1_CH2 with CPU1_DIMM_C1     bank locator, and the slot from the locator's last digits
    ChannelB-DIMM0                 locator: Intel's client firmware; one socket

Not understood, since the same name is another channel on another board: plain
letters and numbers (Dell `A1` is channel 2 on an R710 and 0 on an R720,
`CPU1_DIMM_A1`, HPE `PROC 1 DIMM 1`, Lenovo `CPU1_DIMM1`), AMI's `Node0_Bank0`
and `A1_BANK0`, which do not say a channel, and every name on AMD's processors:
`P0 CHANNEL A` is UMC 1 on most boards with two channels, and the channels C
to H of servers are in another order than their UMCs. Sources: dmidecode output
and EDAC's view of the same machines, as in the label files of rasdaemon.
"""

from __future__ import annotations

import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account.memory import MemoryKey
from mcelogd.cpu import Vendor

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from mcelogd.cpu import CpuType
    from mcelogd.dimms.smbios import MemoryDevice


class Slot(NamedTuple):
    """The numbers in a slot's name. `node` is None where the name has the socket alone."""

    socket: int
    node: int | None
    channel: int
    dimm: int


Keys = tuple[MemoryKey, ...]


class Channels(NamedTuple):
    """How a CPU's decoder numbers channels, against firmware's and EDAC's numbers.

    `reported` has the numbers that errors of a socket's n-th channel may come
    with, `per_node` how many channels a Node has where it is a part of a
    socket, None where that never is. `of_controller` is the number of a memory
    controller's own channel.
    """

    reported: Callable[[int], tuple[int, ...]]
    per_node: int | None
    of_controller: Callable[[int, int], int]


def _same(channel: int) -> tuple[int, ...]:
    return (channel,)


def _ice_lake(channel: int) -> tuple[int, ...]:
    """Two channels to a controller, whose numbers are three apart (decode/intel/i10nm.py)."""
    return (channel // 2 * 3 + channel % 2,)


def _haswell(channel: int) -> tuple[int, ...]:
    """The third and fourth are the first ones of the second home agent, 4 and 5, where there are two."""
    return (channel, channel + 2) if channel in (2, 3) else (channel,)


def _ivy_bridge(channel: int) -> tuple[int, ...]:
    """Likewise, but both controllers count from 0."""
    return (channel, channel % 2) if channel in (2, 3) else (channel % 4,)


def _apart(step: int) -> Callable[[int, int], int]:
    return lambda controller, channel: controller * step + channel


_ONE = Channels(_same, None, _apart(4))

CHANNELS: Mapping[str, Channels] = {
    "nehalem": _ONE,
    "sandybridge-ep": _ONE,
    "ivybridge-ep": Channels(_ivy_bridge, None, _apart(0)),
    "haswell-ep": Channels(_haswell, None, _apart(4)),
    "broadwell-ep": Channels(_haswell, None, _apart(4)),
    "broadwell-d": _ONE,
    "skylake_server": Channels(_same, 3, _apart(3)),
    "icelake_server": Channels(_ice_lake, 4, _apart(3)),
    "sapphirerapids_server": Channels(_same, 4, _apart(2)),
    "emeraldrapids_server": Channels(_same, 4, _apart(2)),
    # One controller with two channels, and the architecture's channel numbers.
    **dict.fromkeys(("sandybridge", "ivybridge", "haswell", "broadwell", "skylake", "kabylake"), _ONE),
    **dict.fromkeys(("cometlake", "rocketlake"), _ONE),
}
"""CpuType.name -> Channels. Other CPUs: nobody has written down which channel is which."""


def channels_of(cpu: CpuType) -> Channels | None:
    """The row of a CPU; None where firmware's channel numbers say nothing."""
    return CHANNELS.get(cpu.name) if cpu.vendor == Vendor.INTEL else None


_FLAGS = re.ASCII | re.IGNORECASE
_NUMBERED = re.compile(r"(?:(?:P|CPU)(\d{1,3}))?_Node(\d{1,3})_Channel(\d{1,3})_Dimm(\d{1,3})", _FLAGS)
_SPELT = re.compile(r"NODE (\d{1,3}) CHANNEL (\d{1,3}) DIMM (\d{1,3})", _FLAGS)
_CPU_AND_CHANNEL = re.compile(r"CPU ?(\d{1,3})[ _]CH(?:ANNEL)?[ _]?(\d{1,3})", _FLAGS)
_LETTER = re.compile(r"Channel([A-H])-DIMM(\d{1,3})", _FLAGS)
_LAST_NUMBER = re.compile(r".*[A-Z](\d{1,2})", _FLAGS)


def slot_of(device: MemoryDevice) -> Slot | None:
    """The numbers in a device's locators, as they are written; None for names that say none."""
    bank = device.bank_locator
    if found := _NUMBERED.fullmatch(bank):
        node, channel, dimm = map(int, found.group(2, 3, 4))
        return (
            Slot(node, None, channel, dimm) if found[1] is None else Slot(int(found[1]), node, channel, dimm)
        )
    if found := _SPELT.fullmatch(bank):
        socket, channel, dimm = map(int, found.groups())
        return Slot(socket, None, channel, dimm)
    number = _LAST_NUMBER.fullmatch(device.locator)
    if (found := _CPU_AND_CHANNEL.fullmatch(bank)) and number:
        return Slot(int(found[1]), None, int(found[2]), int(number[1]))
    if found := _LETTER.fullmatch(device.locator):
        return Slot(0, None, ord(found[1].upper()) - ord("A"), int(found[2]))
    return None


def places(devices: Iterable[MemoryDevice], cpu: CpuType) -> list[tuple[MemoryDevice, Keys]]:
    """The DIMMs whose names say where they are, each with the keys that its errors may come under.

    `devices` are all slots, the empty ones too: some things only the whole
    table tells. Several keys are one place, numbered differently by variants
    of the same CPU. Slots that claim the same place claim none.
    """
    channels = channels_of(cpu)
    slots = [(device, slot) for device in devices if (slot := slot_of(device)) is not None]
    first_dimm = _first(slot.dimm for _, slot in slots)
    # Where sockets count from 1, it takes the board's manual to know what else does.
    if channels is None or first_dimm is None or _first(slot.socket for _, slot in slots) != 0:
        return []
    node_channels = _channels_per_node([slot for _, slot in slots], channels)
    if node_channels is None:
        return []
    filled = [
        (device, slot._replace(channel=slot.channel + node_channels * (slot.node or 0)))
        for device, slot in slots
        if device.is_populated
    ]
    claims = Counter((slot.socket, slot.channel, slot.dimm) for _, slot in filled)
    return [
        (device, _keys(slot, channels, first_dimm))
        for device, slot in filled
        if claims[slot.socket, slot.channel, slot.dimm] == 1
    ]


def _first(numbers: Iterable[int]) -> int | None:
    """Whether numbers count from 0 or 1; None if they start elsewhere."""
    least = min(numbers, default=None)
    return least if least in (0, 1) else None


def _keys(slot: Slot, channels: Channels, first_dimm: int) -> Keys:
    dimm = slot.dimm - first_dimm
    return tuple(MemoryKey(slot.socket, channel, dimm) for channel in channels.reported(slot.channel))


def _channels_per_node(slots: list[Slot], channels: Channels) -> int | None:
    """What a Node adds to a channel's number: 0 where it is the socket; None where that cannot be told.

    On Supermicro's boards up to Broadwell, P1_Node1 is the second socket; from
    Skylake on it is the second half of the second socket.
    """
    pairs = {(slot.socket, slot.node) for slot in slots if slot.node is not None}
    if all(node == 0 for _, node in pairs):
        return 0
    if any(node != socket for socket, node in pairs):
        return channels.per_node if all(node in (0, 1) for _, node in pairs) else None
    in_node = max(slot.channel for slot in slots) + 1
    return 0 if channels.per_node is None or in_node > channels.per_node else None
