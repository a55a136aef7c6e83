# SPDX-License-Identifier: GPL-2.0-only
"""The trace event mce:mce_record -> the record as `struct mce` has it.

Source: Linux include/trace/events/mce.h (TRACE_EVENT(mce_record)). `ppin` and
`microcode` came in 6.10, `v_data` in 6.13: MCA_SYND1 and MCA_SYND2 of AMD's
CPUs. `struct mce` has no room for these, and whether they are a syndrome or the
text of the part to be replaced is said by MCA_CONFIG[FRUTEXT] alone, which the
event has not (7.3); so they are left out.
"""

from __future__ import annotations

import struct
from typing import TYPE_CHECKING

from mcelogd.record import FIELDS, MceRecord, pack
from mcelogd.ring.format import FormatError

if TYPE_CHECKING:
    from mcelogd.ring.format import EventFormat

_NAMES = {"walltime": "time", "cpu": "extcpu"}
"""Members of the event that have another name in `struct mce`."""

_NEEDED = ("status", "bank", "cpu")
_LARGEST = {field.name: (1 << 8 * struct.calcsize(field.format)) - 1 for field in FIELDS}


class RecordFormat:
    """Makes records of an event's entries; FormatError if the event cannot be mce_record."""

    def __init__(self, event: EventFormat) -> None:
        lacking = [name for name in _NEEDED if name not in event.fields]
        if lacking:
            raise FormatError(f"the event has no field {' and '.join(lacking)}")
        self._id = event.id
        self._type = event.fields["common_type"]
        self._fields = [
            (_NAMES.get(name, name), field.offset, field.end, _LARGEST[_NAMES.get(name, name)])
            for name, field in event.fields.items()
            if _NAMES.get(name, name) in _LARGEST
        ]

    def record(self, payload: memoryview) -> bytes | None:
        """The 128 bytes of the current `struct mce`; None for an entry of another event.

        Members that this kernel's event does not have, or this entry not in
        full, are 0.
        """
        if int.from_bytes(payload[self._type.offset : self._type.end], "little") != self._id:
            return None
        values = {
            name: int.from_bytes(payload[start:end], "little") & largest
            for name, start, end, largest in self._fields
            if end <= len(payload)
        }
        values["cpu8"] = values.get("extcpu", 0) & 0xFF
        return pack(MceRecord(**values))
