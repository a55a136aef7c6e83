# SPDX-License-Identifier: GPL-2.0-only
"""Which trigger is run, and what it is told, held against what mcelog v208 does."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd import cpu, decode, triggers
from mcelogd.account.bucket import Bucket
from mcelogd.account.cores import CoreCrossing, CoreErrors, CoreKey
from mcelogd.account.memory import ANY, Counter, Crossing, MemoryErrors, MemoryKey, MemoryTable, Rates
from mcelogd.account.pages import PageCrossing, PageErrors, PageState, PageTable, ReplacementCrossing
from mcelogd.event import Event, Finding, Kind, Severity
from mcelogd.rate import Rate, parse_rate
from mcelogd.record import MceRecord, layout, pack
from mcelogd.settings import Settings
from mcelogd.triggers import ROWS, Trigger, Triggers

ROOT = Path(__file__).parents[2]
V208 = ROOT / "tests/fixtures/triggers/v208.json"
"""What v208 ran for 95 records of an Ice Lake server: recorded from its daemon, reading a FIFO behind a
preloaded ioctl(2), with these thresholds and `memory-ce-action = soft`."""

V208_COUNTERS = 63
"""Pages it counts where 1 is asked for: it rounds up to what a page of memory holds."""

PROGRAMS = {row.setting: row.setting for row in ROWS}
NOW = 1_795_000_000
DAY = Rate(10, 86400, "h")


class Replay:
    """Our counters and triggers, set as those of the run."""

    def __init__(self) -> None:
        self.memory = MemoryTable(
            Rates(parse_rate("2 / 24h"), parse_rate("1 / 24h")),
            Rates(parse_rate("5 / 24h"), parse_rate("1 / 24h")),
            track_dimms=True,
            track_sockets=True,
        )
        replacement_rate = parse_rate("5 / 24h")
        self.pages = PageTable(
            parse_rate("2 / 24h"), V208_COUNTERS, retry=False, replacement_rate=replacement_rate
        )
        self.triggers = Triggers(PROGRAMS, search_path="/usr/bin:/bin")

    def run(self, record: bytes) -> list[Trigger | None]:
        event = decode.decode(layout(128).parse(record), cpu.by_cpuid(0, 0x606A6))
        made: list[Trigger | None] = [*self.triggers.event(event)]
        made += [self.triggers.memory(crossing) for crossing in self.memory.account(event, NOW)]
        for crossing in self.pages.account(event, NOW):
            if isinstance(crossing, PageCrossing):
                made += self._page(event, crossing)
            else:
                assert isinstance(crossing, ReplacementCrossing)
                made.append(self.triggers.counter_replacement(crossing.counter, crossing.rate, crossing.time))
        return made

    def _page(self, event: Event, crossing: PageCrossing) -> list[Trigger | None]:
        place = crossing.location
        channel = ANY if place.channel is None else place.channel
        dimm = ANY if place.dimm is None else place.dimm
        errors = self.memory.get(MemoryKey(event.record.socketid or 0, channel, dimm), NOW)
        made = [make(crossing, errors) for make in (self.triggers.page, self.triggers.before_soft)]
        self.pages.set_state(crossing.page, PageState.OFFLINE, "soft", NOW)
        return [*made, self.triggers.after_soft(crossing, errors)]


def as_v208(trigger: Trigger | None, *, has_path: bool) -> dict[str, Any]:
    """Without what we add: our own variables, and PATH where v208 leaves it to the shell."""
    assert trigger is not None
    assert trigger.path == trigger.setting
    ours = "MCELOG_" if has_path else ("MCELOG_", "PATH")
    environment = {name: value for name, value in trigger.environment.items() if not name.startswith(ours)}
    return {"setting": trigger.setting, "arguments": list(trigger.arguments), "environment": environment}


def replayed() -> list[tuple[dict[str, Any], dict[str, Any], str]]:
    """For each record by setting: the triggers of v208 and ours; and our reporter's word for the last."""
    replay = Replay()
    found = []
    for expected in json.loads(V208.read_text("utf-8")):
        wanted = {trigger["setting"]: trigger for trigger in expected["triggers"]}
        assert len(wanted) == len(expected["triggers"])
        made: dict[str, Any] = {}
        reporter = ""
        for trigger in replay.run(bytes.fromhex(expected["record"])):
            assert trigger is not None
            has_path = "PATH" in wanted.get(trigger.setting, {"environment": ()})["environment"]
            made[trigger.setting] = as_v208(trigger, has_path=has_path)
            reporter = trigger.reporter
        found.append((wanted, made, reporter))
    return found


def test_the_same_triggers_as_v208_are_told_the_same() -> None:
    compared = replayed()
    for wanted, made, reporter in compared:
        assert made.keys() == wanted.keys()
        assert made == wanted, reporter
    settings = {setting for _, made, _ in compared for setting in made}
    assert settings == PROGRAMS.keys() - {"core-ce-error-trigger"}, "a trigger the run does not cover"


