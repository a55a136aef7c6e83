# SPDX-License-Identifier: GPL-2.0-only
"""Decoding: a record and its CPU in, an Event out. Pure, and never raises for any record.

Start at `decode()`. A CPU model of Intel's that knows more than the
architecture has a row in MODELS; AMD and Hygon are decoded in amd/.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.cpu import Vendor
from mcelogd.decode import amd, architectural, bits, self_test, zhaoxin
from mcelogd.decode.amd import k8
from mcelogd.decode.models import MODELS
from mcelogd.event import Event

if TYPE_CHECKING:
    from mcelogd.cpu import CpuType
    from mcelogd.event import Finding
    from mcelogd.record import MceRecord

SOFTWARE_BANKS = {
    bits.THERMAL_BANK: "THERMAL EVENT",
    bits.TIMEOUT_BANK: "Timeout waiting for exception on other CPUs",
    bits.APEI_BANK: "ACPI/APEI reported error",
}

AMD_LIKE = (Vendor.AMD, Vendor.HYGON)
INTEL_LIKE = (Vendor.INTEL, Vendor.ZHAOXIN, Vendor.CENTAUR)
"""Vendors whose status bits and error codes are those of Intel's architecture."""


def decode(record: MceRecord, cpu_type: CpuType) -> Event:
    """What the record means on a CPU of `cpu_type`."""
    return Event(record, cpu_type, _finding(record, cpu_type))


def is_known_bogus(record: MceRecord, cpu_type: CpuType) -> bool:
    """Whether such an error is known to mean nothing on this CPU, so that `--filter` leaves it out."""
    return cpu_type.vendor in AMD_LIKE and amd.is_known_bogus(record, cpu_type)


def physical_address(record: MceRecord, cpu_type: CpuType) -> int | None:
    """The system physical address an error is at; None where MCi_ADDR does not hold one.

    AMD's memory controllers report addresses within their channel: no page
    may be taken off line for those.
    """
    if cpu_type.vendor in AMD_LIKE:
        return amd.physical_address(record, cpu_type)
    return record.addr if record.status & bits.MCI_STATUS_ADDRV else None


def bank_name(bank: int, cpu_type: CpuType | None = None) -> str:
    """The bank as the head line of a decoded record names it: `BANK n`, but on AMD K8 and its like."""
    if bank in SOFTWARE_BANKS:
        return SOFTWARE_BANKS[bank]
    if cpu_type is not None and amd.has_named_banks(cpu_type) and k8.has_name(bank):
        return k8.bank_name(bank)
    return f"BANK {bank}" if bank < bits.FIRST_SOFTWARE_BANK else f"Undecoded extended event {bank:x}"


def _finding(record: MceRecord, cpu_type: CpuType) -> Finding:
    if self_test.is_self_test(record):
        return self_test.FINDING
    if cpu_type.vendor in AMD_LIKE:
        return amd.decode(record, cpu_type)
    if record.bank == bits.THERMAL_BANK:
        return architectural.decode_thermal(record)
    model = MODELS.get(cpu_type.name) or zhaoxin.MODELS.get(cpu_type.name, architectural.ARCHITECTURE_ONLY)
    finding = architectural.decode(record, model)
    # Of a CPU that nobody named not even the meaning of the status bits is known for sure.
    return finding if cpu_type.vendor in INTEL_LIKE else finding._replace(lines=())
