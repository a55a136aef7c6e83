# SPDX-License-Identifier: GPL-2.0-only
"""SECURITY.md names what there is: options of the sandbox, and scenarios that run in it."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
TEXT = (ROOT / "SECURITY.md").read_text("utf-8")


def test_scenarios_are_there() -> None:
    named = re.findall(r"`(\w+)`: (`\w+`(?:, `\w+`)*)", TEXT.partition("tests/vm/scenarios")[2])
    assert len(named) >= 10
    for module, scenarios in named:
        source = (ROOT / f"tests/vm/scenarios/{module}.py").read_text("utf-8")
        missing = [name for name in re.findall(r"\w+", scenarios) if f"\ndef {name}(" not in source]
        assert missing == [], module


def test_every_option_of_the_sandbox_is_explained() -> None:
    unit = (ROOT / "data/mcelog.service").read_text("utf-8")
    sandbox = unit.partition("# --- Sandbox")[2].partition("[Install]")[0]
    options = set(re.findall(r"^(\w+)=", sandbox, re.MULTILINE))
    without_a_line = {"SystemCallErrorNumber", "RemoveIPC", "LimitNOFILE"}
    assert {option for option in options if f"`{option}=" not in TEXT} == without_a_line
