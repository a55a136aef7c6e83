# SPDX-License-Identifier: GPL-2.0-only
"""The decoders of Intel's server CPUs since Skylake and of Knights Landing: golden files, tables, places."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd import cpu as cpus
from mcelogd import render
from mcelogd.decode import architectural, bits
from mcelogd.decode.bits import Choice, Flag
from mcelogd.decode.intel import denverton, diamond, granite, i10nm, knights, sapphire, skylake_xeon
from mcelogd.decode.intel.server import DramLayout, read_dram
from mcelogd.event import Event, Kind, Location
from mcelogd.record import FIELDS, MceRecord

if TYPE_CHECKING:
    from types import ModuleType

    from mcelogd.decode.architectural import Model

GOLDEN = Path(__file__).parents[2] / "fixtures" / "decode"

MODELS = {
    "skylake_server": skylake_xeon.MODEL,
    "icelake_server": i10nm.ICELAKE_SERVER,
    "icelake-d": i10nm.ICELAKE_D,
    "snowridge": i10nm.SNOWRIDGE,
    "denverton": denverton.MODEL,
    "sapphirerapids_server": sapphire.MODEL,
    "graniterapids": granite.MODEL,
    "diamond_rapids": diamond.MODEL,
    "knightslanding": knights.MODEL,
}

TABLES_SHOWN_FOR = {
    skylake_xeon: "skylake_server",
    i10nm: "icelake_server",
    denverton: "denverton",
    sapphire: "sapphirerapids_server",
    granite: "graniterapids",
    diamond: "diamond_rapids",
}

LAYOUTS = {module.__name__.rpartition(".")[2]: module.DRAM for module in (i10nm, sapphire, granite, diamond)}

MISCV = bits.MCI_STATUS_MISCV
ADDRV = bits.MCI_STATUS_ADDRV
UC = bits.MCI_STATUS_UC
OTHER_INFO_1 = 1 << 33
READ_ON_CHANNEL_1 = bits.MCI_STATUS_VAL | 0x0091
CORRECTED_READ = 0x80 << 16
"""MSCOD of a corrected read from memory, of Ice Lake and newer."""
TRANSIENT = 1 << 63


class Case(NamedTuple):
    """One record of a golden file and the lines expected from its `MCA:` line on."""

    cpu_name: str
    place: str
    record: MceRecord
    lines: list[str]


def golden_cases(path: Path) -> list[Case]:
    """The cases of a golden file: a line of registers, then each expected line between bars."""
    cases: list[Case] = []
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


def location(record: MceRecord, model: Model) -> Location:
    (place,) = architectural.decode(record, model).locations
    return place


@pytest.mark.parametrize("case", ALL_CASES, ids=lambda case: case.place)
def test_golden(case: Case) -> None:
    lines = decoded_lines(case.record, MODELS[case.cpu_name])
    start = next(place for place, line in enumerate(lines) if line.startswith("MCA: "))
    assert lines[start:] == case.lines


def rows_of(table: Any) -> list[Any]:
    """The rows of a module's table: one row, a tuple of rows, or a row for each selector."""
    if isinstance(table, (Flag, Choice)):
        return [table]
    if isinstance(table, dict):
        return [row for part in table.values() for row in rows_of(part)]
    if isinstance(table, tuple) and not isinstance(table, DramLayout):
        return [row for part in table for row in rows_of(part)]
    return []


def tables_of(module: ModuleType) -> dict[str, Any]:
    tables = {name: value for name, value in vars(module).items() if name.isupper()}
    return {name: table for name, table in tables.items() if rows_of(table)}


def span(row: Flag | Choice) -> range:
    return range(row.bit, row.bit + 1) if isinstance(row, Flag) else range(row.lo, row.hi + 1)


def names_of(row: Flag | Choice) -> list[str]:
    return [row.text] if isinstance(row, Flag) else list(row.texts.values())


@pytest.mark.parametrize("module", TABLES_SHOWN_FOR, ids=lambda module: module.__name__.rpartition(".")[2])
class TestTables:
    def test_no_two_flags_share_a_bit(self, module: ModuleType) -> None:
        for table in tables_of(module).values():
            if isinstance(table, tuple):
                for one, other in combinations(rows_of(table), 2):
                    assert not set(span(one)) & set(span(other))

    def test_codes_fit_their_field_and_the_field_mscod(self, module: ModuleType) -> None:
        for table in tables_of(module).values():
            for row in rows_of(table):
                assert 16 <= span(row)[0] <= span(row)[-1] <= 31
                if isinstance(row, Choice):
                    assert all(0 <= code < 1 << len(span(row)) for code in row.texts)

    def test_every_name_is_in_the_golden_file(self, module: ModuleType) -> None:
        cases = golden_cases(GOLDEN / f"{TABLES_SHOWN_FOR[module]}.txt")
        shown = "\n".join("\n".join(case.lines) for case in cases)
        for table in tables_of(module).values():
            assert [name for row in rows_of(table) for name in names_of(row) if name not in shown] == []


