# SPDX-License-Identifier: GPL-2.0-only
"""The file of the legacy socket: made, found, replaced, handed over, taken away."""

from __future__ import annotations

import contextlib
import fcntl
import os
import resource
import socket
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mcelogd.server import Limits, ServerRunning, SocketError, sockets

from .legacy import (
    ROOT,
    Server,
    connect,
    request,
    scratch_socket,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path() -> Iterator[Path]:
    with scratch_socket() as path:
        yield path


def test_the_socket_can_be_connected_to_by_everyone_and_goes_with_the_server(path: Path) -> None:
    before = os.umask(0o077)
    try:
        with Server(path):
            assert path.stat().st_mode & 0o777 == 0o666
            assert os.listdir(path.parent) == ["client"]  # noqa: PTH208
    finally:
        os.umask(before)
    assert not path.exists()


def test_a_running_server_is_left_alone(path: Path) -> None:
    with Server(path):
        with pytest.raises(ServerRunning, match=f"mcelog server already running at {path}"), Server(path):
            pass
        assert request(path, b"ping\n", b"pong\n") == b"pong\n"


class Hesitant(socket.socket):
    """Connects, and then leaves the server the time to close the connection."""

    def connect(self, address: str) -> None:  # type: ignore[override]
        super().connect(address)
        time.sleep(0.1)


@pytest.mark.parametrize("kind", [socket.socket, Hesitant])
def test_a_server_that_turns_us_away_runs_too(
    path: Path, kind: type[socket.socket], monkeypatch: pytest.MonkeyPatch
) -> None:
    with Server(path, limits=Limits(clients=0, denied=0)):
        monkeypatch.setattr(socket, "socket", kind)
        with pytest.raises(ServerRunning), Server(path):
            pass
        monkeypatch.undo()


def test_a_daemon_that_is_just_about_to_listen_runs_too(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sockets, "SECOND_LOOK", 1.0)
    with socket.socket(socket.AF_UNIX) as other:
        other.bind(str(path))

        def listen_and_answer() -> None:
            time.sleep(0.3)
            other.listen()
            accepted, _ = other.accept()
            with accepted:
                accepted.sendall(b"pong\n")

        thread = threading.Thread(target=listen_and_answer)
        thread.start()
        with pytest.raises(ServerRunning), Server(path):
            pass
        thread.join()


def test_a_socket_that_took_the_place_of_the_stale_one_stays(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Taken while the first of two daemons was still looking at what nobody serves."""
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    look = sockets._server_at

    async def look_long(name: str, seconds: float) -> sockets._Server:
        found = await look(name, seconds)
        if not servers:
            os.unlink(path)  # noqa: PTH108
            servers.append(stack.enter_context(Server(path)))
        return found

    servers: list[Server] = []
    monkeypatch.setattr(sockets, "_server_at", look_long)
    with contextlib.ExitStack() as stack:
        with pytest.raises(ServerRunning), Server(path):
            pass
        assert request(path, b"ping\n", b"pong\n") == b"pong\n"
        assert os.listdir(path.parent) == ["client"]  # noqa: PTH208
    assert not path.exists()


def test_a_lock_that_somebody_holds_stops_nobody(
    path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(sockets, "LOCK_SECONDS", 0.1)
    descriptor = os.open(path.parent, os.O_RDONLY)
    fcntl.flock(descriptor, fcntl.LOCK_EX)
    with Server(path):
        assert request(path, b"ping\n", b"pong\n") == b"pong\n"
    assert "is locked by another program; see 'lslocks'" in caplog.text
    os.close(descriptor)


def test_a_stale_socket_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
        gone.listen()
    with Server(path):
        assert request(path, b"ping\n", b"pong\n") == b"pong\n"
        assert os.listdir(path.parent) == ["client"]  # noqa: PTH208


def test_a_server_that_does_not_answer_is_replaced(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with socket.socket(socket.AF_UNIX) as hung:
        hung.bind(str(path))
        hung.listen()
        with Server(path, ping_timeout=0.2):
            assert request(path, b"ping\n", b"pong\n") == b"pong\n"
    assert "does not answer" in caplog.text


def test_a_socket_of_another_daemon_is_not_removed_at_the_end(path: Path) -> None:
    with Server(path), socket.socket(socket.AF_UNIX) as other:
        path.unlink()
        other.bind(str(path))
    assert path.exists()


RACER = """
import asyncio, sys, time
from mcelogd.server import LegacyServer, ServerRunning
async def main():
    server = LegacyServer(lambda line, uid: b"pong\\n")
    time.sleep(max(0, float(sys.argv[2]) - time.time()))
    try:
        await server.bind(sys.argv[1], 128, 20.0)
    except ServerRunning:
        print("lost", flush=True)
        return
    print("won", flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()
asyncio.run(main())
"""


def test_of_many_that_start_at_once_over_a_stale_socket_one_wins(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    with contextlib.ExitStack() as stack:
        start = str(time.time() + 1.5)
        racers = [
            stack.enter_context(
                subprocess.Popen(
                    [sys.executable, "-c", RACER, str(path), start],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    cwd=ROOT,
                    text=True,
                )
            )
            for _ in range(8)
        ]
        outcomes = [racer.stdout.readline() for racer in racers if racer.stdout]
        assert sorted(outcomes) == ["lost\n"] * 7 + ["won\n"]
        assert request(path, b"ping\n", b"\n") in (b"pong\n", b"permission denied\n")
        for racer in racers:
            racer.communicate()
    assert not os.listdir(path.parent)  # noqa: PTH208


def test_what_is_no_socket_is_never_removed(path: Path) -> None:
    path.write_text("precious")
    with pytest.raises(SocketError, match=r"exists and is no socket; remove it or"), Server(path):
        pass
    assert path.read_text() == "precious"
    path.unlink()
    path.symlink_to("elsewhere")
    with pytest.raises(SocketError, match="is no socket"), Server(path):
        pass
    path.unlink()
    path.mkdir()
    with pytest.raises(SocketError, match="is no socket"), Server(path):
        pass


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("/nowhere/to/be/found/client", "no directory /nowhere/to/be/found; make it or correct socket-path"),
        ("/etc/passwd/client", "no directory /etc/passwd; make it"),
        ("/tmp/" + "x" * 103, "too long for a Unix socket: at most 107 bytes; shorten socket-path"),
        ("", "socket-path in mcelog.conf is empty"),
        ("\0abstract", "holds a NUL"),
    ],
)
def test_an_impossible_path_gets_one_clear_line(path: str, message: str) -> None:
    with pytest.raises(SocketError, match=message) as caught, Server(path):  # type: ignore[arg-type]
        pass
    assert "\n" not in str(caught.value)


def test_the_longest_path(path: Path) -> None:
    longest = path.with_name("x" * (107 - len(str(path.parent)) - 1))
    with Server(longest):
        assert request(longest, b"ping\n", b"pong\n") == b"pong\n"


def test_a_socket_handed_over_is_served_and_its_file_kept(path: Path) -> None:
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()
    with connect(path) as early:
        early.sendall(b"ping\n")
        with Server(path, adopt=listening):
            assert early.recv(5) == b"pong\n"
    assert path.exists()


@pytest.mark.parametrize("kind", ["file", "not listening", "datagram", "closed"])
def test_what_is_no_listening_socket_is_not_adopted(path: Path, kind: str) -> None:
    with contextlib.ExitStack() as stack:
        if kind == "file":
            fd = stack.enter_context(path.open("w")).fileno()
        elif kind == "closed":
            fd = resource.getrlimit(resource.RLIMIT_NOFILE)[0] - 1
        else:
            type_ = socket.SOCK_DGRAM if kind == "datagram" else socket.SOCK_STREAM
            fd = stack.enter_context(socket.socket(socket.AF_UNIX, type_)).fileno()
        with pytest.raises(SocketError, match=f"descriptor {fd} from systemd"):
            sockets.adopt(fd)
        if kind != "closed":
            os.fstat(fd)
