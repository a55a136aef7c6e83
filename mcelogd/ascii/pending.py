# SPDX-License-Identifier: GPL-2.0-only
"""Records that lines may still be added to, and the lines that wait behind them."""

from __future__ import annotations

from collections import deque
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.ascii.fields import Style
from mcelogd.ascii.prefix import NOBODY, may_be_same
from mcelogd.record import MceRecord

if TYPE_CHECKING:
    from mcelogd.ascii.heads import Head
    from mcelogd.ascii.prefix import Source

PATIENCE = 1024
"""Lines of others after which an unfinished record is taken to be cut off."""

PATIENCE_WHEN_COMPLETE = 32
"""The same for a record that has all that is usually printed."""

MOST_LINES = 4096
"""Lines and records that wait for a record to be finished."""

MOST_CHARACTERS = 4 << 20
"""Characters of the lines that wait."""

MOST_OPEN = 32
"""Records open at once, of different sources."""

TAIL = ("socketid", "apicid", "mcgcap", "synd", "ipid", "ppin", "microcode")
"""Fields younger than the oldest `struct mce`, in its order."""

IDENTITY = ("cpu", "bank", "status")
"""What two prints of one error have in common."""

# The kernel's record was at least as long as its last field in the text; newest first.
_AT_LEAST = tuple((TAIL[i], dict.fromkeys(TAIL[:i], 0)) for i in range(len(TAIL) - 1, 0, -1))


class Assembled(NamedTuple):
    """A record found in a text.

    `symbol` is the kernel's name of the function at RIP. `incomplete` says
    that CPU or bank are missing or that a value could not be read.
    `disclaimed` says that the line "Hardware event. This is not a software
    error." (or "HARDWARE ERROR") stood before it; it is not passed through.
    `cpu_name` is the CPU type, as `--cpu` takes it, where the text names one
    but has no cpuid.
    """

    record: MceRecord
    symbol: str = ""
    incomplete: bool = False
    disclaimed: bool = False
    cpu_name: str = ""


class Pending:
    """One record that is being put together.

    `fields` are those of MceRecord, and `cpu`. `heard` is the number of
    foreign lines before its newest line. `prose`: decoded sentences follow,
    up to STATUS. `wrapped` is text whose rest must be on the next line.
    `parked`: another CPU's record has begun since, only lines that name the
    CPU are for this one. `before` are fields that an earlier print of the same
    record had, should the later one be cut off.
    """

    __slots__ = (
        "bad", "before", "closed", "cpu_name", "disclaimed", "fields", "heard", "parked", "prose", "source",
        "style", "symbol", "wrapped",
    )  # fmt: skip

    def __init__(self, source: Source, heard: int) -> None:
        self.source = source
        self.heard = heard
        self.style = Style.PLAIN
        self.fields: dict[str, int] = {}
        self.before: dict[str, int] = {}
        self.cpu_name = ""
        self.symbol = ""
        self.wrapped = ""
        self.bad = False
        self.prose = False
        self.disclaimed = False
        self.parked = False
        self.closed = False

    @property
    def has_status(self) -> bool:
        return "status" in self.fields

    @property
    def patience(self) -> int:
        """How many lines of others may stand between this record's lines."""
        complete = "status" in self.fields and "cpuid" in self.fields
        return PATIENCE_WHEN_COMPLETE if complete else PATIENCE

    @property
    def is_only_head(self) -> bool:
        """A kernel's first line, of which nothing more has come yet."""
        return self.style is Style.KERNEL and "tsc" not in self.fields and "cpuid" not in self.fields

    @property
    def is_whole(self) -> bool:
        """All that a kernel prints of a record has come."""
        return self.style is Style.KERNEL and self.fields.keys() >= {"status", "tsc", "cpuid", "apicid"}

    def begin(self, head: Head) -> None:
        """Take over what the first line says."""
        decoded = head.style is Style.PLAIN and self.prose
        self.style = Style.DECODED if decoded else head.style
        self.prose = decoded or head.prose
        self.fields.update(head.values)
        self.bad |= head.bad

    def says_same(self, head: Head) -> bool:
        """Whether `head` is of the same error as this record, by another part of the kernel."""
        return all(name in head.values and self.fields.get(name) == head.values[name] for name in IDENTITY)

    def restart(self, head: Head) -> None:
        """Take what follows `head` for the record, and what was there before where that says nothing."""
        self.before = self.fields
        self.fields = {}
        self.begin(head)

    def assembled(self) -> Assembled:
        """The record; only for one that has a status, and once."""
        fields = self.before | self.fields
        # AMD's blocks show neither MISC nor the socket.
        bad = self.bad or "bank" not in fields or "cpu" not in fields or self.style is Style.AMD
        if "cpu" in fields:
            fields["extcpu"] = fields.pop("cpu")
        for last, shorter in _AT_LEAST:
            if last in fields:
                fields = shorter | fields
                break
        return Assembled(MceRecord(**fields), self.symbol, bad, self.disclaimed, self.cpu_name)


