# SPDX-License-Identifier: GPL-2.0-only
"""Memory errors at known places of the DRAM, for the tests of account/faults.py."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd import cpu
from mcelogd.account.faults import FaultTable, RowCrossing
from mcelogd.account.memory import ANY, MemoryKey
from mcelogd.event import Event, Finding, Kind, Location, Severity
from mcelogd.record import MceRecord

if TYPE_CHECKING:
    from collections.abc import Iterable

    from mcelogd.account.faults import Findings
    from mcelogd.account.verdicts import Verdict

NOW = 1_795_000_000
ICE_LAKE = cpu.by_name("icelake_server") or cpu.GENERIC
SAPPHIRE_RAPIDS = cpu.by_name("sapphirerapids_server") or cpu.GENERIC

SOMEWHERE = Location(memory_controller=0, channel=2, rank=0, bank_group=1, bank=2, row=0x1C998, column=0x40)
KEY = MemoryKey(0, 2, ANY)


def error(
    *locations: Location,
    time: int = NOW,
    severity: Severity = Severity.CORRECTED,
    kind: Kind = Kind.MEMORY,
    cpu_type: cpu.CpuType = ICE_LAKE,
    socket: int | None = 0,
) -> Event:
    finding = Finding(kind, severity, "MEMORY CONTROLLER RD_CHANNEL2_ERR", locations=locations)
    return Event(MceRecord(time=time, socketid=socket), cpu_type, finding)


def at(**fields: int | None) -> Location:
    return SOMEWHERE._replace(**fields)


class Machine:
    """A FaultTable, and what it said."""

    def __init__(self, table: FaultTable | None = None, cpu_type: cpu.CpuType = ICE_LAKE) -> None:
        self.table = FaultTable() if table is None else table
        self.cpu_type = cpu_type
        self.verdicts: list[Verdict] = []
        self.rows: list[RowCrossing] = []

    def hit(self, *locations: Location, time: int = NOW, page: int | None = None) -> Findings:
        found = self.table.account(error(*locations, time=time, cpu_type=self.cpu_type), page, time)
        self.verdicts += found.verdicts
        self.rows += found.rows
        return found

    def opinion(self, key: MemoryKey = KEY) -> tuple[str, str]:
        verdict = self.table.verdict(key)
        assert verdict is not None
        return verdict.mode.value, verdict.advice.value

    def why(self, key: MemoryKey = KEY) -> str:
        verdict = self.table.verdict(key)
        assert verdict is not None
        return "; ".join(verdict.reasons)


def after(locations: Iterable[Location], apart: int = 120, cpu_type: cpu.CpuType = ICE_LAKE) -> Machine:
    """Errors two minutes apart, so that they are no storm."""
    machine = Machine(cpu_type=cpu_type)
    for number, location in enumerate(locations):
        machine.hit(location, time=NOW + apart * number)
    return machine


SCATTERED_IN_A_BANK = [at(row=row, column=8 * row) for row in range(10, 30)]
SCATTERED_IN_A_DEVICE = [at(bank=row % 4, row=row, column=8 * row) for row in range(10, 30)]
