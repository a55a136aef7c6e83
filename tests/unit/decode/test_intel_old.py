# SPDX-License-Identifier: GPL-2.0-only
"""The decoders of Intel's CPUs from the P6 to Broadwell, against the golden files and their own tables."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcelogd import cpu as cpus
from mcelogd import render
from mcelogd.decode import architectural, bits, decode
from mcelogd.decode.bits import Choice, Flag, Number
from mcelogd.decode.intel import (
    broadwell_de,
    broadwell_epex,
    core2,
    dunnington,
    haswell,
    ivy_bridge,
    nehalem,
    p4,
    p6old,
    sandy_bridge,
    tulsa,
)
from mcelogd.event import Event, Location
from mcelogd.record import FIELDS, MceRecord

if TYPE_CHECKING:
    from types import ModuleType

    from mcelogd.decode.architectural import Model

GOLDEN = Path(__file__).parents[2] / "fixtures" / "decode"

MODELS = {
    "p6old": p6old.MODEL,
    "core2": core2.MODEL,
    "p4": p4.MODEL,
    "tulsa": tulsa.MODEL,
    "dunnington": dunnington.MODEL,
    "nehalem": nehalem.NEHALEM,
    "xeon75xx": nehalem.XEON75XX,
    "sandybridge": sandy_bridge.SANDY_BRIDGE,
    "sandybridge-ep": sandy_bridge.SANDY_BRIDGE_EP,
    "ivybridge-ep": ivy_bridge.MODEL,
    "haswell-ep": haswell.MODEL,
    "broadwell-d": broadwell_de.MODEL,
    "broadwell-ep": broadwell_epex.MODEL,
}

TABLES_SHOWN_FOR = {
    p6old: "p6old",
    core2: "core2",
    p4: "p4",
    tulsa: "tulsa",
    dunnington: "dunnington",
    nehalem: "nehalem",
    sandy_bridge: "sandybridge-ep",
    ivy_bridge: "ivybridge-ep",
    haswell: "haswell-ep",
    broadwell_de: "broadwell-d",
    broadwell_epex: "broadwell-ep",
}

OVERLAPPING = {("dunnington", 23, 25)}
"""(module, bit fields' first bits) that share a bit on purpose: see the table."""

VAL = bits.MCI_STATUS_VAL
MISCV = bits.MCI_STATUS_MISCV
UC = bits.MCI_STATUS_UC
READ_ON_CHANNEL_2 = VAL | 0x0092
FIRST = 1 << 62
SECOND = 1 << 63


class Case(NamedTuple):
    """One record of a golden file and the lines expected from its `MCA:` line on."""

    cpu_name: str
    place: str
    record: MceRecord
    lines: list[str]


def golden_cases(path: Path) -> list[Case]:
    """The cases of a golden file: a line of registers, then each expected line between bars."""
    cases = []
    for number, line in enumerate(path.read_text().splitlines(), 1):
        if line.startswith("|"):
            cases[-1].lines.append(line[1:-1])
        elif line and not line.startswith("#"):
            fields = {name: int(value, 0) for name, value in (pair.split("=") for pair in line.split())}
            cases.append(Case(path.stem, f"{path.stem}:{number}", MceRecord(**fields), []))
    return cases


ALL_CASES = [case for name in MODELS for case in golden_cases(GOLDEN / f"{name}.txt")]


def decoded_lines(record: MceRecord, model: Model) -> list[str]:
    return list(architectural.decode(record, model).lines)


def location(record: MceRecord, model: Model) -> tuple[Location, ...]:
    return architectural.decode(record, model).locations


@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: case.place)
def test_golden(case: Case) -> None:
    lines = decoded_lines(case.record, MODELS[case.cpu_name])
    start = next(place for place, line in enumerate(lines) if line.startswith("MCA: "))
    assert lines[start:] == case.lines


def rows_of(table: Any) -> list[Any]:
    """The rows of a module's table, whether it is one row, a tuple of rows or a named set of tables."""
    if isinstance(table, (Flag, Choice, Number)):
        return [table]
    if isinstance(table, tuple) and table and not isinstance(table[0], int):
        return [row for part in table for row in rows_of(part)]
    return []


def tables_of(module: ModuleType) -> dict[str, list[Any]]:
    named = {name: value for name, value in vars(module).items() if name.isupper()}
    for controller in [value for value in named.values() if isinstance(value, tulsa.BusController)]:
        named |= controller._asdict()
    tables = {name: rows_of(value) for name, value in named.items()}
    return {name: rows for name, rows in tables.items() if rows and name != "BUS_CONTROLLER"}


def names_of(row: Any) -> list[str]:
    if isinstance(row, Choice):
        return list(row.texts.values())
    return [row.text if isinstance(row, Flag) else row.name]


def span(row: Any) -> range:
    return range(row.bit, row.bit + 1) if isinstance(row, Flag) else range(row.lo, row.hi + 1)


