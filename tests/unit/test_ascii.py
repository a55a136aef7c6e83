# SPDX-License-Identifier: GPL-2.0-only
"""Text -> records: every shape that kernels and mcelog print."""

from __future__ import annotations

import itertools
import json
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcelogd.ascii import Assembled, assemble
from mcelogd.ascii.pending import PATIENCE, PATIENCE_WHEN_COMPLETE
from mcelogd.ascii.prefix import split_prefix
from mcelogd.record import MceRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

FIXTURES = Path(__file__).parent.parent / "fixtures" / "ascii"
NAMES = sorted(path.stem for path in FIXTURES.glob("*.txt"))

MICROCODE = {"socketid": 0, "apicid": 0, "mcgcap": 0, "synd": 0, "ipid": 0, "ppin": 0}
"""The tail of a record whose last known field is the microcode revision."""


def lines_of(text: str) -> list[str]:
    """The lines with their ends; split at newlines only, as a file is."""
    return re.findall(r"[^\n]*\n|[^\n]+", text)


def read(text: str) -> list[str | Assembled]:
    return list(assemble(lines_of(text)))


def records(items: Iterable[str | Assembled]) -> list[MceRecord]:
    return [item.record for item in items if isinstance(item, Assembled)]


def passed(items: Iterable[str | Assembled]) -> list[str]:
    return [item for item in items if isinstance(item, str)]


def only(text: str) -> Assembled:
    """The one record of a text of which nothing is left over."""
    (item,) = read(text)
    assert isinstance(item, Assembled)
    return item


def golden(name: str, lines: list[str]) -> list[str | Assembled]:
    """What is to come out: lines by number, and records; a field not named has its default."""
    items: list[dict[str, Any]] = json.loads((FIXTURES / f"{name}.json").read_text())
    return [
        lines[item["line"] - 1] if "line" in item else Assembled(**item | {"record": parse(item["record"])})
        for item in items
    ]


def parse(fields: dict[str, int | str]) -> MceRecord:
    return MceRecord(
        **{name: int(value, 0) if isinstance(value, str) else value for name, value in fields.items()}
    )


@pytest.mark.parametrize("name", NAMES)
def test_golden(name: str) -> None:
    lines = lines_of((FIXTURES / f"{name}.txt").read_bytes().decode())
    assert list(assemble(lines)) == golden(name, lines)


KERNEL_LINES = (
    "CPU 2: Machine Check Exception: 5 Bank 3: be00000000800400",
    "RIP !INEXACT! 10:<ffffffff81012345> {mwait_idle+0x5/0x20}",
    "TSC 1c9f0a2b3d4 ADDR fee00 MISC 86 PPIN abc ",
    "PROCESSOR 0:306e4 TIME 1425373471 SOCKET 1 APIC 4 microcode 428",
)
KERNEL_RECORD = MceRecord(
    status=0xBE00000000800400,
    misc=0x86,
    addr=0xFEE00,
    mcgstatus=5,
    ip=0xFFFFFFFF81012345,
    tsc=0x1C9F0A2B3D4,
    time=1425373471,
    cpuid=0x306E4,
    cs=0x10,
    bank=3,
    extcpu=2,
    **MICROCODE | {"socketid": 1, "apicid": 4, "ppin": 0xABC, "microcode": 0x428},
)
KERNEL_ITEM = Assembled(KERNEL_RECORD, symbol="mwait_idle+0x5/0x20")

