# SPDX-License-Identifier: GPL-2.0-only
"""What the objects of DIMMs and sockets show."""

from __future__ import annotations

import time

import pytest

from mcelogd import cpu
from mcelogd.account.books import Books
from mcelogd.account.memory import ANY, MemoryKey, MemoryTable, Rates
from mcelogd.dbus.memory import Dimm
from mcelogd.decode import decode
from mcelogd.rate import parse_rate
from mcelogd.record import MceRecord

DAY = 86_400
RATE = parse_rate("10 / 24h")
RECORD = MceRecord(status=0x9C00004000010090, socketid=0, cpuid=0x606A6, bank=5, mcgcap=1 << 10)
CORRECTED, UNCORRECTED = 0, 1 << 61


@pytest.mark.parametrize(("age", "errors"), [(0, 3), (DAY - 60, 3), (DAY + 60, 0)])
@pytest.mark.parametrize(
    ("severity", "name"), [(CORRECTED, "CorrectedInPeriod"), (UNCORRECTED, "UncorrectedInPeriod")]
)
def test_errors_of_a_period_that_is_over_are_not_of_this_one(
    severity: int, name: str, age: int, errors: int
) -> None:
    rates = Rates(RATE, RATE)
    books = Books(MemoryTable(rates, rates, track_dimms=True, track_sockets=True))
    then = int(time.time()) - age
    record = RECORD._replace(status=RECORD.status | severity, time=then)
    for page in range(3):
        books.account(decode(record._replace(addr=page << 12), cpu.by_cpuid(0, RECORD.cpuid)), then)
    dimm = Dimm(MemoryKey(0, 0, ANY), books, lambda _: None)
    assert dimm.value(name).value == errors
    assert dimm.value(name.replace("InPeriod", "Errors")).value == 3
