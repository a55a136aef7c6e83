# SPDX-License-Identifier: GPL-2.0-only
"""A real cockpit-ws with a real bridge, without systemd and without a login, on a bus of the test's own."""

from __future__ import annotations

import contextlib
import json
import os
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
until [ "$("$SUDO_ASKPASS" "Password: ")" = "{password}" ]; do echo "Sorry, try again." >&2; done
exec python3 -c '
import socket, sys
peer = socket.socket(socket.AF_UNIX)
peer.connect(sys.argv[1])
socket.send_fds(peer, [b"."], [0, 1])
peer.recv(1)
' "{path}"
"""
"""In place of sudo, which tests should not need: asks for a password, and gives what it talks to
Cockpit through to a bridge of root's, for as long as that runs."""


@contextlib.contextmanager
def cockpit(bus: PrivateBus, directory: Path, uid: int = 0) -> Iterator[str]:
    """The address of the page, for a user who is logged in already."""
    need(WS, "cockpit-ws")
    need("cockpit-bridge", "cockpit-bridge")
    packages = directory / "share/cockpit"
    packages.mkdir(parents=True)
    (packages / "base1").symlink_to(SHIPPED / "base1")
    shutil.copytree(PACKAGE, packages / "mcelog")
    _let_everybody_read(directory)
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
                    _, ends, _, _ = socket.recv_fds(peer, 1, 2)
                    command = ["cockpit-bridge", "--privileged"]
                    started.append(subprocess.Popen(command, env=environ, stdin=ends[0], stdout=ends[1]))
                    for end in ends:
                        os.close(end)
                    started[-1].wait()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    try:
        yield
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        for one in started:
            one.terminate()
        thread.join(SECONDS)
        listener.close()


def _let_everybody_read(directory: Path) -> None:
    """Whatever modes the checkout has."""
    for path in (directory, *directory.rglob("*")):
        if not path.is_symlink():
            path.chmod(0o755 if path.is_dir() else 0o644)


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
        assert time.monotonic() < end, "cockpit-ws does not listen"
        assert server.poll() is None, "cockpit-ws ended: see cockpit.log"
        time.sleep(0.05)