@pytest.mark.parametrize("module", TABLES_SHOWN_FOR, ids=lambda module: module.__name__.rpartition(".")[2])
class TestTables:
    def test_no_two_fields_share_a_bit(self, module: ModuleType) -> None:
        name = module.__name__.rpartition(".")[2]
        for rows in tables_of(module).values():
            distinct = [row for place, row in enumerate(rows) if row not in rows[:place]]
            for one, other in combinations(distinct, 2):
                shared = set(span(one)) & set(span(other))
                assert not shared or (name, span(one)[0], span(other)[0]) in OVERLAPPING

    def test_codes_fit_their_field_and_the_field_its_register(self, module: ModuleType) -> None:
        for rows in tables_of(module).values():
            for row in rows:
                assert 0 <= span(row)[0] <= span(row)[-1] < 64
                if isinstance(row, Choice):
                    assert all(0 <= code < 1 << len(span(row)) for code in row.texts)

    def test_every_name_is_in_the_golden_file(self, module: ModuleType) -> None:
        cases = golden_cases(GOLDEN / f"{TABLES_SHOWN_FOR[module]}.txt")
        shown = "\n".join("\n".join(case.lines) for case in cases)
        for table, rows in tables_of(module).items():
            if table == "MIRRORING":  # shown in the status lines: test_mirroring
                continue
            assert [name for row in rows for name in names_of(row) if name.strip() not in shown] == []


def test_a_label_without_texts_ends_its_line() -> None:
    record = MceRecord(status=VAL | 0x90, bank=9)
    text = render.event_text(
        Event(record, cpus.by_name("haswell-ep") or cpus.INTEL, architectural.decode(record, haswell.MODEL))
    )
    assert "\nMemCtrl: \nSTATUS 8000000000000090 MCGSTATUS 0\n" in text


@pytest.mark.parametrize(
    ("misc", "shown"),
    [
        (0, "Corrected error"),
        (1 << 41, "Corrected error by mirroring with channel failover"),
        (1 << 42, "Corrected error by mirroring. Primary channel scrubbed successfully"),
        (3 << 41, "Corrected error by mirroring with channel failover"),
        (1 << 43, "Corrected error"),
    ],
)
@pytest.mark.parametrize("bank", [7, 8])
def test_mirroring(bank: int, misc: int, shown: str) -> None:
    record = MceRecord(status=VAL | MISCV | 0x90, bank=bank, misc=misc)
    assert decoded_lines(record, broadwell_epex.MODEL)[2] == shown


@pytest.mark.parametrize(
    "record",
    [
        MceRecord(status=VAL | 0x90, bank=7, misc=1 << 41),
        MceRecord(status=VAL | MISCV | 0x90, bank=9, misc=1 << 41),
        MceRecord(status=VAL | MISCV | 0x90, bank=6, misc=1 << 42),
    ],
)
def test_mirroring_needs_a_home_agent_and_a_valid_misc(record: MceRecord) -> None:
    assert decoded_lines(record, broadwell_epex.MODEL)[2] == "Corrected error"


def test_nehalem_takes_channel_and_dimm_from_misc() -> None:
    record = MceRecord(status=READ_ON_CHANNEL_2 | MISCV, bank=8, misc=1 << 18 | 2 << 16)
    assert location(record, nehalem.NEHALEM) == (Location(channel=1, dimm=2),)
    assert location(record, nehalem.XEON75XX) == (Location(channel=2),)


def test_nehalem_without_misc_takes_the_channel_of_the_code() -> None:
    record = MceRecord(status=READ_ON_CHANNEL_2, bank=8, misc=1 << 18 | 2 << 16)
    assert location(record, nehalem.NEHALEM) == (Location(channel=2),)


@pytest.mark.parametrize(
    ("rank", "dimm"), [(0, 0), (3, 0), (4, 1), (5, 1), (6, 1), (7, 1), (8, None), (31, None)]
)
def test_dimm_of_rank(rank: int, dimm: int | None) -> None:
    assert sandy_bridge.dimm_of_rank(rank) == dimm


FIRST_IS_RANK_5 = FIRST | 5 << 46
SECOND_IS_RANK_1 = SECOND | 1 << 51 | 0x0C << 9
DEVICE_7 = 7 << 32

EP_CASES = [
    (0, (Location(),)),
    (FIRST_IS_RANK_5, (Location(dimm=1, rank=5, device=7),)),
    (SECOND_IS_RANK_1, (Location(), Location(dimm=0, rank=1, device=0x0C))),
    (
        FIRST_IS_RANK_5 | SECOND_IS_RANK_1,
        (Location(dimm=1, rank=5, device=7), Location(dimm=0, rank=1, device=0x0C)),
    ),
    (FIRST | 9 << 46, (Location(rank=9, device=7),)),
]


