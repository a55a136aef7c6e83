# SPDX-License-Identifier: GPL-2.0-only
"""Machine checks from before the daemon ran, read within its sandbox: kernel messages and pstore."""

from __future__ import annotations

import importlib
import json
import shutil
import sys
import time
from pathlib import Path

from guest import journal, mce, service
from guest.registry import Skip, scenario
from guest.shell import run, wait_for

ARCHIVE = Path("/var/lib/systemd/pstore/1795373294/001")
TRACEFS = Path("/sys/kernel/tracing")
LABELS = "events/ras/mc_event"
READER = Path("/run/mcelog-earlier.py")
READ = """
import json, time
from pathlib import Path
from mcelogd.earlier import pstore
from mcelogd.earlier.gather import gather
boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
begin = time.monotonic()
g = gather(pstore.ROOTS, boot, (), int(time.time()), most_age=1 << 40)
found = [[one.record.hex(), one.origin, one.when, one.source, one.incomplete] for one in g.found]
print(json.dumps({"found": found, "problems": g.problems, "whole": g.has_kernel_log,
                  "seconds": time.monotonic() - begin}))
"""
PANIC = """\
Panic#1 Part1
<0>[  812.004431] mce: [Hardware Error]: CPU 2: Machine Check Exception: 5 Bank 3: be00000000800400
<0>[  812.004436] mce: [Hardware Error]: TSC 1c9f0a2b3d4 ADDR fee00 MISC 86
<0>[  812.004440] mce: [Hardware Error]: PROCESSOR 0:306e4 TIME 1700000000 SOCKET 1 APIC 4 microcode 428
"""


@scenario(append="mce=print_all", limit=120, device=True)
def within_the_sandbox() -> None:
    """journalctl runs there, and nothing of it is closed; what the device gave is known for the same."""
    for number in (1, 2):
        mce.inject(mce.RECORD | {"cpu": 1, "tsc": 1000 + number, "addr": number << 20, "time": 1700000000})
    wait_for(lambda: "Bank 7" in run("journalctl", "-kb", quiet=True).stdout, "the kernel's messages")
    ARCHIVE.mkdir(parents=True)
    dump = ARCHIVE / "dmesg-efi-179537329401001"
    dump.write_text(PANIC)
    dump.chmod(0o600)
    READER.write_text(READ)
    try:
        service.drop_in(
            "Service", "Type=oneshot", "WatchdogSec=0", "ExecStart=", f"ExecStart=/usr/bin/python3 {READER}"
        )
        service.start()
        said = run("journalctl", "-b", "-u", service.UNIT, "-o", "cat", "--grep", "^{.found").stdout
    finally:
        shutil.rmtree(ARCHIVE.parent)
        READER.unlink()
    result = json.loads(said.splitlines()[-1])
    assert (result["problems"], result["whole"]) == ([], True), result
    assert [one[1] for one in result["found"]] == ["pstore", "kernel-log", "kernel-log"], result
    assert result["seconds"] < 20, result
    _assert_known([bytes.fromhex(one[0]) for one in result["found"]])


def _assert_known(found: list[bytes]) -> None:
    """Of the records only the panic's is news to who read the device."""
    sys.path.append("/usr/lib/python3/dist-packages")
    merge = importlib.import_module("mcelogd.earlier.merge")
    origins = importlib.import_module("mcelogd.earlier.found")
    record = importlib.import_module("mcelogd.record")
    form = record.layout(128)
    read = [form.parse(data) for data in wait_for(mce.read_device, "the records")]
    assert [one.addr for one in read] == [1 << 20, 2 << 20]
    all_of_it = [origins.Found(data, origins.Origin.PSTORE, form.parse(data).time, "") for data in found]
    assert [one.record for one in merge.unseen(all_of_it, read)] == found[:1]
    assert len(merge.unseen(all_of_it, [])) == 3


def _wait_for_messages(count: int) -> None:
    wait_for(
        lambda: run("journalctl", "-kb", quiet=True).stdout.count("Bank 7") == count, "the kernel's messages"
    )


@scenario(append="mce=print_all", alone=True, limit=180)
def found_by_the_service() -> None:
    """What the kernel printed and somebody else read is counted once, what waits in the device is no news."""
    now = int(time.time())
    for number in (1, 2, 3):
        if number == 3:
            _wait_for_messages(2)
            mce.drain()
        changes = {"cpu": 1, "tsc": 1000 + number, "addr": number << 20, "time": now - 10}
        mce.inject(mce.RECORD | changes)
    _wait_for_messages(3)
    ARCHIVE.mkdir(parents=True)
    dump = ARCHIVE / "dmesg-efi-179537329401001"
    dump.write_text(PANIC.replace("TIME 1700000000", f"TIME {now - 86400}"))
    dump.chmod(0o600)
    config = service.CONFIG.read_text()
    service.CONFIG.write_text(config.replace("earlier-records = no", "earlier-records = yes"))
    try:
        service.start()
        service.wait_for_stored(4)
        wait_for(lambda: not list(Path("/var/lib/mcelog/earlier").glob("spool-*")), "the end of it")
        service.stop()
        service.start()
        run("sleep", "5")
    finally:
        shutil.rmtree(ARCHIVE.parent)
    assert sorted(record["addr"] for record in service.stored()) == [0xFEE00, 1 << 20, 2 << 20, 3 << 20]
    entries = [one for one in journal.entries("_SYSTEMD_UNIT=mcelog.service") if "MCE_STATUS" in one]
    origins = {int(one["MCE_ADDR"], 16): one.get("MCE_ORIGIN") for one in entries}
    assert origins == {3 << 20: None, 1 << 20: "kernel-log", 2 << 20: "kernel-log", 0xFEE00: "pstore"}, (
        origins
    )
    assert len(entries) == 4, entries
    assert not journal.entries(service.message_id("RECORDS_MISSING"))
    shown = run("mcelogctl", "events").stdout
    assert "found in pstore" in shown, shown


@scenario(device=False)
def labels_of_edac_drivers() -> None:
    """This kernel's mc_event has what is needed of it, and is switched on where the records come from."""
    if not (TRACEFS / LABELS).is_dir():
        raise Skip("this kernel has no trace event ras:mc_event")
    sys.path.append("/usr/lib/python3/dist-packages")
    published = importlib.import_module("mcelogd.ring.format")
    labels = importlib.import_module("mcelogd.ring.mc_event")
    text = (TRACEFS / LABELS / "format").read_text()
    print(text, flush=True)
    labels.McEventFormat(published.parse_event(text))
    run(service.PROGRAM, "--source", "tracefs", "--prepare-source")
    enabled = TRACEFS / "instances/mcelog" / LABELS / "enable"
    assert enabled.read_text().strip() == "1"
