# SPDX-License-Identifier: GPL-2.0-only
"""Completions of mcelogctl, by the shells themselves; they know all that mcelogctl knows."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd.ctl.commands import COMMANDS, OPTIONS
from mcelogd.event import Kind, Severity

from .ctl_peers import FakeMcelog, Live, command, dimm, environment
from .privatebus import need, private_bus

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
COMPLETIONS = ROOT / "data/completions"
BASH, ZSH, FISH = (COMPLETIONS / name for name in ("mcelogctl.bash", "_mcelogctl", "mcelogctl.fish"))


@pytest.fixture(scope="module")
def env(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """Where mcelogctl is found, and finds DIMMs."""
    with private_bus() as bus, FakeMcelog(bus) as mcelog:
        mcelog.objects = {
            "/org/mcelog/dimm/0_0_0": dimm(Label="CPU1 DIMM A1"),
            "/org/mcelog/dimm/0_1_0": dimm(Label="$(reboot)"),
            "/org/mcelog/dimm/0_2_0": dimm(Label='quote"d'),
        }
        known = environment(bus, HOME=str(tmp_path_factory.mktemp("home")), TERM="xterm")
        programs = tmp_path_factory.mktemp("bin")
        program = programs / "mcelogctl"
        program.write_text(f'#!/bin/sh\nexec {" ".join(command())} "$@"\n')
        program.chmod(0o755)
        yield known | {"PATH": f"{programs}:{known['PATH']}"}


def names() -> set[str]:
    """Long names of all options."""
    arguments = [one for command in COMMANDS for one in command.arguments] + list(OPTIONS)
    return {one.names.split()[-1].removeprefix("--") for one in arguments if one.is_option} | {
        "help",
        "version",
    }


OF_THE_SHELLS = {"local", "description", "current-token", "regex", "command", "no-files"}
"""Options of fish's own commands."""


@pytest.mark.parametrize("path", [BASH, ZSH, FISH], ids=lambda path: path.name)
def test_every_command_option_and_word_is_there(path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    words = set(re.findall(r"[a-z][a-z-]*", text))
    assert {command.name for command in COMMANDS} | set(Kind) | set(Severity) <= words
    options = set(re.findall(r"(?<![\w-])(?:--|-l )([a-z][a-z-]+)", text))
    assert options - OF_THE_SHELLS == names()


@pytest.mark.parametrize(
    ("shell", "path"), [("bash", BASH), ("zsh", ZSH), ("fish", FISH)], ids=lambda value: str(value)[:4]
)
def test_the_shell_understands_it(shell: str, path: Path) -> None:
    need(shell, shell)
    ran = subprocess.run([shell, "-n", path], capture_output=True, text=True, check=False)
    assert (ran.returncode, ran.stderr) == (0, "")


def bash(env: dict[str, str], *words: str) -> list[str]:
    """What is offered for the last word."""
    need("bash", "bash")
    script = (
        'source "$1"; shift; COMP_WORDS=(mcelogctl "$@"); COMP_CWORD=$#; compopt() { :; }; '
        '_mcelogctl; printf "%s\\n" "${COMPREPLY[@]}"'
    )
    ran = subprocess.run(
        ["bash", "-uc", script, "bash", BASH, *words], env=env, capture_output=True, text=True, check=False
    )
    assert ran.stderr == ""
    return ran.stdout.split("\n")[:-1] if ran.stdout != "\n" else []


@pytest.mark.parametrize(
    ("words", "offered"),
    [
        (["re"], ["replaced", "reset", "reload"]),
        (["--json", "st"], ["status"]),
        (["-H", "db7", "st"], ["status"]),
        (["--ver"], ["--version"]),
        (["dimms", "--ver"], []),
        (["events", "--fo"], ["--follow"]),
        (["status", "--fo"], []),
        (["events", "-k", "me"], ["memory"]),
        (["events", "-k", "bus,me"], ["bus,memory"]),
        (["events", "-s", "def"], ["deferred", "deferred+"]),
        (["events", "--since", ""], ["today", "yesterday"]),
        (["reset", "--a"], ["--address", "--all"]),
        (["offline-page", ""], []),
        (["acquit", "0/"], ["0/0/0", "0/1/0", "0/2/0"]),
        (["acquit", "CPU"], [r"CPU1\ DIMM\ A1"]),
        (["acquit", "$"], [r"\$\(reboot\)"]),
        (["acquit", "0/0/0", ""], []),
    ],
)
def test_bash(words: list[str], offered: list[str], env: dict[str, str]) -> None:
    assert bash(env, *words) == offered


def test_bash_completes_as_one_types(env: dict[str, str]) -> None:
    need("bash", "bash")
    with Live(["bash", "--norc", "--noprofile", "-i"], env, columns=80) as shell:
        shell.type(f"PS1='ready> '; source {BASH}\n")
        shell.read_until("\x1b[?2004hready> ")
        shell.type("mcelogctl acq\tCPU\t")
        shell.read_until("mcelogctl acquit CPU1\\ DIMM\\ A1")


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("mcelogctl re", {"replaced", "reset", "reload"}),
        ("mcelogctl events --fo", {"--follow"}),
        ("mcelogctl status --fo", set()),
        ("mcelogctl events -k bus,me", {"bus,memory"}),
        ("mcelogctl acquit CPU", {"CPU1 DIMM A1"}),
        ("mcelogctl reset --a", {"--address", "--all"}),
    ],
)
def test_fish(line: str, offered: set[str], env: dict[str, str]) -> None:
    need("fish", "fish")
    script = 'source $argv[1]; complete --do-complete "$argv[2]"'
    ran = subprocess.run(
        ["fish", "--no-config", "-c", script, str(FISH), line],
        env=env,
        capture_output=True,
        text=True,
        check=False,
    )
    assert ran.stderr == ""
    assert {one.partition("\t")[0].replace("\\ ", " ") for one in ran.stdout.splitlines()} == offered


@pytest.mark.parametrize(
    ("typed", "line"),
    [
        ("mcelogctl acq\t", "mcelogctl acquit"),
        ("mcelogctl events --fol\t", "mcelogctl events --follow"),
        ("mcelogctl events -k bus,mem\t", "mcelogctl events -k bus,memory"),
        ("mcelogctl acquit CPU\t", "mcelogctl acquit CPU1\\ DIMM\\ A1"),
    ],
)
def test_zsh(typed: str, line: str, env: dict[str, str]) -> None:
    need("zsh", "zsh")
    with Live(["zsh", "-f", "-i"], env, columns=80) as shell:
        shell.type(f"PS1='ready> '; fpath=({COMPLETIONS} $fpath)\n")
        shell.type("autoload -U compinit; compinit -u -D; echo do''ne\n")
        shell.read_until("done")
        shell.read_until("ready> ")
        shell.type(typed)
        shell.read_until(line)
