# SPDX-License-Identifier: GPL-2.0-only
"""mcelogctl's command line, its help, and how it understands places and hosts."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.ctl.arguments import parse
from mcelogd.ctl.bridge import ssh_command
from mcelogd.ctl.commands import COMMANDS, EXAMPLES, OPTIONS, severities
from mcelogd.ctl.exits import CtlError, Exit
from mcelogd.ctl.failures import ACTIONS, READ, failed, unreachable
from mcelogd.ctl.place import labelled, object_of, place_of, words_of
from mcelogd.ctl.usage import command_help, help_asked_for, overview
from mcelogd.dbus import wire
from mcelogd.dbus.wire import BusError

CONTRACT = Path(__file__).resolve().parents[2] / "data/org.mcelog.xml"
DIMM = "/org/mcelog/dimm/"


def test_options_stand_before_or_after_the_command() -> None:
    for arguments in (["--json", "-H", "db7", "dimms"], ["dimms", "-H", "db7", "--json"]):
        options = parse(arguments)
        assert (options.command, options.json, options.host, options.place) == ("dimms", True, "db7", None)
    assert parse([]).command == "status"
    assert parse(["--json"]).json


def test_times_before_now_are_no_options() -> None:
    options = parse(["events", "--since", "-2h", "-U", "-5min", "-n", "3"])
    assert (options.since, options.until, options.lines) == ("-2h", "-5min", 3)
    assert parse(["events", "-S", "-1d", "-f"]).since == "-1d"
    with pytest.raises(CtlError):
        parse(["events", "--since", "-f"])


def test_values_are_checked() -> None:
    options = parse(["events", "-k", "memory,cache", "-s", "recoverable+,info"])
    assert options.kind == {"memory", "cache"}
    assert options.severity == {"info", "recoverable", "uncorrected", "fatal"}
    assert severities("info+") == {"info", "corrected", "deferred", "recoverable", "uncorrected", "fatal"}
    assert parse(["offline-page", "0xfFf"]).page == 0xFFF
    assert parse(["show", "#12"]).id == 12


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        ("nothing", "there is no such command; see mcelogctl --help"),
        ("events --kind disk", "'disk' is no kind: there are memory, cache"),
        ("events -s bad+", "'bad' is no severity"),
        ("events -n many", "'many' is not a number of lines"),
        ("events -n", "argument -n/--lines: expected one argument; see mcelogctl events --help"),
        ("show one", "'one' is not the number of an event"),
        ("show", "the following arguments are required: ID"),
        ("offline-page 0x12345678901234567", "is no address"),
        ("offline-page 4096", "write it in hexadecimal with 0x before it"),
        ("dimms 0/0/0 0/1/0", "unrecognized arguments: 0/1/0"),
        ("--jso dimms", "unrecognized arguments: --jso"),
        ("reset", "reset takes a DIMM, a socket, or --all"),
    ],
)
def test_what_makes_no_sense(arguments: str, said: str) -> None:
    with pytest.raises(CtlError, match=re.escape(said)) as raised:
        parse(arguments.split())
    assert raised.value.status is Exit.USAGE
    assert "\n" not in str(raised.value)


@given(
    st.lists(
        st.sampled_from(["-h", "--", "-", "", "events", "reset", "-n", "--since", "-2h", "x", "--json", "-H"])
    )
)
def test_nothing_said_is_too_odd(arguments: list[str]) -> None:
    try:
        parse(arguments)
    except CtlError as error:
        assert error.status is Exit.USAGE  # noqa: PT017  # either way is right


def test_help_is_asked_for_anywhere() -> None:
    assert help_asked_for(["-h"]) == overview()
    assert help_asked_for(["--json", "reset", "--help"]).startswith("Usage: mcelogctl reset")
    assert help_asked_for(["reset", "0/1/0"]) == help_asked_for(["show", "--", "--help"]) == ""


def test_help_tells_all_there_is() -> None:
    text = overview()
    assert all(f"  {one.name} " in text and one.summary in text for one in COMMANDS)
    assert all(name in text for one in OPTIONS for name in one.names.split())
    for command in COMMANDS:
        text = command_help(command)
        assert all(one.names.split()[-1] in text or one.value in text for one in command.arguments)
        assert max(map(len, text.splitlines())) <= 100
    assert max(map(len, overview().splitlines())) <= 100


@pytest.mark.parametrize(
    "line",
    [
        *(example.arguments for example in EXAMPLES),
        *(f"{one.name} {example.arguments}" for one in COMMANDS for example in one.examples),
    ],
)
def test_the_examples_make_sense(line: str) -> None:
    parse(shlex.split(line.partition("|")[0]))


@pytest.mark.parametrize(
    ("place", "path"),
    [
        ("0/1/0", f"{DIMM}0_1_0"),
        ("0/01/any", f"{DIMM}0_1_any"),
        ("3/-1/?", f"{DIMM}3_any_any"),
        (f"{DIMM}0_1_0", f"{DIMM}0_1_0"),
        ("2", "/org/mcelog/socket/2"),
        ("CPU1_DIMM_B1", ""),
        ("0/1", ""),
        ("any/0/0", ""),
        ("/org/mcelog", ""),
        (f"{DIMM}../x", ""),
        ("\u0663", ""),
        ("12345678901", ""),
        ("", ""),
    ],
)
def test_places(place: str, path: str) -> None:
    assert object_of(place) == path


def test_what_objects_are_called() -> None:
    assert (place_of(f"{DIMM}0_1_any"), place_of("/org/mcelog/socket/1")) == ("0/1/any", "1")
    assert (words_of(f"{DIMM}0_1_0"), words_of("/org/mcelog/socket/1"), words_of("/")) == (
        *("DIMM 0/1/0", "socket 1", ""),
    )
    labels = {"/a": "B1", "/b": "b1", "/c": "C1", "/d": "", "/e": "x", "/f": "X"}
    assert [labelled(label, labels) for label in ("B1", "b1", "c1")] == ["/a", "/b", "/c"]
    for label in ("", "none"):
        with pytest.raises(CtlError, match="no DIMM is labelled"):
            labelled(label, labels)
    with pytest.raises(CtlError, match="several DIMMs"):
        labelled("y", {"/a": "Y", "/b": "Y"})


@pytest.mark.parametrize(
    ("host", "words"),
    [
        ("db7", ["db7"]),
        ("root@db7.example.org:2222", ["-p", "2222", "root@db7.example.org"]),
        ("me@[fe80::1%eth0]:22", ["-p", "22", "me@fe80::1%eth0"]),
    ],
)
def test_hosts(host: str, words: list[str]) -> None:
    *options, target = words
    assert ssh_command(host) == ["ssh", "-xT", *options, "--", target, "systemd-stdio-bridge"]


@pytest.mark.parametrize(
    "host", ["", "-oProxyCommand=x", "a b", "me@", "@db7", "me@-x", "db7:port", "a@b@c", "fe80::1"]
)
def test_what_is_no_host(host: str) -> None:
    with pytest.raises(CtlError, match="is no host"):
        ssh_command(host)


def test_the_actions_of_methods_are_those_of_the_contract() -> None:
    """The text before each method names it."""
    text = CONTRACT.read_text(encoding="utf-8")
    named = re.findall(
        r"Needs (org\.mcelog\.[a-z-]+)\.(?:(?!<method).)*?<method name=\"(\w+)\"", text, re.DOTALL
    )
    assert {method: action for action, method in named if action != READ} == ACTIONS


@pytest.mark.parametrize(
    ("name", "status"),
    [
        (wire.ACCESS_DENIED, Exit.DENIED),
        (wire.INTERACTION_REQUIRED, Exit.DENIED),
        (wire.TIMED_OUT, Exit.UNREACHABLE),
        (wire.DISCONNECTED, Exit.UNREACHABLE),
        (wire.UNKNOWN_METHOD, Exit.FAILURE),
        (wire.UNKNOWN_OBJECT, Exit.FAILURE),
        ("org.mcelog.Error.NotPossible", Exit.FAILURE),
    ],
)
def test_failures_say_what_helps(name: str, status: Exit) -> None:
    error = failed(BusError(name, f"reason\n about {DIMM}0_1_0\x1b"), "Reload")
    assert error.status is status
    assert str(error).isprintable()
    assert DIMM not in str(error)
    assert str(failed(BusError(name, ""), "Reload"))


def test_failures_to_start_mcelog() -> None:
    assert unreachable(BusError(wire.ACCESS_DENIED, "no")).status is Exit.DENIED
    for name in (wire.SERVICE_UNKNOWN, "org.freedesktop.DBus.Error.Spawn.ChildExited"):
        error = unreachable(BusError(name, "Process exited"))
        assert error.status is Exit.UNREACHABLE
        assert "systemctl status mcelog" in str(error)
