# SPDX-License-Identifier: GPL-2.0-only
"""Event -> the fields of its journal entry, and the one line that says what broke and where.

Pure: what is sent, and when, is for others to say. The reference of the
fields is docs/journal.md.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd import decode, message_ids, render
from mcelogd.cpu import Vendor
from mcelogd.decode.bits import (
    FIRST_SOFTWARE_BANK,
    MCG_CAP_SER_P,
    MCI_STATUS_ADDRV,
    MCI_STATUS_MISCV,
    extract,
)
from mcelogd.decode.self_test import is_self_test
from mcelogd.earlier.found import Origin
from mcelogd.event import NOWHERE, Kind, Severity, Tracking
from mcelogd.marks import marks_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from mcelogd.event import CacheUnit, Event, Finding, Location
    from mcelogd.record import MceRecord

    Labels = Sequence[str | None]

PAGE_SIZE = 4096
PHYSICAL_ADDRESS = 2
"""MCi_MISC 8:6, "Address Mode" (Intel SDM vol. 3B, "IA32_MCi_MISC MSRs")."""

PRIORITIES = {
    Severity.INFO: 5,
    Severity.CORRECTED: 4,
    Severity.DEFERRED: 3,
    Severity.RECOVERABLE: 3,
    Severity.UNCORRECTED: 2,
    Severity.FATAL: 1,
}
"""syslog(3) priorities. Data is lost from 3 (err) on, so `journalctl -p err` shows just that; 0 (emerg)
is left out because journald writes it to every terminal."""

TEST_PRIORITY = 6
"""Of a self test's record: nobody need be told."""

MESSAGE_IDS = {
    Kind.CACHE: message_ids.CACHE_ERROR,
    Kind.TLB: message_ids.TLB_ERROR,
    Kind.BUS: message_ids.BUS_ERROR,
    Kind.IO: message_ids.IO_ERROR,
    Kind.INTERNAL: message_ids.INTERNAL_ERROR,
    Kind.THERMAL: message_ids.THERMAL_EVENT,
    Kind.UNKNOWN: message_ids.UNKNOWN_ERROR,
}

SEVERITY_WORDS = {
    Severity.INFO: "Harmless",
    Severity.CORRECTED: "Corrected",
    Severity.DEFERRED: "Deferred uncorrected",
    Severity.RECOVERABLE: "Recoverable uncorrected",
    Severity.UNCORRECTED: "Uncorrected",
    Severity.FATAL: "Fatal uncorrected",
}

LOCATION_FIELDS = {
    "die": "MCE_DIE",
    "memory_controller": "MCE_MEMORY_CONTROLLER",
    "channel": "MCE_CHANNEL",
    "dimm": "MCE_DIMM",
    "rank": "MCE_RANK",
    "chip_select": "MCE_CHIP_SELECT",
    "bank_group": "MCE_DRAM_BANK_GROUP",
    "bank": "MCE_DRAM_BANK",
    "row": "MCE_DRAM_ROW",
    "column": "MCE_DRAM_COLUMN",
    "device": "MCE_DRAM_DEVICE",
}
"""Attribute of Location -> field. MCE_BANK is the machine-check bank, not that of the DRAM."""

PLACE_WORDS = {
    "die": "die",
    "memory_controller": "memory controller",
    "channel": "channel",
    "dimm": "DIMM",
    "rank": "rank",
    "chip_select": "chip select",
}
"""Attributes of Location that lead a person to the part, in the order they are named."""

BUS_WORDS = {"IO": "I/O", "Reserved": "reserved transaction"}
"""Names of a bus error's transaction that are not plain words already."""

BUS_ERROR = "BUS error"
"""How the decoder names a bus error that has no better name than its fields."""

TRANSACTION = "Transaction: "
"""How the decoded text marks what a memory controller was doing."""


def message_id(event: Event) -> str:
    """MESSAGE_ID of the event's entry."""
    if is_self_test(event.record):
        return message_ids.SELF_TEST_RECORD
    if event.kind is not Kind.MEMORY:
        return MESSAGE_IDS[event.kind]
    if event.severity.is_corrected:
        return message_ids.CORRECTED_MEMORY_ERROR
    return message_ids.UNCORRECTED_MEMORY_ERROR


