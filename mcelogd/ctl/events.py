# SPDX-License-Identifier: GPL-2.0-only
"""`mcelogctl events` and `show`: from the journal, and where that cannot be, from mcelog's store.

cysystemd and D-Bus are loaded where they are needed: either takes as long as all the rest.
"""

from __future__ import annotations

import os
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd.ctl.entries import ALL_MACHINES, Entry, Wanted, json_line, stored_fields
from mcelogd.ctl.eventlines import EventLines, event_in_full
from mcelogd.ctl.exits import CtlError, Exit
from mcelogd.ctl.output import say
from mcelogd.ctl.text import plural
from mcelogd.ctl.times import parse_time

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from mcelogd.ctl.output import Output, Writer

FOLLOWED_LINES = 10
"""How many are shown before those that come, as by journalctl -f."""


class Listing:
    """What is to be shown, and how; counts what was."""

    def __init__(self, wanted: Wanted, lines: int | None, form: Callable[[Entry], str], heading: str) -> None:
        """`lines`: so many of the newest, None for all. Without a heading there is no sum, either."""
        self.wanted = wanted
        self.lines = lines
        self._form = form
        self._heading = heading
        self._count = 0

    def show(self, writer: Writer, entry: Entry) -> None:
        if self._heading and not self._count:
            writer.write(self._heading)
        writer.write(self._form(entry))
        self._count += 1

    def end(self, writer: Writer) -> None:
        if self._heading:
            total = f"\n{plural(self._count, 'entry', 'entries')}."
            writer.write(total if self._count else "No entry.")


def events(options: argparse.Namespace, output: Output) -> Exit:
    """The list."""
    if options.follow and options.until is not None:
        raise CtlError("--follow never comes to --until; leave one of them out", Exit.USAGE)
    if options.host and (options.directory or options.machine):
        raise CtlError(
            "--directory and --machine are about journals on this machine, not on --host", Exit.USAGE
        )
    directory = directory_of(options)
    if options.by:
        return _by_dimm(options, output, directory)
    if options.more_than is not None:
        raise CtlError("--more-than goes with --by dimm", Exit.USAGE)
    listing = _listing(options, output, directory)
    if options.host or not _has_journal(directory):
        return _from_store(options, output, listing)
    if options.follow:
        return _follow_journal(output, directory, listing)
    from mcelogd.ctl import journal

    with output.paged() as writer:
        for entry in journal.entries(directory, listing.wanted, trusted(), listing.lines):
            listing.show(writer, entry)
        listing.end(writer)
    return Exit.OK


def _by_dimm(options: argparse.Namespace, output: Output, directory: Path | None) -> Exit:
    refused = [name for name in ("follow", "all", "kind") if getattr(options, name)]
    if refused:
        raise CtlError(f"--by counts memory errors that are there: leave --{refused[0]} out", Exit.USAGE)
    if options.host:
        raise CtlError("--by counts in journals on this machine: leave --host out", Exit.USAGE)
    from mcelogd.ctl.dimmtally import json_line as tally_line
    from mcelogd.ctl.dimmtally import lines, merged, worst_first
    from mcelogd.ctl.journaltally import tallies

    wanted = wanted_of(options, int(time.time() * 1e6))
    counted = merged(tallies(directory, wanted, trusted()))
    found = worst_first(counted, options.more_than or 0, options.lines)
    output.lines(map(tally_line, found) if output.json else lines(found, output.look()))
    return Exit.OK


def _listing(options: argparse.Namespace, output: Output, directory: Path | None) -> Listing:
    wanted = wanted_of(options, int(time.time() * 1e6))
    lines = options.lines
    if lines is None and options.follow and wanted.since is None:
        lines = FOLLOWED_LINES
    if output.json:
        return Listing(wanted, lines, json_line, "")
    look = output.look()
    shape = EventLines(look, machines=directory is not None and wanted.machine == ALL_MACHINES)
    return Listing(wanted, lines, shape.line, shape.heading() if look.legend else "")


