# SPDX-License-Identifier: GPL-2.0-only
"""Which CPUs there are, what core and socket each is of, and which of them share a cache.

Source: Linux Documentation/ABI/testing/sysfs-devices-system-cpu and
Documentation/admin-guide/cputopology.rst. Files are read anew each time: CPUs
come and go.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable

CPUS = "devices/system/cpu"

MOST_CPUS = 1 << 16
"""Numbers from here on are none: the largest kernels have 8192 CPUs."""

CACHE_TYPES = ("Instruction", "Data")
"""Names in sysfs by the number that TT of an MCA error code has; 2, generic, is any of them."""

UNIFIED = "Unified"


class Core(NamedTuple):
    """Where a CPU is: `physical_package_id` and `core_id`, which is unique in its package only."""

    package: int
    core: int


def online_cpus(sysfs_root: str) -> list[int] | None:
    """The CPUs the kernel runs on; None where sysfs does not say."""
    return parse_cpu_list(_read(Path(sysfs_root, CPUS, "online")))


def core_of(sysfs_root: str, cpu: int) -> Core | None:
    """The core of an online CPU; None where sysfs does not say."""
    topology = Path(sysfs_root, CPUS, f"cpu{cpu}", "topology")
    package, core = _number(topology / "physical_package_id"), _number(topology / "core_id")
    return None if package is None or core is None else Core(package, core)


def affected_cpus(sysfs_root: str, cpu: int, level: int, type_number: int | None) -> list[int] | None:
    """The CPUs that share a cache of `cpu`, itself included; None where sysfs does not say.

    `level` and `type_number` are those of event.CacheUnit: TT of an MCA error
    code, None where the code has none. A unified cache is of every type.
    """
    caches = Path(sysfs_root, CPUS, f"cpu{cpu}", "cache")
    wanted = CACHE_TYPES[type_number : type_number + 1] if type_number in (0, 1) else CACHE_TYPES
    for index in _indices(caches):
        if _number(index / "level") == level and _read(index / "type") in (*wanted, UNIFIED):
            return _shared(index)
    return None


def parse_cpu_list(text: str) -> list[int] | None:
    """CPU numbers of a list such as `0-3,8`, in order; None for what is no list, or an empty one."""
    cpus: set[int] = set()
    for part in text.split(","):
        first, dash, last = part.strip().partition("-")
        low, high = _cpu(first), _cpu(last if dash else first)
        if low is None or high is None:
            return None
        cpus.update(range(low, high + 1))
    return sorted(cpus) or None


def parse_cpu_map(text: str) -> list[int] | None:
    """CPU numbers of a map such as `00000000,0000010f`; None for what is no map, or an empty one."""
    digits = text.replace(",", "")
    if not (digits.isascii() and digits.isalnum() and len(digits) <= MOST_CPUS // 4):
        return None
    try:
        bits = int(digits, 16)
    except ValueError:
        return None
    return [cpu for cpu in range(bits.bit_length()) if bits >> cpu & 1] or None


def _shared(index: Path) -> list[int] | None:
    return parse_cpu_list(_read(index / "shared_cpu_list")) or parse_cpu_map(_read(index / "shared_cpu_map"))


def _indices(caches: Path) -> Iterable[Path]:
    try:
        return sorted(caches.glob("index*"))
    except OSError:
        return ()


def _cpu(text: str) -> int | None:
    if not (text.isascii() and text.isdigit() and len(text) <= len(str(MOST_CPUS))):
        return None
    return int(text) if int(text) < MOST_CPUS else None


def _number(path: Path) -> int | None:
    """Some virtual machines have -1 for what they do not know."""
    text = _read(path)
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


def _read(path: Path) -> str:
    """A line of sysfs; empty for a file that is not there, as of a CPU that is offline."""
    try:
        return path.read_text(encoding="ascii", errors="replace").strip()
    except OSError:
        return ""
