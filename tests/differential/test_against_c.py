# SPDX-License-Identifier: GPL-2.0-only
"""Our decoded text against the C program's, record by record.

    MCELOG_C=/path/to/mcelog pytest tests/differential

Every CPU type gets the same records: each bank with each model code, each
MCACOD, each status bit, and random ones (MCELOG_C_RECORDS of them, default
10000). Whatever is meant to differ is in REWORDED, MENDED, MISREAD, rare_banks()
or newer_intel.py, and in docs/differences.md.
"""

from __future__ import annotations

import difflib
import os
import random
import re
import subprocess
from itertools import cycle, product, repeat
from typing import TYPE_CHECKING

import newer_intel
import pytest

from mcelogd import render
from mcelogd.cpu import CPU_TYPES, K8, P4, TULSA, CpuType, Vendor, format_cpuid
from mcelogd.decode import bits, decode
from mcelogd.decode.intel.common import is_bus_error
from mcelogd.record import MceRecord

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

MCELOG_C = os.environ.get("MCELOG_C", "")
RANDOM_RECORDS = int(os.environ.get("MCELOG_C_RECORDS", "10000"))

pytestmark = pytest.mark.skipif(
    not MCELOG_C, reason="MCELOG_C does not name a C mcelog (v208) to compare with"
)

REWORDED = (
    ("heated above trip temperature", "is above trip temperature"),
    (" below trip temperature", " is below trip temperature"),
    (
        "Please check your system cooling. Performance will be impacted",
        "It runs slower until it has cooled down: check fans, air flow and room temperature",
    ),
    (
        "Large number of corrected cache errors. System operating, but might lead\n"
        "to uncorrected errors soon",
        "The cache has corrected more errors than its threshold allows. It still works,\n"
        "but uncorrected errors may follow: plan to replace the processor",
    ),
    ("No micro-instruction retired for some time", "No micro-op has been retired for some time"),
)
"""The C program's sentences, and ours for them."""

MENDED = (
    # a label with nothing behind it does not end its line
    (re.compile(r"^(.+ )(?=STATUS [0-9a-f]+ MCGSTATUS )", re.MULTILINE), r"\1\n"),
    # the warning of the yellow trigger, meant for the system log, in the midst of the decoded text
    (
        re.compile(
            r"^CPU \d+(?: on socket -?\d+)? has large number of corrected cache errors in .*\n"
            r"System operating correctly, .*\n",
            re.MULTILINE,
        ),
        "",
    ),
)
"""Defects of the C program's text, and what it should have been."""


def has_wide_request(record: MceRecord) -> bool:
    """A P6 bus request type with bit 24, which the C program leaves out of the code."""
    return is_bus_error(record.status) and bits.extract(record.status, 19, 24) >= 0x20


def has_core2_request(record: MceRecord) -> bool:
    """Likewise, or a type that only Core 2 has, for which the C program knows no name."""
    return has_wide_request(record) or (
        is_bus_error(record.status) and bits.extract(record.status, 19, 24) == 1
    )


def has_wide_internal_code(record: MceRecord) -> bool:
    """A Nehalem internal error with bits 31:29, which the C program leaves out of the code."""
    return record.status & 0xFFFF == 1 and bits.extract(record.status, 29, 31) > 0


MISREAD: dict[str, Callable[[MceRecord], bool]] = {
    "p6old": has_wide_request,
    "core2": has_core2_request,
    "dunnington": has_core2_request,
    "nehalem": has_wide_internal_code,
    "xeon75xx": has_wide_internal_code,
}
"""CPU type -> whether the C program takes a record's code for another; newer CPUs have theirs apart."""

SEPARATOR = "#end\n"
BANKS = range(32)
RARE_BANKS = (32, 63, 127, bits.THERMAL_BANK, bits.TIMEOUT_BANK, bits.APEI_BANK)
UNCHECKED = ("icelake_server", "icelake-d", "snowridge", "sapphirerapids_server", "emeraldrapids_server")
"""CPU types for which the C program reads past its table of 32 banks."""
MODEL_CODES = (0x0001, 0x0400, 0x0402, 0x0403, 0x0406, 0x0407, 0x080F, 0x0090, 0x009F, 0x00A3, 0x0E0F, 0x0E0B)
"""MCACODs that some family says more about."""

MCGCAPS = (
    0,
    0x1C09,
    bits.MCG_CAP_CMCI_P,
    bits.MCG_CAP_CMCI_P | bits.MCG_CAP_TES_P,
    bits.MCG_CAP_SER_P | bits.MCG_CAP_CMCI_P | bits.MCG_CAP_TES_P | 0x14,
    bits.MCG_CAP_SER_P,
)
VALID = bits.MCI_STATUS_VAL


def cpuid_of(cpu: CpuType) -> int:
    """A CPUID by which the C program finds this CPU type; 0 where only `--cpu` can name it."""
    by_family = {P4: (0xF, 2), TULSA: (0xF, 6), K8: (0xF, 5)}
    if cpu in by_family:
        return format_cpuid(*by_family[cpu])
    if not cpu.models:
        return 0
    family, model = divmod(cpu.models[-1], 0x100)
    return format_cpuid(family or 6, model)


def number(rng: random.Random, width: int) -> int:
    """A number of `width` bits: often 0, one bit, or all of them."""
    choice = rng.randrange(6)
    if choice < 3:
        return rng.getrandbits(width)
    return (0, 1 << rng.randrange(width), (1 << width) - 1)[choice - 3]


