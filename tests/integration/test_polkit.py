# SPDX-License-Identifier: GPL-2.0-only
"""Authorization, decided by a real polkitd."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcelogd import polkit
from mcelogd.dbus import wire as dbus_wire
from mcelogd.dbus.connection import BusConnection
from mcelogd.dbus.library import Message, Variant, plain
from mcelogd.polkit import AccessDeniedError, Authority, InteractionRequiredError

from .privatebus import NOBODY, Polkitd, PrivateBus, forked, private_bus, until
from .reliability import Claims, Part, fault

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Iterator

    from mcelogd.dbus.wire import BusError

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="needs root: for a polkitd and to be somebody else")

ROOT, DAEMON = 0, 1
"""The second is a user whom a rule lets do something."""

ACTION = """\
  <action id="org.example.{name}">
    <description>{name}</description>
    <message>Authentication is required for $(address)</message>
    <defaults>
      <allow_any>{default}</allow_any>
      <allow_inactive>{default}</allow_inactive>
      <allow_active>{default}</allow_active>
    </defaults>
  </action>
"""

POLICY = """\
<?xml version="1.0" encoding="UTF-8"?>
<!DOCTYPE policyconfig PUBLIC "-//freedesktop//DTD PolicyKit Policy Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/PolicyKit/1/policyconfig.dtd">
<policyconfig>
{actions}
</policyconfig>
"""

RULES = """\
polkit.addRule(function(action, subject) {
    if (action.id == "org.example.ruled" && subject.user == "daemon" && action.lookup("socket") == "0")
        return polkit.Result.YES;
    if (action.id == "org.example.read" && subject.user == "daemon")
        return polkit.Result.YES;
});
"""


def start_polkit(bus: PrivateBus, directory: Path) -> Polkitd:
    """With an action for each default that there is, and some rules."""
    defaults = {"open": "yes", "password": "auth_admin", "closed": "no", "ruled": "no", "read": "no"}
    actions = "".join(ACTION.format(name=name, default=default) for name, default in defaults.items())
    policy = directory / "org.example.policy"
    policy.write_text(POLICY.format(actions=actions))
    polkitd = Polkitd(bus, policy)
    polkitd.add_rule("50-test", RULES)
    polkitd.start()
    return polkitd


@pytest.fixture(scope="module")
def bus(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PrivateBus]:
    with private_bus() as bus:
        polkitd = start_polkit(bus, tmp_path_factory.mktemp("polkit"))
        yield bus
        polkitd.stop()


@pytest.fixture
def own(tmp_path: Path) -> Iterator[tuple[PrivateBus, Polkitd]]:
    """For what is to be done to it."""
    with private_bus() as bus:
        polkitd = start_polkit(bus, tmp_path)
        yield bus, polkitd
        polkitd.stop()


@contextlib.asynccontextmanager
async def asking(bus: PrivateBus) -> AsyncIterator[Authority]:
    """As root would, since this test is root, but without letting that user through for being us."""
    connection = BusConnection(bus.address)
    connection.start()
    await connection.settle(10)
    try:
        yield Authority(connection)
    finally:
        await connection.close()


@contextlib.asynccontextmanager
async def callers(bus: PrivateBus, *uids: int) -> AsyncIterator[list[str]]:
    """Somebody of each uid, by their names on the bus."""
    connections = [await bus.connect(uid) for uid in uids]
    try:
        yield [str(connection.unique_name) for connection in connections]
    finally:
        for connection in connections:
            connection.disconnect()


def check(bus: PrivateBus, uid: int, action: str, **options: Any) -> None:
    async def main() -> None:
        async with asking(bus) as authority, callers(bus, uid) as (name,):
            await authority.check(name, f"org.example.{action}", **options)

    asyncio.run(main())


DENIED, PASSWORD = AccessDeniedError, InteractionRequiredError


@pytest.mark.parametrize(
    ("uid", "action", "options", "error"),
    [
        (ROOT, "open", {}, None),
        (ROOT, "password", {}, None),
        (ROOT, "closed", {}, None),
        (ROOT, "unregistered", {}, None),
        (NOBODY, "open", {}, None),
        (NOBODY, "password", {}, PASSWORD),
        (NOBODY, "password", {"interactive": True}, PASSWORD),
        (NOBODY, "closed", {}, DENIED),
        (NOBODY, "closed", {"interactive": True}, DENIED),
        (NOBODY, "unregistered", {}, DENIED),
        (NOBODY, "ruled", {"details": {"socket": "0"}}, DENIED),
        (DAEMON, "ruled", {"details": {"socket": "0"}}, None),
        (DAEMON, "ruled", {"details": {"socket": "1"}}, DENIED),
        (DAEMON, "ruled", {}, DENIED),
        (DAEMON, "closed", {}, DENIED),
    ],
)
def test_who_may_do_what(
    bus: PrivateBus, uid: int, action: str, options: dict[str, Any], error: type[BusError] | None
) -> None:
    with pytest.raises(error) if error else contextlib.nullcontext():
        check(bus, uid, action, **options)


def test_nothing_is_remembered(own: tuple[PrivateBus, Polkitd]) -> None:
    async def main(bus: PrivateBus, polkitd: Polkitd) -> None:
        async with asking(bus) as authority, callers(bus, NOBODY) as (name,):
            await authority.check(name, "org.example.open")
            polkitd.add_rule("10-no", "polkit.addRule(function() { return polkit.Result.NO; });")
            with contextlib.suppress(AccessDeniedError):
                for _ in range(200):
                    await authority.check(name, "org.example.open")
                    await asyncio.sleep(0.02)
            with pytest.raises(AccessDeniedError):
                await authority.check(name, "org.example.open")

    asyncio.run(main(*own))


def test_who_runs_this_process_may_do_what_he_likes(bus: PrivateBus) -> None:
    async def main() -> None:
        connection = BusConnection(bus.address)
        connection.start()
        await connection.settle(10)
        authority = Authority(connection, own_uid=NOBODY)
        async with callers(bus, NOBODY, DAEMON, ROOT) as (nobody, daemon, root):
            await authority.check(nobody, "org.example.closed")
            await authority.check(root, "org.example.closed")
            with pytest.raises(AccessDeniedError):
                await authority.check(daemon, "org.example.closed")
        await connection.close()

    asyncio.run(main())


def test_who_is_not_there_may_nothing(bus: PrivateBus) -> None:
    async def main() -> None:
        async with asking(bus) as authority:
            async with callers(bus, ROOT) as (gone,):
                pass
            for name in (gone, ":1.4711", "org.mcelog.absent", "nonsense", ""):
                with pytest.raises((AccessDeniedError, TypeError)):
                    await authority.check(name, "org.example.open")

    asyncio.run(main())


# -- when polkit is not as it should be -------------------------------------------------------------


def test_without_polkit_there_is_root(caplog: pytest.LogCaptureFixture) -> None:
    async def main(bus: PrivateBus) -> None:
        async with asking(bus) as authority, callers(bus, ROOT, NOBODY) as (root, nobody):
            await authority.check(root, "org.example.password")
            for _ in range(5):
                with pytest.raises(AccessDeniedError, match="only root may"):
                    await authority.check(nobody, "org.example.open")

    with private_bus() as bus:
        asyncio.run(main(bus))
    assert caplog.text.count("only root is let in") == 1


def test_without_a_bus_there_is_nobody() -> None:
    async def main() -> None:
        with pytest.raises(AccessDeniedError):
            await Authority(BusConnection("none")).check(":1.1", "org.example.open")

    asyncio.run(main())


@fault(
    Part.BUS,
    "polkit is away, or hangs (SIGSTOP)",
    says=("only root may", "no answer about … within … s"),
    sees=f"as the text of AccessDenied, at once or after {polkit.ANSWER_SECONDS:.0f} s; root's calls go on",
    lost="Nothing: recording errors asks nobody",
    recovers="By itself: the next call asks polkit again",
)
def test_polkit_may_come_go_and_hang(
    own: tuple[PrivateBus, Polkitd], monkeypatch: pytest.MonkeyPatch, claims: Claims
) -> None:
    monkeypatch.setattr(polkit, "ANSWER_SECONDS", 0.5)

    async def main(bus: PrivateBus, polkitd: Polkitd) -> None:
        async with asking(bus) as authority, callers(bus, ROOT, NOBODY) as (root, nobody):
            await authority.check(nobody, "org.example.open")
            polkitd.stop()
            with pytest.raises(AccessDeniedError) as away:
                await authority.check(nobody, "org.example.open")
            polkitd.start()
            await authority.check(nobody, "org.example.open")
            polkitd.signal(signal.SIGSTOP)
            before = time.monotonic()
            with pytest.raises(AccessDeniedError) as hung:
                await authority.check(nobody, "org.example.open")
            claims.kept(time.monotonic() - before < 2, True)
            await authority.check(root, "org.example.closed")
            polkitd.signal(signal.SIGCONT)
            await authority.check(nobody, "org.example.open")
            claims.recovered(True)
            claims.saw(f"{away.value}; {hung.value}")
            assert "no answer about org.example.open within 0.5 s" in str(hung.value)

    asyncio.run(main(*own))


@pytest.mark.parametrize(
    "answer",
    [[], [True], ["yes"], [[True]], [[1, 1, {}]], [[False, False, {}], 1], [["true", "", {}]]],
)
def test_an_answer_without_sense_is_no(answer: list[Any]) -> None:
    class Bus:
        async def call(self, *call: Any, **_: Any) -> list[Any]:
            return [NOBODY] if call[3] == "GetConnectionUnixUser" else answer

        def on_signal(self, *_: Any, **__: Any) -> Callable[[], None]:
            return lambda: None

    with pytest.raises(AccessDeniedError):
        asyncio.run(Authority(Bus()).check(":1.1", "org.example.open"))


# -- dialogs ------------------------------------------------------------------------------------


def started() -> int:
    """When this process was, as the kernel counts: polkit tells processes apart by it."""
    return int(Path("/proc/self/stat").read_text().rpartition(")")[2].split()[19])


class Agent:
    """What shows the dialog, in a process of another user; it tells through a pipe what it is asked."""

    def __init__(self, bus: PrivateBus, patience: float) -> None:
        """`patience`: seconds until the user closes the dialog."""
        self._bus = bus
        self._patience = patience
        self._read, self._write = os.pipe()
        os.set_blocking(self._read, False)
        self._said = b""

    async def work(self) -> None:
        """Run by the other process, until it is killed: the caller and its agent."""
        self._connection = connection = await self._bus.connect()
        connection.add_message_handler(self._asked)
        start = started()
        subject = {"pid": Variant("u", os.getpid()), "start-time": Variant("t", start)}
        subject["uid"] = Variant("i", os.getuid())
        where = (polkit.POLKIT, polkit.AUTHORITY_PATH, polkit.AUTHORITY)
        body = [["unix-process", subject], "C", "/agent"]
        register = Message(*where, "RegisterAuthenticationAgent", signature="(sa{sv})ss", body=body)
        reply = await connection.call(register)
        assert reply is not None
        self._tell("registered", [connection.unique_name, reply.error_name])
        await asyncio.sleep(60)

    def _asked(self, message: Message) -> bool:
        if message.path != "/agent":
            return False
        self._tell(message.member, plain(message.body))
        answer = self._connection.reply_to(message)
        done = Message.new_method_return(message)
        closes = self._patience if message.member == "BeginAuthentication" else 0
        asyncio.get_running_loop().call_later(closes, answer, done)
        return True

    def _tell(self, what: str, body: Any) -> None:
        os.write(self._write, json.dumps([what, body]).encode() + b"\n")

    async def hear(self, what: str) -> list[Any]:
        """The values of the next thing it tells, which must be `what`."""

        def has_line() -> bool:
            with contextlib.suppress(BlockingIOError):
                self._said += os.read(self._read, 10_000)
            return b"\n" in self._said

        await until(has_line, f"the agent to say {what}")
        line, self._said = self._said.split(b"\n", 1)
        told, body = json.loads(line)
        assert told == what, line
        return body

    def close(self) -> None:
        os.close(self._read)
        os.close(self._write)


Checks = list[asyncio.Task[None]]


def play(
    bus: PrivateBus,
    scene: Callable[[Agent, Authority, Checks, int], Coroutine[Any, Any, None]],
    patience: float = 60,
    calls: int = 1,
) -> None:
    """`scene` with somebody at a screen, who has just made so many calls."""
    agent = Agent(bus, patience)

    async def main(pid: int) -> None:
        async with asking(bus) as authority:
            name, error = await agent.hear("registered")
            assert error is None
            checks = [
                asyncio.create_task(
                    authority.check(name, "org.example.password", {"address": "0x1000"}, interactive=True)
                )
                for _ in range(calls)
            ]
            try:
                await scene(agent, authority, checks, pid)
            finally:
                for check in checks:
                    check.cancel()
                await asyncio.gather(*checks, return_exceptions=True)

    with forked(NOBODY, agent.work) as pid:
        asyncio.run(main(pid))
    agent.close()


async def begun(agent: Agent) -> str:
    """The cookie of the dialog, once it is there."""
    action, message, _icon, _details, cookie, identities = await agent.hear("BeginAuthentication")
    assert (action, message) == ("org.example.password", "Authentication is required for 0x1000")
    assert ["unix-user", {"uid": 0}] in identities
    return str(cookie)


def test_who_types_the_password_may(bus: PrivateBus) -> None:
    async def scene(agent: Agent, _: Authority, checks: Checks, __: int) -> None:
        cookie = await begun(agent)
        helper = await bus.connect()  # what polkit-agent-helper-1 does when the password was right
        where = (polkit.POLKIT, polkit.AUTHORITY_PATH, polkit.AUTHORITY)
        identity = ["unix-user", {"uid": Variant("u", 0)}]
        body = [NOBODY, cookie, identity]
        await helper.call(Message(*where, "AuthenticationAgentResponse2", signature="us(sa{sv})", body=body))
        helper.disconnect()
        await checks[0]

    play(bus, scene, patience=0.5)


def test_who_closes_the_dialog_may_not(bus: PrivateBus) -> None:
    async def scene(agent: Agent, _: Authority, checks: Checks, __: int) -> None:
        await begun(agent)
        with pytest.raises(AccessDeniedError):
            await checks[0]

    play(bus, scene, patience=0.1)


def test_the_dialog_goes_when_the_time_is_up(bus: PrivateBus, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(polkit, "PASSWORD_SECONDS", 0.5)

    async def scene(agent: Agent, authority: Authority, checks: Checks, _: int) -> None:
        cookie = await begun(agent)
        with pytest.raises(AccessDeniedError, match="no answer about"):
            await checks[0]
        assert await agent.hear("CancelAuthentication") == [cookie]
        await until(lambda: not authority._cancelling, "the cancellation")

    play(bus, scene)


def test_the_dialog_goes_with_the_task(bus: PrivateBus) -> None:
    async def scene(agent: Agent, authority: Authority, checks: Checks, _: int) -> None:
        cookie = await begun(agent)
        checks[0].cancel()
        with pytest.raises(asyncio.CancelledError):
            await checks[0]
        assert await agent.hear("CancelAuthentication") == [cookie]
        await until(lambda: not authority._cancelling, "the cancellation")

    play(bus, scene)


def test_nobody_is_asked_for_a_caller_that_left(own: tuple[PrivateBus, Polkitd]) -> None:
    bus, polkitd = own

    async def scene(agent: Agent, authority: Authority, checks: Checks, pid: int) -> None:
        await begun(agent)
        polkitd.signal(signal.SIGSTOP)  # so that it is not polkit who finds out
        os.kill(pid, signal.SIGKILL)
        with pytest.raises(AccessDeniedError, match="has left"):
            await asyncio.wait_for(checks[0], 5)
        polkitd.signal(signal.SIGCONT)
        await until(lambda: not authority._cancelling, "the cancellation")

    play(bus, scene)


def test_one_user_does_not_keep_the_others_out(bus: PrivateBus) -> None:
    async def scene(agent: Agent, authority: Authority, checks: Checks, _: int) -> None:
        await begun(agent)
        done, pending = await asyncio.wait(checks, timeout=1)
        assert len(pending) == polkit.MAX_PENDING
        assert {getattr(check.exception(), "name", "") for check in done} == {dbus_wire.LIMITS_EXCEEDED}
        async with callers(bus, ROOT, DAEMON) as (root, daemon):
            await authority.check(root, "org.example.password")
            await authority.check(daemon, "org.example.open")
        for check in pending:
            check.cancel()
        await asyncio.wait(pending)
        await until(lambda: not authority._cancelling, "the cancellation")
        assert not authority._pending

    play(bus, scene, calls=polkit.MAX_PENDING + 10)
