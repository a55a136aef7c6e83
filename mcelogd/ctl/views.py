# SPDX-License-Identifier: GPL-2.0-only
"""What `mcelogctl` shows people, as lines. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcelogd.ctl.look import size
from mcelogd.ctl.place import place_of
from mcelogd.ctl.table import Cell, Column
from mcelogd.ctl.text import paint, plural
from mcelogd.ctl.times import format_time

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcelogd.ctl.look import Look
    from mcelogd.ctl.units import Unit


_ADVICE_STYLES = {"watch": "watch", "replace": "bad", "channel": "bad"}
_STATE_STYLES = {"offline": "grey", "offline-failed": "watch"}


_DIMMS = (
    Column("DIMM"),
    Column("LABEL", least=8),
    Column("CORRECTED", right=True),
    Column("UNCORRECTED", right=True),
    Column("IN PERIOD", 5, right=True),
    Column("THRESHOLD", 8),
    Column("FAULT", 4),
    Column("ADVICE"),
    Column("LAST ERROR", 3),
    Column("SIZE", 9, right=True),
    Column("PART", 10, least=8),
    Column("SERIAL", 7, least=8),
    Column("MANUFACTURER", 11, least=8),
    Column("LOCATION", 12, least=8),
)


def dimms(units: Sequence[Unit], look: Look) -> list[str]:
    """All DIMMs, a line each."""
    if not units:
        return ["mcelog knows no DIMM: none had an error, and the firmware names none."]
    with_errors = sum(unit.has_errors for unit in units)
    return [
        *look.table(_DIMMS, [_dimm_row(unit, look) for unit in units]),
        *look.sum(f"{plural(len(units), 'DIMM')}, {with_errors} with errors."),
    ]


def _dimm_row(unit: Unit, look: Look) -> list[Cell]:
    advice = unit.text("Advice")
    uncorrected = unit.number("UncorrectedErrors")
    return [
        Cell(unit.place),
        Cell(unit.text("Label")),
        Cell(f"{unit.number('CorrectedErrors'):,}"),
        Cell(f"{uncorrected:,}", "bad" if uncorrected else ""),
        Cell(f"{unit.number('CorrectedInPeriod'):,}"),
        Cell(unit.text("CorrectedThreshold")),
        Cell(unit.text("FaultMode")),
        Cell("" if advice == "none" else advice, _ADVICE_STYLES.get(advice, "")),
        Cell(format_time(unit.number("LastErrorTime"), look.zone)),
        Cell(size(unit.number("Size"))),
        *(Cell(unit.text(name)) for name in ("PartNumber", "SerialNumber", "Manufacturer", "Location")),
    ]


def dimm(unit: Unit, look: Look) -> list[str]:
    """All that is known of one."""
    advice = unit.text("Advice") or "none"
    reasons = [str(reason) for reason in unit.properties.get("AdviceReasons", ())]
    pairs = [
        ("Label", unit.text("Label")),
        ("Location", unit.text("Location")),
        ("Size", size(unit.number("Size"))),
        ("Manufacturer", unit.text("Manufacturer")),
        ("Part number", unit.text("PartNumber")),
        ("Serial number", unit.text("SerialNumber")),
        ("Corrected", _counted(unit, "Corrected")),
        ("Uncorrected", _counted(unit, "Uncorrected")),
        ("Last error", look.when(unit.number("LastErrorTime"))),
        ("Fault", unit.text("FaultMode")),
        ("Advice", f"{advice}: {'; '.join(reasons)}" if reasons else advice),
    ]
    return [paint(f"DIMM {unit.place}", "bold", colour=look.colour), *look.pairs(pairs)]


def _counted(unit: Unit, severity: str) -> str:
    """`12, 3 of them in this period; threshold 10 / 24h`."""
    total, period = unit.number(f"{severity}Errors"), unit.number(f"{severity}InPeriod")
    threshold = unit.text(f"{severity}Threshold")
    return f"{total:,}, {period:,} of them in this period" + (f"; threshold {threshold}" if threshold else "")


_SOCKETS = (
    Column("SOCKET", right=True),
    Column("CORRECTED", right=True),
    Column("UNCORRECTED", right=True),
    Column("IN PERIOD", 1, right=True),
    Column("THRESHOLD", 2),
    Column("CPUS WITH ERRORS", right=True),
)
_CORES = (
    Column("SOCKET", right=True),
    Column("CPU", right=True),
    Column("ERRORS", right=True),
    Column("IN PERIOD", 1, right=True),
    Column("KINDS", 2, least=6),
)


def sockets(units: Sequence[Unit], look: Look) -> list[str]:
    """Memory errors of all sockets, and their CPUs that had other errors."""
    if not units:
        return ["No socket had an error."]
    rows, cores = [], []
    for unit in units:
        of_cores = unit.properties.get("Cores", ())
        uncorrected = unit.number("UncorrectedErrors")
        rows.append(
            [
                Cell(unit.place),
                Cell(f"{unit.number('CorrectedErrors'):,}"),
                Cell(f"{uncorrected:,}", "bad" if uncorrected else ""),
                Cell(f"{unit.number('CorrectedInPeriod'):,}"),
                Cell(unit.text("CorrectedThreshold")),
                Cell(f"{len(of_cores):,}"),
            ]
        )
        for cpu, errors, period, kinds in of_cores:
            texts = ", ".join(f"{count:,} {kind}" for kind, count in sorted(kinds.items()))
            cores.append(
                [Cell(unit.place), Cell(str(cpu)), Cell(f"{errors:,}"), Cell(f"{period:,}"), Cell(texts)]
            )
    lines = look.table(_SOCKETS, rows)
    return [*lines, "", *look.table(_CORES, cores)] if cores else lines


_PAGES = (
    Column("PAGE", right=True),
    Column("ERRORS", right=True),
    Column("IN PERIOD", 1, right=True),
    Column("STATE"),
    Column("SINCE", 2),
    Column("WHY", 3, least=8),
)


def pages(found: Sequence[Sequence[Any]], look: Look) -> list[str]:
    """Pages as ListPages has them."""
    if not found:
        return ["No page had an error."]
    rows = [
        [
            Cell(f"{address:#x}"),
            Cell(f"{errors:,}"),
            Cell(f"{period:,}"),
            Cell(state, _STATE_STYLES.get(state, "")),
            Cell(format_time(since, look.zone)),
            Cell(why),
        ]
        for address, errors, period, state, why, since in found
    ]
    offline = sum(page[3] == "offline" for page in found)
    return [*look.table(_PAGES, rows), *look.sum(f"{plural(len(found), 'page')}, {offline} out of use.")]


_HISTORY = (
    Column("DIMM"),
    Column("UNTIL"),
    Column("LABEL", 2, least=8),
    Column("CORRECTED", right=True),
    Column("UNCORRECTED", right=True),
    Column("PART", 4, least=8),
    Column("SERIAL", 3, least=8),
    Column("WHY", 1, least=8),
)


def history(found: Sequence[Sequence[Any]], look: Look) -> list[str]:
    """Replaced DIMMs as ListReplaced has them."""
    if not found:
        return ["No DIMM is known to have been replaced."]
    rows = [
        [
            Cell(place_of(path)),
            Cell(format_time(until, look.zone)),
            Cell(label),
            Cell(f"{corrected:,}"),
            Cell(f"{uncorrected:,}", "bad" if uncorrected else ""),
            Cell(part),
            Cell(serial),
            Cell(why),
        ]
        for path, label, part, serial, corrected, uncorrected, until, why in found
    ]
    return [*look.table(_HISTORY, rows), *look.sum(plural(len(found), "DIMM") + ".")]


_LINKS = (Column("LINK"), Column("HELD"), Column("", least=8))


def self_test(ok: bool, links: Sequence[Sequence[Any]], look: Look) -> list[str]:
    """The chain that an error goes through, as SelfTest has it."""
    rows = [
        [Cell(name), Cell("yes" if held else "no", "good" if held else "bad"), Cell(text)]
        for name, held, text in links
    ]
    sentence = "The injected error arrived." if ok else "The injected error did not arrive."
    return [*look.table(_LINKS, rows), *(["", sentence] if rows else [sentence])]
