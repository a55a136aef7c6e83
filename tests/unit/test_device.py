# SPDX-License-Identifier: GPL-2.0-only
"""The device in a burst. A file stands for it: few kernels have one; that of the virtual machine has."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

import pytest

from mcelogd.record import LENGTH
from mcelogd.sources import device
from mcelogd.sources.device import DeviceSource
from mcelogd.spool import Spool

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

ROOM = 32
ANSWERS = {device.MCE_GET_RECORD_LEN: LENGTH, device.MCE_GET_LOG_LEN: ROOM, device.MCE_GETCLEAR_FLAGS: 0}


class Log:
    """The file, and the wait for more of it: each time so many records come, and 0 is none in time."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.coming: Iterator[int] = iter(())
        self.waits: list[int] = []
        self.add(0)

    def add(self, records: int) -> None:
        with self.path.open("ab") as file:
            file.write(b"\1" * records * LENGTH)

    def poll(self, milliseconds: int) -> bool:
        self.waits.append(milliseconds)
        come = next(self.coming, 0)
        self.add(come)
        return come > 0


@pytest.fixture
def log(tmp_path: Path) -> Log:
    return Log(tmp_path / "device")


@pytest.fixture
def source(log: Log, monkeypatch: pytest.MonkeyPatch) -> Iterator[DeviceSource]:
    monkeypatch.setattr(DeviceSource, "_ask", lambda _, request: ANSWERS[request])
    opened = DeviceSource(str(log.path))
    monkeypatch.setattr(opened, "_poll", log)
    yield opened
    opened.close()


def read(source: DeviceSource, log: Log, coming: Iterable[int]) -> int:
    """Until nothing is there: how many records."""
    log.coming = iter(coming)
    spool = Spool.in_memory(1, LENGTH)
    while spool.room >= source.read_size and source.read_into(spool):
        pass
    return spool.pending


@pytest.mark.parametrize("first", [1, ROOM])
def test_more_is_waited_for(source: DeviceSource, log: Log, first: int) -> None:
    log.add(first)
    assert read(source, log, [3, 1, ROOM, 1]) == first + 3 + 1 + ROOM + 1
    assert log.waits == [device.LINGER_MS] * 5
    assert read(source, log, [1]) == 0, "the burst was over"


def test_not_where_nothing_came(source: DeviceSource, log: Log) -> None:
    assert read(source, log, [3]) == 0
    assert not log.waits


def test_a_burst_without_end_is_left_for_a_while(
    source: DeviceSource, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(device, "BURST_SECONDS", 0.02)
    log.add(ROOM)
    assert ROOM < read(source, log, itertools.repeat(1)) < 8000
    log.add(ROOM)
    assert read(source, log, [1, 0]) == ROOM + 1


def test_what_waits_to_be_handled_does_not_pile_up(
    source: DeviceSource, log: Log, monkeypatch: pytest.MonkeyPatch
) -> None:
    """After a burst that was left for a while, all of it is handled before the next is waited for."""
    spool = Spool.in_memory(1, LENGTH)
    monkeypatch.setattr(device, "BURST_SECONDS", 0.0)
    log.add(ROOM)
    assert (source.read_into(spool), source.read_into(spool)) == (ROOM * LENGTH, 0)
    monkeypatch.setattr(device, "BURST_SECONDS", 60.0)
    log.add(1)
    assert (source.read_into(spool), source.read_into(spool)) == (LENGTH, 0)
    assert not log.waits
    assert len(list(spool.take(ROOM + 1))) == ROOM + 1
    log.add(1)
    assert (source.read_into(spool), source.read_into(spool)) == (LENGTH, 0)
    assert log.waits == [device.LINGER_MS]
