#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""How fast records are decoded to text, side by side with the C program.

    MCELOG_C=/path/to/mcelog bench/decode.py [RECORDS]

Both programs get the same log, in turns, a process each; what is compared is
the processor time they and the kernel spent on it (the wall time is shown
too, but counts whatever else the machine did). Each ratio is the median of
those of the rounds; above 1 is faster than the C program.
"""

from __future__ import annotations

import os
import random
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from mcelogd import cpu, render
from mcelogd.decode.cache import CachedDecoder
from mcelogd.record import LENGTH, MceRecord, layout, pack

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).parent.parent
MCELOG_C = os.environ.get("MCELOG_C", "")
RECORDS = 200_000
ROUNDS = 5
CODES = (0x90, 0x91, 0xC0, 0x134, 0x17A, 0x400, 0x5, 0x80F)
CPUID = 0x50654
COMMAND = [sys.executable, "-m", "mcelogd"]


class Spent(NamedTuple):
    """Seconds of a processor (its own and the kernel's) and of the clock, and MB of memory at most."""

    cpu: float
    wall: float
    memory: float = 0.0


def main() -> None:
    count = int(sys.argv[1]) if len(sys.argv) > 1 else RECORDS
    if not MCELOG_C:
        print("MCELOG_C does not name a C mcelog (v208): no ratios, only our own times")
    print(f"{count} records, {ROUNDS} rounds; us: processor time per record, ours and C's")
    print(f"{'':30} {'us':>7} {'us of C':>8} {'ratio':>6} {'wall':>6} {'MB':>5}")
    with tempfile.TemporaryDirectory() as scratch:
        for title, distinct in (("64 statuses", False), ("all distinct", True)):
            log, binary = Path(scratch) / "log", Path(scratch) / "binary"
            with log.open("w") as text, binary.open("wb") as data:
                for number, record in enumerate(records(count, distinct=distinct)):
                    text.write(kernel_lines(number, record))
                    data.write(pack(record))
            compare(f"log, {title}", count, [*COMMAND, "--ascii", "--file", str(log)], log)
            compare(f"binary records, {title}", count, binary, log)


def records(count: int, *, distinct: bool) -> Iterator[MceRecord]:
    """Memory, cache, bus and internal errors of one machine; the same ones each time."""
    chance = random.Random(count)
    statuses = [status(chance) for _ in range(64)]
    for number in range(count):
        processor = chance.randrange(64)
        yield MceRecord(
            status=status(chance) if distinct else chance.choice(statuses),
            misc=chance.getrandbits(40) if distinct else 0x86,
            addr=chance.getrandbits(38),
            tsc=chance.getrandbits(44),
            time=1_700_000_000 + number // 50,
            cpuid=CPUID,
            bank=chance.choice((1, 5, 7, 13)),
            extcpu=processor,
            socketid=processor >> 5,
            apicid=processor,
            mcgcap=0,
        )


def status(chance: random.Random) -> int:
    """VAL, MISCV and ADDRV, a corrected count, a model's code, an MCACOD."""
    return 0x8C << 56 | chance.getrandbits(15) << 38 | chance.getrandbits(16) << 16 | chance.choice(CODES)


def kernel_lines(number: int, record: MceRecord) -> str:
    """What Linux prints (arch/x86/kernel/cpu/mce/core.c), as far as the C program reads it."""
    before = f"[{number / 100:12.6f}] mce: [Hardware Error]: "
    return (
        f"{before}CPU {record.cpu}: Machine Check: 0 Bank {record.bank}: {record.status:016x}\n"
        f"{before}TSC {record.tsc:x} ADDR {record.addr:x} MISC {record.misc:x} \n"
        f"{before}PROCESSOR 0:{record.cpuid:x} TIME {record.time} SOCKET {record.socketid}"
        f" APIC {record.apicid:x} microcode 2006e05\n"
    )


def compare(title: str, count: int, work: list[str] | Path, log: Path) -> None:
    """One line: the medians of times and of ratios."""
    ours, theirs = [], []
    for _ in range(ROUNDS):
        ours.append(run(work) if isinstance(work, list) else decode_all(work.read_bytes()))
        if MCELOG_C:
            theirs.append(run([MCELOG_C, "--no-dmi", "--ascii", "--file", str(log)]))
    shown = f"{title:30} {median(spent.cpu for spent in ours) / count * 1e6:7.2f}"
    if theirs:
        pairs = list(zip(theirs, ours, strict=True))
        shown += f" {median(spent.cpu for spent in theirs) / count * 1e6:8.2f}"
        shown += f" {median(c.cpu / own.cpu for c, own in pairs):6.2f}"
        shown += f" {median(c.wall / own.wall for c, own in pairs):6.2f}"
    else:
        shown += f" {'-':>8} {'-':>6} {'-':>6}"
    print(shown, f"{max(spent.memory for spent in ours):5.0f}" if isinstance(work, list) else f"{'-':>5}")


def median(values: Iterator[float]) -> float:
    return statistics.median(values)


def run(command: list[str]) -> Spent:
    """What a process costs whose output nobody reads."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    start = time.perf_counter()
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.DEVNULL) as process:
        _, _, own = os.wait4(process.pid, 0)
        process.returncode = 0
    wall = time.perf_counter() - start
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    spent = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return Spent(spent, wall, own.ru_maxrss / 1024)


def decode_all(data: bytes) -> Spent:
    """The daemon's way: layout, decoder, text."""
    cached = CachedDecoder()
    start, clock = time.process_time(), time.perf_counter()
    with open(os.devnull, "w") as out:  # noqa: PTH123
        for record in layout(LENGTH).parse_all(data):
            event = cached.decode(record, cpu.by_cpuid(record.cpuvendor, record.cpuid))
            out.write(render.event_text(event))
    return Spent(time.process_time() - start, time.perf_counter() - clock)


if __name__ == "__main__":
    main()
