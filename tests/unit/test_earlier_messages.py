# SPDX-License-Identifier: GPL-2.0-only
"""Records in the kernel's messages, with the time of the message where the text has none."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.earlier.found import Found, Line, Origin
from mcelogd.earlier.messages import count_told, found_in, is_about_hardware
from mcelogd.record import LENGTH, MceRecord, layout

FIXTURES = Path(__file__).parent.parent / "fixtures" / "ascii"
NOW = 1_795_400_000

BOOT = """\
mce: CPU0: Thermal monitoring enabled (TM1)
mce: [Hardware Error]: Machine check events logged
mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 4: a600000000020408
mce: [Hardware Error]: TSC 0 ADDR fef4c9e0
mce: [Hardware Error]: PROCESSOR 0:706a1 TIME 1795399000 SOCKET 0 APIC 0 microcode 28
"""

AMD = """\
[Hardware Error]: Corrected error, no action required.
[Hardware Error]: CPU:2 (19:1:1) MC17_STATUS[Over|CE|MiscV|AddrV|-|-|SyndV|CECC|-|-|-]: 0xdc2040000000011b
[Hardware Error]: Error Addr: 0x000000003f0c4140
[Hardware Error]: IPID: 0x0000009600150f00, Syndrome: 0x0a00000000020a01
[Hardware Error]: Unified Memory Controller Ext. Error Code: 0, DRAM ECC error.
EDAC MC0: 1 CE on mc#0csrow#1channel#1 (csrow:1 channel:1 page:0x3f0c4 offset:0x140 grain:64 syndrome:0x0)
[Hardware Error]: cache level: L3/GEN, tx: GEN, mem-tx: RD
"""


def read(*printed: tuple[int, str]) -> list[Found]:
    lines = [Line(line, when) for when, text in printed for line in text.splitlines()]
    return list(found_in(lines, Origin.KERNEL_LOG, "kernel log", NOW))


def parse(found: Found) -> MceRecord:
    assert len(found.record) == LENGTH
    return layout(LENGTH).parse(found.record)


def test_a_record_has_its_own_time() -> None:
    (found,) = read((NOW - 5, BOOT))
    record = parse(found)
    assert (found.origin, found.when, found.source) == (Origin.KERNEL_LOG, 1795399000, "kernel log")
    assert not found.incomplete
    assert (record.cpu, record.bank, record.status, record.addr) == (0, 4, 0xA600000000020408, 0xFEF4C9E0)
    assert (record.time, record.cpuid, record.microcode) == (1795399000, 0x706A1, 0x28)


def test_the_kernels_decoding_for_amd_has_the_time_of_its_message() -> None:
    found = read((NOW - 90, AMD), (NOW - 60, BOOT), (NOW - 50, AMD), (NOW - 40, "EDAC MC0: fine"))
    assert [one.when for one in found] == [NOW - 90, 1795399000, NOW - 50]
    record = parse(found[0])
    assert found[0].incomplete
    assert (record.cpu, record.bank, record.status) == (2, 17, 0xDC2040000000011B)
    assert (record.addr, record.ipid, record.time) == (0x3F0C4140, 0x9600150F00, NOW - 90)


def test_a_record_printed_while_the_second_turns_is_one_with_the_first_ones_time() -> None:
    lines = AMD.splitlines()
    for cut in range(2, len(lines)):
        head, tail = "\n".join(lines[:cut]), "\n".join(lines[cut:])
        (found,) = read((NOW - 90, head), (NOW - 89, tail))
        assert (found.when, parse(found).addr) == (NOW - 90, 0x3F0C4140)


def test_a_storm_keeps_its_times() -> None:
    found = read(*((NOW - 1000 + number // 3, AMD) for number in range(300)))
    assert [one.when for one in found] == [NOW - 1000 + number // 3 for number in range(300)]


@pytest.mark.parametrize("claimed", ["0", "99999999999999", "18446744073709551615", str(NOW + 90_000)])
def test_a_time_that_cannot_be_is_replaced(claimed: str) -> None:
    (found,) = read((NOW - 7, BOOT.replace("1795399000", claimed)))
    assert (found.when, parse(found).time) == (NOW - 7, NOW - 7)


@pytest.mark.parametrize("name", ["panic", "smca", "amd", "pstore"])
def test_all_records_of_a_kernels_text_are_found(name: str) -> None:
    text = (FIXTURES / f"{name}.txt").read_text()
    expected = (FIXTURES / f"{name}.json").read_text().count('"record"')
    assert len(read((NOW, text))) == expected


PREFIXES = (
    "",
    "<0>",
    "[    1.023450] ",
    "<2>[  812.004431] ",
    "<0>[   81.612345][  T812] ",
    "[    1.0][    C3] ",
)


@pytest.mark.parametrize("prefix", PREFIXES)
def test_what_stands_before_a_kernels_line(prefix: str) -> None:
    (found,) = read((NOW, "".join(prefix + line + "\n" for line in BOOT.splitlines())))
    assert parse(found).cpuid == 0x706A1


@pytest.mark.parametrize(
    "text",
    [
        # Names that a device gives itself.
        "usb 1-1: Product: mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 5: be00000000800400",
        "[   81.61] usb 1-1: Product: [Hardware Error]: CPU:2 (19:1:1) MC17_STATUS[CE]: 0xdc2040000000011b",
        "hello\nmce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 5: be00000000800400",
        "CPU 0: Machine Check: 0 Bank 5: be00000000800400",
        "mce: [Hardware Error]: ",
        "{1}[Hardware Error]: CPU 0: Machine Check: 0 Bank 5: be00000000800400",
    ],
)
def test_what_the_kernel_does_not_say_of_a_machine_check_is_none(text: str) -> None:
    found = list(found_in([Line(text, NOW)], Origin.KERNEL_LOG, "", NOW))
    assert found == []


def test_a_further_line_in_a_message_is_none_of_the_kernels() -> None:
    first = "mce: [Hardware Error]: Machine check events logged"
    text = f"{first}\nmce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 5: be00000000800400"
    assert list(found_in([Line(text, NOW)], Origin.KERNEL_LOG, "", NOW)) == []


WORDS = [
    "CPU",
    "0:",
    "Machine",
    "Check:",
    "Bank",
    "5:",
    "be00000000800400",
    "TSC",
    "ADDR",
    "TIME",
    "{",
    "\0",
    "@9",
]
WORDS += [
    "PROCESSOR",
    "0:706a1",
    "MC17_STATUS[CE]:",
    "0xdc2040000000011b",
    "9" * 40,
    "SYND",
    "IPID:",
    "é",
    "\ud800",
]
hostile = st.builds(
    lambda prefix, words: prefix + " ".join(words),
    st.sampled_from(["mce: [Hardware Error]: ", "[Hardware Error]: ", "<1>[ 1.2] mce: [Hardware Error]: "]),
    st.lists(st.sampled_from(WORDS) | st.text(max_size=8), max_size=12),
)


@given(st.lists(st.builds(Line, hostile, st.integers(-(2**70), 2**63))))
def test_no_line_raises(lines: list[Line]) -> None:
    for found in found_in(lines, Origin.PSTORE, "x", NOW):
        assert len(found.record) == LENGTH
        assert found.when == parse(found).time


@pytest.mark.parametrize(
    "line",
    [
        "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 5: be00000000800400",
        "mce: [Hardware Error]: " + "TSC 1 " * 80,
        "mce: [Hardware Error]: " + "TSC 1 " * 2000,
        "[Hardware Error]: CPU:2 (19:1:1) MC17_STATUS[" + "-|" * 5000,
        "[" * 20000,
        "[ " * 20000,
    ],
)
def test_many_lines_take_no_time(line: str) -> None:
    begin = time.process_time()
    count = 1_000_000 // (20 + len(line))
    for _ in found_in((Line(line, NOW + i) for i in range(count)), Origin.PSTORE, "x", NOW):
        pass
    assert time.process_time() - begin < 3


def test_only_lines_about_hardware_are_looked_at() -> None:
    assert is_about_hardware("mce: [Hardware Error]: Machine check events logged")
    assert not is_about_hardware("mce: CPU supports 20 MCE banks")


def test_what_the_kernel_told_of() -> None:
    logged = ["6,1,2,-;mce: [Hardware Error]: Machine check events logged"]
    decoded = ["mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 5: 8c00004000010090"]
    other = ["mce: [Hardware Error]: PROCESSOR 0:606a6 TIME 1", "Machine check, they say"]
    assert count_told(logged * 3 + decoded + other) == 3
    assert count_told(decoded * 2 + other + logged) == 2
    assert count_told([]) == 0
