# SPDX-License-Identifier: GPL-2.0-only
"""What others make of the real daemon's objects and signals: python3-dbus, gdbus, busctl.

They are other implementations of D-Bus than ours, libdbus, GLib and sd-bus.
"""

from __future__ import annotations

import asyncio
import json
import os
import re
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from mcelogd.dbus.declare import OBJECT_MANAGER, PROPERTIES

from .conftest import memory_error
from .ctl_peers import Live
from .dbus_daemon import (
    DIMM,
    FRAME,
    MANAGER,
    NAME,
    PATHS,
    SOCKET,
    contract,
    daemon_on,
    polkit_on,
    rule,
    shipped_bus,
    uid_of,
)
from .dbus_served import Served
from .privatebus import NOBODY, PrivateBus, need, private_bus

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .conftest import Scratch

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: for a polkitd and to be somebody else")

READER = "daemon"
"""The user whom a rule lets read, and nothing else."""

SYSTEM_PYTHON = "/usr/bin/python3"
SCRIPT = Path(__file__).with_name("python3_dbus_client.py")

EXPECTED = sorted(
    (PATHS[member.interface], member.interface, member.name, member.signature)
    for member in contract()
    if member.kind == "property"
)
"""Every property of one object of each kind, with its type."""


def need_python3_dbus() -> None:
    need(SYSTEM_PYTHON, "python3")
    if subprocess.run([SYSTEM_PYTHON, "-c", "import dbus"], capture_output=True, check=False).returncode:
        assert not os.environ.get("CI"), "CI must have the package python3-dbus"
        pytest.skip("the package python3-dbus is not installed")


def as_user(uid: int, *command: str) -> list[str]:
    return ["setpriv", f"--reuid={uid}", f"--regid={uid}", "--clear-groups", *command]


def script(uid: int) -> list[str]:
    """As text, since another user may not be able to reach the file."""
    return as_user(uid, SYSTEM_PYTHON, "-c", SCRIPT.read_text())


@pytest.fixture(scope="module")
def bus() -> Iterator[PrivateBus]:
    need("busctl", "systemd")
    need("gdbus", "libglib2.0-bin")
    with shipped_bus() as bus, polkit_on(bus, reader=rule(READER, "org.mcelog.read", "YES")):
        yield bus


@pytest.fixture(scope="module")
def daemon(bus: PrivateBus, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scratch]:
    with daemon_on(bus, tmp_path_factory.mktemp("daemon")) as daemon:
        yield daemon


def run(bus: PrivateBus, *command: str, user: str = READER) -> str:
    """What a tool prints that has nothing to complain about."""
    done = bus.run(*command, uid=uid_of(user))
    assert (done.returncode, done.stderr) == (0, "")
    return done.stdout


def busctl(bus: PrivateBus, *words: str) -> Any:
    return json.loads(run(bus, "busctl", f"--address={bus.address}", "--json=short", *words))


def gdbus_call(path: str, method: str, *arguments: str) -> list[str]:
    words = ["--dest", NAME, "--object-path", path, "--method", method, *arguments]
    return ["gdbus", "call", "--system", *words]


# -- properties ---------------------------------------------------------------------------------


@pytest.mark.usefixtures("daemon")
def test_python3_dbus_reads_every_property(bus: PrivateBus) -> None:
    need_python3_dbus()
    with Live(script(uid_of(READER)), bus.environ) as client:
        lines = [json.loads(line) for line in client.read_until("listening").splitlines()]
    values = {tuple(line[1:4]): line[5] for line in lines[:-1]}
    assert sorted(tuple(line[1:5]) for line in lines[:-1]) == EXPECTED
    assert values[DIMM, "org.mcelog.Dimm", "CorrectedErrors"] == 1
    assert values[DIMM, "org.mcelog.Dimm", "Dimm"] == -1
    assert values[SOCKET, "org.mcelog.Socket", "Cores"] == [[1, 1, 1, {"cache": 1}]]


@pytest.mark.usefixtures("daemon")
def test_python3_dbus_is_refused_what_is_not_its_users(bus: PrivateBus) -> None:
    need_python3_dbus()
    with Live(script(NOBODY), bus.environ) as client:
        assert client.finish() == 1
    assert "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" in client.printed
    assert "property" not in client.printed


PRINTED = {
    "s": r"'.*'",
    "t": r"uint64 \d+",
    "i": r"-?\d+",
    "as": r"(@as \[\]|\['.*'\])",
    "a(utta{st})": r"\[\(uint32 1, uint64 1, uint64 1, \{'cache': uint64 1\}\)\]",
}
"""Values as GLib's text format of GVariant has them; those without a type are int32."""


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize("one", EXPECTED, ids=lambda one: f"{one[1].rpartition('.')[2]}.{one[2]}")
def test_gdbus_call_reads_a_property(bus: PrivateBus, one: tuple[str, str, str, str]) -> None:
    path, interface, name, signature = one
    said = run(bus, *gdbus_call(path, f"{PROPERTIES}.Get", interface, name))
    assert re.fullmatch(rf"\(<{PRINTED[signature]}>,\)\n", said), said


