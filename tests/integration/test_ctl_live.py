# SPDX-License-Identifier: GPL-2.0-only
"""mcelogctl over ssh, as things happen, and with a real mcelog."""

from __future__ import annotations

import json
import os
import threading
from typing import TYPE_CHECKING

import pytest

from mcelogd.ctl import actions, main

from .conftest import memory_error, wait_for
from .ctl_peers import ASKS, LABEL, PLACE, FakeMcelog, Live, command, ctl, environment, event, some_dimms
from .privatebus import NOBODY, PrivateBus, private_bus
from .test_metrics import UNCORRECTED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Scratch


@pytest.fixture(scope="module")
def bus() -> Iterator[PrivateBus]:
    with private_bus() as bus:
        yield bus


@pytest.fixture
def own_bus() -> Iterator[PrivateBus]:
    with private_bus() as bus:
        yield bus


@pytest.fixture
def mcelog(bus: PrivateBus) -> Iterator[FakeMcelog]:
    with FakeMcelog(bus) as mcelog:
        mcelog.objects = some_dimms()
        yield mcelog


# -- by ssh ------------------------------------------------------------------------------------


def with_ssh(bus: PrivateBus) -> dict[str, str]:
    """An environment where ssh goes nowhere but to the bus, by the real bridge."""
    programs = bus.directory / "bin"
    programs.mkdir(exist_ok=True)
    ssh = programs / "ssh"
    ssh.write_text(
        f'#!/bin/sh\necho "$*" >{bus.directory}/ssh-log\n'
        f'for host; do [ "$host" = down ] && {{ echo "no route" >&2; exit 255; }}; done\n'
        f"exec systemd-stdio-bridge --bus-path={bus.address}\n"
    )
    ssh.chmod(0o755)
    # Nothing else leads to that bus.
    return environment() | {"PATH": f"{programs}:{os.environ['PATH']}"}


def test_another_machine_by_ssh(mcelog: FakeMcelog, bus: PrivateBus) -> None:
    env = with_ssh(bus)
    ran = ctl("-H", "me@db7:2222", "dimms", "--json", env=env)
    assert len(json.loads(ran.stdout)) == len(mcelog.objects)
    assert (bus.directory / "ssh-log").read_text() == "-xT -p 2222 -- me@db7 systemd-stdio-bridge\n"
    ran = ctl("dimms", "--host", "down", env=env)
    assert ran.returncode == 3
    assert ran.stderr == "no route\nmcelogctl: cannot reach the bus of down: ssh ended with status 255\n"
    ran = ctl("dimms", "--host", "db7", env=environment() | {"PATH": "/nonexistent"})
    assert (ran.returncode, "cannot run ssh" in ran.stderr) == (3, True)


# -- as it happens -----------------------------------------------------------------------------


def test_monitor(mcelog: FakeMcelog, bus: PrivateBus) -> None:
    with Live(command("monitor"), environment(bus)) as monitor:
        wait_for(lambda: ("GetManagedObjects", []) in mcelog.calls, "monitor to be ready")
        mcelog.log_event(7)
        monitor.read_until("event 7: corrected, memory")
        mcelog.objects[PLACE]["org.mcelog.Dimm"]["CorrectedErrors"] = ("t", 13)
        changed = ("PropertiesChanged", "sa{sv}as", "org.mcelog.Dimm", {}, ["CorrectedErrors"])
        mcelog.emit(PLACE, "org.freedesktop.DBus.Properties", *changed)
        monitor.read_until(f"DIMM {LABEL} (1/1/0): CorrectedErrors 12 -> 13\n")
        mcelog.emit("/org/mcelog", "org.mcelog.Manager", "PageOfflined", "tb", 1, False)
        monitor.read_until("could not be taken out of use")
        mcelog.emit("/org/mcelog", "org.mcelog.Manager", "PageOfflined", "s", "no such thing")
        mcelog.emit(
            "/org/mcelog", "org.mcelog.Manager", "ThresholdExceeded", "oss", PLACE, "dimm", "\x1b[2Jtoo many"
        )
        assert "\x1b" not in monitor.read_until("too many")
        assert monitor.interrupt() == 130


def test_monitor_outlives_mcelog_but_not_the_bus(own_bus: PrivateBus) -> None:
    with FakeMcelog(own_bus) as mcelog:
        monitor = Live(command("monitor", "--json"), environment(own_bus))
        wait_for(lambda: ("GetManagedObjects", []) in mcelog.calls, "monitor to be ready")
    with monitor:
        monitor.read_until('"signal":"Ended"')
        with FakeMcelog(own_bus) as again:
            monitor.read_until('"signal":"Started"')
            again.log_event(8)
            lines = monitor.read_until('"id":8').splitlines()
            assert json.loads(lines[-1])["signal"] == "EventLogged"
        own_bus.stop()
        assert monitor.finish() == 3
        assert "the connection to the bus is lost" in monitor.printed


def test_monitor_without_the_right_to_read(mcelog: FakeMcelog, bus: PrivateBus) -> None:
    mcelog.denied["GetManagedObjects"] = ASKS
    with Live(command("monitor"), environment(bus)) as monitor:
        monitor.read_until("are not shown: a password is needed")
        changed = ("PropertiesChanged", "sa{sv}as", "org.mcelog.Dimm", {}, ["CorrectedErrors"])
        mcelog.emit(PLACE, "org.freedesktop.DBus.Properties", *changed)
        monitor.read_until("DIMM 1/1/0: CorrectedErrors changed")
        assert [member for member, _ in mcelog.calls] == ["GetAll", "GetManagedObjects"]