@pytest.mark.parametrize(("misc", "expected"), EP_CASES)
@pytest.mark.parametrize(
    ("model", "bank", "controller"),
    [
        (sandy_bridge.SANDY_BRIDGE_EP, 8, None),
        (sandy_bridge.SANDY_BRIDGE_EP, 11, None),
        (ivy_bridge.MODEL, 9, 0),
        (ivy_bridge.MODEL, 12, 0),
        (ivy_bridge.MODEL, 13, 1),
        (ivy_bridge.MODEL, 16, 1),
    ],
)
def test_failed_ranks(
    model: Model, bank: int, controller: int | None, misc: int, expected: tuple[Location, ...]
) -> None:
    record = MceRecord(status=READ_ON_CHANNEL_2 | DEVICE_7 | MISCV, bank=bank, misc=misc)
    placed = tuple(place._replace(channel=2, memory_controller=controller) for place in expected)
    assert location(record, model) == placed


@pytest.mark.parametrize(
    ("status", "bank", "channel"),
    [
        (READ_ON_CHANNEL_2 | UC, 9, 2),  # only corrected errors have ranks
        (VAL | 0x009F, 9, None),  # no channel: no DIMM either
        (VAL | 0x0282, 9, 2),  # memory as cache
        (READ_ON_CHANNEL_2, 7, 2),  # not the memory controller's bank
        (READ_ON_CHANNEL_2, 17, 2),
    ],
)
@pytest.mark.parametrize("model", [sandy_bridge.SANDY_BRIDGE_EP, ivy_bridge.MODEL], ids=["snb", "ivb"])
def test_no_failed_rank(model: Model, status: int, bank: int, channel: int | None) -> None:
    record = MceRecord(status=status | DEVICE_7, bank=bank, misc=FIRST_IS_RANK_5 | SECOND_IS_RANK_1)
    (place,) = location(record, model)
    assert (place.channel, place.dimm, place.rank, place.device) == (channel, None, None, None)


@pytest.mark.parametrize(
    ("bank", "status", "controller", "channel"),
    [
        (7, READ_ON_CHANNEL_2, 0, 2),
        (8, READ_ON_CHANNEL_2, 1, 6),
        (9, READ_ON_CHANNEL_2, 0, 0),
        (12, READ_ON_CHANNEL_2, 0, 3),
        (13, READ_ON_CHANNEL_2, 1, 4),
        (16, READ_ON_CHANNEL_2, 1, 7),
        (17, READ_ON_CHANNEL_2, None, 2),
        (13, VAL | 0x009F, None, None),
        (13, VAL | 0x0282, None, 2),
        (13, VAL | 0x1092, 1, 4),  # the filter bit changes nothing
    ],
)
@pytest.mark.parametrize("model", [haswell.MODEL, broadwell_epex.MODEL], ids=["hsw", "bdx"])
def test_haswell_finds_the_channel_by_the_bank(
    model: Model, bank: int, status: int, controller: int | None, channel: int | None
) -> None:
    record = MceRecord(status=status, bank=bank)
    assert location(record, model) == (Location(memory_controller=controller, channel=channel),)


def test_haswell_rank_and_device() -> None:
    record = MceRecord(status=READ_ON_CHANNEL_2 | MISCV | DEVICE_7, bank=10, misc=FIRST_IS_RANK_5)
    assert location(record, haswell.MODEL) == (Location(memory_controller=0, channel=1, rank=5, device=7),)
    without = (Location(memory_controller=0, channel=1),)
    assert location(record, broadwell_epex.MODEL) == without
    assert location(record._replace(status=record.status & ~MISCV), haswell.MODEL) == without
    assert location(record._replace(status=record.status | UC), haswell.MODEL) == without


WIDTHS = {"B": 8, "I": 32, "Q": 64}
NEWER = ("socketid", "apicid", "mcgcap", "synd", "ipid", "ppin", "microcode", "kflags")
ANY_RECORD = st.builds(
    MceRecord,
    **{
        field.name: st.none() | number if field.name in NEWER else number
        for field in FIELDS
        for number in [st.integers(0, (1 << WIDTHS[field.format]) - 1)]
    },
)


@settings(deadline=None)
@given(record=ANY_RECORD)
def test_decoding_never_raises(record: MceRecord) -> None:
    for name, model in MODELS.items():
        finding = architectural.decode(record, model)
        assert not any("\n" in line for line in finding.lines)
        text = render.event_text(Event(record, cpus.by_name(name) or cpus.INTEL, finding))
        assert f"\nSTATUS {record.status:x} MCGSTATUS {record.mcgstatus:x}\n" in text


@settings(deadline=None)
@given(record=ANY_RECORD)
def test_decoding_never_raises_on_any_cpu(record: MceRecord) -> None:
    for cpu in cpus.CPU_TYPES:
        assert render.event_text(decode(record, cpu)).startswith(render.DISCLAIMER)
