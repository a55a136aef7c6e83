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


def pytest_collection_finish(session: pytest.Session) -> None:
    """Kernels and root file systems take long the first time, and most other tests leave a processor idle.

    No child of ours: there are tests that want none left. What could not be built
    is tried again, and told, by the tests that need it.
    """
    if os.environ.get("MCELOG_VM") == "1" and not session.config.option.collectonly and _systems(session):
        _run("sh", "-c", 'nice -n 19 "$@" &', "sh", *_build(session))


@pytest.fixture(scope="session")
def built(request: pytest.FixtureRequest) -> None:
    """Wait for what is being built: guests would leave a build that is so nice no time at all."""
    _run(*_build(request.session))


def _run(*command: str) -> None:
    silent = subprocess.DEVNULL
    subprocess.run(command, stdin=silent, stdout=silent, stderr=silent, check=False)


def _build(session: pytest.Session) -> list[str]:
    return [sys.executable, str(TOOL), "build", *_systems(session)]


def _systems(session: pytest.Session) -> list[str]:
    parameters = [item.callspec.params for item in session.items if hasattr(item, "callspec")]
    return list(dict.fromkeys(str(one["system_name"]) for one in parameters if "system_name" in one))
