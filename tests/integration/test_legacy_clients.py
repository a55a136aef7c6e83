# SPDX-License-Identifier: GPL-2.0-only
"""Who talks to the legacy socket today must notice nothing: each client re-written as it reads and asks."""

from __future__ import annotations

import os
import re
import select
import shlex
import shutil
import socket
from typing import TYPE_CHECKING, NamedTuple

import pytest

from mcelogd.server import Limits

from .legacy import PAGES, Canned, Server, connect, eventually, mcelog, run, scratch_socket

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

C_PROGRAM = os.environ.get("MCELOG_C", "")
needs_c_program = pytest.mark.skipif(
    not C_PROGRAM, reason="MCELOG_C does not name a binary of the C mcelog to compare with"
)


@pytest.fixture
def path() -> Iterator[Path]:
    with scratch_socket() as path:
        yield path


# --- collectd ------------------------------------------------------------------------------

COLLECTD_REQUEST = b"dump all bios\n\0"
"""sizeof of a C string: 15 bytes with the NUL."""


class CollectdRecord(NamedTuple):
    """What collectd dispatches of one DIMM."""

    instance: str
    corrected: int
    corrected_in: tuple[int, str]
    uncorrected: int
    uncorrected_in: tuple[int, str]


def collectd_lines(client: socket.socket) -> list[str]:
    """poll(), then fgets() of 128 bytes from a non-blocking socket until the first EAGAIN."""
    assert select.select([client], [], [], 1.0)[0], "no reply within collectd's second"
    data = b""
    while True:
        try:
            part = client.recv(4096)
        except BlockingIOError:
            break
        assert part, "the server closed collectd's connection"
        data += part
    lines = data.decode().splitlines(keepends=True)
    assert all(len(line) < 128 for line in lines)
    return lines


def collectd_parse(lines: list[str]) -> list[CollectdRecord]:
    records = []
    instance = ""
    counts: dict[str, tuple[int, tuple[int, str]]] = {}
    rest = iter(lines)
    for line in rest:
        if line in ("\n", "done\n"):
            if instance:
                records.append(CollectdRecord(instance, *counts["corrected"], *counts["uncorrected"]))
            instance, counts = "", {}
        elif line.startswith("SOCKET"):
            instance = line.rstrip("\n").replace(" ", "_")
        elif line.startswith("DMI_NAME"):
            instance += "_" + line.split('"')[1]
        elif line.startswith(("corrected memory errors", "uncorrected memory errors")):
            total = re.match(r"\t(\d+) total", next(rest))
            timed = re.match(r"\t(\d+) in (\S+)", next(rest))
            assert total
            assert timed
            counts[line.split()[0]] = int(total[1]), (int(timed[1]), timed[2])
    return records


def collectd_connect(path: Path) -> socket.socket:
    client = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    client.connect(str(path))
    return client


def test_collectd_reads_every_row_over_many_intervals(path: Path) -> None:
    with Server(path, Canned(dimms=2)), collectd_connect(path) as client:
        for _ in range(200):
            client.sendall(COLLECTD_REQUEST)
            assert collectd_parse(collectd_lines(client)) == [
                CollectdRecord("SOCKET_0_CHANNEL_1_DIMM_0_DIMM_A0", 11, (10, "24h"), 1, (0, "24h")),
                CollectdRecord("SOCKET_0_CHANNEL_1_DIMM_1_DIMM_A1", 11, (10, "24h"), 1, (0, "24h")),
                CollectdRecord("SOCKET_0_CHANNEL_any_DIMM_any", 11, (10, "24h"), 1, (0, "24h")),
            ]


def test_collectd_gets_a_large_reply_in_one_piece(path: Path) -> None:
    with Server(path, Canned(dimms=150)), collectd_connect(path) as client:
        for _ in range(20):
            client.sendall(COLLECTD_REQUEST)
            assert len(collectd_parse(collectd_lines(client))) == 151


def test_a_reply_can_be_received_at_once(path: Path) -> None:
    with Server(path, Canned(dimms=500)), connect(path) as client:
        client.sendall(b"ping\ndump all\n")
        assert client.recv(5) == b"pong\n"
        assert eventually(lambda: len(client.recv(1 << 20, socket.MSG_PEEK)) > 60_000)
        assert client.recv(1 << 20).endswith(b"done\n")


def test_collectd_stays_connected_however_long_it_is_silent(path: Path) -> None:
    hasty = Limits(idle_seconds=0.05, command_seconds=0.05, reply_seconds=0.05)
    with Server(path, limits=hasty), collectd_connect(path) as client:
        client.sendall(COLLECTD_REQUEST)
        before = collectd_lines(client)
        assert not select.select([client], [], [], 0.5)[0]
        client.sendall(COLLECTD_REQUEST)
        assert collectd_lines(client) == before


