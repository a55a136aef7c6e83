# SPDX-License-Identifier: GPL-2.0-only
"""Triggers that others than root could have written are not run, and why is said."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import pytest

from mcelogd.act.runner import Outcome
from mcelogd.act.trust import Careful, weakness_of
from mcelogd.triggers import Trigger

from .trigger_directory import SECONDS, Directory

US = {0, os.geteuid()}


@pytest.fixture
def directory(tmp_path: Path) -> Directory:
    (tmp_path / "above/triggers").mkdir(parents=True)
    return Directory(tmp_path / "above/triggers")


def launch(directory: Directory, trigger: Trigger) -> Outcome:
    careful = Careful(directory.launcher(), str(directory.path), US)
    return asyncio.run(careful.launch(trigger, SECONDS))


def test_what_only_we_can_write_is_run(directory: Directory) -> None:
    assert launch(directory, directory.script("echo here")) == Outcome(ok=True, output=("here",))


@pytest.mark.parametrize(
    ("open_one", "mode"), [(".", 0o777), (".", 0o1777), ("trigger", 0o757), ("..", 0o777)]
)
def test_what_everybody_can_write_is_not_run(directory: Directory, open_one: str, mode: int) -> None:
    trigger = directory.script("echo here > ran")
    path = Path(os.path.normpath(directory.path / open_one))
    path.chmod(mode)
    outcome = launch(directory, trigger)
    assert outcome == Outcome(ok=False, error=f"not run: everybody can write to {path}: chmod o-w it")
    assert not (directory.path / "ran").exists()


def test_a_directory_like_tmp_above_is_as_good_as_any(directory: Directory) -> None:
    directory.path.parent.chmod(0o1777)
    assert launch(directory, directory.script("echo here")).ok


def test_a_link_is_followed_to_what_is_run(directory: Directory, tmp_path: Path) -> None:
    elsewhere = Directory(tmp_path / "elsewhere")
    elsewhere.path.mkdir()
    trigger = elsewhere.script("echo here")
    (directory.path / "trigger").symlink_to(elsewhere.path / "trigger")
    assert launch(directory, trigger).ok
    elsewhere.path.chmod(0o777)
    assert "everybody can write" in launch(directory, trigger).error


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
@pytest.mark.parametrize("name", [".", "trigger"])
def test_what_belongs_to_another_user_is_not_run(directory: Directory, name: str) -> None:
    trigger = directory.script("echo here")
    os.chown(directory.path / name, 65534, 65534)
    outcome = launch(directory, trigger)
    assert "belongs to user 65534" in outcome.error
    assert not weakness_of(directory.path / "trigger", {*US, 65534})


def test_what_is_missing_is_for_the_launcher_to_say(directory: Directory) -> None:
    assert "No such file" in launch(directory, Trigger("ce-error-trigger", "memdb", "missing", {})).error
