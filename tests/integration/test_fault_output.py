# SPDX-License-Identifier: GPL-2.0-only
"""Who started the daemon by hand no longer reads what it prints."""

from __future__ import annotations

import os

from .conftest import Scratch, memory_error
from .reliability import Claims, Part, fault

COUNT = 2000
"""Their decoded text is many times what a pipe holds."""


@fault(
    Part.PROCESS,
    "Nobody reads the output of a daemon that was started by hand: a pager that waits, a stopped terminal",
    sees="Once it is read again, how many lines are missing there",
    says="… lines were dropped here: nobody read them",
    lost="Lines of decoded text and messages, there only. No record, no count",
    recovers="By itself, with the next line",
)
def test_output_that_nobody_reads(scratch: Scratch, claims: Claims) -> None:
    lines = scratch.config.read_text().splitlines()
    # Decoded text and messages go to the pipe, and none is summed up.
    lines = ["storm-threshold = off", *(line for line in lines if not line.startswith("logfile"))]
    scratch.config.write_text("\n".join(lines))
    process = scratch.start()
    scratch.send(b"".join(map(memory_error, range(COUNT))))
    scratch.wait_stored(COUNT)
    assert scratch.command("--ping").returncode == 0
    claims.kept(scratch.query("SELECT count(*), count(DISTINCT record) FROM events"), [(COUNT, COUNT)])
    assert process.stdout is not None
    # What the pipe held; there is room again.
    held = os.read(process.stdout.fileno(), 1 << 20).decode()
    scratch.send(memory_error(0xABC))
    scratch.wait_stored(COUNT + 1)
    rest = scratch.stop()
    claims.saw(rest)
    claims.recovered(f"ADDR {0xABC000:x}" in rest.rpartition("nobody read them")[2])
    assert "Traceback" not in held + rest
