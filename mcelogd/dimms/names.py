# SPDX-License-Identifier: GPL-2.0-only
"""What a DIMM is called: the administrator's file, EDAC's labels and SMBIOS, merged.

For the name, the administrator's file comes before EDAC, and EDAC before
SMBIOS. Serial number, part and size are SMBIOS's: of the device whose locator
is the label given to the place, or whose name says it is there (locators.py).
"""

from __future__ import annotations

import enum
import re
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account.memory import ANY, MemoryKey, memory_key
from mcelogd.dimms import edac, locators
from mcelogd.dimms.labels import Labels

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mcelogd.cpu import CpuType
    from mcelogd.dimms.edac import EdacDimm
    from mcelogd.dimms.smbios import MemoryDevice, Smbios
    from mcelogd.event import Event


RANKS_ONLY = ("sandybridge-ep", "ivybridge-ep")
"""CPU types whose registers name the rank of a channel, not the DIMM."""


MOST_LEARNED = 1024
"""DIMMs whose labels are learned from errors; no machine has more."""


class Source(enum.StrEnum):
    """Whose word a DIMM's label is."""

    USER = "user"
    EDAC = "EDAC"
    SMBIOS = "SMBIOS"


class DimmName(NamedTuple):
    """A DIMM by its names. Empty is what is not known; `size` is in bytes, None if not known.

    `location` is SMBIOS's bank locator. `serial` is only there if it tells
    this DIMM from all others. Where a place may be one of several DIMMs,
    `label` says so ("A1 or A2") and the rest is empty.
    """

    label: str
    source: Source
    location: str = ""
    serial: str = ""
    part: str = ""
    manufacturer: str = ""
    size: int | None = None


class DimmNames:
    """The names of one machine's DIMMs, by the numbers that errors of its CPU come with."""

    def __init__(
        self,
        cpu: CpuType,
        smbios: Smbios | None = None,
        edac_dimms: Sequence[EdacDimm] = (),
        labels: Labels | None = None,
    ) -> None:
        self.smbios = smbios
        self._user = labels or Labels()
        self._edac = edac.labels(edac_dimms, cpu)
        self._learned: dict[MemoryKey, str] = {}
        self._dimms = smbios.dimms() if smbios else []
        self._serials = serial_numbers(self._dimms)
        shared = Counter(device.locator for device in self._dimms)
        self._by_locator = {device.locator: device for device in self._dimms if shared[device.locator] == 1}
        self._usual_keys: list[MemoryKey] = []
        self._devices: dict[MemoryKey, list[MemoryDevice]] = {}
        self._place(locators.places(smbios.devices, cpu) if smbios else [])

    def _place(self, places: Iterable[tuple[MemoryDevice, locators.Keys]]) -> None:
        """What is in which place. Labels that somebody gave to places come before a locator's numbers."""
        given: dict[MemoryDevice, MemoryKey] = {}
        for key, label in (*self._user.by_place.items(), *self._edac.items()):
            if label in self._by_locator:
                given.setdefault(self._by_locator[label], key)
        for device, keys in places:
            if device not in given:
                self._usual_keys.append(keys[0])
                for key in keys:
                    self._devices.setdefault(key, []).append(device)
        self._usual_keys += given.values()
        self._devices.update((key, [device]) for device, key in given.items())

    def of(self, socket: int, channel: int, dimm: int) -> DimmName | None:
        """The name of what errors with these numbers are on; channel and DIMM may be ANY.

        None where nothing says, and for a whole socket.
        """
        key = MemoryKey(socket, channel, dimm)
        if key.is_socket:
            return None
        name = self._of_place(key) or (self._of_channel(key) if dimm == ANY else None)
        return name or self._of_the_only_one()

    def of_event(self, event: Event) -> list[DimmName | None]:
        """The names of an event's DIMMs, one for each of its locations."""
        socket = event.record.socketid
        if socket is None:
            return []
        return [self.of(*memory_key(socket, location)) for location in event.finding.locations]

    def known(self) -> dict[MemoryKey, DimmName]:
        """The DIMMs whose place is known, each once and in the order of their numbers.

        The place may be a channel, its DIMM ANY, where the administrator's file says no more.
        """
        keys = sorted({*self._edac, *self._usual_keys})
        return {key: name for key in keys if (name := self.of(*key))}

    def by_address(self, address: int) -> list[DimmName]:
        """The DIMMs a physical address may be on, as SMBIOS maps them: none, one, or those interleaved."""
        return [self._of_device(device) for device in self.smbios.at(address)] if self.smbios else []

    def learn(self, key: MemoryKey, label: str) -> None:
        """An EDAC driver called the DIMM at `key` so, when it had an error."""
        if key.dimm != ANY and (key in self._learned or len(self._learned) < MOST_LEARNED):
            self._learned[key] = label

    def has_third_dimm(self, socket: int, channel: int) -> bool:
        """Whether SMBIOS shows three DIMMs on that channel; what is not known has not."""
        return MemoryKey(socket, channel, 2) in self._devices

    def located(self, event: Event) -> Event:
        """The event, on the third DIMM of its channel where the registers name a rank of that one.

        Sandy and Ivy Bridge EP report ranks; 6 and 7 are the third DIMM's if there is one, else the second's.
        """
        socket = event.record.socketid
        if socket is None or event.cpu_type.name not in RANKS_ONLY:
            return event
        places = tuple(
            place._replace(dimm=2)
            if place.rank in (6, 7) and self.has_third_dimm(socket, place.channel or 0)
            else place
            for place in event.finding.locations
        )
        return event._replace(finding=event.finding._replace(locations=places))

    def _of_place(self, key: MemoryKey) -> DimmName | None:
        devices = self._devices.get(key, [])
        edac = (self._edac, Source.EDAC), (self._learned, Source.EDAC)
        for labels, source in ((self._user.by_place, Source.USER), *edac):
            if label := labels.get(key):
                one = len(devices) == 1
                return self._of_device(devices[0], label, source) if one else DimmName(label, source)
        return _one_of([self._of_device(device) for device in devices])

    def _of_channel(self, channel: MemoryKey) -> DimmName | None:
        """By the DIMMs the channel has, of those that are known to be there if that is known."""
        named = {key for key in (*self._user.by_place, *self._edac) if key[:2] == channel[:2]}
        filled = {key for key in self._devices if key[:2] == channel[:2]}
        names = [self._of_place(key) for key in sorted(filled or named)]
        return _one_of([name for name in names if name])

    def _of_the_only_one(self) -> DimmName | None:
        """The machine's DIMM where it has one only, and nothing says that it is elsewhere."""
        return self._of_device(self._dimms[0]) if len(self._dimms) == 1 and not self._devices else None

    def _of_device(self, device: MemoryDevice, label: str = "", source: Source = Source.SMBIOS) -> DimmName:
        serial = self._serials.get(device, "")
        if not label and (own := self._user.by_serial.get(serial)):
            label, source = own, Source.USER
        return DimmName(
            label or self._label(device),
            source,
            location=_meaningful(device.bank_locator),
            serial=serial,
            part=_meaningful(device.part),
            manufacturer=_meaningful(device.manufacturer),
            size=device.size,
        )

    def _label(self, device: MemoryDevice) -> str:
        """The locator; where several DIMMs have the same one, with the bank locator before it."""
        if device.locator in self._by_locator:
            return device.locator
        return f"{_meaningful(device.bank_locator)} {device.locator}".strip()


