# SPDX-License-Identifier: GPL-2.0-only
"""The legacy socket's server: grammar, access, limits, hostile clients."""

from __future__ import annotations

import contextlib
import os
import random
import socket
import struct
import subprocess
import sys
import threading
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.server import Access, Limits, Peer, respond
from mcelogd.server.commands import CHANGES

from .legacy import (
    PAGES,
    ROOT,
    SOMEBODY,
    Canned,
    Server,
    connect,
    ends,
    eventually,
    needs_root,
    read_reply,
    request,
    request_as,
    run,
    scratch_socket,
)

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

DUMP_ALL = Canned().dump_memory_errors(True, False).encode() + b"done\n"
HASTY = Limits(idle_seconds=0.2, command_seconds=0.2, reply_seconds=0.2)


@pytest.fixture
def path() -> Iterator[Path]:
    with scratch_socket() as path:
        yield path


# --- Grammar -------------------------------------------------------------------------------


class Spy:
    """Content that shows what it was asked."""

    def dump_memory_errors(self, all: bool, bios: bool, /) -> str:
        return f"all={all} bios={bios}\n"

    def dump_page_errors(self) -> str:
        return "pages\n"

    def dump_history(self) -> str:
        return "history\n"

    def change(self, command: str, place: str, uid: int, /) -> str:
        return f"{command} {place} by {uid}\n"


@pytest.mark.parametrize(
    ("line", "reply"),
    [
        ("ping", "pong\n"),
        ("  ping \r", "pong\n"),
        ("pings", "Unknown command\n"),
        ("pages", "pages\ndone\n"),
        ("history", "history\ndone\n"),
        ("replaced 0/1/0", "replaced 0/1/0 by 0\ndone\n"),
        ("acquit ", "acquit  by 0\ndone\n"),
        ("pages of a book", "pages\ndone\n"),
        ("dump", "all=False bios=False\ndone\n"),
        ("dump all", "all=True bios=False\ndone\n"),
        ("dump bios", "all=False bios=True\ndone\n"),
        ("dump all bios", "all=True bios=True\ndone\n"),
        ("\tdump  bios   all\r", "all=True bios=True\ndone\n"),
        ("dump it all now", "Unknown dump parameter\n" * 2 + "all=True bios=False\ndone\n"),
        ("dumpall", "Unknown dump parameter\nall=False bios=False\ndone\n"),
        ("DUMP", "Unknown command\n"),
        ("help", "Unknown command\n"),
        ("", ""),
        (" \t\r", ""),
    ],
)
def test_respond(line: str, reply: str) -> None:
    assert respond(Spy(), line, 0) == reply.encode()


@pytest.mark.parametrize("command", CHANGES)
def test_only_root_may_change_what_is_counted(command: str) -> None:
    assert respond(Spy(), f"{command} 0/0/0", 1000) == b"permission denied\n"


@given(st.text())
def test_any_line_gets_whole_lines(line: str) -> None:
    reply = respond(Spy(), line, 0)
    assert reply.endswith(b"\n") or not line.strip()


def test_names_that_are_no_utf8_do_not_stop_the_reply() -> None:
    assert respond(Canned(pages="\udcff\n"), "pages", 0) == b"?\ndone\n"


# --- Lines on the wire ---------------------------------------------------------------------


def test_pipelined_commands_are_answered_in_order(path: Path) -> None:
    with Server(path):
        reply = request(path, b"ping\r\n\n  \nnonsense\ndump all\n\0pages\nping\n", b"done\npong\n")
    assert reply == b"pong\nUnknown command\n" + DUMP_ALL + PAGES.encode() + b"done\npong\n"


def test_a_command_may_come_in_pieces(path: Path) -> None:
    with Server(path), connect(path) as client:
        for byte in b" dump all\r\n\0":
            client.sendall(bytes([byte]))
            time.sleep(0.005)
        assert read_reply(client) == DUMP_ALL


@pytest.mark.parametrize("text", [b"ping", b"ping\n", b"\nping\0"])
def test_the_end_of_input_ends_a_command_too(path: Path, text: bytes) -> None:
    with Server(path), connect(path) as client:
        client.sendall(text)
        client.shutdown(socket.SHUT_WR)
        assert read_reply(client) == b"pong\n"


