# SPDX-License-Identifier: GPL-2.0-only
"""What systemd is asked for, and what is made of its answers.

systemd is played by a program of the test on a bus of its own: a real one
must be process 1, which is for the VM layer. Its answers are those that
systemd 252 was seen to give in a container.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from typing import TYPE_CHECKING, Any

import pytest

from mcelogd.act.runner import LaunchError, Outcome, Preferring
from mcelogd.act.transient import TransientLauncher, TransientSettings, quoted, reason
from mcelogd.dbus.connection import BusConnection
from mcelogd.dbus.library import Message, MessageType, Variant, plain
from mcelogd.dbus.wire import BusError
from mcelogd.triggers import Trigger

from .privatebus import LOOSE_POLICY, PrivateBus, private_bus, until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator
    from pathlib import Path

    from mcelogd.dbus.repairs import RepairedBus

PATH = "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"
MESSAGE_ID = "05aa3b1593034ce9bd1f419388191b00"

TRIGGER = Trigger(
    "memory-pre-sync-soft-ce-trigger",
    "page_pre_soft",
    "some-trigger",
    {"PATH": "/usr/bin:/bin", "MESSAGE": 'it\'s $5 for `a` "b" \\ c'},
    ("4886716416",),
)


class Systemd:
    """Answers as systemd does. `job` is how the unit's job ends, None for not at all."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.job: str | None = "done"
        self.properties: dict[str, Any] = {"Result": "success", "ExecMainCode": 1, "ExecMainStatus": 0}
        self.refuses: dict[str, str] = {}
        self.called: list[tuple[str, list[Any]]] = []
        self.environment: list[str] = []
        self._bus: RepairedBus | None = None

    async def start(self, bus: PrivateBus) -> None:
        self._bus = await bus.connect()
        self._bus.add_message_handler(self._handle)
        await self._bus.request_name("org.freedesktop.systemd1")

    def stop(self) -> None:
        assert self._bus is not None
        self._bus.disconnect()

    def calls(self, member: str) -> list[list[Any]]:
        return [body for called, body in self.called if called == member]

    @property
    def asked(self) -> dict[str, Any]:
        """The properties of the one unit that was started."""
        ((_, mode, properties, others),) = self.calls("StartTransientUnit")
        assert (mode, others) == ("fail", [])
        return dict(properties)

    def _handle(self, message: Message) -> Message | bool | None:
        if message.message_type is not MessageType.METHOD_CALL or not message.path.startswith(PATH):
            return None
        self.called.append((message.member, plain(message.body)))
        if message.member in self.refuses:
            return Message.new_error(message, self.refuses[message.member], "no")
        if message.member == "StartTransientUnit":
            return self._started(message)
        if message.member == "GetUnit":
            return Message.new_method_return(message, "o", [f"{PATH}/unit/some"])
        if message.member == "GetAll":
            signatures = {str: "s", int: "i"}
            found = {name: Variant(signatures[type(value)], value) for name, value in self.properties.items()}
            return Message.new_method_return(message, "a{sv}", [found])
        return Message.new_method_return(message)

    def _started(self, message: Message) -> Message:
        unit = message.body[0]
        file = self.directory / f"{unit}.env"
        assert dict(plain(message.body[2]))["EnvironmentFiles"] == [[str(file), False]]
        self.environment.append(file.read_text())
        assert file.stat().st_mode & 0o7777 == 0o600
        if self.job is not None:
            asyncio.get_running_loop().call_soon(self._end, unit, self.job)
        return Message.new_method_return(message, "o", [f"{PATH}/job/7"])

    def _end(self, unit: str, job: str) -> None:
        assert self._bus is not None
        for one in ("other.service", unit):
            body = [7, f"{PATH}/job/7", one, job if one == unit else "failed"]
            self._bus.send(Message.new_signal(PATH, MANAGER, "JobRemoved", "uoss", body))


class Setup:
    """A systemd, a connection of ours, and a launcher."""

    def __init__(self, systemd: Systemd, connection: BusConnection, launcher: TransientLauncher) -> None:
        self.systemd = systemd
        self.connection = connection
        self.launcher = launcher


@pytest.fixture(scope="module")
def bus() -> Iterator[PrivateBus]:
    with private_bus(LOOSE_POLICY) as bus:
        yield bus


@contextlib.asynccontextmanager
async def setup(bus: PrivateBus, tmp_path: Path, **settings: str) -> AsyncIterator[Setup]:
    runtime = tmp_path / "run"
    systemd = Systemd(runtime)
    await systemd.start(bus)
    connection = BusConnection(bus.address)
    connection.start()
    await connection.settle(10)
    asked = TransientSettings("/etc/mcelog", str(runtime), MESSAGE_ID, **settings)
    try:
        yield Setup(systemd, connection, TransientLauncher(connection, (BusError,), asked))
    finally:
        await connection.close()
        systemd.stop()
        assert list(runtime.glob("*")) == []


