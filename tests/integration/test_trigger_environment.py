# SPDX-License-Identifier: GPL-2.0-only
"""What scripts are told: every variable and argument, as v208 gives them, and ours besides."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import acting
from .acting import TES, Acting, OfflineFile, Run, own_proc

if TYPE_CHECKING:
    from collections.abc import Iterator

SMBIOS = Path(__file__).parent.parent / "fixtures/smbios/dmi_q35_4dimms_file.bin"
CMCI = 1 << 10
UNCORRECTED = 1 << 61 | 1 << 60
TIME = acting.NEHALEM.time

SETTINGS = """
dmi-table = {smbios}
dimm-labels = {{directory}}/labels
[dimm]
ce-error-threshold = 2 / 1min
uc-error-threshold = 1 / 1min
ce-error-trigger = ce-dimm
uc-error-trigger = uc-dimm
[socket]
mem-ce-error-threshold = 7 / 1h
mem-uc-error-threshold = 1 / 2d
mem-ce-error-trigger = ce-socket
mem-uc-error-trigger = uc-socket
bus-uc-threshold-trigger = bus
iomca-threshold-trigger = iomca
unknown-threshold-trigger = unknown
[cache]
cache-threshold-trigger = cache
[page]
memory-ce-action = soft
memory-ce-threshold = 2 / 24h
memory-ce-trigger = page
memory-pre-sync-soft-ce-trigger = before
memory-post-sync-soft-ce-trigger = after
memory-ce-counter-replacement-threshold = 1 / 1h
memory-ce-counter-replacement-trigger = replaced
[core]
core-ce-error-threshold = 2 / 1h
core-ce-error-trigger = core
"""
SCRIPTS = (
    "ce-dimm", "uc-dimm", "ce-socket", "uc-socket", "bus", "iomca", "unknown", "cache", "page", "before",
    "after", "replaced", "core",
)  # fmt: skip
NAMED = {
    "LOCATION": "SOCKET:0 CHANNEL:1 DIMM:0 [CPU0_CH1 CPU0_DIMM_B1]",
    "DMI_LOCATION": "CPU0_CH1",
    "DMI_NAME": "CPU0_DIMM_B1",
    "SOCKETID": "0",
    "CHANNEL": "1",
    "DIMM": "0",
}


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Acting]:
    with acting.bench_in(tmp_path) as bench:
        yield bench


def told(bench: Acting, count: int, *records: bytes) -> dict[str, Run]:
    """What scripts were told of the records, by the script's name; without what their shell adds."""
    bench.configure(SETTINGS.format(smbios=SMBIOS))
    (bench.directory / "labels").write_text("socket 0 channel 1 dimm 0 = CPU0_DIMM_B1\n")
    for name in SCRIPTS:
        bench.script(name)
    bench.send(b"".join(records))
    bench.start("--max-corr-err-counters", "1")
    bench.wait_stored(len(records))
    runs = bench.wait_runs(count)
    bench.stop()
    assert len(bench.runs()) == count
    for run in runs:
        for name in ("PWD", "OLDPWD", "SHLVL", "_"):
            run.variables.pop(name, None)
        assert run.variables.pop("PATH") == os.environ["PATH"]
    return {run.script: run for run in runs}


def test_of_a_dimm(bench: Acting) -> None:
    runs = told(bench, 1, acting.memory(1, 0), acting.memory(1, 0))
    assert runs["ce-dimm"].arguments == []
    assert runs["ce-dimm"].variables == NAMED | {
        "MCELOG_SETTING": "ce-error-trigger",
        "MESSAGE": "corrected DIMM memory error count exceeded threshold: 2 in 1m",
        "THRESHOLD": "2 in 1m",
        "THRESHOLD_COUNT": "0",
        "AGETIME": "60",
        "TOTALCOUNT": "2",
        "CECOUNT": "2",
        "UCCOUNT": "0",
        "LASTEVENT": str(TIME),
    }


