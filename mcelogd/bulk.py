# SPDX-License-Identifier: GPL-2.0-only
"""Text of many records: what `render` prints, for the price of what differs between them."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple, TypeVar

from mcelogd import cpu as cpus
from mcelogd import render
from mcelogd.ascii.blocks import Printed, values_of
from mcelogd.decode import bank_name, decode
from mcelogd.decode.bits import MCI_STATUS_ADDRV, MCI_STATUS_MISCV
from mcelogd.decode.cache import MOST_REMEMBERED, Remembered, Watched

if TYPE_CHECKING:
    from mcelogd.ascii.blocks import Run
    from mcelogd.cpu import CpuType
    from mcelogd.record import MceRecord

    K = TypeVar("K")
    V = TypeVar("V")


class Error(NamedTuple):
    """The text of what records of one fault share: `misc` stands before ADDR on its line."""

    bank: str
    misc: str
    has_addr: bool
    decoded: str


class BulkText:
    """Renders records that a kernel printed, for one CPU type or the records' own.

    Remembers the parts that records of one fault, one processor or one second
    have in common.
    """

    def __init__(self, forced: CpuType | None) -> None:
        self._forced = forced
        self._errors: Remembered[Error] = Remembered()
        self._places: dict[tuple[str, ...], str] = {}
        self._times: dict[str, str] = {}

    def texts(self, run: Run) -> list[str]:
        """`render.event_text(decode(record))` of each."""
        texts = []
        errors, places, times = self._errors.shared, self._places, self._times
        for parts in run:
            _, cpu, error, tsc, addr, misc, ids, processor, time, place, microcode, _ = parts
            bank, misc, has_addr, decoded = errors.get(
                (error, misc, ids, processor, microcode)
            ) or self._error(parts)
            line = f"{misc}ADDR {addr or 0} \n" if has_addr else misc and f"{misc}\n"
            texts.append(
                f"{render.DISCLAIMER}CPU {cpu} {bank} {f'TSC {tsc} ' if tsc != '0' else ''}\n{line}"
                f"{times.get(time) or self._time(time)}{decoded}"
                f"{places.get((ids, processor, place, microcode)) or self._place(parts)}"
            )
        return texts

    def _error(self, parts: tuple[str, ...]) -> Error:
        _, cpu, name, _, _, misc, ids, processor, _, place, microcode, _ = parts
        signature = (name, misc, ids, processor, microcode)
        error = self._errors.of_place(signature, (cpu, place))
        if error is None:
            watched = Watched._make(values_of(parts))
            error = self._decoded(watched)
            self._errors.keep(error, watched, signature, (cpu, place))
        return error

    def _decoded(self, record: Watched) -> Error:
        cpu_type = self._forced or cpu_of(record)
        finding = decode(record, cpu_type).finding
        return Error(
            bank_name(record.bank, cpu_type),
            f"MISC {record.misc:x} " if record.status & MCI_STATUS_MISCV else "",
            bool(record.status & MCI_STATUS_ADDRV),
            "\n".join([*finding.lines, render.status_line(record), ""]),
        )

    def _place(self, parts: tuple[str, ...]) -> str:
        printed = Printed._make(parts)
        text = "\n".join([*render.identity_lines(printed.record), ""])
        _remember(self._places, (printed.ids, printed.processor, printed.place, printed.microcode), text)
        return text

    def _time(self, time: str) -> str:
        text = f"TIME {time} {render.ctime(int(time))}\n" if time != "0" else ""
        _remember(self._times, time, text)
        return text


def cpu_of(record: MceRecord) -> CpuType:
    """The CPU type a record of a text names; one of Intel's where it names none, as in the C program."""
    # A vendor, but no cpuid: AMD's oldest decoded lines.
    return cpus.by_cpuid(record.cpuvendor, record.cpuid) if record.cpuid or record.cpuvendor else cpus.INTEL


def _remember(parts: dict[K, V], key: K, part: V) -> None:
    if len(parts) >= MOST_REMEMBERED:
        parts.clear()
    parts[key] = part
