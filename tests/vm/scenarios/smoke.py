# SPDX-License-Identifier: GPL-2.0-only
"""Does the test machine itself work? Nothing of the project is needed for these."""

from __future__ import annotations

import stat
from pathlib import Path

from guest import mce
from guest.registry import scenario
from guest.shell import run, wait_for

EVERY_FIELD = {
    "status": 0x9C00004000010090,
    "misc": 0x0123456789ABCDEF,
    "addr": 0x4C0000040,
    "mcgstatus": 5,
    "ip": 0xFFFFFFFF81000000,
    "tsc": 0x1122334455667788,
    "time": 1700000000,
    "cpuvendor": 2,
    "inject_flags": 0,
    "severity": 2,
    "cpuid": 0xA00F11,
    "cs": 0x10,
    "bank": 255,
    "cpu": 3,
    "socketid": 1,
    "apicid": 0x42,
    "mcgcap": 0x100010A,
    "synd": 0x5D,
    "ipid": 0x9600050F00,
    "ppin": 0xABCDEF0123456789,
    "microcode": 0x0A0011D1,
}


@scenario(project=False)
def systemd_runs() -> None:
    assert Path("/proc/1/comm").read_text() == "systemd\n"
    state = wait_for(
        lambda: run("systemctl", "is-system-running", check=False).stdout.strip() in {"running", "degraded"},
        "the guest to be up",
    )
    assert state
    run("busctl", "--system", "call", "org.freedesktop.DBus", "/", "org.freedesktop.DBus", "GetId")


@scenario(project=False, device=True)
def device_is_there() -> None:
    assert stat.S_ISCHR(mce.DEVICE.stat().st_mode)
    assert mce.read_device() == []


@scenario(project=False, device=True)
def raw_record_keeps_every_field() -> None:
    mce.inject(EVERY_FIELD)
    records = wait_for(mce.read_device, "the record")
    assert [mce.unpack(record) for record in records] == [EVERY_FIELD]


@scenario(project=False, device=True)
def device_write_is_logged() -> None:
    """What a real CPU bank would have said: the kernel fills in everything but these four."""
    mce.inject(mce.RECORD | {"cpu": 1}, to="device")
    (record,) = wait_for(mce.read_device, "the record")
    got = mce.unpack(record)
    kept = {**mce.RECORD, "cpu": 1}
    assert {name: got[name] for name in kept} == kept
    assert got["time"]


@scenario(project=False)
def raw_record_is_traced() -> None:
    """The same record as a trace event: what kernels without /dev/mcelog have."""
    instance = Path("/sys/kernel/tracing/instances/smoke")
    instance.mkdir()
    try:
        (instance / "events/mce/mce_record/enable").write_text("1")
        mce.inject(EVERY_FIELD)
        line = wait_for(lambda: _traced(instance), "the trace event")
    finally:
        instance.rmdir()
    assert "9c00004000010090" in line
    assert "a00f11" in line


def _traced(instance: Path) -> str:
    lines = (instance / "trace").read_text().splitlines()
    return next((line for line in lines if "mce_record:" in line), "")