def test_of_uncorrected_errors(bench: Acting) -> None:
    error = acting.memory(1, 0, status=acting.VALID | acting.MISC_VALID | UNCORRECTED | 0xB1)
    runs = told(bench, 2, acting.memory(1, 0), error)
    counted = {"THRESHOLD_COUNT": "0", "TOTALCOUNT": "1", "CECOUNT": "1", "UCCOUNT": "1"}
    counted |= {"LASTEVENT": str(TIME), "SOCKETID": "0"}
    assert runs["uc-dimm"].variables == NAMED | counted | {
        "MCELOG_SETTING": "uc-error-trigger",
        "MESSAGE": "Uncorrected DIMM memory error count exceeded threshold: 1 in 1m",
        "THRESHOLD": "1 in 1m",
        "AGETIME": "60",
    }
    assert runs["uc-socket"].variables == counted | {
        "MCELOG_SETTING": "mem-uc-error-trigger",
        "MESSAGE": "Uncorrected Socket memory error count exceeded threshold: 1 in 2d",
        "LOCATION": "SOCKET:0 CHANNEL:? DIMM:? []",
        "THRESHOLD": "1 in 2d",
        "AGETIME": "172800",
    }


def test_of_a_socket_and_of_errors_only_counted(bench: Acting) -> None:
    """The hardware counted nine, eight of them it did not record: when those were is not told."""
    runs = told(bench, 1, acting.memory(2, 1, 9, mcgcap=CMCI | 0xA))
    assert runs["ce-socket"].variables == {
        "MCELOG_SETTING": "mem-ce-error-trigger",
        "MESSAGE": "Fallback Socket memory error count 8 exceeded threshold: 8 in 1h",
        "LOCATION": "SOCKET:0 CHANNEL:? DIMM:? []",
        "SOCKETID": "0",
        "THRESHOLD": "8 in 1h",
        "THRESHOLD_COUNT": "0",
        "AGETIME": "3600",
        "TOTALCOUNT": "8",
        "CECOUNT": "8",
        "UCCOUNT": "0",
    }


@own_proc
def test_of_a_page(bench: Acting) -> None:
    """In order, with the address as an argument to those around the off-lining."""
    bench.own_proc = True
    knob = OfflineFile(bench, "soft")
    runs = told(bench, 4, acting.page(0x12345, 1), acting.page(0x12345, 1))
    assert set(runs) == {"ce-dimm", "page", "before", "after"}
    assert knob.addresses == [0x12345000]
    common = NAMED | {
        "THRESHOLD": "2 in 24h",
        "THRESHOLD_COUNT": "0",
        "AGETIME": "86400",
        "TOTALCOUNT": "2",
        "CECOUNT": "2",
        "UCCOUNT": "0",
        "LASTEVENT": str(TIME),
        "MCELOG_PAGE": "0x12345000",
    }
    address = str(0x12345000)
    message = "Corrected memory errors on page 12345000 exceed threshold 2 in 24h: 2 in 24h"
    assert runs["page"] == Run("page", [], common | {
        "MCELOG_SETTING": "memory-ce-trigger", "MCELOG_PAGE_STATE": "online", "MESSAGE": message,
    })  # fmt: skip
    assert runs["before"] == Run("before", [address], common | {
        "MCELOG_SETTING": "memory-pre-sync-soft-ce-trigger",
        "MCELOG_PAGE_STATE": "online",
        "MESSAGE": f"pre soft trigger run for page {address}: 2 in 24h",
    })  # fmt: skip
    assert runs["after"] == Run("after", [address], common | {
        "MCELOG_SETTING": "memory-post-sync-soft-ce-trigger",
        "MCELOG_PAGE_STATE": "offline",
        "MESSAGE": f"post soft trigger run for page {address}: 2 in 24h",
    })  # fmt: skip
    assert list(runs).index("before") < list(runs).index("after")


def test_of_pages_that_lose_their_counters(bench: Acting) -> None:
    runs = told(bench, 1, acting.page(1), acting.page(2, 1))
    assert runs["replaced"].variables == {
        "MCELOG_SETTING": "memory-ce-counter-replacement-trigger",
        "MESSAGE": "Replacements of page correctable error counter exceed threshold 1 in 1h: 1 in 1h",
        "THRESHOLD": "1 in 1h",
        "THRESHOLD_COUNT": "0",
        "AGETIME": "3600",
        "TOTALCOUNT": "1",
        "LASTEVENT": str(TIME),
    }


