# SPDX-License-Identifier: GPL-2.0-only
"""Where records come from, and who else takes them. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.doctor.facts import Reading
from mcelogd.doctor.finding import broken, cut, not_applicable, ok, unknown, warning

if TYPE_CHECKING:
    from mcelogd.doctor.facts import Facts
    from mcelogd.doctor.finding import Finding

DEVICE = "/dev/mcelog"
OTHER_KERNEL = "use a kernel with CONFIG_X86_MCELOG_LEGACY=y"


def device(facts: Facts) -> list[Finding]:
    """Whether /dev/mcelog is there and ours alone."""
    sources = facts.sources
    if facts.chosen.source == "tracefs":
        return [
            not_applicable(f"{DEVICE} is not read: source = tracefs in {cut(facts.chosen.file)}"),
            *_taken(facts),
        ]
    if sources.device is Reading.MISSING:
        if facts.chosen.source == "auto":
            return [not_applicable(f"this kernel has no {DEVICE}: the trace event is read instead")]
        return [
            broken(
                f"{DEVICE} is not there, but {cut(facts.chosen.file)} says source = device",
                "without it no records are read",
                f"write source = auto in {cut(facts.chosen.file)}, or {OTHER_KERNEL}",
            )
        ]
    if not sources.is_character_device:
        why = "it is no device of the kernel, so nothing ever comes out of it"
        return [broken(f"{DEVICE} is a file of its own", why, f"rm {DEVICE}, and reboot or {OTHER_KERNEL}")]
    return _taken(facts) or [_held(facts)]


def _taken(facts: Facts) -> list[Finding]:
    """By others: who reads first has the record, and the other gets nothing."""
    holders = [one for one in facts.sources.processes if one.has_device]
    others = [one for one in holders if not one.is_ours]
    if len(holders) - len(others) > 1:
        others = holders
    return [
        broken(
            f"process {one.pid} ({cut(one.name)}) has {DEVICE} open",
            "each record goes to one reader only: what it reads is missing here",
            f"kill {one.pid}, and stop what started it: systemctl status {one.pid} tells",
        )
        for one in others
    ]


def _held(facts: Facts) -> Finding:
    if any(one.has_device for one in facts.sources.processes):
        return ok(f"{DEVICE} is there, and mcelog alone has it open")
    if facts.sources.hidden:
        return unknown(f"{DEVICE} is there; who has it open is for root to see")
    return ok(f"{DEVICE} is there, and nobody else has it open")


def tracefs(facts: Facts) -> list[Finding]:
    """Whether the kernel's trace event can be read, where it is needed."""
    trace, root = facts.sources.trace, facts.sources.trace.root
    if facts.uses_device:
        return [not_applicable(f"tracefs is not needed: {DEVICE} is read")]
    if "[confidentiality]" in facts.sources.lockdown.text:
        return [
            broken(
                "the kernel is locked down: confidentiality",
                "tracefs cannot be read by anybody then",
                "lockdown=integrity instead of lockdown=confidentiality on the kernel command line",
            )
        ]
    if Reading.DENIED in (trace.mounted, trace.event):
        return [unknown(f"{root} may be read by root only")]
    if trace.mounted is not Reading.THERE:
        why = "without it the kernel's trace event cannot be read"
        return [broken(f"tracefs is not mounted on {root}", why, f"mount -t tracefs tracefs {root}")]
    if trace.event is not Reading.THERE:
        return [
            broken(
                f"{root}/events/mce/mce_record is not there",
                f"this kernel tells of machine checks neither there nor by {DEVICE}",
                "use a kernel with CONFIG_X86_MCE=y and CONFIG_TRACING=y, and without mce=off",
            )
        ]
    return _instance(facts)


def _instance(facts: Facts) -> list[Finding]:
    trace = facts.sources.trace
    place = f"{trace.root}/instances/mcelog"
    restart = "systemctl restart mcelog"
    if trace.instance is not Reading.THERE:
        why = "mcelog makes it when it starts; until then the kernel keeps no records for it"
        return [
            warning(f"{place} is not there", why, "systemctl start mcelog; journalctl -u mcelog says more")
        ]
    found = []
    for name, text, wanted, why in (
        ("events/mce/mce_record/enable", trace.enabled, 1, "the kernel writes no records to it"),
        ("tracing_on", trace.tracing_on, 1, "the kernel writes no records to it"),
        ("buffer_percent", trace.buffer_percent, 0, "single records wait until the buffer fills"),
    ):
        if text.is_there and text.number != wanted:
            said = f"{place}/{name} is {cut(text.text.strip())}"
            remedy = f"echo {wanted} > {place}/{name}, or {restart}"
            found.append((broken if wanted else warning)(said, why, remedy))
    return found or [ok(f"the kernel's trace event goes to {place}")]


def consumers(facts: Facts) -> list[Finding]:
    """Other programs that read machine checks."""
    found = []
    for one in facts.sources.processes:
        if one.name == "rasdaemon":
            why = "two programs count the same errors, and both may take pages out of use"
            found.append(
                warning(f"rasdaemon is running (process {one.pid})", why, "systemctl disable --now rasdaemon")
            )
        elif one.name == "mcelog" and not one.is_ours:
            why = "the C program's and this one read the same records, and each gets some of them"
            remedy = f"kill {one.pid}; then remove its package, or mask its unit"
            found.append(broken(f"another mcelog is running (process {one.pid})", why, remedy))
    ours = [one for one in facts.sources.processes if one.is_ours]
    if len(ours) > 1:
        numbers = ", ".join(str(one.pid) for one in ours[:8])
        why = "each record goes to one of them only"
        remedy = "end those that are not mcelog.service: systemctl show -P MainPID mcelog"
        found.append(broken(f"mcelog runs {len(ours)} times (processes {numbers})", why, remedy))
    return found or [ok("no other program reads machine checks")]


def kernel_log(facts: Facts) -> list[Finding]:
    """What the kernel said of this boot, beside what was recorded of it."""
    said, recorded = facts.sources.kernel_lines, facts.sources.records
    if said is None:
        return [unknown("the kernel's log may be read by root only")]
    if not said:
        return [ok("the kernel has not told of any machine check since it was booted")]
    told = f"the kernel told of machine checks {said} times since it was booted"
    if recorded is None:
        return [unknown(f"{told}; what mcelog recorded is for root to see")]
    if recorded >= said:
        return [ok(f"{told}, mcelog recorded {recorded}")]
    return [
        warning(
            f"{told}, but mcelog recorded {recorded}",
            "somebody else took these records, or they were lost",
            "see the links above; those that are left: journalctl -k -b -g 'Hardware Error', "
            "and mcelog --ascii decodes them",
        )
    ]
