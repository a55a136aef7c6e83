# SPDX-License-Identifier: GPL-2.0-only
"""What is counted, over a reboot and in a storm; and the C program's own test configurations."""

from __future__ import annotations

import time
from collections import Counter
from pathlib import Path

from guest import mce, memory, service, triggers
from guest.clean import SETTINGS
from guest.journal import entries, wait_for_entries
from guest.memory import OwnPage
from guest.registry import scenario
from guest.service import UNIT, message_id
from guest.shell import run, wait_for
from scenarios.durability import IN_FLIGHT, count_stored

FILE = Path("/usr/local/etc/vm-mcelog.conf")
"""Other than those of the guest's project, these stay over a reboot."""
DROP_IN = Path("/etc/systemd/system/mcelog.service.d/settings.conf")
SOFT = (
    SETTINGS + "[page]\nmemory-ce-threshold = 2 / 24h\nmemory-ce-action = soft\nmemory-offline-again = {}\n"
)
MIDDLE = 1 << 30
"""Of the guest's memory: what is free there is so after a reboot as well."""


@scenario(limit=120, boots=3)
def reboots(boot: int) -> None:
    """Counters stay. After it a page is in use, and shown so; or off-lined again, if asked for."""
    if boot == 0:
        FILE.write_text(SOFT.format("no"))
        DROP_IN.parent.mkdir()
        start = f"{service.PROGRAM} --daemon --foreground --config-file {FILE}"
        DROP_IN.write_text(f"[Service]\nExecStart=\nExecStart={start}\n")
        run("systemctl", "daemon-reload")
        run("systemctl", "enable", "--now", UNIT)
        _off_line(next(memory.pages_with(memory.BUDDY, MIDDLE)))
        return
    wait_for(service.is_active, "the enabled service")
    shown = service.client()
    (line,) = [line for line in shown.splitlines() if ": total " in line]
    bad = int(line.partition(":")[0], 16)
    if boot == 1:
        assert f'{bad:x}: total 2 seen "2 in 24h" online triggered' in shown
        assert "\t2 total\n" in shown
        assert not memory.is_poisoned(bad)
        FILE.write_text(SOFT.format("yes"))
        run("systemctl", "restart", UNIT)
        _off_line(bad)
        return
    # The page is marked before the daemon hears that it is.
    wait_for(lambda: f'{bad:x}: total 4 seen "4 in 24h" offline triggered' in service.client(), "its state")
    assert memory.is_poisoned(bad)
    assert "\t4 total\n" in service.client()


def _off_line(bad: int) -> None:
    memory.send_errors(bad, 2)
    wait_for_entries(message_id("PAGE_OFFLINED"))
    assert memory.is_poisoned(bad)
    assert f"{bad:x}: total" in service.client()


@scenario(limit=300)
def storm() -> None:
    """5,000 records as fast as they can be read: few entries in the journal, and not one uncounted."""
    service.configure("storm-threshold = 20 / 10", "storm-summary-seconds = 5")
    service.start()
    began, sent = time.monotonic(), 0
    while sent < 5000:
        room = min(count_stored() + IN_FLIGHT, 5000) - sent
        memory.send_errors(mce.RECORD["addr"], room)
        sent += room
    print(f"5,000 records in {time.monotonic() - began:.1f} s", flush=True)
    service.wait_for_stored(5000, 60)
    ended = wait_for_entries(message_id("STORM_ENDED"), limit=60)
    assert not entries(message_id("RECORDS_LOST")), "the kernel lost records: no valid test"
    told = entries(message_id("CORRECTED_MEMORY_ERROR"))
    sums = [int(entry["MCE_COUNT"]) for entry in entries(message_id("STORM_GOES_ON"))]
    assert len(told) + sum(sums) == 5000, (len(told), sums)
    assert sum(int(entry["MCE_COUNT"]) for entry in ended) == sum(sums)
    assert "5000 total" in service.client()
    all_entries = entries(f"_SYSTEMD_UNIT={UNIT}")
    assert len(all_entries) < 250, Counter(str(entry.get("MESSAGE_ID")) for entry in all_entries)


NEHALEM = "max,vendor=GenuineIntel,family=6,model=26,stepping=5"
ON_UNKNOWN = """
[socket]
bus-uc-threshold-trigger = trigger
iomca-threshold-trigger = trigger
unknown-threshold-trigger = trigger
"""
ON_DIMM = """
[dimm]
dimm-tracking-enabled = yes
ce-error-trigger = trigger
ce-error-threshold = 1 / 1min
uc-error-trigger = trigger
uc-error-threshold = 1 / 1min
"""
ON_SOCKET = (
    ON_DIMM
    + """
[socket]
socket-tracking-enabled = yes
mem-ce-error-trigger = trigger
mem-ce-error-threshold = 1 / 1min
mem-uc-error-trigger = trigger
mem-uc-error-threshold = 1 / 1min
"""
)
SOFT_THEN_HARD = """
[page]
memory-ce-threshold = 1 / 1h
memory-ce-trigger = trigger
memory-ce-action = soft-then-hard
"""
OTHERS = [{"status": status, "misc": 0xABCDEF, "addr": 0xABCD, "bank": 1} for status in (
    0x9C00000000000E0B, 0x9C0000000000040B)]  # fmt: skip
DIMMS = [
    {"status": 0x88000080000000B1, "misc": 1 << 18, "addr": 0, "bank": 2},
    {"status": 0x880000C0000000B2, "misc": 2 << 18, "addr": 0, "bank": 2},
]


@scenario(limit=180, cpu=NEHALEM, device=True)
def c_programs_configurations() -> None:
    """Four of them: as many triggers as it runs."""
    _runs_triggers(ON_UNKNOWN, OTHERS, 3)
    _runs_triggers("cpu = nehalem\nfilter-memory-errors = yes\n" + ON_DIMM, DIMMS, 2)
    _runs_triggers("cpu = nehalem\n" + ON_SOCKET, DIMMS, 4)
    own = [OwnPage() for _ in range(4)]
    bad = [page.address for page in own]
    # MISC says that the address is exact: in this guest, unlike a Nehalem, MCG_CAP says that it does say so.
    errors = [
        {"status": 0x8C000000000000B0, "misc": 0x86, "addr": address, "bank": 2}
        for address in (bad[0], bad[0], *bad)
    ]
    _runs_triggers(SOFT_THEN_HARD, errors, 4)
    assert all(memory.is_poisoned(address) for address in bad)
    assert all(page.is_intact for page in own)
    memory.give_back(*bad)


def _runs_triggers(settings: str, records: list[dict[str, int]], count: int) -> None:
    triggers.settings(f"logfile = {service.LOGFILE}\n{settings}")
    triggers.script("trigger", 'echo "$MESSAGE"')
    service.LOGFILE.unlink(missing_ok=True)
    before = len(entries(message_id("TRIGGER_RUN")))
    stored = len(service.stored())
    service.start()
    for record in records:
        mce.inject(record, to="device")
    service.wait_for_stored(stored + len(records))
    wait_for_entries(message_id("TRIGGER_RUN"), count=before + count)
    time.sleep(1)
    service.stop()
    logged = service.LOGFILE.read_text().count("Running trigger")
    ran = len(entries(message_id("TRIGGER_RUN"))) - before
    assert (logged, ran) == (count, count), settings
    for path in service.DATABASE.parent.glob("*"):
        path.unlink()
