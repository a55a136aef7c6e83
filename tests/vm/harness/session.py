# SPDX-License-Identifier: GPL-2.0-only
"""Boots a system with a list of scenarios and returns a verdict for each, whatever happens."""

from __future__ import annotations

import json
import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from itertools import groupby
from typing import TYPE_CHECKING, NamedTuple

from guest.registry import scenarios
from harness import project, qemu, rootfs
from harness.cache import scratch_directory
from harness.common import PROJECT, VM, VmError, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

    from guest.registry import Scenario
    from harness.rootfs import Base
    from harness.systems import System

BOOT_LIMIT = 240.0
"""Seconds for booting, on top of what the scenarios may take; a boot takes about 20."""
SEATS = threading.BoundedSemaphore(os.cpu_count() or 1)
"""So many machines run at a time: an emulated one keeps about one processor busy."""
STRIKES = 2
"""So often a machine may die under the same scenario before that scenario has failed."""


class Result(NamedTuple):
    """What became of one scenario."""

    name: str
    verdict: str
    """passed, failed or skipped"""
    reason: str
    seconds: float
    log: str
    journal: str
    """What the guest's journal got meanwhile, as JSON lines."""
    console: str
    """The whole console of that boot."""

    @property
    def passed(self) -> bool:
        return self.verdict == "passed"


def failed(name: str, reason: str, console: str = "") -> Result:
    return Result(name, "failed", reason, 0.0, "", "", console)


class Parts(NamedTuple):
    """What every boot of one run shares."""

    system: System
    base: Base
    project: Path | None
    no_project: str
    """Why there is no project in the guest."""
    package: Path | None = None
    no_package: str = ""
    """Why there is no Debian package."""

    def lacking(self, scenario: Scenario) -> str:
        """Why the scenario cannot run; empty if it can."""
        if scenario.package:
            return "" if self.package else self.no_package
        return self.no_project if scenario.project and not self.project else ""


@contextmanager
def parts(system: System, *, with_project: bool, with_package: bool = False) -> Iterator[Parts]:
    """Build or find everything a boot needs."""
    base = rootfs.base(system)
    with scratch_directory() as scratch:
        stage, why = _tried(lambda: project.install(scratch / "stage", scratch), with_project)
        package, why_none = _tried(lambda: project.package(scratch / "dist", scratch), with_package)
        yield Parts(system, base, stage, why, package, why_none)


def _tried(make: Callable[[], Path], wanted: bool) -> tuple[Path | None, str]:
    """What was made, or why it could not be."""
    try:
        return (make() if wanted else None), ""
    except VmError as error:
        return None, str(error)


@contextmanager
def share(made: Parts, *, package: bool = False) -> Iterator[Path]:
    """The directory the guest sees as /vm: with the package, or with the project to be installed."""
    with scratch_directory() as path:
        (path / "results").mkdir()
        skip = shutil.ignore_patterns("__pycache__", ".*")
        for part in ("guest", "scenarios"):
            shutil.copytree(VM / part, path / "tests" / part, ignore=skip)
        for used in ("tools/inject-mce", "docs/fleet.md"):
            shutil.copy(PROJECT / used, path / "tests")
        shutil.copy(made.base.kernel.module, path)
        if peer := os.environ.get("MCELOG_C"):
            shutil.copy(peer, path / "peer")
        if package and made.package:
            shutil.copy(made.package, path / "mcelog.deb")
        elif made.project:
            # one file: hundreds of small ones over 9p take the guest longer than all the rest of its boot
            shutil.make_archive(str(path / "project"), "tar", made.project, owner="root", group="root")
        yield path


