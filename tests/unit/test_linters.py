# SPDX-License-Identifier: GPL-2.0-only
"""ruff, mypy and shellcheck as tests: skipped where one is not installed, but never in CI."""

from __future__ import annotations

import importlib.util
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]


def need(available: object, tool: str) -> None:
    if not available:
        assert not os.environ.get("CI"), f"CI must have {tool}"
        pytest.skip(f"{tool} is not installed")


def run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, check=False, capture_output=True, text=True)
    if done.returncode:
        pytest.fail(done.stdout + done.stderr, pytrace=False)


def run_module(module: str, *arguments: str) -> None:
    need(importlib.util.find_spec(module), module)
    run(sys.executable, "-m", module, *arguments)


def test_ruff_check() -> None:
    run_module("ruff", "check", "--quiet", ".")


def test_ruff_format() -> None:
    run_module("ruff", "format", "--diff", "--quiet", ".")


def test_mypy() -> None:
    run_module("mypy")


def shell_scripts() -> list[str]:
    """Every file whose first line names a shell; one that is only sourced is in tools/lib."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    ).stdout
    return [name for name in listed.split("\0") if name and is_shell(ROOT / name)]


def is_shell(path: Path) -> bool:
    if path.suffix == ".sh":
        return True
    with path.open("rb") as file:
        first = file.readline(80)
    return first.startswith(b"#!") and first.split()[-1].rpartition(b"/")[2] in (b"sh", b"bash")


def test_shellcheck() -> None:
    need(shutil.which("shellcheck"), "shellcheck")
    need((ROOT / ".git").exists(), "a git checkout")
    scripts = shell_scripts()
    assert "tools/test" in scripts
    run("shellcheck", "--external-sources", *scripts)