def _one_of(names: Sequence[DimmName]) -> DimmName | None:
    names = list(dict.fromkeys(names))
    if len(names) < 2:
        return names[0] if names else None
    return DimmName(" or ".join(dict.fromkeys(name.label for name in names)), names[0].source)


def serial_numbers(devices: Sequence[MemoryDevice]) -> dict[MemoryDevice, str]:
    """The serial numbers that tell DIMMs apart: no placeholders, and none that two of them have."""
    count = Counter(device.serial for device in devices)
    alone = (device for device in devices if count[device.serial] == 1)
    return {device: device.serial for device in alone if _is_serial(device.serial)}


PLACEHOLDERS = frozenset(
    (
        *(
            "",
            "none",
            "(none)",
            "null",
            "n/a",
            "na",
            "unknown",
            "undefined",
            "empty",
            "[empty]",
            "<bad index>",
        ),
        *("no dimm", "no module", "no module installed", "no serial", "no ser num", "default string"),
        *("not applicable", "not available", "not present", "not provided", "not specified"),
        *("oem", "o.e.m.", "to be filled by o.e.m.", "serial", "serial number"),
    )
)
_NUMBERED_PLACEHOLDER = re.compile(
    r"(?:array\d+_)?(?:sernum|serialnum(?:ber)?|partnum(?:ber)?|manufacturer)\d*"
)
_FILLER = re.compile(r"(?:0x)?(.)\1*|0?12345678?9?0?")


def _meaningful(text: str) -> str:
    """The text, if it is not one of those that firmware has in place of one."""
    lowered = text.lower()
    return "" if lowered in PLACEHOLDERS or _NUMBERED_PLACEHOLDER.fullmatch(lowered) else text


def _is_serial(text: str) -> bool:
    """No placeholder, nor one character again and again, nor just counted up."""
    return bool(_meaningful(text)) and not _FILLER.fullmatch(text.lower())