PREFIXES = (
    "",
    " ",
    "\t",
    "mce: [Hardware Error]: ",
    "[Hardware Error]: ",
    "{1}[Hardware Error]: ",
    "MCE: ",
    "<0>",
    "<7>",
    "[   12.345678] ",
    "[12345.345678] mce: [Hardware Error]: ",
    "[Sun Nov 22 20:15:39 2026] ",
    "[Nov22 20:15] ",
    "[  +0.000012] ",
    "[   12.345678 <    0.000002>] ",
    "[   12.345][  T10] ",
    "[   12.345678][   T10] mce: [Hardware Error]: ",
    "kern  :emerg : [   12.345678] ",
    "kern  :warn  : ",
    "0,1234,5678901,-;",
    "6,1234,5678901,-,caller=T10;",
    "6.1.0-13-amd64,6,1234,5678901,-;",
    "May 20 12:52:36 host kernel: ",
    "May  2 12:52:36 host kernel: [   12.345678] mce: [Hardware Error]: ",
    "May 20 12:52:36.123456 host kernel: ",
    "May 20 12:52:36 kernel: ",
    "2026-11-22T20:15:39.123456+00:00 host kernel[1]: ",
    "2026-11-22T20:15:39+0000 host kernel: ",
    "2026-11-22T20:15:39,123456+01:00 ",
    "Sun 2026-11-22 20:15:39 CET host kernel: ",
    "1779999999.123456 host kernel: ",
    "[   12.345678] host kernel: ",
    "host kernel: ",
    " kernel:",
    "mcelog: ",
    "mcelog[123]: ",
    "(XEN) ",
    "(XEN) [2019-05-14 11:02:33] ",
    "EDAC sbridge MC1: ",
    "EDAC DEBUG: skx_mce_check_error: ",
    "> ",
    "\x1b[32m[   12.345678] \x1b[0m\x1b[33mmce: \x1b[0m\x1b[31m[Hardware Error]: ",
    "Some text of another line[   12.345678] mce: [Hardware Error]: ",
    "a format nobody has heard of | mcelog: ",
)


@pytest.mark.parametrize("prefix", PREFIXES)
@pytest.mark.parametrize("end", ["\n", "\r\n", "\0\n"])
def test_prefix(prefix: str, end: str) -> None:
    assert only("".join(prefix + line + end for line in KERNEL_LINES)) == KERNEL_ITEM


@settings(deadline=None)
@given(st.lists(st.lists(st.sampled_from(PREFIXES[:-2]), max_size=4), min_size=4, max_size=4))
def test_prefixes_in_any_combination(prefixes: list[list[str]]) -> None:
    lines = ("".join((*before, line, "\n")) for before, line in zip(prefixes, KERNEL_LINES, strict=True))
    assert only("".join(lines)) == KERNEL_ITEM


def test_source_of_a_line() -> None:
    line = "May 20 12:52:36 db4 kernel: [   12.345][   C7] mce: [Hardware Error]: TSC 0"
    assert split_prefix(line) == (("db4", "kernel", "C7"), "TSC 0")


FOREIGN = (
    "usb 1-1: new high-speed USB device number 3 using xhci_hcd\n",
    "[   12.345678] EXT4-fs (sda1): mounted filesystem with ordered data mode\n",
    "May 20 12:52:36 host sshd[812]: Accepted publickey for root\n",
    "mce: [Hardware Error]: Machine check events logged\n",
    "[Hardware Error]: MC4 Error (node 1): DRAM ECC error detected on the NB.\n",
    "[Hardware Error]: cache level: L3/GEN, tx: GEN, mem-tx: RD\n",
    "[Hardware Error]: IPID: 0x0000009600050f00, Syndrome: 0x000000015b1c0103\n",
    "CPU: 3 PID: 812 Comm: kworker/3:1 Not tainted 6.12.48 #1\n",
    "RIP: 0010:native_safe_halt+0xe/0x10\n",
    "CPU 5 is now offline\n",
    "CPU0: Core temperature above threshold, cpu clock throttled (total events = 1)\n",
    "CPU 3 failed to report alive state\n",
    "STATUS 200 OK\n",
    "TIME to say goodbye\n",
    "MCE 5 times\n",
    "Bank 1: 16 GB\n",
    "Hardware event counters are available\n",
    "{\n",
    "\xff\0\n",
    "\n",
)


@pytest.mark.parametrize("line", [*FOREIGN, "ADDR\n", "MCE 0\n", "{"])
def test_a_foreign_line_alone_is_passed_through(line: str) -> None:
    assert read(line) == [line]