def test_thousands_of_commands_at_once(path: Path) -> None:
    with Server(path), connect(path) as client:
        sender = threading.Thread(target=client.sendall, args=(b"ping\n" * 5_000,))
        sender.start()
        received = 0
        while received < 5 * 5_000:
            received += len(client.recv(65536))
        sender.join()
        assert received == 5 * 5_000


@pytest.mark.parametrize("text", [b"d" * 5000, b"ping" * 2000 + b"\n", b" " * 100_000, b"x" * (1 << 20)])
def test_a_line_that_is_too_long_ends_the_connection(path: Path, text: bytes) -> None:
    with Server(path), connect(path) as client:
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            client.sendall(text)
        assert read_reply(client) == b"Unknown command\n"
        assert request(path, b"ping\n", b"pong\n") == b"pong\n"


def test_a_line_of_just_the_longest_length_is_read(path: Path) -> None:
    with Server(path):
        assert request(path, b"pages" + b" " * 4091 + b"\n") == PAGES.encode() + b"done\n"


def test_a_defect_in_the_text_disconnects_that_client_only(path: Path) -> None:
    def answer(line: str, uid: int) -> bytes:
        if line == "dump":
            raise ZeroDivisionError
        return respond(Canned(), line, uid)

    with Server(path, answer=answer) as server:
        assert request(path, b"dump\n") == b""
        assert request(path, b"ping\n", b"pong\n") == b"pong\n"
        assert "ZeroDivisionError" in server.problems.pop()


# --- Access --------------------------------------------------------------------------------

ROOT_PEER = Peer(pid=1, uid=0, gid=0)
USER = Peer(pid=2, uid=1000, gid=100, groups=frozenset([27, 44]))


@pytest.mark.parametrize(
    ("access", "allowed"),
    [
        (Access(), False),
        (Access(uid=1000), True),
        (Access(uid=1001), False),
        (Access(uid=None), False),
        (Access(gid=100), True),
        (Access(gid=44), True),
        (Access(gid=0), False),
        (Access(uid=1001, gid=27), True),
        (Access(uid=None, any_user=True), True),
        (Access(uid=None, any_user=True, any_group=True), True),
        (Access(uid=None, any_user=True, gid=27), True),
        (Access(uid=None, any_user=True, gid=28), False),
        (Access(any_group=True), False),
        (Access(uid=1000, any_group=True), True),
    ],
)
def test_access(access: Access, allowed: bool) -> None:
    assert access.allows(USER) is allowed
    assert access.allows(ROOT_PEER)


@needs_root
@pytest.mark.parametrize(
    ("access", "reply"),
    [
        (Access(), b"permission denied\n"),
        (Access(uid=SOMEBODY), b"pong\n"),
        (Access(gid=SOMEBODY), b"pong\n"),
        (Access(gid=SOMEBODY + 1), b"pong\n"),
        (Access(gid=SOMEBODY + 3), b"permission denied\n"),
        (Access(uid=None, any_user=True), b"pong\n"),
    ],
)
def test_credentials_of_a_real_user(path: Path, access: Access, reply: bytes) -> None:
    with Server(path, access=access):
        assert request_as(path, b"ping\n", SOMEBODY, SOMEBODY, (SOMEBODY + 1, SOMEBODY + 2)) == reply


NOT_ME = Access(uid=None) if os.geteuid() else None
"""An access that denies this test; nothing denies root."""


def as_denied(path: Path, text: bytes) -> bytes:
    if os.geteuid() == 0:
        return request_as(path, text, SOMEBODY, SOMEBODY)
    return request(path, text)


def test_a_denied_client_is_told_and_logged_once(path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with Server(path, access=NOT_ME):
        for _ in range(3):
            assert as_denied(path, b"dump all bios\n\0") == b"permission denied\n"
    (message,) = [record.getMessage() for record in caplog.records if record.name.startswith("mcelogd")]
    assert f"uid {SOMEBODY if os.geteuid() == 0 else os.geteuid()}" in message


def test_credentials_sent_along_do_no_harm(path: Path) -> None:
    sent = struct.pack("iII", os.getpid(), os.getuid(), os.getgid())
    with Server(path), connect(path) as client:
        client.sendmsg([b"ping\n"], [(socket.SOL_SOCKET, socket.SCM_CREDENTIALS, sent)])
        client.sendmsg([b"ping\n"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, struct.pack("i", 0))])
        assert read_reply(client, b"pong\npong\n") == b"pong\npong\n"