@pytest.mark.parametrize("layout", LAYOUTS.values(), ids=LAYOUTS)
class TestDramLayout:
    def test_no_two_fields_share_a_bit(self, layout: DramLayout) -> None:
        fields = [field for field in layout if isinstance(field, tuple)]
        used = [bit for lo, hi in fields for bit in range(lo, hi + 1)]
        if layout.bank_group_top is not None:
            used.append(layout.bank_group_top)
        assert len(used) == len(set(used))
        assert min(used) >= 9  # below: address mode and granularity, architectural
        assert max(used) < 63  # transient

    def test_each_field_is_read_from_its_own_bits(self, layout: DramLayout) -> None:
        for name in ("row", "bank", "device", "subrank", "rank", "ecc_mode"):
            lo, hi = getattr(layout, name)
            alone = read_dram(((1 << hi + 1) - (1 << lo)), layout)
            assert getattr(alone, name) == (1 << hi - lo + 1) - 1
            assert sum(alone) == getattr(alone, name)

    def test_column_is_of_whole_bursts(self, layout: DramLayout) -> None:
        assert read_dram(0x3FF << 9, layout).column == 0xFFC

    def test_bank_group_has_three_bits(self, layout: DramLayout) -> None:
        assert read_dram((1 << 63) - 1, layout).bank_group == 7


@pytest.mark.parametrize(
    ("misc", "shown"),
    [
        (0, "Corrected error"),
        (1 << 63, "Corrected error by mirroring with channel failover"),
        (1 << 62, "Corrected error by mirroring. Primary channel scrubbed successfully"),
        (3 << 62, "Corrected error by mirroring with channel failover"),
        (1 << 61, "Corrected error"),
    ],
)
@pytest.mark.parametrize(
    ("name", "bank"),
    [("skylake_server", 7), ("skylake_server", 8)] + [("icelake_server", bank) for bank in (12, 16, 20, 24)],
)
def test_mirroring(name: str, bank: int, misc: int, shown: str) -> None:
    record = MceRecord(status=READ_ON_CHANNEL_1 | MISCV, bank=bank, misc=misc)
    assert decoded_lines(record, MODELS[name])[2] == shown


@pytest.mark.parametrize(
    ("name", "record"),
    [
        ("skylake_server", MceRecord(status=READ_ON_CHANNEL_1, bank=7, misc=1 << 63)),
        ("skylake_server", MceRecord(status=READ_ON_CHANNEL_1 | MISCV, bank=13, misc=1 << 63)),
        ("icelake_server", MceRecord(status=READ_ON_CHANNEL_1 | MISCV, bank=13, misc=1 << 63)),
        ("icelake-d", MceRecord(status=READ_ON_CHANNEL_1 | MISCV, bank=12, misc=1 << 63)),
        ("sapphirerapids_server", MceRecord(status=READ_ON_CHANNEL_1 | MISCV, bank=12, misc=1 << 63)),
    ],
)
def test_no_mirroring(name: str, record: MceRecord) -> None:
    assert decoded_lines(record, MODELS[name])[2] == "Corrected error"


# (CPU type, machine-check bank) -> memory controller and channel of an error on channel 1.
PLACES = {
    ("skylake_server", 1): (None, 1),
    ("skylake_server", 7): (0, 1),
    ("skylake_server", 8): (1, 4),
    ("skylake_server", 13): (0, 0),
    ("skylake_server", 14): (0, 1),
    ("skylake_server", 15): (1, 3),
    ("skylake_server", 16): (1, 4),
    ("skylake_server", 17): (0, 2),
    ("skylake_server", 18): (1, 5),
    ("skylake_server", 19): (None, 1),
    ("icelake_server", 11): (None, 1),
    ("icelake_server", 12): (0, 1),
    ("icelake_server", 15): (0, 1),
    ("icelake_server", 16): (1, 4),
    ("icelake_server", 21): (2, 7),
    ("icelake_server", 27): (3, 10),
    ("icelake_server", 28): (None, 1),
    ("icelake_server", 255): (None, 1),
    ("icelake-d", 17): (1, 4),
    ("snowridge", 13): (0, 1),
    ("denverton", 6): (None, 1),
    ("sapphirerapids_server", 12): (None, 1),
    ("sapphirerapids_server", 13): (0, 0),
    ("sapphirerapids_server", 20): (3, 7),
    ("sapphirerapids_server", 21): (None, 1),
    ("sapphirerapids_server", 29): (None, 1),
    ("sapphirerapids_server", 30): (None, 8),
    ("sapphirerapids_server", 31): (None, 9),
    ("sapphirerapids_server", 255): (None, 1),
    ("graniterapids", 12): (None, 1),
    ("graniterapids", 13): (0, 0),
    ("graniterapids", 24): (11, 11),
    ("graniterapids", 25): (None, 1),
    ("knightslanding", 14): (None, 1),
    ("knightslanding", 15): (None, 4),
}


