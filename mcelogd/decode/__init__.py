# SPDX-License-Identifier: GPL-2.0-only
"""Decoding: a record and its CPU in, an Event out. Pure, and never raises for any record.

`decode()` is the only entry. A CPU model that knows more than the
architecture has a row in MODELS.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd import cpu as cpus
from mcelogd.decode import architectural, bits
from mcelogd.decode.models import MODELS
from mcelogd.event import Event

if TYPE_CHECKING:
    from mcelogd.cpu import CpuType
    from mcelogd.event import Finding
    from mcelogd.record import MceRecord


def decode(record: MceRecord, cpu_type: CpuType) -> Event:
    """What the record means on a CPU of `cpu_type`."""
    return Event(record, cpu_type, _finding(record, cpu_type))


def _finding(record: MceRecord, cpu_type: CpuType) -> Finding:
    if record.bank == bits.THERMAL_BANK:
        return architectural.decode_thermal(record)
    finding = architectural.decode(record, MODELS.get(cpu_type.name, architectural.ARCHITECTURE_ONLY))
    if cpu_type.vendor is cpus.Vendor.INTEL:
        return finding
    # Other vendors share the encoding of the error code, but not of the bits above it: nothing is
    # said about those until a decoder of theirs is here.
    return finding._replace(lines=())


def bank_name(bank: int) -> str:
    """The bank as the head line of a decoded record names it."""
    if bank < bits.FIRST_SOFTWARE_BANK:
        return f"BANK {bank}"
    if bank == bits.THERMAL_BANK:
        return "THERMAL EVENT"
    if bank == bits.TIMEOUT_BANK:
        return "Timeout waiting for exception on other CPUs"
    if bank == bits.APEI_BANK:
        return "ACPI/APEI reported error"
    return f"Undecoded extended event {bank:x}"
