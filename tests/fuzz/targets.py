# SPDX-License-Identifier: GPL-2.0-only
"""What is fuzzed: one function for each kind of input, with the invariants beyond "it does not raise"."""

from __future__ import annotations

from mcelogd import decode, jsontext, render, report
from mcelogd.ascii import Assembled, Printed, assemble, assemble_blocks
from mcelogd.config import ConfigError, parse
from mcelogd.cpu import ALL_CPU_TYPES, by_cpuid, format_cpuid, parse_cpuid, parse_cpuinfo
from mcelogd.dimms import check as dimm_check
from mcelogd.dimms import text as dimm_text
from mcelogd.dimms.labels import parse_labels
from mcelogd.dimms.names import DimmNames
from mcelogd.dimms.smbios import parse as parse_smbios
from mcelogd.doctor import parse as doctor_parse
from mcelogd.earlier.dumps import Piece, dumps_of, name_of, record_of
from mcelogd.earlier.found import Origin
from mcelogd.earlier.kernel_log import _Reader
from mcelogd.earlier.merge import unseen
from mcelogd.earlier.messages import count_told, found, found_in
from mcelogd.marks import marks_of
from mcelogd.record import LENGTH, MceRecord, layout, pack
from mcelogd.ring.events import RecordFormat
from mcelogd.ring.format import FormatError, parse_event, parse_page
from mcelogd.ring.page import read_page
from mcelogd.settings import Settings

from .daemon_targets import dbus, legacy, spool, store
from .harness import Target, parts

LENGTHS = (72, 76, 80, 88, 96, 104, 112, 116, 120, 124, 128, 132, 256)
NOW = 1_795_000_000


def record(data: bytes) -> int:
    """Two bytes choose the length and the CPU; the rest is what the kernel hands over."""
    first, second, *_ = data[:2].ljust(2, b"\0")
    form = layout(LENGTHS[first % len(LENGTHS)])
    cpu = ALL_CPU_TYPES[second % len(ALL_CPU_TYPES)]
    one = form.parse(data[2:].ljust(form.length, b"\0"))
    assert layout(LENGTH).parse(pack(one)) == MceRecord(*(value or 0 for value in one))
    event = decode.decode(one, cpu)
    fields = report.fields(event, event_id=1, count=1, labels=("A1",))
    assert "\n" not in str(fields["MESSAGE"])
    assert all(fields.values())
    line = jsontext.json_line(event)
    decode.is_known_bogus(one, cpu)
    marks_of(one, cpu, 1.0)
    page = report.page_of(event)
    assert page is None or page % 4096 == 0
    raw, text = render.raw_text(one), render.event_text(event, 0)
    assert render.raw_text(_only(raw)) == raw
    _read_again(one, text)
    return len(str(fields)) + len(line) + len(raw) + len(text)


def _only(text: str) -> MceRecord:
    """The one record of a text of ours, of which nothing but blank lines may be left over."""
    items = list(assemble(text.splitlines(keepends=True)))
    assert all(item == "\n" for item in items if isinstance(item, str))
    (item,) = (item for item in items if isinstance(item, Assembled))
    assert not item.incomplete
    return item.record


def _read_again(one: MceRecord, text: str) -> None:
    """What `--ascii` makes of decoded text is the record, as far as the text shows it."""
    again = _only(text)
    shown = {name: getattr(one, name) or 0 for name in ("status", "mcgstatus", "ip", "tsc", "time", "bank")}
    assert {name: getattr(again, name) for name in shown} == shown
    assert again.cpu == one.cpu
    assert (again.apicid or 0, again.socketid or 0) == (one.apicid or 0, one.socketid or 0)
    assert again.cpuid == format_cpuid(*parse_cpuid(one.cpuid))


def ascii_text(data: bytes) -> int:
    """A log: what is no record passes through unchanged; in blocks it comes to the same."""
    text = data.decode(errors="surrogateescape")
    lines = text.splitlines(keepends=True) if "\r" not in text else [text]
    items = list(assemble(lines))
    passed = iter(lines)
    assert all(item in passed for item in items if isinstance(item, str))
    records = [item for item in items if isinstance(item, Assembled)]
    made = 0
    for item in records:
        event = decode.decode(item.record, by_cpuid(item.record.cpuvendor, item.record.cpuid))
        shown = render.event_text(event)
        made += len(shown) + len(jsontext.json_line(event, symbol=item.symbol, incomplete=item.incomplete))
        assert _only(shown).status == item.record.status
    by_line = text.split("\n")
    again = list(assemble([line + "\n" for line in by_line[:-1]] + [line for line in by_line[-1:] if line]))
    assert list(_from_blocks(text)) == again
    return made


