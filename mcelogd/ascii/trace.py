# SPDX-License-Identifier: GPL-2.0-only
"""The tracepoint `mce_record` as text: the kernel's own line, and rasdaemon's.

One line is one record. Sources: Linux include/trace/events/mce.h (TP_printk;
the labels changed in 6.10 and 6.13), rasdaemon's ras-mce-handler.c
(report_mce_event).
"""

from __future__ import annotations

import re
from typing import NamedTuple

from mcelogd.ascii.fields import MAX, number
from mcelogd.cpu import Vendor
from mcelogd.decode import bits


class Traced(NamedTuple):
    """What a line says: fields of MceRecord and `cpu`; the `--cpu` name of a CPU that has no cpuid."""

    values: dict[str, int]
    bad: bool = False
    cpu_name: str = ""


_KERNEL = {
    "CPU": (("cpu", 10),),
    "MCGc/s": (("mcgcap", 16), ("mcgstatus", 16)),
    "IPID": (("ipid", 16),),
    "ADDR/MISC/SYND": (("addr", 16), ("misc", 16), ("synd", 16)),
    "ADDR/MISC": (("addr", 16), ("misc", 16)),
    "ADDR": (("addr", 16),),
    "MISC": (("misc", 16),),
    "SYND": (("synd", 16),),
    "RIP": (("cs", 16), ("ip", 16)),
    "TSC": (("tsc", 16),),
    "PPIN": (("ppin", 16),),
    "PROCESSOR": (("cpuvendor", 10), ("cpuid", 16)),
    "vendor": (("cpuvendor", 10),),
    "CPUID": (("cpuid", 16),),
    "TIME": (("time", 10),),
    "time": (("time", 10),),
    "SOCKET": (("socketid", 10),),
    "socket": (("socketid", 10),),
    "APIC": (("apicid", 16),),
    "microcode": (("microcode", 16),),
}
_BANK = re.compile(r"MC(\d{1,10})$", re.ASCII)
_BETWEEN = re.compile(r"[/:]")
_NO_BRACKETS = str.maketrans("", "", "<>")

# In rasdaemon's words a blank follows the `=` of registers only.
_REGISTER = re.compile(
    r"[ ,](status|cpu|socketid|ip|cs|misc|addr|synd|ipid|mcgstatus|mcgcap|apicid|ppin|microcode)"
    r"= (\w{1,40})",
    re.ASCII,
)
_DECIMAL = ("cpu", "socketid")
_HEX_BANK = re.compile(r" bank=([\da-f]{1,8}),", re.ASCII)
_DECIMAL_BANK = re.compile(r"\(bank=(\d{1,10})\)", re.ASCII)
_MCGSTATUS = re.compile(r"[ ,]mcgstatus=(\d{1,20})(?!\d)", re.ASCII)
_CPU_TYPE = re.compile(r", cpu_type= ([^,]{1,100}),")
_TIME = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d [+-]\d{4}", re.ASCII)

RASDAEMON_CPUS = {
    "generic CPU": "generic",
    "Intel PPro/P2/P3/old Xeon": "p6old",
    "Intel Core": "core2",
    "AMD K8 and derivates": "k8",
    "Intel P4": "p4",
    'Intel Xeon 5500 series / Core i3/5/7 ("Nehalem/Westmere")': "nehalem",
    "Intel Xeon 7400 series": "dunnington",
    "Intel Xeon 7100 series": "tulsa",
    "Intel generic architectural MCA": "intel",
    "Intel Xeon 7500 series": "xeon75xx",
    "Sandy Bridge": "sandybridge",
    "Sandy Bridge EP": "sandybridge-ep",
    "Ivy Bridge": "ivybridge",
    "Ivy Bridge EP/EX": "ivybridge-ep",
    "Haswell": "haswell",
    "Intel Xeon v3 (Haswell) EP/EX": "haswell-ep",
    "Broadwell": "broadwell",
    "Broadwell DE": "broadwell-d",
    "Broadwell EP/EX": "broadwell-ep",
    "Knights Landing": "knightslanding",
    "Knights Mill": "knightsmill",
    "Skylake server": "skylake_server",
    "AMD Scalable MCA": "zen",
    "Hygon Family 18h Moksha": "hygon",
    "Icelake server": "icelake_server",
    "Icelake server D Family": "icelake-d",
    "Tremont microserver": "snowridge",
    "Sapphirerapids server": "sapphirerapids_server",
    "Emeraldrapids server": "emeraldrapids_server",
    "Graniterapids server": "graniterapids",
    "Graniterapids server D Family": "graniterapids",
    "Sierraforest server": "sierraforest",
    "Clearwaterforest server": "clearwaterforest",
    "Diamondrapids server": "diamond_rapids",
    "Zhaoxin generic CPU": "zhaoxin",
    "Zhaoxin KH-50000 server": "kh-50000",
}
"""rasdaemon's `cpu_type` -> what `--cpu` calls it. Its lines have no cpuid."""

