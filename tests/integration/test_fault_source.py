# SPDX-License-Identifier: GPL-2.0-only
"""A source whose reads fail: system calls of the running daemon, made to fail by strace."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from .conftest import Scratch, memory_error, wait_for
from .reliability import Claims, Part, fault
from .syscalls import failing

SECONDS = 1.5
"""How long reads fail: longer than the first pause, shorter than the first two."""


def processor_ticks(pid: int) -> int:
    return sum(map(int, Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()[11:13]))


@pytest.mark.parametrize(
    ("errno", "text"),
    [
        ("EIO", "Input/output error"),
        ("EAGAIN", "Resource temporarily unavailable"),
        ("ENODEV", "No such device"),
        ("ENOMEM", "Cannot allocate memory"),
    ],
)
@fault(
    Part.SOURCE,
    "Reading the device fails, for as long as it likes: EIO, EAGAIN, ENODEV (it disappeared), ENOMEM",
    says=("cannot read …; trying again in 1 s", "cannot read …; trying again in 2 s", "… can be read again"),
    sees="clients are answered; no processor time is used",
    lost="Nothing: what the kernel has not handed over stays with it",
    recovers="By itself: reading is tried again after 1, 2, 4 ... 60 s",
)
def test_reads_that_fail(scratch: Scratch, errno: str, text: str, claims: Claims) -> None:
    process = scratch.start()
    scratch.send(memory_error(1))
    scratch.wait_stored(1)
    with failing(process.pid, "readv", errno):
        scratch.send(memory_error(2) + memory_error(3))
        wait_for(lambda: scratch.log.read_text().count(f": {text}; trying") >= 1, "the message")
        before = processor_ticks(process.pid)
        time.sleep(SECONDS)
        assert processor_ticks(process.pid) - before < 30
        assert scratch.command("--ping").returncode == 0
        assert scratch.log.read_text().count("cannot read") == 2
        assert scratch.stored() == 1
    scratch.send(memory_error(4))
    scratch.wait_stored(4)
    scratch.stop()
    claims.kept(scratch.query("SELECT count(*), max(id) FROM events"), [(4, 4)])
    claims.recovered(scratch.log.read_text().count("can be read again") == 1)
    claims.saw(scratch.log.read_text())