def test_of_errors_on_bus_and_io_and_of_unknown_ones(bench: Acting) -> None:
    """The first is both an error on the bus and a root port's."""
    first = {"status": 0x9C00000000000E0B, "misc": 0x100150000, "addr": 0xABCD, "extcpu": 3, "socketid": 1}
    second = {"status": 0x9C0000000000040B, "misc": 0xABCDEF, "addr": 0xABCD, "mcgstatus": 4, "mcgcap": 0x80A}
    runs = told(bench, 3, acting.memory(0, 0, **first), acting.memory(0, 0, **second))
    cpu = {"SOCKETID": "1", "CPU": "3", "LOCATION": "CPU 3 on socket 1", "MCELOG_EVENT_ID": "1"}
    assert runs["bus"].variables == cpu | {
        "MCELOG_SETTING": "bus-uc-threshold-trigger",
        "MESSAGE": "CPU 3 on socket 1 received Bus and Interconnect Errors in IO",
        "LEVEL": "Level-3",
        "PARTICIPATION": "Generic",
        "REQUEST": "Generic",
        "ORIGIN": "IO",
        "TIMEOUT": "Request-did-not-timeout",
    }
    assert runs["iomca"].variables == cpu | {
        "MCELOG_SETTING": "iomca-threshold-trigger",
        "MESSAGE": "CPU 3 on socket 1 received IO MCA Errors from 1:00:02.5",
        "SEG": "1",
        "BUS": "00",
        "DEVICE": "02",
        "FUNCTION": "5",
    }
    assert runs["unknown"].variables == {
        "MCELOG_SETTING": "unknown-threshold-trigger",
        "MCELOG_EVENT_ID": "2",
        "MESSAGE": "CPU 0 on socket 0 received unknown error",
        "LOCATION": "CPU 0 on socket 0",
        "SOCKETID": "0",
        "CPU": "0",
        "STATUS": "9c0000000000040b",
        "MISC": "abcdef",
        "ADDR": "abcd",
        "MCGSTATUS": "4",
        "MCGCAP": "80a",
    }


def share_cache(bench: Acting, cpu: int, level: int, kind: str, cpus: str) -> None:
    index = bench.sysfs / f"devices/system/cpu/cpu{cpu}/cache/index{level}"
    index.mkdir(parents=True)
    for name, text in (("level", str(level)), ("type", kind), ("shared_cpu_list", cpus)):
        (index / name).write_text(f"{text}\n")


def test_of_a_worn_cache(bench: Acting) -> None:
    share_cache(bench, 1, 1, "Data", "1")
    share_cache(bench, 1, 2, "Unified", "0-1,8")
    green, yellow = acting.cache(1, 1, 2, 1), acting.cache(1, 1, 2, 2)
    runs = told(bench, 2, green, yellow)
    assert runs["cache"].variables == {
        "MCELOG_SETTING": "cache-threshold-trigger",
        "MCELOG_EVENT_ID": "2",
        "MCELOG_SYSFS": str(bench.sysfs),
        "MESSAGE": "CPU 1 on socket 0 has large number of corrected cache errors in Level-2 Generic",
        "SOCKETID": "0",
        "CPU": "1",
        "LEVEL": "2",
        "TYPE": "Generic",
        "AFFECTED_CPUS": "0 1 8",
    }
    assert runs["core"].variables == {
        "MCELOG_SETTING": "core-ce-error-trigger",
        "MCELOG_KIND": "cache",
        "MESSAGE": "corrected errors of CPU 1 on socket 0 exceed threshold: 2 in 1h",
        "LOCATION": "CPU 1 on socket 0",
        "SOCKETID": "0",
        "CPU": "1",
        "THRESHOLD": "2 in 1h",
        "THRESHOLD_COUNT": "0",
        "AGETIME": "3600",
        "TOTALCOUNT": "2",
        "CECOUNT": "2",
        "LASTEVENT": str(TIME),
    }


def test_of_a_worn_cache_that_sysfs_does_not_know(bench: Acting) -> None:
    """And a CPU that does not say yellow: nothing is run for it."""
    runs = told(bench, 1, acting.cache(0, 1, 1, 2, mcgcap=TES), acting.cache(1, 1, 1, 2, mcgcap=0xA))
    assert runs["cache"].variables["AFFECTED_CPUS"] == "unknown"
