# SPDX-License-Identifier: GPL-2.0-only
"""Reading the journal with cysystemd, which knows how to wait for it, too.

What was found out about its Rule: alternatives are joined by |, but & drops all of its right side except
the last rule, and both change their left side. Filters added one after another must all hold.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from cysystemd.reader import JournalOpenMode, JournalReader, Rule

from mcelogd.ctl.entries import Entry
from mcelogd.ctl.exits import CtlError, Exit

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from mcelogd.ctl.entries import Wanted

MACHINE_ID = Path("/etc/machine-id")
JOURNALS = (Path("/var/log/journal"), Path("/run/log/journal"))
COLLECTED = Path("/var/log/journal/remote")
"""Where systemd-journal-remote puts the journals of other machines."""

_END = 1 << 62
"""Microseconds: after all entries. libsystemd 252's own way to the end is one off with several files."""


def check_local() -> None:
    """Return if the journal of this machine can be read; CtlError otherwise.

    libsystemd does not tell: it leaves out the files that may not be read.
    """
    try:
        machine = MACHINE_ID.read_text().strip()
    except OSError:
        machine = ""
    journals = [place / machine / "system.journal" for place in JOURNALS]
    if any(_may_read(journal) for journal in journals):
        return
    # Whether a file is there cannot be asked where the directory may not be looked into.
    if any(place.is_dir() and not _has_none(place / machine) for place in JOURNALS):
        raise CtlError(
            "the journal may not be read: only root and the group systemd-journal may", Exit.DENIED
        )
    raise CtlError("there is no journal here")


def _has_none(directory: Path) -> bool:
    """Whether it is sure that no journal is there."""
    try:
        return not any(name.endswith(".journal") for name in os.listdir(directory))  # noqa: PTH208  # tells
    except FileNotFoundError:
        return True
    except OSError:
        return False


def check_directory(directory: Path) -> None:
    """Return if there are journals in it that can be read; CtlError otherwise."""
    try:
        found = [path for path in (*directory.iterdir(), *directory.glob("*/*")) if path.suffix == ".journal"]
    except OSError as error:
        raise CtlError(f"{directory}: {error.strerror}", _denied(error)) from None
    if not found:
        raise CtlError(f"{directory}: no journal is in there")
    if not any(map(_may_read, found)):
        raise CtlError(f"{directory}: none of the journals may be read; use sudo", Exit.DENIED)


def _may_read(path: Path) -> bool:
    return os.access(path, os.R_OK, effective_ids=True)


def _denied(error: OSError) -> Exit:
    return Exit.DENIED if isinstance(error, PermissionError) else Exit.FAILURE


def open_reader(reader: Any, directory: Path | None) -> None:
    """Open a JournalReader: the journals in `directory`, or this machine's. CtlError if that fails."""
    try:
        if directory is None:
            check_local()
            reader.open(JournalOpenMode.LOCAL_ONLY)
        else:
            check_directory(directory)
            reader.open_directory(directory)
    except (OSError, SystemError) as error:
        where = directory or "the journal"
        raise CtlError(f"{where}: {getattr(error, 'strerror', None) or error}") from None


def position(reader: Any, wanted: Wanted, uids: Iterable[int], lines: int | None) -> Entry | None:
    """Go to where reading begins; the first entry, if going there has read it already.

    With `lines` that is so many entries before the end, or before wanted.until; with 0, behind the last.
    """
    for alternatives in wanted.matches(list(uids)):
        first, *others = (Rule(field, value) for field, value in alternatives)
        for other in others:
            first = first | other
        reader.add_filter(first)
    if lines is None:
        if wanted.since is None:
            reader.seek_head()
        else:
            reader.seek_realtime_usec(wanted.since)
        return None
    reader.seek_realtime_usec(_END if wanted.until is None else wanted.until)
    found = reader.previous(max(lines, 1))
    if found is None:
        reader.seek_head()  # otherwise what comes would be too old for where the reader is
    return entry_of(found) if found is not None and lines else None


def entries(
    directory: Path | None, wanted: Wanted, uids: Iterable[int], lines: int | None
) -> Iterator[Entry]:
    """The entries that are there now, oldest first."""
    reader = JournalReader()
    open_reader(reader, directory)
    first = position(reader, wanted, uids, lines)
    if lines is not None and first is None:
        return
    if first is not None and wanted.wants(first):
        yield first
    for entry in remaining(reader):
        if wanted.until is not None and entry.time > wanted.until:
            return
        if wanted.wants(entry):
            yield entry


def remaining(reader: Any) -> Iterator[Entry]:
    """What there is behind the place where a reader is."""
    while (found := reader.next()) is not None:
        yield entry_of(found)


def entry_of(found: Any) -> Entry:
    """cysystemd's entry as ours."""
    return Entry(int(found.get_realtime_usec()), dict(found.data), found.cursor.decode(errors="replace"))
