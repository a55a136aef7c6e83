# SPDX-License-Identifier: GPL-2.0-only
"""mcelogctl and a running mcelog: what is asked, what is shown, what it exits with."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from mcelogd import __version__

from .ctl_peers import ASKS, DENIED, LABEL, PLACE, FakeMcelog, ctl, dimm, some_dimms
from .privatebus import PrivateBus, private_bus

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def bus() -> Iterator[PrivateBus]:
    with private_bus() as bus:
        yield bus


@pytest.fixture
def mcelog(bus: PrivateBus) -> Iterator[FakeMcelog]:
    with FakeMcelog(bus) as mcelog:
        mcelog.objects = some_dimms()
        yield mcelog


def test_version_and_help_ask_nobody() -> None:
    assert ctl("--version").stdout == f"mcelogctl {__version__}\n"
    assert ctl("--help").stdout.startswith("Usage: mcelogctl")
    assert "mcelogctl events -n 20" in ctl("events", "--help").stdout


# -- what it exits with ------------------------------------------------------------------------


def status_of(mcelog: FakeMcelog, bus: PrivateBus) -> tuple[int, str]:
    ran = ctl("status", "--json", bus=bus)
    assert not mcelog.denied or ran.stderr
    return ran.returncode, json.loads(ran.stdout)["verdict"]


def test_status_of_a_machine_that_is_well(mcelog: FakeMcelog, bus: PrivateBus) -> None:
    assert status_of(mcelog, bus) == (0, "ok")
    assert ctl(bus=bus).stdout.splitlines()[0] == "● mcelog 9.9: nothing speaks against this machine"


def test_status_goes_by_the_worst_there_is(mcelog: FakeMcelog, bus: PrivateBus) -> None:
    mcelog.objects["/org/mcelog/dimm/0_2_0"] = dimm(Advice="watch", AdviceReasons=["a cell errs"])
    assert status_of(mcelog, bus) == (10, "watch")
    mcelog.denied["GetManagedObjects"] = DENIED
    assert status_of(mcelog, bus) == (4, "unknown")
    mcelog.manager["SourceState"] = ("s", "failing")
    assert status_of(mcelog, bus) == (12, "blind")
    mcelog.denied.clear()
    mcelog.objects[PLACE] = dimm(Label=LABEL, Advice="replace", AdviceReasons=["two banks err"])
    assert status_of(mcelog, bus) == (11, "act")
    shown = ctl(bus=bus).stdout
    assert f"replace DIMM {LABEL} (1/1/0)\n    - two banks err\n" in shown
    assert shown.index("replace DIMM") < shown.index("repair mcelog's source") < shown.index("watch DIMM")


@pytest.mark.parametrize("whose", ["machine", "dimm"])
def test_uncorrected_errors_ask_for_action(whose: str, mcelog: FakeMcelog, bus: PrivateBus) -> None:
    if whose == "machine":
        mcelog.manager["UncorrectedErrors"] = ("t", 2)
    else:
        mcelog.objects[PLACE] = dimm(UncorrectedErrors=2)
    assert status_of(mcelog, bus) == (11, "act")
    assert ctl(bus=bus).stdout.count("2 uncorrected errors") == 1


def test_no_bus() -> None:
    ran = ctl("dimms")
    assert (ran.returncode, ran.stdout) == (3, "")
    assert ran.stderr == (
        "mcelogctl: no bus: /nonexistent/bus: No such file or directory; is dbus running?\n"
    )


def test_no_mcelog(bus: PrivateBus) -> None:
    ran = ctl("dimms", bus=bus)
    assert ran.returncode == 3
    assert ran.stderr.startswith("mcelogctl: mcelog cannot be reached: nobody is org.mcelog on the bus")


def test_mcelog_that_cannot_be_started(bus: PrivateBus) -> None:
    service = bus.services / "org.mcelog.service"
    service.write_text("[D-BUS Service]\nName=org.mcelog\nExec=/bin/false\nUser=root\n")
    bus.run(
        "busctl",
        "call",
        "org.freedesktop.DBus",
        "/org/freedesktop/DBus",
        "org.freedesktop.DBus",
        "ReloadConfig",
    )
    try:
        ran = ctl("dimms", bus=bus)
    finally:
        service.unlink()
    assert ran.returncode == 3
    assert len(ran.stderr.splitlines()) == 1
    assert "cannot be reached" in ran.stderr


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["dimm"], "no such command"),
        (["offline-page", "4096"], "hexadecimal"),
        (["reset"], "reset takes"),
        (["reset", "0", "--all"], "reset takes"),
        (["replaced", "0"], "is no DIMM"),
        (["events", "--since", "soon"], "is no time"),
        (["--host=-oProxyCommand=x", "dimms"], "is no host"),
        (["events", "-f", "--until", "now"], "--follow never comes to --until"),
    ],
)
def test_wrong_arguments(arguments: list[str], said: str, mcelog: FakeMcelog, bus: PrivateBus) -> None:
    ran = ctl(*arguments, bus=bus)
    assert (ran.returncode, ran.stdout, len(ran.stderr.splitlines())) == (2, "", 1)
    assert said in ran.stderr
    assert {member for member, _ in mcelog.calls} <= {"GetManagedObjects"}


def test_not_allowed(mcelog: FakeMcelog, bus: PrivateBus) -> None:
    mcelog.denied["Reload"] = DENIED
    ran = ctl("reload", bus=bus)
    assert ran.returncode == 4
    assert "org.mcelog.reload is needed; use sudo, or have polkit allow it" in ran.stderr


def test_a_password_is_asked_for_only_if_that_is_not_ruled_out(mcelog: FakeMcelog, bus: PrivateBus) -> None:
    mcelog.denied["GetManagedObjects"] = ASKS
    assert ctl("dimms", bus=bus).returncode == 0
    assert [member for member, _ in mcelog.calls].count("GetManagedObjects") == 2
    ran = ctl("dimms", "--no-ask-password", bus=bus)
    assert ran.returncode == 4
    assert "a password is needed (org.mcelog.read)" in ran.stderr


def test_an_mcelog_of_another_version(mcelog: FakeMcelog, bus: PrivateBus) -> None:
    mcelog.objects[PLACE] = {"org.mcelog.Dimm": {"Label": ("s", LABEL), "Novelty": ("u", 1)}}
    assert LABEL in ctl("dimms", bus=bus).stdout
    ran = ctl("self-test", bus=bus)
    assert ran.returncode == 1
    assert "another version" in ran.stderr


# -- what is asked of it -----------------------------------------------------------------------


def test_places_by_number_and_by_label(mcelog: FakeMcelog, bus: PrivateBus) -> None:
    for place in ("1/1/0", LABEL, LABEL.lower(), PLACE):
        assert ctl("acquit", place, bus=bus).returncode == 0
        assert mcelog.calls[-1] == ("Acquit", [PLACE])
    assert ctl("replaced", "0/10/?", bus=bus).returncode == 0
    assert mcelog.calls[-1] == ("MarkReplaced", ["/org/mcelog/dimm/0_10_any"])
    assert ctl("replaced", "twin", bus=bus).returncode == 0
    assert mcelog.calls[-1] == ("MarkReplaced", ["/org/mcelog/dimm/0_2_0"])
    ran = ctl("replaced", "TWIN", bus=bus)
    assert ran.returncode == 1
    assert "name one of 0/2/0, 0/3/0" in ran.stderr
    assert ctl("replaced", "none", bus=bus).returncode == 1


def test_reset(mcelog: FakeMcelog, bus: PrivateBus) -> None:
    for argument, path in (("1/1/0", PLACE), ("1", "/org/mcelog/socket/1"), ("--all", "/org/mcelog")):
        ran = ctl("reset", argument, "--json", bus=bus)
        assert (ran.returncode, json.loads(ran.stdout)) == (0, {"object": path, "ok": True})
        assert mcelog.calls[-1] == ("ResetCounters", [path])


def test_offline_page(mcelog: FakeMcelog, bus: PrivateBus) -> None:
    mcelog.answers["OfflinePage"] = ("bs", [True, ""])
    assert ctl("offline-page", "0x4C0D00123", bus=bus).stdout == "Page 0x4c0d00000 is out of use now.\n"
    assert mcelog.calls[-1] == ("OfflinePage", [0x4C0D00123, "soft"])
    mcelog.answers["OfflinePage"] = ("bs", [False, "it is the kernel's"])
    ran = ctl("offline-page", "0x1000", "--hard", bus=bus)
    assert mcelog.calls[-1] == ("OfflinePage", [0x1000, "hard"])
    assert ran.returncode == 1
    assert "could not be taken out of use: it is the kernel's" in ran.stderr
    ran = ctl("offline-page", "0x1000", "--json", bus=bus)
    assert ran.returncode == 1
    assert json.loads(ran.stdout) == {"page": "0x1000", "ok": False, "reason": "it is the kernel's"}


def test_pages_are_asked_for_part_by_part(mcelog: FakeMcelog, bus: PrivateBus) -> None:
    page = (0x1000, 3, 1, "offline", "soft", 1_795_374_194)
    mcelog.answers["ListPages"] = ("a(ttusst)u", [[page], 2500])
    shown = json.loads(ctl("pages", "--json", bus=bus).stdout)
    assert [body for member, body in mcelog.calls if member == "ListPages"] == [
        [0, 1000],
        [1000, 1000],
        [2000, 1000],
    ]
    assert shown == [
        {
            "address": "0x1000",
            "errors": 3,
            "in_period": 1,
            "state": "offline",
            "reason": "soft",
            "since": 1_795_374_194,
        }
    ]


def test_the_rest_of_the_answers(mcelog: FakeMcelog, bus: PrivateBus) -> None:
    mcelog.answers["ListReplaced"] = (
        "a(osssttts)",
        [[(PLACE, LABEL, "PN", "SN", 5, 1, 1_795_374_194, "user 0 said so")]],
    )
    mcelog.answers["SelfTest"] = ("ba(sbs)", [False, [("kernel", True, ""), ("journal", False, "no entry")]])
    mcelog.answers["Reload"] = ("as", [["[dimm] x: unknown"]])
    assert "1/1/0  2026-11-22 19:03:14  CPU1_DIMM_B1" in ctl("history", bus=bus).stdout
    ran = ctl("self-test", bus=bus)
    assert ran.returncode == 1
    assert "journal  no    no entry" in ran.stdout
    ran = ctl("reload", bus=bus)
    assert (ran.returncode, ran.stderr) == (0, "mcelogctl: [dimm] x: unknown\n")


@pytest.mark.usefixtures("mcelog")
def test_dimms_in_the_order_of_their_numbers(bus: PrivateBus) -> None:
    shown = json.loads(ctl("dimms", "--json", bus=bus).stdout)
    assert [one["place"] for one in shown] == ["0/2/0", "0/3/0", "0/10/any", "1/1/0"]
    assert shown[-1]["corrected_errors"] == 12
    one = json.loads(ctl("--json", "dimms", LABEL, bus=bus).stdout)
    assert one == shown[-1]
    ran = ctl("dimms", "5/5/5", bus=bus)
    assert ran.returncode == 1
    assert "knows no DIMM 5/5/5" in ran.stderr
