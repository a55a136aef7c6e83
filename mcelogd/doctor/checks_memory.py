# SPDX-License-Identifier: GPL-2.0-only
"""Whether pages can be taken out of use, and DIMMs be named. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.dimms.check import NOT_MAPPED
from mcelogd.doctor.facts import Reading
from mcelogd.doctor.finding import cut, not_applicable, ok, unknown, warning

if TYPE_CHECKING:
    from mcelogd.doctor.facts import Facts
    from mcelogd.doctor.finding import Finding

FILES = "/sys/devices/system/memory"
ACTIONS = {"soft": ("soft",), "hard": ("hard",), "soft-then-hard": ("soft", "hard")}
"""What memory-ce-action needs."""

MOST_PROBLEMS = 5


def page_offlining(facts: Facts) -> list[Finding]:
    """Whether the kernel can do what mcelog.conf asks for."""
    memory, action = facts.memory, facts.chosen.page_action
    found = []
    if memory.recovery.number == 0:
        found.append(
            warning(
                "vm.memory_failure_recovery is 0",
                "the kernel panics at an uncorrected error in memory instead of giving up the page",
                "sysctl -w vm.memory_failure_recovery=1, and look for it in /etc/sysctl.d",
            )
        )
    needed = ACTIONS.get(action, ())
    if "soft" in needed and memory.enable_soft.number == 0:
        found.append(
            warning(
                f"vm.enable_soft_offline is 0, but memory-ce-action = {action}",
                "the kernel refuses to move pages with errors out of use",
                "sysctl -w vm.enable_soft_offline=1, and look for it in /etc/sysctl.d",
            )
        )
    readings = {"soft": memory.soft, "hard": memory.hard}
    for kind in needed:
        if readings[kind] is Reading.MISSING:
            found.append(
                warning(
                    f"{FILES}/{kind}_offline_page is not there, but memory-ce-action = {action}",
                    "pages with errors stay in use",
                    "use a kernel with CONFIG_MEMORY_FAILURE=y and CONFIG_MEMORY_HOTPLUG=y, "
                    f"or write memory-ce-action = account in {cut(facts.chosen.file)}",
                )
            )
    if found:
        return found
    if not needed:
        return [not_applicable(f"pages are not to be taken out of use: memory-ce-action = {action}")]
    return [ok(f"the kernel can do what memory-ce-action = {action} asks for")]


def smbios(facts: Facts) -> list[Finding]:
    """How far the firmware names DIMMs."""
    memory = facts.memory
    if memory.smbios is None:
        if memory.smbios_denied:
            return [unknown("SMBIOS may be read by root only")]
        return [
            warning(
                cut(memory.smbios_trouble) or "there is no SMBIOS table",
                "errors name a channel and a DIMM by number, and a DIMM that was replaced is not noticed",
                "name the DIMMs in /etc/mcelog/dimm-labels.conf, or give a table by dmi-table in mcelog.conf",
            )
        ]
    # Errors name channels, and addresses are needed by --dmi alone: most servers have no such table.
    faults = [problem for problem in memory.smbios if problem != NOT_MAPPED]
    if not faults:
        return [ok("SMBIOS names the DIMMs")]
    why = "such DIMMs are not named by their slot, or not followed when they are replaced"
    remedy = "name them in /etc/mcelog/dimm-labels.conf; mcelogctl replaced DIMM tells of a new one"
    return [warning(cut(problem), why, remedy) for problem in faults[:MOST_PROBLEMS]]
