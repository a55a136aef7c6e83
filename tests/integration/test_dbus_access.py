# SPDX-License-Identifier: GPL-2.0-only
"""Who may do what with the real daemon: every member of the contract, as each of those who may differ.

What a member needs is taken from data/org.mcelog.xml, so that the code, the
contract and polkit's policy have to agree, and no member is left out.
"""

from __future__ import annotations

import asyncio
import os
import time
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest

from mcelogd import polkit
from mcelogd.dbus.declare import OBJECT_MANAGER, PROPERTIES
from mcelogd.dbus.library import Message, MessageFlag, MessageType, Variant, plain
from mcelogd.dbus.objects import INTROSPECTABLE, PEER
from mcelogd.dbus.wire import ACCESS_DENIED, DBUS, DBUS_PATH, INTERACTION_REQUIRED

from .dbus_daemon import (
    DIMM,
    MANAGER,
    NAME,
    PATHS,
    SOCKET,
    actions,
    contract,
    daemon_on,
    polkit_on,
    rule,
    shipped_bus,
    uid_of,
)
from .privatebus import NOBODY, PrivateBus, forked, need, until
from .test_polkit import Agent

if TYPE_CHECKING:
    from collections.abc import Coroutine, Iterator, Sequence
    from pathlib import Path

    from mcelogd.dbus.repairs import RepairedBus

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: for a polkitd and to be somebody else")

READ = "org.mcelog.read"
OPEN = ""
OFFLINED = 0x5000

ARGUMENTS: dict[str, list[Any]] = {
    "ListPages": [0, 10],
    "GetEvents": [0, 10],
    "GetEvent": [1],
    "ListReplaced": [],
    "OfflinePage": [OFFLINED, "soft"],
    "ResetCounters": [DIMM],
    "MarkReplaced": [DIMM],
    "Acquit": [DIMM],
    "Reload": [],
    "SelfTest": [],
}
"""Of every method of the contract, such that it is done for who may."""

DETAILS = {
    "OfflinePage": {"address": f"{OFFLINED:#x}", "mode": "soft"},
    **{member: {"object": DIMM} for member in ("ResetCounters", "MarkReplaced", "Acquit")},
}
"""What polkit is told beside the action."""

MAY_FAIL = {"SelfTest"}
"""What needs more than the right to do it."""


class Call(NamedTuple):
    """Something that a client may ask for, and the action that it needs."""

    path: str
    interface: str
    member: str
    signature: str = ""
    arguments: Sequence[Any] = ()
    action: str = OPEN

    def __str__(self) -> str:
        words = [self.path.removeprefix(MANAGER), self.member]
        if self.interface == PROPERTIES:
            words += [str(one).rpartition(".")[2] for one in self.arguments]
        return " ".join(filter(None, words))


def calls() -> list[Call]:
    """Every member that the contract has, and those of the standard interfaces that every object has."""
    found = []
    for member in contract():
        path = PATHS[member.interface]
        if member.kind == "property":
            arguments = [member.interface, member.name]
            found.append(Call(path, PROPERTIES, "Get", "ss", arguments, member.action))
        else:
            arguments = ARGUMENTS.get(member.name, [])
            found.append(
                Call(path, member.interface, member.name, member.signature, arguments, member.action)
            )
    for interface, path in PATHS.items():
        reading = {one.action for one in contract() if (one.interface, one.kind) == (interface, "property")}
        found.append(Call(path, PROPERTIES, "GetAll", "s", [interface], *reading))
        found.append(Call(path, INTROSPECTABLE, "Introspect"))
        found += [Call(path, PEER, member) for member in ("Ping", "GetMachineId")]
    found.append(Call(MANAGER, OBJECT_MANAGER, "GetManagedObjects", action=READ))
    return found


USERS = dict(zip(actions(), ("daemon", "bin", "sys", "games", "man", "lp", "mail", "news"), strict=False))
"""Action -> the one user whom a rule lets do that, and nothing else."""

REFUSED = "proxy"
"""A user to whom a rule refuses everything, even with a password."""

