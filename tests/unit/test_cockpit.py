# SPDX-License-Identifier: GPL-2.0-only
"""The page for Cockpit, as far as it can be tested without a browser: its logic, its files, its rules."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "data/cockpit"
SOURCES = sorted(PACKAGE.glob("*.js"))
LONGEST = 300
"""Lines of a module."""


def node() -> str:
    found = shutil.which("node")
    if found is None:
        assert not os.environ.get("CI"), "CI must have node (package nodejs)"
        pytest.skip("node (package nodejs) is not installed")
    return found


def test_its_logic(tmp_path: Path) -> None:
    """In a copy: only with a package.json does node take .js files for modules, and browsers need none."""
    shutil.copytree(PACKAGE, tmp_path / "data/cockpit")
    (tmp_path / "data/cockpit/package.json").write_text('{"type": "module"}')
    (tmp_path / "tests/unit").mkdir(parents=True)
    test = shutil.copy(ROOT / "tests/unit/cockpit.test.mjs", tmp_path / "tests/unit")
    done = subprocess.run(
        [node(), "--test", "--test-reporter=tap", test], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert re.search(r"^# pass [1-9]\d", done.stdout, re.MULTILINE), "no test was run"


@pytest.mark.parametrize("source", SOURCES, ids=lambda path: path.name)
def test_every_module_parses_and_is_short(source: Path, tmp_path: Path) -> None:
    module = tmp_path / f"{source.stem}.mjs"
    shutil.copy(source, module)
    done = subprocess.run([node(), "--check", module], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert len(source.read_text("utf-8").splitlines()) <= LONGEST


def test_no_text_becomes_markup() -> None:
    """Labels come from firmware; Cockpit's page of an administrator is the last place to run them."""
    banned = re.compile(r"innerHTML|outerHTML|AdjacentHTML|document\.write|\beval\(|new Function|srcdoc")
    assert [path.name for path in SOURCES if banned.search(path.read_text("utf-8"))] == []


def test_every_import_is_of_a_file_that_is_there() -> None:
    for source in SOURCES:
        for name in re.findall(r"""^import .* from "(.*)";$""", source.read_text("utf-8"), re.MULTILINE):
            assert name.startswith("./")
            assert (PACKAGE / name).is_file(), f"{source.name}: {name}"


def test_the_manifest_asks_for_what_debian_12_has() -> None:
    manifest = json.loads((PACKAGE / "manifest.json").read_text("utf-8"))
    assert int(manifest["requires"]["cockpit"]) <= 287
    assert manifest["menu"]["index"]["label"] == "Hardware errors"


def test_all_of_it_is_installed() -> None:
    listed = re.search(r"foreach file : \[(.*?)\]", (ROOT / "data/meson.build").read_text("utf-8"), re.DOTALL)
    assert listed is not None
    named = re.findall(r"'([\w.]+)'", listed[1])
    assert named == sorted(path.name for path in PACKAGE.iterdir())
