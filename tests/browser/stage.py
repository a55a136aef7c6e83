# SPDX-License-Identifier: GPL-2.0-only
"""Everything the page needs to be real: a bus, polkit, the daemon with its history, Cockpit, a browser."""

from __future__ import annotations

import contextlib
import os
import shlex
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from ..integration.conftest import Scratch, wait_for
from ..integration.dbus_daemon import polkit_on, shipped_bus
from ..integration.privatebus import NOBODY, need
from . import machine
from .cockpit_server import cockpit
from .webdriver import Browser, chromium

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..integration.privatebus import PrivateBus

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
"""For a start of the daemon on a busy machine."""
RECORD = len(machine.error(0, 0, 0))


class Stage:
    """The machine, and a browser that shows it."""

    def __init__(self, bus: PrivateBus, scratch: Scratch, browser: Browser, root: str, nobody: str) -> None:
        self.bus = bus
        self.scratch = scratch
        self.browser = browser
        self.root = root
        self.nobody = nobody
        """Addresses of the page for these users."""

    def open(self, url: str | None = None) -> Browser:
        """The page, once it is there."""
        self.browser.open(url or self.root)
        self.browser.wait_text("#live", "Live")
        self.browser.wait("return !!document.querySelector('#verdict dl')")
        return self.browser

    def install(self) -> None:
        """Have the bus know mcelog, so that it can start it."""
        command = [sys.executable, "-m", "mcelogd", "--config-file", str(self.scratch.config)]
        command += ["--daemon", "--foreground", str(self.scratch.fifo)]
        script = self.scratch.directory / "start"
        in_place = f"mount --bind {self.scratch.directory / 'proc'} /proc && exec {shlex.join(command)}"
        start = shlex.join(["unshare", "--mount", "sh", "-c", in_place])
        script.write_text(f"#!/bin/sh\ncd {shlex.quote(str(ROOT))}\nexec {start}\n")
        script.chmod(0o755)
        service = self.bus.services / "org.mcelog.service"
        service.write_text(f"[D-BUS Service]\nName=org.mcelog\nExec={script}\nUser=root\n")
        self._ask("ReloadConfig")

    def start(self) -> None:
        """Have the bus start it, as whoever calls it does."""
        assert self._ask("StartServiceByName", "su", "org.mcelog", "0")

    def remove(self) -> None:
        """The reverse of install()."""
        (self.bus.services / "org.mcelog.service").unlink(missing_ok=True)
        self._ask("ReloadConfig")

    def end(self) -> None:
        """End the daemon; return when its name is free."""
        if pid := self._owner():
            os.kill(pid, signal.SIGTERM)
        wait_for(lambda: not self._owner(), "the end of the daemon")

    def _owner(self) -> int:
        """Process of the daemon; 0 if there is none."""
        return int(self._ask("GetConnectionUnixProcessID", "s", "org.mcelog").partition(" ")[2] or 0)

    def _ask(self, *call: str) -> str:
        """Something of the bus itself; empty if it refuses."""
        bus = ("org.freedesktop.DBus", "/org/freedesktop/DBus", "org.freedesktop.DBus")
        return self.bus.run("busctl", "call", *bus, *call, seconds=PATIENCE).stdout


@contextlib.contextmanager
def staged(directory: Path) -> Iterator[Stage]:
    """A month after the machine was set up; see machine.history()."""
    need("chromedriver", "chromium-driver")
    directory.chmod(0o755)
    with contextlib.ExitStack() as stack:
        bus = stack.enter_context(shipped_bus())
        stack.enter_context(polkit_on(bus))
        scratch = make_scratch(directory / "mcelog", bus)
        stack.callback(os.close, scratch.feed)
        users = []
        for uid in (0, NOBODY):
            place = directory / f"cockpit-{uid}"
            place.mkdir()
            users.append(stack.enter_context(cockpit(bus, place, uid)))
        browser = stack.enter_context(chromium(directory))
        stage = Stage(bus, scratch, browser, users[0], users[1])
        stage.install()
        stack.callback(stage.end)
        stage.start()
        feed(scratch, machine.history())
        yield stage


def make_scratch(directory: Path, bus: PrivateBus) -> Scratch:
    """Pages can be taken out of use softly there, and not hard. That none is really is not to be seen
    in its /proc."""
    directory.mkdir()
    scratch = Scratch(directory)
    memory = directory / "sys/devices/system/memory"
    (memory / "hard_offline_page").mkdir(parents=True)
    (memory / "soft_offline_page").touch()
    (directory / "proc").mkdir()
    (directory / "dmi").write_bytes(machine.smbios())
    named = {"bus": bus.address, "dmi-table": directory / "dmi", "sysfs-root": directory / "sys"}
    named |= {"cpu": "icelake_server"}
    lines = "".join(f"{name} = {value}\n" for name, value in named.items())
    scratch.config.write_text(scratch.config.read_text().replace("bus = none\n", lines))
    return scratch


def feed(scratch: Scratch, records: bytes) -> None:
    """Send them, and return when they are stored."""
    before = scratch.stored()
    scratch.send(records)
    scratch.wait_stored(before + len(records) // RECORD)
