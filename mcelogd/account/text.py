# SPDX-License-Identifier: GPL-2.0-only
"""The counters as the legacy socket sends them.

Monitoring programs parse these lines (docs/differences.md names them), so
their shape is fixed: a heading, then the total and the current period, both
always there where the whole table is asked for.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from mcelogd.account.memory import ANY

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcelogd.account.bucket import Bucket
    from mcelogd.account.memory import Counter, MemoryErrors, MemoryKey, MemoryTable
    from mcelogd.account.pages import PageTable
    from mcelogd.account.parts import Past
    from mcelogd.rate import Rate


def memory_text(table: MemoryTable, now: int, *, every: bool, bios: bool) -> str:
    """The reply to `dump`: `every` shows rows and lines that are 0 too, `bios` the DIMMs' names."""
    rows = ["".join(_memory_row(table, row, now, every=every, bios=bios)) for row in table]
    return "Memory errors\n" + "\n".join(rows) if rows else ""


def pages_text(table: PageTable) -> str:
    """The reply to `pages`."""
    lines = [
        f'{page.address:x}: total {page.total} seen "{seen(page.bucket, table.rate)}" '
        f"{page.state}{' triggered' if page.triggered else ''}\n\n"
        for page in table
    ]
    return "Per page corrected memory statistics:\n" + "".join(lines) if lines else ""


def seen(bucket: Bucket, rate: Rate) -> str:
    """Errors of the current period, such as `4 in 24h`."""
    return f"{bucket.seen} in {rate.period}"


def location_of(errors: MemoryErrors) -> str:
    """A DIMM or socket as triggers and logs name it: `SOCKET:0 CHANNEL:1 DIMM:? [label]`."""
    socket, channel, dimm = errors.key
    names = " ".join(name for name in (errors.label_location, errors.label) if name)
    return f"SOCKET:{socket} CHANNEL:{_or_question_mark(channel)} DIMM:{_or_question_mark(dimm)} [{names}]"


def fault_place(key: MemoryKey) -> str:
    """A DIMM, channel or socket in words: `socket 0 channel 1 DIMM 0`."""
    words = [f"socket {key.socket}"]
    words += [f"channel {key.channel}"] if key.channel != ANY else []
    words += [f"DIMM {key.dimm}"] if key.dimm != ANY else []
    return " ".join(words)


def history_text(past: list[Past]) -> str:
    """The reply to `history`: the DIMM replaced last comes first."""
    return "DIMMs that were replaced\n" + "\n".join(map(_past_text, past)) if past else ""


def _past_text(entry: Past) -> str:
    part = entry.part
    name = " ".join(word for word in (part.label, part.part_number, part.serial) if word)
    when = time.strftime("%Y-%m-%d %H:%M:%S UTC", time.gmtime(entry.until))
    return "".join(
        (
            f"SOCKET {entry.key.socket} CHANNEL {_number(entry.key.channel)} DIMM {_number(entry.key.dimm)}",
            f" until {when}: {entry.why}\n",
            f"\t{name}\n" if name else "",
            f"\t{entry.corrected} corrected memory errors\n",
            f"\t{entry.uncorrected} uncorrected memory errors\n",
        )
    )


def _memory_row(table: MemoryTable, row: MemoryErrors, now: int, *, every: bool, bios: bool) -> Iterator[str]:
    if not every and not row.corrected.total and not row.uncorrected.total:
        return
    socket, channel, dimm = row.key
    yield f"SOCKET {socket} CHANNEL {_number(channel)} DIMM {_number(dimm)}\n"
    if bios:
        yield _names(row)
    rates = table.rates[row.key.is_socket]
    yield from _counter("corrected memory errors", row.corrected, rates.corrected, now, every=every)
    yield from _counter("uncorrected memory errors", row.uncorrected, rates.uncorrected, now, every=every)


def _counter(name: str, counter: Counter, rate: Rate, now: int, *, every: bool) -> Iterator[str]:
    counter.bucket.age(rate, now, clock=now)
    if not every and not counter.total and not counter.bucket.count:
        return
    yield f"{name}:\n"
    yield f"\t{counter.total} total\n"
    yield f"\t{seen(counter.bucket, rate)}\n"


def _number(number: int) -> str:
    return "any" if number == ANY else str(number)


def _names(row: MemoryErrors) -> str:
    names = []
    if row.label:
        names.append(f'DMI_NAME "{row.label}"')
    if row.label_location:
        names.append(f'DMI_LOCATION "{row.label_location}"')
    return " ".join(names) + "\n" if names else ""


def _or_question_mark(number: int) -> str:
    return "?" if number == ANY else str(number)
