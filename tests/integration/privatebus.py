# SPDX-License-Identifier: GPL-2.0-only
"""A message bus of the test's own, with a policy like the system bus's, and a real polkitd on it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcelogd.dbus.repairs import RepairedBus

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Iterator

SECONDS = 20.0
NOBODY = 65534
POLKITD = Path("/usr/lib/polkit-1/polkitd")

CONFIG = """\
<!DOCTYPE busconfig PUBLIC "-//freedesktop//DTD D-Bus Bus Configuration 1.0//EN"
 "http://www.freedesktop.org/standards/dbus/1.0/busconfig.dtd">
<busconfig>
  <type>system</type>
  <listen>unix:path={socket}</listen>
  <auth>EXTERNAL</auth>
  <servicedir>{services}</servicedir>
  <policy context="default">{default}</policy>
  {extra}
</busconfig>
"""

SYSTEM_POLICY = """
    <allow user="*"/>
    <deny own="*"/>
    <deny send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="true" send_type="method_return"/>
    <allow send_requested_reply="true" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="method_return"/>
    <allow receive_type="error"/>
    <allow receive_type="signal"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Introspectable"/>
    <allow send_destination="org.freedesktop.DBus" send_interface="org.freedesktop.DBus.Properties"/>
    <allow send_destination="org.mcelog"/>
"""
"""What /usr/share/dbus-1/system.conf says, and that everybody may call mcelog."""

LOOSE_POLICY = """
    <allow user="*"/>
    <allow own="*"/>
    <allow send_type="method_call"/>
    <allow send_type="signal"/>
    <allow send_requested_reply="false" send_type="method_return"/>
    <allow send_requested_reply="false" send_type="error"/>
    <allow receive_type="method_call"/>
    <allow receive_type="signal"/>
    <allow receive_requested_reply="false" receive_type="method_return"/>
    <allow receive_requested_reply="false" receive_type="error"/>
"""
"""Anybody may do anything."""

OWNERS = """
  <policy user="{user}"><allow own="org.mcelog"/></policy>
  <include ignore_missing="yes">/usr/share/dbus-1/system.d/org.freedesktop.PolicyKit1.conf</include>
"""


def need(program: str | Path, package: str) -> None:
    """Skip the test where a program is missing, except in CI."""
    if shutil.which(program) is None:
        assert not os.environ.get("CI"), f"CI must have {program} (package {package})"
        pytest.skip(f"{program} (package {package}) is not installed")


async def until(condition: Callable[[], object], what: str, seconds: float = SECONDS) -> None:
    """Let the loop run until `condition` holds; fail with `what` if it does not."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, f"timed out waiting for {what}"
        await asyncio.sleep(0.005)


