# SPDX-License-Identifier: GPL-2.0-only
"""The real daemon on a bus of its own: its objects are what data/org.mcelog.xml says, and gated."""

from __future__ import annotations

import json
import os
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from .conftest import Scratch, memory_error, wait_for
from .privatebus import NOBODY, SYSTEM_POLICY, PrivateBus, need, private_bus

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: to be somebody else")

ROOT = Path(__file__).resolve().parents[2]
CONTRACT = ROOT / "data/org.mcelog.xml"
POLICY = ROOT / "data/polkit/org.mcelog.policy"
MANAGER = "/org/mcelog"
DIMM = "/org/mcelog/dimm/0_0_any"
SOCKET = "/org/mcelog/socket/0"
PAGE = 0x7B000


class Served:
    """The daemon and its bus."""

    def __init__(self, bus: PrivateBus, scratch: Scratch) -> None:
        self.bus = bus
        self.scratch = scratch

    def busctl(self, *words: str, uid: int | None = None) -> subprocess.CompletedProcess[str]:
        return self.bus.run("busctl", f"--address={self.bus.address}", *words, uid=uid)

    def call(self, member: str, *words: str, uid: int | None = None) -> subprocess.CompletedProcess[str]:
        return self.busctl("call", "org.mcelog", MANAGER, "org.mcelog.Manager", member, *words, uid=uid)

    def value(self, path: str, interface: str, name: str) -> Any:
        done = self.busctl(
            "--json=short", "get-property", "org.mcelog", path, f"org.mcelog.{interface}", name
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)["data"]

    def introspect(self, path: str) -> ET.Element:
        words = ("call", "org.mcelog", path, "org.freedesktop.DBus.Introspectable", "Introspect")
        done = self.busctl("--json=short", *words)
        assert done.returncode == 0, done.stderr
        return ET.fromstring(json.loads(done.stdout)["data"][0])


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    need("busctl", "systemd")
    with private_bus(SYSTEM_POLICY) as bus:
        scratch = Scratch(tmp_path_factory.mktemp("daemon"))
        scratch.config.write_text(scratch.config.read_text().replace("bus = none", f"bus = {bus.address}"))
        scratch.start()
        scratch.send(b"".join(memory_error(PAGE >> 12) for _ in range(3)))
        scratch.wait_stored(3)
        found = Served(bus, scratch)
        wait_for(lambda: found.value(MANAGER, "Manager", "RecordsRead") == 3, "the records")
        yield found
        scratch.stop()


def shape(interface: ET.Element) -> set[tuple[str, ...]]:
    """Every member with what a caller depends on."""
    found = set()
    for member in interface:
        if member.tag not in ("method", "signal", "property"):
            continue
        arguments = [
            f"{argument.get('name')}:{argument.get('type')}:{argument.get('direction', '')}"
            for argument in member.iter("arg")
        ]
        notes = [f"{note.get('name')}={note.get('value')}" for note in member.iter("annotation")]
        kept = (member.tag, str(member.get("name")), str(member.get("type")), *arguments, *sorted(notes))
        found.add(kept)
    return found


@pytest.mark.parametrize(("path", "name"), [(MANAGER, "Manager"), (DIMM, "Dimm"), (SOCKET, "Socket")])
def test_what_is_served_is_the_contract(served: Served, path: str, name: str) -> None:
    wanted = {one.get("name"): one for one in ET.parse(CONTRACT).getroot()}[f"org.mcelog.{name}"]
    (live,) = [one for one in served.introspect(path) if one.get("name") == f"org.mcelog.{name}"]
    assert shape(live) == shape(wanted)


def test_what_is_read_is_exact(served: Served) -> None:
    assert served.value(DIMM, "Dimm", "CorrectedErrors") == 3
    assert served.value(SOCKET, "Socket", "CorrectedErrors") == 3
    assert served.value(DIMM, "Dimm", "Channel") == 0
    pages = json.loads(served.busctl("--json=short", *_list_pages()).stdout)["data"]
    assert pages[0][0][:2] == [PAGE, 3]
    assert pages[1] == 1


