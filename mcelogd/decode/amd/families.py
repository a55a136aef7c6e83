# SPDX-License-Identifier: GPL-2.0-only
"""Which banks AMD K8 and families 10h to 16h have, and which tables they are decoded with."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd.decode.amd.legacy_tables import (
    BUS_UNIT,
    COMBINED_UNIT_15H,
    DATA_CACHE_10H,
    DATA_CACHE_12H,
    DATA_CACHE_14H,
    DATA_CACHE_K8,
    EXECUTION,
    FLOATING_POINT,
    INSTRUCTION_CACHE_14H,
    INSTRUCTION_CACHE_K8,
    INSTRUCTION_FETCH_15H,
    L2_CACHE_16H,
    LOAD_STORE,
    LOAD_STORE_15H,
    NORTHBRIDGE,
    NORTHBRIDGE_11H,
    NORTHBRIDGE_15H,
    NORTHBRIDGE_K8,
)
from mcelogd.event import CacheUnit

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcelogd.decode.amd.rules import Rule


class Bank(NamedTuple):
    """A bank: what it is called, its errors, and the cache of those of its errors whose code names none."""

    name: str
    table: tuple[Rule, ...]
    cache: CacheUnit | None = None


class Family(NamedTuple):
    """A CPU family: its banks, and how many bits of extended error code they have (the northbridge: five)."""

    number: int
    banks: Mapping[int, Bank]
    xec_bits: int = 4


L1_DATA = CacheUnit("Data", 1, "Level-1", 1)
L1_INSTRUCTION = CacheUnit("Instruction", 0, "Level-1", 1)
UNIFIED_L2 = CacheUnit("Generic", 2, "Level-2", 2)
UNIFIED_L3 = CacheUnit("Generic", 2, "Level-3", 3)

_INSTRUCTION_CACHE = Bank("Instruction cache", INSTRUCTION_CACHE_K8, L1_INSTRUCTION)
_BUS_UNIT = Bank("Bus unit", BUS_UNIT, UNIFIED_L2)
_LOAD_STORE = Bank("Load-store unit", LOAD_STORE)
_NORTHBRIDGE = Bank("Northbridge", NORTHBRIDGE, UNIFIED_L3)
_REORDER_BUFFER = Bank("Reorder buffer", EXECUTION)

FAMILIES = {
    "k8": Family(
        0xF,
        {
            0: Bank("Data cache", DATA_CACHE_K8, L1_DATA),
            1: _INSTRUCTION_CACHE,
            2: _BUS_UNIT,
            3: _LOAD_STORE,
            4: Bank("Northbridge", NORTHBRIDGE_K8),
        },
    ),
    "amd-10h": Family(
        0x10,
        {
            0: Bank("Data cache", DATA_CACHE_10H, L1_DATA),
            1: _INSTRUCTION_CACHE,
            2: _BUS_UNIT,
            3: _LOAD_STORE,
            4: _NORTHBRIDGE,
            5: _REORDER_BUFFER,
        },
    ),
    "amd-11h": Family(
        0x11,
        {
            0: Bank("Data cache", DATA_CACHE_K8, L1_DATA),
            1: _INSTRUCTION_CACHE,
            2: _BUS_UNIT,
            3: _LOAD_STORE,
            4: Bank("Northbridge", NORTHBRIDGE_11H, UNIFIED_L3),
        },
    ),
    "amd-12h": Family(
        0x12,
        {
            0: Bank("Data cache", DATA_CACHE_12H, L1_DATA),
            1: _INSTRUCTION_CACHE,
            2: _BUS_UNIT,
            3: _LOAD_STORE,
            4: _NORTHBRIDGE,
            5: _REORDER_BUFFER,
        },
    ),
    "amd-14h": Family(
        0x14,
        {
            0: Bank("Data cache", DATA_CACHE_14H, L1_DATA),
            1: Bank("Instruction cache", INSTRUCTION_CACHE_14H, L1_INSTRUCTION),
            2: _BUS_UNIT,
            4: _NORTHBRIDGE,
            5: _REORDER_BUFFER,
        },
    ),
    "amd-15h": Family(
        0x15,
        {
            0: Bank("Load-store unit", LOAD_STORE_15H, L1_DATA),
            1: Bank("Instruction fetch unit", INSTRUCTION_FETCH_15H, L1_INSTRUCTION),
            2: Bank("Combined unit", COMBINED_UNIT_15H, UNIFIED_L2),
            4: Bank("Northbridge", NORTHBRIDGE_15H, UNIFIED_L3),
            5: Bank("Execution unit", EXECUTION),
            6: Bank("Floating point unit", FLOATING_POINT),
        },
        xec_bits=6,
    ),
    "amd-16h": Family(
        0x16,
        {
            0: Bank("Data cache", DATA_CACHE_14H, L1_DATA),
            1: Bank("Instruction cache", INSTRUCTION_CACHE_14H, L1_INSTRUCTION),
            2: Bank("L2 cache", L2_CACHE_16H, UNIFIED_L2),
            4: Bank("Northbridge", NORTHBRIDGE_15H, UNIFIED_L3),
            5: Bank("Execution unit", EXECUTION),
            6: Bank("Floating point unit", FLOATING_POINT),
        },
        xec_bits=5,
    ),
}
"""CpuType.name -> Family."""