@pytest.mark.parametrize("line", FOREIGN)
def test_a_foreign_line_inside_a_record_does_not_split_it(line: str) -> None:
    for place in range(len(KERNEL_LINES) + 1):
        lines = [text + "\n" for text in KERNEL_LINES]
        lines.insert(place, line)
        items = list(assemble(lines))
        assert [item for item in items if isinstance(item, Assembled)] == [KERNEL_ITEM]
        assert passed(items) == [line]


@pytest.mark.parametrize("order", list(itertools.permutations(KERNEL_LINES[1:])))
def test_a_kernel_record_in_any_order(order: tuple[str, ...]) -> None:
    assert only("\n".join((KERNEL_LINES[0], *order))) == KERNEL_ITEM


def test_tokens_in_any_order_on_one_line() -> None:
    head, *tokens = KERNEL_LINES[0], "microcode 428", "PPIN abc", "APIC 4", "SOCKET 1", "MISC 86"
    tokens += ["RIP !INEXACT! 10:<ffffffff81012345> {mwait_idle+0x5/0x20}", "PROCESSOR 0:306e4"]
    tokens += ["TIME 1425373471", "FUTURE 12", "ADDR fee00", "SYND1 5", "TSC 1c9f0a2b3d4"]
    for turn in range(len(tokens)):
        turned = tokens[turn:] + tokens[:turn]
        assert only(f"{head}\n{' '.join(turned)}\n") == KERNEL_ITEM
        alone = (token for token in turned if token not in ("FUTURE 12", "SYND1 5"))
        assert only("\n".join((head, *alone))) == KERNEL_ITEM


@pytest.mark.parametrize(
    ("head", "mcgstatus"),
    [
        ("CPU 3: Machine Check Exception: f Bank 1: bd80000000100134", 0xF),
        ("CPU 3: Machine Check: 0 Bank 1: bd80000000100134", 0),
        ("CPU 3: Machine Check Exception:                4 Bank 1: bd80000000100134", 4),
        ("CPU 3: Machine Check Event: 0x0 Bank 1: 0xbd80000000100134", 0),
        ("CPU: 3: Machine Check Exception: ec Bank 1: 0000bd80000000100134", 0xEC),
        ("CPU: 3 Machine Check Exception: c Bank 1: bd80000000100134", 0xC),
        ("CPU3: Machine Check Exception: 0000000000000005 Bank 1: bd80000000100134", 5),
        ("CPU 3 Machine Check Exception 5 Bank 1 bd80000000100134", 5),
    ],
)
def test_kernel_heads(head: str, mcgstatus: int) -> None:
    expected = MceRecord(status=0xBD80000000100134, mcgstatus=mcgstatus, bank=1, extcpu=3)
    assert only(head) == Assembled(expected)


@pytest.mark.parametrize(
    ("line", "ip", "cs", "symbol"),
    [
        ("RIP 10:<ffffffff81012345> {foo+0x1/0x2}", 0xFFFFFFFF81012345, 0x10, "foo+0x1/0x2"),
        ("RIP !INEXACT! 33:<00007f3c1d2e4a10> ", 0x7F3C1D2E4A10, 0x33, ""),
        ("RIP 10:ffffffff81012345", 0xFFFFFFFF81012345, 0x10, ""),
        ("RIP !INEXACT! 10:ffffffff81012345", 0xFFFFFFFF81012345, 0x10, ""),
        ("RIP 10:<ffffffff81012345>\n{foo+0x1/0x2}", 0xFFFFFFFF81012345, 0x10, "foo+0x1/0x2"),
        ("RIP 10:<ffffffff81012345>\nusb 1-1: reset\n{a b}", 0xFFFFFFFF81012345, 0x10, "a b"),
        ("RIP 10:<ffffffff81012345> {foo+0x1/\n0x2}", 0xFFFFFFFF81012345, 0x10, "foo+0x1/0x2"),
        ("RIP 10:<ffffffff81012345> {foo+0x1/0x2 [kvm]}", 0xFFFFFFFF81012345, 0x10, "foo+0x1/0x2 [kvm]"),
        ("RIP 10:<ffffffff81012345>{foo}", 0xFFFFFFFF81012345, 0x10, "foo"),
        ("RIP <10>:ffffffff81012345 RSP ffff8800", 0xFFFFFFFF81012345, 0x10, ""),
        ("RIP 0x10:0xffffffff81012345", 0xFFFFFFFF81012345, 0x10, ""),
        ("RIP 0xdeadbabe", 0xDEADBABE, 0, ""),
    ],
)
def test_rip(line: str, ip: int, cs: int, symbol: str) -> None:
    items = read(f"{KERNEL_LINES[0]}\n{line}\n{KERNEL_LINES[2]}\n")
    (item,) = (item for item in items if isinstance(item, Assembled))
    assert (item.record.ip, item.record.cs, item.symbol) == (ip, cs, symbol)
    assert item.record.ppin == 0xABC
    assert not item.incomplete
    assert passed(items) == (["usb 1-1: reset\n"] if "usb" in line else [])


