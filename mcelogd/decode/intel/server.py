# SPDX-License-Identifier: GPL-2.0-only
"""What the decoders of Intel's server CPUs since Skylake have in common: MSCOD tables and DRAM addresses.

Model-specific codes are MCi_STATUS 31:16 (MSCOD). Many units split them: 31:24
says which table holds, 23:16 is the code in it.
"""

from __future__ import annotations

from functools import lru_cache, partial
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.decode.bits import (
    MCI_STATUS_ADDRV,
    MCI_STATUS_MISCV,
    MCI_STATUS_UC,
    extract,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from mcelogd.decode.bits import Choice
    from mcelogd.event import Location
    from mcelogd.record import MceRecord

Bits = tuple[int, int]
"""Lowest and highest bit of a field, both included."""


def code_lines(status: int, row: Choice) -> list[str]:
    """The name of the code in `row`'s bits, `<0:code>` if it has none; nothing for a 0 without a name.

    It has always been <0:, not the row's lowest bit, that scripts see here.
    """
    code = extract(status, row.lo, row.hi)
    text = row.texts.get(code)
    if text is not None:
        return [text]
    return [f"<0:{code:x}>"] if code else []


def grouped_lines(status: int, groups: Mapping[int, Choice]) -> list[str]:
    """The name of the code in the table that MSCOD 31:24 selects; nothing where there is no such table."""
    row = groups.get(extract(status, 24, 31))
    return code_lines(status, row) if row else []


MIRROR_FAILOVER = 1 << 63
"""MCi_MISC of an M2M bank: the data came from the other channel of the mirror, this one was given up."""
MIRROR_SCRUBBED = 1 << 62
"""MCi_MISC of an M2M bank: the data came from the other channel, and this one was repaired with it."""


def mirrored(record: MceRecord) -> str | None:
    """How memory mirroring corrected an error of an M2M bank that ECC could not; None where it was ECC."""
    if not record.status & MCI_STATUS_MISCV:
        return None
    if record.misc & MIRROR_FAILOVER:
        return "mirroring with channel failover"
    if record.misc & MIRROR_SCRUBBED:
        return "mirroring. Primary channel scrubbed successfully"
    return None


class DramLayout(NamedTuple):
    """Where MCi_MISC of a memory controller's bank holds the DRAM address of an error.

    `bank_group_top` is the bit above `bank_group` where the two are not
    adjacent. `rank` is called chip select on newer CPUs. The lowest two
    bits of a column are not stored: they are 0.
    """

    row: Bits
    bank: Bits
    bank_group: Bits
    device: Bits
    subrank: Bits
    rank: Bits
    ecc_mode: Bits
    column: Bits = (9, 18)
    bank_group_top: int | None = None


class Dram(NamedTuple):
    """The DRAM address of an error, and how its memory controller saw it."""

    bank: int
    bank_group: int
    row: int
    column: int
    device: int
    subrank: int
    rank: int
    ecc_mode: int
    transient: bool

    @property
    def address_line(self) -> str:
        bank = f"bank: {self.bank:#x} bankgroup: {self.bank_group:#x}"
        return f"{bank} row: {self.row:#x} column: {self.column:#x}"

    def place(self, where: Location, device: int | None, **rank: int) -> Location:
        """`where`, made precise down to the column and the failed device; `rank` under its name there."""
        return where._replace(
            bank_group=self.bank_group,
            bank=self.bank,
            row=self.row,
            column=self.column,
            device=device,
            **rank,
        )


TRANSIENT_BIT = 63
VALID_ADDRESS = MCI_STATUS_MISCV | MCI_STATUS_ADDRV
MISC_IS_DRAM = MCI_STATUS_MISCV | 1 << 33
"""MISCV and OTHER_INFO[1]: with both set MCi_MISC holds a DRAM address, since Granite Rapids."""


def read_dram(misc: int, layout: DramLayout) -> Dram:
    """The DRAM address in a valid MCi_MISC."""
    bank_group = extract(misc, *layout.bank_group)
    if layout.bank_group_top is not None:
        lo, hi = layout.bank_group
        bank_group |= (misc >> layout.bank_group_top & 1) << hi - lo + 1
    return Dram(
        bank=extract(misc, *layout.bank),
        bank_group=bank_group,
        row=extract(misc, *layout.row),
        column=extract(misc, *layout.column) << 2,
        device=extract(misc, *layout.device),
        subrank=extract(misc, *layout.subrank),
        rank=extract(misc, *layout.rank),
        ecc_mode=extract(misc, *layout.ecc_mode),
        transient=bool(misc >> TRANSIENT_BIT & 1),
    )


def reader(layout: DramLayout) -> Callable[[int], Dram]:
    """read_dram() of one layout. It remembers: text and location of a record need the same MCi_MISC."""
    return lru_cache(maxsize=64)(partial(read_dram, layout=layout))


def ddr_lines(dram: Dram, status: int, ecc_modes: Mapping[int, str]) -> list[str]:
    """What Ice Lake and Sapphire Rapids say of a DRAM error: address, failed device, rank, ECC mode."""
    return [
        dram.address_line,
        *device_lines(dram, status),
        f"rank: {dram.rank:#x} subrank: {dram.subrank:#x}",
        f"ecc mode: {ecc_modes.get(dram.ecc_mode, 'unknown')}",
        *transient_lines(dram),
    ]


def has_failed_device(dram: Dram, status: int) -> bool:
    """Whether the error could be traced to one DRAM device: it was corrected, and it stayed."""
    return not dram.transient and not status & MCI_STATUS_UC


def device_lines(dram: Dram, status: int) -> list[str]:
    return [f"failed device: {dram.device:#x}"] if has_failed_device(dram, status) else []


def transient_lines(dram: Dram) -> list[str]:
    return ["transient"] if dram.transient else []


DDRT_READ = 8
"""The ECC mode of a read from persistent memory (DDR-T), on Ice Lake and Sapphire Rapids."""


def ddr_location(
    where: Location, record: MceRecord, read: Callable[[int], Dram], ddrt_mscods: frozenset[int]
) -> Location:
    """`where`, with rank, bank, row, column and failed device where MCi_MISC holds those of a DRAM.

    The conditions are those of Linux drivers/edac/i10nm_base.c.
    """
    status = record.status
    if status & VALID_ADDRESS != VALID_ADDRESS or extract(status, 16, 31) in ddrt_mscods:
        return where
    dram = read(record.misc)
    if dram.ecc_mode == DDRT_READ:
        return where
    device = dram.device if has_failed_device(dram, status) else None
    return dram.place(where, device, rank=dram.rank)