@pytest.mark.usefixtures("daemon")
def test_gdbus_introspect_shows_every_property(bus: PrivateBus) -> None:
    command = ("gdbus", "introspect", "--system", "--dest", NAME, "--object-path", "/", "--recurse")
    said = run(bus, *command, "--only-properties")
    found, path, interface = [], "", ""
    for line in map(str.strip, said.splitlines()):
        match line.split(" "):
            case ["node", path, "{"]:
                pass
            case ["interface", interface, "{"]:
                pass
            case ["readonly", signature, name, "=", *value]:
                assert value != [";"]
                found.append((path, interface, name, signature))
    assert sorted(found) == EXPECTED


@pytest.mark.usefixtures("daemon")
def test_gdbus_shows_who_may_not_read_what_there_is_but_no_values(bus: PrivateBus) -> None:
    command = ("gdbus", "introspect", "--system", "--dest", NAME, "--object-path", DIMM)
    done = bus.run(*command, uid=NOBODY)
    assert "readonly t CorrectedErrors;" in done.stdout
    assert " = " not in done.stdout
    done = bus.run(*gdbus_call(DIMM, f"{PROPERTIES}.GetAll", "org.mcelog.Dimm"), uid=NOBODY)
    assert (done.returncode, done.stdout) == (1, "")
    assert "org.freedesktop.DBus.Error.InteractiveAuthorizationRequired" in done.stderr


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(("interface", "path"), PATHS.items())
def test_busctl_introspect_shows_every_member(bus: PrivateBus, interface: str, path: str) -> None:
    said = run(bus, "busctl", f"--address={bus.address}", "introspect", NAME, path, interface)
    rows = [line.split(maxsplit=3) for line in said.splitlines()[1:] if line.startswith(".")]
    shown = sorted((name[1:], kind, signature) for name, kind, signature, _ in rows if kind != "signal")
    assert shown == sorted(
        (one.name, one.kind, one.signature or "-") for one in contract() if one.interface == interface
    )
    assert not [name for name, kind, _, rest in rows if kind == "property" and rest.startswith("- ")]


@pytest.mark.usefixtures("daemon")
def test_busctl_tree_shows_every_object(bus: PrivateBus) -> None:
    said = run(bus, "busctl", f"--address={bus.address}", "tree", "--list", NAME).split()
    parents = {"/org", f"{MANAGER}/dimm", f"{MANAGER}/socket"}
    assert set(said) - {"/"} == parents | set(PATHS.values())


@pytest.mark.usefixtures("daemon")
def test_busctl_get_property_reads_several(bus: PrivateBus) -> None:
    for interface, path in PATHS.items():
        wanted = [(name, signature) for _, of, name, signature in EXPECTED if of == interface]
        words = ("busctl", f"--address={bus.address}", "--json=short", "get-property", NAME, path, interface)
        lines = run(bus, *words, *(name for name, _ in wanted)).splitlines()
        assert [json.loads(line)["type"] for line in lines] == [signature for _, signature in wanted]


@pytest.mark.usefixtures("daemon")
def test_busctl_call_reads_all_objects(bus: PrivateBus) -> None:
    answer = busctl(bus, "call", NAME, MANAGER, OBJECT_MANAGER, "GetManagedObjects")
    assert answer["type"] == "a{oa{sa{sv}}}"
    found = [
        (path, interface, name, value["type"])
        for path, interfaces in answer["data"][0].items()
        for interface, values in interfaces.items()
        for name, value in values.items()
    ]
    assert sorted(found) == [one for one in EXPECTED if one[0] != MANAGER]


LISTS = [
    (("ListPages", "uu", "0", "10"), r"\(\[\(uint64 \d+, uint64 1, uint32 1, 'online', '', uint64 0\)"),
    (("GetEvents", "tu", "0", "10"), r"\(\[\(uint64 1, uint64 1795000000, 'memory', 'corrected', uint32 0,"),
    (("GetEvent", "t", "1"), r"\(\{.*'MCE_ADDR': \['0x7b3a5c000'\]"),
    (("ListReplaced", ""), r"\(@a\(osssttts\) \[\],\)"),
]


@pytest.mark.usefixtures("daemon")
@pytest.mark.parametrize(("call", "printed"), LISTS, ids=lambda one: one[0])
def test_busctl_and_gdbus_read_lists(bus: PrivateBus, call: tuple[str, ...], printed: str) -> None:
    member, _, *arguments = call
    answer = busctl(bus, "call", NAME, MANAGER, "org.mcelog.Manager", *call)
    assert answer["data"]
    said = run(bus, *gdbus_call(MANAGER, f"org.mcelog.Manager.{member}", *arguments))
    assert re.match(printed, said), said


# -- signals ------------------------------------------------------------------------------------


class Heard(NamedTuple):
    """What three that listen printed of the same signals."""

    python: list[list[Any]]
    gdbus: list[str]
    busctl: list[dict[str, Any]]


