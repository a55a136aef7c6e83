# SPDX-License-Identifier: GPL-2.0-only
"""`--json`: one JSON object per record and line, for other programs.

Keys are stable: one may be added, none is renamed or changes its type. What
is not known, or does not apply, is absent. Registers and addresses are hex
strings ("0x9c2040000000011b"), as are numbers beyond 2**53.

cpu, bank, time     numbers; `time` in seconds since the epoch
bank_name           as the decoded text has it ("BANK 5")
registers           of `struct mce`, those the record is long enough to hold: status, misc, addr,
                    mcgstatus, ip, cs, tsc, mcgcap, synd, ipid, ppin, microcode
socket, apicid      of the CPU
vendor, family, model, stepping, cpuid
                    of the CPU, where the record names it
cpu_type            as `--cpu` takes it: what the record was decoded for
kind                memory, cache, tlb, bus, io, internal, thermal, unknown
severity            info, corrected, deferred, recoverable, uncorrected, fatal
recovery            UCNA, SRAO, SRAR (Intel)
tracking            green, yellow, reserved: the cache's threshold-based status (Intel)
what                the vendor's name of the error code
classified          false for a code that no table explains
corrected_count     the hardware's own count
address             system physical address of the error
locations           of memory errors, one object per DIMM involved: die, memory_controller, channel,
                    dimm, rank, chip_select, bank_group, bank, row, column, device
cache               type, level
bus                 level, participation, request, transaction, timeout
root_port           of I/O errors, "segment:bus:device.function" in hex
marks               erratum, left-over, firmware, test: see `mcelogd.marks`; always there
lines               the decoded text, as a list
symbol              the kernel's name of the function at `ip`, from a text
incomplete          true if a text lacks parts of the record, or some could not be read
"""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from mcelogd.cpu import parse_cpuid, vendor_name
from mcelogd.decode import bank_name, physical_address
from mcelogd.event import Tracking
from mcelogd.marks import marks_of

if TYPE_CHECKING:
    from mcelogd.event import Event, Finding
    from mcelogd.record import MceRecord

LARGEST_EXACT = 1 << 53
"""Programs that read numbers as floating point are exact up to here."""

REGISTERS = (
    "status", "misc", "addr", "mcgstatus", "ip", "cs", "tsc", "mcgcap", "synd", "ipid", "ppin", "microcode",
)  # fmt: skip


def json_line(event: Event, *, symbol: str = "", incomplete: bool = False, has_tsc: bool = True) -> str:
    """The line of one event; `has_tsc` is False for a text that does not show the TSC."""
    record, cpu_type, finding = event
    address = physical_address(record, cpu_type)
    members = {
        "cpu": record.cpu,
        "bank": record.bank,
        "bank_name": bank_name(record.bank, cpu_type),
        "time": _number(record.time) if record.time else None,
        "registers": {name: hex(value) for name in REGISTERS if (value := getattr(record, name)) is not None},
        **_processor(record),
        "cpu_type": cpu_type.name,
        **_meaning(finding),
        "address": None if address is None else hex(address),
        "marks": marks_of(record, cpu_type, has_tsc=has_tsc),
        "lines": finding.lines,
        "symbol": _printable(symbol) or None,
        "incomplete": incomplete or None,
    }
    known = {name: value for name, value in members.items() if value is not None}
    return json.dumps(known, separators=(",", ":")) + "\n"


def _printable(text: str) -> str:
    """Text of a log that need not be UTF-8, for readers that insist on it."""
    return text.encode(errors="surrogateescape").decode(errors="replace")


def _number(value: int) -> int | str:
    return value if value <= LARGEST_EXACT else hex(value)


def _processor(record: MceRecord) -> dict[str, Any]:
    members: dict[str, Any] = {"socket": record.socketid, "apicid": record.apicid}
    if record.cpuid:
        family, model, stepping = parse_cpuid(record.cpuid)
        members |= {"family": family, "model": model, "stepping": stepping, "cpuid": hex(record.cpuid)}
    if record.cpuid or record.cpuvendor:
        members["vendor"] = vendor_name(record.cpuvendor)
    return members


def _meaning(finding: Finding) -> dict[str, Any]:
    cache, bus = finding.cache, finding.bus
    return {
        "kind": finding.kind,
        "severity": finding.severity,
        "recovery": finding.recovery,
        "tracking": finding.tracking.name.lower() if finding.tracking is not Tracking.NONE else None,
        "what": finding.what,
        "classified": finding.classified,
        "corrected_count": finding.corrected_count,
        "locations": [_known(place._asdict()) for place in finding.locations] or None,
        "cache": None if cache is None else {"type": cache.type_name, "level": cache.level_name},
        "bus": None if bus is None else bus._asdict(),
        "root_port": None if finding.root_port is None else str(finding.root_port),
    }


def _known(members: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in members.items() if value is not None}
