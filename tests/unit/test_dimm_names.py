# SPDX-License-Identifier: GPL-2.0-only
"""Names of DIMMs: what locators say, what EDAC says, the administrator's file, and who comes first.

Locators are those of real machines, as dmidecode shows them.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcelogd import cpu as cpus
from mcelogd.account.memory import ANY, MemoryKey
from mcelogd.decode import decode
from mcelogd.dimms.check import problems
from mcelogd.dimms.edac import EdacDimm
from mcelogd.dimms.edac import labels as edac_labels
from mcelogd.dimms.labels import LONGEST_LABEL, Labels, parse_labels
from mcelogd.dimms.locators import CHANNELS, Slot, places, slot_of
from mcelogd.dimms.names import DimmName, DimmNames, Source, serial_numbers
from mcelogd.dimms.smbios import AddressRange, MemoryDevice, Smbios
from mcelogd.record import MceRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

GIB = 1 << 30


def cpu(name: str) -> cpus.CpuType:
    found = cpus.by_name(name)
    assert found is not None
    return found


def device(
    locator: str, bank: str = "", serial: str = "", *, size: int = 8 * GIB, handle: int = 0
) -> MemoryDevice:
    return MemoryDevice(
        handle=handle,
        array_handle=0x1000,
        total_width=72,
        data_width=64,
        size=size,
        form_factor=9,
        device_set=0,
        locator=locator,
        bank_locator=bank,
        memory_type=26,
        type_detail=0,
        speed=2933,
        manufacturer="Acme",
        serial=serial,
        asset="",
        part="M-8G",
        length=40,
    )


def smbios(devices: Iterable[MemoryDevice], *ranges: AddressRange) -> Smbios:
    return Smbios((3, 0), (), (), tuple(devices), (), ranges, ())


def placed(devices: Iterable[MemoryDevice], name: str) -> dict[str, list[tuple[int, ...]]]:
    """Locator -> keys of the DIMMs whose place is known on that CPU."""
    return {device.locator: [tuple(key) for key in keys] for device, keys in places(devices, cpu(name))}


def node_dimms(*banks: str) -> list[MemoryDevice]:
    return [device(f"slot{n}", bank, f"S{n}AB") for n, bank in enumerate(banks)]


# --- what a locator says


@pytest.mark.parametrize(
    ("locator", "bank", "slot"),
    [
        ("P1-DIMMD1", "P0_Node1_Channel0_Dimm0", Slot(0, 1, 0, 0)),
        ("DIMM130 J40", "_Node1_Channel3_Dimm0", Slot(1, None, 3, 0)),
        ("DIMM_E1", "NODE 1 CHANNEL 0 DIMM 0", Slot(1, None, 0, 0)),
        ("CPU0_DIMM_B1", "CPU0_CH1", Slot(0, None, 1, 1)),
        ("DIMM_A0", "CPU 0 Channel 0", Slot(0, None, 0, 0)),
        ("ChannelB-DIMM1", "BANK 3", Slot(0, None, 1, 1)),
        # A name that does not number channels as the hardware does.
        ("A1", "Not Specified", None),
        ("PROC 1 DIMM 1", "", None),
        ("CPU1_DIMM1", "", None),
        ("CPU1_DIMM_A1", "NODE 1", None),
        ("P1_DIMMA1", "Node0_Bank0", None),
        ("DIMM0", "A1_BANK0", None),
        ("DIMM 0", "P0 CHANNEL A", None),
        ("Controller1-ChannelA-DIMM0", "BANK 0", None),
        ("DIMM0", "CPU0_CH0_extra", None),
        ("no number", "CPU0_CH0", None),
        ("", "", None),
    ],
)
def test_slot_of(locator: str, bank: str, slot: Slot | None) -> None:
    assert slot_of(device(locator, bank)) == slot


@given(st.text(max_size=40), st.text(max_size=40))
def test_any_locator_can_be_asked_for(locator: str, bank: str) -> None:
    places([device(locator, bank)], cpu("nehalem"))


# --- where that is


def test_node_is_the_socket_up_to_broadwell() -> None:
    two_sockets = node_dimms("P0_Node0_Channel0_Dimm0", "P0_Node0_Channel1_Dimm0", "P1_Node1_Channel1_Dimm0")
    assert placed(two_sockets, "sandybridge-ep") == {
        "slot0": [(0, 0, 0)],
        "slot1": [(0, 1, 0)],
        "slot2": [(1, 1, 0)],
    }


def test_node_is_half_a_socket_since_skylake() -> None:
    """P1-DIMMF1 of an X11 board: EDAC calls it MC 1, channel 2."""
    x11 = node_dimms("P0_Node0_Channel0_Dimm0", "P0_Node1_Channel2_Dimm0", "P1_Node1_Channel0_Dimm0")
    assert placed(x11, "skylake_server") == {"slot0": [(0, 0, 0)], "slot1": [(0, 5, 0)], "slot2": [(1, 3, 0)]}


def test_controllers_of_ice_lake_have_two_channels_whose_numbers_are_three_apart() -> None:
    """P1-DIMME1 of an X12 board: EDAC calls it MC 2, channel 0."""
    x12 = node_dimms("P0_Node0_Channel0_Dimm0", "P0_Node1_Channel0_Dimm0", "P0_Node1_Channel3_Dimm0")
    assert placed(x12, "icelake_server") == {
        "slot0": [(0, 0, 0)],
        "slot1": [(0, 6, 0)],
        "slot2": [(0, 10, 0)],
    }
    assert placed(x12, "sapphirerapids_server")["slot2"] == [(0, 7, 0)]


def test_where_node_may_be_either_nothing_is_said() -> None:
    either = node_dimms("P0_Node0_Channel0_Dimm0", "P1_Node1_Channel0_Dimm0")
    assert placed(either, "skylake_server") == {}
    assert len(placed(either, "haswell-ep")) == 2


def test_sockets_that_do_not_count_from_zero_say_nothing() -> None:
    assert placed(node_dimms("P1_Node0_Channel0_Dimm0", "P2_Node0_Channel0_Dimm0"), "haswell-ep") == {}


def test_slots_may_count_from_one() -> None:
    dimms = [device("A1", "CPU0_CH0"), device("A2", "CPU0_CH0"), device("B1", "CPU0_CH1", size=0)]
    assert placed(dimms, "nehalem") == {"A1": [(0, 0, 0)], "A2": [(0, 0, 1)]}
    zero = [device("A0", "CPU0_CH0", size=0), device("A1", "CPU0_CH0")]
    assert placed(zero, "nehalem") == {"A1": [(0, 0, 1)]}
    assert placed([device("A2", "CPU0_CH0")], "nehalem") == {}


def test_slots_that_claim_the_same_place_have_none() -> None:
    dimms = [device("A1", "CPU0_CH0"), device("B1", "CPU0_CH0"), device("C1", "CPU0_CH2")]
    assert placed(dimms, "nehalem") == {"C1": [(0, 2, 0)]}


def test_channels_of_a_second_home_agent_have_two_numbers() -> None:
    four = node_dimms(*(f"P0_Node0_Channel{n}_Dimm0" for n in range(4)))
    assert list(placed(four, "haswell-ep").values()) == [
        [(0, 0, 0)],
        [(0, 1, 0)],
        [(0, 2, 0), (0, 4, 0)],
        [(0, 3, 0), (0, 5, 0)],
    ]
    assert placed(four, "ivybridge-ep")["slot3"] == [(0, 3, 0), (0, 1, 0)]


@pytest.mark.parametrize("name", ["zen3", "hygon", "graniterapids", "generic", "kh-50000", "alderlake"])
def test_on_other_cpus_channel_numbers_say_nothing(name: str) -> None:
    assert placed([device("ChannelA-DIMM0"), *node_dimms("P0_Node0_Channel0_Dimm0")], name) == {}


def test_every_cpu_with_channel_numbers_exists() -> None:
    assert [name for name in CHANNELS if cpus.by_name(name) is None] == []


# --- EDAC


@pytest.mark.parametrize(
    ("name", "controller", "location", "key"),
    [
        ("skylake_server", "Skylake Socket#1 IMC#1", "channel 2 slot 1", (1, 5, 1)),
        ("icelake_server", "Intel_10nm Socket#0 IMC#3", "channel 1 slot 0", (0, 10, 0)),
        ("sapphirerapids_server", "Intel_10nm Socket#0 IMC#3", "channel 1 slot 0", (0, 7, 0)),
        ("broadwell-ep", "Broadwell SrcID#1_Ha#1", "channel 1 slot 0", (1, 5, 0)),
        ("sandybridge-ep", "Sandy Bridge SrcID#1_Ha#0", "channel 3 slot 2", (1, 3, 2)),
        ("nehalem", "i7 core #1", "channel 2 slot 0", (1, 2, 0)),
        ("zen3", "F19h_M00h", "csrow 3 channel 6", (1, 6, 1)),
        ("zen3", "F19h_M00h", "channel 3 slot 6", None),
        ("zen1", "F17h", "csrow 1 channel 1", None),
        ("graniterapids", "Intel_10nm Socket#0 IMC#3", "channel 0 slot 0", None),
        ("skylake_server", "ghes_edac", "memory 3", None),
        ("skylake_server", "", "", None),
    ],
)
def test_places_of_edac(name: str, controller: str, location: str, key: tuple[int, ...] | None) -> None:
    entries = [EdacDimm(1, controller, location, "B7"), EdacDimm(0, "other", "", "")]
    assert edac_labels(entries, cpu(name)) == ({} if key is None else {MemoryKey(*key): "B7"})


@pytest.mark.parametrize(
    "label",
    [
        "CPU_SrcID#0_MC#0_Chan#0_DIMM#0",
        "CPU#0Channel#1_DIMM#0",
        "mc#0csrow#0channel#0",
        "unknown memory",
        "",
        'A"1',
        "A\x1b",
    ],
)
def test_labels_of_drivers_and_unprintable_ones_do_not_count(label: str) -> None:
    assert edac_labels([EdacDimm(0, "i7 core #0", "channel 0 slot 0", label)], cpu("nehalem")) == {}


def test_two_ranks_of_a_dimm_are_one_and_two_labels_are_none() -> None:
    def ranks(*labels: str) -> dict[MemoryKey, str]:
        found = [EdacDimm(0, "F19h", f"csrow {n} channel 0", label) for n, label in enumerate(labels)]
        return edac_labels(found, cpu("zen3"))

    assert ranks("DIMM_A1", "DIMM_A1") == {MemoryKey(0, 0, 0): "DIMM_A1"}
    assert ranks("DIMM_A1", "DIMM_B1") == {}


# --- the administrator's file


def test_forms_of_a_line() -> None:
    found = parse_labels(
        "# mine\n\n  socket 0 channel 1 dimm 2 = B3 # here\r\n"
        'SOCKET 1  CHANNEL 0 = "CPU2, left"\nserial SNA 1 = spare = best\n',
        "labels",
    )
    assert found.by_place == {MemoryKey(0, 1, 2): "B3 # here", MemoryKey(1, 0, ANY): "CPU2, left"}
    assert found.by_serial == {"SNA 1": "spare = best"}
    assert found.problems == ()


@pytest.mark.parametrize(
    ("line", "reason"),
    [
        ("socket 0 channel 1 dimm 2 B3", 'there is no "="'),
        ("socket 0 dimm 2 = B3", "not a place or serial number"),
        ("socket 0 channel -1 = B3", "not a place or serial number"),
        ("serial = B3", "not a place or serial number"),
        ("serial X =", "no name behind"),
        ('serial X = ""', "no name behind"),
        ("serial X = " + "n" * 61, f"61 characters: shorten it to {LONGEST_LABEL}"),
        ("serial X = a\tb", "control character"),
        ('serial X = 2" left', "double quote"),
        ("socket 0 channel 0 dimm 0 = again", "line 1 names it already"),
    ],
)
def test_a_line_that_is_wrong_is_said_and_the_rest_counts(line: str, reason: str) -> None:
    found = parse_labels(f"socket 0 channel 0 dimm 0 = A1\n{line}\nserial Y = ok", "dimm-labels.conf")
    assert (found.by_place, found.by_serial) == ({MemoryKey(0, 0, 0): "A1"}, {"Y": "ok"})
    assert [str(problem).startswith("dimm-labels.conf:2: ") for problem in found.problems] == [True]
    assert reason in found.problems[0].text


@given(st.text(max_size=200))
def test_any_text_can_be_a_label_file(text: str) -> None:
    found = parse_labels(text, "file")
    lines = sum(1 for line in text.split("\n") if line.strip() and not line.strip().startswith("#"))
    assert len(found.by_place) + len(found.by_serial) + len(found.problems) == lines


# --- serial numbers


PLACEHOLDERS = """
None|NO DIMM|Not Specified|Unknown|00000000|0x00000000|FFFFFFFF|SerNum0|--------|Array1_SerialNumber0
To Be Filled By O.E.M.|[Empty]|123456789|0123456789|<BAD INDEX>|
"""


@pytest.mark.parametrize("serial", re.split(r"[|\n]", PLACEHOLDERS.strip()))
def test_placeholders_are_no_serial_numbers(serial: str) -> None:
    assert serial_numbers([device("A1", serial=serial)]) == {}


@pytest.mark.parametrize("serial", ["1234ABCD", "SNA1000000", "00000001", "0x713429E1", "80AD0122149612A2B2"])
def test_serial_numbers(serial: str) -> None:
    one = device("A1", serial=serial)
    assert serial_numbers([one]) == {one: serial}


def test_a_serial_number_of_two_dimms_is_none() -> None:
    last = device("C1", serial="S2XY")
    assert serial_numbers([device("A1", serial="S1XY"), device("B1", serial="S1XY"), last]) == {last: "S2XY"}


# --- merged

FOUR = (
    device("CPU0_DIMM_A1", "CPU0_CH0", "SNA0"),
    device("CPU0_DIMM_A2", "CPU0_CH0", "SNA1"),
    device("CPU0_DIMM_B1", "CPU0_CH1", "SNA2"),
    device("CPU0_DIMM_C1", "CPU0_CH2", "NO DIMM", size=0),
)
NEHALEM = cpu("nehalem")


def label_of(names: DimmNames, *key: int) -> str | None:
    name = names.of(*key)
    return None if name is None else name.label


def test_a_name_has_all_that_smbios_knows() -> None:
    names = DimmNames(NEHALEM, smbios(FOUR))
    assert names.of(0, 1, 0) == DimmName(
        "CPU0_DIMM_B1", Source.SMBIOS, "CPU0_CH1", "SNA2", "M-8G", "Acme", 8 * GIB
    )
    assert list(names.known()) == [MemoryKey(0, 0, 0), MemoryKey(0, 0, 1), MemoryKey(0, 1, 0)]
    assert label_of(names, 0, 2, 0) is None
    assert label_of(names, 1, 0, 0) is None
    assert label_of(names, 0, ANY, ANY) is None


def test_errors_of_a_channel_are_on_its_only_dimm_or_on_one_of_several() -> None:
    names = DimmNames(NEHALEM, smbios(FOUR))
    assert names.of(0, 1, ANY) == names.of(0, 1, 0)
    assert names.of(0, 0, ANY) == DimmName("CPU0_DIMM_A1 or CPU0_DIMM_A2", Source.SMBIOS)
    assert label_of(names, 0, 2, ANY) is None


def test_the_file_comes_before_edac_and_edac_before_smbios() -> None:
    edac = [EdacDimm(0, "i7 core #0", f"channel {channel} slot 0", f"edac{channel}") for channel in (0, 1)]
    labels = parse_labels("socket 0 channel 0 dimm 0 = mine\nserial SNA1 = spare", "file")
    names = DimmNames(NEHALEM, smbios(FOUR), edac, labels)
    found = [(label_of(names, *key), name.source, name.serial) for key, name in names.known().items()]
    assert found == [
        ("mine", Source.USER, "SNA0"),
        ("spare", Source.USER, "SNA1"),
        ("edac1", Source.EDAC, "SNA2"),
    ]


def test_a_label_that_is_a_locator_says_which_dimm_is_there() -> None:
    """Dell's names say no channel; EDAC's labels and the administrator's do."""
    dell = smbios([device("A1", serial="SNA0"), device("A2", serial="SNA1"), device("A3", serial="SNA2")])
    edac = [EdacDimm(0, "i7 core #0", "channel 1 slot 0", "A2")]
    names = DimmNames(NEHALEM, dell, edac, parse_labels("socket 0 channel 2 dimm 0 = A1", "file"))
    assert {tuple(key): name.serial for key, name in names.known().items()} == {
        (0, 1, 0): "SNA1",
        (0, 2, 0): "SNA0",
    }
    assert label_of(names, 0, 2, ANY) == "A1"
    assert label_of(names, 0, 0, 0) is None