def _from_blocks(text: str) -> list[str | Assembled]:
    flat: list[str | Assembled] = []
    for items in assemble_blocks([text[: len(text) // 2], text[len(text) // 2 :]]):
        for item in items:
            if isinstance(item, list):
                flat += (Assembled(Printed._make(one).record) for one in item)
            else:
                flat.append(item)
    return flat


def journal(data: bytes) -> int:
    """What journalctl prints, in pieces as a pipe gives them."""
    reader = _Reader()
    for start in range(0, len(data), 4000):
        reader.feed(data[start : start + 4000])
    reader.feed(b"\n")
    records = list(found_in(reader.lines, Origin.KERNEL_LOG, "journal", NOW))
    assert all(0 <= one.when <= NOW + 86400 or one.when < 1 << 60 for one in records)
    assert len(unseen(records, [])) <= len(records)
    return sum(len(one.record) for one in records)


def pstore(data: bytes) -> int:
    """Files of a dying kernel: name, a newline, content."""
    pieces = []
    for file in data.split(b"\n--\n")[:8]:
        head, _, content = file.partition(b"\n")
        name = name_of(head.decode(errors="surrogateescape"))
        if name is not None:
            pieces.append(Piece("f", name, content, NOW))
    records = [
        found(record, Origin.PSTORE, record.time, one.path, NOW)
        for one in pieces
        if (record := record_of(one.data, NOW)) is not None
    ]
    for dump in dumps_of(pieces, NOW):
        records += found_in(dump.lines, Origin.PSTORE, dump.path, NOW)
    assert all(one.when >= 0 for one in records)
    assert len(unseen(records, [])) <= len(records)
    return sum(len(one.record) for one in records)


def ring(data: bytes) -> int:
    """The format of an event, that of a page, a page."""
    event_text, page_text, page = parts(data, 3)
    try:
        records = RecordFormat(parse_event(event_text.decode(errors="replace")))
        form = parse_page(page_text.decode(errors="replace"))
    except FormatError as error:
        return _one_line(error)
    taken = read_page(memoryview(page), form)
    assert sum(map(len, taken.entries)) <= len(page)
    made = [one for entry in taken.entries if (one := records.record(entry)) is not None]
    assert all(len(one) == LENGTH for one in made)
    assert 0 <= taken.lost < 1 << 64
    return LENGTH * len(made)


def _one_line(error: Exception) -> int:
    text = str(error)
    assert text.isprintable()
    return len(text)


def smbios(data: bytes) -> int:
    """The length of an entry point, the entry point, the table."""
    size = data[0] if data else 0
    table = parse_smbios(data[1 : 1 + size], data[1 + size :])
    assert sum(len(one.body) for one in table.structures) <= len(data)
    shown = dimm_text.tables_text(table, 1)
    assert shown.isascii()
    for cpu in ALL_CPU_TYPES[:: len(ALL_CPU_TYPES) // 4]:
        names = DimmNames(cpu, table)
        lines = dimm_check.problems(table, names)
        assert all("\n" not in line for line in lines)
        names.known()
        shown += "".join(lines)
    names.by_address(1 << 33)
    shown += dimm_text.address_text(table, 1 << 33)
    return len(shown)


def config(data: bytes) -> int:
    """mcelog.conf: what is shown as being in effect says the same when it is read."""
    try:
        settings = Settings.load(parse(data.decode(errors="surrogateescape"), "mcelog.conf"))
    except ConfigError as error:
        return _one_line(error)
    warnings = [str(warning) for warning in settings.warnings]
    assert all(line.isprintable() for line in warnings)
    shown = "\n".join(settings.describe())
    again = Settings.load(parse(shown, "shown"))
    for name, value in settings.values.items():
        if (value.text or "").isprintable():  # what is not is shown escaped
            assert again.values[name].value == value.value
    return len(shown) + sum(map(len, warnings))


def labels(data: bytes) -> int:
    """dimm-labels.conf: names fit for a message, or a problem."""
    found = parse_labels(data.decode(errors="replace"), "dimm-labels.conf")
    names = [*found.by_place.values(), *found.by_serial.values()]
    assert all(name.isprintable() and len(name) <= 60 for name in names)
    lines = [str(problem) for problem in found.problems]
    return sum(map(len, [*names, *lines]))


def doctor(data: bytes) -> int:
    """What `mcelogctl doctor` reads: the firmware's table, then texts of the kernel and of systemd."""
    table, rest = parts(data, 2)
    hest = doctor_parse.parse_hest(table)
    text = rest.decode(errors="replace")
    found = [
        *doctor_parse.parse_kernel_config(text).items(),
        *doctor_parse.parse_journald([text]).items(),
        *doctor_parse.parse_properties(text).items(),
        *doctor_parse.words_of(text),
    ]
    lines = len(text.splitlines())
    assert count_told(text.splitlines()) <= lines
    parse_cpuinfo(text)
    return len(str(hest)) + len(str(found))


FIXTURES = "tests/fixtures/"
EFI_PART = b"dmesg-efi-179500000001001\n"

TARGETS = {
    target.name: target
    for target in (
        Target(record, 0, 20_000, (FIXTURES + "device/*.bin",), wrap=b"\x0a\x13"),
        Target(ascii_text, 1000, 0, (FIXTURES + "ascii/*.txt",)),
        Target(journal, 10, 0, (FIXTURES + "ascii/journal-json.txt", FIXTURES + "ascii/boot-journal.txt")),
        Target(
            pstore,
            10,
            0,
            (FIXTURES + "ascii/pstore.txt", FIXTURES + "ascii/panic.txt"),
            wrap=EFI_PART,
        ),
        Target(ring, 32, 200),
        Target(smbios, 400, 4000, (FIXTURES + "smbios/*.bin",), wrap=b"\0"),
        Target(config, 40, 20_000, ("data/mcelog.conf",)),
        Target(labels, 130, 200, ("data/dimm-labels.conf",)),
        Target(legacy, 2000, 2000),
        Target(dbus, 40, 2000),
        Target(spool, 4, 0),
        Target(doctor, 60, 1000),
        Target(store, 0, 1 << 20),
    )
}
