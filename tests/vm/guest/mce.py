# SPDX-License-Identifier: GPL-2.0-only
"""Machine-check records in the guest: sending them, and the kernel's two ways of handing them over."""

from __future__ import annotations

import functools
import importlib.machinery
import importlib.util
import os
import select
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from guest.shell import run

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from types import ModuleType

DEVICE = Path("/dev/mcelog")
TRACING = Path("/sys/kernel/tracing")
INSTANCE = TRACING / "instances/mcelog"
EVENT = INSTANCE / "events/mce/mce_record"
TRACEFS_MOUNT = "sys-kernel-tracing.mount"
PROGRAM = "/usr/sbin/mcelog"
LOG_BYTES = 128 * 64
"""At least the kernel's whole log: a read with less room is refused."""

CORRECTED_MEMORY = 0x8C00004000010090
"""A corrected memory read error, channel 0, one error counted, with address and misc."""

RECORD = {"status": CORRECTED_MEMORY, "misc": 0x86, "addr": 0x4C0000000, "bank": 7, "cpuid": 0x606A6}
"""One such error, beyond the guest's memory: nothing happens to a page."""


@functools.cache
def tool() -> ModuleType:
    """inject-mce as a module."""
    loader = importlib.machinery.SourceFileLoader("inject_mce", "/usr/local/bin/inject-mce")
    spec = importlib.util.spec_from_loader("inject_mce", loader)
    assert spec
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


def unpack(record: bytes) -> dict[str, int]:
    """Every field of one record."""
    fields: dict[str, int] = tool().unpack(record)
    return fields


def inject(fields: Mapping[str, int], *options: str, to: str = "raw") -> None:
    """Send records through the kernel; fields as the options of inject-mce name them."""
    named = [word for name, value in fields.items() for word in (f"--{name.replace('_', '-')}", hex(value))]
    run("/usr/local/bin/inject-mce", "--to", to, *named, *options, limit=60)


def read_device() -> list[bytes]:
    """Take everything the kernel has logged."""
    device = os.open(DEVICE, os.O_RDONLY)
    try:
        data = os.read(device, LOG_BYTES)
    finally:
        os.close(device)
    return [data[at : at + 128] for at in range(0, len(data), 128)]


def source() -> Path:
    """What mcelog reads on this kernel: the device, or the trace instance that it makes."""
    return DEVICE if DEVICE.exists() else INSTANCE


@contextmanager
def no_device() -> Iterator[None]:
    """The device's node is away meanwhile, if there is one."""
    away = DEVICE.with_name("mcelog.away")
    there = DEVICE.exists()
    if there:
        DEVICE.rename(away)
    try:
        yield
    finally:
        if there:
            away.rename(DEVICE)


@contextmanager
def no_source() -> Iterator[None]:
    """Neither is there: as on a kernel that tells nobody of machine checks."""
    run("systemctl", "stop", TRACEFS_MOUNT)
    try:
        with no_device():
            yield
    finally:
        run("systemctl", "start", TRACEFS_MOUNT)


def drain() -> None:
    """Nothing of before is left in the kernel; from here on it buffers, whether mcelog runs or not."""
    if DEVICE.exists():
        while read_device():
            pass
    if INSTANCE.is_dir():
        INSTANCE.rmdir()
    if not DEVICE.exists() and Path(PROGRAM).exists():
        run(PROGRAM, "--prepare-source")


def lacking() -> set[str]:
    """Fields of a record that this kernel does not hand over: the trace event has these since Linux 6.10."""
    if DEVICE.exists():
        return set()
    has = (EVENT / "format").read_text()
    return {name for name in ("ppin", "microcode") if f" {name};" not in has}


def pending() -> bool:
    """Whether the kernel holds records that nobody has read, without taking them."""
    if DEVICE.exists():
        with DEVICE.open("rb", buffering=0) as device:
            return bool(select.select([device], [], [], 0)[0])
    return any(_entries(stats.read_text()) for stats in INSTANCE.glob("per_cpu/cpu*/stats"))


def _entries(stats: str) -> int:
    return next(int(line.split()[1]) for line in stats.splitlines() if line.startswith("entries:"))


def send_raw(fields: Mapping[str, int]) -> None:
    """As inject() does, without a process for it: for many records one by one."""
    node = os.open(tool().RAW, os.O_WRONLY)
    try:
        os.write(node, tool().pack(fields))
    finally:
        os.close(node)
