# SPDX-License-Identifier: GPL-2.0-only
"""Triggers as systemd's children: transient units, outside the sandbox of mcelog.service.

A trigger may mail, write and off-line CPUs; the daemon may not. systemd also
keeps the time limit, when mcelog is gone too, and knows every process of the
trigger by its control group.

Source: org.freedesktop.systemd1(5), systemd.service(5), systemd.exec(5).
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

from mcelogd.act.fork import signal_name
from mcelogd.act.runner import LaunchError, Outcome

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from mcelogd.triggers import Trigger

SYSTEMD = "org.freedesktop.systemd1"
MANAGER_PATH = "/org/freedesktop/systemd1"
MANAGER = "org.freedesktop.systemd1.Manager"
SERVICE = "org.freedesktop.systemd1.Service"
PROPERTIES = "org.freedesktop.DBus.Properties"

CALL_SECONDS = 10.0
"""How long systemd may take to answer."""

PARTING_SECONDS = 2.0
"""The same where it is only told something, perhaps at our own end."""

STOP_SECONDS = 5
"""How long SIGTERM may take to end a trigger."""

SLACK = 10.0
"""Seconds beyond all limits until we no longer believe that systemd will say something."""

OWN_ENTRIES = ("cache-threshold-trigger",)
"""Settings whose script writes entries with a MESSAGE_ID: another would confuse those who look for it."""

MOST_LINES = 1000
"""Lines of output that journald takes of one trigger in LINES_SECONDS."""
LINES_SECONDS = 30

EXITED, KILLED, DUMPED = 1, 2, 3
"""ExecMainCode: CLD_EXITED, CLD_KILLED, CLD_DUMPED of waitid(2)."""

RESULTS = {
    "oom-kill": "ended for want of memory",
    "resources": "systemd could not start it",
    "protocol": "systemd could not start it",
}
"""Result of a unit, where ExecMainStatus says nothing."""

STATUSES = {
    200: "cannot enter the directory",
    203: "cannot be executed",
    216: "no such group",
    217: "no such user",
}
"""Exit statuses that are systemd's, not the program's (systemd.exec(5), "Process Exit Codes")."""


class Bus(Protocol):
    """What is asked of a connection to D-Bus: a variant is sent as a pair of signature and value, and what
    it holds stands in its place in what is received.
    """

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
    ) -> list[Any]: ...

    def on_signal(
        self, sender: str, path: str, interface: str, member: str, callback: Callable[[list[Any]], None]
    ) -> Callable[[], None]:
        """Have `callback` called with the body of each such signal; what is returned ends that."""


class TransientSettings(NamedTuple):
    """How triggers are run.

    `directory` is theirs. `runtime_directory` is one that only root may enter
    and that systemd sees as well: the variables pass through it. `user` and
    `group` are names or numbers, empty for root. `message_id` marks what a
    trigger prints.
    """

    directory: str
    runtime_directory: str
    message_id: str
    user: str = ""
    group: str = ""


class TransientLauncher:
    """Has systemd run each trigger as a unit of its own, `mcelog-trigger-<script>-<n>.service`.

    `errors` are the exceptions that the bus raises for calls that fail.
    """

    def __init__(self, bus: Bus, errors: tuple[type[Exception], ...], settings: TransientSettings) -> None:
        self._bus = bus
        self._trouble: tuple[type[Exception], ...] = (*errors, OSError, EOFError)
        self._settings = settings
        self._numbers = itertools.count(1)

    async def launch(self, trigger: Trigger, time_limit: float) -> Outcome:
        """Run it; see Launcher."""
        script = re.sub(r"[^A-Za-z0-9:_.-]", "_", Path(trigger.path).name)[:100]
        unit = f"mcelog-trigger-{script}-{os.getpid()}.{next(self._numbers)}.service"
        ended: asyncio.Future[str] = asyncio.get_running_loop().create_future()

        def removed(body: list[Any]) -> None:
            if body[2] == unit and not ended.done():
                ended.set_result(body[3])

        file = self._write_variables(unit, trigger)
        unsubscribe = self._bus.on_signal(SYSTEMD, MANAGER_PATH, MANAGER, "JobRemoved", removed)
        try:
            await self._start(unit, self._properties(trigger, file, time_limit))
            return await self._follow(unit, ended, time_limit)
        finally:
            unsubscribe()
            _remove(file)

    async def _start(self, unit: str, properties: list[list[Any]]) -> None:
        with contextlib.suppress(*self._trouble):
            # That it says it has subscribed us already is no trouble.
            await self._call("Subscribe")
        try:
            await self._call("StartTransientUnit", "ssa(sv)a(sa(sv))", [unit, "fail", properties, []])
        except self._trouble as error:
            # One that answers too late may have run it: run twice is better than not at all.
            raise LaunchError(f"systemd does not run them: {error or type(error).__name__}") from error

    async def _follow(self, unit: str, ended: asyncio.Future[str], time_limit: float) -> Outcome:
        """How the unit ends. We hold a reference to it: it is there until we let go, and gone then."""
        try:
            async with asyncio.timeout(time_limit + 2 * STOP_SECONDS + SLACK):
                job = await ended
            if job == "done":
                return Outcome(ok=True)
            return Outcome(ok=False, error=await self._why(unit, job, time_limit))
        except TimeoutError:
            await self._stop(unit)
            return Outcome(ok=False, error="systemd does not say how it ended")
        except asyncio.CancelledError:
            await self._stop(unit)
            raise
        finally:
            with contextlib.suppress(*self._trouble):
                await self._call("UnrefUnit", "s", [unit], seconds=PARTING_SECONDS)

    async def _why(self, unit: str, job: str, time_limit: float) -> str:
        if job == "canceled":
            return "ended by someone else"
        try:
            (path,) = await self._call("GetUnit", "s", [unit])
            (found,) = await self._call("GetAll", "s", [SERVICE], path=path, interface=PROPERTIES)
        except self._trouble as error:
            return f"failed; systemd does not say why: {error}"
        result, code, status = (found[name] for name in ("Result", "ExecMainCode", "ExecMainStatus"))
        return reason(result, code, status, time_limit)

    async def _stop(self, unit: str) -> None:
        with contextlib.suppress(*self._trouble):
            await self._call("StopUnit", "ss", [unit, "replace"], seconds=PARTING_SECONDS)

    async def _call(
        self,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        *,
        path: str = MANAGER_PATH,
        interface: str = MANAGER,
        seconds: float = CALL_SECONDS,
    ) -> list[Any]:
        """A call to systemd; TimeoutError, which is an OSError, if there is no answer."""
        async with asyncio.timeout(seconds):
            return await self._bus.call(SYSTEMD, path, interface, member, signature, body)

    def _properties(self, trigger: Trigger, file: Path, time_limit: float) -> list[list[Any]]:
        settings = self._settings
        program = str(Path(settings.directory, trigger.path))
        # Any user may read the properties of a unit, so not even the arguments are in them:
        # systemd expands these. A "$" of ours is doubled for the same reason.
        arguments = [f"${{{name}}}" for name in _argument_variables(trigger)]
        fields = [f"MCE_TRIGGER={trigger.path}"]
        if trigger.setting not in OWN_ENTRIES:
            fields.append(f"MESSAGE_ID={settings.message_id}")
        properties = [
            ("Description", "s", f"mcelog trigger {trigger.path} ({trigger.setting})"),
            ("Type", "s", "oneshot"),
            ("ExecStart", "a(sasb)", [[program, [trigger.path.replace("$", "$$"), *arguments], False]]),
            ("EnvironmentFiles", "a(sb)", [[str(file), False]]),
            ("WorkingDirectory", "s", settings.directory),
            ("TimeoutStartUSec", "t", round(time_limit * 1_000_000)),
            ("TimeoutStopUSec", "t", STOP_SECONDS * 1_000_000),
            # The unit is kept as long as we refer to it, and not one moment longer, failed or not.
            ("AddRef", "b", True),
            ("CollectMode", "s", "inactive-or-failed"),
            ("StandardOutput", "s", "journal"),
            ("StandardError", "s", "journal"),
            ("SyslogIdentifier", "s", "mcelog-trigger"),
            ("LogExtraFields", "aay", [field.encode() for field in fields]),
            ("LogRateLimitIntervalUSec", "t", LINES_SECONDS * 1_000_000),
            ("LogRateLimitBurst", "u", MOST_LINES),
            # A script's pipes are to break as they do everywhere else.
            ("IgnoreSIGPIPE", "b", False),
        ]
        if settings.user:
            properties.append(("User", "s", settings.user))
        if settings.group:
            properties.append(("Group", "s", settings.group))
        return [[name, (signature, value)] for name, signature, value in properties]

    def _write_variables(self, unit: str, trigger: Trigger) -> Path:
        """The trigger's variables in a file for systemd, which reads it before it runs the program."""
        variables = trigger.environment | _argument_variables(trigger)
        text = "".join(f"{name}={quoted(value)}\n" for name, value in variables.items())
        path = Path(self._settings.runtime_directory, f"{unit}.env")
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
            with os.fdopen(descriptor, "w", encoding="utf-8", errors="replace") as file:
                file.write(text)
        except OSError as error:
            _remove(path)
            raise LaunchError(f"{path}: {error.strerror}") from error
        return path


def quoted(value: str) -> str:
    """A value as systemd.exec(5) reads it in an EnvironmentFile=: in double quotes, four characters escaped.

    Line ends stay as they are. NUL and what is not UTF-8 cannot be written at
    all, and would cost the whole file.
    """
    return '"' + re.sub(r'(["\\`$])', r"\\\1", value.replace("\0", "?")) + '"'


def reason(result: str, code: int, status: int, time_limit: float) -> str:
    """Why a unit failed, of its properties Result, ExecMainCode and ExecMainStatus."""
    if result == "timeout":
        return f"did not end within {time_limit:g} seconds; ended by systemd"
    if result in RESULTS:
        return RESULTS[result]
    if code == EXITED:
        return f"{STATUSES[status]} (status {status})" if status in STATUSES else f"exit status {status}"
    if code in (KILLED, DUMPED):
        return f"ended by {signal_name(status)}"
    return f"failed ({result})"


def _argument_variables(trigger: Trigger) -> dict[str, str]:
    return {f"MCELOG_ARGUMENT_{number}": value for number, value in enumerate(trigger.arguments, 1)}


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink()
