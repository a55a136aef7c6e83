# SPDX-License-Identifier: GPL-2.0-only
"""The files that D-Bus and polkit read of us: as their DTDs say, and as their programs understand them."""

from __future__ import annotations

import asyncio
import grp
import os
import re
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd import dbus_iface
from mcelogd.dbus.memory import Dimm, Socket
from mcelogd.polkit import AccessDeniedError, InteractionRequiredError

from .dbus_daemon import (
    BUS_POLICY,
    CONTRACT,
    MANAGER,
    NAME,
    PATHS,
    POLICY,
    TOP,
    actions,
    contract,
    daemon_on,
    shipped_bus,
    uid_of,
)
from .privatebus import NOBODY, Polkitd, PrivateBus, need
from .test_polkit import asking, callers

if TYPE_CHECKING:
    from collections.abc import Iterator

needs_root = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: for a polkitd and to be somebody else")

INTROSPECT_DTD = Path("/usr/share/xml/dbus-1/introspect.dtd")
BUSCONFIG_DTD = Path("/usr/share/xml/dbus-1/busconfig.dtd")
POLICY_DTD = Path("/usr/share/polkit-1/policyconfig-1.dtd")
PACKAGES = {INTROSPECT_DTD: "libdbus-1-dev", BUSCONFIG_DTD: "libdbus-1-dev", POLICY_DTD: "polkitd"}

NOT_IN_DTD = re.compile(r"No declaration for attribute send_(destination|interface) of element allow$")
"""What dbus-daemon reads (dbus-daemon(1), "CONFIGURATION FILE") and its DTD has never been told of: its own
system.conf is at odds with it in the same way."""

DOCUMENT = TOP / "docs/dbus.md"
GROUP = "mcelog-admins"
MEMBER, OTHER = "games", "man"
"""Users whom every Debian has; the first one the test puts into the group."""


# -- by their DTDs ------------------------------------------------------------------------------


def faults(dtd: Path, text: str) -> list[str]:
    """What xmllint finds; it looks at no other file, and asks no other machine."""
    need("xmllint", "libxml2-utils")
    if not dtd.exists():
        assert not os.environ.get("CI"), f"CI must have {dtd} (package {PACKAGES[dtd]})"
        pytest.skip(f"{dtd} (package {PACKAGES[dtd]}) is not installed")
    command = ["xmllint", "--noout", "--nonet", "--dtdvalid", str(dtd), "-"]
    done = subprocess.run(command, input=text, capture_output=True, text=True, check=False)
    assert bool(done.returncode) == bool(done.stderr)
    found = [line for line in done.stderr.splitlines() if not line.startswith("Document - does not")]
    return [line for line in found if not NOT_IN_DTD.search(line)]


@pytest.mark.parametrize(
    ("dtd", "path"),
    [(INTROSPECT_DTD, CONTRACT), (BUSCONFIG_DTD, BUS_POLICY), (POLICY_DTD, POLICY)],
    ids=lambda path: path.name,
)
def test_it_is_as_its_dtd_says(dtd: Path, path: Path) -> None:
    text = path.read_text()
    assert faults(dtd, text) == []
    broken = re.sub(r"<(method|allow|message)\b", r"<an-\1", text, count=1)
    assert faults(dtd, re.sub(r"</(method|message)>", r"</an-\1>", broken, count=1))


@needs_root
@pytest.mark.parametrize("path", ["/", MANAGER, *PATHS.values()])
def test_what_is_served_is_as_the_dtd_says(served: PrivateBus, path: str) -> None:
    words = (NAME, path, "org.freedesktop.DBus.Introspectable", "Introspect")
    text = served.run("gdbus", *gdbus_words(*words)).stdout
    assert text.startswith("('<!DOCTYPE node")
    # As GVariant's text format has a string; there is nothing else in it that it would escape.
    assert faults(INTROSPECT_DTD, text[2:-4].replace("\\n", "\n").replace('\\"', '"')) == []


def gdbus_words(name: str, path: str, interface: str, member: str) -> list[str]:
    where = ["--system", "--dest", name, "--object-path", path]
    return ["call", *where, "--method", f"{interface}.{member}"]


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBus]:
    need("gdbus", "libglib2.0-bin")
    with shipped_bus() as bus, daemon_on(bus, tmp_path_factory.mktemp("daemon")):
        yield bus


# -- the actions --------------------------------------------------------------------------------


def policy() -> dict[str, ET.Element]:
    """The actions of the policy by their ids."""
    return {str(action.get("id")): action for action in ET.parse(POLICY).getroot().iter("action")}


def test_the_actions_are_the_same_everywhere() -> None:
    """In the policy, in the code, in the contract, and in what an administrator reads."""
    used = {method.action for method in dbus_iface.Manager.methods.values()}
    used |= {Dimm.read, Socket.read, dbus_iface.Manager.read}
    assert set(policy()) == used - {""} == set(actions())
    told = re.findall(r"^\| `(org\.mcelog\.[a-z-]+)` \|", DOCUMENT.read_text(), re.MULTILINE)
    assert sorted(told) == actions()


