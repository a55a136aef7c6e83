# SPDX-License-Identifier: GPL-2.0-only
"""CPU, firmware and kernel: is there anything that records machine checks? Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.cpu import is_known, parse_cpuinfo
from mcelogd.doctor.finding import broken, cut, ok, unknown, warning
from mcelogd.doctor.parse import words_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcelogd.doctor.facts import Facts
    from mcelogd.doctor.finding import Finding

GRUB = "GRUB_CMDLINE_LINUX in /etc/default/grub, then update-grub and reboot"
MACHINECHECK = "/sys/devices/system/machinecheck"


def cpu(facts: Facts) -> list[Finding]:
    """Whether the CPU has a machine check architecture, and whether we decode its records in full."""
    text = facts.machine.cpuinfo
    info = parse_cpuinfo(text.text) if text.is_there else None
    if info is None:
        return [
            unknown("/proc/cpuinfo does not say which CPU this is", "mount /proc; or this is no x86 machine")
        ]
    title = f"{info.cpu_type.title} (family {info.family}, model {info.model})"
    flags = _flags(text.text)
    lacking = [flag for flag in ("mce", "mca") if flag not in flags]
    if lacking:
        return [
            broken(
                f"{title} does not report the CPUID flag {' and '.join(lacking)}",
                "without machine check architecture the CPU records no errors",
                "on a virtual machine: give it these CPU flags; on hardware: remove nomce and mce=off from "
                + GRUB,
            )
        ]
    if not is_known(info.cpu_type):
        return [ok(f"{title}: its records are decoded by what all CPUs of its vendor have in common")]
    return [ok(f"{title}, with MCE and MCA")]


def _flags(cpuinfo: str) -> set[str]:
    lines = (line.partition(":") for line in cpuinfo.splitlines())
    return next((set(value.split()) for name, _, value in lines if name.strip() == "flags"), set())


def virtualisation(facts: Facts) -> list[Finding]:
    """Where the errors of the hardware are not ours to see."""
    if facts.machine.container:
        return [
            warning(
                f"this is a container ({cut(facts.machine.container)})",
                "machine checks are the host's; a record read in here would be missing there",
                "run mcelog on the host",
            )
        ]
    cpuinfo = facts.machine.cpuinfo
    if not cpuinfo.is_there:
        return [unknown("/proc/cpuinfo does not say whether this is a virtual machine", "mount /proc")]
    if "hypervisor" in _flags(cpuinfo.text):
        name = cut(facts.machine.hypervisor) or "of unknown make"
        return [
            warning(
                f"this is a virtual machine ({name})",
                "it sees only what the hypervisor passes on, and corrected errors are not passed on",
                "run mcelog on the host as well",
            )
        ]
    return [ok("no virtual machine, no container")]


_OFF = "remove it from " + GRUB
_WORDS = {
    "nomce": (broken, "the kernel does not look for machine checks at all"),
    "mce=off": (broken, "the kernel does not look for machine checks at all"),
    "mce=ignore_ce": (broken, "the kernel neither polls for corrected errors nor hears of them"),
    "mce=dont_log_ce": (broken, "the kernel clears corrected errors and tells nobody"),
    "mce=no_cmci": (warning, "corrected errors are found by polling only, minutes later, and some are lost"),
    "mce=nobootlog": (warning, "what the CPU kept over a crash, to be told after the reboot, is thrown away"),
}


def command_line(facts: Facts) -> list[Finding]:
    """Whether somebody told the kernel not to record."""
    cmdline = facts.machine.cmdline
    if not cmdline.is_there:
        return [unknown("/proc/cmdline cannot be read", "mount /proc")]
    said = []
    for word in words_of(cmdline.text):
        name, equals, values = word.partition("=")
        said += [f"mce={value}" for value in values.split(",")] if name == "mce" and equals else [word]
    found = [
        _WORDS[word][0](f"{word} is on the kernel command line", _WORDS[word][1], _OFF)
        for word in dict.fromkeys(said)
        if word in _WORDS
    ]
    return found or [ok("nothing on it that keeps machine checks from being recorded")]


def kernel_config(facts: Facts) -> list[Finding]:
    """Whether this kernel was built to record machine checks, and to tell of them."""
    config = facts.machine.config
    if config is None:
        release = cut(facts.machine.release) or "$(uname -r)"
        return [
            unknown(
                f"no configuration of the kernel {release} was found",
                f"install /boot/config-{release}, or use a kernel with CONFIG_IKCONFIG_PROC",
            )
        ]
    where = cut(facts.machine.config_file)
    if config.get("X86_MCE") != "y":
        why = "this kernel cannot record machine checks"
        return [broken(f"CONFIG_X86_MCE is not set ({where})", why, _other_kernel("CONFIG_X86_MCE=y"))]
    found = [*_vendor(facts, config, where), *_ways_out(config, where)]
    return found or [ok(f"built to record machine checks ({where})")]


def _vendor(facts: Facts, config: Mapping[str, str], where: str) -> list[Finding]:
    info = parse_cpuinfo(facts.machine.cpuinfo.text)
    vendor = info.cpu_type.vendor if info is not None else None
    option = {0: "X86_MCE_INTEL", 2: "X86_MCE_AMD"}.get(-1 if vendor is None else int(vendor))
    if option is None or config.get(option) == "y":
        return []
    why = "without it corrected errors are found by polling only, and banks of their own kind not at all"
    return [warning(f"CONFIG_{option} is not set ({where})", why, _other_kernel(f"CONFIG_{option}=y"))]


def _ways_out(config: Mapping[str, str], where: str) -> list[Finding]:
    if config.get("X86_MCELOG_LEGACY") == "y" or config.get("TRACING") == "y":
        return []
    why = "records can leave this kernel neither by /dev/mcelog nor by a trace event"
    return [
        broken(
            f"neither CONFIG_X86_MCELOG_LEGACY nor CONFIG_TRACING is set ({where})",
            why,
            _other_kernel("CONFIG_X86_MCELOG_LEGACY=y, or CONFIG_TRACING=y by CONFIG_ENABLE_DEFAULT_TRACERS"),
        )
    ]


def _other_kernel(options: str) -> str:
    return f"install a kernel with {options}"


_SHOULD_BE_ZERO = {
    "ignore_ce": "the kernel neither polls for corrected errors nor hears of them",
    "dont_log_ce": "the kernel clears corrected errors and tells nobody",
}


def settings(facts: Facts) -> list[Finding]:
    """What was switched off while the kernel runs."""
    cpus = facts.machine.machinecheck
    if cpus is None:
        if not facts.machine.cmdline.is_there:
            return [unknown(f"{MACHINECHECK} is not there", "mount /sys")]
        return [
            broken(
                f"{MACHINECHECK} has no CPUs in it",
                "the kernel does not look for machine checks",
                "remove nomce and mce=off from " + GRUB + "; else use a kernel with CONFIG_X86_MCE=y",
            )
        ]
    if not cpus:
        return [unknown(f"{MACHINECHECK} cannot be read")]
    found = [
        broken(f"{name} is {cut(value)}{_of_which(cpus, name)}", why, _write(0, name))
        for name, why in _SHOULD_BE_ZERO.items()
        if (value := _worst(cpus, name)) not in ("", "0")
    ]
    found += [*_polling(cpus), *_trigger(cpus), *_banks(cpus), *_differing(cpus)]
    return found or [ok(f"nothing is switched off on {len(cpus)} CPUs")]


def _write(value: int, name: str) -> str:
    return f"for f in {MACHINECHECK}/machinecheck*/{name}; do echo {value} > $f; done"


def _worst(cpus: Mapping[int, Mapping[str, str]], name: str) -> str:
    """The value that is not 0, if one CPU has such; empty if there is no such setting."""
    values = [settings[name] for settings in cpus.values() if name in settings]
    return next((value for value in values if value != "0"), values[0] if values else "")


def _of_which(cpus: Mapping[int, Mapping[str, str]], name: str) -> str:
    off = [number for number, settings in cpus.items() if settings.get(name, "0") != "0"]
    return "" if len(off) == len(cpus) else f" on CPU {', '.join(map(str, off[:8]))}"


def _polling(cpus: Mapping[int, Mapping[str, str]]) -> list[Finding]:
    by_poll_only = _worst(cpus, "cmci_disabled") not in ("", "0")
    zero = any(settings.get("check_interval") == "0" for settings in cpus.values())
    if zero and by_poll_only:
        why = "corrected errors are neither polled for, nor do they interrupt"
        return [broken("check_interval is 0 and cmci_disabled is 1", why, _write(300, "check_interval"))]
    if zero:
        why = "corrected errors that do not interrupt by themselves are never found"
        return [warning("check_interval is 0: the kernel does not poll", why, _write(300, "check_interval"))]
    if by_poll_only:
        why = "corrected errors are found by polling only, minutes later, and some are lost"
        return [warning("cmci_disabled is 1", why, _write(0, "cmci_disabled"))]
    return []


def _trigger(cpus: Mapping[int, Mapping[str, str]]) -> list[Finding]:
    program = next((value for one in cpus.values() if (value := one.get("trigger", "").strip())), "")
    if not program:
        return []
    return [
        warning(
            f"the kernel runs {cut(program)} at each machine check (trigger)",
            "a program started by the kernel takes records away from the service",
            f"echo > {MACHINECHECK}/machinecheck0/trigger",
        )
    ]


def _banks(cpus: Mapping[int, Mapping[str, str]]) -> list[Finding]:
    off = sorted(
        {name for settings in cpus.values() for name, value in settings.items() if _is_off(name, value)}
    )
    if not off:
        return []
    first = f"{MACHINECHECK}/machinecheck*/{off[0]}"
    return [
        warning(
            f"{cut(', '.join(off))} set to 0",
            "errors of these banks are not reported",
            f"for f in {first}; do echo ffffffffffffffff > $f; done, and so for each; a reboot does it, too",
        )
    ]


def _is_off(name: str, value: str) -> bool:
    return name.startswith("bank") and value in ("0", "0x0")


def _differing(cpus: Mapping[int, Mapping[str, str]]) -> list[Finding]:
    names = ("check_interval", "ignore_ce", "dont_log_ce", "cmci_disabled")
    odd = [name for name in names if len({settings.get(name, "") for settings in cpus.values()}) > 1]
    odd = [name for name in odd if name not in _SHOULD_BE_ZERO]
    if not odd:
        return []
    why = "CPUs that are set differently find errors at different times, or not at all"
    remedy = f"write the same value to {odd[0]} of each CPU in {MACHINECHECK}"
    return [warning(f"{' and '.join(odd)} differs between CPUs", why, remedy)]
