# SPDX-License-Identifier: GPL-2.0-only
"""What each command loads before it has done its work: that is most of what a short command costs.

A module that turns up here is to be imported where it is needed, or has its reason.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd.config import DEFAULT_SOCKET
from mcelogd.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterable

ROOT = Path(__file__).resolve().parents[2]

RUN = """
import sys
had = set(sys.modules)
if {config!r}:
    from mcelogd import config
    config.DEFAULT_FILE = {config!r}
sys.argv = {arguments!r}
from {module} import main
try:
    main()
finally:
    print("\\n@", *sorted(set(sys.modules) - had))
"""

ONE_RECORD = """\
mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 7: 8c00004000010090
mce: [Hardware Error]: TSC 123 ADDR 1234000 MISC 86
mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1700000000 SOCKET 0 APIC 3 microcode 2006e05
"""

ALL_SETTINGS = "cli config options quick rate record settings values"
DECODING = "ascii bulk cpu decode event oneshot render"

CASES = (
    ("mcelogd.quick", "mcelog --version", "quick"),
    ("mcelogd.quick", "mcelog --client", "client config quick"),
    ("mcelogd.quick", "mcelog --ping", "client config quick"),
    ("mcelogd.quick", "mcelog --help", f"{ALL_SETTINGS} cpu"),
    ("mcelogd.quick", "mcelog --check-config", ALL_SETTINGS),
    ("mcelogd.quick", "mcelog --client --config-file /dev/null", f"{ALL_SETTINGS} client"),
    ("mcelogd.quick", "mcelog --ascii --file {log}", f"{ALL_SETTINGS} {DECODING}"),
    ("mcelogd.ctl.main", "mcelogctl --help", "ctl event"),
    ("mcelogd.ctl.main", "mcelogctl --version", "ctl"),
)
"""Program, command, and the modules and packages of ours that it loads."""

HEAVY = {"argparse", "asyncio", "dataclasses", "inspect", "logging", "pathlib", "sqlite3", "subprocess"}
"""What none of these loads."""

QUICK = {"mcelog --version", "mcelog --client", "mcelog --ping", "mcelogctl --version"}
FOR_OTHERS = {"re", "typing", "getopt", "gettext", "contextlib"}
"""What the quick ones do without; each of the first two is a tenth of their time and more."""


def loaded(module: str, command: str, directory: Path, config: str = "") -> set[str]:
    """The modules beside those that the interpreter starts with."""
    log, file = directory / "log", directory / "mcelog.conf"
    log.write_text(ONE_RECORD)
    file.write_text(config)
    arguments = command.format(log=log).split()
    reads_it = module == "mcelogd.quick" and command != "mcelog --version"
    code = RUN.format(config=str(file) if reads_it else "", arguments=arguments, module=module)
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command_line = [sys.executable, "-S", "-c", code]
    run = subprocess.run(command_line, env=environment, capture_output=True, text=True, check=True)
    return set(run.stdout.rpartition("@")[2].split())


def ours(modules: Iterable[str]) -> set[str]:
    return {name.split(".")[1] for name in modules if name.startswith("mcelogd.")}


@pytest.mark.parametrize(("module", "command", "expected"), CASES, ids=[case[1] for case in CASES])
def test_a_command_loads_what_it_needs(module: str, command: str, expected: str, tmp_path: Path) -> None:
    modules = loaded(module, command, tmp_path)
    assert ours(modules) == set(expected.split())
    assert modules & HEAVY == set()
    if command in QUICK:
        assert modules & FOR_OTHERS == set()


@pytest.mark.parametrize("config", ["socket-path = /x", "[server]\nsocket-path = /x", "[server\n"])
def test_a_socket_of_its_own_is_for_all_settings_to_find(config: str, tmp_path: Path) -> None:
    """Or what is wrong with the file."""
    assert "settings" in ours(loaded("mcelogd.quick", "mcelog --ping", tmp_path, config))


def test_the_usual_socket_is_the_settings_default() -> None:
    assert Settings.socket_path.default == DEFAULT_SOCKET