def test_the_document_says_what_each_action_is_for() -> None:
    rows = dict(re.findall(r"^\| `(org\.mcelog\.[a-z-]+)` \| ([^|]*) \|", DOCUMENT.read_text(), re.MULTILINE))
    methods = {member.name: member.action for member in contract() if member.kind == "method"}
    told = {name: action for action, what in rows.items() for name in re.findall(r"`(\w+)`", what)}
    told.pop("GetManagedObjects", None)
    assert told == methods


@needs_root
def test_pkaction_lists_them_with_our_messages(polkit_with_example: PrivateBus) -> None:
    need("pkaction", "polkitd")
    listed = polkit_with_example.run("pkaction", uid=NOBODY).stdout.split()
    assert [action for action in listed if action.startswith(NAME)] == actions()
    for action, element in policy().items():
        done = polkit_with_example.run("pkaction", "--verbose", "--action-id", action, uid=NOBODY)
        assert (done.returncode, done.stderr) == (0, "")
        shown = {
            key.strip(): value.strip()
            for key, _, value in (line.partition(":") for line in done.stdout.splitlines())
        }
        assert shown["message"] == element.findtext("message")
        assert shown["description"] == element.findtext("description")
        assert shown["vendor"] == "mcelog"
        assert shown["implicit any"] == shown["implicit inactive"] == "auth_admin"
        active = "yes" if action == "org.mcelog.read" else "auth_admin_keep"
        assert shown["implicit active"] == active


def test_messages_name_only_what_the_service_tells() -> None:
    """What polkit puts in the place of $(...) it gets with the call; others it would show as they are."""
    given = {
        "org.mcelog.offline-page": {"address", "mode"},
        "org.mcelog.reset-counters": {"object"},
    }
    for action, element in policy().items():
        used = set(re.findall(r"\$\(([^)]*)\)", str(element.findtext("message"))))
        assert used == given.get(action, set())


# -- the example of a rule ----------------------------------------------------------------------


class WithGroup(Polkitd):
    """A polkitd for which there is one group more."""

    BIND = Polkitd.BIND.replace(" && exec", ' && mount --bind "${1%/*}/group" /etc/group && exec')


def example() -> str:
    """The rule that docs/dbus.md shows."""
    _, _, rest = DOCUMENT.read_text().partition("50-mcelog-admins.rules`:\n\n")
    return "".join(line[4:] for line in rest.partition("\n\n")[0].splitlines(keepends=True)) + "\n"


@pytest.fixture(scope="module")
def polkit_with_example() -> Iterator[PrivateBus]:
    assert GROUP not in {group.gr_name for group in grp.getgrall()}
    with shipped_bus() as bus:
        polkitd = WithGroup(bus, POLICY)
        polkitd.add_rule(f"50-{GROUP}", example())
        groups = Path("/etc/group").read_text()
        (bus.directory / "group").write_text(f"{groups}{GROUP}:x:59999:{MEMBER}\n")
        polkitd.start()
        yield bus
        polkitd.stop()


@needs_root
@pytest.mark.parametrize("action", actions())
def test_the_example_lets_the_group_in_and_nobody_else(polkit_with_example: PrivateBus, action: str) -> None:
    async def main() -> None:
        async with (
            asking(polkit_with_example) as authority,
            callers(polkit_with_example, uid_of(MEMBER), uid_of(OTHER)) as (member, other),
        ):
            await authority.check(member, action)
            with pytest.raises(InteractionRequiredError):
                await authority.check(other, action)

    asyncio.run(main())


@needs_root
def test_the_example_lets_the_group_do_nothing_else(polkit_with_example: PrivateBus) -> None:
    async def main() -> None:
        async with (
            asking(polkit_with_example) as authority,
            callers(polkit_with_example, uid_of(MEMBER)) as (member,),
        ):
            with pytest.raises(InteractionRequiredError):
                await authority.check(member, "org.freedesktop.policykit.exec")
            with pytest.raises(AccessDeniedError):
                await authority.check(member, "org.mcelogic.read")

    asyncio.run(main())


def test_the_example_is_a_rule() -> None:
    assert example().startswith("polkit.addRule(")
    assert example().endswith("});\n")


# -- the bus ------------------------------------------------------------------------------------


def test_the_bus_policy_names_every_interface_that_is_served() -> None:
    """What is not named there nobody could call, not even root."""
    allowed = {
        str(one.get("send_interface"))
        for one in ET.parse(BUS_POLICY).getroot().iterfind("policy[@context='default']/allow")
    }
    standard = {f"org.freedesktop.DBus.{name}" for name in ("ObjectManager", "Properties")}
    standard |= {f"org.freedesktop.DBus.{name}" for name in ("Introspectable", "Peer")}
    with_methods = {member.interface for member in contract() if member.kind == "method"}
    assert allowed == standard | with_methods
