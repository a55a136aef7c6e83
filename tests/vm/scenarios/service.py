# SPDX-License-Identifier: GPL-2.0-only
"""The daemon as a systemd service: a record's way from the kernel to everyone who asks."""

from __future__ import annotations

import signal
import time
from os import kill
from pathlib import Path

from guest import mce, service
from guest.journal import entries, wait_for_entries
from guest.registry import scenario
from guest.service import PROGRAM, UNIT, message_id
from guest.shell import run, wait_for

INTEL_RECORD = {
    "status": 0x8C00004000010091,
    "misc": 0x86,
    "addr": 0x4C0000040,
    "mcgstatus": 0,
    "ip": 0,
    "tsc": 0x1122334455,
    "time": 1700000000,
    "cpuvendor": 0,
    "cpuid": 0x606A6,
    "bank": 13,
    "cpu": 1,
    "socketid": 1,
    "apicid": 0x42,
    "mcgcap": 0x0F000C14,
    "ppin": 0xABCDEF0123456789,
    "microcode": 0x0D0003A5,
}
ITS_FIELDS = {
    "SYSLOG_IDENTIFIER": "mcelog",
    "PRIORITY": "4",
    "MCE_KIND": "memory",
    "MCE_SEVERITY": "corrected",
    "MCE_STATUS": "0x8c00004000010091",
    "MCE_MISC": "0x86",
    "MCE_ADDR": "0x4c0000040",
    "MCE_MCGSTATUS": "0x0",
    "MCE_MCGCAP": "0xf000c14",
    "MCE_TSC": "0x1122334455",
    "MCE_TIME": "1700000000",
    "MCE_CPU": "1",
    "MCE_BANK": "13",
    "MCE_SOCKET": "1",
    "MCE_CHANNEL": "1",
    "MCE_APICID": "66",
    "MCE_CPUID": "0x606a6",
    "MCE_PPIN": "0xabcdef0123456789",
    "MCE_MICROCODE": "0xd0003a5",
    "MCE_PAGE": "0x4c0000000",
    # The one DIMM that QEMU describes.
    "MCE_DIMM_LABEL": "DIMM 0",
    "_SYSTEMD_UNIT": UNIT,
}
ABSENT = ("MCE_IP", "MCE_SYND", "MCE_IPID", "MCE_DIMM")


@scenario()
def starts_and_stops() -> None:
    """systemctl start mcelog: ready, says what it reads, ends cleanly."""
    service.start()
    assert service.is_active()
    assert service.prop("Type") == "notify"
    assert str(mce.source()) in service.prop("StatusText")
    wait_for_entries(message_id("SERVICE_STARTED"))
    service.stop()
    assert (service.prop("Result"), service.prop("ExecMainStatus")) == ("success", "0")
    wait_for_entries(message_id("SERVICE_STOPPED"))
    noise = [entry["MESSAGE"] for entry in entries(f"_SYSTEMD_UNIT={UNIT}") if int(entry["PRIORITY"]) < 5]
    assert not noise, noise


@scenario()
def journal_fields() -> None:
    """Every field of a record arrives in its journal entry; what is not known is absent."""
    service.start()
    mce.inject(INTEL_RECORD)
    (entry,) = wait_for_entries(message_id("CORRECTED_MEMORY_ERROR"))
    lacking = mce.lacking()
    absent = {*ABSENT, *(f"MCE_{name.upper()}" for name in lacking)}
    expected = {name: value for name, value in ITS_FIELDS.items() if name not in absent}
    wrong = {name: entry.get(name) for name, value in expected.items() if entry.get(name) != value}
    assert not wrong, f"{wrong}, not { ({name: expected[name] for name in wrong}) }"
    assert not [name for name in absent if name in entry]
    (record,) = service.wait_for_stored(1)
    assert record == {**record, **INTEL_RECORD, **dict.fromkeys(lacking, 0)}
    assert "STATUS 8c00004000010091" in entry["MCE_DECODED"]


@scenario()
def client_counts() -> None:
    """mcelog --client shows the errors where they were."""
    service.start()
    mce.inject(INTEL_RECORD, "--count", "3")
    service.wait_for_stored(3)
    text = wait_for(service.client, "an answer")
    lines = [line.strip() for line in text.splitlines()]
    assert "SOCKET 1 CHANNEL 1 DIMM any" in lines, text
    assert "3 total" in lines, text
    assert run(PROGRAM, "--ping").returncode == 0