def fields(
    event: Event,
    *,
    event_id: int | None = None,
    count: int | None = None,
    labels: Labels = (),
    marks: Sequence[str] = (),
    origin: str = "",
) -> dict[str, str | list[str]]:
    """The fields of the event's entry; one that is not known is absent.

    `event_id` is the event's number in the store; `count` how many errors of
    its severity its place has had, this one included; `labels` the DIMMs'
    names, one for each of the finding's locations, None where there is none;
    `marks` adds to those that the record itself has; `origin` says where a
    record was found that no source gave.
    The value of a field that the entry has several times is a list.
    """
    labels = _clean(labels)
    known = {
        "MESSAGE": summary(event, labels) + found_in(origin),
        "MESSAGE_ID": message_id(event),
        "PRIORITY": str(TEST_PRIORITY if is_self_test(event.record) else PRIORITIES[event.severity]),
        "MCE_EVENT_ID": _decimal(event_id),
        "MCE_COUNT": _decimal(count),
        "MCE_MARKS": " ".join(
            (*marks_of(event.record, event.cpu_type), *marks, *((origin,) if origin else ()))
        ),
        "MCE_ORIGIN": origin,
        **_meaning(event),
        **_registers(event.record),
        **_identity(event),
        **_places(event, labels),
        "MCE_DECODED": render.event_text(event).rstrip("\n"),
    }
    return {name: value for name, value in known.items() if value}


def summary(event: Event, labels: Labels = ()) -> str:
    """One line for people: how bad, what, where, and who reported it."""
    record = event.record
    if is_self_test(record):
        return f"Self test of mcelog: one injected record, no error (CPU {record.cpu})"
    socket = "" if record.socketid is None else f"socket {record.socketid} "
    if event.kind is Kind.THERMAL:
        hot = event.severity is not Severity.INFO
        state = "too hot, slowed down" if hot else "cool again, back to full speed"
        return f"Processor {state}: {socket}CPU {record.cpu}"
    subject = f"{SEVERITY_WORDS[event.severity]} {_subject(event, _clean(labels))}"
    yellow = ", threshold status yellow" if event.finding.tracking is Tracking.YELLOW else ""
    bank = decode.bank_name(record.bank, event.cpu_type)
    reporter = f" bank {record.bank}" if record.bank < FIRST_SOFTWARE_BANK else f", {bank}"
    return f"{subject}: {_detail(event.finding)}{yellow} (CPU {record.cpu}{reporter})"


def found_in(origin: str) -> str:
    """What a record's summary ends in that no source gave."""
    where = {"": "", Origin.KERNEL_LOG: "the kernel's log"}.get(origin, origin)
    return where and f", found in {where}"


def worn_cache(event: Event) -> str:
    """What is logged when the CPU says that a cache has too many corrected errors."""
    record, unit = event.record, event.finding.cache
    if unit is None:
        return ""
    socket = "" if record.socketid is None else f" on socket {record.socketid}"
    return (
        f"CPU {record.cpu}{socket} has large number of corrected cache errors in"
        f" {unit.level_name} {unit.type_name}\n"
        "It works correctly now; errors that cannot be corrected may follow\n"
    )


def page_of(event: Event) -> int | None:
    """Address of the first byte of the 4 KiB page a memory error is in; None where the record does not say.

    An address that is not a physical one, or less exact than a page, names no page.
    """
    record = event.record
    address = decode.physical_address(record, event.cpu_type)
    if event.kind is not Kind.MEMORY or address is None:
        return None
    has_mode = record.cpuvendor == Vendor.INTEL and (record.mcgcap or 0) & MCG_CAP_SER_P
    if has_mode and record.status & MCI_STATUS_MISCV:
        exact = 1 << extract(record.misc, 0, 5) <= PAGE_SIZE
        if extract(record.misc, 6, 8) != PHYSICAL_ADDRESS or not exact:
            return None
    return address & ~(PAGE_SIZE - 1)


def _subject(event: Event, labels: Labels) -> str:
    finding = event.finding
    socketid = event.record.socketid
    on_socket = "" if socketid is None else f" on socket {socketid}"
    if event.kind is Kind.MEMORY:
        places = " and ".join(_memory_places(event, labels))
        page = page_of(event)
        return f"memory error{places and ' on '}{places}" + ("" if page is None else f", page {page:#x}")
    if finding.cache is not None:
        return f"error in the {_cache_name(event.kind, finding.cache)}{on_socket}"
    if finding.root_port is not None:
        return f"I/O error at PCI root port {finding.root_port}{on_socket}"
    words = {Kind.BUS: "bus or interconnect", Kind.IO: "I/O", Kind.INTERNAL: "internal processor"}
    return f"{words.get(event.kind, 'unidentified')} error{on_socket}"


def _cache_name(kind: Kind, cache: CacheUnit) -> str:
    level = cache.level_name.lower().replace("-", " ") if cache.level_name.startswith("Level") else ""
    what = cache.type_name.lower() if cache.type_name in ("Instruction", "Data") else ""
    return " ".join(word for word in (level, what, "TLB" if kind is Kind.TLB else "cache") if word)


