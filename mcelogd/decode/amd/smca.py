# SPDX-License-Identifier: GPL-2.0-only
"""Scalable MCA, the machine checks of AMD Zen and Hygon: a record in, a Finding out.

The bank's kind is in MCA_IPID, where in memory in MCA_IPID and MCA_SYND. A
record without them is decoded as far as its other registers go.

Source: the Processor Programming References named in smca_banks.py, section
"Machine Check Architecture", registers "MCA_STATUS", "MCA_IPID", "MCA_SYND";
Linux drivers/edac/amd64_edac.c, umc_get_err_info() and gpu_get_err_info().
"""

from __future__ import annotations

import functools
from typing import TYPE_CHECKING, Final, NamedTuple

from mcelogd.cpu import Vendor, parse_cpuid
from mcelogd.decode.amd import codes, status
from mcelogd.decode.amd.codes import Form, form_of
from mcelogd.decode.amd.smca_banks import (
    BANK_TYPES,
    IF,
    IF_19H,
    UMC,
    UMC_HBM,
    UMC_V2,
    BankType,
    Ipid,
    by_number,
    parse_ipid,
    variant,
)
from mcelogd.decode.bits import MCI_STATUS_ADDRV, MCI_STATUS_EN, MCI_STATUS_UC, extract
from mcelogd.event import Finding, Kind, Location, Severity

if TYPE_CHECKING:
    from mcelogd.cpu import CpuType, Models
    from mcelogd.record import MceRecord

KNOWN_BITS: Final = (
    codes.MCI_STATUS_TCC
    | codes.MCI_STATUS_SYNDV
    | codes.MCI_STATUS_CECC
    | codes.MCI_STATUS_UECC
    | codes.MCI_STATUS_POISON
    | codes.MCI_STATUS_SCRUB
)
FIRST_FAMILY: Final = 0x17
NEWEST: Final = (0x1A, 0xFF)
"""The family and model that a CPU of an unknown generation is taken for."""

MEMORY_CONTROLLERS = (UMC, UMC_HBM, UMC_V2)
DRAM_ECC_ERROR: Final = 0x00
"""The only error of a memory controller whose MCA_SYND names a chip select."""
CHANNELS_PER_HBM_CONTROLLER: Final = 8
CHANNELS_PER_HBM_DIE: Final = 32
FIRST_GPU_NODE: Final = 8
"""MCA_IPID[InstanceIdHi] of the first node that is a GPU."""

PRIORITIES = {0: "none", 2: "corrected", 3: "deferred", 4: "uncorrected", 5: "fatal"}
"""MCA_SYND[ErrorPriority]."""

L1_BTB_MULTI_HIT: Final = 0x0A


class Bank(NamedTuple):
    """What is known of the bank that a record is from."""

    type: BankType | None
    ipid: Ipid | None


def decode(record: MceRecord, cpu_type: CpuType) -> Finding:
    """The Finding for any record of a CPU with Scalable MCA."""
    bank = bank_of(record, cpu_type)
    code = record.status & 0xFFFF
    how_bad = status.severity(
        record.status,
        tcc=codes.MCI_STATUS_TCC,
        deferred=codes.MCI_STATUS_DEFERRED,
        recoverable=MCI_STATUS_UC,
    )
    kind, what, classified = _meaning(bank, extended_code(record), code)
    where = _location(record, bank) if kind is Kind.MEMORY else None
    own_cache = bank.type.cache if bank.type else None
    return Finding(
        kind=kind,
        severity=how_bad,
        what=what,
        lines=_lines(record, bank, how_bad, what, where),
        locations=() if where is None else (where,),
        cache=codes.cache_unit(code) or own_cache if kind in (Kind.CACHE, Kind.TLB) else None,
        bus=codes.bus_error(code) if kind in (Kind.BUS, Kind.IO) else None,
        classified=classified,
    )


def extended_code(record: MceRecord) -> int:
    """MCA_STATUS[ErrorCodeExt], bits 21:16."""
    return extract(record.status, 16, 21)


