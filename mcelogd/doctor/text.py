# SPDX-License-Identifier: GPL-2.0-only
"""A report for people, and one for programs. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from mcelogd.ctl.text import paint, plural
from mcelogd.doctor.checks import CHECKS
from mcelogd.doctor.finding import State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from mcelogd.ctl.look import Look
    from mcelogd.doctor.finding import Finding

_STYLES = {
    State.OK: "good",
    State.WARNING: "watch",
    State.BROKEN: "bad",
    State.UNKNOWN: "bold",
    State.NOT_APPLICABLE: "grey",
}
_WORDS = {State.NOT_APPLICABLE: "n/a"}
_STATE = 8
_NAME = max(len(check.name) for check in CHECKS)
_INDENT = _STATE + 1 + _NAME + 2


def document(findings: Sequence[Finding]) -> list[dict[str, Any]]:
    """For JSON."""
    return [
        {
            "check": finding.check,
            "state": str(finding.state),
            "found": finding.found,
            "why": finding.why,
            "remedy": finding.remedy,
        }
        for finding in findings
    ]


def lines(findings: Sequence[Finding], look: Look) -> list[str]:
    """All of them, what is off with its reason and remedy, and a sum."""
    shown = [line for finding in findings for line in _finding(finding, look)]
    return [*shown, *look.sum(_sum(findings))]


def _finding(finding: Finding, look: Look) -> list[str]:
    state = f"{_WORDS.get(finding.state, str(finding.state)):>{_STATE}}"
    first, *more = look.wrapped(finding.found, _INDENT)
    head = f"{paint(state, _STYLES[finding.state], colour=look.colour)} {finding.check:{_NAME}}  {first}"
    text = [head, *(" " * _INDENT + line for line in more)]
    for name, said in (("Why: ", finding.why), ("Remedy: ", finding.remedy)):
        if said:
            begin, *rest = look.wrapped(name + said, _INDENT)
            label, _, words = begin.partition(": ")
            text.append(" " * _INDENT + paint(label + ":", "bold", colour=look.colour) + f" {words}")
            text += [" " * (_INDENT + 2) + line for line in rest]
    return text


def _sum(findings: Sequence[Finding]) -> str:
    count = {state: sum(finding.state is state for finding in findings) for state in State}
    parts = [
        f"{count[State.BROKEN]} broken",
        plural(count[State.WARNING], "warning"),
        f"{count[State.OK]} ok",
    ]
    if count[State.UNKNOWN]:
        parts.append(f"{count[State.UNKNOWN]} not known")
    return ", ".join(parts) + "."
