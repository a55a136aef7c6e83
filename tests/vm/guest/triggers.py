# SPDX-License-Identifier: GPL-2.0-only
"""Triggers of scenarios: scripts in a directory of their own, and settings that name them."""

from __future__ import annotations

import shutil
from pathlib import Path

from guest import clean, service
from guest.shell import run

DIRECTORY = Path("/usr/local/lib/vm-triggers")
UNITS = "mcelog-trigger-"
"""Beginning of the names of the units that triggers are run as."""


def script(name: str, *lines: str) -> Path:
    """A shell script in the triggers' directory."""
    path = DIRECTORY / name
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


def settings(text: str) -> None:
    """These settings and no others, until the next scenario starts; no script of an earlier one is left."""
    shutil.rmtree(DIRECTORY, ignore_errors=True)
    DIRECTORY.mkdir(parents=True)
    service.CONFIG.write_text(f"{clean.SETTINGS}{text}\n[trigger]\ndirectory = {DIRECTORY}\n")


def units() -> str:
    """The units of triggers that systemd still knows, ended or not."""
    return run("systemctl", "list-units", "--all", "--no-legend", "--plain", f"{UNITS}*", quiet=True).stdout


def failed_units() -> list[str]:
    """Failed units that are ours."""
    lines = run("systemctl", "--failed", "--no-legend", "--plain").stdout.splitlines()
    return [line for line in lines if "mcelog" in line]
