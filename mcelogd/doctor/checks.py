# SPDX-License-Identifier: GPL-2.0-only
"""The links of the chain from the CPU to the journal, in their order. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd.doctor import (
    checks_machine,
    checks_memory,
    checks_service,
    checks_sources,
    checks_surroundings,
    checks_takers,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.doctor.facts import Facts
    from mcelogd.doctor.finding import Finding


class Check(NamedTuple):
    """A link: how it is called, and what looks at it; there is always a finding."""

    name: str
    look: Callable[[Facts], list[Finding]]


CHECKS = (
    Check("cpu", checks_machine.cpu),
    Check("virtualisation", checks_machine.virtualisation),
    Check("command-line", checks_machine.command_line),
    Check("kernel-config", checks_machine.kernel_config),
    Check("device", checks_sources.device),
    Check("tracefs", checks_sources.tracefs),
    Check("ras-cec", checks_takers.ras_cec),
    Check("edac", checks_takers.edac),
    Check("consumers", checks_sources.consumers),
    Check("firmware-first", checks_takers.firmware_first),
    Check("kernel-log", checks_sources.kernel_log),
    Check("machine-checks", checks_machine.settings),
    Check("page-offlining", checks_memory.page_offlining),
    Check("smbios", checks_memory.smbios),
    Check("polkit", checks_surroundings.polkit),
    Check("dbus", checks_surroundings.dbus),
    Check("journald", checks_surroundings.journald),
    Check("catalog", checks_surroundings.catalog),
    Check("triggers", checks_surroundings.triggers),
    Check("state", checks_service.state),
    Check("clock", checks_service.clock),
    Check("service", checks_service.service),
    Check("configuration", checks_service.configuration),
)


def examine(facts: Facts) -> list[Finding]:
    """All findings, in the order of the chain."""
    return [finding._replace(check=check.name) for check in CHECKS for finding in check.look(facts)]
