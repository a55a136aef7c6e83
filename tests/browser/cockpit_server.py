# SPDX-License-Identifier: GPL-2.0-only
"""A real cockpit-ws with a real bridge, without systemd and without a login, on a bus of the test's own."""

from __future__ import annotations

import contextlib
import json
import shutil
import socket
import subprocess
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

from ..integration.privatebus import SECONDS, need

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ..integration.privatebus import PrivateBus

WS = Path("/usr/lib/cockpit/cockpit-ws")
SHIPPED = Path("/usr/share/cockpit")
PACKAGE = Path(__file__).resolve().parents[2] / "data/cockpit"
PAGE = "/cockpit/@localhost/mcelog/index.html"

PASSWORD = "correct horse"

SUDO = """\
#!/bin/sh
[ "$("$SUDO_ASKPASS" "Password: ")" = "{password}" ] || exit 1
exec python3 -c '
import os, socket, sys, threading
def copy(source, target):
    while data := os.read(source, 65536):
        os.write(target, data)
    os._exit(0)
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
threading.Thread(target=copy, args=(0, peer.fileno())).start()
copy(peer.fileno(), 1)
' "{path}"
"""
"""In place of sudo, which tests should not need: asks for a password, and is then root's bridge."""


@contextlib.contextmanager
def cockpit(bus: PrivateBus, directory: Path, uid: int = 0) -> Iterator[str]:
    """The address of the page, for a user who is logged in already."""
    need(WS, "cockpit-ws")
    need("cockpit-bridge", "cockpit-bridge")
    directory.chmod(0o755)
    packages = directory / "share/cockpit"
    packages.mkdir(parents=True)
    (packages / "base1").symlink_to(SHIPPED / "base1")
    shutil.copytree(PACKAGE, packages / "mcelog")
    environ = {
        **bus.environ,
        "DBUS_SESSION_BUS_ADDRESS": bus.address,
        "HOME": str(directory),
        "XDG_DATA_HOME": str(directory / "share"),
        "XDG_DATA_DIRS": str(directory / "share"),
        "XDG_RUNTIME_DIR": str(directory),
    }
    port = _free_port()
    command = [str(WS), "--local-session=/usr/bin/cockpit-bridge", "--no-tls", "--address=127.0.0.1"]
    with root_bridge(directory, environ), (directory / "cockpit.log").open("w") as log:
        ids = {"user": uid, "group": uid, "extra_groups": []} if uid else {}
        server = subprocess.Popen(
            [*command, f"--port={port}"], env=environ, stdout=log, stderr=log, cwd=directory, **ids
        )
        try:
            _wait_for_port(port, server)
            yield f"http://127.0.0.1:{port}{PAGE}"
        finally:
            server.terminate()
            server.wait(SECONDS)


@contextlib.contextmanager
def root_bridge(directory: Path, environ: dict[str, str]) -> Iterator[None]:
    """What "Turn on administrative access" gets to."""
    path = directory / "root"
    script = directory / "sudo"
    script.write_text(SUDO.format(password=PASSWORD, path=path))
    script.chmod(0o755)
    askpass = "SUDO_ASKPASS=/usr/lib/cockpit/cockpit-askpass"
    bridge = {"privileged": True, "environ": [askpass], "spawn": [str(script)]}
    package = directory / "share/cockpit/escalation"
    package.mkdir()
    (package / "manifest.json").write_text(json.dumps({"bridges": [bridge]}))
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    path.chmod(0o666)
    listener.listen()
    started: list[subprocess.Popen[bytes]] = []

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                peer, _ = listener.accept()
                with peer:
                    command = ["cockpit-bridge", "--privileged"]
                    started.append(subprocess.Popen(command, env=environ, stdin=peer, stdout=peer))

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(SECONDS)
        for one in started:
            one.terminate()
            one.wait(SECONDS)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def _wait_for_port(port: int, server: subprocess.Popen[bytes]) -> None:
    end = time.monotonic() + SECONDS
    while True:
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        assert time.monotonic() < end and server.poll() is None, "cockpit-ws does not listen"
        time.sleep(0.05)
