# SPDX-License-Identifier: GPL-2.0-only
"""Event and record -> the text mcelog prints.

The shape of every line is a contract with scripts (docs/differences.md): the
blanks at line ends, the bases of numbers and the order are theirs.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcelogd import decode
from mcelogd.cpu import parse_cpuid, vendor_name
from mcelogd.decode.bits import MCG_STATUS_EIPV, MCI_STATUS_ADDRV, MCI_STATUS_MISCV

if TYPE_CHECKING:
    from mcelogd.event import Event
    from mcelogd.record import MceRecord

DISCLAIMER = "Hardware event. This is not a software error.\n"


def ctime(seconds: int) -> str:
    """Local time as ctime(3) writes it; empty where the C library has no such year."""
    try:
        return time.ctime(seconds)
    except (OverflowError, OSError, ValueError):
        return ""


def event_text(event: Event, number: int | None = None) -> str:
    """The decoded text of one event; `number` is its place in its batch, for the `MCE n` line."""
    place = "" if number is None else f"MCE {number}\n"
    return DISCLAIMER + place + _body(event)


def _body(event: Event) -> str:
    record = event.record
    tsc = f"TSC {record.tsc:x} " if record.tsc else ""
    text = [f"CPU {record.cpu} {decode.bank_name(record.bank, event.cpu_type)} {tsc}"]
    if record.ip:
        text.append(rip_line(record))
    misc = f"MISC {record.misc:x} " if record.status & MCI_STATUS_MISCV else ""
    addr = f"ADDR {record.addr:x} " if record.status & MCI_STATUS_ADDRV else ""
    if misc or addr:
        text.append(misc + addr)
    if record.time:
        text.append(f"TIME {record.time} {ctime(record.time)}")
    text += event.finding.lines
    text.append(status_line(record))
    text += identity_lines(record)
    return "\n".join(text) + "\n"


def rip_line(record: MceRecord) -> str:
    """The line of the instruction; `!INEXACT!` where MCG_STATUS does not vouch for it."""
    inexact = "" if record.mcgstatus & MCG_STATUS_EIPV else " !INEXACT!"
    return f"RIP{inexact} {record.cs:02x}:{record.ip:x}"


def status_line(record: MceRecord) -> str:
    """The line that ends the decoded part."""
    return f"STATUS {record.status:x} MCGSTATUS {record.mcgstatus:x}"


def identity_lines(record: MceRecord) -> list[str]:
    """Which processor reported it; only what the record was long enough to hold."""
    lines = []
    mcgcap = f"MCGCAP {record.mcgcap:x} " if record.mcgcap else ""
    apicid = "" if record.apicid is None else f"APICID {record.apicid:x} "
    socketid = "" if record.socketid is None else f"SOCKETID {record.socketid:x} "
    if mcgcap or apicid or socketid:
        lines.append(mcgcap + apicid + socketid)
    if record.synd:
        lines.append(f"SYND {record.synd:x}")
    if record.ipid:
        lines.append(f"IPID {record.ipid:x}")
    if record.ppin:
        lines.append(f"PPIN {record.ppin:x}")
    if record.microcode:
        lines.append(f"MICROCODE {record.microcode:x}")
    if record.cpuid:
        family, model, stepping = parse_cpuid(record.cpuid)
        vendor = vendor_name(record.cpuvendor)
        lines.append(f"CPUID Vendor {vendor} Family {family} Model {model} Step {stepping}")
    return lines


def raw_text(record: MceRecord) -> str:
    """`--raw`: the registers by name, undecoded, for other programs to read."""
    lines = [
        f"CPU {record.cpu}",
        f"BANK {record.bank}",
        f"TSC {_hex(record.tsc)}",
        f"RIP {_hex(record.cs):>02}:{_hex(record.ip)}",
        f"MISC {_hex(record.misc)}",
        f"ADDR {_hex(record.addr)}",
        f"STATUS {_hex(record.status)}",
        f"MCGSTATUS {_hex(record.mcgstatus)}",
        f"PROCESSOR {record.cpuvendor}:{_hex(record.cpuid)}",
        f"TIME {record.time}",
    ]
    if record.socketid is not None:
        lines.append(f"SOCKETID {record.socketid}")
    if record.apicid is not None:
        lines.append(f"APICID {record.apicid}")
    if record.mcgcap is not None:
        lines.append(f"MCGCAP {_hex(record.mcgcap)}")
    newer = (
        ("SYND", record.synd),
        ("IPID", record.ipid),
        ("PPIN", record.ppin),
        ("MICROCODE", record.microcode),
    )
    lines += [f"{name} {_hex(value)}" for name, value in newer if value]
    return "\n".join(lines) + "\n\n"


def _hex(value: int) -> str:
    """C's %#x: a zero has no prefix."""
    return f"{value:#x}" if value else "0"
