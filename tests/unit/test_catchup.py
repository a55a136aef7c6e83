# SPDX-License-Identifier: GPL-2.0-only
"""Where machine checks from before are looked for, and when what came is too little."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, cast

import pytest

from mcelogd.catchup import NOWHERE, Places, have_parted, places
from mcelogd.config import parse
from mcelogd.earlier.pstore import ROOTS
from mcelogd.settings import Settings
from mcelogd.sources.stream import StreamSource

if TYPE_CHECKING:
    from mcelogd.sources import Source


@pytest.mark.parametrize(
    ("told", "received", "expected"),
    [(0, 0, False), (1, 0, True), (1, 1, False), (2, 1, False), (3, 1, True), (9, 5, False), (1, 900, False)],
)
def test_too_few(told: int, received: int, *, expected: bool) -> None:
    assert have_parted(told, received) is expected


KERNEL = cast("Source", object())


@pytest.mark.parametrize(
    ("text", "of_kernel", "of_a_fifo"),
    [
        ("", Places(ROOTS), None),
        ("earlier-records = no\nearlier-pstore = /p\n", None, None),
        ("earlier-journal = /j\n", Places(ROOTS, Path("/j")), Places([], Path("/j"))),
        ("earlier-pstore = /p\n", Places([Path("/p")]), Places([Path("/p")], NOWHERE)),
    ],
)
def test_places(tmp_path: Path, text: str, of_kernel: Places | None, of_a_fifo: Places | None) -> None:
    os.mkfifo(tmp_path / "fifo")
    fifo = StreamSource(str(tmp_path / "fifo"), 128)
    settings = Settings.load(parse(text, "mcelog.conf"))
    assert places(settings, KERNEL) == of_kernel
    assert places(settings, fifo) == of_a_fifo
    fifo.close()
