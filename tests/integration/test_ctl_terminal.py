# SPDX-License-Identifier: GPL-2.0-only
"""mcelogctl on a terminal, in a pipe, and with nowhere to write to."""

from __future__ import annotations

import json
import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcelogd.ctl import agent
from mcelogd.ctl.text import width

from .ctl_peers import FakeMcelog, Live, command, ctl, dimm, environment, some_dimms
from .privatebus import PrivateBus, need, private_bus

if TYPE_CHECKING:
    from collections.abc import Iterator

HOSTILE = "B1\x1b[2J\x9b1m\u202e\r\n漢字"


@pytest.fixture(scope="module")
def bus() -> Iterator[PrivateBus]:
    with private_bus() as bus, FakeMcelog(bus) as mcelog:
        mcelog.objects = some_dimms()
        texts = {"Location": "P0 CHANNEL A", "Manufacturer": "Samsung", "PartNumber": "M393A4K40CB2-CTD"}
        reasons = ["two of the banks err, and \x1b]0;owned\x07 a lot of words that need more than one line"]
        mcelog.objects["/org/mcelog/dimm/0_0_0"] = dimm(
            Label=HOSTILE, Advice="replace", AdviceReasons=reasons, Size=32 << 30, **texts
        )
        mcelog.answers["ListPages"] = (
            "a(ttusst)u",
            [[(page << 12, 1, 1, "online", "", 0) for page in range(500)], 500],
        )
        yield bus


def on_terminal(bus: PrivateBus, *arguments: str, columns: int = 80, **environ: str) -> tuple[int, list[str]]:
    """Exit status and lines of mcelogctl on a terminal, without a pager."""
    known = {"TERM": "xterm-256color", **environ}
    with Live(command(*arguments, "--no-pager"), environment(bus, **known), columns=columns) as shown:
        status = shown.finish()
    return status, shown.printed.replace("\r\n", "\n").splitlines()


def plain(line: str) -> str:
    """Without the colours that we ourselves make."""
    for sequence in ("0", "1", "4", "32", "33", "1;31", "38;5;245"):
        line = line.replace(f"\x1b[{sequence}m", "")
    return line


@pytest.mark.parametrize("columns", [200, 80, 40, 12])
@pytest.mark.parametrize("arguments", ["dimms", "sockets", "pages", "history"])
def test_tables_are_as_wide_as_the_terminal(arguments: str, columns: int, bus: PrivateBus) -> None:
    _, lines = on_terminal(bus, arguments, columns=columns)
    table = lines[: lines.index("")] if "" in lines else []
    assert all(width(plain(line)) <= columns for line in table)
    assert not any("\x1b" in plain(line) or "\x9b" in line or "\u202e" in line for line in lines)


@pytest.mark.parametrize("arguments", [["status"], ["dimms"], ["dimms", "0/0/0"], ["dimms", "--json"]])
def test_firmware_commands_no_terminal(arguments: list[str], bus: PrivateBus) -> None:
    _, lines = on_terminal(bus, *arguments, columns=250)
    text = "\n".join(map(plain, lines))
    assert not {"\x1b", "\x9b", "\u202e", "\x07"} & set(text)
    assert "B1\\" in text
    piped = ctl(*arguments, bus=bus).stdout
    assert not {"\x1b", "\x9b", "\u202e", "\x07"} & set(piped)


@pytest.mark.parametrize(
    ("environ", "coloured"),
    [
        ({}, True),
        ({"NO_COLOR": "1"}, False),
        ({"SYSTEMD_COLORS": "0"}, False),
        ({"SYSTEMD_COLORS": "no", "NO_COLOR": ""}, False),
        ({"SYSTEMD_COLORS": "16", "NO_COLOR": "1"}, True),
        ({"TERM": "dumb"}, False),
    ],
)
def test_colour(environ: dict[str, str], coloured: bool, bus: PrivateBus) -> None:
    status, lines = on_terminal(bus, "status", **environ)
    assert status == 11
    assert lines[0].startswith("\x1b[1;31m●" if coloured else "● mcelog")


def test_no_colour_in_a_pipe(bus: PrivateBus) -> None:
    assert "\x1b" not in ctl("dimms", bus=bus).stdout
    forced = ctl("dimms", env=environment(bus, SYSTEMD_COLORS="1")).stdout
    assert "\x1b[1;31mreplace\x1b[0m" in forced


def test_a_pipe_is_as_wide_as_need_be(bus: PrivateBus) -> None:
    lines = ctl("dimms", env=environment(bus, COLUMNS="20")).stdout.splitlines()
    assert lines[0].split()[-1] == "LOCATION"
    assert "P0 CHANNEL A" in lines[1]
    bare = ctl("dimms", "--no-legend", bus=bus).stdout.splitlines()
    assert [line.split()[0] for line in bare] == ["0/0/0", "0/2/0", "0/3/0", "0/10/any", "1/1/0"]


def test_an_encoding_without_all_characters(bus: PrivateBus) -> None:
    ran = ctl("status", env=environment(bus, PYTHONIOENCODING="ascii"))
    assert ran.returncode == 11
    assert ran.stdout.startswith("? mcelog 9.9")


# -- the pager ---------------------------------------------------------------------------------