def dressed(rng: random.Random, status: int, bank: int) -> MceRecord:
    """A record of `status` and `bank` whose other registers are random; of random age (length)."""
    time = rng.choice((0, 1, 1700000000, rng.getrandbits(31)))
    length = rng.randrange(4)
    return MceRecord(
        status=status,
        misc=number(rng, 64),
        addr=number(rng, 64),
        mcgstatus=rng.getrandbits(4),
        ip=rng.choice((0, 0, 0xFFFFFFFF81000000, rng.getrandbits(64))),
        tsc=rng.choice((0, number(rng, 64))) if time else 0,
        time=time,
        cs=0x10,
        bank=bank,
        cpu8=rng.choice((0, 1, 7, 255)),
        socketid=rng.choice((0, 1, 3, 255)) if length > 0 else None,
        apicid=number(rng, 32) if length > 1 else None,
        mcgcap=rng.choice(MCGCAPS) if length > 2 else None,
    )


def rare_banks(cpu: CpuType) -> tuple[int, ...]:
    """Banks beyond BANKS that can be compared: only Intel's kernel code makes up banks."""
    if cpu.vendor is not Vendor.INTEL:
        return ()
    return (bits.THERMAL_BANK,) if cpu.name in UNCHECKED else RARE_BANKS


def boundary_records(rng: random.Random) -> Iterator[MceRecord]:
    codes = cycle(MODEL_CODES)
    for bank, byte, shift in product(BANKS, range(256), (16, 24)):
        yield dressed(rng, VALID | byte << shift | next(codes) | number(rng, 32) << 32, bank)
    for code, byte, shift in product(MODEL_CODES, range(256), (16, 24)):
        yield dressed(rng, VALID | byte << shift | code, rng.choice(BANKS))
    for code in range(0x2000):
        yield dressed(rng, VALID | number(rng, 16) << 16 | code, rng.choice(BANKS))
    for code, bit in product(MODEL_CODES, range(64)):
        yield dressed(rng, code | 1 << bit, rng.choice(BANKS))


def random_records(rng: random.Random, rare: tuple[int, ...]) -> Iterator[MceRecord]:
    for _ in range(RANDOM_RECORDS):
        code = rng.choice((number(rng, 16), rng.choice(MODEL_CODES), 0x80 | rng.getrandbits(7)))
        mscod = rng.choice((number(rng, 16), rng.randrange(8) << 8 | rng.randrange(64)))
        status = number(rng, 16) << 48 | number(rng, 16) << 32 | mscod << 16 | code
        bank = rng.choice(rare) if rare and rng.random() < 0.05 else rng.choice(BANKS)
        yield dressed(rng, status, bank)


def as_log(record: MceRecord) -> str:
    """The record as kernel log text that the C program reads back to the last field."""
    lines = [
        f"CPU {record.cpu} BANK {record.bank}",
        f"STATUS {record.status:x} MCGSTATUS {record.mcgstatus:x}",
        f"MISC {record.misc:x} ADDR {record.addr:x}",
    ]
    if record.ip:
        lines.append(f"RIP {record.cs:02x}:<{record.ip:016x}>")
    if record.time:
        lines.append(f"TIME {record.time}")
    if record.tsc:
        lines.append(f"TSC {record.tsc:x}")
    if record.cpuid:
        lines.append(f"PROCESSOR {record.cpuvendor}:{record.cpuid:x}")
    if record.socketid is not None:
        lines.append(f"SOCKETID {record.socketid}")
    if record.apicid is not None:
        lines.append(f"APICID {record.apicid:x}")
    if record.mcgcap is not None:
        lines.append(f"MCGCAP {record.mcgcap:x}")
    return "\n".join(lines) + "\n" + SEPARATOR


def decoded_by_c(cpu: CpuType, records: list[MceRecord], log: Path) -> list[str]:
    log.write_text("".join(map(as_log, records)))
    # Named types are chosen by PROCESSOR: the C program's --cpu names are partly swapped.
    forced = [] if cpuid_of(cpu) else ["--cpu", cpu.name]
    command = [MCELOG_C, *forced, "--ascii", "--file", str(log)]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    texts = done.stdout.split(SEPARATOR)
    assert texts.pop() == ""
    assert len(texts) == len(records)
    return texts


def expected_text(cpu: CpuType, record: MceRecord, text: str) -> str | None:
    """What ours must be where the C program's is `text`; None where it took the code for another one."""
    is_misread = MISREAD.get(cpu.name)
    if is_misread and is_misread(record):
        return None
    for theirs, ours in REWORDED:
        text = text.replace(theirs, ours)
    for defect, repair in MENDED:
        text = defect.sub(repair, text)
    return newer_intel.mended(cpu.name, record, text)


@pytest.mark.parametrize("cpu", CPU_TYPES, ids=lambda cpu: cpu.name)
def test_text_is_that_of_the_c_program(cpu: CpuType, tmp_path: Path) -> None:
    rng = random.Random(cpu.name)
    vendor = cpu.vendor or Vendor.INTEL
    records = [
        record._replace(cpuvendor=vendor, cpuid=cpuid_of(cpu))
        for record in (*boundary_records(rng), *random_records(rng, rare_banks(cpu)))
    ]
    texts = map(expected_text, repeat(cpu), records, decoded_by_c(cpu, records, tmp_path / "log"))
    compared = [(record, text) for record, text in zip(records, texts, strict=True) if text is not None]
    assert len(compared) >= 10000
    different = [
        (record, theirs, ours)
        for record, theirs in compared
        if theirs != (ours := render.event_text(decode(record, cpu)))
    ]
    report = [f"{len(different)} of {len(compared)} records differ"]
    for record, theirs, ours in different[:3]:
        diff = difflib.unified_diff(theirs.splitlines(), ours.splitlines(), "C", "ours", lineterm="", n=0)
        report += [str(record), *diff]
    if different:
        pytest.fail("\n".join(report), pytrace=False)
