# SPDX-License-Identifier: GPL-2.0-only
"""Lines of text -> records, in the order in which the records began.

A line belongs to the open record of its source. What belongs to no record is
passed through at its place, so a line waits only while a record before it is
open (see `pending`).
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.ascii import heads
from mcelogd.ascii.fields import KEYS, Found, Style, scan
from mcelogd.ascii.pending import Assembled, Pending, PendingRecords
from mcelogd.ascii.prefix import NOBODY, after_marker, may_be_same, split_prefix

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from mcelogd.ascii.heads import Head
    from mcelogd.ascii.prefix import Source

LINE_LIMIT = 16 << 10
"""Characters of a line that are looked at; no logger's line with a record in it is longer."""


TRACE_MARKER = "mce_record:"
"""Stands between the task or daemon that wrote a trace line and the record."""

AMD_WORDS = ("Error", "PPIN:", "IPID:", "TSC:", "Syndrome1:")
AMD_LAST_WORDS = ("cache", "internal:")
"""First words of the lines of the kernel's decoding for AMD, and of its last one."""


class Line:
    """One line: `raw` as it came, `text` and its `words` without what the logger put before it."""

    __slots__ = ("raw", "source", "text", "words")

    def __init__(self, raw: str, text: str, words: list[str], source: Source) -> None:
        self.raw = raw
        self.text = text
        self.words = words
        self.source = source


def assemble(lines: Iterable[str]) -> Iterator[str | Assembled]:
    """Every record in `lines`, and unchanged every line that is part of none.

    A record holds at the least a STATUS; lines of one that never gets one are
    passed through. Lines may end in a newline or not and hold anything.
    Memory is bounded, whatever the input; never raises.
    """
    assembler = Assembler()
    for line in lines:
        assembler.feed(line)
        yield from assembler.take()
    assembler.finish()
    yield from assembler.take()


