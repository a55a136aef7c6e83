# SPDX-License-Identifier: GPL-2.0-only
"""What the documents show: commands with their output, and files; tests off and in the guest run them.

A block is fenced. ```console holds commands behind "$ " (anybody) or "# " (root), with "> " for lines that
go on, and below each what it prints: "..." stands for any lines, at the end of one for the rest of it. A file
has its path behind the language: ```sh errors.sh. Blocks of other kinds are pictures of neither.
"""

from __future__ import annotations

import re
from typing import NamedTuple

ENDLESS = re.compile(r"\bmonitor\b|\s(?:-f|--follow)\b")
"""Commands that somebody has to end."""

NEEDS_A_BOOT = re.compile(
    r"^(?:\S+=\S+ )?(?:apt|apt-get|dpkg|loginctl|systemctl|systemd-\w+)\b"
    r"|^mcelogctl (?:doctor|self-test|reload)\b"
    r"|^journalctl .*(?:-[bux]\b|_SYSTEMD_UNIT|--update-catalog)"
    r"|(?<![\w.@-])/(?:dev|etc|run|sys|usr|var)/"
)
"""Commands about the system itself: units, packages, files where a package puts them."""

ELSEWHERE = {
    "./tools/demo": "tests/integration/test_tools.py runs it, and compares what it shows",
    "./tools/test": "is what runs this",
    "./tools/build-deb": "tests/integration/test_package.py runs it",
    "apt-get install meson python3-systemd python3-dbus-next": "the guest has no network",
    "meson setup build": "every guest is installed so (tests/vm/harness/project.py)",
    "meson install -C build": "every guest is installed so (tests/vm/harness/project.py)",
    "apt-get install systemd-journal-remote nginx": "the guest has no network",
    "apt-get install systemd-journal-remote": "the guest has no network",
    "systemctl enable --now systemd-journal-remote.socket": "tests/vm/scenarios/fleet.py runs it",
    "systemctl restart nginx": "tests/vm/scenarios/fleet.py runs it",
    "systemctl enable --now systemd-journal-upload": "tests/vm/scenarios/fleet.py runs it",
    "curl http://127.0.0.1:9948/metrics": "tests/integration/test_metrics.py asks the service",
    "journalctl -t mcelog -b -1 -p crit": "the guest boots once",
    "MCELOG_SCREENSHOTS=docs/images tools/test tests/browser": "tests, with other pictures",
    "tools/test tests/unit/test_layout.py": "tests",
    ".venv/bin/python bench/start.py": "a measurement takes minutes of an idle machine",
    "MCELOG_C=/path/to/mcelog .venv/bin/python bench/decode.py": "needs the C program",
}
"""Commands that neither runs, and why, or which test does."""

TELLS = re.compile(r"mcelogctl(?: status\b.*)?")
"""Commands whose status says how the machine is."""

COMMENT = re.compile(r"\s{2,}# .*")

SHOWN = 3000
"""Characters of what was printed that a complaint has."""

NUMBER = re.compile(r"\b0x[0-9a-f]+\b|\d[\d,.:]*(?:\b|$)|\b[0-9a-f]{8,}\b")
WHEN = re.compile(r"\([^()]* ago\)|\(just now\)")
DAY = re.compile(r"\b(?:Mon|Tue|Wed|Thu|Fri|Sat|Sun)\b")
MONTH = re.compile(r"\b(?:Jan|Feb|Mar|Apr|May|Jun|Jul|Aug|Sep|Oct|Nov|Dec)\b")


class Command(NamedTuple):
    """A command, in one line or more, and what it prints."""

    page: str
    line: int
    text: str
    shown: tuple[str, ...]

    @property
    def needs_a_boot(self) -> bool:
        return NEEDS_A_BOOT.search(self.text) is not None

    @property
    def is_endless(self) -> bool:
        return ENDLESS.search(self.text) is not None


class File(NamedTuple):
    """A file to be made."""

    page: str
    line: int
    path: str
    text: str

    @property
    def needs_a_boot(self) -> bool:
        return self.path.startswith("/")


Step = Command | File


def steps(page: str, text: str) -> list[Step]:
    """What a reader of the page types, in its order."""
    found: list[Step] = []
    for block in re.finditer(r"^```(\w*)(?: (\S+))?\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        language, path, content = block.groups()
        line = text.count("\n", 0, block.start()) + 2
        if language == "console":
            found += _commands(page, line, content)
        elif path:
            found.append(File(page, line, path, content))
    return found


def _commands(page: str, line: int, content: str) -> list[Command]:
    found: list[Command] = []
    for number, text in enumerate(content.splitlines(), line):
        if text.startswith(("$ ", "# ")):
            found.append(Command(page, number, COMMENT.sub("", text[2:]), ()))
        elif text.startswith("> ") and not found[-1].shown:
            found[-1] = found[-1]._replace(text=f"{found[-1].text}\n{text[2:]}")
        elif text or found[-1].shown:
            found[-1] = found[-1]._replace(shown=(*found[-1].shown, text))
    return found


def complaint(command: Command, status: int, printed: str) -> str:
    """What is not as the page says; empty if it is."""
    allowed = (0, 10, 11) if TELLS.fullmatch(command.text) else (0, 1) if "doctor" in command.text else (0,)
    if status not in allowed:
        what = f"status {status}"
    elif "-- No entries --" in printed:
        what = "it finds nothing"
    elif command.shown and not agrees(command.shown, printed):
        what = "it prints something else"
    else:
        return ""
    return f"{command.page}:{command.line}: {command.text}: {what}:\n{printed[:SHOWN]}"


def normal(line: str) -> str:
    """A line without what differs from time to time: numbers, dates, the width of columns."""
    line = WHEN.sub("(ago)", line)
    line = MONTH.sub("MONTH", DAY.sub("DAY", NUMBER.sub("0", line)))
    return re.sub(r"\s+", " ", line).strip()


def agrees(shown: tuple[str, ...], printed: str) -> bool:
    """Whether what is shown is what was printed, but for numbers and times."""
    lines = [normal(line) for line in shown]
    while lines and not lines[-1]:
        lines.pop()
    pattern = "".join(_pattern(line) for line in lines)
    real = "".join(f"{normal(line)}\n" for line in printed.rstrip("\n").splitlines())
    return re.fullmatch(pattern, real) is not None


def _pattern(line: str) -> str:
    if line == "...":
        return r"(?:.*\n)*"
    if line.endswith("..."):
        return re.escape(line.removesuffix("...").rstrip()) + r".*\n"
    return re.escape(line) + r"\n"