@pytest.fixture
def pager(tmp_path: Path) -> Path:
    """A program that tells how it was called, and shows what it is given."""
    program = tmp_path / "pager"
    program.write_text('#!/bin/sh\necho "LESS=$LESS SECURE=$LESSSECURE"; exec cat\n')
    program.chmod(0o755)
    return program


def test_the_pager_of_ones_choice(pager: Path, bus: PrivateBus) -> None:
    env = environment(bus, TERM="xterm", PAGER="/nonexistent", SYSTEMD_PAGER=str(pager))
    with Live(command("dimms"), env, columns=80) as shown:
        assert shown.finish() == 0
    lines = shown.printed.splitlines()
    assert lines[0] == "LESS=FRSXMK SECURE="
    assert lines[1].startswith("\x1b[4mDIMM\x1b[0m")
    assert "LESS=" not in ctl("dimms", env=env).stdout


@pytest.mark.parametrize("environ", [{"SYSTEMD_PAGER": ""}, {"PAGER": "cat"}, {"TERM": "dumb"}])
def test_no_pager(environ: dict[str, str], pager: Path, bus: PrivateBus) -> None:
    known = {"TERM": "xterm", "PAGER": str(pager), **environ}
    with Live(command("pages"), environment(bus, **known), columns=80) as shown:
        assert shown.finish() == 0
    assert shown.printed.count("online") == 500
    assert "LESS=" not in shown.printed


def test_with_sudo_the_pager_is_a_safe_one(pager: Path, bus: PrivateBus) -> None:
    programs = pager.parent / "bin"
    programs.mkdir()
    (programs / "less").symlink_to(pager)
    env = environment(bus, TERM="xterm", SUDO_UID="1000", PAGER="sh -c 'id'")
    env["PATH"] = f"{programs}:{env['PATH']}"
    with Live(command("dimms"), env, columns=80) as shown:
        assert shown.finish() == 0
    assert shown.printed.startswith("LESS=FRSXMK SECURE=1")


def test_leaving_the_pager_is_no_error(bus: PrivateBus) -> None:
    need("less", "less")
    with Live(command("pages"), environment(bus, TERM="xterm"), columns=80) as shown:
        shown.read_until("online")
        shown.type("q")
        assert shown.finish() == 0
    assert shown.printed.count("online") < 100
    assert "Traceback" not in shown.printed


# -- nowhere to write to -----------------------------------------------------------------------


@pytest.mark.parametrize("arguments", ["pages", "--help", "pages --json"])
def test_a_reader_that_has_enough(arguments: str, bus: PrivateBus) -> None:
    ran = subprocess.run(
        ["sh", "-c", f'"$@" {arguments} | head -c 1', "sh", *command()],
        env=environment(bus),
        capture_output=True,
        text=True,
        timeout=20,
        check=False,
    )
    assert (len(ran.stdout), ran.stderr) == (1, "")


def test_a_full_disk(bus: PrivateBus) -> None:
    with Path("/dev/full").open("w") as full:
        ran = subprocess.run(
            command("dimms"),
            env=environment(bus),
            stdout=full,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
    assert ran.returncode == 1
    assert ran.stderr == "mcelogctl: cannot write to standard output: No space left on device\n"


def test_closed_descriptors(bus: PrivateBus) -> None:
    ran = subprocess.run(
        ["sh", "-c", 'exec "$@" <&- >&-', "sh", *command("dimms")],
        env=environment(bus),
        stderr=subprocess.PIPE,
        text=True,
        check=False,
    )
    assert (ran.returncode, ran.stderr) == (0, "")


# -- passwords ---------------------------------------------------------------------------------


@pytest.fixture
def terminal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Path:
    """An agent that tells what it is called with and closes its descriptor; the user is no longer root."""
    program = tmp_path / "agent"
    program.write_text(
        f'#!/bin/sh\necho "$DBUS_SYSTEM_BUS_ADDRESS $1 $3" >{tmp_path}/called\n'
        f'echo $$ >{tmp_path}/pid\neval "exec $2>&-"\nexec sleep 100\n'
    )
    program.chmod(0o755)
    monkeypatch.setattr(agent, "AGENT", str(program))
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(os, "isatty", lambda _: True)
    return tmp_path


def test_an_agent_asks_for_passwords(terminal: Path) -> None:
    with agent.password_agent("unix:path=/bus"):
        assert (terminal / "called").read_text() == "unix:path=/bus --notify-fd --fallback\n"
        pid = (terminal / "pid").read_text().strip()
        assert Path(f"/proc/{pid}").exists()
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("change", [{"geteuid": lambda: 0}, {"isatty": lambda _: False}])
def test_no_agent(change: dict[str, Any], terminal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in change.items():
        monkeypatch.setattr(os, name, value)
    with agent.password_agent():
        pass
    assert not (terminal / "called").exists()


def test_an_agent_that_is_not_installed(terminal: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(agent, "AGENT", str(terminal / "none"))
    with agent.password_agent():
        pass


def test_documents_are_indented_where_a_person_reads_them(bus: PrivateBus) -> None:
    _, lines = on_terminal(bus, "status", "--json")
    assert lines[1] == '  "verdict": "act",'
    assert json.loads("\n".join(lines))["machine"]["version"] == "9.9"
    assert len(ctl("status", "--json", bus=bus).stdout.splitlines()) == 1
