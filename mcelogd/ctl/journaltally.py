# SPDX-License-Identifier: GPL-2.0-only
"""Errors of DIMMs counted in journals, without reading what is in the entries.

A journal's index knows which entries have a field with a value. So for each DIMM libsystemd steps from entry
to entry, which takes a microsecond, and only the first and the last are read: their MCE_COUNT says whether
all that is between them was logged. Only where it was not, as in a storm, each entry's count is read.

By what systemd-python is made on, because itself it converts each value; cysystemd always reads all fields.
"""

from __future__ import annotations

from collections import defaultdict
from typing import TYPE_CHECKING, Any, Final, NamedTuple

from systemd._reader import LOCAL_ONLY, _Reader

from mcelogd import message_ids
from mcelogd.ctl import journal
from mcelogd.ctl.dimmtally import DimmTally, increase, place_of_location
from mcelogd.ctl.entries import ALL_MACHINES, machine_match
from mcelogd.ctl.output import say
from mcelogd.event import Severity

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from mcelogd.ctl.entries import Wanted

    _Alternatives = list[tuple[str, str | bytes]]

_END: Final = (1 << 62) - 1
"""Microseconds: after all entries."""
_WORSE: Final = frozenset(str(one) for one in Severity if not one.is_corrected)


class _Found(NamedTuple):
    """Errors of a DIMM; of the last one when it was, whose, and what the DIMM is called."""

    errors: int
    last: int
    host: str
    label: str


_NOTHING: Final = _Found(0, 0, "", "")


def tallies(directory: Path | None, wanted: Wanted, uids: Iterable[int]) -> Iterator[DimmTally]:
    """Each DIMM with memory errors; of journals that cannot be read it is said. CtlError if none can."""
    users: _Alternatives = [("_UID", str(uid)) for uid in uids]
    if directory is None:
        journal.check_local()
        yield from _of_reader(_Reader(LOCAL_ONLY), wanted, users)
        return
    journal.check_directory(directory)
    for name, files in sorted(_by_origin(directory).items()):
        try:
            with _Reader(0, files=[str(file) for file in files]) as reader:
                yield from _of_reader(reader, wanted, users)
        except OSError as error:
            say(f"{name}: {error.strerror}; errors of that machine are missing")


def _by_origin(directory: Path) -> dict[str, list[Path]]:
    """The files of each machine, or of each sender: one that is full goes on as NAME@....journal.

    They are read one after another: among all files at once, libsystemd looks for the next entry in each.
    """
    found: defaultdict[str, list[Path]] = defaultdict(list)
    for path in (*directory.iterdir(), *directory.glob("*/*")):
        if path.suffix in (".journal", ".journal~"):
            found[str(path.parent / path.name.partition("@")[0].removesuffix(".journal"))].append(path)
    return found


def _of_reader(reader: Any, wanted: Wanted, users: _Alternatives) -> Iterator[DimmTally]:
    locations: defaultdict[str, list[bytes]] = defaultdict(list)
    for location in reader.query_unique("MCE_LOCATION"):
        if place := place_of_location(_text(location)):
            locations[place].append(_raw(location))
    for machine in sorted(map(_text, reader.query_unique("_MACHINE_ID"))) if locations else ():
        for place in sorted(locations):
            where: _Alternatives = [("MCE_LOCATION", one) for one in locations[place]]
            matches: list[_Alternatives] = [users, [("_MACHINE_ID", machine)], where]
            if wanted.machine != ALL_MACHINES:
                matches.append([machine_match(wanted.machine)])
            found = [_of_dimm(reader, wanted, matches, worse) for worse in (False, True)]
            corrected, uncorrected = found
            if corrected.errors or uncorrected.errors:
                newest = max(found, key=lambda one: one.last)
                counts = (corrected.errors, uncorrected.errors, newest.last)
                yield DimmTally(machine, newest.host, place, newest.label, *counts)


def _of_dimm(reader: Any, wanted: Wanted, matches: list[_Alternatives], worse: bool) -> _Found:
    """The corrected errors of a DIMM, or the worse ones, as far as they are asked for."""
    severities = wanted.severities & _WORSE if worse else wanted.severities & {Severity.CORRECTED}
    if wanted.severities and not severities:
        return _NOTHING
    kind = message_ids.UNCORRECTED_MEMORY_ERROR if worse else message_ids.CORRECTED_MEMORY_ERROR
    asked: list[_Alternatives] = [[("MESSAGE_ID", kind)]]
    if worse and severities:
        asked.append([("MCE_SEVERITY", one) for one in sorted(severities)])
    _match(reader, [*matches, *asked])
    until = _END if wanted.until is None else wanted.until
    # The uncorrected errors of a DIMM are counted together, whatever their severity.
    return _counted(reader, wanted.since or 0, until, has_counts=not (worse and severities))


def _match(reader: Any, matches: list[_Alternatives]) -> None:
    """Of each list one must hold."""
    reader.flush_matches()
    for alternatives in matches:
        reader.add_conjunction()
        for field, value in alternatives:
            reader.add_match(field.encode() + b"=" + _raw(value))


def _counted(reader: Any, since: int, until: int, *, has_counts: bool) -> _Found:
    """What the entries that match add up to; `has_counts` if their MCE_COUNT counts them and no others."""
    reader.seek_realtime(until + 1)
    if not reader._previous() or reader._get_realtime() < since:
        return _NOTHING
    last, newest = reader._get_realtime(), _field(reader, "MCE_COUNT")
    # An error of two DIMMs at once has the count and, first, the label of any of them.
    is_shared = isinstance(reader._get_all().get("MCE_LOCATION"), list)
    label = "" if is_shared else _field(reader, "MCE_DIMM_LABEL")
    host = _field(reader, "_HOSTNAME")
    entries, oldest = _entries(reader, since, until)
    is_complete = newest.isdecimal() and oldest.isdecimal() and int(newest) - int(oldest) + 1 == entries
    if has_counts and not is_complete and not is_shared:
        return _Found(_sum(reader, since, until), last, host, label)
    return _Found(entries, last, host, label)


def _entries(reader: Any, since: int, until: int) -> tuple[int, str]:
    """How many there are, and the count of the first. This is where the time goes."""
    reader.seek_realtime(since)
    if not reader._next():
        return 0, ""
    oldest = _field(reader, "MCE_COUNT")
    number, step, stamp = 1, reader._next, reader._get_realtime
    if until == _END:
        while step():
            number += 1
    else:
        while step() and stamp() <= until:
            number += 1
    return number, oldest


def _sum(reader: Any, since: int, until: int) -> int:
    """Errors by the count of each entry."""
    errors, before = 0, None
    reader.seek_realtime(since)
    while reader._next() and reader._get_realtime() <= until:
        text = _field(reader, "MCE_COUNT")
        count = int(text) if text.isdecimal() else None
        errors += increase(before, count)
        before = before if count is None else count
    return errors


def _field(reader: Any, name: str) -> str:
    """Empty if the entry does not have it."""
    try:
        return _text(reader._get(name))
    except KeyError:
        return ""


def _text(value: str | bytes) -> str:
    return value if isinstance(value, str) else value.decode(errors="replace")


def _raw(value: str | bytes) -> bytes:
    return value if isinstance(value, bytes) else value.encode()
