# SPDX-License-Identifier: GPL-2.0-only
"""What loggers put before a kernel's or mcelog's line, and whose line it is."""

from __future__ import annotations

import re
from typing import NamedTuple


class Source(NamedTuple):
    """Whose line it is, as far as the line says; an empty part is not known.

    `caller` is the kernel's caller id (CONFIG_PRINTK_CALLER): T and a task's
    number, or C and a CPU's.
    """

    host: str = ""
    program: str = ""
    caller: str = ""


NOBODY = Source()

MARKERS = ("[Hardware Error]:", "mcelog: ", "mce: ")
"""Texts that end a prefix, whatever stands before them."""

MARKER_WITHIN = 512
"""A marker further into the line is part of its text."""

_FACILITIES = "kern|user|mail|daemon|auth|syslog|lpr|news|uucp|cron|authpriv|ftp|local[0-7]"
_CLOCK = r"\d\d:\d\d:\d\d(?:[.,]\d{1,9})?"
_PID = r"(?:\[\d{1,10}\])?"
_STAMP = rf"""(?:
      [A-Z][a-z]{{2}}\ {{1,2}}\d{{1,2}}\ (?:\d{{4}}\ )?{_CLOCK}
    | \d{{4}}-\d\d-\d\d[T\ ]{_CLOCK}(?:Z|[+-]\d\d:?\d\d)?
    | [A-Z][a-z]{{2}}\ \d{{4}}-\d\d-\d\d\ {_CLOCK}\ [A-Z+\-\d]{{1,6}}
    | \d{{9,11}}\.\d{{6}}
)"""

# Nothing follows the group and every part is bounded or a run of one class, so a match costs no
# more than the length of the prefix. Of a group that matches twice the last one counts.
_PREFIX = re.compile(
    rf"""(?:
      \s+ | \ufeff
    | <\d{{1,3}}>
    | \[\ {{0,12}}(?P<caller>[TC]\d{{1,10}})\]
    | \[(?=[\ +\d]|[A-Z][a-z]{{2}}[\ \d])[^\[\]]{{1,80}}\] | \[Hardware\ Error\]:?
    | {_STAMP}\ (?!EDAC\ |CPU\ )(?P<host>[\w.@-]{{1,255}})
      \ (?P<program>[A-Za-z_(][^\s:\[\]]{{0,63}}){_PID}:(?=\s)
    | {_STAMP}(?=\s)
    | (?P<host2>[\w.@-]{{1,255}})\ (?P<program2>kernel|mcelog){_PID}:
    | (?:kernel|mcelog|mce|MCE){_PID}:
    | (?:[\w.+~-]{{1,64}},)?\d{{1,3}},\d{{1,20}},\d{{1,20}},[-c+]
      (?:,caller=(?P<caller2>[TC]\d{{1,10}}))?(?:,[^;\s]{{1,100}})?;
    | (?:{_FACILITIES})\ {{0,8}}:[a-z]{{3,7}}\ {{0,8}}:
    | EDAC\ \S{{1,64}}\ MC\d{{1,4}}: | EDAC\ DEBUG:\ \w{{1,64}}:
    | MESSAGE=
    | \(XEN\) | \{{\d{{1,10}}\}}
    | [>|]+(?=\s)
    )+""",
    re.VERBOSE | re.ASCII,
)

_KERNEL_ONLY = re.compile(
    r"(?:\[ {0,12}\d{1,10}\.\d{1,9}\] )?mce: \[Hardware Error\]: (?=CPU |RIP |TSC |PROCESSOR )"
)
_ESCAPES = re.compile(r"\x1b\[[\d;]{0,32}[A-Za-z]")


def split_prefix(line: str) -> tuple[Source, str]:
    """Who wrote the line, and the line without what its logger put before it.

    Date, host, program, log level, caller id and subsystem may come in any
    order and number.
    """
    match = _KERNEL_ONLY.match(line)
    if match is not None:
        return NOBODY, line[match.end() :]
    if line.startswith('{"'):
        source, line = _journal_entry(line)
        inner, text = split_prefix(line) if line[:1] != "{" else (NOBODY, line)
        return Source(*(own or other for own, other in zip(inner, source, strict=True))), text
    if "\x1b" in line:
        line = _ESCAPES.sub("", line)
    match = _PREFIX.match(line)
    if match is None:
        return NOBODY, line
    host, program, host2, program2, caller, caller2 = match.group(
        "host", "program", "host2", "program2", "caller", "caller2"
    )
    if not (host or host2 or caller or caller2):
        return NOBODY, line[match.end() :]
    source = Source(host or host2 or "", program or program2 or "", caller or caller2 or "")
    return source, line[match.end() :]


def _journal_entry(line: str) -> tuple[Source, str]:
    """Who wrote the MESSAGE of an entry as `journalctl -o json` shows it, and the message."""
    import json  # on use: not needed for any other log

    try:
        entry = json.loads(line)
        message = entry["MESSAGE"]
    except (ValueError, KeyError, RecursionError):
        return NOBODY, line
    if not isinstance(message, str):
        return NOBODY, line
    host, program = (entry.get(name) for name in ("_HOSTNAME", "SYSLOG_IDENTIFIER"))
    source = Source(host if isinstance(host, str) else "", program if isinstance(program, str) else "")
    return source, message.strip()


def after_marker(text: str) -> str:
    """The text behind the last marker, for loggers nobody has heard of; empty if there is none."""
    for marker in MARKERS:
        at = text.rfind(marker, 0, MARKER_WITHIN)
        if at >= 0:
            return text[at + len(marker) :].lstrip()
    return ""


def may_be_same(one: Source, other: Source) -> bool:
    """Whether two lines can be of one writer: no part that both know differs."""
    return all(a == b or not a or not b for a, b in zip(one, other, strict=True))