def run(
    system: System, names: Sequence[str], report: Callable[[Result], None] = lambda _: None
) -> list[Result]:
    """Run scenarios by name, in as few boots as they allow, some of these at the same time."""
    known = scenarios()
    chosen = [known[name] for name in names]
    results: list[Result] = []
    noting = threading.Lock()

    def note(result: Result) -> None:
        with noting:
            results.append(result)
            report(result)

    with_project = any(one.project for one in chosen)
    with_package = any(one.package for one in chosen)
    with parts(system, with_project=with_project, with_package=with_package) as made:
        for one in chosen:
            if why := made.lacking(one):
                note(failed(one.name, why))
        left = [one for one in chosen if not made.lacking(one)]
        order = list(dict.fromkeys(one.machine for one in left))
        left.sort(key=lambda one: order.index(one.machine))
        groups = [list(group) for _, group in groupby(left, key=lambda one: one.machine)]
        # the longest first: nothing has to be waited for at the end
        groups.sort(key=lambda group: -sum(one.limit for one in group))
        _run_all([_Boots(made, group, note).run for group in groups])
    return results


def _run_all(tasks: Sequence[Callable[[], None]]) -> None:
    """All at once, as far as there are seats; when one raises or this is interrupted, no other goes on."""
    with ThreadPoolExecutor(max_workers=len(tasks) or 1) as pool:
        try:
            for running in [pool.submit(task) for task in tasks]:
                running.result()
        except BaseException:
            qemu.end_all()
            raise


class _Boots:
    """The scenarios of one kind of machine; booted again when it dies under them."""

    def __init__(self, made: Parts, group: list[Scenario], note: Callable[[Result], None]) -> None:
        self.made = made
        self.left = {one.name: one for one in group}
        self.note = note
        self.deaths: dict[str, int] = {}

    def run(self) -> None:
        with SEATS:
            self._run()

    def _run(self) -> None:
        while self.left and not qemu.all_ended():
            with share(self.made, package=next(iter(self.left.values())).package) as path:
                console = path / "console.txt"
                reason = self._boot(path, console)
                if self.left and not qemu.all_ended():
                    self._blame(path, console, reason)

    def _boot(self, path: Path, console: Path) -> str:
        """One boot; why it ended early, if it did."""
        group = list(self.left.values())
        first = group[0]
        (path / "plan.json").write_text(json.dumps(list(self.left)))
        reboots = any(one.boots > 1 for one in group)
        made = self.made
        (path / "slowness").write_text(str(made.system.slowness))
        limit = sum(one.limit * one.boots for one in group) + BOOT_LIMIT * max(one.boots for one in group)
        limit *= made.system.slowness
        machine = qemu.Machine(made.system, made.base, path, first.cpu, first.append, first.qemu, reboots)
        try:
            ended = qemu.run(machine, console, limit, lambda: self._collect(path, console))
        except VmError as error:
            return str(error)
        return "the machine ended early" if ended else f"the machine did not end within {limit:.0f} s"

    def _collect(self, path: Path, console: Path) -> None:
        for verdict in sorted(
            (path / "results").glob("[!.]*.json"), key=lambda found: found.stat().st_mtime_ns
        ):
            answer = json.loads(verdict.read_text())
            name = answer["name"]
            if self.left.pop(name, None):
                self.note(
                    Result(
                        **answer,
                        log=_text(path / f"results/{name}.log"),
                        journal=_text(path / f"results/{name}.journal"),
                        console=_text(console),
                    )
                )

    def _blame(self, path: Path, console: Path, reason: str) -> None:
        """The machine is gone: the scenario that ran gets another try, or has failed."""
        try:
            running = json.loads(_text(path / "state.json") or "{}").get("running", "")
        except ValueError:
            running = ""
        self.deaths[running] = self.deaths.get(running, 0) + 1
        say(f"{reason}{f' during {running}' if running else ' before any scenario'}")
        if self.deaths[running] < STRIKES:
            return
        log = _text(path / f"results/{running}.log")
        for name in [running] if running in self.left else list(self.left):
            self.note(failed(name, reason, _text(console))._replace(log=log))
            del self.left[name]


def _text(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except FileNotFoundError:
        return ""
