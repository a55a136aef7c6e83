# SPDX-License-Identifier: GPL-2.0-only
"""More records in the trace event's ring than are decoded at once: read first, into several spools."""

from __future__ import annotations

import signal
from contextlib import closing
from typing import TYPE_CHECKING

from mcelogd.record import LENGTH, layout

from .conftest import Scratch, memory_error, wait_for
from .reliability import Claims, Part, fault
from .trace_ring import TraceRing, full_pages

if TYPE_CHECKING:
    from pathlib import Path

COUNT = 18_000
"""Three spools' worth."""


@fault(
    Part.PROCESS,
    "SIGKILL while some ten thousand records of a burst, in several spools, are not decoded yet",
    says="… records were read but not stored before; stored now",
    lost="Nothing: every record is stored and counted once",
    recovers="The next start takes in what is in the spools, in their order, before it reads more",
)
def test_killed_in_a_burst(scratch: Scratch, tmp_path: Path, claims: Claims) -> None:
    pages = list(full_pages(map(memory_error, range(COUNT))))
    settings = scratch.config.read_text()
    scratch.config.write_text(f"source = tracefs\ntracefs-root = {tmp_path}/tracing\n{settings}")
    with closing(TraceRing(tmp_path / "tracing")) as ring:
        scratch.start(from_fifo=False)
        ring.send_all(pages)
        wait_for(lambda: not ring.waiting, "the ring to be read")
        scratch.stop(signal.SIGKILL)
        assert len(list(scratch.state.glob("spool-*"))) > 1
        assert scratch.stored() < COUNT
        scratch.start(from_fifo=False)
        scratch.wait_stored(COUNT)
        scratch.stop()
    rows = scratch.query("SELECT record FROM events ORDER BY id")
    found = [layout(LENGTH).parse(bytes(row[0])).addr >> 12 for row in rows]  # type: ignore[arg-type]  # sqlite3 gives object
    claims.kept(found, list(range(COUNT)))
    assert scratch.query("SELECT ce_total FROM memory WHERE channel = -1 AND dimm = -1") == [(COUNT,)]
    # The last that was taken in goes with the first commit of what is in the new one.
    claims.recovered(len(list(scratch.state.glob("spool-*"))) == 2)
    claims.saw(scratch.log.read_text())
