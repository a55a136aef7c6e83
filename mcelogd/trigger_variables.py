# SPDX-License-Identifier: GPL-2.0-only
"""The variables a trigger is told what happened by. Pure.

Names, values and formats are those of mcelog v208, because scripts written
for it read them (mcelog.triggers(5)); what we add begins with `MCELOG_`.
Variables that are None are left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from mcelogd.account.memory import ANY
from mcelogd.account.text import location_of, seen

if TYPE_CHECKING:
    from mcelogd.account.cores import CoreCrossing, CoreErrors
    from mcelogd.account.memory import Counter, MemoryErrors
    from mcelogd.account.pages import PageCrossing, PageErrors
    from mcelogd.event import BusError, CacheUnit, Event, PciAddress
    from mcelogd.rate import Rate

    Variables = dict[str, object]

NOT_KNOWN = "unknown"
"""AFFECTED_CPUS where it is not known which CPUs share the cache."""

LONGEST = 64 * 1024
"""Characters of a value. A longer AFFECTED_CPUS is not known at all: its last number must not be cut."""

LONGEST_NAME = 256
"""Characters of a DIMM's name."""

_CPUS = re.compile(r"[0-9]{1,7}(?: [0-9]{1,7})*")

_SHELL = str.maketrans(dict.fromkeys("`$\\\"';&|<>*!~{}^", "_"))
"""Names of DIMMs come from firmware, and scripts are careless: `ssh host "logger $LOCATION"`."""


def clean(value: object) -> str:
    """One line of printable characters."""
    return "".join(c if c.isprintable() else "?" for c in str(value)[:LONGEST])


def level(
    counter: Counter | CoreErrors | PageErrors, rate: Rate, message: str, time: int | None
) -> Variables:
    """What crossed a threshold. THRESHOLD_COUNT is what that left in the bucket: 0, as it is emptied."""
    threshold = seen(counter.bucket, rate)
    return {
        "THRESHOLD": threshold,
        "TOTALCOUNT": counter.total,
        "LASTEVENT": time or None,
        "AGETIME": rate.agetime,
        "MESSAGE": f"{message}: {threshold}",
        "THRESHOLD_COUNT": counter.bucket.count,
    }


def place(errors: MemoryErrors) -> Variables:
    """Which DIMM or socket, and all its errors."""
    socket, channel, dimm = errors.key
    return {
        "LOCATION": location_of(errors)[: 3 * LONGEST_NAME].translate(_SHELL),
        "DMI_LOCATION": _name(errors.label_location),
        "DMI_NAME": _name(errors.label),
        "DIMM": None if dimm == ANY else dimm,
        "CHANNEL": None if channel == ANY else channel,
        "SOCKETID": socket,
        "CECOUNT": errors.corrected.total,
        "UCCOUNT": errors.uncorrected.total,
    }


def page(crossing: PageCrossing, errors: MemoryErrors | None, message: str) -> Variables:
    """A page: TOTALCOUNT is its own, CECOUNT and UCCOUNT are its DIMM's."""
    one = crossing.page
    where = {"LOCATION": "SOCKET:? CHANNEL:? DIMM:? []"} if errors is None else place(errors)
    ours = {"MCELOG_PAGE": f"{one.address:#x}", "MCELOG_PAGE_STATE": one.state.value}
    return {**level(one, crossing.rate, message, crossing.time), **where, **ours}


def core(crossing: CoreCrossing) -> Variables:
    """A CPU with too many corrected errors."""
    errors = crossing.errors
    socket = None if errors.key.socket == ANY else errors.key.socket
    where = _cpu_name(errors.key.cpu, socket)
    return {
        **level(errors, crossing.rate, f"corrected errors of {where} exceed threshold", crossing.time),
        "LOCATION": where,
        "SOCKETID": socket,
        "CPU": errors.key.cpu,
        "CECOUNT": errors.total,
        "MCELOG_KIND": crossing.kind.value,
    }


def cache(event: Event, unit: CacheUnit, affected_cpus: str) -> Variables:
    """A cache that the CPU calls worn. LOCATION is not among them, as in v208."""
    said = f"has large number of corrected cache errors in {unit.level_name} {unit.type_name}"
    is_list = len(affected_cpus) <= LONGEST and _CPUS.fullmatch(affected_cpus)
    return {
        **_cpu(event, said),
        "LOCATION": None,
        "LEVEL": unit.level,
        "TYPE": unit.type_name,
        "AFFECTED_CPUS": affected_cpus if is_list else NOT_KNOWN,
    }


def bus(event: Event, error: BusError) -> Variables:
    """An error on a bus or interconnect."""
    return {
        **_cpu(event, f"received Bus and Interconnect Errors in {error.transaction}"),
        "LEVEL": error.level,
        "PARTICIPATION": error.participation,
        "REQUEST": error.request,
        "ORIGIN": error.transaction,
        "TIMEOUT": error.timeout,
    }


def iomca(event: Event, port: PciAddress) -> Variables:
    """An I/O error that a PCI root port reported."""
    return {
        **_cpu(event, f"received IO MCA Errors from {port}"),
        "SEG": f"{port.segment:x}",
        "BUS": f"{port.bus:02x}",
        "DEVICE": f"{port.device:02x}",
        "FUNCTION": f"{port.function:x}",
    }


def unknown(event: Event) -> Variables:
    """The registers of an error of no other class."""
    record = event.record
    return {
        **_cpu(event, "received unknown error"),
        "STATUS": f"{record.status:x}",
        "MISC": f"{record.misc:x}",
        "ADDR": f"{record.addr:x}",
        "MCGSTATUS": f"{record.mcgstatus:x}",
        "MCGCAP": f"{record.mcgcap or 0:x}",
    }


def _cpu(event: Event, said: str) -> Variables:
    cpu, socket = event.record.cpu, event.record.socketid
    where = _cpu_name(cpu, socket)
    return {"LOCATION": where, "SOCKETID": socket, "MESSAGE": f"{where} {said}", "CPU": cpu}


def _cpu_name(cpu: int, socket: int | None) -> str:
    return f"CPU {cpu}" + ("" if socket is None else f" on socket {socket}")


def _name(name: str | None) -> str | None:
    """A DIMM's name without what would make a careless shell do something."""
    return None if name is None else name[:LONGEST_NAME].translate(_SHELL)