def _detail(finding: Finding) -> str:
    """What was going on, in words where the decoder has them, else the error code's name."""
    if finding.bus is not None and finding.what.startswith(BUS_ERROR):
        transaction = BUS_WORDS.get(finding.bus.transaction, finding.bus.transaction.lower())
        timed_out = ", timed out" if finding.bus.timeout == "Request-timed-out" else ""
        return f"{finding.bus.request.lower()} request, {transaction}{timed_out}".replace("-", " ")
    transactions = (line for line in finding.lines if line.startswith(TRANSACTION))
    return next(transactions, finding.what).removeprefix(TRANSACTION)


def _memory_places(event: Event, labels: Labels) -> list[str]:
    """Where each DIMM is, in words; without the socket after the first: they share it."""
    socketid = event.record.socketid
    places = []
    for number, location in enumerate(event.finding.locations or (NOWHERE,)):
        place = _place(None if number else socketid, location)
        label = labels[number] if number < len(labels) else None
        if label:
            place = f"{label} ({place})" if place else label
        if place:
            places.append(place)
    return places


def _place(socketid: int | None, location: Location) -> str:
    words = [] if socketid is None else [f"socket {socketid}"]
    words += [
        f"{word} {getattr(location, name)}"
        for name, word in PLACE_WORDS.items()
        if getattr(location, name) is not None
    ]
    return " ".join(words)


def _meaning(event: Event) -> dict[str, str | None]:
    finding = event.finding
    page = page_of(event)
    return {
        "MCE_KIND": event.kind.value,
        "MCE_SEVERITY": event.severity.value,
        "MCE_RECOVERY": finding.recovery and finding.recovery.value,
        "MCE_CODE": finding.what,
        "MCE_TRACKING": finding.tracking.name.lower() if finding.tracking else None,
        "MCE_CORRECTED_COUNT": _decimal(finding.corrected_count),
        "MCE_ROOT_PORT": finding.root_port and str(finding.root_port),
        "MCE_PAGE": None if page is None else f"{page:#x}",
    }


def _registers(record: MceRecord) -> dict[str, str | None]:
    """Registers in hex; not known are those the status calls invalid and those the kernel leaves 0."""
    status = record.status
    return {
        "MCE_STATUS": f"{status:#x}",
        "MCE_ADDR": f"{record.addr:#x}" if status & MCI_STATUS_ADDRV else None,
        "MCE_MISC": f"{record.misc:#x}" if status & MCI_STATUS_MISCV else None,
        "MCE_MCGSTATUS": f"{record.mcgstatus:#x}",
        "MCE_MCGCAP": _hex(record.mcgcap),
        "MCE_IP": _hex(record.ip),
        "MCE_TSC": _hex(record.tsc),
        "MCE_SYND": _hex(record.synd),
        "MCE_IPID": _hex(record.ipid),
        "MCE_PPIN": _hex(record.ppin),
        "MCE_MICROCODE": _hex(record.microcode),
        "MCE_CPUID": _hex(record.cpuid),
    }


def _identity(event: Event) -> dict[str, str | None]:
    record = event.record
    return {
        "MCE_CPU": str(record.cpu),
        "MCE_BANK": str(record.bank),
        "MCE_BANK_NAME": decode.bank_name(record.bank, event.cpu_type),
        "MCE_TIME": str(record.time) if record.time else None,
        "MCE_SOCKET": _decimal(record.socketid),
        "MCE_APICID": _decimal(record.apicid),
    }


def _places(event: Event, labels: Labels) -> dict[str, str | list[str]]:
    """Where in memory.

    Journald keeps the values of a field in no order and equal ones once:
    MCE_LOCATION is what says which channel and DIMM belong together.
    """
    locations = event.finding.locations
    socketid = event.record.socketid
    found = {
        field: _values(_decimal(getattr(location, name)) for location in locations)
        for name, field in LOCATION_FIELDS.items()
    }
    found["MCE_LOCATION"] = _values(_place(socketid, location) for location in locations)
    found["MCE_DIMM_LABEL"] = _values(iter(labels))
    return found


def _values(values: Iterator[str | None]) -> str | list[str]:
    """The distinct known values in order: alone, or as a list where there are several."""
    distinct = list(dict.fromkeys(value for value in values if value))
    return distinct[0] if len(distinct) == 1 else distinct


def _clean(labels: Labels) -> list[str | None]:
    """Labels come from firmware: only printable characters of them get into a line of text."""
    return [label and "".join(c if c.isprintable() else "?" for c in label.strip()) for label in labels]


def _hex(value: int | None) -> str | None:
    return f"{value:#x}" if value else None


def _decimal(value: int | None) -> str | None:
    return None if value is None else str(value)
