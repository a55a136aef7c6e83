# SPDX-License-Identifier: GPL-2.0-only
"""The tools in tools/, run as a person runs them."""

from __future__ import annotations

import os
import re
import socket
import subprocess
import sys
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING

import pytest

from mcelogd.journal import encode

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

ROOT = Path(__file__).resolve().parents[2]


def run(*command: str | Path, cwd: Path = ROOT, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        command,
        cwd=cwd,
        env={**os.environ, **environment},
        stdin=subprocess.DEVNULL,
        check=False,
        capture_output=True,
        text=True,
        timeout=60,
    )


@pytest.fixture
def set_up() -> None:
    """What the tools install is there: a test does not install anything."""
    if not list((ROOT / ".venv").glob(".set-up-*")):
        assert not os.environ.get("CI"), "CI runs tools/test, which sets .venv up"
        pytest.skip(".venv was not made by tools/test")


def without_trailing_blanks(text: str) -> str:
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def pictures() -> list[str]:
    """What the README shows of mcelog's output."""
    section = (ROOT / "README.md").read_text("utf-8").partition("## What one sees")[2].partition("\n## ")[0]
    blocks = re.findall(r"^```\n(.*?)^```$", section, re.DOTALL | re.MULTILINE)
    assert len(blocks) == 3
    return blocks


@pytest.mark.usefixtures("set_up")
def test_demo_shows_everything_and_leaves_nothing(tmp_path: Path) -> None:
    done = run(ROOT / "tools/demo", cwd=tmp_path, TMPDIR=str(tmp_path), TZ="UTC")
    assert (done.returncode, done.stderr) == (0, "")
    shown = without_trailing_blanks(done.stdout)
    for picture in pictures():
        assert picture in shown, "the README shows something else"
    assert "\x1b" not in done.stdout, "colours are for terminals"
    assert list(tmp_path.iterdir()) == []


@pytest.mark.usefixtures("set_up")
def test_named_tests_run_alone_and_from_anywhere() -> None:
    arguments = ("unit/test_linters.py::test_mypy", "--collect-only", "-p", "no:cacheprovider")
    done = run(ROOT / "tools/test", *arguments, cwd=ROOT / "tests")
    assert done.returncode == 0, done.stdout + done.stderr
    assert [line for line in done.stdout.splitlines() if "::" in line] == [
        "tests/unit/test_linters.py::test_mypy"
    ]


def test_help_and_wrong_arguments_install_nothing() -> None:
    assert run(ROOT / "tools/test", "--help").stdout.startswith("Usage: tools/test ")
    assert run(ROOT / "tools/demo", "--help").stdout.startswith("Usage: tools/demo\n")
    assert run(ROOT / "tools/fuzz", "--help").stdout.startswith("Usage: tools/fuzz ")
    assert "no target nosuch; there are: ascii_text " in run(ROOT / "tools/fuzz", "nosuch").stderr
    wrong = run(ROOT / "tools/demo", "--fast")
    assert (wrong.returncode, wrong.stderr) == (1, "demo: takes no argument, not --fast\n")


@contextmanager
def receiver(path: Path) -> Iterator[tuple[socket.socket, IO[str]]]:
    """A running tools/journal-receiver: a socket to send it entries, and what it prints."""
    command = [sys.executable, ROOT / "tools/journal-receiver", path]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            try:
                while sender.connect_ex(str(path)):
                    assert process.poll() is None
                yield sender, process.stdout
            finally:
                process.terminate()


def entry(printed: IO[str]) -> list[str]:
    """The lines of the next entry."""
    return list(iter(lambda: printed.readline().removesuffix("\n"), ""))


FIELDS: Mapping[str, str] = {
    "MESSAGE": "first\nsecond = third",
    "PRIORITY": "4",
    "SYSLOG_IDENTIFIER": "mcelog",
}


def test_journal_receiver_shows_what_the_journal_is_sent(tmp_path: Path) -> None:
    with receiver(tmp_path / "socket") as (sender, printed):
        sender.send(encode(FIELDS))
        lines = ["MESSAGE=first", "    second = third", "PRIORITY=4", "SYSLOG_IDENTIFIER=mcelog"]
        assert entry(printed) == lines
        large = os.memfd_create("entry")
        os.write(large, encode({**FIELDS, "MESSAGE": "x" * 300_000}))
        socket.send_fds(sender, [b""], [large])
        os.close(large)
        assert entry(printed) == ["MESSAGE=" + "x" * 300_000, *lines[2:]]
    assert not (tmp_path / "socket").exists()


@pytest.mark.parametrize("garbage", [b"MESSAGE", b"A\n\0", b"A\n\xff\0\0\0\0\0\0\0text\n", b"\xff\n\n\n"])
def test_journal_receiver_says_what_is_no_entry(tmp_path: Path, garbage: bytes) -> None:
    path = tmp_path / "socket"
    command = [sys.executable, ROOT / "tools/journal-receiver", path]
    with subprocess.Popen(command, stderr=subprocess.PIPE, text=True) as process:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as sender:
            while sender.connect_ex(str(path)):
                assert process.poll() is None
            sender.send(garbage)
        _, said = process.communicate(timeout=10)
    assert process.returncode == 1
    assert said.startswith("journal-receiver: not a journal entry: ")
    assert said.count("\n") == 1


def test_journal_receiver_without_a_place_says_so(tmp_path: Path) -> None:
    done = run(ROOT / "tools/journal-receiver", tmp_path / "missing/socket")
    assert done.returncode == 1
    assert done.stderr == f"journal-receiver: {tmp_path}/missing/socket: No such file or directory\n"
