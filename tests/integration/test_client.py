# SPDX-License-Identifier: GPL-2.0-only
"""`mcelog --client` and `--ping` against servers of all kinds."""

from __future__ import annotations

import contextlib
import json
import shlex
import socket
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest

from mcelogd.client import ClientError, ask

from .legacy import (
    Canned,
    Server,
    eventually,
    mcelog,
    run,
    scratch_socket,
)

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def path() -> Iterator[Path]:
    with scratch_socket() as path:
        yield path


def error_line(finished: subprocess.CompletedProcess[str]) -> str:
    """The one line on stderr of a command that failed."""
    assert finished.returncode not in (0, 120)
    assert finished.stderr.count("\n") == 1
    assert finished.stderr.startswith("mcelog: ")
    return finished.stderr


def test_ping(path: Path) -> None:
    with Server(path):
        finished = run(mcelog("run_ping", path))
    assert (finished.returncode, finished.stdout, finished.stderr) == (0, "pong\n", "")


@pytest.mark.parametrize("function", ["run_client", "run_ping"])
def test_no_server(path: Path, function: str) -> None:
    line = error_line(run(mcelog(function, path)))
    assert f"{path}: No such file or directory" in line
    assert "systemctl start mcelog" in line
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    line = error_line(run(mcelog(function, path)))
    assert f"{path}: Connection refused" in line
    assert "systemctl start mcelog" in line


@pytest.mark.parametrize("path", ["", "/tmp/" + "x" * 200, "/etc/passwd", "/etc/passwd/x", "/tmp"])
def test_client_with_an_impossible_path(path: str) -> None:
    assert error_line(run(mcelog("run_client", path)))


def fake_server(path: Path, answer: bytes, *, wait: bool = False, read: bool = True) -> socket.socket:
    """Gives every client that answer; then closes the connection, or waits for the client's end."""
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    listening.listen()

    def serve() -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = listening.accept()
                with accepted:
                    if read:
                        accepted.recv(100)
                    accepted.sendall(answer)
                    while wait and accepted.recv(100):
                        pass

    threading.Thread(target=serve, daemon=True).start()
    return listening


@pytest.mark.parametrize("read", [True, False], ids=["after the command", "at once"])
@pytest.mark.parametrize("answer", [b"permission denied\n", b"mcelog server too busy\n"])
def test_refusals_are_errors(path: Path, answer: bytes, read: bool) -> None:
    with fake_server(path, answer, read=read) as listening:
        for function in ("run_client", "run_ping"):
            finished = run(mcelog(function, path))
            assert answer.decode().strip() in error_line(finished)
            assert finished.stdout == ""
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("answer", [b"", b"SOCKET 0\nhalf a li", b"SOCKET 0\n", b"done"])
def test_an_answer_that_breaks_off_is_an_error(path: Path, answer: bytes) -> None:
    with fake_server(path, answer) as listening:
        finished = run(mcelog("run_client", path))
        assert "went away" in error_line(finished)
        assert finished.stdout == answer.decode()
        listening.shutdown(socket.SHUT_RDWR)


def test_a_server_that_is_no_mcelog_does_not_pass_for_one(path: Path) -> None:
    with fake_server(path, b"220 mail.example.org\n") as listening:
        finished = run(mcelog("run_ping", path))
        assert error_line(finished)
        assert finished.stdout == ""
        listening.shutdown(socket.SHUT_RDWR)


@pytest.mark.parametrize("backlog", [5, 0], ids=["accepted", "backlog full"])
def test_a_dead_server_does_not_hang_the_client(path: Path, backlog: int) -> None:
    with socket.socket(socket.AF_UNIX) as dead, socket.socket(socket.AF_UNIX) as first:
        dead.bind(str(path))
        dead.listen(backlog)
        first.connect(str(path))
        begun = time.monotonic()
        assert "no answer for 0.5 s" in error_line(run(mcelog("run_client", path, timeout=0.5)))
        assert 0.4 < time.monotonic() - begun < 5


def test_a_server_that_stops_in_the_middle_does_not_hang_the_client(path: Path) -> None:
    with fake_server(path, b"Memory errors\nSOC", wait=True) as listening:
        finished = run(mcelog("run_client", path, timeout=0.5))
        assert "no answer" in error_line(finished)
        assert finished.stdout == "Memory errors\n"
        listening.shutdown(socket.SHUT_RDWR)


def test_a_reader_that_has_seen_enough_is_no_error(path: Path) -> None:
    with Server(path, Canned(dimms=3000)):
        finished = run(["sh", "-c", f"{shlex.join(mcelog('run_client', path))} | head -n 1"])
    assert (finished.stdout, finished.stderr) == ("Memory errors\n", "")


@pytest.mark.parametrize(("redirection", "cause"), [(">/dev/full", "No space left"), (">&-", "closed")])
def test_output_that_cannot_be_written_is_an_error(path: Path, redirection: str, cause: str) -> None:
    with Server(path):
        finished = run(["sh", "-c", f"{shlex.join(mcelog('run_client', path))} {redirection}"])
    assert cause in error_line(finished)


def test_ask_leaves_no_connection_open_when_it_is_not_read_to_the_end(path: Path) -> None:
    with Server(path) as server:
        lines = ask(str(path), "dump all")
        assert next(lines) == b"Memory errors\n"
        lines.close()
        assert eventually(lambda: server.connections == 0)
        with pytest.raises(ClientError, match="Unknown command: this mcelog daemon does not know"):
            list(ask(str(path), "drop"))


def test_the_client_imports_little() -> None:
    code = "import json, sys; import mcelogd.client; print(json.dumps(list(sys.modules)))"
    finished = run([sys.executable, "-S", "-c", code])
    heavy = {"asyncio", "logging", "subprocess", "argparse", "pathlib", "dataclasses"}
    assert heavy.isdisjoint(json.loads(finished.stdout))
