# SPDX-License-Identifier: GPL-2.0-only
"""MSR_ERROR_CONTROL of a scratch /dev: files in place of the MSR devices, which behave well or badly."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mcelogd import cpu
from mcelogd.act.imc_log import MSR_ERROR_CONTROL, enable, format_cpus, lockdown_mode

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SANDY_BRIDGE_EP = 0x2D
CPUINFO = "processor\t: 0\nvendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: {}\nmodel name\t: Xeon\n"


class Machine:
    """A scratch /dev and /sys with four CPUs, the last of them offline."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.roots = (str(directory / "dev"), str(directory / "sys"))
        self.msrs = [directory / f"dev/cpu/{number}/msr" for number in range(4)]
        for number, msr in enumerate(self.msrs):
            msr.parent.mkdir(parents=True)
            if number < 3:
                self.set(number, 0x10 + number)
        cpus = directory / "sys/devices/system/cpu"
        cpus.mkdir(parents=True)
        (cpus / "online").write_text("0-2\n")

    def set(self, number: int, value: int) -> None:
        self.msrs[number].write_bytes(bytes(MSR_ERROR_CONTROL) + value.to_bytes(8, "little") + b"more")

    def get(self, number: int) -> int:
        data = self.msrs[number].read_bytes()
        assert data[:MSR_ERROR_CONTROL] == bytes(MSR_ERROR_CONTROL)
        assert data[-4:] == b"more"
        return int.from_bytes(data[MSR_ERROR_CONTROL:-4], "little")

    def replace(self, number: int, target: str) -> None:
        self.msrs[number].unlink()
        self.msrs[number].symlink_to(target)

    def lock_down(self, text: str) -> None:
        path = self.directory / "sys/kernel/security/lockdown"
        path.parent.mkdir(parents=True)
        path.write_text(text)

    def enable(self, model: int = SANDY_BRIDGE_EP) -> list[str]:
        return enable(*self.roots, cpu.by_signature(cpu.Vendor.INTEL, 6, model))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.mark.parametrize("model", [0x2D, 0x3E, 0x3F])
def test_sets_the_bit_of_every_online_cpu_and_no_other_bit(machine: Machine, model: int) -> None:
    machine.set(2, 0x8000_0000_0000_0001)
    assert machine.enable(model) == []
    assert [machine.get(number) for number in range(3)] == [0x12, 0x13, 0x8000_0000_0000_0003]
    assert not machine.msrs[3].exists()


@pytest.mark.parametrize("model", [0x2A, 0x3A, 0x3C, 0x4F, 0x55, 0x6A, 0x8F])
def test_leaves_other_cpus_alone(machine: Machine, model: int) -> None:
    assert machine.enable(model) == []
    assert machine.get(0) == 0x10


def test_other_vendors_are_left_alone(machine: Machine) -> None:
    for kind in (cpu.GENERIC, cpu.by_signature(cpu.Vendor.AMD, 0x19, 1), cpu.by_signature(99, 6, 0x2D)):
        assert enable(*machine.roots, kind) == []
    assert machine.get(0) == 0x10


@contextlib.contextmanager
def sealed_msr(machine: Machine, number: int, value: int) -> Iterator[None]:
    """A register that can be opened and read, but every write is EPERM, to root as well."""
    memory = os.memfd_create("msr", os.MFD_ALLOW_SEALING)
    os.write(memory, bytes(MSR_ERROR_CONTROL) + value.to_bytes(8, "little"))
    fcntl.fcntl(memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_WRITE)
    machine.replace(number, f"/proc/{os.getpid()}/fd/{memory}")
    yield
    os.close(memory)


def test_a_bit_that_is_set_is_not_written_again(machine: Machine) -> None:
    with sealed_msr(machine, 1, 0x2):
        assert machine.enable() == []


