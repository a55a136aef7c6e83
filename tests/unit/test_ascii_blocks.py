# SPDX-License-Identifier: GPL-2.0-only
"""Text in blocks: the same records, and the same text, as line by line."""

from __future__ import annotations

import itertools
import re
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcelogd import cpu as cpus
from mcelogd import render
from mcelogd.ascii import Assembled, Printed, assemble, assemble_blocks
from mcelogd.bulk import BulkText, cpu_of
from mcelogd.decode import decode
from mcelogd.oneshot import Form, decoded

FIXTURES = Path(__file__).parent.parent / "fixtures" / "ascii"

HEX = st.sampled_from(["0", "5", "00", "fee00", "Fee00", "ffffffffffffffff", "10000000000000000", "zz"])
NUMBER = st.sampled_from(["0", "3", "17", "007", "255", "256", "999999999", "4294967296"])
STATUS = st.sampled_from(
    ["8c00004000010090", "9c2040000000011b", "be00000000800400", "8800000000000e0f", "0", "f" * 17]
)
PREFIX = st.sampled_from(
    (
        "",
        "",
        " ",
        "mce: ",
        "mce: [Hardware Error]: ",
        "[Hardware Error]: ",
        "[   12.345678] mce: [Hardware Error]: ",
        "[ 1.5][ C3] mce: [Hardware Error]: ",
        "May 20 12:52:36 host kernel: ",
    )
)
FOREIGN = st.sampled_from(
    (
        "usb 1-1: reset\n",
        "\n",
        "{foo}\n",
        "TSC\n",
        "TSC 5\n",
        "TSC 5 ADDR 7\n",
        "MCE 0\n",
        "CPU 3\n",
        "CPU 3: TSC 5\n",
        "CPU 3 BANK 5 \n",
        "CPU 1: Machine Check\n",
        "CPU 3: Machine Check: 0 Bank 5:\n",
        "CPU 3: Machine Check: 0 Bank 5: 8c00004000010090\n",
        "CPU 3: Machine Check: 0 Bank 17: 9c2040000000011b\n",
        "CPU:3 (19:1:1) MC17_STATUS[-|CE]: 0x9c2040000000011b\n",
        "PROCESSOR 0:306e4\n",
        "RIP 10:<ffff> {a}\n",
        "STATUS 5 MCGSTATUS 0\n",
        "Hardware event. This is not a software error.\n",
        "Run the above\n",
    )
)


@st.composite
def printed(draw: st.DrawFn) -> str:
    """A kernel's record, or nearly so."""
    before = draw(PREFIX)
    exception = draw(st.sampled_from(["", "", " Exception", " Event"]))
    head = f"CPU {draw(NUMBER)}: Machine Check{exception}: {draw(HEX)} Bank {draw(NUMBER)}: {draw(STATUS)}"
    registers = f"TSC {draw(HEX)}"
    for name in ("ADDR", "MISC", "PPIN", "SYND", "SYND1", "IPID"):
        if draw(st.booleans()):
            registers += f" {name} {draw(HEX)}"
    processor = (
        f"PROCESSOR {draw(NUMBER)}:{draw(st.sampled_from(['306e4', '50654', 'a00f11', '0', '1234567890']))}"
    )
    processor += f" TIME {draw(NUMBER)} SOCKET {draw(NUMBER)} APIC {draw(HEX)}"
    if draw(st.booleans()):
        processor += f" microcode {draw(HEX)}"
    end = draw(st.sampled_from(["\n", " \n", "  \n", "\r\n"]))
    return "".join(before + line + end for line in (head, registers, processor))


@st.composite
def storm(draw: st.DrawFn) -> str:
    """Records in a row as a kernel prints them."""
    before = draw(PREFIX)
    text = ""
    for cpu in draw(st.lists(st.integers(0, 3), min_size=1, max_size=4)):
        status = draw(st.sampled_from(["8c00004000010090", "9c2040000000011b", "8800000000000e0f"]))
        bank = draw(st.sampled_from([0, 13, 128, 255]))
        registers = draw(
            st.sampled_from(["TSC 0 ", "TSC 5 ADDR fee00 MISC 86 ", "TSC 1c9 ADDR 0 PPIN 5 IPID 7 "])
        )
        processor = draw(st.sampled_from(["0:50654", "0:0", "2:a00f11", "255:306e4"]))
        microcode = draw(st.sampled_from(["", " microcode 428"]))
        text += f"{before}CPU {cpu}: Machine Check: 0 Bank {bank}: {status}\n{before}{registers}\n"
        text += (
            f"{before}PROCESSOR {processor} TIME {draw(st.integers(0, 2))} SOCKET 1 APIC {cpu:x}{microcode}\n"
        )
    return text


