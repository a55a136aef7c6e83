# SPDX-License-Identifier: GPL-2.0-only
"""Makes the packages of this directory importable, and what guests boot from while other tests run."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

VM = Path(__file__).resolve().parent
sys.path.insert(0, str(VM))
TOOL = VM.parent.parent / "tools/vm"
BUILDING = pytest.StashKey["subprocess.Popen[bytes]"]()


def pytest_collection_finish(session: pytest.Session) -> None:
    """Kernels and root file systems take long the first time, and most other tests leave a processor idle.

    What could not be built is tried again, and told, by the tests that need it.
    """
    if os.environ.get("MCELOG_VM") != "1" or session.config.option.collectonly:
        return
    parameters = [item.callspec.params for item in session.items if hasattr(item, "callspec")]
    systems = dict.fromkeys(str(one["system_name"]) for one in parameters if "system_name" in one)
    if systems:
        # it ends with us, even when we are killed
        command = ["setpriv", "--pdeathsig", "TERM", "nice", "-n", "19"]
        command += [sys.executable, str(TOOL), "build", *systems]
        session.config.stash[BUILDING] = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )


@pytest.fixture(scope="session")
def built(request: pytest.FixtureRequest) -> None:
    """Guests would leave a build that is so nice no time at all."""
    building = request.config.stash.get(BUILDING, None)
    if building:
        building.wait()


def pytest_sessionfinish(session: pytest.Session) -> None:
    building = session.config.stash.get(BUILDING, None)
    if building:
        building.terminate()
        building.wait()
