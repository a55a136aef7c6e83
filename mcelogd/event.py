# SPDX-License-Identifier: GPL-2.0-only
"""What a machine check means: the one event model for every vendor.

A decoder turns a record into a Finding; record, CPU and Finding make an
Event. Nothing behind the decoder needs to know the vendor.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mcelogd.cpu import CpuType
    from mcelogd.record import MceRecord


class Kind(enum.StrEnum):
    """What part of the machine reported the error."""

    MEMORY = "memory"
    CACHE = "cache"
    TLB = "tlb"
    BUS = "bus"
    IO = "io"
    INTERNAL = "internal"
    THERMAL = "thermal"
    UNKNOWN = "unknown"


class Severity(enum.StrEnum):
    """How bad it is, from least to worst.

    DEFERRED is an uncorrected error that nothing has consumed yet (Intel's
    UCNA, AMD's deferred errors); RECOVERABLE one that software can recover
    from (SRAO, SRAR); UNCORRECTED one of a CPU that does not say, or that has
    corrupted the running task (AMD's TCC); FATAL means that the processor's
    context is corrupt.
    """

    INFO = "info"
    CORRECTED = "corrected"
    DEFERRED = "deferred"
    RECOVERABLE = "recoverable"
    UNCORRECTED = "uncorrected"
    FATAL = "fatal"

    @property
    def is_corrected(self) -> bool:
        return self in (Severity.INFO, Severity.CORRECTED)


class Recovery(enum.StrEnum):
    """Error classes of Intel SDM vol. 3B, "UCR Error Classification"."""

    UCNA = "UCNA"
    SRAO = "SRAO"
    SRAR = "SRAR"


class Tracking(enum.IntEnum):
    """Threshold-based error status, MCi_STATUS 54:53 (Intel SDM vol. 3B, table of that name)."""

    NONE = 0
    GREEN = 1
    YELLOW = 2
    RESERVED = 3


class Location(NamedTuple):
    """Where in memory; None for what the registers do not say.

    `row` and `column` are DRAM addresses, `device` is the failed DRAM chip,
    `bank` the DRAM bank (not the machine-check bank).
    """

    die: int | None = None
    memory_controller: int | None = None
    channel: int | None = None
    dimm: int | None = None
    rank: int | None = None
    chip_select: int | None = None
    bank_group: int | None = None
    bank: int | None = None
    row: int | None = None
    column: int | None = None
    device: int | None = None


NOWHERE = Location()


class CacheUnit(NamedTuple):
    """The cache or TLB an error names: TT and LL of its compound error code, in words and numbers."""

    type_name: str
    type_number: int | None
    level_name: str
    level: int


class BusError(NamedTuple):
    """The fields of a bus/interconnect compound error code, in words."""

    level: str
    participation: str
    request: str
    transaction: str
    timeout: str


class PciAddress(NamedTuple):
    """The PCI root port that reported an I/O machine check."""

    segment: int
    bus: int
    device: int
    function: int

    def __str__(self) -> str:
        return f"{self.segment:x}:{self.bus:02x}:{self.device:02x}.{self.function:x}"


class Finding(NamedTuple):
    """What the registers of one record say.

    `what` is the vendor's name for the error code; `lines` is the decoded
    text between a record's head and its STATUS line; `locations` holds one
    Location for each DIMM involved (two under mirroring or lockstep, none
    when this is no memory error). `corrected_count` is the hardware's own
    count, None where MCG_CAP does not offer it. `classified` is False for
    codes that no table explains.
    """

    kind: Kind
    severity: Severity
    what: str
    lines: tuple[str, ...] = ()
    recovery: Recovery | None = None
    tracking: Tracking = Tracking.NONE
    corrected_count: int | None = None
    locations: tuple[Location, ...] = ()
    cache: CacheUnit | None = None
    bus: BusError | None = None
    root_port: PciAddress | None = None
    classified: bool = True


class Event(NamedTuple):
    """A record, the CPU it is from, and what it means."""

    record: MceRecord
    cpu_type: CpuType
    finding: Finding

    @property
    def kind(self) -> Kind:
        return self.finding.kind

    @property
    def severity(self) -> Severity:
        return self.finding.severity