def test_two_requests_of_collectd_in_one_read_are_both_answered(path: Path) -> None:
    with Server(path, Canned(dimms=0)), connect(path) as client:
        client.sendall(COLLECTD_REQUEST * 2)
        assert eventually(lambda: client.recv(99, socket.MSG_PEEK) == b"done\ndone\n")


# --- Perl's Linux::MCELog ------------------------------------------------------------------

PERL = r"""
use strict; use warnings; use IO::Socket::UNIX;
my $socket = IO::Socket::UNIX->new(Peer => $ARGV[0]) or die "connect: $!";
alarm 10;
print $socket "ping\n"; $socket->flush;
die "no pong" unless <$socket> =~ /pong/;
print $socket "dump all\n"; $socket->flush;
my ($where, $kind);
while (my $line = <$socket>) {
    last if $line =~ /done/;
    if ($line =~ /SOCKET (\d+) CHANNEL (\w+) DIMM (\w+)/) { $where = "$1/$2/$3" }
    elsif ($line =~ /^corrected memory errors/) { $kind = "corrected" }
    elsif ($line =~ /^uncorrected memory errors/) { $kind = "uncorrected" }
    elsif ($line =~ /(\d+) total/) { print "$where $kind total $1\n" }
    elsif ($line =~ /(\d+) in 24h/) { print "$where $kind recent $1\n" }
    elsif ($line =~ /^$/) { undef $where; undef $kind }
}
"""


@pytest.mark.skipif(not shutil.which("perl"), reason="no perl")
def test_perl_module(path: Path) -> None:
    with Server(path, Canned(dimms=1)):
        finished = run(["perl", "-e", PERL, str(path)])
    assert finished.stderr == ""
    assert finished.stdout.splitlines() == [
        f"{where} {kind} {count}"
        for where in ("0/1/0", "0/any/any")
        for kind, count in (
            ("corrected", "total 11"),
            ("corrected", "recent 10"),
            ("uncorrected", "total 1"),
            ("uncorrected", "recent 0"),
        )
    ]


# --- Readers of `mcelog --client` ----------------------------------------------------------


def nhc(output: str) -> tuple[bool, int, int]:
    """Healthy?, corrected, uncorrected: word 1 of the line two below each heading."""
    if not output or "Connection refused" in output:
        return True, 0, 0
    lines = output.splitlines()
    counts = [
        sum(int(lines[at + 2].split()[0]) for at, line in enumerate(lines) if line == heading)
        for heading in ("corrected memory errors:", "uncorrected memory errors:")
    ]
    return False, counts[0], counts[1]


def client_output(path: Path) -> str:
    """`mcelog --client 2>&1`."""
    finished = run(["sh", "-c", f"{shlex.join(mcelog('run_client', path))} 2>&1"])
    return finished.stdout


def test_nhc_counts_the_recent_errors(path: Path) -> None:
    with Server(path, Canned(dimms=2)):
        assert nhc(client_output(path)) == (False, 30, 0)


def test_nhc_sees_a_healthy_node_in_no_output(path: Path) -> None:
    with Server(path, Canned(dimms=0, pages="")):
        assert client_output(path) == ""


def test_nhc_sees_a_daemon_that_is_down(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as gone:
        gone.bind(str(path))
    assert nhc(client_output(path)) == (True, 0, 0)


@pytest.mark.parametrize(("corrected", "alarm"), [(0, False), (7, True)])
def test_sensu_greps_totals(path: Path, corrected: int, alarm: bool) -> None:
    with Server(path, Canned(dimms=2, corrected=corrected, uncorrected=0, pages="")):
        command = f"{shlex.join(mcelog('run_client', path))} | grep total | grep -v '0 total'"
        assert bool(run(["sh", "-c", command]).stdout) is alarm


def test_passive_check_joins_lines(path: Path) -> None:
    with Server(path, Canned(dimms=1)):
        text = client_output(path)
    assert re.findall(r"[un]?corrected memory errors:\s+\w+\s+\w+\s+(\d+)\sin 24h", text) == ["10", "0"] * 2


def test_client_prints_both_answers_without_their_done(path: Path) -> None:
    with Server(path, Canned(dimms=2)):
        finished = run(mcelog("run_client", path))
        assert (finished.returncode, finished.stderr) == (0, "")
        assert finished.stdout == Canned(dimms=2).dump_memory_errors(True, True) + PAGES


# --- The C program ---------------------------------------------------------------


@needs_c_program
def test_c_client_reads_our_server(path: Path) -> None:
    config = path.with_name("mcelog.conf")
    config.write_text(f"[server]\nsocket-path = {path}\n")
    with Server(path, Canned(dimms=2)):
        finished = run([C_PROGRAM, "--config-file", str(config), "--client"])
        assert finished.stdout == Canned(dimms=2).dump_memory_errors(True, True) + PAGES