@pytest.mark.parametrize(
    "line",
    [
        "ADDR 11112222333344445",
        "MISC zzz",
        "TSC -5",
        "TSC 1_0",
        "TIME 18446744073709551616",
        "TIME " + "9" * 5000,
        "SOCKETID 4294967296",
        "PROCESSOR 256:306e4",
        "PROCESSOR 0:1306e4000",
        "PROCESSOR 0",
        "RIP 1234:5",
        "MICROCODE 123456789",
        "CPUID Vendor Intel Family 6 Model 300",
        "CPUID Vendor Intel Family x Model 3",
        "CPUID Vendor Nobody Family 6 Model 3",
        "BANK 256",
        "TSC\nMISC 5",
        "TSC",
    ],
)
def test_values_that_do_not_fit_are_left_out_and_said(line: str) -> None:
    item = only(f"CPU 1\nSTATUS 5\n{line}")
    assert item.incomplete
    expected = MceRecord(status=5, extcpu=1)
    if "Nobody" in line:
        expected = expected._replace(cpuvendor=255, cpuid=0x630)
    if line.endswith("MISC 5"):
        expected = expected._replace(misc=5)
    assert item.record == expected


@pytest.mark.parametrize("head", ["CPU 4294967296 BANK 2", "CPU 1 BANK 256", "CPU 1 300", "CPU 1"])
def test_incomplete_heads(head: str) -> None:
    assert only(f"{head}\nSTATUS 5\n").incomplete


def test_a_lone_status_line_is_a_record() -> None:
    assert only("STATUS be00000000800400 MCGSTATUS 5\n") == Assembled(
        MceRecord(status=0xBE00000000800400, mcgstatus=5), incomplete=True
    )


@pytest.mark.parametrize(
    "text",
    [
        "CPU 3 BANK 5 \nMISC 5 \nTIME 5\nMCG status:\nMCA: No Error\nthe end\n",
        "Hardware event. This is not a software error.\nMCE 0\nMCE 1\n",
        "CPU 7: Machine Check Exception: 5 Bank 0\nRIP !INEXACT! 33:<00007f3c1d2e4a10>\nfoo\n",
        "CPU 7: Machine Check Exception: 5\nCPU 8: Machine Check\n",
        "TSC 5\nTSC 6\n\nTSC 7\n",
        "CPU 0\nBANK 1\n\n\nSTATUS\n",
        "The hardware reports a non fatal, correctable incident\n",
        "TSC 1 TSC 2 CPU 1 BANK 2 MISC 5 MISC 6\nx\n",
    ],
)
def test_without_a_status_nothing_is_a_record_and_nothing_is_lost(text: str) -> None:
    assert "".join(passed(read(text))) == text


@pytest.mark.parametrize(
    ("tail", "known"),
    [
        ("", {}),
        ("SOCKETID 1", {"socketid": 1}),
        ("APICID 2", {"socketid": 0, "apicid": 2}),
        ("MCGCAP c09", {"socketid": 0, "apicid": 0, "mcgcap": 0xC09}),
        ("SYND 5", {"socketid": 0, "apicid": 0, "mcgcap": 0, "synd": 5}),
        ("MICROCODE 428", MICROCODE | {"microcode": 0x428}),
    ],
)
def test_a_record_is_as_long_as_its_last_field(tail: str, known: dict[str, int]) -> None:
    assert only(f"CPU 1 BANK 2\nSTATUS 5\n{tail}").record == MceRecord(status=5, bank=2, extcpu=1, **known)


