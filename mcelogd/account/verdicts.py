# SPDX-License-Identifier: GPL-2.0-only
"""What is thought of a DIMM, why, and in words."""

from __future__ import annotations

import enum
from collections import Counter
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.account.cells import BANK, RANK, ROW, FaultMode, pattern_of
from mcelogd.account.traces import DAY, STORM_WINDOW

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcelogd.account.cells import Pattern, Place
    from mcelogd.account.evidence import DimmFaults
    from mcelogd.account.memory import MemoryKey


class Advice(enum.StrEnum):
    """What follows for the administrator, in the order of precedence."""

    NONE = "none"
    WATCH = "watch"
    REPLACE = "replace"
    CHANNEL = "channel"


PRECEDENCE = {advice: number for number, advice in enumerate(Advice)}


class Evidence(NamedTuple):
    """The numbers behind a verdict, of the corrected errors that are remembered.

    `errors` is how many, `cells` in how many places; rows, columns and banks
    are those whose place in the DRAM is known; `devices` the failed chips as
    far as they are; `first` and `last` are times.
    """

    errors: int
    cells: int
    rows: int
    columns: int
    banks: int
    devices: tuple[int, ...]
    storms: int
    uncorrected: int
    first: int
    last: int


class Verdict(NamedTuple):
    """What is thought of a DIMM now. `reasons` are phrases for people, the weightiest first."""

    key: MemoryKey
    mode: FaultMode
    advice: Advice
    reasons: tuple[str, ...]
    evidence: Evidence
    time: int


def verdict_of(dimm: DimmFaults, time: int) -> Verdict:
    """What dimm.judge() came to, with its reasons."""
    evidence = _evidence_of(dimm, time)
    pattern = pattern_of(dimm.cells, dimm.generation)
    reasons = tuple(_reasons(dimm, pattern, evidence, time))
    return Verdict(dimm.key, *dimm.opinion, reasons, evidence, time)


def _evidence_of(dimm: DimmFaults, time: int) -> Evidence:
    placed = [key for key in dimm.cells if key.is_placed]
    cells = dimm.cells.values()
    return Evidence(
        errors=sum(cell.count for cell in cells),
        cells=len(cells),
        rows=len({key[:ROW] for key in placed}),
        columns=len({(*key[:BANK], key.column) for key in placed}),
        banks=len({key[:BANK] for key in placed}),
        devices=tuple(sorted({cell.device for cell in cells if cell.device is not None})),
        storms=dimm.storms.count(time),
        uncorrected=dimm.uncorrected,
        first=min((cell.first for cell in cells), default=dimm.newest),
        last=dimm.newest,
    )


def _reasons(dimm: DimmFaults, pattern: Pattern, evidence: Evidence, time: int) -> Iterator[str]:
    if evidence.uncorrected:
        yield _number(evidence.uncorrected, "uncorrected error")
    if dimm.is_channel_fault(time):
        yield f"errors in {dimm.channel_places} DIMMs or ranks of the channel within an hour"
    if pattern.mode is not FaultMode.UNKNOWN:
        yield _what_fails(pattern, evidence)
    if pattern.rows > 1:
        yield f"rows of {pattern.rows} banks fail"
    if evidence.storms:
        yield f"{_number(evidence.storms, 'storm')} of corrected errors within {STORM_WINDOW // DAY} days"
    if evidence.errors:
        places = "" if evidence.banks else ", where in the DIMM is not known"
        yield _number(evidence.errors, "corrected error") + places
    if not dimm.cells and not dimm.uncorrected:
        yield "no errors lately"


def _what_fails(pattern: Pattern, evidence: Evidence) -> str:
    spots = pattern.spots
    largest = max(spots, key=lambda spot: spot.cells)
    if pattern.mode is FaultMode.DEVICE:
        banks = len({spot.first[:BANK] for spot in spots})
        chip = f", all of chip {evidence.devices[0]}" if len(evidence.devices) == 1 else ""
        return f"{len(spots)} separate places in {_number(banks, 'bank')}{_of(largest.first, RANK)}{chip}"
    if pattern.mode is FaultMode.BANK:
        place, count = Counter(spot.first[:BANK] for spot in spots).most_common(1)[0]
        return f"{count} separate places in one bank{_of(place, BANK)}"
    if pattern.mode is FaultMode.ROW:
        row = next(spot for spot in spots if spot.mode is FaultMode.ROW)
        return f"{row.cells} columns of one row{_of(row.first, ROW)}"
    if pattern.mode is FaultMode.COLUMN:
        column = next(spot for spot in spots if spot.mode is FaultMode.COLUMN)
        return f"{column.cells} rows of one column{_of(column.first, BANK)}, column {column.first.column:#x}"
    if len(spots) > 1:
        return f"{len(spots)} separate cells"
    return f"one cell{_of(largest.first, ROW)}, column {largest.first.column:#x}"


def _of(place: Place, fields: int) -> str:
    """`: rank 0, bank 2, row 0x1c998`, as far as the first `fields` of a CellKey go and are known."""
    names = ("die", "memory controller", "rank", "bank group", "bank", "row")
    words = [
        f"{name} {value:#x}" if name == "row" else f"{name} {value}"
        for name, value in list(zip(names, place, strict=False))[:fields]
        if value is not None
    ]
    return ": " + ", ".join(words) if words else ""


def _number(count: int, noun: str) -> str:
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"
