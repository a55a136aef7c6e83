# SPDX-License-Identifier: GPL-2.0-only
"""Reads what names DIMMs: SMBIOS tables, EDAC's labels, the administrator's file.

SMBIOS is looked for where it is safest to read first: the kernel's copy of
the table, its single entries (the module dmi-sysfs), and only then, and only
if that is allowed, memory itself.
"""

from __future__ import annotations

import contextlib
import logging
import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from mcelogd import settings as options
from mcelogd.dimms import smbios
from mcelogd.dimms.edac import EdacDimm
from mcelogd.dimms.labels import LARGEST_FILE, Labels, parse_labels
from mcelogd.dimms.names import DimmNames
from mcelogd.dimms.smbios_entry import EntryPoint, parse_entry

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcelogd.cpu import CpuType
    from mcelogd.settings import Settings

log = logging.getLogger(__name__)

SYSFS = "/sys"
DEV_MEM = "/dev/mem"

LARGEST_TABLE = 1 << 20
"""Bytes; the tables of servers with 64 slots have some 30 KiB."""
LARGEST_ENTRY_POINT = 255
LARGEST_ATTRIBUTE = 4096
LARGEST_ENTRY = 1 << 16
MOST_DIMMS = 1024
MOST_PROBLEMS = 5
"""Lines of the label file that are reported one by one."""

LARGEST_OFFSET = (1 << 63) - 1

# Where firmware without EFI puts its entry point, at a multiple of 16 (DSP0134 5.2.1).
SEGMENT = 0xF0000
SEGMENT_SIZE = 0x10000
PARAGRAPH = 16

# dmidecode --dump-bin: the entry point, whose address then is this, and the table there.
DUMP_OFFSET = 0x20

ANCHORS = (b"_SM3_", b"_SM_", b"_DMI_")
"""The better first; the last is also a part of the second."""


class FirmwareError(Exception):
    """SMBIOS or a file that is needed cannot be read; `str()` is one line with the reason and a remedy."""


class Tables(NamedTuple):
    """What smbios.parse() takes, and the path it came from."""

    entry: bytes | None
    table: bytes
    path: str


def dimm_names(settings: Settings, cpu: CpuType) -> DimmNames:
    """All that names this machine's DIMMs. What cannot be read is logged, and done without.

    `cpu` says how errors number channels: the forced type, else the machine's.
    """
    try:
        labels = read_labels(settings.dimm_labels)
    except FirmwareError as error:
        log.warning("%s", error)
        labels = Labels()
    for problem in labels.problems[:MOST_PROBLEMS]:
        log.warning("%s", problem)
    if labels.problems[MOST_PROBLEMS:]:
        log.warning("%s: %d lines in all cannot be used", settings.dimm_labels, len(labels.problems))
    return DimmNames(cpu, _smbios(settings), read_edac(settings.sysfs_root), labels)


def _smbios(settings: Settings) -> smbios.Smbios | None:
    if settings.dmi is options.Smbios.NEVER:
        return None
    # Another root of sysfs is another machine, or a test: its memory is not ours.
    dev_mem = DEV_MEM if settings.sysfs_root == SYSFS else None
    try:
        tables = read_smbios(settings.sysfs_root, settings.dmi_table, dev_mem)
    except FirmwareError as error:
        wanted = settings.dmi is options.Smbios.YES or settings.dmi_table is not None
        log.log(logging.WARNING if wanted else logging.INFO, "DIMMs go without SMBIOS: %s", error)
        return None
    found = smbios.parse(tables.entry, tables.table)
    for problem in found.problems:
        log.warning("%s: %s", tables.path, problem)
    return found


def read_smbios(sysfs_root: str, dmi_table: str | None = None, dev_mem: str | None = None) -> Tables:
    """The SMBIOS tables of the machine, or those in the file `dmi_table` instead.

    `dev_mem` is the last resort, DEV_MEM or None: opened only if sysfs has
    nothing, and closed before this returns. Raises FirmwareError.
    """
    if dmi_table is not None:
        return _split(_needed(dmi_table), dmi_table)
    firmware = Path(sysfs_root) / "firmware"
    try:
        return _kernels_copy(firmware) or _kernels_entries(firmware) or _from_memory(firmware, dev_mem)
    except OSError as error:
        may_not = isinstance(error, PermissionError)
        remedy = "SMBIOS can be read by root only" if may_not else "give the SMBIOS tables by dmi-table"
        raise FirmwareError(f"{error.filename or firmware}: {error.strerror}: {remedy}") from error


def read_edac(sysfs_root: str) -> list[EdacDimm]:
    """The DIMMs of EDAC's drivers; none where there is no driver. What cannot be read is left out."""
    found: list[EdacDimm] = []
    for controller, number in _numbered(Path(sysfs_root) / "devices/system/edac/mc", "mc"):
        name = _attribute(controller / "mc_name")
        dimms = [
            EdacDimm(number, name, _attribute(place / "dimm_location"), _attribute(place / "dimm_label"))
            for kind in ("dimm", "rank")
            for place, _ in _numbered(controller, kind)
        ]
        found += dimms or _chip_selects(controller, number, name)
    return found[:MOST_DIMMS]


def read_labels(path: str) -> Labels:
    """The administrator's names; none where the file does not exist. Raises FirmwareError."""
    try:
        content = _read(Path(path), LARGEST_FILE)
    except FileNotFoundError:
        return Labels()
    except OSError as error:
        raise FirmwareError(f"{path}: {error.strerror}: DIMMs go without the names in it") from error
    if len(content) == LARGEST_FILE:
        raise FirmwareError(f"{path}: larger than {LARGEST_FILE} bytes: that is no list of DIMMs")
    return parse_labels(content.decode(errors="replace"), path)