@needs_root
def test_bytes_written_by_root_do_not_raise_the_rights_of_who_connected(path: Path) -> None:
    """As a setuid program does whose stdout is the socket."""
    code = (
        "import os, socket, subprocess, sys\n"
        f"os.seteuid({SOMEBODY}); s = socket.socket(socket.AF_UNIX); s.connect({str(path)!r})\n"
        "os.seteuid(0); s.sendall(b'dump all\\n'); print(s.recv(100))"
    )
    with Server(path, access=Access()):
        assert "permission denied" in run([sys.executable, "-c", code]).stdout


# --- Limits and hostile clients ------------------------------------------------------------


def test_a_hundred_clients_at_once(path: Path) -> None:
    replies: list[bytes] = []
    with Server(path):
        together = threading.Barrier(100)

        def one() -> None:
            together.wait(10)
            with connect(path) as client:
                for _ in range(5):
                    client.sendall(b"dump all\n")
                    replies.append(read_reply(client))

        threads = [threading.Thread(target=one) for _ in range(100)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert replies == [DUMP_ALL] * 500


def test_a_half_sent_command_times_out_however_it_trickles_in(path: Path) -> None:
    with Server(path, limits=HASTY), connect(path) as silent, connect(path) as trickling:
        silent.sendall(b"ping\ndump al")
        assert silent.recv(5) == b"pong\n"
        begun = time.monotonic()
        with contextlib.suppress(BrokenPipeError):
            while time.monotonic() < begun + 2:
                trickling.sendall(b"d")
                time.sleep(0.02)
        assert time.monotonic() < begun + 1.5
        assert ends(silent, 2)


def test_a_reply_that_is_not_read_times_out(path: Path) -> None:
    with Server(path, Canned(pages="x\n" * 500_000), limits=HASTY), connect(path) as client:
        client.sendall(b"pages\n" * 1000)
        time.sleep(0.6)
        received = len(read_reply(client, b"never"))
        assert 0 < received < 2_000_000


def test_a_reply_larger_than_any_buffer_arrives_whole(path: Path) -> None:
    pages = "x" * 99 + "\n"
    with Server(path, Canned(pages=pages * 50_000)):
        assert request(path, b"pages\n") == pages.encode() * 50_000 + b"done\n"


def test_replies_pending_for_all_clients_are_bounded(path: Path) -> None:
    limits = Limits(pending_bytes=2_000_000)
    with Server(path, Canned(pages="x\n" * 1_000_000), limits=limits), contextlib.ExitStack() as stack:
        greedy = [stack.enter_context(connect(path)) for _ in range(2)]
        for client in greedy:
            client.sendall(b"pages\n")
            client.recv(1, socket.MSG_PEEK)
        assert request(path, b"ping\n") == b"mcelog server too busy\n"
        assert [len(read_reply(client)) for client in greedy] == [2_000_005] * 2
        assert request(path, b"ping\n", b"pong\n") == b"pong\n"


def test_when_full_the_idlest_gives_way_but_only_when_idle_enough(path: Path) -> None:
    with Server(path, limits=Limits(clients=5)) as server, contextlib.ExitStack() as stack:
        clients = [stack.enter_context(connect(path)) for _ in range(5)]
        for client in reversed(clients):
            client.sendall(b"ping\n")
            assert client.recv(5) == b"pong\n"
        with connect(path) as surplus:
            assert read_reply(surplus) == b"mcelog server too busy\n"
        server.let_time_pass(31)
        with connect(path) as newcomer:
            newcomer.sendall(b"ping\n")
            assert newcomer.recv(5) == b"pong\n"
            assert ends(clients[4], 1)
            assert not any(ends(client, 0) for client in clients[:4])


@needs_root
def test_when_full_who_holds_most_connections_gives_way(path: Path) -> None:
    """collectd's one connection stays, though it was silent for longest."""
    crowd = (
        "import os, socket, sys\n"
        f"os.setresuid(*[{SOMEBODY}] * 3)\n"
        "held = []\n"
        "for _ in range(6):\n"
        f"    held.append(socket.socket(socket.AF_UNIX)); held[-1].connect({str(path)!r})\n"
        "    held[-1].sendall(b'ping\\n'); held[-1].recv(5)\n"
        "print(flush=True); sys.stdin.read()\n"
    )
    access = Access(uid=None, any_user=True)
    with Server(path, limits=Limits(clients=7), access=access) as server, connect(path) as collectd:
        collectd.sendall(b"ping\n")
        assert collectd.recv(5) == b"pong\n"
        with subprocess.Popen(
            [sys.executable, "-c", crowd], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child:
            assert child.stdout
            child.stdout.readline()
            server.let_time_pass(31)
            for _ in range(3):
                assert request(path, b"ping\n", b"pong\n") == b"pong\n"
            child.communicate()
        collectd.sendall(b"ping\n")
        assert collectd.recv(5) == b"pong\n"


@needs_root
def test_a_thousand_denied_connections_keep_nobody_out(path: Path) -> None:
    flood = (
        "import os, socket, sys\n"
        f"os.setresuid(*[{SOMEBODY}] * 3)\n"
        "held = []\n"
        "for n in range(1000):\n"
        f"    held.append(socket.socket(socket.AF_UNIX)); held[-1].connect({str(path)!r})\n"
        "    if n == 20: print(flush=True)\n"
        "    try: held[-1].send(b'x' * (n % 3))\n"
        "    except OSError: pass\n"
        "print(flush=True); sys.stdin.read()\n"
    )
    with (
        Server(path) as server,
        subprocess.Popen(
            [sys.executable, "-c", flood], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        ) as child,
    ):
        assert child.stdout
        for _ in range(2):
            child.stdout.readline()
            assert request(path, b"dump all\n") == DUMP_ALL
            assert server.denied <= Limits().denied
        child.communicate()


@needs_root
def test_a_denied_client_that_says_nothing_is_dropped_in_the_end(path: Path) -> None:
    code = (
        "import os, socket, time\n"
        f"os.setresuid(*[{SOMEBODY}] * 3)\n"
        f"s = socket.socket(socket.AF_UNIX); s.settimeout(5); s.connect({str(path)!r}); print(s.recv(1))"
    )
    with Server(path, limits=HASTY):
        assert run([sys.executable, "-c", code]).stdout == "b''\n"


def test_garbage_and_disappearing_clients_harm_nobody(path: Path) -> None:
    chance = random.Random(7)
    with Server(path, limits=HASTY) as server:
        for _ in range(300):
            with contextlib.suppress(OSError), connect(path) as client:
                client.sendall(chance.randbytes(chance.choice([0, 1, 10, 300, 9000])))
                if chance.random() < 0.3:
                    client.sendall(b"\ndump all bios\n" * chance.randrange(200))
                if chance.random() < 0.3:
                    client.shutdown(chance.choice([socket.SHUT_RD, socket.SHUT_WR, socket.SHUT_RDWR]))
        assert request(path, b"\ndump all\n") == DUMP_ALL
        assert eventually(lambda: server.connections == 0)


SMALL_SERVER = """
import asyncio, logging, resource, sys
from mcelogd.server import LegacyServer, Access
from tests.integration.legacy import Canned
from mcelogd.server import respond
logging.basicConfig(format="%(message)s", level="WARNING")
async def main():
    resource.setrlimit(resource.RLIMIT_NOFILE, (40, 40))
    server = LegacyServer(lambda line, uid: respond(Canned(), line, uid), Access(uid=None, any_user=True))
    await server.bind(sys.argv[1])
    print(flush=True)
    await asyncio.to_thread(sys.stdin.read)
    server.close()
    print(resource.getrusage(resource.RUSAGE_SELF).ru_utime)
asyncio.run(main())
"""


def test_without_file_descriptors_it_waits_says_so_once_and_goes_on(path: Path) -> None:
    with (
        subprocess.Popen(
            [sys.executable, "-c", SMALL_SERVER, str(path)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            cwd=ROOT,
            text=True,
        ) as server,
        contextlib.ExitStack() as stack,
    ):
        assert server.stdout
        server.stdout.readline()
        clients = [stack.enter_context(connect(path)) for _ in range(60)]
        for client in clients:
            client.sendall(b"ping\n")
        time.sleep(2.5)
        for client in clients[:40]:
            client.close()
        assert all(client.recv(5) == b"pong\n" for client in clients[40:])
        processor_seconds, log = server.communicate()
        assert log == "cannot accept clients: Too many open files; trying again every second\n"
        assert float(processor_seconds) < 1.5