def test_a_given_place_moves_a_dimm_from_where_its_locator_says() -> None:
    labels = parse_labels("socket 0 channel 0 dimm 0 = CPU0_DIMM_B1", "file")
    names = DimmNames(NEHALEM, smbios(FOUR), labels=labels)
    assert [(tuple(key), name.serial) for key, name in names.known().items()] == [
        ((0, 0, 0), "SNA2"),
        ((0, 0, 1), "SNA1"),
    ]
    assert label_of(names, 0, 1, 0) is None


def test_a_whole_channel_can_be_named() -> None:
    names = DimmNames(NEHALEM, smbios(FOUR), labels=parse_labels("socket 0 channel 0 = blue slots", "file"))
    assert label_of(names, 0, 0, ANY) == "blue slots"
    assert label_of(names, 0, 0, 1) == "CPU0_DIMM_A2"


def test_a_channel_can_be_given_its_dimm() -> None:
    """With one DIMM on each channel there is no need to say which."""
    dell = smbios([device("A1", serial="SNA0"), device("A2", serial="SNA1")])
    names = DimmNames(NEHALEM, dell, labels=parse_labels("socket 0 channel 2 = A1", "file"))
    assert [(tuple(key), name.serial) for key, name in names.known().items()] == [((0, 2, ANY), "SNA0")]
    assert names.of(0, 2, ANY) == names.known()[MemoryKey(0, 2, ANY)]


