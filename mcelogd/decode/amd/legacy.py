# SPDX-License-Identifier: GPL-2.0-only
"""AMD K8 and families 10h to 16h: a record in, a Finding out.

What K8, 10h and 11h are shown as is in k8.py, what errors mean in legacy_tables.py.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Final, NamedTuple

from mcelogd.decode.amd import codes, k8, status
from mcelogd.decode.amd.families import FAMILIES, UNIFIED_L3
from mcelogd.decode.amd.rules import find, text_of
from mcelogd.decode.bits import FIRST_SOFTWARE_BANK, MCI_STATUS_ADDRV, MCI_STATUS_UC, extract
from mcelogd.event import CacheUnit, Finding, Kind, Location, Severity

if TYPE_CHECKING:
    from mcelogd.decode.amd.families import Family
    from mcelogd.record import MceRecord

NORTHBRIDGE: Final = k8.NORTHBRIDGE
GART_ERROR: Final = 0x05
CHANNEL_OF_PARITY_ERROR: Final = 0x0D
"""The only memory error whose DRAM channel MCi_STATUS names, in bit 41."""

LAST_WITH_OLD_TEXT: Final = 0x11
FIRST_WITH_DEFERRED: Final = 0x15
"""Families from here on mark deferred errors and, but for the northbridge, poison."""


class Meaning(NamedTuple):
    """What a record's codes say."""

    kind: Kind
    what: str
    cache: CacheUnit | None = None
    classified: bool = True


def decode(record: MceRecord, family: Family) -> Finding:
    """The Finding for any record of a CPU of `family`."""
    xec = extended_code(record, family)
    meaning = _threshold(record) if record.bank >= FIRST_SOFTWARE_BANK else _meaning(record, family, xec)
    how_bad = _severity(record, family)
    if family.number <= LAST_WITH_OLD_TEXT:
        lines = k8.lines(record, xec)
    else:
        lines = _lines(record, meaning, how_bad, xec)
    return Finding(
        kind=meaning.kind,
        severity=how_bad,
        what=meaning.what,
        lines=lines,
        locations=(_location(record, xec),) if meaning.kind is Kind.MEMORY else (),
        cache=meaning.cache,
        bus=codes.bus_error(record.status & 0xFFFF) if meaning.kind in (Kind.BUS, Kind.IO) else None,
        classified=meaning.classified,
    )


def extended_code(record: MceRecord, family: Family) -> int:
    """MCi_STATUS 19:16, the bits above too where the bank has them."""
    bits = family.xec_bits
    if record.bank == NORTHBRIDGE:
        bits = 4 if family is FAMILIES["k8"] else 5
    return extract(record.status, 16, 15 + bits)


def is_known_bogus(record: MceRecord, family: Family) -> bool:
    """Whether this is a GART table walk error.

    They say that a driver touched an unmapped page, not that hardware is
    broken, and BIOSes leave them enabled (BKDG 31116, "GART Table Walk
    Error"; Linux arch/x86/kernel/cpu/mce/amd.c, amd_filter_mce()).
    """
    if record.bank != NORTHBRIDGE or extended_code(record, family) != GART_ERROR:
        return False
    return family.number > LAST_WITH_OLD_TEXT or bool(record.status & MCI_STATUS_UC)


def physical_address(record: MceRecord, family: Family) -> int | None:
    """MCi_ADDR where it is a system physical address: of DRAM ECC errors and of consumed poison."""
    if not record.status & MCI_STATUS_ADDRV:
        return None
    if record.bank == NORTHBRIDGE:
        is_ecc_error = extended_code(record, family) in (k8.ECC_ERROR, k8.CHIPKILL_ERROR)
        return record.addr if is_ecc_error else None
    has_poison = family.number >= FIRST_WITH_DEFERRED and record.status & codes.MCI_STATUS_POISON
    return record.addr if has_poison else None


def _meaning(record: MceRecord, family: Family, xec: int) -> Meaning:
    code = record.status & 0xFFFF
    bank = family.banks.get(record.bank)
    if bank is None:
        what = f"Error code {code:x}, extended {xec:x}, of bank {record.bank}"
        return Meaning(Kind.UNKNOWN, what, classified=False)
    rule = find(bank.table, code, xec)
    if rule is None:
        what = f"{bank.name}: error code {code:x}, extended {xec:x}"
        return Meaning(Kind.UNKNOWN, what, classified=False)
    has_cache = rule.kind in (Kind.CACHE, Kind.TLB)
    cache = _cache_of(record.bank, code, bank.cache) if has_cache else None
    return Meaning(rule.kind, f"{bank.name}: {text_of(rule, code, xec)}", cache)


def _cache_of(bank: int, code: int, own: CacheUnit | None) -> CacheUnit | None:
    """The cache of an error: the northbridge has but one, the others name theirs."""
    return own if bank == NORTHBRIDGE else codes.cache_unit(code) or own


def _threshold(record: MceRecord) -> Meaning:
    """Banks that old kernels made up for error counters that had overflowed."""
    kinds = {
        k8.DRAM_THRESHOLD: Kind.MEMORY,
        k8.FBDIMM_THRESHOLD: Kind.MEMORY,
        k8.LINK_THRESHOLD: Kind.BUS,
        k8.L3_THRESHOLD: Kind.CACHE,
    }
    kind = kinds.get(record.bank, Kind.UNKNOWN)
    what = k8.THRESHOLDS.get(record.bank, f"Undecoded extended event {record.bank:x}")
    cache = UNIFIED_L3 if kind is Kind.CACHE else None
    return Meaning(kind, what, cache, classified=kind is not Kind.UNKNOWN)


def _severity(record: MceRecord, family: Family) -> Severity:
    if family.number < FIRST_WITH_DEFERRED:
        return status.severity(record.status)
    poison = 0 if record.bank == NORTHBRIDGE else codes.MCI_STATUS_POISON
    return status.severity(record.status, deferred=codes.MCI_STATUS_DEFERRED, recoverable=poison)


def _location(record: MceRecord, xec: int) -> Location:
    if record.bank != NORTHBRIDGE or xec != CHANNEL_OF_PARITY_ERROR:
        return Location()
    return Location(channel=extract(record.status, 41, 41))


def _lines(record: MceRecord, meaning: Meaning, how_bad: Severity, xec: int) -> tuple[str, ...]:
    """The decoded text of families 12h and later."""
    known = codes.MCI_STATUS_CECC | codes.MCI_STATUS_UECC | codes.MCI_STATUS_SCRUB
    if record.bank != NORTHBRIDGE:
        known |= codes.MCI_STATUS_POISON
    lines = status.status_lines(record, how_bad, known)
    lines.append(f"MCA: {meaning.what}")
    if record.bank < FIRST_SOFTWARE_BANK:
        lines.append(codes.describe(record.status & 0xFFFF))
    if record.bank == NORTHBRIDGE:
        lines += _northbridge_lines(record.status, xec)
    return (*lines, *status.threshold_lines(record))


def _northbridge_lines(mci_status: int, xec: int) -> list[str]:
    lines = []
    if xec in (k8.ECC_ERROR, k8.CHIPKILL_ERROR):
        lines.append(f"ECC syndrome: {k8.chipkill_syndrome(mci_status):x}")
    elif xec in k8.LINK_ERRORS:
        lines.append(f"Link: {extract(mci_status, 36, 39)}")
    if mci_status & codes.MCI_STATUS_ERR_CORE_ID_VAL:
        lines.append(f"Core: {extract(mci_status, 32, 35)}")
    return lines