def bank_of(record: MceRecord, cpu_type: CpuType) -> Bank:
    """The record's bank by MCA_IPID; by its number where the record has none and the number says it."""
    own = record.cpuid if record.cpuvendor in (Vendor.AMD, Vendor.HYGON) else 0
    return _bank(record.ipid or 0, record.bank, own, cpu_type.ranges)


def is_known_bogus(record: MceRecord, cpu_type: CpuType) -> bool:
    """Whether an erratum makes this CPU report such errors without a cause.

    Source: Linux arch/x86/kernel/cpu/mce/amd.c, amd_filter_mce(): erratum 1114
    of family 17h models 10h-2Fh; Cezanne A0.
    """
    family, model, stepping = parse_cpuid(record.cpuid)
    if (family, model, stepping) == (0x19, 0x50, 0):
        return not record.status & MCI_STATUS_EN
    if family != FIRST_FAMILY or not 0x10 <= model <= 0x2F:
        return False
    is_fetch = bank_of(record, cpu_type).type in (IF, IF_19H)
    return is_fetch and extended_code(record) == L1_BTB_MULTI_HIT


def physical_address(record: MceRecord, cpu_type: CpuType) -> int | None:
    """MCi_ADDR where it is a system physical address.

    That of a memory controller is not: it counts within the channel, and what
    it stands for depends on how the firmware interleaved the channels.
    Source: Linux arch/x86/kernel/cpu/mce/amd.c, amd_mce_usable_address().
    """
    if not record.status & MCI_STATUS_ADDRV:
        return None
    if record.status & codes.MCI_STATUS_PADDRV:
        return record.addr
    if not record.status & codes.MCI_STATUS_POISON:
        return None
    return None if bank_of(record, cpu_type).type in MEMORY_CONTROLLERS else record.addr


@functools.lru_cache(maxsize=1024)
def _bank(ipid: int, number: int, cpuid: int, ranges: tuple[Models, ...]) -> Bank:
    family, model = _family_of(cpuid, ranges)
    if not ipid:
        found = by_number(number, family)
        return Bank(found and variant(found, family, model), None)
    fields = parse_ipid(ipid)
    known = BANK_TYPES.get((fields.hwid, fields.mca_type))
    return Bank(known and variant(known, family, model), fields)


def _family_of(cpuid: int, ranges: tuple[Models, ...]) -> tuple[int, int]:
    """Family and model: the record's own, else the first of those the CPU type stands for."""
    family, model, _ = parse_cpuid(cpuid)
    if family >= FIRST_FAMILY:
        return family, model
    return (ranges[0].family, ranges[0].first) if ranges else NEWEST


def _meaning(bank: Bank, xec: int, code: int) -> tuple[Kind, str, bool]:
    """The kind of error, its name, and whether a table has it."""
    unknown = f"error code {code:x}, extended {xec:x}"
    if bank.type is None:
        return _kind_by_code(code), f"{_ids(bank)}: {unknown}", False
    row = bank.type.codes.get(xec)
    if row is None:
        return bank.type.kind, f"{bank.type.name}: {unknown}", False
    name = f"{bank.type.short} {row.name}" if row.name else bank.type.short
    return row.kind or bank.type.kind, f"{row.text} ({name})", True


def _ids(bank: Bank) -> str:
    """A bank whose type no table has."""
    if bank.ipid is None:
        return "Bank of unknown type"
    return f"Bank of HWID {bank.ipid.hwid:x} type {bank.ipid.mca_type:x}"


def _kind_by_code(code: int) -> Kind:
    """The kind of an error of which only the error code is known.

    A memory hierarchy code of level LG may be DRAM's or a cache's.
    """
    form = form_of(code)
    if form is Form.MEM:
        return Kind.CACHE if code & 3 in (1, 2) else Kind.UNKNOWN
    kinds = {Form.TLB: Kind.TLB, Form.BUS: Kind.BUS, Form.INT: Kind.INTERNAL}
    return kinds.get(form, Kind.UNKNOWN)