def test_a_dimm_cannot_be_in_two_places() -> None:
    text = "socket 0 channel 0 dimm 0 = A1\nsocket 0 channel 1 dimm 0 = A1"
    names = DimmNames(NEHALEM, smbios([device("A1", serial="SNA0")]), labels=parse_labels(text, "file"))
    assert [name.serial for name in names.known().values()] == ["SNA0"]
    assert names.of(0, 1, 0) == DimmName("A1", Source.USER)


def test_without_smbios_the_other_names_remain() -> None:
    edac = [EdacDimm(0, "F19h", "csrow 0 channel 1", "A1"), EdacDimm(0, "F19h", "csrow 2 channel 1", "A2")]
    names = DimmNames(cpu("zen3"), None, edac, parse_labels("socket 0 channel 0 dimm 0 = B1", "file"))
    assert names.known() == {
        MemoryKey(0, 1, 0): DimmName("A1", Source.EDAC),
        MemoryKey(0, 1, 1): DimmName("A2", Source.EDAC),
    }
    assert [label_of(names, 0, channel, ANY) for channel in (0, 1, 2)] == ["B1", "A1 or A2", None]
    assert names.by_address(0) == []


def test_the_only_dimm_of_a_machine_is_the_one() -> None:
    one = DimmNames(cpu("zen3"), smbios([device("DIMM 0", "P0 CHANNEL A"), device("DIMM 1", size=0)]))
    assert (label_of(one, 0, 1, 1), label_of(one, 0, 0, ANY)) == ("DIMM 0", "DIMM 0")
    elsewhere = DimmNames(NEHALEM, smbios([device("A1", "CPU0_CH0")]))
    assert label_of(elsewhere, 0, 1, 0) is None


