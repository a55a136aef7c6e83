# SPDX-License-Identifier: GPL-2.0-only
"""CPUs, cores and caches of a scratch sysfs, and of this machine's."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.act.topology import Core, affected_cpus, core_of, online_cpus, parse_cpu_list, parse_cpu_map

INSTRUCTION, DATA, GENERIC, UNKNOWN = range(4)

CACHES = {
    # Two sockets of two cores of two threads, numbered as Linux does: 0 and 4 are one core.
    "index0": ("1", "Data", "{0},{4}"),
    "index1": ("1", "Instruction", "{0},{4}"),
    "index2": ("2", "Unified", "{0},{4}"),
    "index3": ("3", "Unified", "{socket}"),
}


@pytest.fixture
def sysfs(tmp_path: Path) -> str:
    cpus = tmp_path / "devices/system/cpu"
    for cpu in range(8):
        core = cpu % 4
        topology = cpus / f"cpu{cpu}/topology"
        topology.mkdir(parents=True)
        (topology / "core_id").write_text(f"{core % 2}\n")
        (topology / "physical_package_id").write_text(f"{core // 2}\n")
        siblings = {"0": core, "4": core + 4}
        socket = ("0-1,4-5", "2-3,6-7")[core // 2]
        for index, (level, type_name, shared) in CACHES.items():
            cache = cpus / f"cpu{cpu}/cache/{index}"
            cache.mkdir(parents=True)
            (cache / "level").write_text(f"{level}\n")
            (cache / "type").write_text(f"{type_name}\n")
            text = shared.replace("{0}", str(siblings["0"])).replace("{4}", str(siblings["4"]))
            (cache / "shared_cpu_list").write_text(text.replace("{socket}", socket) + "\n")
    (cpus / "cpu0/cache/uevent").touch()
    (cpus / "online").write_text("0-7\n")
    return str(tmp_path)


@pytest.mark.parametrize(
    ("cpu", "level", "type_number", "cpus"),
    [
        (0, 1, DATA, [0, 4]),
        (5, 1, INSTRUCTION, [1, 5]),
        (3, 2, DATA, [3, 7]),
        (3, 2, INSTRUCTION, [3, 7]),
        (3, 2, None, [3, 7]),
        (6, 3, GENERIC, [2, 3, 6, 7]),
        (6, 1, GENERIC, [2, 6]),
        (0, 3, UNKNOWN, [0, 1, 4, 5]),
        (0, 0, DATA, None),
        (0, 4, GENERIC, None),
        (8, 1, DATA, None),
        (-1, 1, DATA, None),
    ],
)
def test_cpus_of_a_cache(
    sysfs: str, cpu: int, level: int, type_number: int | None, cpus: list[int] | None
) -> None:
    assert affected_cpus(sysfs, cpu, level, type_number) == cpus


def test_only_the_type_that_is_meant(sysfs: str) -> None:
    cache = Path(sysfs, "devices/system/cpu/cpu0/cache")
    (cache / "index0/shared_cpu_list").write_text("0\n")
    assert affected_cpus(sysfs, 0, 1, DATA) == [0]
    assert affected_cpus(sysfs, 0, 1, INSTRUCTION) == [0, 4]


def test_the_map_serves_where_there_is_no_list(sysfs: str) -> None:
    cache = Path(sysfs, "devices/system/cpu/cpu0/cache/index3")
    (cache / "shared_cpu_list").unlink()
    assert affected_cpus(sysfs, 0, 3, GENERIC) is None
    (cache / "shared_cpu_map").write_text("00000001,00000033\n")
    assert affected_cpus(sysfs, 0, 3, GENERIC) == [0, 1, 4, 5, 32]


@pytest.mark.parametrize(
    "text", ["", "\n", "x", "-1", "3-", "1-x", "0-99999999999", "1;2", "9" * 20_000, "²"]
)
def test_nonsense_in_sysfs_is_not_known(sysfs: str, text: str) -> None:
    cache = Path(sysfs, "devices/system/cpu/cpu0/cache/index0")
    for name in ("shared_cpu_list", "shared_cpu_map"):
        (cache / name).write_text(text if text != "1;2" else "zz", encoding="utf-8")
    assert affected_cpus(sysfs, 0, 1, DATA) is None
    (cache / "level").write_text(text, encoding="utf-8")
    assert affected_cpus(sysfs, 0, 1, DATA) is None
    for name in ("core_id", "physical_package_id"):
        (Path(sysfs) / "devices/system/cpu/cpu0/topology" / name).write_text(text, encoding="utf-8")
        assert core_of(sysfs, 0) is None


def test_a_cpu_that_is_offline_has_neither_caches_nor_core(sysfs: str) -> None:
    assert core_of(sysfs, 9) is None
    assert core_of(sysfs, 6) == Core(1, 0)
    assert online_cpus(sysfs) == list(range(8))
    assert online_cpus(sysfs + "/nowhere") is None


@given(st.sets(st.integers(0, 300), min_size=1))
def test_lists_and_maps_say_the_same(cpus: set[int]) -> None:
    bits = sum(1 << cpu for cpu in cpus)
    words = [f"{bits >> shift & 0xFFFFFFFF:08x}" for shift in range(288, -1, -32)]
    assert parse_cpu_map(",".join(words)) == sorted(cpus)
    assert parse_cpu_list(",".join(str(cpu) for cpu in sorted(cpus))) == sorted(cpus)


@given(st.text("0123456789-,x ", max_size=30))
def test_any_text_is_a_list_or_none(text: str) -> None:
    for parsed in (parse_cpu_list(text), parse_cpu_map(text)):
        assert parsed is None or parsed == sorted(set(parsed)) != []


def test_ranges_of_a_list() -> None:
    assert parse_cpu_list("0-3,8, 10-11") == [0, 1, 2, 3, 8, 10, 11]
    assert parse_cpu_list("3-0") is None


def test_this_machine() -> None:
    """Every CPU that we may run on is online, and one of those that use its first cache."""
    online = online_cpus("/sys")
    if online is None:
        pytest.skip("no sysfs here")
    for cpu in os.sched_getaffinity(0):
        assert cpu in online
        sharing = affected_cpus("/sys", cpu, 1, DATA)
        assert sharing is None or cpu in sharing