@pytest.mark.parametrize(
    ("text", "socketid", "apicid"),
    [
        ("CPU 1 BANK 2\nSTATUS 5\nSOCKETID 10\nAPICID 10\n", 10, 0x10),
        ("CPU 1 BANK 2\nSTATUS 5\nAPICID 10 SOCKETID 10\n", 0x10, 0x10),
        ("CPU 1 BANK 2 \nSTATUS 5 MCGSTATUS 0\nSOCKETID 10 \n", 0x10, None),
        ("CPU 1\nBANK 2\nSTATUS 0x5\nSOCKETID 10\nAPICID 10\n", 10, 10),
        ("CPU 1: Machine Check: 0 Bank 2: 5\nSOCKET 10 APIC 10\n", 10, 0x10),
    ],
)
def test_bases_of_processor_ids(text: str, socketid: int, apicid: int | None) -> None:
    record = only(text).record
    assert (record.socketid, record.apicid) == (socketid, apicid)


def test_many_records_on_one_line() -> None:
    text = (
        "CPU 0 BANK 1 STATUS 5 CPU 1 BANK 2 STATUS 6 MISC 7"
        " CPU 2 3 STATUS 8 CPUID Vendor AMD Family 15 Model 5"
    )
    assert records(read(text)) == [
        MceRecord(status=5, bank=1),
        MceRecord(status=6, misc=7, bank=2, extcpu=1),
        MceRecord(status=8, bank=3, extcpu=2, cpuvendor=2, cpuid=0xF50),
    ]


def test_a_head_behind_a_head() -> None:
    assert records(read("CPU 0 BANK 1 CPU 1 BANK 2 STATUS 5")) == [MceRecord(status=5, bank=2, extcpu=1)]


def test_two_hosts_in_one_log() -> None:
    def log(host: str, line: str) -> str:
        return f"May 20 12:52:36 {host} kernel: mce: [Hardware Error]: {line}\n"

    other = [line.replace("CPU 2", "CPU 9").replace("APIC 4", "APIC 44") for line in KERNEL_LINES]
    pairs = zip(KERNEL_LINES, other, strict=True)
    text = "".join(log("one", line) + log("two", second) for line, second in pairs)
    assert records(read(text)) == [KERNEL_RECORD, KERNEL_RECORD._replace(extcpu=9, apicid=0x44)]


def test_a_cut_off_record_does_not_take_the_fields_of_the_next() -> None:
    text = "\n".join((KERNEL_LINES[0], *(line.replace("CPU 2", "CPU 9") for line in KERNEL_LINES)))
    first, second = records(read(text))
    assert first == MceRecord(status=0xBE00000000800400, mcgstatus=5, bank=3, extcpu=2)
    assert second == KERNEL_RECORD._replace(extcpu=9)


def test_a_second_tail_is_not_taken_for_a_record() -> None:
    item, *rest = read("\n".join((*KERNEL_LINES, *KERNEL_LINES[2:])))
    assert item == KERNEL_ITEM._replace(incomplete=True)
    assert len(rest) == 2


def test_a_record_comes_out_when_the_kernel_has_printed_it() -> None:
    lines = iter([*KERNEL_LINES, "Run the above through 'mcelog --ascii'", "not read yet"])
    assert next(assemble(lines)) == KERNEL_ITEM
    assert next(lines) == "not read yet"


def test_a_record_waits_only_so_long() -> None:
    for head, patience in ((KERNEL_LINES, PATIENCE_WHEN_COMPLETE), (KERNEL_LINES[:1], PATIENCE)):
        lines = itertools.chain(head, (f"line {n}" for n in itertools.count()))
        items = assemble(lines)
        assert isinstance(next(items), Assembled)
        assert next(items) == "line 0"
        assert next(lines) == f"line {patience + 1}"
