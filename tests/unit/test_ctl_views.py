# SPDX-License-Identifier: GPL-2.0-only
"""What mcelogctl makes of what it is told: verdict, tables, events, news."""

from __future__ import annotations

import json
from datetime import UTC
from typing import Any

import pytest

from mcelogd import message_ids
from mcelogd.ctl import news, views
from mcelogd.ctl.entries import (
    EVENTS,
    EVERYTHING,
    GAPS,
    Entry,
    Wanted,
    json_line,
    machine_match,
    stored_entry,
    stored_fields,
)
from mcelogd.ctl.eventlines import EventLines, event_in_full
from mcelogd.ctl.exits import Exit
from mcelogd.ctl.look import Look
from mcelogd.ctl.news import News
from mcelogd.ctl.summary import status
from mcelogd.ctl.text import width
from mcelogd.ctl.units import Unit, members, units
from mcelogd.ctl.verdict import judge

NOW = 1_795_374_194
LOOK = Look(NOW + 120, zone=UTC)
WELL = {"Source": "/dev/mcelog", "SourceState": "reading", "UncorrectedErrors": 0, "CorrectedErrors": 7}
DIMM, SOCKET = "/org/mcelog/dimm/", "/org/mcelog/socket/"


def dimm(place: str = "0_1_0", **properties: Any) -> Unit:
    return Unit(DIMM + place, properties)


# -- verdict -----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "dimms", "verdict"),
    [
        ({}, [], Exit.OK),
        ({"SourceState": "ended"}, [dimm(CorrectedErrors=99)], Exit.OK),
        ({}, [dimm(Advice="none"), dimm(Advice="watch")], Exit.WATCH),
        ({}, [dimm(Advice="watch"), dimm(Advice="channel")], Exit.ACT),
        ({}, [dimm(UncorrectedErrors=1)], Exit.ACT),
        ({"UncorrectedErrors": 1}, [], Exit.ACT),
        ({"UncorrectedErrors": 1}, None, Exit.ACT),
        ({}, None, Exit.DENIED),
        ({"SourceState": "failing"}, None, Exit.BLIND),
        ({"SourceState": "failing"}, [dimm(Advice="watch")], Exit.BLIND),
        ({"SourceState": "failing"}, [dimm(Advice="replace")], Exit.ACT),
        ({}, [dimm(Advice="something new")], Exit.OK),
    ],
)
def test_verdicts(changes: dict[str, Any], dimms: list[Unit] | None, verdict: Exit) -> None:
    judged = judge(WELL | changes, dimms, [])
    assert judged.status is verdict
    assert judged.word
    assert judged.sentence


def test_an_uncorrected_error_is_told_once() -> None:
    manager = WELL | {"UncorrectedErrors": 3}
    socket = Unit(f"{SOCKET}0", {"UncorrectedErrors": 2})
    found = judge(manager, [dimm(UncorrectedErrors=2, Label="B1")], [socket]).findings
    assert [finding.about for finding in found] == [
        "DIMM B1 (0/1/0)",
        "1 uncorrected error of no DIMM that is there",
    ]
    found = judge(
        WELL | {"UncorrectedErrors": 2}, [dimm(UncorrectedErrors=2, Advice="replace")], [socket]
    ).findings
    assert [finding.what for finding in found] == ["replace"]


def test_status_shows_the_worst_first() -> None:
    dimms = [
        dimm(Advice="watch", AdviceReasons=["a"]),
        dimm("1_0_0", Advice="replace", AdviceReasons=["b", "c"]),
    ]
    lines = status(judge(WELL, dimms, []), WELL, dimms, LOOK)
    assert lines[0] == "● mcelog : there is something to do"
    assert lines[1:6] == ["  replace DIMM 1/0/0", "    - b", "    - c", "  watch DIMM 0/1/0", "    - a"]
    assert "     DIMMs: may not be read" in status(judge(WELL, None, []), WELL, None, LOOK)


# -- tables ------------------------------------------------------------------------------------


def test_units_of_an_interface() -> None:
    objects = {f"{DIMM}0_10_any": {"D": {}}, f"{DIMM}0_9_0": {"D": {}, "X": {}}, f"{SOCKET}0": {"S": {}}}
    assert [unit.place for unit in units(objects, "D")] == ["0/9/0", "0/10/any"]
    assert members({"CpuType": 1, "UncorrectedInPeriod": 2}) == {"cpu_type": 1, "uncorrected_in_period": 2}


