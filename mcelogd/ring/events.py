# SPDX-License-Identifier: GPL-2.0-only
"""The trace event mce:mce_record -> the record as `struct mce` has it.

Source: Linux include/trace/events/mce.h (TRACE_EVENT(mce_record)). `ppin` and
`microcode` came in 6.10, `v_data` in 6.13: MCA_SYND1 and MCA_SYND2 of AMD's
CPUs. `struct mce` has no room for these, and whether they are a syndrome or the
text of the part to be replaced is said by MCA_CONFIG[FRUTEXT] alone, which the
event has not (7.3); so they are left out.
"""

from __future__ import annotations

from operator import itemgetter
from typing import TYPE_CHECKING

from mcelogd.record import FIELDS, LENGTH
from mcelogd.ring.format import LARGEST_PAGE, FormatError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcelogd.ring.format import EventFormat

_NAMES = {"time": "walltime", "extcpu": "cpu", "cpu8": "cpu"}
"""Members of `struct mce` that have another name in the event."""

_NEEDED = ("status", "bank", "cpu")


class RecordFormat:
    """Makes records of an event's entries; FormatError if the event cannot be mce_record."""

    def __init__(self, event: EventFormat) -> None:
        lacking = [name for name in _NEEDED if name not in event.fields]
        if lacking:
            raise FormatError(f"the event has no field {' and '.join(lacking)}")
        self._id = event.id
        self._type = event.fields["common_type"]
        self._size = max(field.end for field in event.fields.values())
        if self._size > LARGEST_PAGE:
            raise FormatError(f"the event is {self._size} bytes long, longer than any page")
        self._pieces = itemgetter(*self._slices(event))

    def record(self, payload: memoryview) -> bytes | None:
        """The 128 bytes of the current `struct mce`; None for an entry of another event.

        What this kernel's event does not have, or this entry, is 0.
        """
        if int.from_bytes(payload[self._type.offset : self._type.end], "little") != self._id:
            return None
        entry = bytes(payload[: self._size]).ljust(self._size + LENGTH, b"\0")
        return b"".join(self._pieces(entry))

    def _slices(self, event: EventFormat) -> Iterator[slice]:
        """The parts of an entry that are put one behind the other, zeros (which follow the entry) between
        them: both are little-endian, so the upper bytes of what is wider in the event are left out."""
        end = 0
        for ours in FIELDS:
            its = event.fields.get(_NAMES.get(ours.name, ours.name))
            if its is None:
                continue
            size = min(its.size, ours.end - ours.offset)
            yield slice(self._size, self._size + ours.offset - end)
            yield slice(its.offset, its.offset + size)
            end = ours.offset + size
        yield slice(self._size, self._size + LENGTH - end)
