# SPDX-License-Identifier: GPL-2.0-only
"""AMD and Hygon: K8, families 10h to 16h, and Scalable MCA (Zen and later).

Start at decode(). A CPU type with a row in families.FAMILIES is decoded by
legacy.py, all others of these vendors by smca.py or by the error code alone.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.cpu import AMD
from mcelogd.decode import architectural, bits
from mcelogd.decode.amd import generic, k8, legacy, smca
from mcelogd.decode.amd.families import FAMILIES
from mcelogd.decode.amd.legacy import LAST_WITH_OLD_TEXT

if TYPE_CHECKING:
    from mcelogd.cpu import CpuType
    from mcelogd.event import Finding
    from mcelogd.record import MceRecord


def decode(record: MceRecord, cpu_type: CpuType) -> Finding:
    """The Finding for any record of a CPU of AMD or Hygon."""
    family = FAMILIES.get(cpu_type.name)
    if family is not None and record.bank not in (bits.TIMEOUT_BANK, bits.APEI_BANK):
        return legacy.decode(record, family)
    if record.bank == bits.THERMAL_BANK:
        return architectural.decode_thermal(record)
    if record.bank >= bits.FIRST_SOFTWARE_BANK:
        # The kernel wrote these registers, not the CPU.
        finding = architectural.decode(record)
        return finding._replace(lines=k8.lines(record, 0)) if has_named_banks(cpu_type) else finding
    return generic.decode(record) if cpu_type is AMD else smca.decode(record, cpu_type)


def has_named_banks(cpu_type: CpuType) -> bool:
    """Whether the head line of decoded text names the bank instead of `BANK n`."""
    family = FAMILIES.get(cpu_type.name)
    return family is not None and family.number <= LAST_WITH_OLD_TEXT


def is_known_bogus(record: MceRecord, cpu_type: CpuType) -> bool:
    """Whether such an error is known to mean nothing on this CPU; `--no-filter` shows it all the same."""
    if record.bank >= bits.FIRST_SOFTWARE_BANK or cpu_type is AMD:
        return False
    family = FAMILIES.get(cpu_type.name)
    if family is not None:
        return legacy.is_known_bogus(record, family)
    return smca.is_known_bogus(record, cpu_type)


def physical_address(record: MceRecord, cpu_type: CpuType) -> int | None:
    """The system physical address in MCi_ADDR; None where it holds none, or one of another kind."""
    if record.bank >= bits.FIRST_SOFTWARE_BANK:
        return record.addr if record.status & bits.MCI_STATUS_ADDRV else None
    if cpu_type is AMD:
        return None
    family = FAMILIES.get(cpu_type.name)
    if family is not None:
        return legacy.physical_address(record, family)
    return smca.physical_address(record, cpu_type)
