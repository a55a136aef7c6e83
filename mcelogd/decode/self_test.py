# SPDX-License-Identifier: GPL-2.0-only
"""The record that mcelog's self test has injected, and how it is known among real ones.

By its registers alone, so that it is known after a crash in between as well,
and in a log that somebody else decodes.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from mcelogd.decode import bits
from mcelogd.event import Finding, Kind, Severity

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

BANK: Final = 0
STATUS: Final = bits.MCI_STATUS_VAL | bits.MCI_STATUS_EN | bits.MCI_STATUS_MISCV | 0x0001
"""A corrected "Unclassified" error without an address: no handler of the kernel finds anything to do."""

MAGIC: Final = 0x4D43_4554
"""Upper half of MCi_MISC: "MCET"; the lower half is the test's own number."""

FINDING: Final = Finding(
    Kind.UNKNOWN, Severity.INFO, "Self test", ("Self test of mcelog, no hardware error",), classified=False
)


def misc_of(number: int) -> int:
    """MCi_MISC of the record that self test `number` (32 bits) has injected."""
    return MAGIC << 32 | number


def is_self_test(record: MceRecord) -> bool:
    """Whether a self test injected it."""
    return record.status == STATUS and record.misc >> 32 == MAGIC and record.bank == BANK