def corrected(errors: MemoryErrors, *, lost: int = 0) -> Crossing:
    errors.corrected.total += 10
    errors.corrected.bucket.add(DAY, 10, NOW)
    return Crossing(errors, errors.corrected, DAY, True, NOW, lost)


def environment(trigger: Trigger | None) -> dict[str, str]:
    assert trigger is not None
    return trigger.environment


def test_a_dimm_with_names_is_told_with_them() -> None:
    errors = MemoryErrors(MemoryKey(1, 2, 0), NOW)
    errors.label, errors.label_location = "DIMM_A1", "NODE 1 CHANNEL 2 DIMM 0"
    told = environment(Triggers(PROGRAMS).memory(corrected(errors)))
    assert told["LOCATION"] == "SOCKET:1 CHANNEL:2 DIMM:0 [NODE 1 CHANNEL 2 DIMM 0 DIMM_A1]"
    assert (told["DMI_NAME"], told["DMI_LOCATION"]) == ("DIMM_A1", "NODE 1 CHANNEL 2 DIMM 0")
    assert (told["DIMM"], told["CHANNEL"], told["SOCKETID"]) == ("0", "2", "1")


def test_lost_errors_have_no_time() -> None:
    errors = MemoryErrors(MemoryKey(0, ANY, ANY), NOW)
    trigger = Triggers(PROGRAMS).memory(corrected(errors, lost=9))
    assert trigger is not None
    assert trigger.reporter == "sockdb_fallback"
    assert "LASTEVENT" not in trigger.environment


def test_the_reporters_are_those_of_v208() -> None:
    """They stand in its log: "Running trigger ... (reporter: ...)"."""
    words = {row.reporter for row in ROWS} - {"core"}
    sockets = {"sockdb_fallback", "sockdb_memdb"}
    pages = {"page", "page_post_soft", "page_pre_soft", "page-error-counter"}
    assert words == {"bus", "iomca", "memdb", "unknown", "yellow", *sockets, *pages}


def test_what_is_not_configured_is_not_run() -> None:
    errors = MemoryErrors(MemoryKey(0, 0, 0), NOW)
    bus_error = decode.decode(MceRecord(status=0xBA00000000000E0B), cpu.INTEL)
    for programs in ({}, dict.fromkeys(PROGRAMS), dict.fromkeys(PROGRAMS, "")):
        assert Triggers(programs).memory(corrected(errors)) is None
        assert Triggers(programs).event(bus_error) == []


def test_an_io_error_runs_both_its_triggers() -> None:
    event = decode.decode(MceRecord(status=0xBA00000000000E0B, misc=0x0201190000), cpu.INTEL)
    made = Triggers(PROGRAMS).event(event, event_id=77)
    assert [trigger.reporter for trigger in made] == ["bus", "iomca"]
    assert {trigger.environment["MCELOG_EVENT_ID"] for trigger in made} == {"77"}


def yellow() -> Event:
    return decode.decode(MceRecord(status=0x9440000000000135, mcgcap=0x800, extcpu=1), cpu.INTEL)


@pytest.mark.parametrize(
    ("given", "told"),
    [
        ("0 1", "0 1"),
        ("17", "17"),
        ("unknown", "unknown"),
        ("", "unknown"),
        ("0-3", "unknown"),
        ("0 1; reboot", "unknown"),
        ("0\n1", "unknown"),
        ("0  1", "unknown"),
        ("٣", "unknown"),
        (" ".join(["12345"] * 20_000), "unknown"),
    ],
)
def test_affected_cpus_are_numbers_or_not_known(given: str, told: str) -> None:
    assert triggers.is_cache_worn(yellow())
    (trigger,) = Triggers(PROGRAMS).event(yellow(), affected_cpus=given)
    assert trigger.environment["AFFECTED_CPUS"] == told


def test_the_cache_trigger_knows_where_to_act_and_whether() -> None:
    (trigger,) = Triggers(PROGRAMS).event(yellow())
    assert not trigger.environment.keys() & {"MCELOG_SYSFS", "MCELOG_DRY_RUN"}
    (trigger,) = Triggers(PROGRAMS, sysfs="/scratch/sys", dry_run=True).event(yellow())
    assert trigger.environment["MCELOG_SYSFS"] == "/scratch/sys"
    assert trigger.environment["MCELOG_DRY_RUN"] == "1"


def test_a_cache_that_is_green_runs_nothing() -> None:
    green = decode.decode(MceRecord(status=0x9420000000000135, mcgcap=0x800), cpu.INTEL)
    assert not triggers.is_cache_worn(green)
    assert Triggers(PROGRAMS).event(green) == []


def test_a_page_of_an_unknown_dimm_is_told_without_one() -> None:
    page = PageErrors(0x123456000, Bucket(NOW), total=2)
    told = environment(Triggers(PROGRAMS).page(PageCrossing(page, DAY, NOW), None))
    assert told["LOCATION"] == "SOCKET:? CHANNEL:? DIMM:? []"
    assert not told.keys() & {"SOCKETID", "CECOUNT", "DIMM"}
    assert (told["MCELOG_PAGE"], told["MCELOG_PAGE_STATE"]) == ("0x123456000", "online")


