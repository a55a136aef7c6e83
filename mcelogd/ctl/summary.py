# SPDX-License-Identifier: GPL-2.0-only
"""What `mcelogctl status` shows. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcelogd.ctl.exits import Exit
from mcelogd.ctl.text import paint, printable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcelogd.ctl.look import Look
    from mcelogd.ctl.units import Unit
    from mcelogd.ctl.verdict import Verdict

_STYLES = {
    Exit.OK: "good",
    Exit.WATCH: "watch",
    Exit.ACT: "bad",
    Exit.BLIND: "bad",
    Exit.DENIED: "watch",
}


def status(
    verdict: Verdict, manager: Mapping[str, Any], dimms: Sequence[Unit] | None, look: Look
) -> list[str]:
    """The machine as a whole; `dimms` is None if they may not be read."""
    style = _STYLES[verdict.status]
    dot = paint("●", style, colour=look.colour)
    lines = [f"{dot} mcelog {printable(str(manager.get('Version', '')))}: {verdict.sentence}"]
    for finding in verdict.findings:
        what = paint(finding.what, _STYLES[finding.status], colour=look.colour)
        lines.append(f"  {what} {printable(finding.about)}")
        for reason in finding.reasons:
            first, *more = look.wrapped(reason, 6)
            lines += [f"    - {first}", *(f"      {line}" for line in more)]
    return lines + look.pairs(_facts(manager, dimms, look))


def _facts(manager: Mapping[str, Any], dimms: Sequence[Unit] | None, look: Look) -> list[tuple[str, str]]:
    def number(name: str) -> str:
        return f"{int(manager.get(name, 0)):,}"

    def text(name: str) -> str:
        return str(manager.get(name, ""))

    known = "may not be read"
    if dimms is not None:
        known = f"{len(dimms)}, {sum(dimm.has_errors for dimm in dimms)} with errors"
    records = f"{number('RecordsRead')} read, {number('RecordsLost')} lost"
    return [
        ("Errors", f"{number('CorrectedErrors')} corrected, {number('UncorrectedErrors')} uncorrected"),
        ("Last one", look.when(int(manager.get("LastEventTime", 0))) or "never"),
        ("DIMMs", known),
        ("Records", f"{records}, from {text('Source')} ({text('SourceState')})"),
        ("Page action", text("PageAction")),
        ("Processor", ", decoded as ".join(filter(None, (text("CpuVendor"), text("CpuType"))))),
    ]