def test_events_of_the_store_as_they_come(mcelog: FakeMcelog, bus: PrivateBus) -> None:
    """Also those that no signal told of: there are at most so many in a second."""
    mcelog.events = [event(number) for number in range(1, 30)]
    follow = command("events", "-f", "-n", "2", "-k", "memory", "--json", "-H", "there")
    with Live(follow, with_ssh(bus)) as events:
        events.read_until('"id":29')
        assert [json.loads(line)["id"] for line in events.printed.splitlines()] == [28, 29]
        wait_for(lambda: mcelog.calls[-1] == ("GetEvents", [29, 1000]), "events to wait")
        mcelog.events += [event(30), event(31, kind="bus")]
        mcelog.log_event(32)
        lines = events.read_until('"id":32').splitlines()
        assert [json.loads(line)["id"] for line in lines] == [28, 29, 30, 32]


@pytest.mark.parametrize(
    ("arguments", "ids"),
    [
        ([], [1, 3, 40, 41, 2999, 3000]),
        (["-n", "3"], [41, 2999, 3000]),
        (["-n", "5", "-k", "bus"], [3, 41]),
        (["--since", "@1795374041"], [41, 2999, 3000]),
        (["--since", "@1795374041", "-n", "2"], [2999, 3000]),
        (["--since", "2030-01-01"], []),
        (["--until", "@1795374040"], [1, 3, 40]),
        (["-n", "0"], []),
    ],
)
def test_events_of_the_store(
    arguments: list[str], ids: list[int], mcelog: FakeMcelog, bus: PrivateBus
) -> None:
    mcelog.events = [
        event(number, kind="bus" if number in (3, 41) else "memory") for number in (1, 3, 40, 41, 2999, 3000)
    ]
    ran = ctl("events", "--json", "-H", "there", *arguments, env=with_ssh(bus))
    assert (ran.returncode, [json.loads(line)["id"] for line in ran.stdout.splitlines()]) == (0, ids)


# -- the real one ------------------------------------------------------------------------------


@pytest.fixture
def daemon(scratch: Scratch, bus: PrivateBus) -> Scratch:
    text = scratch.config.read_text().replace("bus = none", f"bus = {bus.address}")
    scratch.config.write_text(text)
    scratch.start()
    scratch.send(memory_error(5) * 3)
    scratch.wait_stored(3)
    return scratch


@pytest.mark.usefixtures("daemon")
def test_a_real_mcelog(bus: PrivateBus) -> None:
    (one,) = json.loads(ctl("dimms", "--json", bus=bus).stdout)
    assert (one["place"], one["corrected_errors"]) == ("0/0/any", 3)
    (page,) = json.loads(ctl("pages", "--json", bus=bus).stdout)
    assert (page["address"], page["errors"]) == ("0x5000", 3)
    ran = ctl("events", "-n", "2", "--json", "--host", "there", bus=bus, env=with_ssh(bus))
    assert [json.loads(line)["id"] for line in ran.stdout.splitlines()] == [2, 3]
    assert "CPU 0 BANK 5" in ctl("show", "3", bus=bus).stdout
    ran = ctl("show", "99", bus=bus)
    assert (ran.returncode, ran.stderr) == (1, "mcelogctl: the store has no event 99\n")
    assert ctl("reset", "0/0/any", bus=bus).returncode == 0
    (one,) = json.loads(ctl("dimms", "--json", bus=bus).stdout)
    assert (one["corrected_errors"], one["last_error_time"]) == (0, 0)
    ran = ctl("reset", "9/9/9", bus=bus)
    assert (ran.returncode, ran.stderr) == (1, "mcelogctl: nothing is counted for DIMM 9/9/9\n")


def test_what_status_asks_for_once_errors_are_dealt_with(daemon: Scratch, bus: PrivateBus) -> None:
    """A DIMM that was replaced, and `reset --all`: the machine is well again, after a restart, too."""
    daemon.send(memory_error(5, status=UNCORRECTED))
    daemon.wait_stored(4)
    wait_for(lambda: ctl("status", bus=bus).returncode == 11, "the uncorrected error to be told")
    assert ctl("replaced", "0/0/any", bus=bus).returncode == 0
    asked = ctl("status", bus=bus)
    assert (asked.returncode, "mcelogctl reset --all once" in asked.stdout) == (11, True)
    assert ctl("reset", "--all", bus=bus).returncode == 0
    assert ctl("status", bus=bus).returncode == 0
    daemon.stop()
    daemon.start()
    machine = json.loads(ctl("status", "--json", bus=bus).stdout)["machine"]
    assert (machine["corrected_errors"], machine["uncorrected_errors"]) == (0, 0)
    assert machine["records_read"] == 4


@pytest.mark.usefixtures("daemon")
@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to be somebody else")
def test_a_real_mcelog_and_somebody_else(bus: PrivateBus) -> None:
    assert as_nobody(bus, "reset", "--all") == 4
    assert as_nobody(bus, "status") == 4


def as_nobody(bus: PrivateBus, *arguments: str) -> int:
    """The exit status of mcelogctl, for a user who may not be able to reach this interpreter's files."""
    assert threading.active_count() == 1, "forking would copy locks that are held"
    pid = os.fork()
    if not pid:
        status = 99
        try:
            os.environ["DBUS_SYSTEM_BUS_ADDRESS"] = bus.address
            assert actions  # read while it can be
            os.setgroups([])
            os.setresgid(NOBODY, NOBODY, NOBODY)
            os.setresuid(NOBODY, NOBODY, NOBODY)
            status = main.main(arguments)
        finally:
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
