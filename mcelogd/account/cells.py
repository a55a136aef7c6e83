# SPDX-License-Identifier: GPL-2.0-only
"""Where in a DRAM an error was, and what the places of several have in common.

The definitions of the fault modes, their sources and what is our own choice:
docs/prediction.md.
"""

from __future__ import annotations

import enum
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account.memory import ANY, MemoryKey

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcelogd.cpu import CpuType
    from mcelogd.event import Location

LARGEST = (1 << 64) - 1
"""No register holds more: a larger number is a mistake, and taken for unknown."""


class FaultMode(enum.StrEnum):
    """The smallest part of a memory channel that explains the errors, in the order of its size."""

    UNKNOWN = "unknown"
    CELL = "cell"
    ROW = "row"
    COLUMN = "column"
    BANK = "bank"
    DEVICE = "device"
    CHANNEL = "channel"


SIZES = {mode: size for size, mode in enumerate(FaultMode)}
"""Fault mode -> its place in the order."""


class Generation(NamedTuple):
    """What depends on the generation of memory.

    `burst_bits` lowest bits of a column count within one burst, so that the
    errors of one access differ in them; `spots` separate places make a fault
    of a bank or device; `storm` errors in close succession make a storm.
    """

    burst_bits: int
    spots: int
    storm: int


DDR4 = Generation(burst_bits=3, spots=4, storm=10)
"""Bursts of eight columns; DDR3 as well, and every memory that no CPU family tells the generation of."""
DDR5 = Generation(burst_bits=4, spots=3, storm=5)
"""Bursts of 16. What gets past the ECC inside the chips weighs more, so less of it is enough."""

DDR5_CPUS = (
    *("sapphirerapids_server", "emeraldrapids_server", "graniterapids", "sierraforest", "grandridge"),
    *("clearwaterforest", "diamond_rapids", "arrowlake", "zen4", "zen5"),
)
"""CPU types that can have no other memory (CpuType.name)."""


def generation_of(cpu_type: CpuType) -> Generation:
    """The generation of memory that CPUs of this type have."""
    return DDR5 if cpu_type.name in DDR5_CPUS else DDR4


class CellKey(NamedTuple):
    """An access's worth of DRAM cells; `column` is that of the first column of the burst.

    Where bank, row and column are not all known, those and the bank group are
    None, and `page` (address of a 4 KiB page) is what tells errors apart.
    """

    die: int | None
    memory_controller: int | None
    rank: int | None
    bank_group: int | None
    bank: int | None
    row: int | None
    column: int | None
    page: int | None = None

    @property
    def is_placed(self) -> bool:
        """Whether the errors' place in the DRAM is known."""
        return self.column is not None


RANK, BANK, ROW = 3, 5, 6
"""So many fields of a CellKey name the rank, the bank, the row."""

Place = tuple[int | None, ...]
"""The first RANK, BANK or ROW fields of a CellKey."""


def known(number: int | None) -> int | None:
    """The number, or None where it is none that a register can hold."""
    return number if number is not None and 0 <= number <= LARGEST else None


def key_of(socket: int, location: Location) -> MemoryKey:
    """The DIMM, as account.memory keys it."""
    channel, dimm = known(location.channel), known(location.dimm)
    return MemoryKey(socket, ANY if channel is None else channel, ANY if dimm is None else dimm)


def cell_of(location: Location, page: int | None, generation: Generation) -> CellKey:
    """The cell of an error; a chip select stands for the rank where the hardware names those."""
    die, controller = known(location.die), known(location.memory_controller)
    rank = known(location.chip_select if location.rank is None else location.rank)
    bank, row, column = known(location.bank), known(location.row), known(location.column)
    if bank is None or row is None or column is None:
        return CellKey(die, controller, rank, None, None, None, None, page)
    first = column >> generation.burst_bits << generation.burst_bits
    return CellKey(die, controller, rank, known(location.bank_group), bank, row, first)


class Spot(NamedTuple):
    """Cells that one fault explains: those of a row, those of a column, or a cell alone."""

    mode: FaultMode
    first: CellKey
    cells: int


class Pattern(NamedTuple):
    """What the errors of a DIMM look like.

    `spots` are those of the rank with the largest fault; `rows` is in how many
    banks of the DIMM a row fails.
    """

    mode: FaultMode
    spots: list[Spot]
    rows: int


NO_PATTERN = Pattern(FaultMode.UNKNOWN, [], 0)


def spots_of(cells: Iterable[CellKey]) -> list[Spot]:
    """The least that the cells, which must be placed, can be explained by.

    Rows come first: a cell of a row with two or more is no part of a column.
    """
    rows: dict[Place, list[CellKey]] = {}
    for cell in cells:
        rows.setdefault(cell[:ROW], []).append(cell)
    spots = [Spot(FaultMode.ROW, row[0], len(row)) for row in rows.values() if len(row) > 1]
    columns: dict[Place, list[CellKey]] = {}
    for row in rows.values():
        if len(row) == 1:
            columns.setdefault((*row[0][:BANK], row[0].column), []).append(row[0])
    for column in columns.values():
        mode = FaultMode.CELL if len(column) == 1 else FaultMode.COLUMN
        spots.append(Spot(mode, column[0], len(column)))
    return spots


def pattern_of(cells: Iterable[CellKey], generation: Generation) -> Pattern:
    """The fault mode of a DIMM whose errors were in these cells; UNKNOWN if none of them is placed."""
    spots = spots_of(cell for cell in cells if cell.is_placed)
    if not spots:
        return NO_PATTERN
    ranks: dict[Place, list[Spot]] = {}
    for spot in spots:
        ranks.setdefault(spot.first[:RANK], []).append(spot)
    modes = {rank: _mode_of_rank(of_rank, generation.spots) for rank, of_rank in ranks.items()}
    worst = max(ranks, key=lambda rank: SIZES[modes[rank]])
    rows = {spot.first[:BANK] for spot in spots if spot.mode is FaultMode.ROW}
    return Pattern(modes[worst], ranks[worst], len(rows))


def _mode_of_rank(spots: list[Spot], enough: int) -> FaultMode:
    """The fault mode of the spots of one rank; one spot beside those of one bank is its own affair."""
    largest = max(Counter(spot.first[:BANK] for spot in spots).values())
    if len(spots) >= enough and len(spots) - largest > 1:
        return FaultMode.DEVICE
    if largest >= enough:
        return FaultMode.BANK
    return max((spot.mode for spot in spots), key=SIZES.__getitem__)