def test_sockets_and_their_cpus() -> None:
    cores = [(3, 12, 2, {"tlb": 1, "cache": 11})]
    found = [Unit(f"{SOCKET}0", {"CorrectedErrors": 5, "Cores": cores}), Unit(f"{SOCKET}1", {})]
    lines = views.sockets(found, LOOK)
    assert lines[1].split() == ["0", "5", "0", "0", "1"]
    assert lines[-1].split() == ["0", "3", "12", "2", "11", "cache,", "1", "tlb"]
    assert views.sockets([], LOOK) == ["No socket had an error."]


def test_lists_with_nothing_in_them_say_so() -> None:
    for lines in (views.dimms([], LOOK), views.pages([], LOOK), views.history([], LOOK)):
        assert len(lines) == 1
        assert lines[0].endswith(".")


def test_pages() -> None:
    found = [(0x1000, 3, 1, "offline", "soft", NOW), (0x2000, 1, 1, "online", "", 0)]
    lines = views.pages(found, LOOK)
    assert lines[1].split() == ["0x1000", "3", "1", "offline", "2026-11-22", "19:03:14", "soft"]
    assert lines[-1] == "2 pages, 1 out of use."


# -- events ------------------------------------------------------------------------------------


def entry(**fields: str | list[str]) -> Entry:
    known = {"MESSAGE": "an error", "MCE_EVENT_ID": "7", "MCE_KIND": "memory", "MCE_SEVERITY": "corrected"}
    return Entry(NOW * 1_000_000, {**known, **fields}, "s=1")


def test_every_message_id_is_known() -> None:
    assert len(set(EVERYTHING)) == len(EVERYTHING) > 30
    assert set(EVENTS) | set(GAPS) < set(EVERYTHING)
    assert message_ids.THRESHOLD_EXCEEDED in EVERYTHING


def test_what_the_journal_is_asked_for() -> None:
    wanted = Wanted(frozenset({"bus", "cache"}), machine="db7", event_id=5)
    asked = {
        alternatives[0][0]: [value for _, value in alternatives] for alternatives in wanted.matches([0, 7])
    }
    assert asked.pop("MESSAGE_ID") == [*EVENTS, *GAPS]
    assert asked == {
        "_UID": ["0", "7"],
        "MCE_KIND": ["bus", "cache"],
        "_HOSTNAME": ["db7"],
        "MCE_EVENT_ID": ["5"],
    }
    assert Wanted(everything=True).matches([])[0] == [("MESSAGE_ID", one) for one in EVERYTHING]


@pytest.mark.parametrize(
    ("machine", "match"),
    [
        ("0123456789abcdef0123456789ABCDEF", ("_MACHINE_ID", "0123456789abcdef0123456789abcdef")),
        ("01234567-89ab-cdef-0123-456789abcdef", ("_MACHINE_ID", "0123456789abcdef0123456789abcdef")),
        ("db7.example.org", ("_HOSTNAME", "db7.example.org")),
    ],
)
def test_machines(machine: str, match: tuple[str, str]) -> None:
    assert machine_match(machine) == match


def test_which_events_are_wanted() -> None:
    one = entry()
    stamp = one.time
    assert Wanted(frozenset({"memory"}), frozenset({"corrected"}), stamp, stamp).wants(one)
    for other in (
        Wanted(kinds=frozenset({"bus"})),
        Wanted(severities=frozenset({"fatal"})),
        Wanted(since=stamp + 1),
        Wanted(until=stamp - 1),
    ):
        assert not other.wants(one)


def test_json_of_an_event() -> None:
    one = entry(PRIORITY="4", _HOSTNAME="db7", MCE_LOCATION=["a", "b"], MCE_DECODED="x\x9b", OTHER="no")
    document = json.loads(json_line(one))
    assert json_line(one).isascii()
    assert document.pop("fields")["MCE_LOCATION"] == ["a", "b"]
    numbers = {"time": float(NOW), "id": 7, "priority": 4}
    texts = {"kind": "memory", "severity": "corrected", "message": "an error", "hostname": "db7"}
    assert document == {**numbers, **texts, "cursor": "s=1"}
    assert "id" not in json.loads(json_line(entry(MCE_EVENT_ID="many")))


