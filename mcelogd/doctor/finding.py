# SPDX-License-Identifier: GPL-2.0-only
"""What came of a check. Pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterable


class State(enum.StrEnum):
    """How a link of the chain is."""

    OK = "ok"
    WARNING = "warning"
    BROKEN = "broken"
    UNKNOWN = "unknown"
    NOT_APPLICABLE = "not applicable"


class Finding(NamedTuple):
    """One line about one link: what was found, why it matters, and what to do about it.

    Texts may have come from anywhere: whoever shows them makes them printable.
    """

    state: State
    found: str
    why: str = ""
    remedy: str = ""
    check: str = ""


AS_ROOT = "run it as root: sudo mcelogctl doctor"
LONGEST = 400
"""Characters of a text from elsewhere that are shown."""


def ok(found: str) -> Finding:
    return Finding(State.OK, found)


def warning(found: str, why: str, remedy: str) -> Finding:
    return Finding(State.WARNING, found, why, remedy)


def broken(found: str, why: str, remedy: str) -> Finding:
    return Finding(State.BROKEN, found, why, remedy)


def unknown(found: str, remedy: str = AS_ROOT) -> Finding:
    return Finding(State.UNKNOWN, found, remedy=remedy)


def not_applicable(found: str) -> Finding:
    return Finding(State.NOT_APPLICABLE, found)


def cut(text: str) -> str:
    """A text from elsewhere, not too long."""
    return text if len(text) <= LONGEST else text[:LONGEST] + "..."


def exit_status(findings: Iterable[Finding]) -> int:
    """0 all well, as far as could be seen; 1 there are warnings; 2 something is broken."""
    states = {finding.state for finding in findings}
    if State.BROKEN in states:
        return 2
    return 1 if State.WARNING in states else 0