ANYBODY = "nobody"
"""A user of whom no rule speaks, and whose session is not active: a password would do."""

CALLERS = ["root", ANYBODY, REFUSED, *USERS.values()]

RULES = "".join(
    rule(REFUSED, action, "NO") + rule(user, action, "YES") for action, user in sorted(USERS.items())
)


def test_the_matrix_is_complete() -> None:
    """A new member needs arguments here, and a new action a user."""
    assert set(ARGUMENTS) == {member.name for member in contract() if member.kind == "method"}
    assert set(USERS) == set(actions())
    assert {call.action for call in calls()} == {OPEN, *USERS}


# -- a bus with everybody on it -----------------------------------------------------------------


class Watcher:
    """What polkit is asked, as somebody sees it who sees all that is on the bus."""

    MARK = "GetId"
    RULES = ("type='method_call',member='CheckAuthorization'", f"type='method_call',member='{MARK}'")

    def __init__(self, bus: RepairedBus) -> None:
        self._bus = bus
        self._marks = 0
        self.questions: list[tuple[str, dict[str, str], bool]] = []
        """Action; details; whether a password may be asked for."""

    async def start(self) -> None:
        monitor = Message(
            *(DBUS, DBUS_PATH, f"{DBUS}.Monitoring", "BecomeMonitor"),
            signature="asu",
            body=[list(self.RULES), 0],
        )
        reply = await self._bus.call(monitor)
        assert reply is not None
        assert reply.message_type is MessageType.METHOD_RETURN, reply.body
        self._bus.add_message_handler(self._seen)

    def _seen(self, message: Message) -> bool:
        if message.member == self.MARK:
            self._marks += 1
        elif message.member == "CheckAuthorization":
            _, action, details, flags, _ = plain(message.body)
            self.questions.append((action, details, bool(flags & 1)))
        return True  # it is not for us, so nobody is to answer it

    async def catch_up(self, other: RepairedBus) -> None:
        """Return when all is seen that was said until now."""
        before = self._marks
        await other.call(Message(DBUS, DBUS_PATH, DBUS, self.MARK))
        await until(lambda: self._marks > before, "the mark")


class Stage:
    """A daemon, and somebody of each kind who may call it."""

    def __init__(self, bus: PrivateBus) -> None:
        self.bus = bus
        self._runner = asyncio.Runner()
        self.users: dict[str, RepairedBus] = {}

    def __enter__(self) -> Stage:
        self.run(self._connect())
        return self

    def __exit__(self, *_: object) -> None:
        for connection in (*self.users.values(), self.watching):
            connection.disconnect()
        self._runner.close()

    def run(self, work: Coroutine[Any, Any, Any]) -> Any:
        return self._runner.run(asyncio.wait_for(work, 20))

    async def _connect(self) -> None:
        for user in CALLERS:
            self.users[user] = await self.bus.connect(uid_of(user))
        self.watching = await self.bus.connect()
        self.watcher = Watcher(self.watching)
        await self.watcher.start()

    def call(self, user: str, call: Call, *, interactive: bool = False) -> Message:
        """The answer; what polkit was asked meanwhile is in watcher.questions."""
        return self.run(self._call(user, call, interactive))

    async def _call(self, user: str, call: Call, interactive: bool) -> Message:
        self.watcher.questions.clear()
        flags = MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION if interactive else MessageFlag.NONE
        reply = await self.users[user].call(
            Message(NAME, *call[:3], signature=call.signature, body=list(call.arguments), flags=flags)
        )
        await self.watcher.catch_up(self.users[user])
        assert reply is not None
        return reply


@pytest.fixture(scope="module")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    need("busctl", "systemd")
    directory = tmp_path_factory.mktemp("daemon")
    with shipped_bus() as bus, polkit_on(bus, rules=RULES), daemon_on(bus, directory), Stage(bus) as stage:
        yield stage


