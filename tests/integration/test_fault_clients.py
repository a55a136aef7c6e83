# SPDX-License-Identifier: GPL-2.0-only
"""A thousand clients at once that mean no good, and the daemon's work meanwhile."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd.server import Limits

from .conftest import Scratch, memory_error, wait_for
from .legacy import SOMEBODY, needs_root
from .reliability import Claims, Part, fault

if TYPE_CHECKING:
    from collections.abc import Callable

LIMITS = Limits()
CLIENTS = 1000
RECORDS = 2000

CROWD = """
import os, resource, socket, sys
uid, path, count = int(sys.argv[1]), sys.argv[2], int(sys.argv[3])
resource.setrlimit(resource.RLIMIT_NOFILE, [resource.getrlimit(resource.RLIMIT_NOFILE)[1]] * 2)
os.chdir(os.path.dirname(path))
os.setresuid(uid, uid, uid)
said = [b"", b"x", b"dump a", b"dump all bios\\n" * 200, bytes(9000), os.urandom(300) + b"\\n"]
held = []
for n in range(count):
    held.append(socket.socket(socket.AF_UNIX))
    held[-1].connect(os.path.basename(path))
    held[-1].setblocking(False)
    try:
        held[-1].send(said[n % len(said)])
    except OSError:
        pass
print(flush=True)
sys.stdin.read()
"""


def crowd(scratch: Scratch, uid: int, during: Callable[[], None]) -> None:
    """A thousand connections of that user, held for as long as `during` takes."""
    scratch.directory.chmod(0o755)
    command = [sys.executable, "-c", CROWD, str(uid), str(scratch.client_path), str(CLIENTS)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        try:
            assert process.stdout.readline()
            during()
        finally:
            process.communicate()


def descriptors(pid: int) -> int:
    return sum(1 for _ in Path(f"/proc/{pid}/fd").iterdir())


def resident(pid: int) -> int:
    """Pages of memory."""
    return int(Path(f"/proc/{pid}/statm").read_text().split()[1])


def send_records(scratch: Scratch, claims: Claims) -> None:
    scratch.send(b"".join(map(memory_error, range(RECORDS))))
    scratch.wait_stored(RECORDS)
    claims.kept(scratch.query("SELECT count(DISTINCT record) FROM events"), [(RECORDS,)])


@needs_root
@fault(
    Part.CLIENTS,
    "1,000 connections of a user who may not ask: silent, half a command, garbage, never reading",
    says="rejected a client: pid …, uid …, gid …",
    sees="those who may ask are answered",
    lost="Nothing",
    recovers=f"At once: {LIMITS.denied} wait to be told, the others are turned away",
)
def test_a_thousand_strangers(scratch: Scratch, claims: Claims) -> None:
    process = scratch.start()
    before, memory = descriptors(process.pid), resident(process.pid)

    def during() -> None:
        send_records(scratch, claims)
        assert scratch.command("--ping").stdout == "pong\n"
        assert f"\t{RECORDS} total\n" in scratch.command("--client").stdout
        assert descriptors(process.pid) <= before + 20

    crowd(scratch, SOMEBODY, during)
    wait_for(lambda: descriptors(process.pid) <= before, "the last client to be gone")
    claims.recovered(scratch.command("--ping").returncode == 0)
    assert resident(process.pid) - memory < 10_000
    scratch.stop()
    log = scratch.log.read_text()
    claims.saw(log)
    assert log.count("rejected a client") < 5


@fault(
    Part.CLIENTS,
    "1,000 connections of a user who may ask, held half-way",
    says=f"turned a client away: {LIMITS.clients} are connected and none is idle",
    lost="Nothing: records are read and stored meanwhile",
    recovers=f"Within {LIMITS.command_seconds:.0f} s: who leaves a command or reply half-way is cut off",
)
def test_a_thousand_that_may_ask(scratch: Scratch, claims: Claims) -> None:
    process = scratch.start()
    before = descriptors(process.pid)

    def during() -> None:
        send_records(scratch, claims)
        wait_for(lambda: scratch.command("--ping").returncode == 0, "a place that is free again")

    crowd(scratch, 0, during)
    wait_for(lambda: descriptors(process.pid) <= before, "the last client to be gone")
    claims.recovered(scratch.command("--client").returncode == 0)
    scratch.stop()
    claims.saw(scratch.log.read_text())