_VENDORS = {"AMD": Vendor.AMD, "Hygon": Vendor.HYGON, "Zhaoxin": Vendor.ZHAOXIN}


def read(text: str) -> Traced | None:
    """The record in the text behind `mce_record:`; None where it has no STATUS."""
    text = text.strip()
    traced = _kernel(text) if text.startswith("CPU: ") else _rasdaemon(" " + text)
    return traced if "status" in traced.values else None


def _kernel(text: str) -> Traced:
    values: dict[str, int] = {}
    bad = False
    for part in text.split(", "):
        key, _, value = part.partition(": ")
        bank = _BANK.match(key)
        if bank is not None:
            bad |= not _put(values, (("bank", 10), ("status", 16)), [bank[1], value])
        elif key in _KERNEL:
            bad |= not _put(values, _KERNEL[key], _BETWEEN.split(value.translate(_NO_BRACKETS)))
    return Traced(values, bad)


def _put(values: dict[str, int], fields: tuple[tuple[str, int], ...], words: list[str]) -> bool:
    """Add the numbers; False if they are not as many as the fields, or one does not fit."""
    fits = len(fields) == len(words)
    for (field, base), word in zip(fields, words, strict=False):
        value = number(word, base, MAX["extcpu" if field == "cpu" else field])
        if value is None:
            fits = False
        else:
            values.setdefault(field, value)
    return fits


def _rasdaemon(text: str) -> Traced:
    values: dict[str, int] = {}
    bad = False
    for field, word in _REGISTER.findall(text):
        bad |= not _put(values, ((field, 10 if field in _DECIMAL else 16),), [word])
    mcgstatus = _MCGSTATUS.search(text)
    if mcgstatus is not None:
        bad |= not _put(values, (("mcgstatus", 10),), [mcgstatus[1]])
    bank = _rasdaemon_bank(text)
    if bank is not None:
        bad |= not _put(values, (("bank", 10),), [str(bank)])
    time = _time(text)
    if time is not None:
        values["time"] = time
    title = _CPU_TYPE.search(text)
    if title is not None:
        values["cpuvendor"] = int(_VENDORS.get(title[1].split(None, 1)[0], Vendor.INTEL))
    return Traced(values, bad, RASDAEMON_CPUS.get(title[1], "") if title is not None else "")


def _rasdaemon_bank(text: str) -> int | None:
    if " THERMAL EVENT, " in text:
        return bits.THERMAL_BANK
    for pattern, base in ((_HEX_BANK, 16), (_DECIMAL_BANK, 10)):
        match = pattern.search(text)
        if match is not None:
            return int(match[1], base)
    return None


def _time(text: str) -> int | None:
    """Seconds since the epoch of the line's own date; rasdaemon prints the record's, to the second."""
    match = _TIME.search(text)
    if match is None:
        return None
    from datetime import datetime  # on use: too long a start-up for every other log

    try:
        seconds = int(datetime.strptime(match[0], "%Y-%m-%d %H:%M:%S %z").timestamp())
    except (ValueError, OverflowError):
        return None
    return seconds if seconds >= 0 else None