def test_locators_that_are_not_unique_go_with_their_bank() -> None:
    ranges = [AddressRange(n * GIB, (n + 1) * GIB, n) for n in (0, 1)]
    dimms = [device("DIMM 0", f"P0 CHANNEL {letter}", handle=n) for n, letter in enumerate("AB")]
    names = DimmNames(cpu("zen3"), smbios(dimms, *ranges))
    assert [name.label for name in names.by_address(GIB)] == ["P0 CHANNEL B DIMM 0"]


def test_ivy_bridge_does_not_say_which_controller() -> None:
    four = node_dimms(*(f"P0_Node0_Channel{n}_Dimm0" for n in range(4)))
    names = DimmNames(cpu("ivybridge-ep"), smbios(four))
    assert [label_of(names, 0, n, 0) for n in range(4)] == [
        "slot0 or slot2",
        "slot1 or slot3",
        "slot2",
        "slot3",
    ]


def test_third_dimm_of_a_channel() -> None:
    banks = [f"P0_Node0_Channel{channel}_Dimm{dimm}" for channel, dimm in ((0, 0), (0, 1), (0, 2), (1, 0))]
    names = DimmNames(cpu("sandybridge-ep"), smbios(node_dimms(*banks)))
    assert [names.has_third_dimm(0, channel) for channel in (0, 1, 2)] == [True, False, False]