class PendingRecords:
    """The open records and, in the order of the text, what waits for them.

    `out` takes what is finished. `_waiting` holds records, foreign lines
    behind them, and records' own lines, which are foreign if the record never
    gets a status. Its first item is a record that is still open.
    """

    def __init__(self) -> None:
        self.out: list[str | Assembled] = []
        self._waiting: deque[Pending | str | tuple[Pending, str]] = deque()
        self._open: list[Pending] = []
        self._heard = 0
        self._characters = 0

    def find(self, source: Source) -> Pending | None:
        """The record that a line of `source` belongs to: its own, or else the newest that may be."""
        if not self._open:
            return None
        newest = self._open[-1]
        if not newest.parked and (source is NOBODY or source == newest.source):
            return newest
        candidates = [record for record in reversed(self._open) if not record.parked]
        for record in candidates:
            if record.source == source:
                return record
        return next((record for record in candidates if may_be_same(record.source, source)), None)

    def find_cpu(self, cpu: int, source: Source) -> Pending | None:
        """The newest record of that CPU."""
        for record in reversed(self._open):
            if record.fields.get("cpu") == cpu and may_be_same(record.source, source):
                return record
        return None

    def start(self, source: Source, head: Head | None = None) -> Pending:
        """A new record; ends the one before it, unless that has only had a disclaimer so far."""
        if self._open:
            if head is not None:
                record = self.find(source)
                if record is not None and not record.fields:
                    record.begin(head)
                    return record
            for old in self._open.copy():
                if old.source is source or may_be_same(old.source, source):
                    self._end(old, head)
            if len(self._open) >= MOST_OPEN:
                self.close(self._open[0])
            self._flush()
        record = Pending(source, self._heard)
        if head is not None:
            record.begin(head)
        self._open.append(record)
        self._waiting.append(record)
        return record

    def add(self, record: Pending) -> None:
        """A record that one line says all of; records of other lines go on."""
        record.closed = True
        self._waiting.append(record)
        self._flush()
        self._keep_bounds()

    def _end(self, old: Pending, head: Head | None) -> None:
        """Close `old` because another begins; CPUs that print at the same time may get on with theirs."""
        if (
            head is not None
            and head.style is Style.KERNEL
            and old.is_only_head
            and old.fields.get("cpu") != head.values.get("cpu")
            and old.has_status
        ):
            old.parked = True
        else:
            self._close(old)

    def own(self, record: Pending, line: str) -> None:
        """`line` is part of the record."""
        record.heard = self._heard
        if self._open[-1] is not record:
            self._open.remove(record)
            self._open.append(record)
        if line and "status" not in record.fields:
            self._wait((record, line), len(line))

    def prose(self, record: Pending, line: str) -> None:
        """`line` is a decoded sentence of the record, as far as one can tell."""
        self._heard += 1
        self._wait((record, line), len(line))

    def foreign(self, line: str) -> None:
        """`line` is part of no record."""
        if not self._waiting:
            self.out.append(line)
            return
        self._heard += 1
        self._wait(line, len(line))

    def is_next(self, record: Pending) -> bool:
        """Whether nothing foreign came since the record's newest line."""
        return record.heard == self._heard

    def close(self, record: Pending) -> None:
        """No more lines will come for this record."""
        self._close(record)
        self._flush()

    def end_all(self) -> bool:
        """End all open records, if the first line of a kernel's record of nobody in particular did."""
        if any(
            not record.fields or record.is_only_head or record.style is Style.AMD for record in self._open
        ):
            return False
        self.finish()
        return True

    def finish(self) -> None:
        """End all open records."""
        for record in self._open.copy():
            self._close(record)
        self._flush()

    def _close(self, record: Pending) -> None:
        record.closed = True
        self._open.remove(record)

    def _wait(self, item: str | tuple[Pending, str], characters: int) -> None:
        self._waiting.append(item)
        self._characters += characters
        self._keep_bounds()

    def _keep_bounds(self) -> None:
        while self._waiting:
            first = self._waiting[0]
            assert isinstance(first, Pending)
            if (
                self._heard - first.heard <= first.patience
                and len(self._waiting) <= MOST_LINES
                and self._characters <= MOST_CHARACTERS
            ):
                break
            self.close(first)

    def _flush(self) -> None:
        """Hand out what waits for no open record any more."""
        waiting = self._waiting
        while waiting:
            item = waiting[0]
            if isinstance(item, Pending):
                if not item.closed:
                    return
                if item.has_status:
                    self.out.append(item.assembled())
            else:
                line, record = (item, None) if isinstance(item, str) else (item[1], item[0])
                self._characters -= len(line)
                if record is None or not record.has_status:
                    self.out.append(line)
            waiting.popleft()
