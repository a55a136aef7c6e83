# SPDX-License-Identifier: GPL-2.0-only
"""account/cores.py: corrected errors of the processor, per CPU."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd import cpu
from mcelogd.account import cores
from mcelogd.account.cores import CORE, CoreKey, CoreTable
from mcelogd.decode import decode
from mcelogd.event import Kind
from mcelogd.rate import NEVER, Rate, parse_rate
from mcelogd.record import MceRecord

NOW = 1_795_000_000
DAY = 86_400
EIGHTEEN_A_DAY = parse_rate("18 / 24h")
CACHE_ERROR = MceRecord(
    status=0x8C0000400001010A, bank=1, socketid=0, extcpu=3, time=NOW, mcgcap=1 << 10, cpuid=0x606A6
)
CODES = {Kind.CACHE: 0x010A, Kind.TLB: 0x0014, Kind.BUS: 0x0800, Kind.INTERNAL: 0x0405}


def error(kind: Kind = Kind.CACHE, count: int = 1, **fields: int | None) -> MceRecord:
    status = CACHE_ERROR.status & ~0xFFFF & ~(0x7FFF << 38) | CODES[kind] | count << 38
    return CACHE_ERROR._replace(**{"status": status, **fields})


def count(table: CoreTable, record: MceRecord, cpu_type: cpu.CpuType = cpu.INTEL) -> list[str]:
    crossings = table.account(decode(record, cpu_type), record.time)
    return [f"{crossing.errors.key.name} {crossing.kind}" for crossing in crossings]


@pytest.mark.parametrize("kind", CODES)
def test_each_kind_has_a_total(kind: Kind) -> None:
    table = CoreTable(EIGHTEEN_A_DAY)
    assert decode(error(kind), cpu.INTEL).kind is kind
    count(table, error(kind))
    count(table, error(kind))
    (core,) = table
    assert core.key == (0, 3)
    assert core.totals == {**dict.fromkeys(CODES, 0), kind: 2}


def test_the_18th_error_of_a_day_crosses_whatever_the_kinds() -> None:
    table = CoreTable(EIGHTEEN_A_DAY)
    kinds = [list(CODES)[number % 4] for number in range(18)]
    assert [count(table, error(kind)) for kind in kinds[:17]] == [[]] * 17
    assert count(table, error(kinds[17])) == [f"0/3 {kinds[17]}"]
    assert count(table, error()) == []


def test_cpus_are_counted_apart_and_days_too() -> None:
    table = CoreTable(Rate(2, DAY))
    for record in (error(), error(extcpu=4), error(socketid=1), error(socketid=None)):
        assert count(table, record) == []
    assert [core.key for core in table] == [(-1, 3), (0, 3), (0, 4), (1, 3)]
    assert count(table, error(time=NOW + DAY)) == []
    assert count(table, error(time=NOW + DAY)) == ["0/3 cache"]


def test_the_hardwares_count_is_taken_where_it_is_valid() -> None:
    table = CoreTable(EIGHTEEN_A_DAY)
    assert count(table, error(count=17)) == []
    assert count(table, error(count=0)) == ["0/3 cache"]
    count(table, error(count=30, mcgcap=0))
    assert table.find(CoreKey(0, 3)).total == 19  # type: ignore[union-attr]


@pytest.mark.parametrize(
    "record",
    [
        CACHE_ERROR._replace(status=CACHE_ERROR.status | 1 << 61),
        CACHE_ERROR._replace(status=0x8C00004000010090),
        CACHE_ERROR._replace(bank=128, status=3),
        CACHE_ERROR._replace(bank=128, status=0),
        CACHE_ERROR._replace(status=0x8C0000400001F000),
    ],
    ids=["uncorrected", "memory", "too hot", "cool again", "unknown code"],
)
def test_what_is_not_counted(record: MceRecord) -> None:
    table = CoreTable(Rate(1, 1))
    assert count(table, record) == []
    assert len(table) == 0


def test_amds_known_bogus_errors_are_no_sign_of_wear() -> None:
    """Cezanne A0 reports errors that were not even enabled."""
    cezanne = cpu.by_cpuid(2, 0xA50F00)
    enabled = 1 << 60
    bogus = error(status=0x8C0000000000010B, bank=0, cpuvendor=2, cpuid=0xA50F00)
    table = CoreTable(Rate(1, 1))
    assert count(table, bogus, cezanne) == []
    assert count(table, bogus._replace(status=bogus.status | enabled), cezanne) == ["0/3 cache"]


def test_cpu_numbers_of_damaged_records_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cores, "MOST_CORES", 10)
    table = CoreTable(EIGHTEEN_A_DAY)
    saved: dict[tuple[str, str], str] = {}
    for number in range(50):
        count(table, error(extcpu=0xFFFFFFFF - number))
        count(table, error(extcpu=3))
        for name, state in table.take_changed().items():
            saved.pop(name, None) if state is None else saved.update({name: state})
    assert len(table) == 10
    assert table.find(CoreKey(0, 3)).total == 50  # type: ignore[union-attr]
    assert sorted(name for _, name in saved) == sorted(core.key.name for core in table)


@given(st.lists(st.tuples(st.sampled_from(list(CODES)), st.integers(0, 3), st.integers(0, DAY)), max_size=60))
def test_a_restart_changes_nothing(steps: list[tuple[Kind, int, int]]) -> None:
    lasting, table = CoreTable(Rate(5, DAY)), CoreTable(Rate(5, DAY))
    saved: dict[tuple[str, str], str] = {}
    for number, (kind, core, elapsed) in enumerate(steps):
        record = error(kind, extcpu=core, time=NOW + elapsed)
        assert count(table, record) == count(lasting, record)
        if number % 7 == 0:
            saved |= {name: state for name, state in table.take_changed().items() if state is not None}
            assert table.take_changed() == {}
            table = CoreTable(Rate(5, DAY))
            table.restore(saved)
    assert [(core.key, core.totals, core.bucket.as_state()) for core in table] == [
        (core.key, core.totals, core.bucket.as_state()) for core in lasting
    ]


GOOD = '{"totals": {"cache": 7}, "count": 1, "excess": 2, "stamp": 3}'


@pytest.mark.parametrize(
    ("name", "state"),
    [
        ("0", GOOD),
        ("0/x", GOOD),
        ("0/1/2", GOOD),
        (" 0/1", GOOD),
        ("0/1", ""),
        ("0/1", "[]"),
        ("0/1", "null"),
        ("0/1", "[" * 100_000),
        ("0/1", "1" * 5000),
        ("0/1", "{}"),
        ("0/1", GOOD.replace("7", "-7")),
        ("0/1", GOOD.replace("7", "1e999")),
        ("0/1", GOOD.replace('{"cache": 7}', "[]")),
        ("0/1", GOOD.replace('{"cache": 7}', "5")),
        ("0/1", GOOD.replace("3", "true")),
    ],
)
def test_damaged_objects_are_left_out(name: str, state: str) -> None:
    table = CoreTable(NEVER)
    table.restore({(CORE, name): state, (CORE, "0/9"): GOOD, ("dimm", "0/8"): GOOD})
    assert [core.key for core in table] == [(0, 9)]
    assert table.find(CoreKey(0, 9)).total == 7  # type: ignore[union-attr]


def test_a_processor_that_was_replaced_begins_anew() -> None:
    table = CoreTable(EIGHTEEN_A_DAY)
    count(table, error())
    (state,) = table.take_changed().values()
    assert json.loads(state or "")["totals"] == {"cache": 1}
    gone = table.forget(CoreKey(0, 3))
    assert gone is not None
    assert gone.total == 1
    assert table.take_changed() == {(CORE, "0/3"): None}
    assert table.forget(CoreKey(0, 3)) is None
    assert table.take_changed() == {}