@pytest.fixture(scope="module")
def without_polkit(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    need("busctl", "systemd")
    with shipped_bus() as bus, daemon_on(bus, tmp_path_factory.mktemp("daemon")), Stage(bus) as stage:
        yield stage


def assert_done(call: Call, reply: Message) -> None:
    """It was done, or at least not for want of a right left undone."""
    if call.member in MAY_FAIL:
        assert reply.error_name in (None, "org.mcelog.Error.NotPossible"), reply.body
    else:
        assert reply.message_type is MessageType.METHOD_RETURN, (reply.error_name, reply.body)


def assert_refused(reply: Message, error: str) -> None:
    """With that error, one line that tells nothing else, and no value."""
    assert (reply.message_type, reply.error_name) == (MessageType.ERROR, error), reply.body
    (text,) = reply.body
    assert len(text.splitlines()) == 1
    assert len(text) < 100


# -- the matrix ---------------------------------------------------------------------------------


@pytest.mark.parametrize("user", CALLERS)
@pytest.mark.parametrize("call", calls(), ids=str)
def test_who_may(stage: Stage, user: str, call: Call) -> None:
    reply = stage.call(user, call)
    if user == "root" or call.action == OPEN:
        assert_done(call, reply)
        assert stage.watcher.questions == []
        return
    assert stage.watcher.questions == [(call.action, DETAILS.get(call.member, {}), False)]
    if user == USERS[call.action]:
        assert_done(call, reply)
    else:
        assert_refused(reply, ACCESS_DENIED if user == REFUSED else INTERACTION_REQUIRED)


@pytest.mark.parametrize("user", ["root", ANYBODY, USERS[READ]])
@pytest.mark.parametrize("call", calls(), ids=str)
def test_without_polkit_root_may_and_others_what_is_open(
    without_polkit: Stage, user: str, call: Call
) -> None:
    reply = without_polkit.call(user, call)
    if user == "root" or call.action == OPEN:
        assert_done(call, reply)
    else:
        assert_refused(reply, ACCESS_DENIED)


def one_of_each_action() -> list[Call]:
    return list({call.action: call for call in calls() if call.action}.values())


@pytest.mark.parametrize("user", [ANYBODY, REFUSED])
@pytest.mark.parametrize("call", one_of_each_action(), ids=str)
def test_who_would_type_a_password_but_has_nowhere_to(stage: Stage, user: str, call: Call) -> None:
    """polkit is told that it may ask for one, and nobody waits for a dialog that cannot be."""
    before = time.monotonic()
    reply = stage.call(user, call, interactive=True)
    assert time.monotonic() - before < 5
    assert_refused(reply, ACCESS_DENIED if user == REFUSED else INTERACTION_REQUIRED)
    assert stage.watcher.questions == [(call.action, DETAILS.get(call.member, {}), True)]


@pytest.mark.parametrize("path", PATHS.values())
def test_what_is_served_beyond_the_contract_is_known(stage: Stage, path: str) -> None:
    """An interface that is new there has to be in the matrix, too."""
    reply = stage.call("root", Call(path, INTROSPECTABLE, "Introspect"))
    served = {str(one.get("name")): one for one in ET.fromstring(reply.body[0])}
    members = {
        (name, str(method.get("name"))) for name, one in served.items() for method in one.iterfind("method")
    }
    tried = {(call.interface, call.member) for call in calls() if call.path == path}
    assert members - tried == {(PROPERTIES, "Set")}
    own = [name for name in served if name.startswith(NAME)]
    assert [PATHS[name] for name in own] == [path]


# -- round about it -----------------------------------------------------------------------------


@pytest.mark.parametrize("user", ["root", *USERS.values()])
def test_nobody_sets_a_property(stage: Stage, user: str) -> None:
    for interface, name in (("org.mcelog.Manager", "PageAction"), ("org.mcelog.Dimm", "Label")):
        call = Call(PATHS[interface], PROPERTIES, "Set", "ssv", [interface, name, Variant("s", "x")])
        assert stage.call(user, call).error_name == "org.freedesktop.DBus.Error.PropertyReadOnly"


@pytest.mark.parametrize(
    "call",
    [
        Call(MANAGER, "org.mcelog.Manager", "OfflinePage", "ts", [OFFLINED, "soft) - or buy pills ("]),
        Call(MANAGER, "org.mcelog.Manager", "OfflinePage", "ts", [OFFLINED, "x" * 60_000]),
        Call(MANAGER, "org.mcelog.Manager", "ResetCounters", "o", ["/to/make/you/type/your/password"]),
        Call(MANAGER, "org.mcelog.Manager", "MarkReplaced", "o", [SOCKET]),
        Call(MANAGER, "org.mcelog.Manager", "Acquit", "o", [MANAGER]),
    ],
    ids=str,
)
def test_what_makes_no_sense_comes_before_no_password(stage: Stage, call: Call) -> None:
    """The dialog shows the arguments: a caller does not write its text."""
    for user in (ANYBODY, "root"):
        reply = stage.call(user, call, interactive=True)
        assert_refused(reply, "org.mcelog.Error.InvalidArgument")
        assert stage.watcher.questions == []


def test_the_bus_lets_nobody_call_what_is_not_named(stage: Stage) -> None:
    reply = stage.call(ANYBODY, Call(MANAGER, "org.example.Other", "Do"))
    assert reply.error_name == ACCESS_DENIED
    assert stage.watcher.questions == []


def test_the_bus_lets_nobody_else_be_mcelog(stage: Stage) -> None:
    done = stage.bus.run(
        *("busctl", "call", DBUS, DBUS_PATH, DBUS, "RequestName", "su", NAME, "2"), uid=NOBODY
    )
    assert (done.returncode, done.stdout) == (1, "")
    assert "not allowed to own" in done.stderr or "Access denied" in done.stderr


def test_without_any_object_there_is_the_same_right(tmp_path: Path) -> None:
    """Who may not read is told so from the start, not only once there is something to read."""
    with shipped_bus() as bus, daemon_on(bus, tmp_path, first=b""), Stage(bus) as stage:
        call = Call(MANAGER, OBJECT_MANAGER, "GetManagedObjects", action=READ)
        assert stage.call("root", call).body == [{}]
        assert_refused(stage.call(ANYBODY, call), ACCESS_DENIED)


# -- a password ---------------------------------------------------------------------------------


class Asker(Agent):
    """Somebody at a screen, who then asks for a page to be taken out of use."""

    def _tell(self, what: str, body: Any) -> None:
        super()._tell(what, body)
        if what == "registered":
            self._asking = asyncio.get_running_loop().create_task(self._ask())

    async def _ask(self) -> None:
        call = Message(
            *(NAME, MANAGER, "org.mcelog.Manager", "OfflinePage"),
            signature="ts",
            body=[OFFLINED, "soft"],
            flags=MessageFlag.ALLOW_INTERACTIVE_AUTHORIZATION,
        )
        reply = await self._connection.call(call)
        assert reply is not None
        self._tell("answer", [reply.error_name])


@pytest.mark.parametrize(("is_right", "error"), [(True, None), (False, ACCESS_DENIED)])
def test_a_password(stage: Stage, is_right: bool, error: str | None) -> None:
    asker = Asker(stage.bus, patience=0.3)

    async def main() -> None:
        await asker.hear("registered")
        action, message, _, _, cookie, _ = await asker.hear("BeginAuthentication")
        assert action == "org.mcelog.offline-page"
        assert message.endswith("to take the page of memory at 0x5000 out of use (soft)")
        if is_right:  # as polkit-agent-helper-1 says
            where = (polkit.POLKIT, polkit.AUTHORITY_PATH, polkit.AUTHORITY)
            body = [NOBODY, cookie, ["unix-user", {"uid": Variant("u", 0)}]]
            helper = Message(*where, "AuthenticationAgentResponse2", signature="us(sa{sv})", body=body)
            await stage.users["root"].call(helper)
        assert await asker.hear("answer") == [error]

    with forked(NOBODY, asker.work):
        stage.run(main())
    asker.close()