SIGNALS = {"EventLogged", "ThresholdExceeded", "PageOfflined", "InterfacesAdded", "PropertiesChanged"}
OFFLINED = 0x6C1D2000
"""A page that an administrator takes out of use when all else was heard."""


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Heard:
    """A DIMM with many errors of a page, which is then to be taken out of use, and a new one."""
    need_python3_dbus()
    need("gdbus", "libglib2.0-bin")
    every = ["busctl", "--json=short", "--match", f"type='signal',sender='{NAME}'", "monitor"]
    with (
        shipped_bus() as bus,
        polkit_on(bus, reader=rule(READER, "org.mcelog.read", "YES")),
        daemon_on(bus, tmp_path_factory.mktemp("daemon")) as daemon,
        Live(script(uid_of(READER)), bus.environ) as python,
        Live(as_user(NOBODY, "gdbus", "monitor", "--system", "--dest", NAME), bus.environ) as gdbus,
        Live(every, bus.environ) as watching,
    ):
        for client, ready in ((python, "listening"), (gdbus, "is owned by"), (watching, "Monitoring")):
            client.read_until(ready)
        daemon.send(memory_error(FRAME) * 12 + memory_error(3, socketid=1))
        for path in (MANAGER, DIMM, "/org/mcelog/socket/1"):
            python.read_until(f'"{path}", "PropertiesChanged"')
        python.read_until('"PageOfflined", 1,')
        bus.run(*gdbus_call(MANAGER, "org.mcelog.Manager.OfflinePage", str(OFFLINED), "soft"))
        # In the one order in which they were sent: up to this one, everybody heard the same.
        return Heard(
            [json.loads(line)[1:] for line in lines(python, '"PageOfflined", 2, 0]') if '["signal"' in line],
            [line for line in lines(gdbus, "PageOfflined (uint64 2, false)") if line.startswith("/")],
            [json.loads(line) for line in lines(watching, '"data":[2,false]}}') if line.startswith("{")],
        )


def lines(client: Live, last: str) -> list[str]:
    """All that it printed, up to the line that ends so."""
    printed, _, _ = client.read_until(last + "\n").partition(last + "\n")
    return (printed + last).splitlines()


def test_all_hear_every_signal(heard: Heard) -> None:
    assert {line[1] for line in heard.python} == SIGNALS
    of_python = [(path, member) for path, member, *_ in heard.python]
    of_gdbus = [(line.partition(":")[0], line.split()[1].rpartition(".")[2]) for line in heard.gdbus]
    of_busctl = [(one["path"], one["member"]) for one in heard.busctl]
    assert of_python == of_gdbus == of_busctl


def test_what_signals_say(heard: Heard) -> None:
    new = "/org/mcelog/dimm/1_0_any"
    identity = {"Socket": 1, "Channel": 0, "Dimm": -1, "Label": ""}
    assert [MANAGER, "InterfacesAdded", new, {"org.mcelog.Dimm": identity}] in heard.python
    assert [MANAGER, "EventLogged", 3, "memory", "corrected", DIMM] in heard.python
    assert [MANAGER, "PageOfflined", 1, False] in heard.python
    crossed = {(line[2], line[3]) for line in heard.python if line[1] == "ThresholdExceeded"}
    assert {(DIMM, "dimm"), (SOCKET, "page")} <= crossed
    signatures = {one["member"]: one["payload"]["type"] for one in heard.busctl}
    assert signatures == {
        "EventLogged": "tsso",
        "ThresholdExceeded": "oss",
        "PageOfflined": "tb",
        "InterfacesAdded": "oa{sa{sv}}",
        "PropertiesChanged": "sa{sv}as",
    }


def test_no_signal_carries_an_address_or_a_counter_of_a_dimm(heard: Heard) -> None:
    numbers = (FRAME, FRAME << 12, OFFLINED, OFFLINED >> 12)
    forms = [form for number in numbers for form in (str(number), f"{number:x}")]
    payloads = [json.dumps(one["payload"]) for one in heard.busctl]
    for text in (json.dumps(heard.python), "\n".join(heard.gdbus), "\n".join(payloads)):
        assert not [form for form in forms if form in text.lower()]
    changed = [line[2:] for line in heard.python if line[1] == "PropertiesChanged"]
    assert {one[0] for one in changed} == set(PATHS)
    assert [one for one in changed if one[0] != "org.mcelog.Manager" and one[1]] == []


def test_an_object_that_goes() -> None:
    """None of the daemon's does while it runs; what it would say is understood all the same."""
    need_python3_dbus()

    def look(bus: PrivateBus, served: Served, loop: asyncio.AbstractEventLoop) -> None:
        with Live(script(os.geteuid()), bus.environ) as python:
            python.read_until("listening")
            loop.call_soon_threadsafe(served.remove, DIMM)
            said = python.read_until("InterfacesRemoved").splitlines()[-1]
        assert json.loads(said) == ["signal", MANAGER, "InterfacesRemoved", DIMM, ["org.mcelog.Dimm"]]

    async def main(bus: PrivateBus) -> None:
        served = Served(bus)
        served.add(DIMM)
        await served.start()
        try:
            await asyncio.to_thread(look, bus, served, asyncio.get_running_loop())
        finally:
            await served.close()

    with private_bus() as bus:
        asyncio.run(main(bus))
