# SPDX-License-Identifier: GPL-2.0-only
"""pipeline.py: the order of the steps, and which CPU a record is decoded for."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import pytest

from mcelogd import cpu
from mcelogd.account.books import Books
from mcelogd.account.memory import Crossing, MemoryTable, Rates
from mcelogd.account.pages import PageCrossing, PageTable
from mcelogd.decode.cache import CachedDecoder
from mcelogd.pipeline import About, CpuChoice, Pipeline, Totals
from mcelogd.rate import NEVER, parse_rate
from mcelogd.record import LENGTH, MceRecord, layout, pack

if TYPE_CHECKING:
    from mcelogd.account.books import AnyCrossing
    from mcelogd.event import Event

NOW = 1_795_000_000
READ_ERROR = MceRecord(
    status=0x9C00004000010090, addr=0x5000, socketid=0, time=NOW - 9, cpuid=0x606A6, bank=5
)


class Listener:
    """Writes down what it is told, in order."""

    def __init__(self) -> None:
        self.heard: list[str] = []
        self.events: list[Event] = []

    def event(self, event: Event, about: About) -> None:
        self.events.append(event)
        duplicate = " again" if about.is_duplicate else ""
        self.heard.append(f"event {about.event_id} {about.number} of {about.errors}{duplicate}")

    def crossed(self, crossing: AnyCrossing, event: Event) -> None:
        del event
        if isinstance(crossing, Crossing):
            self.heard.append(f"memory {crossing.errors.key.channel}")
        elif isinstance(crossing, PageCrossing):
            self.heard.append(f"page {crossing.page.address:x}")


def pipeline(
    listener: Listener, *, actions: Listener | None = None, log_memory_errors: bool = True
) -> Pipeline:
    rates = Rates(parse_rate("2 / 24h"), NEVER)
    return Pipeline(
        cpu=CpuChoice(None, cpu.GENERIC),
        books=Books(
            MemoryTable(rates, rates, track_dimms=None, track_sockets=None),
            pages=PageTable(parse_rate("2 / 24h"), 10),
        ),
        reporter=listener,
        actions=actions or Listener(),
        summarize=lambda event: event.finding.what,
        clock=lambda: float(NOW),
        log_memory_errors=log_memory_errors,
    )


def take(pipe: Pipeline, record: MceRecord) -> None:
    pipe.take(layout(LENGTH), pack(record))


def test_an_event_is_told_before_what_it_crossed() -> None:
    listener = Listener()
    pipe = pipeline(listener)
    for _ in range(2):
        take(pipe, READ_ERROR)
    assert listener.heard == ["event 1 0 of 1", "event 2 0 of 2", "memory 0", "memory -1", "page 5000"]


def test_what_is_done_comes_after_what_is_told() -> None:
    both = Listener()
    take(pipeline(both, actions=both), READ_ERROR)
    assert both.heard == ["event 1 0 of 1", "event 1 0 of 1"]


def test_a_copy_of_firmware_is_told_and_kept_but_not_counted() -> None:
    listener = Listener()
    pipe = pipeline(listener)
    take(pipe, READ_ERROR)
    take(pipe, READ_ERROR._replace(bank=255, status=READ_ERROR.status & ~(0x7FFF << 38)))
    assert listener.heard == ["event 1 0 of 1", "event 2 0 of 1 again"]
    assert (pipe.totals.records_read, pipe.totals.corrected_errors) == (2, 1)
    assert len(pipe.take_batch(None).events) == 2


def test_a_copy_of_what_an_earlier_run_took_is_not_counted() -> None:
    listener = Listener()
    pipe = pipeline(listener)
    pipe.remember(pack(READ_ERROR))
    take(pipe, READ_ERROR._replace(bank=255, status=READ_ERROR.status & ~(0x7FFF << 38)))
    assert listener.heard == ["event 1 0 of None again"]


def test_totals_of_two_runs_add_up() -> None:
    pipe = pipeline(Listener())
    take(pipe, READ_ERROR)
    assert pipe.totals_with({"totals": "5 1 3 2 7", "page_use": "4"}) == {
        "totals": f"6 1 4 2 {READ_ERROR.time}",
        "page_use": "4",
    }
    assert pipe.totals_with({})["totals"] == f"1 0 1 0 {READ_ERROR.time}"


def test_a_batch_holds_everything_since_the_last() -> None:
    pipe = pipeline(Listener())
    take(pipe, READ_ERROR)
    pipe.lose(3)
    batch = pipe.take_batch((4, 1), {"file": "128 1:2"})
    assert [(event.id, event.time, event.kind, event.record) for event in batch.events] == [
        (1, NOW - 9, "memory", pack(READ_ERROR))
    ]
    assert {row[:3] for row in batch.memory} == {(0, 0, -1), (0, -1, -1)}
    assert [row.frame for row in batch.pages] == [5]
    assert batch.position == (4, 1)
    assert batch.state["file"] == "128 1:2"
    assert not pipe.take_batch(None).events
    again = pipeline(Listener())
    again.restore_totals(batch.state["totals"], batch.state["page_use"])
    assert again.totals == Totals(1, 3, 1, 0, NOW - 9)


def test_what_was_told_is_counted_and_kept_but_not_told_again() -> None:
    listener, actions = Listener(), Listener()
    pipe = pipeline(listener, actions=actions)
    for _ in range(2):
        pipe.take(layout(LENGTH), pack(READ_ERROR), told=True)
    assert listener.heard == []
    # Whether it was acted upon before the crash nobody knows.
    assert actions.heard[-3:] == ["memory 0", "memory -1", "page 5000"]
    assert len(pipe.take_batch(None).events) == 2
    assert [row.corrected.total for row in pipe.books.memory] == [2, 2]


def test_memory_errors_can_be_counted_without_being_told() -> None:
    listener = Listener()
    pipe = pipeline(listener, log_memory_errors=False)
    take(pipe, READ_ERROR)
    take(pipe, READ_ERROR._replace(status=0x9C0000400000010E))
    assert listener.heard == ["event 2 0 of None"]
    assert pipe.totals.corrected_errors == 2


def test_a_mistake_in_a_decoder_stops_nothing(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def decode(*_: object) -> Event:
        raise IndexError("bank 255")

    listener = Listener()
    pipe = pipeline(listener)
    monkeypatch.setattr(CachedDecoder, "decode", decode)
    take(pipe, READ_ERROR)
    assert listener.events[0].finding.what == "Undecoded record"
    assert pipe.take_batch(None).events[0].record == pack(READ_ERROR)
    assert pipe.totals.records_read == 1
    assert "please report" in caplog.text


def test_a_record_without_time_happened_now() -> None:
    listener = Listener()
    take(pipeline(listener), READ_ERROR._replace(time=0))
    assert listener.events[0].record.time == NOW


@pytest.mark.parametrize(
    ("forced", "record", "name"),
    [
        (None, READ_ERROR, "icelake_server"),
        (None, READ_ERROR._replace(cpuid=0), "core2"),
        ("nehalem", READ_ERROR, "nehalem"),
        ("nehalem", READ_ERROR._replace(cpuid=0), "nehalem"),
    ],
)
def test_which_cpu(forced: str | None, record: MceRecord, name: str) -> None:
    host = cpu.by_name("core2")
    assert host is not None
    choice = CpuChoice(cpu.by_name(forced) if forced else None, host)
    assert choice.of(record).name == name


def test_odd_cpus_are_told_once(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.WARNING)
    for _ in range(2):
        CpuChoice(None, cpu.GENERIC).of(READ_ERROR)
        assert caplog.messages == []
    unknown = CpuChoice(None, cpu.GENERIC)
    forced = CpuChoice(cpu.P4, cpu.GENERIC)
    for _ in range(3):
        unknown.of(READ_ERROR._replace(cpuid=0xF06F0))
        forced.of(READ_ERROR)
    assert [message.split(":")[0] for message in caplog.messages] == [
        "Intel family 6 model 255",
        "forced CPU type Intel P4, but the record is of Ice Lake server",
    ]


def test_what_is_of_before_is_counted_and_told_and_nobody_acts() -> None:
    listener, actions = Listener(), Listener()
    pipe = pipeline(listener, actions=actions)
    take(pipe, READ_ERROR)
    pipe.take(layout(LENGTH), pack(READ_ERROR._replace(time=NOW - 900)), origin="pstore")
    assert listener.heard[1:] == ["event 2 0 of 2", "memory 0", "memory -1", "page 5000"]
    assert actions.heard == ["event 1 0 of 1"]
    assert pipe.totals == Totals(2, 0, 2, 0, NOW - 9)
    first, second = pipe.take_batch(None).events
    assert (first.origin, second.origin) == ("", "pstore")
    assert second.summary == f"{first.summary}, found in pstore"
