# SPDX-License-Identifier: GPL-2.0-only
"""The commands of `mcelogctl` and what each takes, as tables that parser and help follow. Pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.event import Kind, Severity

if TYPE_CHECKING:
    from collections.abc import Callable


class Argument(NamedTuple):
    """One option, by its names, or one argument, by the name of its value; `value` is how help calls it."""

    names: str
    value: str
    text: str
    parse: Callable[[str], object] | None = None
    """Makes a value of the text, or raises ValueError saying what is wrong."""
    may_lack: bool = False

    @property
    def is_option(self) -> bool:
        return self.names.startswith("-")


class Example(NamedTuple):
    """Arguments, and what they are for."""

    arguments: str
    text: str


class Command(NamedTuple):
    """How a command is called, what it does in half a line, and what else there is to say."""

    name: str
    usage: str
    summary: str
    arguments: tuple[Argument, ...] = ()
    text: str = ""
    examples: tuple[Example, ...] = ()


def _address(text: str) -> int:
    if not re.fullmatch(r"0x[0-9a-fA-F]{1,16}", text):
        raise ValueError(f"{text!r} is no address: write it in hexadecimal with 0x before it")
    return int(text, 16)


def _id(text: str) -> int:
    if not re.fullmatch(r"#?[0-9]{1,18}", text):
        raise ValueError(f"{text!r} is not the number of an event")
    return int(text.removeprefix("#"))


def _count(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,9}", text):
        raise ValueError(f"{text!r} is not a number of lines")
    return int(text)


def _errors(text: str) -> int:
    if not re.fullmatch(r"[0-9]{1,18}", text):
        raise ValueError(f"{text!r} is not a number of errors")
    return int(text)


def _by(text: str) -> str:
    if text != "dimm":
        raise ValueError(f"{text!r} is nothing to count by: there is dimm")
    return text


def kinds(text: str) -> frozenset[str]:
    """The kinds of events that `text` names, with commas between them."""
    return frozenset(_one_of(word, list(Kind), "kind") for word in text.split(","))


def severities(text: str) -> frozenset[str]:
    """Those that `text` names; `deferred+` is deferred and all that are worse."""
    order = [str(one) for one in Severity]
    found: set[str] = set()
    for word in text.split(","):
        name = _one_of(word.removesuffix("+"), order, "severity")
        found |= {name, *(order[order.index(name) :] if word.endswith("+") else ())}
    return frozenset(found)


def _one_of(word: str, known: list[str] | list[Kind], what: str) -> str:
    if word not in known:
        raise ValueError(f"{word!r} is no {what}: there are {', '.join(known)}")
    return word


_DIMM = Argument("place", "DIMM", "SOCKET/CHANNEL/DIMM, such as 0/1/0, or its label")
_JOURNAL = (
    Argument("-D --directory", "DIR", "the journal in this directory"),
    Argument(
        "--machine", "MACHINE", "of this machine, by id or host name, where there are several; or of all"
    ),
)

EVENTS = (
    Argument("-S --since", "TIME", "not older than that"),
    Argument("-U --until", "TIME", "not newer than that"),
    Argument("-k --kind", "KIND,...", ", ".join(Kind), kinds),
    Argument("-s --severity", "SEVERITY,...", ", ".join(Severity) + "; with a + that and worse", severities),
    Argument("-n --lines", "N", "the newest N only; with --by, the worst N", _count),
    Argument("-f --follow", "", "wait for more and show it, too, beginning with the newest 10"),
    Argument("--all", "", "all that mcelog logs, also what it concluded and did, and of itself"),
    Argument("--by", "dimm", "how many memory errors each DIMM had, the worst first", _by),
    Argument("--more-than", "N", "with --by, only DIMMs that had more", _errors),
    *_JOURNAL,
)

COMMANDS = (
    Command(
        "status",
        "",
        "Whether anything speaks against the machine; also as exit status",
        text="""\
Exit status: 0 nothing speaks against the machine; 10 a DIMM is to be watched; 11 a DIMM or
channel is to be dealt with, or errors were uncorrected; 12 machine checks are not being read.""",
        examples=(
            Example("", "the same as mcelogctl alone"),
            Example("--json | jq .verdict", "for a script"),
        ),
    ),
    Command(
        "dimms",
        "[DIMM]",
        "DIMMs: errors, what they have in common, advice",
        (_DIMM._replace(text="all that is known of this one: 0/1/0, or its label", may_lack=True),),
        examples=(
            Example("", "all of them"),
            Example("CPU1_DIMM_B1", "one, with the reasons for its advice"),
        ),
    ),
    Command("sockets", "", "Processor sockets: memory errors, and CPUs with other errors"),
    Command("pages", "", "Pages of memory with errors, and what was done about them"),
    Command(
        "events",
        "[OPTION...]",
        "Errors one by one, from the journal",
        EVENTS,
        """\