@pytest.mark.parametrize(("where", "expected"), PLACES.items(), ids=lambda part: str(part))
def test_controller_and_channel(where: tuple[str, int], expected: tuple[int | None, int | None]) -> None:
    name, bank = where
    place = location(MceRecord(status=READ_ON_CHANNEL_1, bank=bank), MODELS[name])
    assert place == Location(memory_controller=expected[0], channel=expected[1])


@pytest.mark.parametrize(("name", "bank"), PLACES)
def test_unspecified_channel_stays_so(name: str, bank: int) -> None:
    assert location(MceRecord(status=READ_ON_CHANNEL_1 | 0xF, bank=bank), MODELS[name]).channel is None


@pytest.mark.parametrize(
    ("bank", "apicid", "die", "channel"),
    [(19, 0, 0, 0), (26, 3, 0, 7), (19, 4, 1, 8), (26, 0xFF, 1, 15), (19, None, 0, 0), (27, 4, None, 1)],
)
def test_diamond_has_two_imh(bank: int, apicid: int | None, die: int | None, channel: int) -> None:
    record = MceRecord(status=READ_ON_CHANNEL_1, bank=bank, apicid=apicid)
    assert location(record, diamond.MODEL) == Location(die=die, channel=channel)


def test_diamond_takes_the_channel_from_the_bank_alone() -> None:
    record = MceRecord(status=READ_ON_CHANNEL_1 | 0xF, bank=21, apicid=4)
    assert location(record, diamond.MODEL).channel == 10


@pytest.mark.parametrize("name", MODELS)
def test_places_only_of_memory_errors(name: str) -> None:
    for bank in range(256):
        finding = architectural.decode(MceRecord(status=bits.MCI_STATUS_VAL | 0x134, bank=bank), MODELS[name])
        assert finding.kind is Kind.CACHE
        assert finding.locations == ()


@pytest.mark.parametrize(
    ("status", "device"),
    [
        (1 << 19, 0x11),
        (1 << 21, 0x11),
        (1 << 23, 0x11),
        (1 << 16, None),
        (1 << 23 | UC, None),
        (1 << 27 | 1 << 23, None),
        (0, None),
    ],
)
def test_skylake_failed_device(status: int, device: int | None) -> None:
    record = MceRecord(status=READ_ON_CHANNEL_1 | 0x11 << 32 | status, bank=14)
    assert location(record, skylake_xeon.MODEL).device == device


def misc_of(layout: DramLayout, **fields: int) -> int:
    """MCi_MISC with these fields of `layout`; bank_group without its top bit."""
    misc = 0
    for name, value in fields.items():
        lo, hi = getattr(layout, name)
        assert value < 1 << hi - lo + 1
        misc |= value << lo
    return misc


ADDRESS = {"row": 0x1A2B, "column": 0x155, "bank": 2, "bank_group": 3, "device": 9, "rank": 2, "ecc_mode": 1}
DRAM = Location(bank_group=3, bank=2, row=0x1A2B, column=0x554)

DRAM_CASES = [
    ("icelake_server", 17, i10nm.DRAM, DRAM._replace(memory_controller=1, channel=4, rank=2, device=9)),
    ("icelake-d", 14, i10nm.DRAM, DRAM._replace(memory_controller=0, channel=1, rank=2, device=9)),
    (
        "sapphirerapids_server",
        16,
        sapphire.DRAM,
        DRAM._replace(memory_controller=1, channel=3, rank=2, device=9),
    ),
    (
        "graniterapids",
        16,
        granite.DRAM,
        DRAM._replace(memory_controller=3, channel=3, chip_select=2, device=9),
    ),
    ("diamond_rapids", 20, diamond.DRAM, DRAM._replace(die=1, channel=9, chip_select=2)),
]


