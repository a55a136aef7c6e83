# SPDX-License-Identifier: GPL-2.0-only
"""Whether anything speaks against the machine: what `mcelogctl status` says and exits with. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from mcelogd.ctl.exits import Exit
from mcelogd.ctl.text import plural

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from mcelogd.ctl.units import Unit


class Finding(NamedTuple):
    """One thing that speaks against the machine: what is to be done, about what, and why."""

    status: Exit
    what: str
    about: str
    reasons: Sequence[str]


class Verdict(NamedTuple):
    """The sum of it."""

    status: Exit
    findings: list[Finding]

    @property
    def word(self) -> str:
        """ok, watch, act, blind, unknown: stable, for programs."""
        return _WORDS[self.status]

    @property
    def sentence(self) -> str:
        """For people."""
        return _SENTENCES[self.status]


_WORDS = {
    Exit.OK: "ok",
    Exit.WATCH: "watch",
    Exit.ACT: "act",
    Exit.BLIND: "blind",
    Exit.DENIED: "unknown",
}
_SENTENCES = {
    Exit.OK: "nothing speaks against this machine",
    Exit.WATCH: "there is something to watch",
    Exit.ACT: "there is something to do",
    Exit.BLIND: "machine checks are not being read",
    Exit.DENIED: "not all that matters may be read",
}
_WEIGHT = (Exit.OK, Exit.WATCH, Exit.DENIED, Exit.BLIND, Exit.ACT)
"""From the lightest: what is not known may be worse than what is to be watched."""

_ADVICE = {"watch": Exit.WATCH, "replace": Exit.ACT, "channel": Exit.ACT}


def judge(manager: Mapping[str, Any], dimms: Sequence[Unit] | None, sockets: Sequence[Unit]) -> Verdict:
    """The verdict on a machine; `dimms` is None if they may not be read."""
    findings = [finding for dimm in dimms or () for finding in _of_dimm(dimm)]
    findings += _uncorrected(manager, dimms or (), sockets)
    state = str(manager.get("SourceState", ""))
    if state not in ("reading", "ended"):
        reason = f"{manager.get('Source', '')}: {state}; journalctl -u mcelog says why"
        findings.append(Finding(Exit.BLIND, "repair", "mcelog's source of machine checks", [reason]))
    statuses = [Exit.OK, *(finding.status for finding in findings)]
    if dimms is None:
        statuses.append(Exit.DENIED)
    findings.sort(key=lambda finding: -_WEIGHT.index(finding.status))
    return Verdict(max(statuses, key=_WEIGHT.index), findings)


def _of_dimm(dimm: Unit) -> list[Finding]:
    advice = dimm.text("Advice")
    reasons = [str(reason) for reason in dimm.properties.get("AdviceReasons", ())]
    found = []
    if status := _ADVICE.get(advice):
        what = "look at the channel of" if advice == "channel" else advice
        found.append(Finding(status, what, dimm.name, reasons))
    if (errors := dimm.number("UncorrectedErrors")) and advice != "replace":
        found.append(Finding(Exit.ACT, "look at", dimm.name, [f"had {plural(errors, 'uncorrected error')}"]))
    return found


def _uncorrected(manager: Mapping[str, Any], dimms: Sequence[Unit], sockets: Sequence[Unit]) -> list[Finding]:
    """Uncorrected errors beside those of the DIMMs that are there: of memory or not, they did harm."""
    of_dimms = sum(dimm.number("UncorrectedErrors") for dimm in dimms)
    of_sockets = sum(socket.number("UncorrectedErrors") for socket in sockets)
    others = max(int(manager.get("UncorrectedErrors", 0)), of_sockets) - of_dimms
    if others <= 0:
        return []
    count = plural(others, "uncorrected error")
    reason = "mcelogctl events -s deferred+ shows what; mcelogctl reset --all once it is dealt with"
    return [
        Finding(Exit.ACT, "look at", f"{count} of no DIMM that is there" if of_dimms else count, [reason])
    ]
