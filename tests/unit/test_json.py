# SPDX-License-Identifier: GPL-2.0-only
"""`--json`, and the marks in it."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcelogd import cpu as cpus
from mcelogd import jsontext
from mcelogd.decode import decode
from mcelogd.jsontext import json_line
from mcelogd.marks import FIRST_POLL, Mark, marks_of
from mcelogd.oneshot import Form, decoded
from mcelogd.record import MceRecord, layout

HASWELL = cpus.by_name("haswell") or cpus.INTEL
SPURIOUS = MceRecord(status=0x90000040000F0005, cpuid=0x306C3, tsc=5)
FATAL = MceRecord(status=0xBE00000000800400, bank=4)


def as_json(record: MceRecord, cpu_type: cpus.CpuType, **kwargs: Any) -> dict[str, Any]:
    line = json_line(decode(record, cpu_type), **kwargs)
    assert line.index("\n") == len(line) - 1
    return json.loads(line)  # type: ignore[no-any-return]


def test_a_record() -> None:
    cpu_type = cpus.by_name("skylake_server") or cpus.INTEL
    record = MceRecord(
        status=0x8C00004000800090, misc=0x86, addr=0x12345000, bank=13, cpuid=0x50654, extcpu=7,
        time=1425373471, socketid=1, apicid=0x44, mcgcap=0xF000C14, tsc=5,
    )  # fmt: skip
    found = as_json(record, cpu_type, symbol="foo+0x1/0x2")
    lines = found.pop("lines")
    assert lines[0] == "MCG status:"
    assert found == {
        "cpu": 7,
        "bank": 13,
        "bank_name": "BANK 13",
        "time": 1425373471,
        "registers": {
            "status": "0x8c00004000800090", "misc": "0x86", "addr": "0x12345000", "mcgstatus": "0x0",
            "ip": "0x0", "cs": "0x0", "tsc": "0x5", "mcgcap": "0xf000c14",
        },
        "socket": 1,
        "apicid": 0x44,
        "vendor": "Intel",
        "family": 6,
        "model": 0x55,
        "stepping": 4,
        "cpuid": "0x50654",
        "cpu_type": "skylake_server",
        "kind": "memory",
        "severity": "corrected",
        "what": "MEMORY CONTROLLER RD_CHANNEL0_ERR",
        "classified": True,
        "corrected_count": 1,
        "address": "0x12345000",
        "locations": [{"memory_controller": 0, "channel": 0, "device": 0}],
        "marks": [],
        "symbol": "foo+0x1/0x2",
    }  # fmt: skip


def numbers(value: Any) -> list[int]:
    if isinstance(value, dict):
        return [number for member in value.values() for number in numbers(member)]
    if isinstance(value, list):
        return [number for member in value for number in numbers(member)]
    return [value] if isinstance(value, int) else []


@settings(deadline=None)
@given(st.binary(min_size=128, max_size=128), st.sampled_from(cpus.ALL_CPU_TYPES), st.text())
def test_any_record(data: bytes, cpu_type: cpus.CpuType, symbol: str) -> None:
    found = as_json(layout(128).parse(data), cpu_type, symbol=symbol, incomplete=True)
    assert all(number <= 2**53 for number in numbers(found))
    assert None not in found.values()
    assert found["incomplete"] is True
    described = re.findall(r"\w+", jsontext.__doc__ or "")
    assert set(found) <= set(described)


def test_text_as_json_leaves_out_the_rest() -> None:
    text = "usb 1-1: reset\nCPU 2: Machine Check: 0 Bank 3: be00000000800400\nRIP 10:<5> {\udcff}\nfoo\n"
    (line,) = "".join(decoded([text], None, Form.JSON)).splitlines()
    found = json.loads(line)
    assert found["symbol"] == "\ufffd"
    assert found["marks"] == ["left-over"]


def test_a_text_without_the_tsc_does_not_make_a_left_over() -> None:
    text = "x: mce_record: 2026-11-22 20:15:41 +0000 bank=4, status= be00000000800400, cpu_type= Haswell, x\n"
    assert json.loads("".join(decoded([text], None, Form.JSON)))["marks"] == []


@pytest.mark.parametrize(
    ("record", "cpu_type", "expected"),
    [
        (SPURIOUS, HASWELL, [Mark.ERRATUM]),
        (SPURIOUS._replace(status=0xD0003FC0000F0005), HASWELL, [Mark.ERRATUM]),
        (SPURIOUS._replace(cpuid=0), HASWELL, [Mark.ERRATUM]),
        (SPURIOUS._replace(cpuid=0), cpus.INTEL, []),
        (SPURIOUS._replace(cpuid=0x306E4), HASWELL, []),
        (SPURIOUS._replace(cpuvendor=2), HASWELL, []),
        (SPURIOUS._replace(bank=1), HASWELL, []),
        (SPURIOUS._replace(status=0xB0000040000F0005), HASWELL, []),
        (SPURIOUS._replace(status=0x9000004000000005), HASWELL, []),
        (FATAL, cpus.INTEL, [Mark.LEFT_OVER]),
        (FATAL._replace(tsc=1), cpus.INTEL, []),
        (FATAL._replace(mcgstatus=5), cpus.INTEL, []),
        (FATAL._replace(status=0xBC00000000800400), cpus.INTEL, []),
        (FATAL._replace(status=0x8C00004000010090), cpus.INTEL, []),
        (MceRecord(status=0x9C0000000000009F, bank=255), cpus.INTEL, [Mark.FIRMWARE]),
        (MceRecord(status=0xBE0000000000009F, bank=255), cpus.INTEL, [Mark.FIRMWARE]),
        (MceRecord(status=0x940000000000009F, bank=1), cpus.INTEL, [Mark.FIRMWARE]),
        (MceRecord(status=0x940000400000009F, bank=1), cpus.INTEL, []),
        (MceRecord(status=0x940000000001009F, bank=1), cpus.INTEL, []),
        (MceRecord(status=0x940000000000009F, bank=5), cpus.INTEL, []),
    ],
)
def test_marks(record: MceRecord, cpu_type: cpus.CpuType, expected: list[Mark]) -> None:
    assert marks_of(record, cpu_type) == tuple(expected)


def test_the_first_seconds() -> None:
    corrected = MceRecord(status=0x8C00004000010090, bank=5)
    assert marks_of(corrected, cpus.INTEL, 1.5) == (Mark.LEFT_OVER,)
    assert marks_of(corrected, cpus.INTEL, FIRST_POLL) == ()
    assert marks_of(corrected._replace(tsc=5), cpus.INTEL, 1.5) == ()
    assert marks_of(corrected, cpus.INTEL, 1.5, has_tsc=False) == ()
