# SPDX-License-Identifier: GPL-2.0-only
"""A kernel that does not come back from a page: a FIFO that nobody reads, in the place of its file."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from . import acting
from .conftest import wait_for
from .reliability import Claims, Part, fault

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from .acting import Acting

SETTINGS = "[page]\nmemory-ce-threshold = 2 / 24h\nmemory-ce-action = soft\n"
PAGES = 20


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Acting]:
    with acting.bench_in(tmp_path) as bench:
        yield bench


@fault(
    Part.ACTIONS,
    "Writing to sysfs, to take a page out of use, blocks for as long as it likes",
    sees="The page is still shown as `online`; clients are answered, and mcelog stops when asked to",
    lost="Nothing: records are read and stored meanwhile; other pages wait for their turn",
    recovers="By itself, when the kernel comes back: the pages that wait are next",
)
def test_a_write_that_blocks(bench: Acting, claims: Claims) -> None:
    file = bench.sysfs / "devices/system/memory/soft_offline_page"
    os.mkfifo(file)
    bench.configure(SETTINGS)
    process = bench.start()
    bench.send(b"".join(acting.page(frame, time=int(time.time())) * 2 for frame in range(PAGES)))
    bench.wait_stored(2 * PAGES)
    time.sleep(1)
    assert bench.command("--ping").returncode == 0
    assert bench.command("--client").stdout.count(" online") == PAGES
    written = file.read_text()  # until nobody writes any more: on a busy machine that may be a few pages
    assert written.startswith("0x0")
    wait_for(lambda: "0x1000" in written or "0x1000" in file.read_text(), "the next page")
    began = time.monotonic()
    bench.stop()
    assert time.monotonic() - began < 15
    claims.recovered(process.returncode == 0)
    claims.kept(bench.stored(), 2 * PAGES)
    assert "Traceback" not in bench.log.read_text()
