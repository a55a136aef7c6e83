# SPDX-License-Identifier: GPL-2.0-only
"""Who takes errors before they are records: the firmware, and other parts of the kernel. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.doctor.checks_machine import GRUB
from mcelogd.doctor.facts import Reading
from mcelogd.doctor.finding import broken, cut, not_applicable, ok, unknown, warning
from mcelogd.doctor.parse import words_of

if TYPE_CHECKING:
    from mcelogd.doctor.facts import Facts
    from mcelogd.doctor.finding import Finding


def firmware_first(facts: Facts) -> list[Finding]:
    """Whether the firmware takes errors before the kernel sees them."""
    hest = facts.machine.hest
    if hest.reading is Reading.DENIED:
        return [unknown("/sys/firmware/acpi/tables/HEST may be read by root only")]
    if hest.reading is not Reading.THERE:
        return [ok("the firmware has no table of error sources (HEST): it leaves errors to the kernel")]
    if hest.firmware_first:
        return [
            warning(
                f"firmware first: the firmware keeps {' and '.join(hest.firmware_first)} to itself (HEST)",
                "errors and thresholds are the firmware's: the kernel hears what it passes on, "
                "and no mce= on the command line changes that",
                "switch off firmware-first (eMCA, WHEA) in the setup of the firmware; "
                "until then look into its event log: ipmitool sel elist",
            )
        ]
    if hest.damaged:
        why = "whether the firmware keeps errors to itself cannot be seen from it in full"
        return [
            warning("the firmware's table of error sources (HEST) is damaged", why, "update the firmware")
        ]
    generic = f", it reports by {hest.generic} sources of its own as well" if hest.generic else ""
    return [ok(f"the firmware leaves machine checks to the kernel (HEST){generic}")]


def ras_cec(facts: Facts) -> list[Finding]:
    """Whether the kernel's own collector of corrected errors is at work."""
    words = words_of(facts.machine.cmdline.text)
    config = facts.machine.config
    if "ras=cec_disable" in words:
        return [ok("the kernel's own collector of corrected errors is switched off (ras=cec_disable)")]
    if facts.sources.cec_directory or (config is not None and config.get("RAS_CEC") == "y"):
        why = "it takes corrected memory errors for itself, and off-lines pages without asking mcelog.conf"
        remedy = "add ras=cec_disable to " + GRUB
        if facts.uses_device:
            return [broken("RAS_CEC is active: such errors do not reach /dev/mcelog", why, remedy)]
        why = "the records arrive, but the kernel off-lines pages by itself, at two errors on Intel CPUs"
        return [warning("RAS_CEC is active", why, remedy)]
    if config is None:
        what = "whether the kernel has RAS_CEC is not known: no configuration of it was found"
        return [unknown(what, "grep CONFIG_RAS_CEC in the configuration that the kernel was built with")]
    return [ok("the kernel has no collector of corrected errors of its own (RAS_CEC)")]


def edac(facts: Facts) -> list[Finding]:
    """EDAC names DIMMs, which is welcome; old kernels kept what it had decoded."""
    controllers = facts.sources.edac
    if not controllers:
        return [not_applicable("no EDAC driver has found memory controllers")]
    what = f"EDAC watches {len(controllers)} memory controllers ({cut(', '.join(controllers))})"
    release = release_of(facts)
    if facts.uses_device and release is not None and release < (5, 8):
        return [
            warning(
                what,
                "before Linux 5.8 an EDAC driver keeps the errors that it decodes from /dev/mcelog",
                "echo blacklist NAME > /etc/modprobe.d/mcelog.conf, with the driver's NAME as in lsmod",
            )
        ]
    return [ok(what)]


def release_of(facts: Facts) -> tuple[int, int] | None:
    """`(6, 12)` of the running kernel; None if it does not say so."""
    parts = facts.machine.release.split(".")
    if len(parts) < 2:
        return None
    digits = ["".join(char for char in part if char.isascii() and char.isdigit()) for part in parts[:2]]
    return (int(digits[0]), int(digits[1])) if all(digits) and max(map(len, digits)) < 5 else None
