# SPDX-License-Identifier: GPL-2.0-only
"""What is known about a record beyond its registers: that it may not mean what they say.

A mark never hides a record; only a self test is not counted as an error.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING

from mcelogd.cpu import Vendor, parse_cpuid
from mcelogd.decode import bits
from mcelogd.decode.self_test import is_self_test

if TYPE_CHECKING:
    from mcelogd.cpu import CpuType
    from mcelogd.record import MceRecord


class Mark(enum.StrEnum):
    """ERRATUM: the CPU is known to log this for no reason.

    LEFT_OVER: found in the registers at boot, it happened before that.
    FIRMWARE: made up by the kernel from a firmware's report; its error code
    says only that it was memory.
    TEST: injected by mcelog's self test, no error of the hardware.
    """

    ERRATUM = "erratum"
    LEFT_OVER = "left-over"
    FIRMWARE = "firmware"
    TEST = "test"


# Haswell, Haswell ULT and GT3e, Broadwell, Skylake server: errata HSD131, HSM142, HSW131, BDM48, SKX37
# ("spurious corrected errors"); Linux arch/x86/kernel/cpu/mce/intel.c (intel_filter_mce).
SPURIOUS_MODELS = frozenset({0x3C, 0x45, 0x46, 0x3D, 0x55})
SPURIOUS_MASK = bits.MCI_STATUS_VAL | bits.MCI_STATUS_UC | 0xFFFF_FFFF
SPURIOUS_STATUS = bits.MCI_STATUS_VAL | 0x000F_0005

FIRST_POLL = 60
"""Seconds after boot up to which a record that has no TSC is from the poll at boot.

Linux polls once while a CPU starts, next after check_interval (5 minutes).
"""

# Linux arch/x86/kernel/cpu/mce/apei.c (apei_mce_report_mem_error): "memory, unknown channel"; in bank 1
# before 4.19.
FIRMWARE_CODE = 0x9F
OLD_FIRMWARE_BANK = 1
FIRMWARE_STATUS = bits.MCI_STATUS_VAL | bits.MCI_STATUS_EN | bits.MCI_STATUS_ADDRV | FIRMWARE_CODE


def marks_of(
    record: MceRecord, cpu_type: CpuType, boot_seconds: float | None = None, *, has_tsc: bool = True
) -> tuple[Mark, ...]:
    """The marks of a record.

    `boot_seconds` is how long after boot the kernel logged it, if known;
    `has_tsc` is False for a record from a text that does not show the TSC.
    """
    found = (
        (Mark.ERRATUM, _is_spurious(record, cpu_type)),
        (Mark.LEFT_OVER, has_tsc and _is_left_over(record, boot_seconds)),
        (Mark.FIRMWARE, _is_of_firmware(record)),
        (Mark.TEST, is_self_test(record)),
    )
    return tuple(mark for mark, holds in found if holds)


def _is_spurious(record: MceRecord, cpu_type: CpuType) -> bool:
    if record.bank != 0 or record.status & SPURIOUS_MASK != SPURIOUS_STATUS:
        return False
    if not record.cpuid:
        return cpu_type.vendor is Vendor.INTEL and not SPURIOUS_MODELS.isdisjoint(cpu_type.models)
    family, model, _ = parse_cpuid(record.cpuid)
    return record.cpuvendor == Vendor.INTEL and family == 6 and model in SPURIOUS_MODELS


def _is_left_over(record: MceRecord, boot_seconds: float | None) -> bool:
    """Whether it was found by the poll at boot.

    Only records of polls have no TSC. Any poll finds corrected errors; fatal
    ones only the poll at boot, those of the running system raise #MC.
    """
    if record.tsc or record.mcgstatus & bits.MCG_STATUS_MCIP or record.bank >= bits.FIRST_SOFTWARE_BANK:
        return False
    fatal = bits.MCI_STATUS_UC | bits.MCI_STATUS_PCC
    if record.status & fatal == fatal:
        return True
    return boot_seconds is not None and 0 <= boot_seconds < FIRST_POLL


def _is_of_firmware(record: MceRecord) -> bool:
    if record.bank == bits.APEI_BANK:
        return True
    optional = bits.MCI_STATUS_MISCV | bits.MCI_STATUS_UC | bits.MCI_STATUS_PCC
    return record.bank == OLD_FIRMWARE_BANK and record.status & ~optional == FIRMWARE_STATUS
