# SPDX-License-Identifier: GPL-2.0-only
"""Intel Xeon v4, Broadwell EP/EX (06_4FH): Haswell EP/EX with other memory flags, and mirroring.

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
section "... 06_4FH, Machine Error Codes For Machine Check".
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.architectural import Model
from mcelogd.decode.bits import MCI_STATUS_MISCV, Flag
from mcelogd.decode.intel.haswell import HOME_AGENT_BANKS, describe_banks, place_of

if TYPE_CHECKING:
    from mcelogd.event import Location
    from mcelogd.record import MceRecord

# Table "Intel IMC MC Error Codes for IA32_MCi_STATUS (i= 9-16)"
MEMORY = (
    Flag(16, "DDR3 address parity error"),
    Flag(17, "Uncorrected HA write data error"),
    Flag(18, "Uncorrected HA data byte enable error"),
    Flag(19, "Corrected patrol scrub error"),
    Flag(20, "Uncorrected patrol scrub error"),
    Flag(21, "Corrected spare error"),
    Flag(22, "Uncorrected spare error"),
    Flag(24, "iMC write data buffer parity error"),
    Flag(25, "DDR4 command address parity error"),
)

# Table "Intel HA MC Error Codes for IA32_MCi_MISC (i= 7, 8)"; failover outranks scrubbing
MIRRORING = (
    Flag(41, "mirroring with channel failover"),
    Flag(42, "mirroring. Primary channel scrubbed successfully"),
)


def describe(record: MceRecord) -> list[str]:
    """The model's lines for a Broadwell EP/EX record."""
    return describe_banks(record, MEMORY)


def locate(record: MceRecord, channel: int | None) -> tuple[Location, ...]:
    """Where a memory error is: as on Haswell, less the rank."""
    return (place_of(record, channel),)


def corrected_by(record: MceRecord) -> str | None:
    """The kind of mirroring that corrected an error of a home agent; None for ECC."""
    if record.bank not in HOME_AGENT_BANKS or not record.status & MCI_STATUS_MISCV:
        return None
    return next((flag.text for flag in MIRRORING if record.misc >> flag.bit & 1), None)


MODEL = Model(describe=describe, locate=locate, corrected_by=corrected_by)