@scenario()
def log_file() -> None:
    """The decoded text goes to the configured log file; SIGUSR1 opens it anew."""
    service.configure(f"logfile = {service.LOGFILE}")
    service.start()
    mce.inject(INTEL_RECORD)
    wait_for(lambda: _logged("STATUS 8c00004000010091"), "the record in the log file")
    service.LOGFILE.rename("/var/log/mcelog.1")
    run("systemctl", "reload", UNIT)
    mce.inject(INTEL_RECORD | {"addr": 0x4D0000000})
    wait_for(lambda: _logged("ADDR 4d0000000"), "the record in the new log file")


def _logged(text: str) -> bool:
    return service.LOGFILE.exists() and text in service.LOGFILE.read_text()


@scenario(device=True)
def real_device_write() -> None:
    """A record injected as the kernel's own tools do it, not through the test module."""
    service.start()
    mce.inject(mce.RECORD | {"cpu": 1}, to="device")
    (entry,) = wait_for_entries(message_id("CORRECTED_MEMORY_ERROR"))
    assert (entry["MCE_BANK"], entry["MCE_CPU"], entry["MCE_ADDR"]) == ("7", "1", "0x4c0000000")


@scenario()
def pending_records_are_read() -> None:
    """What the kernel logged before the start is not lost."""
    mce.inject(INTEL_RECORD, "--count", "20", "--step", "addr=4096")
    service.start()
    records = service.wait_for_stored(20)
    found = [one["addr"] for one in records]
    # the trace event has a buffer for each CPU, read one after the other; the injector may change its CPU
    assert (found if mce.DEVICE.exists() else sorted(found)) == [
        INTEL_RECORD["addr"] + 4096 * number for number in range(20)
    ]


@scenario(device=True)
def kernel_overflow_is_told() -> None:
    """More than the kernel keeps: what it kept is stored, and that there was more is said."""
    service.configure(f"logfile = {service.LOGFILE}")
    mce.inject(INTEL_RECORD, "--count", "100", "--step", "addr=4096")
    service.start()
    records = service.wait_for_stored(32)
    wait_for_entries(message_id("RECORDS_LOST"))
    assert len(records) == 32
    assert "lost" in service.prop("StatusText")
    wait_for(lambda: _logged("Warning: MCE buffer is overflowed."), "the C program's words in the log file")


@scenario(device=True)
def overflow_of_a_running_daemon() -> None:
    """A daemon that slept through a burst says so when it wakes up."""
    service.start()
    pid = service.main_pid()
    kill(pid, signal.SIGSTOP)
    mce.inject(INTEL_RECORD, "--count", "60", "--step", "addr=4096")
    kill(pid, signal.SIGCONT)
    wait_for_entries(message_id("RECORDS_LOST"))
    assert len(service.wait_for_stored(32)) >= 32
    assert service.main_pid() == pid


@scenario(limit=120)
def watchdog_restarts_it() -> None:
    """Stopped dead, it is killed by the watchdog and started again, and goes on counting."""
    service.drop_in("Service", "WatchdogSec=5s")
    service.start()
    mce.inject(INTEL_RECORD)
    service.wait_for_stored(1)
    stuck = service.main_pid()
    kill(stuck, signal.SIGSTOP)
    mce.inject(INTEL_RECORD)
    service.wait_for_successor(stuck)
    assert service.prop("NRestarts") == "1"
    assert len(service.wait_for_stored(2)) == 2
    assert "2 total" in service.client()


@scenario()
def uses_no_time_when_idle() -> None:
    """Nothing to read, nothing done: no busy loop, no timer but the watchdog's."""
    service.start()
    time.sleep(2)
    before = _cpu_ticks(service.main_pid())
    time.sleep(10)
    used = _cpu_ticks(service.main_pid()) - before
    assert used <= 10, f"{used} ticks in 10 s"


def _cpu_ticks(pid: int) -> int:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


@scenario(limit=120, boots=2)
def survives_reboot(boot: int) -> None:
    """Enabled, it is there after a reboot, with the counts of before."""
    if boot == 0:
        run("systemctl", "enable", "--now", UNIT)
        mce.inject(INTEL_RECORD, "--count", "2")
        service.wait_for_stored(2)
        return
    wait_for(service.is_active, "the enabled service")
    mce.inject(INTEL_RECORD)
    service.wait_for_stored(3)
    assert "3 total" in service.client()
