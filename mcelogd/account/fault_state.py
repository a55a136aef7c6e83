# SPDX-License-Identifier: GPL-2.0-only
"""The evidence about a DIMM as text that survives a restart, and back.

Compact JSON. A version that is not ours, and text that is damaged, is no
evidence: the DIMM then starts anew.
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mcelogd.account.bucket import Bucket
from mcelogd.account.cells import DDR4, DDR5, LARGEST, ROW, CellKey, FaultMode
from mcelogd.account.evidence import MOST_CELLS, DimmFaults, Opinion
from mcelogd.account.traces import STORMS, Cell, Row
from mcelogd.account.verdicts import Advice

if TYPE_CHECKING:
    from mcelogd.account.memory import MemoryKey

VERSION = 1


def dump(dimm: DimmFaults) -> str:
    """The text that load() reads."""
    storms = dimm.storms
    state = {
        "version": VERSION,
        "ddr5": int(dimm.generation is DDR5),
        "opinion": list(dimm.opinion),
        "newest": dimm.newest,
        "evicted": dimm.evicted,
        "uncorrected": [dimm.uncorrected, dimm.uncorrected_time],
        "channel": [dimm.channel_places, dimm.channel_time],
        "storms": [storms.run, storms.start, storms.last, *storms.ends],
        "cells": [_cell(key, cell) for key, cell in dimm.cells.items()],
        "rows": [[*place, *_row(row)] for place, row in dimm.rows.items()],
    }
    return json.dumps(state, separators=(",", ":"))


def load(key: MemoryKey, text: str, most_pages: int) -> DimmFaults | None:
    """The evidence about DIMM `key` that dump() wrote; None for what it cannot have written."""
    try:
        state = json.loads(text)
        return _load(key, state, most_pages) if state["version"] == VERSION else None
    except (KeyError, TypeError, ValueError, RecursionError):
        return None


def _cell(key: CellKey, cell: Cell) -> list[int | None]:
    return [*key, cell.device, cell.page, cell.first, cell.last, cell.count, int(cell.is_shared)]


def _row(row: Row) -> list[int | None]:
    bucket = row.bucket
    told = [page for page, announced in row.pages.items() if announced]
    untold = [page for page, announced in row.pages.items() if not announced]
    return [
        *(bucket.stamp, bucket.count, bucket.excess),
        *(row.column, row.column_time, row.other_time, int(row.is_failing)),
        *(len(told), *told, *untold),
    ]


def _load(key: MemoryKey, state: dict[str, Any], most_pages: int) -> DimmFaults:
    dimm = DimmFaults(key)
    dimm.generation = DDR5 if state["ddr5"] else DDR4
    mode, advice = state["opinion"]
    dimm.opinion = Opinion(FaultMode(mode), Advice(advice))
    dimm.newest, dimm.evicted = _number(state["newest"]), _number(state["evicted"])
    dimm.uncorrected, dimm.uncorrected_time = map(_number, state["uncorrected"])
    dimm.channel_places, dimm.channel_time = map(_number, state["channel"])
    storms = dimm.storms
    storms.run, storms.start, storms.last, *ends = map(_number, state["storms"])
    storms.ends = ends[-STORMS:]
    for numbers in state["cells"][-MOST_CELLS:]:
        _load_cell(dimm, numbers)
    for numbers in state["rows"]:
        _load_row(dimm, numbers, most_pages)
    return dimm


def _load_cell(dimm: DimmFaults, numbers: list[Any]) -> None:
    *fields, device, page, first, last, count, is_shared = numbers
    cell = Cell(_number(first), is_shared=bool(is_shared))
    cell.last, cell.count = _number(last), _number(count)
    cell.device, cell.page = _or_none(device), _or_none(page)
    dimm.put_cell(CellKey(*map(_or_none, fields)), cell)


def _load_row(dimm: DimmFaults, numbers: list[Any], most_pages: int) -> None:
    """What is known of a row that has cells; of others nothing is kept."""
    row = dimm.rows.get(tuple(map(_or_none, numbers[:ROW])))
    stamp, count, excess, column, column_time, other_time, is_failing, told, *pages = numbers[ROW:]
    if row is None:
        return
    row.bucket = Bucket(_number(stamp), _number(count), _number(excess))
    row.column, row.column_time = _or_none(column), _number(column_time)
    row.other_time = _or_none(other_time)
    row.is_failing = bool(is_failing)
    row.pages = {_number(page): at < _number(told) for at, page in enumerate(pages[:most_pages])}


def _number(value: Any) -> int:
    if type(value) is not int or not 0 <= value <= LARGEST:
        raise ValueError("not a number of ours")
    return value


def _or_none(value: Any) -> int | None:
    return None if value is None else _number(value)