def launch(bus: PrivateBus, tmp_path: Path, prepare: Callable[[Systemd], None], limit: float = 60) -> Outcome:
    async def main() -> Outcome:
        async with setup(bus, tmp_path) as made:
            prepare(made.systemd)
            return await made.launcher.launch(TRIGGER, limit)

    return asyncio.run(main())


def test_the_unit_that_is_asked_for(bus: PrivateBus, tmp_path: Path) -> None:
    async def main() -> None:
        async with setup(bus, tmp_path) as made:
            assert await made.launcher.launch(TRIGGER, 60) == Outcome(ok=True)
            asked = made.systemd.asked
            assert asked["Type"] == "oneshot"
            assert asked["ExecStart"] == [
                ["/etc/mcelog/some-trigger", ["some-trigger", "${MCELOG_ARGUMENT_1}"], False]
            ]
            assert asked["WorkingDirectory"] == "/etc/mcelog"
            assert asked["TimeoutStartUSec"] == 60_000_000
            assert asked["CollectMode"] == "inactive-or-failed"
            assert asked["AddRef"] is True
            assert asked["SyslogIdentifier"] == "mcelog-trigger"
            assert sorted(map(bytes, asked["LogExtraFields"])) == [
                b"MCE_TRIGGER=some-trigger",
                b"MESSAGE_ID=" + MESSAGE_ID.encode(),
            ]
            assert not asked.keys() & {"User", "Group", "Environment"}
            ((unit, *_),) = made.systemd.calls("StartTransientUnit")
            assert unit.startswith("mcelog-trigger-some-trigger-")
            assert unit.endswith(".service")
            assert made.systemd.calls("UnrefUnit") == [[unit]]

    asyncio.run(main())


def test_who_reads_the_units_properties_learns_nothing(bus: PrivateBus, tmp_path: Path) -> None:
    """systemd shows them to every user."""

    async def main() -> None:
        async with setup(bus, tmp_path) as made:
            await made.launcher.launch(TRIGGER, 60)
            shown = repr(made.systemd.asked)
            assert TRIGGER.arguments[0] not in shown
            assert TRIGGER.environment["MESSAGE"] not in shown
            (text,) = made.systemd.environment
            assert text.splitlines() == [
                'PATH="/usr/bin:/bin"',
                'MESSAGE="it\'s \\$5 for \\`a\\` \\"b\\" \\\\ c"',
                'MCELOG_ARGUMENT_1="4886716416"',
            ]

    asyncio.run(main())


def test_user_and_group(bus: PrivateBus, tmp_path: Path) -> None:
    async def main() -> None:
        async with setup(bus, tmp_path, user="65534", group="12") as made:
            await made.launcher.launch(TRIGGER, 60)
            assert (made.systemd.asked["User"], made.systemd.asked["Group"]) == ("65534", "12")

    asyncio.run(main())


def test_a_name_that_systemd_would_expand(bus: PrivateBus, tmp_path: Path) -> None:
    async def main() -> None:
        async with setup(bus, tmp_path) as made:
            await made.launcher.launch(TRIGGER._replace(path="/opt/a $HOME/%i é", arguments=()), 60)
            ((program, arguments, _),) = made.systemd.asked["ExecStart"]
            assert (program, arguments) == ("/opt/a $HOME/%i é", ["/opt/a $$HOME/%i é"])
            ((unit, *_),) = made.systemd.calls("StartTransientUnit")
            assert unit.startswith("mcelog-trigger-_i__-")

    asyncio.run(main())


def test_the_script_for_caches_marks_its_own_entries(bus: PrivateBus, tmp_path: Path) -> None:
    async def main() -> None:
        async with setup(bus, tmp_path) as made:
            await made.launcher.launch(TRIGGER._replace(setting="cache-threshold-trigger"), 60)
            assert list(map(bytes, made.systemd.asked["LogExtraFields"])) == [b"MCE_TRIGGER=some-trigger"]

    asyncio.run(main())


@pytest.mark.parametrize(
    ("result", "code", "status", "error"),
    [
        ("exit-code", 1, 3, "exit status 3"),
        ("exit-code", 1, 203, "cannot be executed (status 203)"),
        ("exit-code", 1, 217, "no such user (status 217)"),
        ("signal", 2, 9, "ended by SIGKILL"),
        ("core-dump", 3, 11, "ended by SIGSEGV"),
        ("timeout", 2, 15, "did not end within 60 seconds; ended by systemd"),
        ("oom-kill", 2, 9, "ended for want of memory"),
        ("resources", 0, 0, "systemd could not start it"),
        ("something-new", 0, 0, "failed (something-new)"),
    ],
)
def test_why_a_unit_failed(
    bus: PrivateBus, tmp_path: Path, result: str, code: int, status: int, error: str
) -> None:
    assert reason(result, code, status, 60) == error

    def prepare(systemd: Systemd) -> None:
        systemd.job = "failed"
        systemd.properties = {"Result": result, "ExecMainCode": code, "ExecMainStatus": status}

    assert launch(bus, tmp_path, prepare) == Outcome(ok=False, error=error)