Times are written as for systemd: today, yesterday, -2h, "3 days ago", 10:00,
"2026-11-22 10:00", @1795374194. Of other machines the journals are read that
systemd-journal-remote collected, in /var/log/journal/remote or in DIR. Who may not read the
journal, or asks another --host, gets what mcelog's store has.""",
        (
            Example("-n 20", "the newest 20"),
            Example("-f -s deferred+", "wait for errors that are not corrected"),
            Example("--since yesterday -k memory", "memory errors since yesterday 0:00"),
            Example("--machine all --since -7d", "a week of all collected machines"),
            Example("--machine all --since -7d --by dimm", "their worst DIMMs"),
            Example("--json --since today", "for a program, an object a line"),
        ),
    ),
    Command(
        "show",
        "ID",
        "One event in full",
        (Argument("id", "ID", "number of the event, as events shows it", _id), *_JOURNAL),
        examples=(Example("1042", "event 1042"),),
    ),
    Command("history", "", "DIMMs that were replaced, and what they had counted"),
    Command("monitor", "", "What happens, as it happens"),
    Command(
        "offline-page",
        "ADDRESS [--hard]",
        "Take a page of memory out of use",
        (
            Argument("page", "ADDRESS", "physical address of the page, or of anything in it", _address),
            Argument("--hard", "", "at once, even if processes are killed by it"),
        ),
        "Without --hard what is in the page is moved elsewhere, and nobody notices.",
        (Example("0x4c0d00000", "the page that holds this address"),),
    ),
    Command(
        "replaced",
        "DIMM",
        "Say that a DIMM is another one now: its counters begin anew",
        (_DIMM,),
        "What the old one had counted is kept: mcelogctl history.",
        (Example("1/1/0", "socket 1, channel 1, DIMM 0"), Example("CPU1_DIMM_B1", "by its label")),
    ),
    Command(
        "acquit",
        "DIMM",
        "Say that a DIMM is sound: thresholds and diagnosis begin anew",
        (_DIMM,),
        "How many errors it had in all is still counted.",
        (Example("CPU1_DIMM_B1", "after its slot was cleaned"),),
    ),
    Command(
        "reset",
        "OBJECT|--all",
        "Set counters to zero",
        (
            Argument("place", "OBJECT", "a DIMM, or the number of a socket", may_lack=True),
            Argument("--all", "", "all counters of this machine"),
        ),
        examples=(
            Example("1/1/0", "of a DIMM"),
            Example("1", "of socket 1"),
            Example("--all", "of everything"),
        ),
    ),
    Command(
        "doctor",
        "",
        "What keeps errors from being logged, and the remedy",
        (Argument("--root", "DIR", "look at the system whose file system is in DIR, not at this one"),),
        """\
Looks at each link of the chain from the CPU to the journal, in that order. Needs neither a
running mcelog nor a bus; as root it sees more. Exit status: 0 all is well, as far as can be seen;
1 there are warnings; 2 something is broken.""",
        (
            Example("", "why is nothing logged?"),
            Example("--json | jq '.[] | select(.state == \"broken\").remedy'", "for a script"),
        ),
    ),
    Command(
        "metrics",
        "[--textfile FILE|--serve]",
        "Counts for Prometheus, as OpenMetrics text",
        (
            Argument("--textfile", "FILE", "put them into this file, as node_exporter reads it"),
            Argument("--serve", "", "answer HTTP on the socket that systemd listens on"),
        ),
        """\
mcelog is not started for it: where it does not run, mcelog_up is 0 and the rest is absent.
mcelog-metrics.timer and mcelog-exporter.socket do one or the other all the time.""",
        (
            Example("", "look at them"),
            Example("--textfile /var/lib/prometheus/node-exporter/mcelog.prom", "as the timer does"),
        ),
    ),
    Command("reload", "", "Read mcelog.conf again"),
    Command("self-test", "", "Have one harmless error injected, and see whether it is logged"),
)

OPTIONS = (
    Argument("-H --host", "[USER@]HOST[:PORT]", "ask the mcelog of another machine, by ssh"),
    Argument("--address", "BUS", "the bus: system, session, or an address such as unix:path=/run/bus"),
    Argument("--json", "", "print JSON: one document; of events and monitor an object a line"),
    Argument("--no-pager", "", "do not start a pager"),
    Argument("--no-legend", "", "no headings, no sums"),
    Argument("--no-ask-password", "", "rather fail than ask for a password"),
)

EXAMPLES = (
    Example("", "is the machine well?"),
    Example("events --since today -s deferred+", "errors of today that were not corrected"),
    Example("dimms CPU1_DIMM_B1", "what is known of a DIMM"),
    Example("-H root@db7", "is another machine well?"),
)
