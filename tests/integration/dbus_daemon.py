# SPDX-License-Identifier: GPL-2.0-only
"""The real daemon on a bus with the policy that is shipped, next to a real polkitd; and its contract."""

from __future__ import annotations

import contextlib
import os
import pwd
import re
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from .conftest import Scratch, memory_error, wait_for
from .privatebus import SYSTEM_POLICY, Polkitd, PrivateBus, private_bus

if TYPE_CHECKING:
    from collections.abc import Iterator

TOP = Path(__file__).resolve().parents[2]
CONTRACT = TOP / "data/org.mcelog.xml"
POLICY = TOP / "data/polkit/org.mcelog.policy"
BUS_POLICY = TOP / "data/org.mcelog.conf"

NAME = "org.mcelog"
MANAGER = "/org/mcelog"
DIMM = "/org/mcelog/dimm/0_0_any"
SOCKET = "/org/mcelog/socket/0"
PATHS = {"org.mcelog.Manager": MANAGER, "org.mcelog.Dimm": DIMM, "org.mcelog.Socket": SOCKET}
"""Where the objects are after FIRST."""

FRAME = 0x7B3A5C
"""Number of a page, which nothing else is."""

CACHE = 0x9000000000000135
"""MCi_STATUS of a corrected error of a cache: the core has it."""

FIRST = memory_error(FRAME) + memory_error(2, status=CACHE, extcpu=1)

OTHERS = """
  <policy user="root">
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Monitoring"/>
  </policy>
  <include>{policy}</include>
  <include ignore_missing="yes">/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf</include>
"""
"""That root may watch the bus is said by every system bus, too."""

_ACTION = re.compile(r"[Nn]eeds\s+(org\.mcelog\.[a-z-]+)")


class Member(NamedTuple):
    """A method or a property as data/org.mcelog.xml has it."""

    interface: str
    kind: str
    name: str
    signature: str
    """Of what a method takes, or of the property."""
    action: str
    """What the comment before it, or before its interface, says is needed; empty for nothing."""


def contract() -> list[Member]:
    """All methods and properties."""
    parser = ET.XMLParser(target=ET.TreeBuilder(insert_comments=True))
    found = []
    for interface, reading in _with_actions(ET.parse(CONTRACT, parser).getroot()):
        for member, own in _with_actions(interface):
            takes = "".join(str(one.get("type")) for one in member.iterfind("arg[@direction='in']"))
            if member.tag in ("method", "property"):
                signature = member.get("type", takes)
                action = own if member.tag == "method" else own or reading
                names = (str(interface.get("name")), str(member.tag), str(member.get("name")))
                found.append(Member(*names, signature, action))
    return found


def _with_actions(parent: ET.Element) -> Iterator[tuple[ET.Element, str]]:
    """Each element, and the action that the comment before it names."""
    comment = ""
    for child in parent:
        if child.tag is ET.Comment:
            comment = child.text or ""
            continue
        named = _ACTION.search(comment)
        yield child, named[1] if named else ""
        comment = ""


def actions() -> list[str]:
    """What polkit is asked about."""
    return sorted({member.action for member in contract()} - {""})


@contextlib.contextmanager
def shipped_bus() -> Iterator[PrivateBus]:
    """A bus that says of mcelog what data/org.mcelog.conf says, and no more."""
    lines = [line for line in SYSTEM_POLICY.splitlines() if NAME not in line]
    with private_bus("\n".join(lines), OTHERS.format(policy=BUS_POLICY)) as bus:
        yield bus


@contextlib.contextmanager
def polkit_on(bus: PrivateBus, **rules: str) -> Iterator[Polkitd]:
    """A polkitd that knows our actions; `rules` as files of an administrator."""
    polkitd = Polkitd(bus, POLICY)
    for name, script in rules.items():
        polkitd.add_rule(name, script)
    polkitd.start()
    try:
        yield polkitd
    finally:
        polkitd.stop()


def rule(user: str, action: str, result: str) -> str:
    """Of polkit, that one user gets that answer."""
    condition = f'action.id == "{action}" && subject.user == "{user}"'
    return (
        f"polkit.addRule(function(action, subject) {{ if ({condition}) return polkit.Result.{result}; }});\n"
    )


def uid_of(user: str) -> int:
    return pwd.getpwnam(user).pw_uid


@contextlib.contextmanager
def daemon_on(bus: PrivateBus, directory: Path, first: bytes = FIRST) -> Iterator[Scratch]:
    """The daemon, once it has read these records and can be called. Its sysfs is a scratch one,
    where no page can be taken out of use."""
    scratch = Scratch(directory)
    for mode in ("soft", "hard"):  # a directory, to which no address can be written
        (directory / f"sys/devices/system/memory/{mode}_offline_page").mkdir(parents=True)
    text = scratch.config.read_text().replace("memory-ce-action = account", "memory-ce-action = soft")
    text = text.replace("bus = none", f"bus = {bus.address}\nsysfs-root = {directory}/sys")
    scratch.config.write_text(text)
    try:
        scratch.start()
        scratch.send(first)
        read = f"t {len(first) // len(memory_error(0))}\n"
        words = ("get-property", NAME, MANAGER, "org.mcelog.Manager", "RecordsRead")
        wait_for(lambda: bus.run("busctl", *words).stdout == read, "the records")
        yield scratch
    finally:
        if scratch.process is not None and scratch.process.poll() is None:
            scratch.stop()
        os.close(scratch.feed)