@pytest.mark.parametrize(("channel", "rank", "dimm"), [(0, 5, 1), (0, 6, 2), (0, 7, 2), (1, 6, 1)])
def test_ranks_6_and_7_are_the_third_dimm_where_there_is_one(channel: int, rank: int, dimm: int) -> None:
    banks = [f"P0_Node0_Channel{channel}_Dimm{dimm}" for channel, dimm in ((0, 0), (0, 1), (0, 2), (1, 0))]
    names = DimmNames(cpu("sandybridge-ep"), smbios(node_dimms(*banks)))
    status = 0x8C00_0000_0000_0090 | channel
    record = MceRecord(status=status, misc=1 << 62 | rank << 46, bank=8, socketid=0, cpuid=0x206D7)
    event = names.located(decode(record, cpu("sandybridge-ep")))
    assert [(place.rank, place.dimm) for place in event.finding.locations] == [(rank, dimm)]


def test_problems_say_what_to_do() -> None:
    def of(*devices: MemoryDevice) -> str:
        found = smbios(devices)
        return "\n".join(problems(found, DimmNames(NEHALEM, found)))

    assert "lists no DIMMs" in of(device("A1", size=0))
    dell = of(device("A1", serial="0000"), device("A2", serial="SNA1"))
    assert "does not say which channel" in dell
    assert "1 of 2 DIMMs in SMBIOS have no serial number" in dell
    assert '2 DIMMs in SMBIOS have the locator "DIMM 0"' in of(
        device("DIMM 0"), device("DIMM 0", serial="S1AB")
    )
    good = smbios(FOUR, AddressRange(0, GIB, 0))
    assert problems(good, DimmNames(NEHALEM, good)) == []