def test_events_of_the_store() -> None:
    one = stored_entry((9, NOW, "bus", "fatal", 3, 5, "/", "an error", b"\x01\xff"))
    assert (one.time, one.number("MCE_EVENT_ID"), one.first("MCE_RAW")) == (NOW * 1_000_000, 9, "01ff")
    two = stored_fields({"MCE_TIME": [str(NOW)], "MCE_LOCATION": ["a", "b"], "MESSAGE": ["m"]})
    assert (two.time, two.all("MCE_LOCATION"), two.first("MESSAGE")) == (NOW * 1_000_000, ["a", "b"], "m")
    assert not any("Logged" in line for line in event_in_full(two, LOOK))


@pytest.mark.parametrize("room", [200, 80, 60, 40, 20, 5])
def test_lines_of_events_fit(room: int) -> None:
    lines = EventLines(LOOK._replace(room=room), machines=True)
    one = entry(
        MESSAGE="漢字" * 60, _HOSTNAME="a-very-long-host-name.example.org", MCE_EVENT_ID="12345678901"
    )
    assert width(lines.line(one)) <= max(room, 20)


def test_narrow_lines_keep_what_happened() -> None:
    def shown(room: int) -> list[str]:
        return EventLines(LOOK._replace(room=room), machines=False).heading().split()

    assert shown(83) == ["TIME", "ID", "SEVERITY", "KIND", "WHAT"]
    assert shown(80) == ["TIME", "ID", "SEVERITY", "WHAT"]
    assert shown(60) == ["TIME", "ID", "WHAT"]
    assert shown(55) == ["TIME", "WHAT"]
    assert shown(20) == ["WHAT"]


def test_colours_say_how_bad_it_is() -> None:
    lines = EventLines(LOOK._replace(colour=True), machines=False)
    assert "\x1b[33mcorrected" in lines.line(entry())
    assert "\x1b[1;31mfatal" in lines.line(entry(MCE_SEVERITY="fatal"))
    other = {"MCE_SEVERITY": [], "MESSAGE": "lost"}
    assert lines.line(entry(PRIORITY="3", **other)).endswith("\x1b[1;31mlost\x1b[0m")
    assert lines.line(entry(PRIORITY="6", **other)).endswith("\x1b[38;5;245mlost\x1b[0m")


# -- news --------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("member", "values", "text"),
    [
        ("EventLogged", [7, "cache", "fatal", f"{SOCKET}0"], "event 7: fatal, cache on socket 0"),
        ("EventLogged", [7, "cache", "fatal", "/org/mcelog"], "event 7: fatal, cache"),
        ("ThresholdExceeded", [f"{DIMM}0_1_0", "dimm", "Too many"], "threshold: Too many (DIMM B1 (0/1/0))"),
        ("ThresholdExceeded", [f"{SOCKET}0", "diagnosis", "row"], "diagnosis: row (socket 0)"),
        ("PageOfflined", [1, True], "a page of memory was taken out of use"),
        ("NameOwnerChanged", ["org.mcelog", "", ":1.5"], "mcelog has been started"),
        ("NameOwnerChanged", ["org.mcelog", ":1.5", ""], "mcelog has ended"),
    ],
)
def test_signals_as_lines(member: str, values: list[Any], text: str) -> None:
    found = news.signal_news(NOW, member, "/org/mcelog", values)
    assert found is not None
    names = {f"{DIMM}0_1_0": "DIMM B1 (0/1/0)"}
    assert news.line(found, names, LOOK) == f"2026-11-22 19:03:14  {text}"
    assert json.loads(news.json_line(found))["time"] == NOW


def test_signals_that_are_no_news() -> None:
    assert news.signal_news(NOW, "Unheard", "/", []) is None
    assert news.signal_news(NOW, "PageOfflined", "/", [1]) is None


def test_changes_as_lines() -> None:
    values = {
        "FaultMode": "row",
        "CorrectedErrors": 5,
        "AdviceReasons": ["a", "b"],
        "Cores": [[1]],
        "Label": None,
    }
    found = News(NOW, "PropertiesChanged", f"{DIMM}0_1_0", values, {"FaultMode": "", "CorrectedErrors": 3})
    assert news.line(found, {}, LOOK).partition("  ")[2] == (
        "DIMM 0/1/0: FaultMode none -> row, CorrectedErrors 3 -> 5, AdviceReasons: a; b, "
        "Cores changed, Label changed"
    )
    document = json.loads(news.json_line(found))
    assert document["properties"]["fault_mode"] == "row"
    assert document["object"] == f"{DIMM}0_1_0"