texts = st.lists(st.one_of(printed(), storm(), storm(), FOREIGN), max_size=8).map("".join)


def lines_of(text: str) -> list[str]:
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def cut(text: str, at: list[int]) -> list[str]:
    places = sorted({0, len(text), *(place % (len(text) + 1) for place in at)})
    return [text[start:end] for start, end in itertools.pairwise(places)]


def from_blocks(blocks: list[str]) -> list[str | Assembled]:
    found: list[str | Assembled] = []
    for items in assemble_blocks(blocks):
        for item in items:
            if isinstance(item, list):
                found += (Assembled(Printed._make(parts).record) for parts in item)
            else:
                found.append(item)
    return found


def one_by_one(lines: list[str], forced: cpus.CpuType | None) -> str:
    """The text, without anything that makes it fast."""
    text = ""
    for item in assemble(lines):
        if isinstance(item, str):
            text += item
        else:
            text += render.event_text(decode(item.record, forced or cpu_of(item.record)))
            text += f"RIP: {item.symbol}\n" if item.symbol else ""
            text += "(Fields were incomplete)\n" if item.incomplete else ""
    return text


@settings(deadline=None)
@given(texts, st.lists(st.integers(0, 5000), max_size=4))
def test_blocks_hold_what_the_lines_hold(text: str, at: list[int]) -> None:
    assert from_blocks(cut(text, at)) == list(assemble(lines_of(text)))


@settings(deadline=None)
@given(texts, st.sampled_from([None, cpus.INTEL, cpus.K8]))
def test_bulk_text_is_the_text(text: str, forced: cpus.CpuType | None) -> None:
    assert "".join(decoded([text], forced, Form.TEXT)) == one_by_one(lines_of(text), forced)


@pytest.mark.parametrize("path", sorted(FIXTURES.glob("*.txt")), ids=lambda path: path.stem)
def test_fixtures_in_blocks(path: Path) -> None:
    text = path.read_bytes().decode()
    whole = list(assemble(lines_of(text)))
    for size in (1, 7, 100, 100000):
        assert from_blocks([text[i : i + size] for i in range(0, len(text), size)]) == whole


def test_a_storm_takes_the_fast_way() -> None:
    """It would be right without, but slow, and nobody would notice."""
    record = (
        "mce: [Hardware Error]: CPU 2: Machine Check: 0 Bank 13: 8c00004000010090\n"
        "mce: [Hardware Error]: TSC 1c9f0a2b3d4 ADDR fee00 MISC 86 PPIN abc \n"
        "mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1425373471 SOCKET 1 APIC 4 microcode 428\n"
    )
    (items, _) = assemble_blocks(["usb 1-1: reset\n" + record * 10 + "usb 1-1: reset\n" + record * 10])
    assert [len(item) for item in items if isinstance(item, list)] == [9, 9]


def test_memory_of_parts_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mcelogd.bulk.MOST_REMEMBERED", 3)
    monkeypatch.setattr("mcelogd.decode.cache.MOST_REMEMBERED", 3)
    text = "".join(
        f"CPU {n}: Machine Check: 0 Bank 13: 8c00004000010{n:03x}\nTSC 5 \n"
        f"PROCESSOR 0:50654 TIME {n} SOCKET 1 APIC {n:x} microcode 428\n"
        for n in range(20)
    )
    bulk = BulkText(None)
    out = ""
    for items in assemble_blocks([text]):
        for item in items:
            if isinstance(item, list):
                out += "".join(bulk.texts(item))
                assert max(len(bulk._errors.shared), len(bulk._places), len(bulk._times)) <= 3
    assert out
    assert one_by_one(lines_of(text), None).startswith(out)


def test_a_block_without_a_line_end_costs_little() -> None:
    (items,) = (items for items in assemble_blocks(["x" * 1000] * 10000) if items)
    assert items == ["x" * 10_000_000]
