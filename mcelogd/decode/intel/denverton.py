# SPDX-License-Identifier: GPL-2.0-only
"""Denverton (Atom C3000), 06_5FH.

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
section of signature 06_5FH.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import Flag, describe_bits
from mcelogd.decode.intel.common import labelled

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

IMC_BANKS = (6, 7)

# Table "Intel IMC MC Error Codes for IA32_MCi_STATUS (i = 6-7)".
IMC = (
    Flag(16, "Cmd/Addr parity"),
    Flag(17, "Corrected Demand/Patrol Scrub Error"),
    Flag(18, "Uncorrected patrol scrub error"),
    Flag(19, "Uncorrected demand read error"),
    Flag(20, "WDB read ECC"),
)


def describe(record: MceRecord) -> list[str]:
    """What the memory controllers report beyond the architecture."""
    if record.bank not in IMC_BANKS:
        return []
    return labelled("MemCtrl: ", describe_bits(record.status, IMC))


MODEL = Model(describe=describe)
