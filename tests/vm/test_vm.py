# SPDX-License-Identifier: GPL-2.0-only
"""One test per scenario of tests/vm/scenarios; a system's share as few boots as they can."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from guest.registry import scenarios
from harness import host, qemu, session
from harness.cli import explanation
from harness.common import VmError
from harness.systems import TESTED, system

pytestmark = [
    pytest.mark.vm,
    pytest.mark.usefixtures("built"),
    pytest.mark.skipif(os.environ.get("MCELOG_VM") != "1", reason="boots a virtual machine: set MCELOG_VM=1"),
]

_preparing = threading.Lock()

Verdict = Callable[[str, str], session.Result]


def _selected(items: list[pytest.Item], system_name: str) -> list[str]:
    """Names of the scenarios that are to be tested on that system."""
    parameters = [item.callspec.params for item in items if hasattr(item, "callspec")]
    return [str(one["name"]) for one in parameters if one.get("system_name") == system_name]


@pytest.fixture(scope="module")
def verdict_of(request: pytest.FixtureRequest) -> Iterator[Verdict]:
    """The verdict of any selected scenario; the first question starts all systems, side by side."""
    selected = {name: _selected(request.session.items, name) for name in TESTED}
    with ThreadPoolExecutor(max_workers=len(selected)) as pool:
        running = {name: pool.submit(_results, name, names) for name, names in selected.items() if names}
        try:
            yield lambda system_name, name: running[system_name].result()[name]
        finally:
            qemu.end_all()


def _results(system_name: str, names: list[str]) -> dict[str, session.Result]:
    try:
        with _preparing:
            host.ensure()
        return {one.name: one for one in session.run(system(system_name), names)}
    except VmError as error:
        return {name: session.failed(name, str(error)) for name in names}


@pytest.mark.parametrize(
    ("system_name", "name"),
    [
        (system_name, name)
        for system_name in TESTED
        for name in scenarios()
        if system(system_name).tests(name)
    ],
)
def test_scenario(system_name: str, name: str, verdict_of: Verdict) -> None:
    result = verdict_of(system_name, name)
    if result.verdict == "skipped":
        pytest.skip(result.reason)
    if not result.passed:
        pytest.fail(explanation(result), pytrace=False)
