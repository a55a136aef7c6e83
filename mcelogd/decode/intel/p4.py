# SPDX-License-Identifier: GPL-2.0-only
"""Intel NetBurst: Pentium 4, Xeon 5000 (family 0FH); the bus part is shared by Tulsa.

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
table "Incremental Decoding Information: Processor Family 0FH Machine Error
Codes For Machine Check".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import Flag
from mcelogd.decode.intel.common import is_bus_error, labelled_block

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

BUS = (
    Flag(16, "FSB address parity"),
    Flag(17, "Response hard fail"),
    Flag(18, "Response parity"),
    Flag(19, "PIC and FSB data parity"),
    Flag(20, "Invalid PIC request(Signature=0xF04H)"),
    Flag(21, "Pad state machine"),
    Flag(22, "Pad strobe glitch"),
    Flag(23, "Pad address glitch"),
)


def describe(record: MceRecord) -> list[str]:
    """The model's lines for a Pentium 4 record: each flag of a bus error on a line of its own."""
    if not is_bus_error(record.status):
        return []
    return labelled_block("Model:", [flag.text for flag in BUS if record.status >> flag.bit & 1])


MODEL = Model(describe=describe)