GATED = [
    ("ListPages", "uu", "0", "10"),
    ("GetEvents", "tu", "0", "10"),
    ("GetEvent", "t", "1"),
    ("ListReplaced",),
    ("OfflinePage", "ts", "4096", "soft"),
    ("ResetCounters", "o", DIMM),
    ("MarkReplaced", "o", DIMM),
    ("Acquit", "o", DIMM),
    ("Reload",),
    ("SelfTest",),
]


@pytest.mark.parametrize("call", GATED, ids=lambda call: call[0])
def test_without_polkit_only_root_may(served: Served, call: tuple[str, ...]) -> None:
    refused = served.call(*call, uid=NOBODY)
    assert (refused.returncode, refused.stderr) == (1, "Call failed: Access denied\n")


def test_nobody_reads_the_totals_and_no_dimm(served: Served) -> None:
    manager = ("get-property", "org.mcelog", MANAGER, "org.mcelog.Manager", "CorrectedErrors")
    assert served.busctl(*manager, uid=NOBODY).stdout == "t 3\n"
    words = ("get-property", "org.mcelog", DIMM, "org.mcelog.Dimm", "CorrectedErrors")
    assert served.busctl(*words, uid=NOBODY).returncode != 0
    objects = ("call", "org.mcelog", MANAGER, "org.freedesktop.DBus.ObjectManager", "GetManagedObjects")
    refused = served.busctl(*objects, uid=NOBODY)
    assert (refused.returncode != 0, refused.stdout) == (True, "")


@pytest.mark.parametrize(
    "call",
    [
        ("ListPages", "uu", "0", "0"),
        ("GetEvents", "tu", "0", "100000"),
        ("GetEvent", "t", "99999"),
        ("OfflinePage", "ts", "4096", "gently"),
        ("ResetCounters", "o", "/elsewhere"),
        ("Acquit", "o", SOCKET),
    ],
)
def test_nonsense_gets_one_line(served: Served, call: tuple[str, ...]) -> None:
    done = served.call(*call)
    assert done.returncode != 0
    assert "Traceback" not in done.stderr
    assert len(done.stderr.splitlines()) == 1


def test_signals_carry_no_address_and_no_counter(served: Served) -> None:
    need("gdbus", "libglib2.0-bin")
    command = ["gdbus", "monitor", "--address", served.bus.address, "--dest", "org.mcelog"]
    listening = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, user=NOBODY, group=NOBODY)
    assert listening.stdout is not None
    while "is owned by" not in listening.stdout.readline():
        pass
    before = served.value(MANAGER, "Manager", "RecordsRead")
    served.scratch.send(b"".join(memory_error(PAGE >> 12) for _ in range(4)))
    wait_for(lambda: served.value(MANAGER, "Manager", "RecordsRead") == before + 4, "the records")
    subprocess.run(["sleep", "0.7"], check=True)
    listening.terminate()
    heard, _ = listening.communicate(timeout=20)
    for member in ("EventLogged", "ThresholdExceeded", "PropertiesChanged ('org.mcelog.Dimm', @a{sv} {}"):
        assert member in heard
    assert str(PAGE) not in heard
    assert f"{PAGE:x}" not in heard


def test_the_actions_are_those_of_the_policy() -> None:
    need("xmllint", "libxml2-utils")
    dtd = "/usr/share/polkit-1/policyconfig-1.dtd"
    if Path(dtd).exists():
        subprocess.run(["xmllint", "--noout", "--nonet", "--dtdvalid", dtd, str(POLICY)], check=True)
    from mcelogd import dbus_iface

    known = {action.get("id") for action in ET.parse(POLICY).getroot().iter("action")}
    used = {method.action for method in dbus_iface.Manager.methods.values()} - {""}
    assert used == known


def _list_pages() -> tuple[str, ...]:
    return ("call", "org.mcelog", MANAGER, "org.mcelog.Manager", "ListPages", "uu", "0", "10")