def test_a_write_that_is_forbidden_says_what_it_takes(machine: Machine) -> None:
    with sealed_msr(machine, 0, 0):
        (problem,) = machine.enable()
    assert problem.startswith("cannot set MSR_ERROR_CONTROL of CPU 0: Operation not permitted; ")
    assert "msr.allow_writes" in problem


@pytest.mark.parametrize(
    ("target", "said"),
    [
        ("/dev/zero", "the bit does not stay set, as in a virtual machine"),
        ("/dev/null", "it cannot be read"),
        ("/dev/full", "No space left on device"),
        ("/dev", "Is a directory"),
        ("/proc/self/mem", os.strerror(errno.EIO) + "; the CPU has no such register"),
        ("/nowhere", "No such file or directory; is the msr driver there (modprobe msr)?"),
    ],
)
def test_each_failure_is_one_line_and_stops_no_other_cpu(machine: Machine, target: str, said: str) -> None:
    machine.replace(0, target)
    machine.replace(1, target)
    (problem,) = machine.enable()
    assert problem.startswith(f"cannot set MSR_ERROR_CONTROL of CPU 0-1: {said}")
    assert machine.get(2) == 0x12


def test_different_failures_are_different_lines(machine: Machine) -> None:
    machine.replace(0, "/dev/zero")
    machine.replace(2, "/dev/full")
    assert [line.partition(":")[0].rpartition(" ")[2] for line in machine.enable()] == ["0", "2"]
    assert machine.get(1) == 0x13


@pytest.mark.parametrize("mode", ["integrity", "confidentiality"])
def test_lockdown_is_respected(machine: Machine, mode: str) -> None:
    modes = ("none", "integrity", "confidentiality")
    machine.lock_down(" ".join(f"[{word}]" if word == mode else word for word in modes) + "\n")
    (problem,) = machine.enable()
    assert f"locked down ({mode})" in problem
    assert machine.get(0) == 0x10


def test_no_lockdown_hinders_nothing(machine: Machine) -> None:
    machine.lock_down("[none] integrity confidentiality\n")
    assert machine.enable() == []
    assert machine.get(0) == 0x12
    assert lockdown_mode("") == lockdown_mode("nonsense") == lockdown_mode("[") == ""


def test_cpus_that_sysfs_does_not_name(machine: Machine) -> None:
    (machine.directory / "sys/devices/system/cpu/online").write_text("\n")
    (problem,) = machine.enable()
    assert "does not say which CPUs there are" in problem
    assert machine.get(0) == 0x10


@pytest.mark.parametrize(
    ("cpus", "text"), [([0], "0"), ([0, 1], "0-1"), ([0, 1, 2, 8, 10, 11], "0-2,8,10-11"), ([], "")]
)
def test_cpus_are_told_in_ranges(cpus: list[int], text: str) -> None:
    assert format_cpus(cpus) == text


@pytest.mark.parametrize(
    ("cpuinfo", "broken", "status", "said"),
    [
        (CPUINFO.format(0x2D), False, 0, ""),
        (CPUINFO.format(0x2D), True, 1, "mcelog: cannot set MSR_ERROR_CONTROL of CPU 1: "),
        (CPUINFO.format(0x55), True, 0, ""),
        ("", True, 0, ""),
    ],
)
def test_the_command(machine: Machine, cpuinfo: str, broken: bool, status: int, said: str) -> None:
    path = machine.directory / "cpuinfo"
    path.write_text(cpuinfo)
    if broken:
        machine.replace(1, "/dev/zero")
    code = "import sys; from mcelogd.act.imc_log import main; sys.exit(main(*sys.argv[1:]))"
    command = [sys.executable, "-c", code, *machine.roots, str(path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=20, check=False)
    assert (done.returncode, done.stdout) == (status, "")
    assert done.stderr.startswith(said)
    assert done.stderr.count("\n") == (1 if said else 0)
    assert machine.get(0) == (0x12 if "45" in cpuinfo else 0x10)