class Assembler:
    """What a line means; the records are in `records`."""

    def __init__(self) -> None:
        self.records = PendingRecords()
        self._wrapped: Pending | None = None
        # Each handler returns None if the line means nothing to it, or the words that begin another record.
        self._handlers: dict[str, Callable[[Line], list[str] | None]] = {
            **dict.fromkeys(KEYS, self._fields),
            "CPU": self._cpu,
            "CPU:": self._cpu,
            "Bank": self._bank,
            "The": self._polled,
            "Hardware": self._disclaimer,
            "HARDWARE": self._disclaimer,
            "MCE": self._number,
            "MCG": self._decoded,
            "MCi": self._decoded,
            "MCA:": self._decoded,
            "RIP:": self._symbol,
            "(Fields": self._incomplete,
            **dict.fromkeys((*AMD_WORDS, *AMD_LAST_WORDS), self._amd_line),
        }

    def feed(self, raw: str) -> None:
        """Take one line; what it finishes is in `records.out`."""
        line, handler = self._read(raw)
        if self._wrapped is not None and self._continue(self._wrapped, line):
            return
        rest = handler(line) if handler is not None else None
        if rest is None:
            self._other(line)
        while rest:
            line = Line("", " ".join(rest), rest, line.source)
            handler = self._handler(rest)
            rest = handler(line) if handler is not None else None

    def take(self) -> list[str | Assembled]:
        """What is finished, in order."""
        items = self.records.out
        if items:
            self.records.out = []
        return items

    def end_all(self) -> bool:
        """End the open records as a kernel's first line does; False where it would not end them all."""
        return self._wrapped is None and self.records.end_all()

    def finish(self) -> None:
        """The end of the text."""
        if self._wrapped is not None:
            self._continue(self._wrapped, Line("", "", [], NOBODY))
        self.records.finish()

    def _read(self, raw: str) -> tuple[Line, Callable[[Line], list[str] | None] | None]:
        """The line, and what is to take it; the prefix is looked for only where there must be one."""
        text = (raw if len(raw) <= LINE_LIMIT else raw[:LINE_LIMIT]).strip()
        if "\0" in text:
            text = text.replace("\0", " ").strip()
        if TRACE_MARKER in text:
            if text[0] == "{":
                _, text = split_prefix(text)
            return Line(raw, text.partition(TRACE_MARKER)[2], [], NOBODY), self._traced
        words = text.split()
        handler = self._handlers.get(words[0]) if words else None
        if handler is not None:
            return Line(raw, text, words, NOBODY), handler
        source, text = split_prefix(text)
        words = text.split()
        handler = self._handler(words)
        if handler is None and (marked := after_marker(text)):
            text = marked
            words = text.split()
            handler = self._handler(words)
        return Line(raw, text, words, source), handler

    def _handler(self, words: list[str]) -> Callable[[Line], list[str] | None] | None:
        if not words:
            return None
        handler = self._handlers.get(words[0])
        if handler is not None:
            return handler
        if words[0].startswith("CPU"):
            return self._cpu
        if words[0].startswith("MC"):
            return self._amd_head if "_STATUS[" in words[0] else self._amd_line
        # A key that is news, before one that is known.
        if len(words) > 3 and words[2] in KEYS and words[0].isupper() and words[1].isalnum():
            return self._fields
        return None

    def _fields(self, line: Line) -> list[str] | None:
        record = self.records.find(line.source)
        if record is None or record.style is Style.AMD:
            return self._take(None, scan(line.words), line)
        return self._take(record, scan(line.words, 0, record.style, has_cpu="cpu" in record.fields), line)

    def _take(self, record: Pending | None, found: Found, line: Line) -> list[str] | None:
        """Add what was found to the record; to a new one where a field repeats."""
        values = found.values
        if record is None:
            if not values or not found.whole:
                return None
            record = self.records.start(line.source)
        elif not record.fields.keys().isdisjoint(values):
            if record.style is Style.KERNEL and "status" not in values:
                # Only its first line begins a kernel's record: these are of one that is cut off, or mixed up.
                record.bad = True
                return None
            if not found.whole:
                return None
            record = self.records.start(line.source)
            found = scan(line.words)
        elif not values and not found.bad and not found.wrapped:
            return None
        self._add(record, found, line.raw)
        return [] if found.rest is None else line.words[found.rest :]

    def _add(self, record: Pending, found: Found, raw: str) -> None:
        self.records.own(record, raw)
        record.fields.update(found.values)
        record.bad |= found.bad
        if "mcgstatus" in found.values and "status" in found.values:
            record.style = Style.DECODED
        if found.symbol:
            self._set_symbol(record, found.symbol)
        if found.wrapped:
            self._wrap(record, found.wrapped)

    def _set_symbol(self, record: Pending, text: str) -> None:
        """The symbol in braces; where the closing one is missing, the rest is on the next line."""
        name, closing, _ = text[1:].partition("}")
        record.symbol = name.strip()
        if not closing:
            self._wrap(record, text)

    def _wrap(self, record: Pending, text: str) -> None:
        record.wrapped = text
        self._wrapped = record

    def _continue(self, record: Pending, line: Line) -> bool:
        """Whether `line` is the rest of a line that a mail program or terminal wrapped."""
        self._wrapped = None
        if record.closed or not may_be_same(record.source, line.source):
            return False
        glue = "" if record.wrapped.endswith(("+", "/")) else " "
        text = record.wrapped + glue + line.text
        if text.startswith("{"):
            if "}" not in text:
                return False
            self._set_symbol(record, text)
            self.records.own(record, line.raw)
            return True
        head = heads.machine_check(text) or heads.polled(text)
        if head is not None:
            return heads.bank_line(line.text) is None and self._continue_head(record, head, line)
        found = scan(text.split(), 0, record.style)
        key = KEYS[record.wrapped.split(None, 1)[0]]
        if key.field not in found.values or not record.fields.keys().isdisjoint(found.values):
            record.bad = True
            return False
        self._add(record, found, line.raw)
        return True

    def _continue_head(self, record: Pending, head: Head, line: Line) -> bool:
        if len(head.values) <= len(record.fields):
            return False
        self.records.own(record, line.raw)
        record.begin(head)
        self._finish_head(record, head)
        return True

    def _finish_head(self, record: Pending, head: Head) -> list[str]:
        if head.wrapped:
            self._wrap(record, head.wrapped)
        if not head.rest:
            return []
        found = scan(head.rest, 0, record.style, has_cpu=True)
        if record.fields.keys().isdisjoint(found.values):
            self._add(record, found, "")
        return [] if found.rest is None else head.rest[found.rest :]

    def _begin(self, line: Line, head: Head) -> list[str]:
        record = self.records.start(line.source, head)
        self.records.own(record, line.raw)
        return self._finish_head(record, head)

    def _cpu(self, line: Line) -> list[str] | None:
        head = heads.machine_check(line.text)
        if head is None and line.words[0] == "CPU":
            head = heads.mcelog_head(line.words)
        if head is not None:
            return [] if self._begin_again(line, head) else self._begin(line, head)
        return self._amd_head(line) if "_STATUS[" in line.text else self._tagged(line)

    def _begin_again(self, line: Line, head: Head) -> bool:
        """Whether the kernel prints a record whose decoding was the line before."""
        record = self.records.find(line.source)
        if record is None or record.style is not Style.AMD or not record.says_same(head):
            return False
        self.records.own(record, line.raw)
        record.restart(head)
        return True

    def _tagged(self, line: Line) -> list[str] | None:
        """`CPU 3: TSC ...`: a line of that CPU's record."""
        cpu = heads.tag(line.words)
        record = None if cpu is None else self.records.find_cpu(cpu, line.source)
        if record is None:
            return None
        found = scan(line.words, 2, record.style, has_cpu=True)
        return self._take(record, found, line) if record.fields.keys().isdisjoint(found.values) else None

    def _bank(self, line: Line) -> list[str] | None:
        head = heads.bank_line(line.text)
        if head is None:
            return None
        record = self.records.find(line.source)
        if record is None or record.style is not Style.KERNEL:
            return self._begin(line, head)
        if record.fields.keys().isdisjoint(head.values):
            self.records.own(record, line.raw)
            record.fields.update(head.values)
            return []
        # Another bank of the same CPU.
        shared = {name: value for name, value in record.fields.items() if name in ("cpu", "mcgstatus")}
        return self._begin(line, head._replace(values={**shared, **head.values}))

    def _polled(self, line: Line) -> list[str] | None:
        head = heads.polled(line.text)
        return None if head is None else self._begin(line, head)

    def _disclaimer(self, line: Line) -> list[str] | None:
        if not line.text.startswith(("Hardware event. This is not a software error", "HARDWARE ERROR")):
            return None
        record = self.records.start(line.source)
        record.disclaimed = record.prose = True
        self.records.own(record, line.raw)
        return []

    def _amd_head(self, line: Line) -> list[str] | None:
        from mcelogd.ascii import amd  # on use, as `trace` is: most logs have none, and start sooner

        head = amd.head(line.text)
        if head is None:
            return None
        record = self.records.find(line.source)
        if record is not None and record.style is Style.KERNEL and record.says_same(head):
            # The decoding of a record that the kernel has printed.
            return None
        return self._begin(line, head)

    def _amd_line(self, line: Line) -> list[str] | None:
        """A later line of the kernel's decoding: a register, or a sentence."""
        record = self.records.find(line.source)
        if record is None or record.style is not Style.AMD:
            return None
        from mcelogd.ascii import amd

        values, bad = amd.registers(line.text)
        if not (values or bad or amd.is_sentence(line.text)) or not record.fields.keys().isdisjoint(values):
            return None
        self.records.own(record, line.raw)
        record.fields.update(values)
        record.bad |= bad
        if line.words[0] in AMD_LAST_WORDS:
            self.records.close(record)
        return []

    def _traced(self, line: Line) -> list[str] | None:
        """A line that is a whole record."""
        from mcelogd.ascii import trace

        traced = trace.read(line.text)
        if traced is None:
            return None
        record = Pending(line.source, 0)
        record.fields, record.bad, record.cpu_name = traced
        self.records.add(record)
        return []

    def _number(self, line: Line) -> list[str] | None:
        """`MCE 0`: the place in a batch, or how mce-inject begins a record."""
        if len(line.words) > 2 or (len(line.words) == 2 and not line.words[1].isdigit()):
            return None
        record = self.records.find(line.source)
        if record is None or record.fields:
            record = self.records.start(line.source)
        self.records.own(record, line.raw)
        return []

    def _decoded(self, line: Line) -> list[str] | None:
        """The first of the sentences between a decoded record's head and its STATUS."""
        record = self.records.find(line.source)
        if record is None or record.style is Style.KERNEL or record.has_status:
            return None
        record.style = Style.DECODED
        record.prose = True
        self.records.own(record, line.raw)
        return []

    def _symbol(self, line: Line) -> list[str] | None:
        """`RIP: name`, below a decoded record."""
        record = self._decoded_above(line)
        if record is None or record.symbol:
            return None
        record.symbol = " ".join(line.words[1:])
        self.records.own(record, line.raw)
        return []

    def _incomplete(self, line: Line) -> list[str] | None:
        """`(Fields were incomplete)`, below a decoded record."""
        record = self._decoded_above(line)
        if record is None or line.words[1:] != ["were", "incomplete)"]:
            return None
        record.bad = True
        self.records.own(record, line.raw)
        return []

    def _decoded_above(self, line: Line) -> Pending | None:
        record = self.records.find(line.source)
        if record is None or record.style is not Style.DECODED or not record.has_status:
            return None
        return record

    def _other(self, line: Line) -> None:
        """A line that no handler took: the rest of a record, or foreign."""
        record = self.records.find(line.source)
        if record is not None and self._is_rest(record, line):
            return
        if record is not None and record.style is Style.AMD and self._amd_line(line) is not None:
            return
        if record is not None and record.is_whole and line.words[:2] in (["Run", "the"], ["Kernel", "panic"]):
            self.records.close(record)
        self.records.foreign(line.raw)

    def _is_rest(self, record: Pending, line: Line) -> bool:
        if not line.words:
            # `--raw` ends records with an empty line.
            is_own = record.style is Style.RAW and self.records.is_next(record)
        elif line.words[0][0] == "{" and "ip" in record.fields and not record.symbol:
            self._set_symbol(record, line.text)
            is_own = True
        elif record.prose and record.fields and not record.has_status:
            self.records.prose(record, line.raw)
            return True
        else:
            is_own = False
        if is_own:
            self.records.own(record, line.raw)
        return is_own