def _location(record: MceRecord, bank: Bank) -> Location:
    if bank.ipid is None:
        return Location()
    if bank.type is not UMC:
        return _hbm_location(bank.ipid, bank.type is UMC_V2)
    # A controller has one channel.
    channel = bank.ipid.instance >> 20
    where = Location(memory_controller=channel, channel=channel)
    if not _has_error_information(record):
        return where
    chip_select = extract(record.synd or 0, 0, 2)
    return where._replace(chip_select=chip_select, dimm=chip_select >> 1, rank=chip_select & 1)


def _hbm_location(ipid: Ipid, is_gpu_node: bool) -> Location:
    """Memory on the package: channels of all controllers and dies are numbered through.

    InstanceId has the controller in bits 22:21, its channel in 20 and 13:12.
    InstanceIdHi is the number of a GPU node, or die and socket of a MI300A.
    """
    die = max(0, ipid.instance_hi - FIRST_GPU_NODE) if is_gpu_node else ipid.instance_hi >> 2
    controller = extract(ipid.instance, 21, 22)
    own = extract(ipid.instance, 20, 20) << 2 | extract(ipid.instance, 12, 13)
    channel = CHANNELS_PER_HBM_DIE * die + CHANNELS_PER_HBM_CONTROLLER * controller + own
    return Location(die=die, memory_controller=controller, channel=channel)


def _has_error_information(record: MceRecord) -> bool:
    """Whether MCA_SYND tells where a DRAM ECC error was. It is 0 where the kernel did not pass it on."""
    is_valid = record.status & codes.MCI_STATUS_SYNDV and record.synd
    return bool(is_valid) and extended_code(record) == DRAM_ECC_ERROR


def _lines(
    record: MceRecord, bank: Bank, how_bad: Severity, what: str, where: Location | None
) -> tuple[str, ...]:
    lines = status.status_lines(record, how_bad, KNOWN_BITS)
    if record.status & codes.MCI_STATUS_ERR_CORE_ID_VAL:
        lines.append(f"Core: {extract(record.status, 32, 37)}")
    lines += [f"MCA: {what}", _bank_line(bank), codes.describe(record.status & 0xFFFF)]
    if where is not None:
        lines += _memory_lines(record, bank, how_bad, where)
    lines += _syndrome_lines(record)
    return (*lines, *status.threshold_lines(record))


def _bank_line(bank: Bank) -> str:
    if bank.ipid is None:
        return f"Bank type: {bank.type.name}, by its number" if bank.type else "Bank type: not reported"
    name = bank.type.name if bank.type else "not known"
    ids = f"HWID {bank.ipid.hwid:x} type {bank.ipid.mca_type:x} instance {bank.ipid.instance:x}"
    return f"Bank type: {name}, {ids}"


PLACES = (
    ("die", "die"),
    ("memory_controller", "controller"),
    ("channel", "channel"),
    ("chip_select", "chip select"),
    ("dimm", "DIMM"),
    ("rank", "rank"),
)
"""Fields of Location, and what they are called in the decoded text."""


def _memory_lines(record: MceRecord, bank: Bank, how_bad: Severity, where: Location) -> list[str]:
    values = [(word, getattr(where, field)) for field, word in PLACES]
    places = [f"{word} {value}" for word, value in values if value is not None]
    if bank.type is UMC and _has_error_information(record):
        chip = extract(record.synd or 0, 4, 6)
        places += [f"chip ID {chip}"] if chip else []
        if how_bad is Severity.CORRECTED:
            places.append(f"symbol {extract(record.synd or 0, 8, 13):x}")
    return [f"Memory: {', '.join(places)}"] if places else []


def _syndrome_lines(record: MceRecord) -> list[str]:
    """MCA_SYND: ErrorInformation 17:0, Length 23:18, ErrorPriority 26:24, Syndrome from bit 32 on."""
    synd = record.synd
    if not synd or not record.status & codes.MCI_STATUS_SYNDV:
        return []
    length = extract(synd, 18, 23)
    number = extract(synd, 24, 26)
    words = [f"priority {PRIORITIES.get(number, number)}", f"information {extract(synd, 0, 17):x}"]
    if length:
        words.insert(0, f"{synd >> 32 & (1 << length) - 1:x} of {length} bits")
    return [f"Syndrome: {', '.join(words)}"]