LOCATORS = st.sampled_from(["A1", "CPU0_DIMM_A1", "CPU0_DIMM_B2", "DIMM 0", ""])
BANKS = st.sampled_from(["", "CPU0_CH0", "CPU1_CH1", "P0_Node0_Channel0_Dimm0", "P0_Node1_Channel1_Dimm0"])
DEVICES = st.builds(
    device, LOCATORS, BANKS, st.sampled_from(["", "S1AB", "S2AB"]), size=st.sampled_from([0, GIB])
)


@settings(deadline=None)
@given(st.lists(DEVICES, max_size=6), st.sampled_from(["nehalem", "ivybridge-ep", "skylake_server", "zen3"]))
def test_no_serial_number_is_in_two_known_places(devices: list[MemoryDevice], name: str) -> None:
    given = {MemoryKey(0, 0, 0): "CPU0_DIMM_B2", MemoryKey(0, 1, 0): "A1", MemoryKey(0, 1, ANY): "A1"}
    labels = Labels(given, {"S1AB": "spare"})
    names = DimmNames(cpu(name), smbios(devices), labels=labels)
    serials = [found.serial for found in names.known().values() if found.serial]
    assert len(serials) == len(set(serials))
    for channel in (ANY, 0, 1):
        for dimm in (ANY, 0, 1):
            names.of(0, channel, dimm)
