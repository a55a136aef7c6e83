# SPDX-License-Identifier: GPL-2.0-only
"""Scenarios declare themselves here; host and guest read the same list."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Callable

SCENARIOS = Path(__file__).resolve().parent.parent / "scenarios"


class Skip(Exception):
    """Raised by a scenario that makes no sense on this system, with the reason."""


class Scenario(NamedTuple):
    """One test that runs inside the guest, and what it needs."""

    name: str
    run: Callable[..., None]
    limit: float
    """Seconds after which it is killed and has failed."""
    project: bool
    """Needs the project installed in the guest."""
    device: bool
    """Is about /dev/mcelog itself; where the kernel has none it is skipped."""
    tracefs: bool
    """Is about the trace event itself; where the kernel has the device it is skipped."""
    boots: int
    """The guest is restarted after each call but the last; run(boot) is called with 0, 1, …"""
    alone: bool
    """Gets a boot of its own."""
    cpu: str | None
    """Another `-cpu` than the system's."""
    append: str
    """More words for the kernel command line."""
    qemu: tuple[str, ...]
    """More options for QEMU."""
    package: bool
    """Needs the Debian package, in the share, and a guest where nothing of the project is installed."""

    @property
    def machine(self) -> tuple[str | None, str, tuple[str, ...], str, bool]:
        """Scenarios with the same value can share one boot."""
        own = self.name if self.alone or self.boots > 1 else ""
        return self.cpu, self.append, self.qemu, own, self.package


_registered: dict[str, Scenario] = {}


def scenario(
    *,
    limit: float = 60,
    project: bool = True,
    device: bool = False,
    tracefs: bool = False,
    boots: int = 1,
    alone: bool = False,
    cpu: str | None = None,
    append: str = "",
    qemu: tuple[str, ...] = (),
    package: bool = False,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Register the decorated function as scenario MODULE.FUNCTION."""

    def register(run: Callable[..., None]) -> Callable[..., None]:
        name = f"{run.__module__.rpartition('.')[2]}.{run.__name__}"
        needs = (project and not package, device, tracefs)
        _registered[name] = Scenario(name, run, limit, *needs, boots, alone, cpu, append, qemu, package)
        return run

    return register


def scenarios() -> dict[str, Scenario]:
    """All scenarios, smoke tests first, else in the order of their files and their definition."""
    for path in sorted(SCENARIOS.glob("*.py"), key=lambda path: (path.stem != "smoke", path.stem)):
        if path.stem != "__init__":
            importlib.import_module(f"scenarios.{path.stem}")
    return dict(_registered)
