# SPDX-License-Identifier: GPL-2.0-only
"""The documents: each command in them is run, here or in the guest, and prints what they show.

Here that is on a machine of the test's own; what needs a booted system is run by tests/vm/scenarios/docs.py.
"""

from __future__ import annotations

import os
import re
import shlex
import shutil
from typing import TYPE_CHECKING

import pytest

from mcelogd.ctl import arguments, commands
from tests.vm.guest.documents import ELSEWHERE, Command, File, agrees, complaint, steps

from .ctl_peers import ROOT
from .privatebus import need
from .reader import Reader, reader

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.vm.guest.documents import Step

TEXTS = {
    str(path.relative_to(ROOT)): path.read_text("utf-8")
    for path in [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
}
STEPS = {page: steps(page, text) for page, text in TEXTS.items()}
COMMANDS = [step for found in STEPS.values() for step in found if isinstance(step, Command)]
GIVEN = ("panic.txt", "rasdaemon.txt")
"""What a reader has: recorded texts."""
MOST_ELSEWHERE = 17

PROGRAM = re.compile(
    r"(?:[$#] )?(?:mcelog|mcelogctl|busctl|gdbus|journalctl|systemctl|apt|apt-get|curl|(?:\./)?tools/\w+) "
)


def here(step: Step) -> bool:
    return not step.needs_a_boot and not (isinstance(step, Command) and step.text in ELSEWHERE)


@pytest.fixture
def at_the_machine(page: str) -> Iterator[Reader]:
    if os.geteuid():
        assert not os.environ.get("CI"), "CI must run as root"
        pytest.skip("needs root, for a journal of its own")
    for program in ("busctl", "gdbus", "journalctl", "jq"):
        need(program, program)
    with reader(died=page == "docs/journal.md") as one:
        for name in GIVEN:
            shutil.copy(ROOT / "tests/fixtures/ascii" / name, one.home)
        yield one


@pytest.mark.parametrize("page", [page for page, found in STEPS.items() if any(map(here, found))])
def test_what_a_page_shows(page: str, at_the_machine: Reader) -> None:
    """In its order, as one who reads it from top to bottom types it."""
    complaints = [_follow(step, at_the_machine) for step in STEPS[page] if here(step)]
    assert "\n".join(filter(None, complaints)) == ""


def _follow(step: Step, reader: Reader) -> str:
    if isinstance(step, File):
        (reader.home / step.path).write_text(step.text)
        return ""
    if not step.is_endless:
        return complaint(step, *reader.type(step.text))
    return complaint(step, 0, reader.watch(step.text, lambda printed: _enough(step, printed)))


def _enough(command: Command, printed: str) -> bool:
    return printed != "" and agrees(command.shown or ("...",), printed)


@pytest.mark.parametrize(
    ("printed", "does"),
    [
        ("DIMM 0/1/any, 6 errors (10 min ago)\n12\nthe end\n", True),
        ("DIMM   3/0/any, 10 errors (2 d ago)\nmore\nand more\nthe end of it\n", True),
        ("DIMM 0/1/any, 6 errors (10 min ago)\nthe end\n", True),
        ("DIMM 0/1/any, no errors (10 min ago)\n12\nthe end\n", False),
        ("DIMM 0/1/any, 6 errors (10 min ago)\n12\nthe end\nand more\n", False),
        ("DIMM 0/1/any, 6 errors (10 min ago)\n", False),
        ("", False),
    ],
)
def test_what_agrees_with_what_is_shown(printed: str, does: bool) -> None:
    assert agrees(("DIMM 0/1/any, 7 errors (9 min ago)", "...", "the end...", ""), printed) is does


# -- that no command is run by nobody ----------------------------------------------------------


def test_what_is_run_elsewhere_is_little_and_is_there() -> None:
    assert {command.text for command in COMMANDS} >= ELSEWHERE.keys()
    assert len(ELSEWHERE) <= MOST_ELSEWHERE
    named = [path for reason in ELSEWHERE.values() for path in re.findall(r"tests/[\w/.]+\.py", reason)]
    assert [path for path in named if not (ROOT / path).exists()] == []


def test_here_and_in_the_guest_much_is_run() -> None:
    """A pattern that is wrong would leave nothing to do."""
    assert sum(map(here, COMMANDS)) > 50
    assert sum(command.needs_a_boot for command in COMMANDS) > 15


@pytest.mark.parametrize("page", TEXTS)
def test_no_command_hides_from_the_tests(page: str) -> None:
    """In a block that is indented, or fenced as something else."""
    text = re.sub(r"^```(?:console|\w+ \S+)\n.*?^```$", "", TEXTS[page], flags=re.MULTILINE | re.DOTALL)
    assert re.findall(r"^ *```(?:console|\w+ \S+)$", text, re.MULTILINE) == []
    blocks = re.findall(r"^```.*?^```$|^    [^\n]*$", text, re.MULTILINE | re.DOTALL)
    lines = [line.strip() for block in blocks for line in block.splitlines()]
    assert [line for line in lines if PROGRAM.match(line)] == []


def test_commands_in_the_text_can_be_typed() -> None:
    """Those of mcelogctl, but for what is no more than a command's name."""
    names = {command.name for command in commands.COMMANDS} | {"--help", "-H"}
    quoted = {one for text in TEXTS.values() for one in re.findall(r"`mcelogctl ([^`]+)`", text)} - names
    assert len(quoted) > 5
    for words in quoted:
        arguments.parse(shlex.split(words))


# -- that every page is found ------------------------------------------------------------------


def anchors(text: str) -> set[str]:
    """Of the headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.*)$", text, re.MULTILINE)
    return {re.sub(r"[^\w -]", "", heading).lower().replace(" ", "-") for heading in headings}


def links(page: str) -> list[tuple[str, str]]:
    """Files of this project that a page links to, by their paths from its top, and places in them."""
    found = re.findall(r"\]\(([\w./-]*)(?:#([\w-]+))?\)", TEXTS[page])
    directory = (ROOT / page).parent
    return [
        (os.path.relpath(directory / path if path else ROOT / page, ROOT), anchor) for path, anchor in found
    ]


@pytest.mark.parametrize("page", TEXTS)
def test_links_lead_somewhere(page: str) -> None:
    for path, anchor in links(page):
        assert (ROOT / path).exists(), path
        assert not anchor or anchor in anchors(TEXTS[path]), f"{path}#{anchor}"


def test_the_index_names_every_page() -> None:
    named = {path for path, _ in links("docs/README.md")}
    assert named == TEXTS.keys() - {"README.md", "docs/README.md"}
    assert "docs/README.md" in {path for path, _ in links("README.md")}