class PrivateBus:
    """A dbus-daemon in a directory that everybody may look into."""

    def __init__(self, default: str = SYSTEM_POLICY, extra: str | None = None) -> None:
        need("dbus-daemon", "dbus")
        self.directory = Path(tempfile.mkdtemp(prefix="mcelog-bus-"))
        self.directory.chmod(0o755)
        self.path = str(self.directory / "bus")
        self.address = f"unix:path={self.path}"
        self.config = self.directory / "bus.conf"
        self.services = self.directory / "services"
        self.services.mkdir()
        if extra is None:
            extra = OWNERS.format(user=pwd.getpwuid(os.geteuid()).pw_name)
        self.config.write_text(
            CONFIG.format(socket=self.path, services=self.services, default=default, extra=extra)
        )
        self.process: subprocess.Popen[str] | None = None

    def start(self) -> None:
        """Return when it takes connections."""
        with (self.directory / "log").open("a") as log:
            self.process = subprocess.Popen(
                ["dbus-daemon", f"--config-file={self.config}", "--nofork", "--nopidfile", "--print-address"],
                stdout=subprocess.PIPE,
                stderr=log,
                text=True,
            )
        assert self.process.stdout is not None
        assert self.process.stdout.readline(), (self.directory / "log").read_text()

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def stop(self) -> None:
        """What a restart of the bus begins with: everybody loses the connection."""
        if self.process is None:
            return
        self.process.send_signal(signal.SIGCONT)
        self.process.terminate()
        self.process.wait(SECONDS)
        assert self.process.stdout is not None
        self.process.stdout.close()
        self.process = None
        Path(self.path).unlink(missing_ok=True)

    def close(self) -> None:
        self.stop()
        shutil.rmtree(self.directory)

    def socket(self, uid: int | None = None) -> socket.socket:
        """Connected, as whoever `uid` is: the bus goes by who connects."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        with effective_user(uid):
            connection.connect(self.path)
        return connection

    async def connect(self, uid: int | None = None) -> RepairedBus:
        return await RepairedBus(self.socket(uid)).connect()

    def run(
        self, *command: str, uid: int | None = None, seconds: float = SECONDS
    ) -> subprocess.CompletedProcess[str]:
        """Run a tool for which this is the system bus."""
        groups: dict[str, Any] = {} if uid is None else {"user": uid, "group": uid, "extra_groups": []}
        return subprocess.run(
            command, env=self.environ, capture_output=True, text=True, timeout=seconds, check=False, **groups
        )

    @property
    def environ(self) -> dict[str, str]:
        return {"PATH": os.environ["PATH"], "LC_ALL": "C", "DBUS_SYSTEM_BUS_ADDRESS": self.address}


@contextlib.contextmanager
def effective_user(uid: int | None) -> Iterator[None]:
    if uid is None:
        yield
        return
    before = os.geteuid()
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(before)


@contextlib.contextmanager
def private_bus(default: str = SYSTEM_POLICY, extra: str | None = None) -> Iterator[PrivateBus]:
    bus = PrivateBus(default, extra)
    try:
        bus.start()
        yield bus
    finally:
        bus.close()


class Polkitd:
    """A real polkitd that knows only the actions and rules of the test, in a mount namespace of its own."""

    BIND = (
        "mount --make-rprivate /"
        ' && mount --bind "$1" /usr/share/polkit-1/actions'
        ' && mount --bind "$2" /etc/polkit-1/rules.d'
        " && mount -t tmpfs -o mode=755 none /usr/share/polkit-1/rules.d"
        ' && exec "$3" --no-debug'
    )

    def __init__(self, bus: PrivateBus, *policies: Path) -> None:
        need(POLKITD, "polkitd")
        if os.geteuid():
            assert not os.environ.get("CI"), "CI must run as root"
            pytest.skip("only root can start a polkitd")
        self.bus = bus
        self.actions = bus.directory / "actions"
        self.rules = bus.directory / "rules"
        for directory in (self.actions, self.rules):
            directory.mkdir()
        for policy in (Path("/usr/share/polkit-1/actions/org.freedesktop.policykit.policy"), *policies):
            shutil.copy(policy, self.actions)
        self.process: subprocess.Popen[bytes] | None = None

    def add_rule(self, name: str, script: str) -> None:
        """What an administrator would put into /etc/polkit-1/rules.d; to be said before start()."""
        (self.rules / f"{name}.rules").write_text(script)

    def start(self) -> None:
        """Return when it has its name on the bus."""
        with (self.bus.directory / "polkitd.log").open("a") as log:
            self.process = subprocess.Popen(
                ["unshare", "--mount", "sh", "-c", self.BIND, "sh", self.actions, self.rules, POLKITD],
                env=self.bus.environ,
                stdout=log,
                stderr=log,
            )
        end = time.monotonic() + SECONDS
        while not self._has_name():
            log_text = (self.bus.directory / "polkitd.log").read_text()
            assert time.monotonic() < end, log_text
            assert self.process.poll() is None, log_text
            time.sleep(0.02)

    def _has_name(self) -> bool:
        asked = ["org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus", "NameHasOwner"]
        answer = self.bus.run("busctl", "call", *asked, "s", "org.freedesktop.PolicyKit1")
        return answer.stdout == "b true\n"

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGCONT)
            self.process.terminate()
            self.process.wait(SECONDS)
            self.process = None

    def signal(self, number: int) -> None:
        assert self.process is not None
        self.process.send_signal(number)


@contextlib.contextmanager
def forked(uid: int, work: Callable[[], Coroutine[Any, Any, None]]) -> Iterator[int]:
    """A process of another user that runs `work`, up to the end of the block at most.

    Not a program, since another user may not be allowed to reach this interpreter's files. To be
    used outside of an event loop.
    """
    # Daemon threads are what other tests left at a file that blocks; those hold no lock.
    others = [thread for thread in threading.enumerate() if not thread.daemon]
    assert others == [threading.main_thread()], "forking would copy locks that are held"
    pid = os.fork()
    if not pid:
        status = 1
        try:
            if uid != os.geteuid():
                os.setgroups([])
                os.setresgid(uid, uid, uid)
                os.setresuid(uid, uid, uid)
            asyncio.run(work())
            status = 0
        finally:
            os._exit(status)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        with contextlib.suppress(ChildProcessError):
            os.waitpid(pid, 0)
