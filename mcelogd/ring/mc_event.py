# SPDX-License-Identifier: GPL-2.0-only
"""The trace event ras:mc_event: what an EDAC driver makes of a memory error, the DIMM's label above all.

Source: Linux include/ras/ras_event.h (TRACE_EVENT(mc_event)), drivers/edac/edac_mc.c
(edac_mc_handle_error: what stands in a label that names no DIMM).
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd.ring.format import FormatError

if TYPE_CHECKING:
    from mcelogd.ring.format import EventFormat

LONGEST_LABEL = 256
"""Characters; the kernel's labels have 31 each, and an error may be on one of several DIMMs."""

LARGEST_GRAIN = 63

_NO_LABEL = ("", "any memory", "unknown memory")


class McEvent(NamedTuple):
    """The address of an error, exact but for the last `grain_bits` bits, and the label of its DIMM.

    `address` is 0 where the driver does not know it, `label` empty where it
    names no DIMM.
    """

    address: int
    grain_bits: int
    label: str


class McEventFormat:
    """Makes McEvents of the event's entries; FormatError if the event cannot be mc_event."""

    def __init__(self, event: EventFormat) -> None:
        self._id = event.id
        try:
            self._type = event.fields["common_type"]
            self._address = event.fields["address"]
            self._label = event.dynamic["label"]
        except KeyError as error:
            raise FormatError(f"the event has no field {error.args[0]}") from error
        self._grain = event.fields.get("grain_bits")

    def event(self, payload: memoryview) -> McEvent | None:
        """What an entry says, whatever it holds; None for one of another event, or cut off."""
        if int.from_bytes(payload[self._type.offset : self._type.end], "little") != self._id:
            return None
        if max(self._address.end, self._label.field.end) > len(payload):
            return None
        address = int.from_bytes(payload[self._address.offset : self._address.end], "little")
        grain = self._grain
        grain_bits = int.from_bytes(payload[grain.offset : grain.end], "little") if grain is not None else 0
        return McEvent(address, min(grain_bits, LARGEST_GRAIN), _label(self._label.of(payload)))


def _label(content: bytes) -> str:
    text = content.partition(b"\0")[0].decode(errors="replace").strip()[:LONGEST_LABEL]
    return "" if text in _NO_LABEL else text
