# SPDX-License-Identifier: GPL-2.0-only
"""Text -> records: what holds for every record and every text, also one that nobody printed."""

from __future__ import annotations

import itertools
import time
from typing import TYPE_CHECKING

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcelogd import cpu as cpus
from mcelogd import render
from mcelogd.ascii import Assembled, assemble
from mcelogd.ascii.pending import MOST_LINES, TAIL
from mcelogd.cpu import format_cpuid, parse_cpuid
from mcelogd.decode import bits, decode
from mcelogd.record import MceRecord, layout

if TYPE_CHECKING:
    from collections.abc import Iterator

HEAD = "CPU 2: Machine Check Exception: 5 Bank 3: be00000000800400"

PREFIXES = (
    "",
    "mce: [Hardware Error]: ",
    "{1}[Hardware Error]: ",
    "<0>[   12.345678][  T10] ",
    "[Sun Nov 22 20:15:39 2026] ",
    "kern  :emerg : [   12.345678] ",
    "6,1234,5678901,-,caller=T10;",
    "May 20 12:52:36 host kernel: ",
    "2026-11-22T20:15:39.123456+00:00 host kernel[1]: mce: ",
    "[   12.345678] host kernel: ",
    "mcelog: ",
    "mcelog[123]: ",
    "(XEN) ",
    "> ",
)

FOREIGN = (
    "usb 1-1: new high-speed USB device number 3 using xhci_hcd\n",
    "[   12.345678] EXT4-fs (sda1): mounted filesystem with ordered data mode\n",
    "mce: [Hardware Error]: Machine check events logged\n",
    "[Hardware Error]: MC4 Error (node 1): DRAM ECC error detected on the NB.\n",
    "[Hardware Error]: cache level: L3/GEN, tx: GEN, mem-tx: RD\n",
    "CPU: 3 PID: 812 Comm: kworker/3:1 Not tainted 6.12.48 #1\n",
    "RIP: 0010:native_safe_halt+0xe/0x10\n",
    "CPU 5 is now offline\n",
    "TIME to say goodbye\n",
    "Bank 1: 16 GB\n",
    "\n",
)


def lines_of(text: str) -> list[str]:
    return text.splitlines(keepends=True)


def records(items: list[str | Assembled]) -> list[MceRecord]:
    return [item.record for item in items if isinstance(item, Assembled)]


def passed(items: list[str | Assembled]) -> list[str]:
    return [item for item in items if isinstance(item, str)]


def read(lines: list[str]) -> list[str | Assembled]:
    return list(assemble(lines))


@st.composite
def any_record(draw: st.DrawFn) -> MceRecord:
    """A record of any length a kernel had, with any bits."""
    length = draw(st.sampled_from((72, 76, 80, 88, 96, 104, 112, 120, 128)))
    data = draw(st.binary(min_size=length, max_size=length))
    record = layout(length).parse(data)
    if draw(st.booleans()):
        record = record._replace(status=record.status | bits.MCI_STATUS_VAL, bank=record.bank % 32)
    if draw(st.booleans()):
        record = record._replace(time=1425373471, extcpu=0, cpuvendor=record.cpuvendor % 12)
    return record


def in_raw(record: MceRecord) -> MceRecord:
    """What `--raw` text says of a record."""
    return MceRecord(
        *record[:8],
        cpuid=record.cpuid,
        cs=record.cs,
        bank=record.bank,
        extcpu=record.cpu,
        **{name: getattr(record, name) or 0 for name in TAIL},
    )


def in_text(record: MceRecord) -> MceRecord:
    """What decoded text says of a record."""
    said = in_raw(record)
    if not record.status & bits.MCI_STATUS_MISCV:
        said = said._replace(misc=0)
    if not record.status & bits.MCI_STATUS_ADDRV:
        said = said._replace(addr=0)
    if not record.ip:
        said = said._replace(cs=0)
    cpuid = format_cpuid(*parse_cpuid(record.cpuid))
    return said._replace(cpuid=cpuid, cpuvendor=record.cpuvendor if cpuid else 0)


def printed(record: MceRecord, *, raw: bool) -> tuple[str, MceRecord]:
    """The text of a record, and what it says."""
    if raw:
        return render.raw_text(record), in_raw(record)._replace(inject_flags=0, severity=0)
    event = decode(record, cpus.by_cpuid(record.cpuvendor, record.cpuid))
    return render.event_text(event), in_text(record)._replace(inject_flags=0, severity=0)


printed_records = st.lists(st.tuples(any_record(), st.booleans()), min_size=1, max_size=6)


@settings(deadline=None)
@given(printed_records)
def test_text_says_what_the_record_says(items: list[tuple[MceRecord, bool]]) -> None:
    texts = [printed(record, raw=raw) for record, raw in items]
    found = read(lines_of("".join(text for text, _ in texts)))
    assert passed(found) == []
    assert not any(item.incomplete for item in found if isinstance(item, Assembled))
    for record, (_, expected), (_, raw) in zip(records(found), texts, items, strict=True):
        assert (in_raw(record) if raw else in_text(record)) == expected


@settings(deadline=None)
@given(any_record(), st.booleans())
def test_text_is_stable(record: MceRecord, raw: bool) -> None:
    text, _ = printed(record, raw=raw)
    (again,) = records(read(lines_of(text)))
    text, _ = printed(again, raw=raw)
    (last,) = records(read(lines_of(text)))
    assert printed(last, raw=raw)[0] == text
    if raw or record.cpuid == format_cpuid(*parse_cpuid(record.cpuid)):
        assert text == printed(record, raw=raw)[0]