def _needed(path: str) -> bytes:
    try:
        return _read(Path(path), LARGEST_TABLE)
    except OSError as error:
        raise FirmwareError(
            f"{path}: {error.strerror}: dmi-table needs a copy of /sys/firmware/dmi/tables/DMI"
        ) from error


def _split(content: bytes, path: str) -> Tables:
    """The file is the table alone, or an entry point and the table."""
    if not content.startswith(ANCHORS):
        return Tables(None, content, path)
    point = parse_entry(content)
    if point is None:
        raise FirmwareError(f"{path}: its SMBIOS entry point is damaged: use a file with the table alone")
    start = DUMP_OFFSET if point.address == DUMP_OFFSET else point.size
    return Tables(content[: point.size], content[start:], path)


def _kernels_copy(firmware: Path) -> Tables | None:
    """The table as the kernel keeps it since 4.2."""
    tables = firmware / "dmi/tables"
    with contextlib.suppress(FileNotFoundError):
        table = _read(tables / "DMI", LARGEST_TABLE)
        entry = _read(tables / "smbios_entry_point", LARGEST_ENTRY_POINT)
        return Tables(entry, table, str(tables / "DMI"))
    return None


def _kernels_entries(firmware: Path) -> Tables | None:
    """The table put together from the structures about memory that dmi-sysfs shows one by one."""
    entries = firmware / "dmi/entries"
    places = [place for kind in sorted(smbios.SHORTEST) for place, _ in _numbered(entries, f"{kind}-")]
    table = b"".join(_read(place / "raw", LARGEST_ENTRY) for place in places)
    return Tables(None, table, str(entries)) if table else None


def _from_memory(firmware: Path, dev_mem: str | None) -> Tables:
    if dev_mem is None:
        raise FirmwareError(
            f"{firmware}/dmi: no SMBIOS tables: load the module dmi-sysfs, or give them by dmi-table"
        )
    try:
        memory = os.open(dev_mem, os.O_RDONLY | os.O_CLOEXEC)
        try:
            entry, point = _find_entry(memory, firmware)
            table = os.pread(memory, min(point.length, LARGEST_TABLE), point.address & LARGEST_OFFSET)
        finally:
            os.close(memory)
    except OSError as error:
        raise FirmwareError(f"{dev_mem}: {error.strerror}: give the SMBIOS tables by dmi-table") from error
    return Tables(entry, table, dev_mem)


def _find_entry(memory: int, firmware: Path) -> tuple[bytes, EntryPoint]:
    """Where EFI says the entry point is; else where the BIOS puts it."""
    for address in _efi_addresses(firmware):
        with contextlib.suppress(OSError):
            entry = os.pread(memory, LARGEST_ENTRY_POINT, address)
            if point := parse_entry(entry):
                return entry[: point.size], point
    segment = os.pread(memory, SEGMENT_SIZE, SEGMENT)
    for anchor in ANCHORS:
        for at in range(0, len(segment), PARAGRAPH):
            if segment.startswith(anchor, at) and (
                point := parse_entry(segment[at : at + LARGEST_ENTRY_POINT])
            ):
                return segment[at : at + point.size], point
    raise FirmwareError("no SMBIOS tables in memory: give them by dmi-table")


def _efi_addresses(firmware: Path) -> Iterator[int]:
    """Addresses in lines like `SMBIOS3=0x7a5e3000`, the newer form of the tables first."""
    for name in ("SMBIOS3", "SMBIOS"):
        for line in _attribute(firmware / "efi/systab").splitlines():
            if found := re.fullmatch(rf"{name}=0x([0-9a-fA-F]{{1,16}})", line):
                yield int(found[1], 16) & LARGEST_OFFSET


def _chip_selects(controller: Path, number: int, name: str) -> Iterator[EdacDimm]:
    """The labels of kernels before 3.6, in chN_dimm_label of each csrow."""
    for row, row_number in _numbered(controller, "csrow"):
        for label in sorted(row.glob("ch[0-9]*_dimm_label")):
            channel = label.name.removeprefix("ch").removesuffix("_dimm_label")
            yield EdacDimm(number, name, f"csrow {row_number} channel {channel}", _attribute(label))


def _numbered(directory: Path, kind: str) -> list[tuple[Path, int]]:
    """The entries `kind`0, `kind`1, ... in the order of their numbers."""
    found = [
        (entry, re.fullmatch(rf"{kind}(\d{{1,4}})", entry.name, re.ASCII)) for entry in _listed(directory)
    ]
    return sorted(((entry, int(match[1])) for entry, match in found if match), key=lambda row: row[1])


def _listed(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except (FileNotFoundError, NotADirectoryError):
        return []


def _attribute(path: Path) -> str:
    """The text of a file of sysfs on one line each; empty where it cannot be read."""
    try:
        return _read(path, LARGEST_ATTRIBUTE).decode("ascii", errors="replace").strip()
    except OSError:
        return ""


def _read(path: Path, most: int) -> bytes:
    """At most that many bytes; never waits, should somebody have put a FIFO there."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    try:
        content = b""
        while len(content) < most and (more := os.read(descriptor, most - len(content))):
            content += more
        return content
    finally:
        os.close(descriptor)