def wanted_of(options: argparse.Namespace, now: int) -> Wanted:
    """What the options ask for; CtlError for a time that is none."""
    try:
        since, until = (
            None if text is None else parse_time(text, now) for text in (options.since, options.until)
        )
    except ValueError as error:
        raise CtlError(str(error), Exit.USAGE) from None
    return Wanted(
        kinds=options.kind or frozenset(),
        severities=options.severity or frozenset(),
        since=since,
        until=until,
        everything=options.all,
        machine=options.machine or ALL_MACHINES,
    )


def directory_of(options: argparse.Namespace) -> Path | None:
    """Whose journal is read; None for this machine's own."""
    if options.directory is not None:
        return Path(options.directory)
    if options.machine is not None:
        from mcelogd.ctl.journal import COLLECTED

        return COLLECTED
    return None


def trusted() -> list[int]:
    """The users whose entries are believed: root, and who asks."""
    return sorted({0, os.getuid()})


def _has_journal(directory: Path | None) -> bool:
    """Whether the journal can be read; if not, say that the store must do. CtlError where it would not."""
    try:
        from mcelogd.ctl import journal
    except ImportError as error:
        if directory is not None:
            raise CtlError(f"journals cannot be read: {error}; install cysystemd") from None
        say(f"the journal cannot be read: {error}; this is from mcelog's store")
        return False
    if directory is not None:
        return True
    try:
        journal.check_local()
    except CtlError as error:
        say(f"{error}; this is from mcelog's store")
        return False
    return True


def _follow_journal(output: Output, directory: Path | None, listing: Listing) -> Exit:
    import asyncio

    from mcelogd.ctl.follow import follow

    async def run() -> None:
        with output.live() as writer:
            async for entry in follow(directory, listing.wanted, trusted(), listing.lines):
                listing.show(writer, entry)

    asyncio.run(run())
    return Exit.OK


def _from_store(options: argparse.Namespace, output: Output, listing: Listing) -> Exit:
    import asyncio

    from mcelogd.ctl.service import connected
    from mcelogd.ctl.stored import StoredEvents

    if options.all:
        say("--all is of the journal; the store has events only")

    async def run() -> None:
        async with connected(options) as service:
            found = StoredEvents(service, listing.wanted)
            with output.live() if options.follow else output.paged() as writer:
                async for entry in found.there(listing.lines):
                    listing.show(writer, entry)
                if not options.follow:
                    listing.end(writer)
                    return
                async for entry in found.arriving():
                    listing.show(writer, entry)
                raise CtlError("the connection to the bus is lost", Exit.UNREACHABLE)

    asyncio.run(run())
    return Exit.OK


def show(options: argparse.Namespace, output: Output) -> Exit:
    """One event in full: the newest entry with that number, as a store may have begun anew."""
    entry = None if options.host else _journal_entry(options, directory_of(options))
    if entry is None:
        entry = _stored_entry(options)
    output.lines([json_line(entry)] if output.json else event_in_full(entry, output.look()))
    return Exit.OK


def _journal_entry(options: argparse.Namespace, directory: Path | None) -> Entry | None:
    """None if the store is to be asked."""
    try:
        from mcelogd.ctl import journal

        wanted = Wanted(event_id=options.id, machine=options.machine or ALL_MACHINES)
        found = next(journal.entries(directory, wanted, trusted(), 1), None)
    except (ImportError, CtlError):
        if directory is not None:
            raise
        return None
    if found is None and directory is not None:
        raise CtlError(f"there is no event {options.id} in {directory}")
    return found


def _stored_entry(options: argparse.Namespace) -> Entry:
    import asyncio

    from mcelogd.ctl.service import connected

    async def ask() -> Entry:
        async with connected(options) as service:
            (fields,) = await service.call("GetEvent", "t", options.id)
        return stored_fields(fields)

    return asyncio.run(ask())