@settings(deadline=None)
@given(printed_records, st.data())
def test_prefixes_and_foreign_lines_change_nothing(
    items: list[tuple[MceRecord, bool]], data: st.DataObject
) -> None:
    texts = [printed(record, raw=raw)[0] for record, raw in items]
    plain = records(read(lines_of("".join(texts))))
    lines = []
    for line in lines_of("".join(texts)):
        lines.append(data.draw(st.sampled_from(PREFIXES)) + line)
        lines += data.draw(st.lists(st.sampled_from(FOREIGN), max_size=2))
    assert records(read(lines)) == plain


KEYWORDS = """
CPU BANK STATUS MCGSTATUS MISC ADDR TSC TIME RIP PROCESSOR SOCKETID SOCKET APICID APIC MCGCAP SYND IPID PPIN
MICROCODE microcode CPUID Vendor Intel Family Model Step MCE Hardware HARDWARE ERROR Machine Check Exception:
Bank The hardware !INEXACT! 10:<ffffffff81012345> {foo bar} { } THERMAL EVENT northbridge MCG MCi MCA: status:
RIP: (Fields were incomplete) Run the above Kernel panic [Hardware Error]: mce: mcelog: kernel: [T10] [C3]
[12.5] MESSAGE= CPU:2 (19:1:1) MC17_STATUS[-|CE]: MC4_ADDR: IPID: 0x9600150f00, Syndrome: cache level: L1
Ext. Error Code: 0 mce_record: MC5: 8c00004000010090, ADDR/MISC: 1/2, status= bank=2, cpu= {"MESSAGE":"CPU
host 0:306e4 0x 0x5 5 3: 1: 255 be00000000800400 -1 # | > \u00e9 \u0663
"""
words = st.sampled_from([*KEYWORDS.split(), "\0"])
soup = st.lists(
    st.lists(st.one_of(words, words, st.text(max_size=8)), max_size=9).map(
        lambda words: " ".join(words).replace("\n", " ") + "\n"
    ),
    max_size=25,
)


def is_subsequence(part: list[str], whole: Iterator[str]) -> bool:
    return all(line in whole for line in part)


@settings(deadline=None)
@given(st.one_of(soup, st.lists(st.text(alphabet=st.characters()))))
def test_any_text(lines: list[str]) -> None:
    items = read(lines)
    assert is_subsequence(passed(items), iter(lines))
    text = "".join(lines)
    assert len(records(items)) <= sum(text.count(word) for word in ("STATUS", "Bank", "mce_record:"))
    if not records(items):
        assert passed(items) == lines


@settings(deadline=None)
@given(st.lists(st.binary(max_size=200), max_size=20))
def test_any_bytes(data: list[bytes]) -> None:
    lines = [line.decode(errors="surrogateescape") for line in data]
    assert passed(read(lines)) == lines


@pytest.mark.parametrize(
    "line",
    [
        "x" * (1 << 20),
        "TSC 1 " * (1 << 17),
        "CPU 1 BANK 2 STATUS 3 " * (1 << 15),
        "TIME " + "9" * (1 << 20),
        "CPU 3: Machine Check Exception: " + "0" * (1 << 20),
        "RIP 10:<ffffffff81012345> {" + "a " * (1 << 19),
        "[" * (1 << 20),
        " " * (1 << 20),
        "<0>" * (1 << 18),
        "> " * (1 << 19),
        "May 20 12:52:36 host kernel: " * (1 << 15),
        "The hardware reports a non" + " " * (1 << 20),
        "CPUID Vendor " * (1 << 16),
        "\0" * (1 << 20),
        "\udcff" * (1 << 20),
        "mce_record: CPU: 1" + ", MC5: 8" * (1 << 17),
        "mce_record: " + ", status= 8" * (1 << 17),
        '{"MESSAGE":' + "[" * (1 << 20),
        "CPU:2 MC1_STATUS[" + "-|" * (1 << 19),
    ],
    ids=lambda line: line[:20],
)
def test_a_long_line_costs_little(line: str) -> None:
    started = time.process_time()
    items = read([line, HEAD])
    assert time.process_time() - started < 0.5
    assert items[-1] == Assembled(MceRecord(status=0xBE00000000800400, mcgstatus=5, bank=3, extcpu=2))


def test_memory_is_bounded() -> None:
    """Whatever repeats for ever is handed out before long."""
    forever = (
        "TSC 5\n",
        "MCE 0\n",
        "CPU 3\n",
        "CPU 3 BANK 5 \n",
        "Hardware event. This is not a software error.\n",
        "CPU 3: Machine Check\n",
        "CPU 3: Machine Check Exception: 5 Bank 3: be00000000800400\n",
        "TSC 5\nfoo\n",
        "CPU 3 THERMAL EVENT\nfoo\n",
        "MCA: foo\n",
    )
    for text in forever:
        taken = 0

        def lines(text: str = text) -> Iterator[str]:
            nonlocal taken
            for line in itertools.cycle(lines_of(text)):
                taken += 1
                yield line

        got = sum(1 for _ in itertools.islice(assemble(lines()), 5000))
        assert taken - got <= MOST_LINES


def test_many_sources_at_once() -> None:
    heads = [f"[ 1.5][ C{n}] CPU {n}: Machine Check: 0 Bank 1: {n + 1:x}\n" for n in range(500)]
    assert [record.status for record in records(read(heads))] == list(range(1, 501))
