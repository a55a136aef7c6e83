#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""Journals of many machines, as a collector has them: what questions about them cost.

    bench/fleet.py DIRECTORY [ENTRIES [MACHINES]]

makes the journals, by systemd-journal-remote, one file a machine: ENTRIES corrected memory errors (1000000)
with all their fields, spread over the week before now, of MACHINES (100) with eight DIMMs each that fail at
very different rates; and a tenth as many entries of other programs. Prints what was made, as JSON: for each
machine and DIMM how many errors. Then ask, twice, and see what it takes:

    time mcelogctl events -D DIRECTORY --by dimm -s corrected --since -7d --more-than 1000
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from typing import IO, NamedTuple

sys.path.insert(0, str(Path(__file__).parent.parent))

from mcelogd import cpu, decode, report
from mcelogd.record import MceRecord

JOURNAL_REMOTE = "/lib/systemd/systemd-journal-remote"
WEEK = 7 * 86400 * 1_000_000
DIMMS = 8
ADDRESS = 0x4C0000000
TIME = 1_795_000_000
"""Of the entries' patterns; each entry has its own, of the same length."""


JOURNALD = {
    "SYSLOG_IDENTIFIER": "mcelog",
    "_TRANSPORT": "journal",
    "_UID": "0",
    "_GID": "0",
    "_PID": "612",
    "_COMM": "mcelog",
    "_EXE": "/usr/bin/python3",
    "_CAP_EFFECTIVE": "200000",
    "_SYSTEMD_CGROUP": "/system.slice/mcelog.service",
    "_SYSTEMD_UNIT": "mcelog.service",
    "_SYSTEMD_SLICE": "system.slice",
}
"""What journald adds."""


class Machine(NamedTuple):
    number: int

    @property
    def name(self) -> str:
        return f"node{self.number:05}"

    @property
    def id(self) -> str:
        return f"{0xFACE << 112 | self.number:032x}"


def main() -> None:
    directory = Path(sys.argv[1])
    entries, machines = (int(text) for text in (*sys.argv[2:], "1000000", "100")[:2])
    directory.mkdir(exist_ok=True)
    made: dict[str, dict[str, int]] = {}
    share, more = divmod(entries, machines)
    for number in range(machines):
        machine = Machine(number)
        made[machine.name] = write(directory, machine, share + (number < more))
    json.dump(made, sys.stdout)


def write(directory: Path, machine: Machine, count: int) -> dict[str, int]:
    """The journal of one machine; errors of each DIMM by its label."""
    command = [JOURNAL_REMOTE, "-o", str(directory / f"remote-{machine.name}.journal"), "-"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as writer:
        assert writer.stdin is not None
        found = _feed(writer.stdin, machine, count)
    assert writer.returncode == 0
    return dict(found)


def _feed(to: IO[bytes], machine: Machine, count: int) -> Counter[str]:
    """DIMM n has half as many errors as DIMM n - 1."""
    templates = [_template(machine, dimm) for dimm in range(DIMMS)]
    found: Counter[str] = Counter()
    begin = int(time.time() * 1e6) - WEEK + 60_000_000
    step = (WEEK - 120_000_000) // max(count, 1)
    for number in range(count):
        dimm = min(DIMMS - 1, ((number + 1) & -(number + 1)).bit_length() - 1)
        label = f"CPU0_DIMM_{'ABCDEFGH'[dimm]}1"
        found[label] += 1
        stamp = begin + number * step
        page = ADDRESS + (0x10000 * dimm + (number * 37) % 4096 << 12)
        entry = templates[dimm].replace(b"%x" % ADDRESS, b"%x" % page)
        entry = entry.replace(b"%d" % TIME, b"%d" % (stamp // 1_000_000))
        to.write(_clock(machine, stamp) + entry)
        to.write(b"MCE_EVENT_ID=%d\nMCE_COUNT=%d\n\n" % (number + 1, found[label]))
        if number % 10 == 0:
            to.write(
                _clock(machine, stamp + 1) + b"MESSAGE=something else\nSYSLOG_IDENTIFIER=other\n_UID=0\n\n"
            )
    return found


def _clock(machine: Machine, stamp: int) -> bytes:
    return (
        f"__REALTIME_TIMESTAMP={stamp}\n__MONOTONIC_TIMESTAMP={stamp - 1_700_000_000_000_000}\n"
        f"_BOOT_ID={machine.id}\n_MACHINE_ID={machine.id}\n_HOSTNAME={machine.name}\n"
    ).encode()


def _template(machine: Machine, dimm: int) -> bytes:
    """What entries of a DIMM have in common, in the journal's export format."""
    record = MceRecord(
        status=0x8C00004000010090 + dimm // 2,
        misc=0x200000C086,
        addr=ADDRESS,
        time=TIME,
        cpuid=0x606A6,
        bank=13 + dimm // 2,
        extcpu=dimm,
        socketid=0,
        mcgcap=0xF000C20,
        ppin=machine.number + 1,
    )
    event = decode.decode(record, cpu.by_cpuid(record.cpuvendor, record.cpuid))
    fields = dict(report.fields(event, labels=[f"CPU0_DIMM_{'ABCDEFGH'[dimm]}1"]))
    fields |= {"MCE_LOCATION": f"socket 0 channel {dimm // 2} DIMM {dimm % 2}"}
    fields |= {"MCE_CHANNEL": str(dimm // 2), "MCE_DIMM": str(dimm % 2)}
    return b"".join(_exported(name, str(value)) for name, value in (fields | JOURNALD).items())


def _exported(name: str, value: str) -> bytes:
    data = value.encode()
    if b"\n" not in data:
        return f"{name}={value}\n".encode()
    return name.encode() + b"\n" + len(data).to_bytes(8, "little") + data + b"\n"


if __name__ == "__main__":
    main()