def test_the_trigger_after_soft_off_lining_is_told_how_it_ended() -> None:
    page = PageErrors(0x123456000, Bucket(NOW), total=2)
    page.state = PageState.OFFLINE_FAILED
    trigger = Triggers(PROGRAMS).after_soft(PageCrossing(page, DAY, NOW), None)
    assert environment(trigger)["MCELOG_PAGE_STATE"] == "offline-failed"


@pytest.mark.parametrize(("socket", "where"), [(ANY, "CPU 5"), (1, "CPU 5 on socket 1")])
def test_a_core_has_a_trigger_too(socket: int, where: str) -> None:
    errors = CoreErrors(CoreKey(socket, 5), Bucket(NOW))
    errors.totals[Kind.CACHE] = 18
    errors.bucket.add(DAY, 18, NOW)
    told = environment(Triggers(PROGRAMS).core(CoreCrossing(errors, Kind.CACHE, DAY, NOW)))
    assert told["MESSAGE"] == f"corrected errors of {where} exceed threshold: 18 in 24h"
    assert told.get("SOCKETID", str(ANY)) == str(socket)
    assert (told["CPU"], told["CECOUNT"], told["MCELOG_KIND"]) == ("5", "18", "cache")


@given(st.text(), st.text())
def test_no_name_of_a_dimm_can_do_harm(label: str, location: str) -> None:
    """Not end the variable, not begin another, not be more than a word to a shell."""
    errors = MemoryErrors(MemoryKey(0, 0, 0), NOW)
    errors.label, errors.label_location = label, location
    for name, value in environment(Triggers(PROGRAMS).memory(corrected(errors))).items():
        assert value.isprintable()
        assert len(value) < 1000
        if name in ("LOCATION", "DMI_NAME", "DMI_LOCATION"):
            assert not set(value) & set("`$\\\"';&|<>*\n\0")


@given(st.binary(min_size=128, max_size=128))
def test_no_record_can_do_harm(data: bytes) -> None:
    record = layout(128).parse(data)
    event = decode.decode(record, cpu.by_cpuid(record.cpuvendor, record.cpuid))
    for trigger in Triggers(PROGRAMS).event(event):
        row = next(row for row in ROWS if row.setting == trigger.setting)
        assert trigger.environment.keys() <= set(row.variables.split())
        text = "".join(trigger.environment.values())
        assert text.isascii()
        assert text.isprintable()
        assert not set(text) & set("`$\\\"';&|<>*~{}")


def test_a_record_that_cannot_be_decoded_is_unknown() -> None:
    finding = Finding(Kind.UNKNOWN, Severity.UNCORRECTED, "Undecoded record", classified=False)
    record = MceRecord(status=0xABC, misc=1, addr=2, mcgstatus=3)
    (trigger,) = Triggers(PROGRAMS).event(Event(record, cpu.GENERIC, finding))
    told = trigger.environment
    registers = [told[name] for name in ("STATUS", "MISC", "ADDR", "MCGSTATUS", "MCGCAP")]
    assert registers == ["abc", "1", "2", "3", "0"]
    assert "SOCKETID" not in told
    assert pack(record)


def test_every_trigger_setting_has_a_row_and_the_other_way_round() -> None:
    settings = {row.name for row in Settings.rows if row.name.endswith("-trigger")}
    assert settings == PROGRAMS.keys()


def test_every_script_is_of_a_row_and_the_other_way_round() -> None:
    scripts = {path.name for path in (ROOT / "data/triggers").iterdir()} - {"meson.build"}
    assert scripts == {row.script for row in ROWS} - {""}


def test_rows_know_every_variable() -> None:
    """Those that v208 gave to a trigger, ours as well."""
    rows = {row.setting: set(row.variables.split()) for row in ROWS}
    for expected in json.loads(V208.read_text("utf-8")):
        for trigger in expected["triggers"]:
            assert trigger["environment"].keys() <= rows[trigger["setting"]]
    errors = MemoryErrors(MemoryKey(0, 0, 0), NOW)
    page = PageCrossing(PageErrors(0x1000, Bucket(NOW)), DAY, NOW)
    made = Triggers(PROGRAMS, sysfs="/s", dry_run=True)
    every = [*made.event(yellow(), event_id=1), made.memory(corrected(errors)), made.page(page, errors)]
    every += [made.counter_replacement(Counter(Bucket(NOW)), DAY, NOW), made.before_soft(page, errors)]
    for one in every:
        assert one is not None
        assert one.environment.keys() <= rows[one.setting]


def test_the_document_names_every_setting_script_and_variable() -> None:
    text = (ROOT / "docs/triggers.md").read_text("utf-8")
    names = {row.setting for row in ROWS} | {row.script for row in ROWS}
    names |= {name for row in ROWS for name in row.variables.split()}
    assert {name for name in names if name and f"`{name}`" not in text} == set()
