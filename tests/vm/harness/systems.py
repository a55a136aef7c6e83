# SPDX-License-Identifier: GPL-2.0-only
"""The systems under test, one row each."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import NamedTuple

from harness.common import VmError

ICE_LAKE = "max,vendor=GenuineIntel,family=6,model=106,stepping=6"
ZEN_3 = "max,vendor=AuthenticAMD,family=25,model=1,stepping=1"

PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "polkitd", "udev", "kmod", "procps", "socat",
    "python3", "python3-systemd", "python3-dbus-next",
)  # fmt: skip
COLLECTING = ("python3-prometheus-client", "systemd-journal-remote", "nginx", "openssl")
"""For metrics and for events of a fleet, which do not depend on the kernel."""
WHEELS = ("cysystemd==2.0.5",)
"""Not in Debian; taken from the Python package index for the guest's Python."""


class System(NamedTuple):
    """One Debian to boot."""

    name: str
    suite: str
    python: str
    """Version of the guest's Python, for binary wheels."""
    kernel_source: str | None
    """Source package of a kernel built with kernel.config; None: the suite's stock kernel."""
    packages: tuple[str, ...] = PACKAGES
    backports: tuple[str, ...] = ()
    """Packages from the suite's backports."""
    wheels: tuple[str, ...] = WHEELS
    cpu: str = ICE_LAKE
    memory_mib: int = 2048
    disk_mib: int = 2048
    slowness: float = 1.5
    """What all time limits in the guest are multiplied with."""
    tested: tuple[str, ...] = ("*",)
    """Names of the scenarios that pytest runs there; `tools/vm run` runs any."""

    def tests(self, name: str) -> bool:
        return any(fnmatchcase(name, pattern) for pattern in self.tested)


KERNEL = ("linux-image-amd64", "linux-headers-amd64")
BUILDING = ("initramfs-tools", "gcc", "make")
"""What a kernel's own module is compiled with, and what boots it."""
STOCK_KERNEL = (*KERNEL, *BUILDING)

BY_TRACEFS: tuple[str, ...] = ("smoke.*", "tracefs.*")
"""What may differ by the kernel's ring buffers."""

EARLIER = (
    *BY_TRACEFS,
    "service.journal_fields",
    "service.client_counts",
    "service.pending_records_are_read",
    "dbus.everybody_hears_signals_without_addresses",
    "selftest.a_record_comes_out_of_the_journal",
)
"""The way of a record. All else of Debian 12 is tested with the other kernel, of this source on Debian 13."""

STABLE = (
    *BY_TRACEFS,
    "service.*",
    "selftest.*",
    "units.*",
    "dbus.*",
    "oneshot.*",
    "earlier.*",
    "fleet.*",
    "doctor.a_healthy_machine",
    "metrics.the_endpoint",
    "metrics.the_file_for_node_exporter",
    "durability.restart_under_load",
    "durability.killed_right_after_reading",
    "state.reboots",
    "package.install_upgrade_purge",
    "actions.page_is_soft_off_lined",
    "actions.as_shipped",
    "actions.cpu_with_a_worn_cache",
)
"""What may differ by the newer systemd, Python and kernel as well. The others run there, too, by hand."""

SYSTEMS = {
    system.name: system
    for system in (
        System(
            "debian12-mcelog",
            suite="bookworm",
            python="3.11",
            kernel_source="linux-source-6.1",
            packages=PACKAGES + COLLECTING,
        ),
        System(
            "debian12-stock",
            suite="bookworm",
            python="3.11",
            kernel_source=None,
            packages=PACKAGES + STOCK_KERNEL,
            disk_mib=4096,
            slowness=2.0,
            tested=EARLIER,
        ),
        System(
            "debian13",
            suite="trixie",
            python="3.13",
            kernel_source=None,
            packages=PACKAGES + COLLECTING + STOCK_KERNEL,
            disk_mib=4096,
            slowness=2.0,
            tested=STABLE,
        ),
        System(
            "debian13-backports",
            suite="trixie",
            python="3.13",
            kernel_source=None,
            packages=PACKAGES + BUILDING,
            backports=KERNEL,
            disk_mib=4096,
            slowness=2.0,
            tested=BY_TRACEFS,
        ),
    )
}
DEFAULT = "debian12-mcelog"
TESTED = ("debian12-mcelog", "debian13", "debian12-stock")
"""Those that pytest boots. Backports are not: what they hold changes from week to week."""


def system(name: str) -> System:
    try:
        return SYSTEMS[name]
    except KeyError:
        raise VmError(f"no system {name!r}; there is {', '.join(SYSTEMS)}") from None
