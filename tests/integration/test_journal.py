# SPDX-License-Identifier: GPL-2.0-only
"""Sending to the journal: the protocol, the queue and the daemon's own log.

A socket of the test's own stands in journald's place: it does what a journald
does only in trouble, it does not read, goes away and comes back.
"""

from __future__ import annotations

import logging
import sys
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcelogd import journal, message_ids
from tests.integration.journal_peer import (
    Fields,
    Peer,
    as_bytes,
    gaps,
    no_new_descriptors,
    numbers,
    open_files,
    open_peer,
    parse,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType


@pytest.fixture
def peer() -> Iterator[Peer]:
    with open_peer() as peer:
        yield peer


# The protocol

names = st.from_regex(r"[A-Z][A-Z0-9_]{0,20}", fullmatch=True)
values = st.text() | st.binary() | st.integers()


@settings(deadline=None)
@given(st.dictionaries(names, values | st.lists(values, max_size=3)))
def test_what_is_encoded_reads_back(fields: dict[str, Any]) -> None:
    fields["SYSLOG_IDENTIFIER"] = "x"
    expected = [
        (name, as_bytes(one))
        for name, value in fields.items()
        for one in (value if isinstance(value, list) else [value])
    ]
    assert parse(journal.encode(fields)) == expected


def test_a_value_cannot_become_a_field() -> None:
    entry = dict(parse(journal.encode({"MESSAGE": "a\nPRIORITY=0\n", "MCE_RAW": b"\0\n\xff"})))
    assert entry == {"MESSAGE": b"a\nPRIORITY=0\n", "MCE_RAW": b"\0\n\xff", "SYSLOG_IDENTIFIER": b"mcelog"}


def test_wrong_field_names_are_named_and_the_rest_is_kept() -> None:
    wrong = ["", "_PID", "mce_cpu", "1A", "A-B", "A=B", "A\nB", "A" * 65, "Ä", "MCE_CPU\n"]
    entry = dict(parse(journal.encode({"MCE_CPU": 1, **dict.fromkeys(wrong, "x")})))
    assert entry.pop("MCE_INVALID_FIELDS").decode() == " ".join(map(repr, wrong))
    assert entry == {"MCE_CPU": b"1", "SYSLOG_IDENTIFIER": b"mcelog"}


def test_the_longest_field_name_is_taken() -> None:
    assert journal.is_field_name("A" * 64)


# Sending, without a loop


def test_an_entry_arrives(peer: Peer) -> None:
    sender = journal.Journal(peer.path)
    assert sender.available
    sender.send({"MESSAGE": "hello", "PRIORITY": 4, "MCE_CHANNEL": ["0", "1"]})
    data = peer.socket.recv(1 << 16)
    assert parse(data) == [
        ("MESSAGE", b"hello"),
        ("PRIORITY", b"4"),
        ("MCE_CHANNEL", b"0"),
        ("MCE_CHANNEL", b"1"),
        ("SYSLOG_IDENTIFIER", b"mcelog"),
    ]
    assert sender.close() == 0


def test_an_entry_too_large_for_a_datagram_goes_as_sealed_memory(peer: Peer) -> None:
    sender = journal.Journal(peer.path)
    before = open_files()
    sender.send({"MESSAGE": "large", "MCE_DECODED": "x" * 3_000_000})
    assert open_files() == before
    (entry,) = peer.read()
    assert (entry["MESSAGE"], len(entry["MCE_DECODED"])) == (b"large", 3_000_000)
    sender.close()


def test_absent_journald_is_no_trouble_and_may_come_later(peer: Peer) -> None:
    peer.stop()
    sender = journal.Journal(peer.path)
    before = open_files()
    for number in range(1000):
        sender.send({"N": number})
    assert not sender.available
    assert (sender.queued, sender.dropped, open_files()) == (0, 0, before)
    peer.start()
    sender.send({"N": 1000})
    assert numbers(peer.read()) == [1000]
    assert sender.available
    assert sender.close() == 0


def test_a_path_no_socket_can_have_is_an_absent_journald() -> None:
    sender = journal.Journal("/nowhere" * 50)
    sender.send({"MESSAGE": "x"})
    assert not sender.available
    assert sender.close() == 0


def test_a_stale_socket_is_an_absent_journald(peer: Peer) -> None:
    peer.socket.close()
    sender = journal.Journal(peer.path)
    sender.send({"MESSAGE": "x"})
    assert (sender.available, sender.queued) == (False, 0)
    sender.close()


def test_restart_between_two_entries_loses_none(peer: Peer) -> None:
    sender = journal.Journal(peer.path)
    sender.send({"N": 0})
    assert numbers(peer.read()) == [0]
    peer.stop()
    peer.start()
    sender.send({"N": 1})
    assert numbers(peer.read()) == [1]
    sender.close()


def test_entries_wait_while_journald_is_away(peer: Peer) -> None:
    sender = journal.Journal(peer.path)
    peer.stop()
    for number in range(5):
        sender.send({"N": number})
    assert sender.queued == 5
    peer.start()
    sender.send({"N": 5})
    assert numbers(peer.read()) == list(range(6))
    sender.close()


@pytest.mark.parametrize("limits", [{"max_entries": 100}, {"max_bytes": 5000}])
def test_the_gap_is_one_and_stands_where_the_entries_are_missing(peer: Peer, limits: dict[str, int]) -> None:
    sender = journal.Journal(peer.path, **limits)
    for number in range(1000):
        sender.send({"N": number})
    assert sender.queued <= sender.max_entries
    assert sender.queued_bytes <= sender.max_bytes
    dropped = sender.dropped
    assert dropped > 500
    entries = peer.read_until_empty(sender)
    kept = 1000 - dropped
    assert numbers(entries) == list(range(kept))
    assert "MCE_DROPPED" in entries[kept]
    assert entries[kept]["MESSAGE_ID"].decode() == message_ids.JOURNAL_DROPPED
    # What was sent to push the queue on before it was half empty is missing too, and counted.
    assert gaps(entries) == [sender.dropped]
    sender.close()


def test_an_entry_larger_than_the_queue_is_dropped_and_said(peer: Peer) -> None:
    sender = journal.Journal(peer.path, max_bytes=1000)
    sender.send({"MESSAGE": "x" * 1000})
    assert sender.dropped == 1
    assert gaps(peer.read()) == [1]
    sender.close()


def test_without_descriptors_a_large_entry_does_not_hold_up_the_others(peer: Peer) -> None:
    sender = journal.Journal(peer.path)
    with no_new_descriptors():
        sender.send({"N": 0, "MESSAGE": "x" * 1_000_000})
        sender.send({"N": 1})
    entries = peer.read()
    assert (gaps(entries), numbers(entries)) == ([1], [1])
    sender.close()


def test_without_descriptors_entries_wait_for_a_new_connection(peer: Peer) -> None:
    sender = journal.Journal(peer.path)
    peer.stop()
    peer.start()
    with no_new_descriptors():
        sender.send({"N": 0})
    assert sender.queued == 1
    sender.send({"N": 1})
    assert numbers(peer.read()) == [0, 1]
    sender.close()


def test_close_waits_for_a_slow_reader_but_not_for_ever(peer: Peer) -> None:
    sender = journal.Journal(peer.path)
    for number in range(2000):
        sender.send({"N": number})
    waiting = sender.queued
    started = time.monotonic()
    assert sender.close(0.2) == waiting
    assert 0.15 < time.monotonic() - started < 10
    sender.send({"N": 2000})
    assert numbers(peer.read()) == list(range(2000 - waiting))


def test_close_hands_over_what_is_queued(peer: Peer) -> None:
    sender = journal.Journal(peer.path, max_entries=100)
    for number in range(2000):
        sender.send({"N": number})
    entries: list[Fields] = []
    done = threading.Event()

    def read() -> None:
        while not done.wait(0.002):
            entries.extend(peer.read())

    reader = threading.Thread(target=read)
    reader.start()
    assert sender.close(10) == 0
    done.set()
    reader.join()
    entries += peer.read()
    assert len(numbers(entries)) + sum(gaps(entries)) == 2000
    assert len(gaps(entries)) == 1


def test_close_while_journald_is_away_ends_in_time(peer: Peer) -> None:
    sender = journal.Journal(peer.path)
    peer.stop()
    sender.send({"N": 0})
    started = time.monotonic()
    assert sender.close(0.2) == 1
    assert time.monotonic() - started < 10


def test_logging_in_the_midst_of_a_send(peer: Peer) -> None:
    """The garbage collector may run after any line, and what it runs may log."""
    sender = journal.Journal(peer.path)
    entries: list[Fields] = []
    lines = interrupted_at = 0
    while lines == interrupted_at:
        interrupted_at += 1
        lines = send_interrupted(sender, interrupted_at)
        entries += peer.read_until_empty(sender)
    assert lines > 30
    assert numbers(entries) == list(range(1, interrupted_at + 1))
    within = [int(entry["WITHIN"]) for entry in entries if "WITHIN" in entry]
    assert within == list(range(1, interrupted_at))
    assert (sender.queued, sender.queued_bytes, sender.dropped) == (0, 0, 0)
    sender.close()


def send_interrupted(sender: journal.Journal, interrupted_at: int) -> int:
    """Send an entry, and another one just before that line of the way; returns how many lines there were."""
    lines = 0

    def trace(frame: FrameType, event: str, _argument: object) -> Callable[..., Any] | None:
        nonlocal lines
        if frame.f_code.co_filename != journal.__file__ or lines == interrupted_at:
            return None
        lines += event == "line"
        if event == "line" and lines == interrupted_at:
            sender.send({"WITHIN": interrupted_at})
        return trace

    previous = sys.gettrace()
    sys.settrace(trace)
    sender.send({"N": interrupted_at})
    sys.settrace(previous)
    return lines


# The daemon's own log


@pytest.fixture
def log(peer: Peer) -> Iterator[logging.Logger]:
    sender = journal.Journal(peer.path)
    logger = logging.getLogger("mcelogd.test")
    handler = journal.JournalLogHandler(sender)
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    logger.propagate = False
    yield logger
    logger.removeHandler(handler)
    sender.close()


def test_a_log_record_is_an_entry(peer: Peer, log: logging.Logger) -> None:
    extra = {"MESSAGE_ID": message_ids.SOURCE_LOST, "MCE_SOURCE": "/dev/mcelog", "PRIORITY": 0}
    log.warning("cannot read %s", "/dev/mcelog", extra=extra)
    (entry,) = peer.read()
    assert entry.pop("CODE_LINE").isdigit()
    assert entry == {
        "MESSAGE": b"cannot read /dev/mcelog",
        "PRIORITY": b"4",
        "MESSAGE_ID": message_ids.SOURCE_LOST.encode(),
        "MCE_SOURCE": b"/dev/mcelog",
        "LOGGER": b"mcelogd.test",
        "CODE_FILE": __file__.encode(),
        "CODE_FUNC": b"test_a_log_record_is_an_entry",
        "SYSLOG_IDENTIFIER": b"mcelog",
    }


def test_priority_is_that_of_the_level(peer: Peer, log: logging.Logger) -> None:
    for level in (logging.DEBUG, logging.INFO, 25, logging.WARNING, logging.ERROR, logging.CRITICAL, 90):
        log.log(level, "x")
    assert [int(entry["PRIORITY"]) for entry in peer.read()] == [7, 6, 6, 4, 3, 2, 2]


def test_a_traceback_is_part_of_the_message(peer: Peer, log: logging.Logger) -> None:
    try:
        raise ValueError("why")
    except ValueError:
        log.exception("it failed")
    (entry,) = peer.read()
    message = entry["MESSAGE"].decode()
    assert message.startswith("it failed\nTraceback")
    assert message.endswith("ValueError: why")


def test_a_wrong_logging_call_does_not_end_the_caller(
    peer: Peer, log: logging.Logger, capsys: pytest.CaptureFixture[str]
) -> None:
    (handler,) = (one for one in log.handlers if isinstance(one, journal.JournalLogHandler))
    handler.handle(logging.makeLogRecord({"msg": "%d", "args": ("no number",)}))
    log.warning("next")
    assert [entry["MESSAGE"] for entry in peer.read()] == [b"next"]
    assert "no number" in capsys.readouterr().err