def dram_record(bank: int, layout: DramLayout, status: int = 0, misc: int = 0) -> MceRecord:
    valid = READ_ON_CHANNEL_1 | CORRECTED_READ | MISCV | ADDRV | OTHER_INFO_1
    return MceRecord(status=valid | status, misc=misc_of(layout, **ADDRESS) | misc, bank=bank, apicid=4)


@pytest.mark.parametrize(("name", "bank", "layout", "expected"), DRAM_CASES)
class TestDramAddress:
    def test_is_part_of_the_location(
        self, name: str, bank: int, layout: DramLayout, expected: Location
    ) -> None:
        assert location(dram_record(bank, layout), MODELS[name]) == expected

    def test_transient_errors_have_no_failed_device(
        self, name: str, bank: int, layout: DramLayout, expected: Location
    ) -> None:
        record = dram_record(bank, layout, misc=TRANSIENT)
        assert location(record, MODELS[name]) == expected._replace(device=None)

    def test_is_unknown_without_misc(
        self, name: str, bank: int, layout: DramLayout, expected: Location
    ) -> None:
        record = dram_record(bank, layout)
        record = record._replace(status=record.status & ~MISCV)
        place = location(record, MODELS[name])
        assert place == Location(
            die=expected.die, memory_controller=expected.memory_controller, channel=expected.channel
        )
        assert not any(line.startswith("bank: ") for line in decoded_lines(record, MODELS[name]))


def test_uncorrected_errors_have_a_failed_device_only_where_the_cpu_says_so() -> None:
    devices = {
        name: location(dram_record(bank, layout, UC, diamond.DEVICE_VALID), MODELS[name]).device
        for name, bank, layout, _ in DRAM_CASES
        if name in ("icelake_server", "sapphirerapids_server", "graniterapids", "diamond_rapids")
    }
    assert devices == {
        "icelake_server": None,
        "sapphirerapids_server": None,
        "graniterapids": 9,
        "diamond_rapids": 9,
    }


@pytest.mark.parametrize(
    ("name", "status", "misc", "known"),
    [
        ("icelake_server", 0x106 << 16, 0, False),
        ("icelake_server", 0x801 << 16, 0, True),
        ("icelake_server", 0x804 << 16, 0, False),
        ("sapphirerapids_server", 0x106 << 16, 0, True),
        ("sapphirerapids_server", 0x804 << 16, 0, False),
        ("icelake_server", 0x80 << 16, 8 << 59, False),
        ("sapphirerapids_server", 0x80 << 16, 8 << 59, False),
        ("graniterapids", 0x7FF << 16 | OTHER_INFO_1, 0, True),
        ("graniterapids", 0x800 << 16 | OTHER_INFO_1, 0, False),
        ("graniterapids", 0x82F << 16 | OTHER_INFO_1, 0, False),
        ("graniterapids", 0x830 << 16 | OTHER_INFO_1, 0, True),
        ("graniterapids", 0x80 << 16, 0, False),
        ("diamond_rapids", 0x7FF << 16 | OTHER_INFO_1, 0, True),
        ("diamond_rapids", 0x800 << 16 | OTHER_INFO_1, 0, False),
        ("diamond_rapids", 0xFFFF << 16 | OTHER_INFO_1, 0, False),
        ("diamond_rapids", 0x80 << 16, 0, False),
    ],
)
def test_misc_that_holds_no_dram_address(name: str, status: int, misc: int, known: bool) -> None:
    bank = 20 if name == "diamond_rapids" else 14
    record = MceRecord(status=READ_ON_CHANNEL_1 | MISCV | ADDRV | status, misc=misc, bank=bank)
    assert (location(record, MODELS[name]).row is not None) is known


def test_a_label_without_texts_ends_its_line() -> None:
    record = MceRecord(status=bits.MCI_STATUS_VAL | 0x90, bank=13)
    finding = architectural.decode(record, skylake_xeon.MODEL)
    text = render.event_text(Event(record, cpus.INTEL, finding))
    assert "\nMemCtrl: \nSTATUS 8000000000000090 MCGSTATUS 0\n" in text


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


@given(record=ANY_RECORD, bank=st.integers(0, 31) | st.integers(0, 255))
def test_decoding_never_raises(record: MceRecord, bank: int) -> None:
    record = record._replace(bank=bank)
    for model in MODELS.values():
        finding = architectural.decode(record, model)
        assert not any("\n" in line for line in finding.lines)
        text = render.event_text(Event(record, cpus.INTEL, finding))
        assert f"\nSTATUS {record.status:x} MCGSTATUS {record.mcgstatus:x}\n" in text
