# SPDX-License-Identifier: GPL-2.0-only
"""Switches on the memory controller's extended log: which rank and DRAM device a corrected error was in.

Source: Intel SDM vol. 4, tables of Sandy Bridge EP, Ivy Bridge EP and Haswell
EP: MSR_ERROR_CONTROL, scope package, bit 1 "MemError Log Enable"; Linux
arch/x86/kernel/msr.c. Light, because it runs as a command of its own before
the service: that has no access to MSRs.
"""

from __future__ import annotations

import errno
import os
import sys
from typing import TYPE_CHECKING

from mcelogd.act.topology import online_cpus
from mcelogd.cpu import parse_cpuinfo

if TYPE_CHECKING:
    from mcelogd.cpu import CpuType

MSR_ERROR_CONTROL = 0x17F
MEM_ERROR_LOG_ENABLE = 1 << 1

CPU_TYPES = ("sandybridge-ep", "ivybridge-ep", "haswell-ep")
"""Names in cpu.py of the CPUs that have the bit."""

MSR_BYTES = 8
LARGEST = 65536
"""Bytes of a file that are looked at."""

_CANNOT = "cannot set MSR_ERROR_CONTROL"
_MODPROBE = "is the msr driver there (modprobe msr)?"
_REMEDIES = {
    errno.ENOENT: _MODPROBE,
    errno.ENXIO: _MODPROBE,
    errno.ENODEV: _MODPROBE,
    errno.EACCES: "it takes root",
    errno.EPERM: "it takes CAP_SYS_RAWIO, and a kernel with msr.allow_writes on",
    errno.EIO: "the CPU has no such register, as in a virtual machine",
}


class _MsrError(Exception):
    """One CPU's register could not be set; the message says why, without the CPU."""


def has_imc_log(cpu_type: CpuType) -> bool:
    """Whether the machine's CPU has the switch. Never the type that `--cpu` forces: this writes to
    the CPU that is there."""
    return cpu_type.name in CPU_TYPES


def enable(dev_root: str, sysfs_root: str, cpu_type: CpuType) -> list[str]:
    """Switch it on for every CPU that is online; what went wrong, a line each.

    CPUs without the switch are left alone, and so are registers where it is on:
    the kernel taints itself (S) at a write to an MSR, so none is made in vain.
    """
    if not has_imc_log(cpu_type):
        return []
    if mode := lockdown_mode(_read(f"{sysfs_root}/kernel/security/lockdown")):
        return [f"{_CANNOT}: the kernel is locked down ({mode}); DIMMs may stay unnamed in errors"]
    cpus = online_cpus(sysfs_root)
    if cpus is None:
        return [f"{_CANNOT}: {sysfs_root}/devices/system/cpu/online does not say which CPUs there are"]
    failed: dict[str, list[int]] = {}
    for cpu in cpus:
        try:
            _set_bit(f"{dev_root}/cpu/{cpu}/msr")
        except _MsrError as error:
            failed.setdefault(str(error), []).append(cpu)
    return [f"{_CANNOT} of CPU {format_cpus(numbers)}: {why}" for why, numbers in failed.items()]


def main(dev_root: str = "/dev", sysfs_root: str = "/sys", cpuinfo: str = "/proc/cpuinfo") -> int:
    """The command: enable() on this machine's CPU, problems to standard error; the exit status."""
    info = parse_cpuinfo(_read(cpuinfo))
    problems = enable(dev_root, sysfs_root, info.cpu_type) if info is not None else []
    for problem in problems:
        print(f"mcelog: {problem}", file=sys.stderr)
    return 1 if problems else 0


def lockdown_mode(text: str) -> str:
    """The mode in brackets of securityfs' `lockdown`, such as `integrity`; empty for none."""
    mode = text.partition("[")[2].partition("]")[0]
    return "" if mode == "none" else mode


def format_cpus(cpus: list[int]) -> str:
    """The numbers, in order, as a list such as `0-3,8`."""
    ranges: list[list[int]] = []
    for cpu in cpus:
        if ranges and ranges[-1][-1] == cpu - 1:
            ranges[-1][1:] = [cpu]
        else:
            ranges.append([cpu])
    return ",".join("-".join(map(str, ends)) for ends in ranges)


def _set_bit(path: str) -> None:
    """Set the bit, and see that it stays; where it is set already nothing is written."""
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    except OSError as error:
        raise _MsrError(_explain(error)) from error
    try:
        value = _value(descriptor)
        if value & MEM_ERROR_LOG_ENABLE:
            return
        data = (value | MEM_ERROR_LOG_ENABLE).to_bytes(MSR_BYTES, "little")
        written = os.pwrite(descriptor, data, MSR_ERROR_CONTROL)
        if written != MSR_BYTES or not _value(descriptor) & MEM_ERROR_LOG_ENABLE:
            raise _MsrError("the bit does not stay set, as in a virtual machine")
    except OSError as error:
        raise _MsrError(_explain(error)) from error
    finally:
        os.close(descriptor)


def _value(descriptor: int) -> int:
    data = os.pread(descriptor, MSR_BYTES, MSR_ERROR_CONTROL)
    if len(data) != MSR_BYTES:
        raise _MsrError("it cannot be read; this is no MSR device")
    return int.from_bytes(data, "little")


def _explain(error: OSError) -> str:
    remedy = _REMEDIES.get(error.errno or 0)
    return f"{error.strerror}; {remedy}" if remedy else str(error.strerror)


def _read(path: str) -> str:
    """The file's text; empty where there is none, as without securityfs."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, LARGEST).decode("ascii", "replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