def test_a_unit_that_an_administrator_stops(bus: PrivateBus, tmp_path: Path) -> None:
    def prepare(systemd: Systemd) -> None:
        systemd.job = "canceled"

    assert launch(bus, tmp_path, prepare).error == "ended by someone else"


def test_a_failure_without_a_reason(bus: PrivateBus, tmp_path: Path) -> None:
    def prepare(systemd: Systemd) -> None:
        systemd.job = "failed"
        systemd.refuses["GetUnit"] = "org.freedesktop.systemd1.NoSuchUnit"

    assert launch(bus, tmp_path, prepare).error.startswith("failed; systemd does not say why: ")


def test_subscribed_already_is_no_trouble(bus: PrivateBus, tmp_path: Path) -> None:
    def prepare(systemd: Systemd) -> None:
        systemd.refuses["Subscribe"] = "org.freedesktop.systemd1.AlreadySubscribed"
        systemd.refuses["UnrefUnit"] = "org.freedesktop.systemd1.NotReferenced"

    assert launch(bus, tmp_path, prepare).ok


def test_a_systemd_that_does_not_run_them(bus: PrivateBus, tmp_path: Path) -> None:
    def prepare(systemd: Systemd) -> None:
        systemd.refuses["StartTransientUnit"] = "org.freedesktop.DBus.Error.AccessDenied"

    with pytest.raises(LaunchError, match=r"systemd does not run them: no \(org.*AccessDenied\)"):
        launch(bus, tmp_path, prepare)


def test_a_runtime_directory_that_cannot_be_written(bus: PrivateBus, tmp_path: Path) -> None:
    (tmp_path / "run").touch()
    with pytest.raises(LaunchError, match="File exists"):
        launch(bus, tmp_path, lambda _: None)


def test_no_bus_at_all(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    class Other:
        async def launch(self, trigger: Trigger, time_limit: float) -> Outcome:  # noqa: ARG002
            return Outcome(ok=True, output=("by the other",))

    async def main() -> Outcome:
        connection = BusConnection(f"unix:path={tmp_path}/none")
        connection.start()
        asked = TransientSettings("/etc/mcelog", str(tmp_path / "run"), MESSAGE_ID)
        try:
            first = TransientLauncher(connection, (BusError,), asked)
            return await Preferring(first, Other()).launch(TRIGGER, 60)
        finally:
            await connection.close()

    with caplog.at_level(logging.WARNING, "mcelogd.act"):
        assert asyncio.run(main()).output == ("by the other",)
    assert "systemd does not run them: not connected to a bus" in caplog.text
    assert list((tmp_path / "run").iterdir()) == []


def test_a_systemd_that_says_nothing(
    bus: PrivateBus, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The unit is ended, as far as that is in our power, and the queue goes on."""
    monkeypatch.setattr("mcelogd.act.transient.SLACK", -9.8)

    async def main() -> None:
        async with setup(bus, tmp_path) as made:
            made.systemd.job = None
            outcome = await made.launcher.launch(TRIGGER, 0.1)
            assert outcome.error == "systemd does not say how it ended"
            ((unit, _),) = made.systemd.calls("StopUnit")
            assert made.systemd.calls("UnrefUnit") == [[unit]]

    asyncio.run(main())


def test_cancelled_it_stops_the_unit(bus: PrivateBus, tmp_path: Path) -> None:
    async def main() -> None:
        async with setup(bus, tmp_path) as made:
            made.systemd.job = None
            task = asyncio.create_task(made.launcher.launch(TRIGGER, 60))
            await until(lambda: made.systemd.calls("StartTransientUnit"), "the unit")
            await asyncio.sleep(0.05)
            task.cancel()
            with pytest.raises(asyncio.CancelledError):
                await task
            assert len(made.systemd.calls("StopUnit")) == 1

    asyncio.run(main())


def test_many_at_once_are_told_apart(bus: PrivateBus, tmp_path: Path) -> None:
    async def main() -> None:
        async with setup(bus, tmp_path) as made:
            outcomes = await asyncio.gather(*(made.launcher.launch(TRIGGER, 60) for _ in range(30)))
            assert outcomes == [Outcome(ok=True)] * 30
            units = {body[0] for body in made.systemd.calls("StartTransientUnit")}
            assert len(units) == 30

    asyncio.run(main())


@pytest.mark.parametrize(
    ("value", "written"),
    [
        ("", '""'),
        ("a b", '"a b"'),
        ("it's", '"it\'s"'),
        ('"', '"\\""'),
        ("\\", '"\\\\"'),
        ("$HOME `id`", '"\\$HOME \\`id\\`"'),
        ("# no comment; %n", '"# no comment; %n"'),
        ("two\nlines\t", '"two\nlines\t"'),
        ("nul\0", '"nul?"'),
    ],
)
def test_values_are_quoted_for_systemd(value: str, written: str) -> None:
    assert quoted(value) == written
