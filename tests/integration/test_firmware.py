# SPDX-License-Identifier: GPL-2.0-only
"""firmware.py on scratch trees that look like sysfs, on files, and on a file in place of /dev/mem."""

from __future__ import annotations

import gc
import logging
import os
import struct
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd import cpu as cpus
from mcelogd import firmware
from mcelogd.account.memory import MemoryKey
from mcelogd.dimms import smbios
from mcelogd.dimms.edac import EdacDimm
from mcelogd.dimms.labels import Labels
from mcelogd.firmware import FirmwareError, dimm_names, read_edac, read_labels, read_smbios
from mcelogd.settings import Settings

if TYPE_CHECKING:
    from collections.abc import Iterator

FIXTURES = Path(__file__).resolve().parents[1] / "fixtures/smbios"
TABLE = (FIXTURES / "dmi_q35_4dimms_file.bin").read_bytes()
ENTRY = (FIXTURES / "dmi_q35_4dimms_file.entry").read_bytes()
FOUR = smbios.parse(None, TABLE).devices
assert len(FOUR) == 4


def write(path: Path, content: bytes | str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode() if isinstance(content, str) else content)
    return path


def devices(tables: firmware.Tables) -> tuple[smbios.MemoryDevice, ...]:
    return smbios.parse(tables.entry, tables.table).devices


def with_address(entry: bytes, address: int) -> bytes:
    """A 32-bit entry point, its table elsewhere, its checksums right again."""
    data = bytearray(entry)
    data[24:28] = struct.pack("<I", address)
    data[21] = data[4] = 0
    data[21] = -sum(data[16:31]) & 0xFF
    data[4] = -sum(data) & 0xFF
    return bytes(data)


@pytest.fixture(autouse=True)
def no_descriptor_is_left_open() -> Iterator[None]:
    # What earlier tests let go of may still be open.
    gc.collect()
    before = len(list(Path("/proc/self/fd").iterdir()))
    yield
    assert len(list(Path("/proc/self/fd").iterdir())) <= before


# --- where SMBIOS is found


def make_entries(sysfs: Path) -> None:
    """What dmi-sysfs shows: a directory for each structure."""
    count: dict[int, int] = {}
    for structure in smbios.parse(None, TABLE).structures:
        instance = count.get(structure.type, 0)
        count[structure.type] = instance + 1
        strings = b"".join(text.encode() + b"\0" for text in structure.strings) or b"\0"
        entry = sysfs / f"firmware/dmi/entries/{structure.type}-{instance}"
        write(entry / "raw", structure.body + strings + b"\0")
        write(entry / "type", f"{structure.type}\n")


def make_tables(sysfs: Path) -> None:
    write(sysfs / "firmware/dmi/tables/DMI", TABLE)
    write(sysfs / "firmware/dmi/tables/smbios_entry_point", ENTRY)


def test_the_kernels_copy_is_read_first(tmp_path: Path) -> None:
    make_tables(tmp_path)
    write(tmp_path / "firmware/dmi/entries/17-0/raw", b"nonsense")
    found = read_smbios(str(tmp_path), dev_mem="/nonexistent")
    assert found == (ENTRY, TABLE, str(tmp_path / "firmware/dmi/tables/DMI"))


def test_single_entries_are_put_together(tmp_path: Path) -> None:
    make_entries(tmp_path)
    write(tmp_path / "firmware/dmi/entries/17-x/raw", b"nonsense")
    found = read_smbios(str(tmp_path), dev_mem="/nonexistent")
    assert devices(found) == FOUR
    assert [s.type for s in smbios.parse(None, found.table).structures] == [16, 17, 17, 17, 17, 19]


def test_entries_go_in_the_order_of_their_numbers(tmp_path: Path) -> None:
    make_entries(tmp_path)
    entries = tmp_path / "firmware/dmi/entries"
    (entries / "17-1").rename(entries / "17-10")
    assert [d.locator for d in devices(read_smbios(str(tmp_path)))][-1] == FOUR[1].locator


def test_nothing_at_all_names_the_remedy(tmp_path: Path) -> None:
    with pytest.raises(
        FirmwareError, match="no SMBIOS tables: load the module dmi-sysfs, or give them by dmi-table"
    ):
        read_smbios(str(tmp_path))


@pytest.mark.skipif(os.geteuid() != 0, reason="to give up root's rights takes root")
def test_without_roots_rights_that_is_said(tmp_path: Path) -> None:
    make_tables(tmp_path)
    tmp_path.chmod(0o755)
    (tmp_path / "firmware/dmi/tables/DMI").chmod(0o400)
    os.seteuid(65534)
    try:
        with pytest.raises(
            FirmwareError, match=r"DMI: Permission denied: SMBIOS can be read by root only"
        ) as raised:
            read_smbios(str(tmp_path))
    finally:
        os.seteuid(0)
    assert "\n" not in str(raised.value)


# --- memory itself


def memory_of(tmp_path: Path, entry: bytes, at: int, table_at: int) -> str:
    """A sparse file with an entry point and a table in it."""
    memory = tmp_path / "mem"
    with memory.open("wb") as file:
        for address, content in ((at, entry), (table_at, TABLE)):
            file.seek(address)
            file.write(content)
        file.truncate(max(table_at + 4096, 1 << 20))
    return str(memory)


def test_the_bios_segment_is_searched(tmp_path: Path) -> None:
    memory = memory_of(tmp_path, with_address(ENTRY, 0x7FFF_0000), 0xF5A50, 0x7FFF_0000)
    found = read_smbios(str(tmp_path), dev_mem=memory)
    assert (devices(found), found.path) == (FOUR, memory)


def test_an_entry_point_with_a_wrong_checksum_is_passed_over(tmp_path: Path) -> None:
    bad = bytearray(ENTRY)
    bad[9] ^= 1
    segment = bytes(bad).ljust(32, b"\0") + with_address(ENTRY, 0xE0000)
    memory = memory_of(tmp_path, segment, 0xF0000, 0xE0000)
    assert devices(read_smbios(str(tmp_path), dev_mem=memory)) == FOUR


def test_efi_says_where_the_entry_point_is(tmp_path: Path) -> None:
    entry = bytearray(b"_SM3_\0\x18\x03\x05\0\x01\0" + struct.pack("<IQ", len(TABLE), 0x20_0000))
    entry[5] = -sum(entry) & 0xFF
    memory = memory_of(tmp_path, bytes(entry), 0x10_0000, 0x20_0000)
    write(tmp_path / "firmware/efi/systab", "ACPI=0x1\nSMBIOS=0xf0000\nSMBIOS3=0x100000\n")
    assert devices(read_smbios(str(tmp_path), dev_mem=memory)) == FOUR


@pytest.mark.parametrize("systab", ["SMBIOS3=0xffffffffffffffff\n", "SMBIOS=nonsense\n", "\xff\n"])
def test_memory_without_an_entry_point(tmp_path: Path, systab: str) -> None:
    write(tmp_path / "firmware/efi/systab", systab)
    memory = memory_of(tmp_path, b"_SM_ is not all", 0xF0000, 0)
    with pytest.raises(FirmwareError, match="no SMBIOS tables in memory"):
        read_smbios(str(tmp_path), dev_mem=memory)


def test_memory_that_may_not_be_read(tmp_path: Path) -> None:
    with pytest.raises(
        FirmwareError, match=r"/none: No such file or directory: give the SMBIOS tables by dmi-table"
    ):
        read_smbios(str(tmp_path), dev_mem=f"{tmp_path}/none")


# --- a file instead


def test_the_table_alone(tmp_path: Path) -> None:
    path = str(FIXTURES / "dmi_q35_4dimms_file.bin")
    assert read_smbios(str(tmp_path / "not looked at"), path) == (None, TABLE, path)


@pytest.mark.parametrize(
    "content",
    [ENTRY + TABLE, with_address(ENTRY, 0x20).ljust(0x20, b"\0") + TABLE],
    ids=["the files of sysfs one after the other", "dmidecode --dump-bin"],
)
def test_an_entry_point_and_the_table(tmp_path: Path, content: bytes) -> None:
    path = write(tmp_path / "dump", content)
    found = read_smbios("/nonexistent", str(path))
    assert devices(found) == FOUR
    assert smbios.parse(found.entry, found.table).version == (2, 8)


def test_files_that_are_no_table(tmp_path: Path) -> None:
    damaged = write(tmp_path / "damaged", b"_SM_" + bytes(100))
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path, reason in (
        (damaged, "entry point is damaged"),
        (tmp_path, "Is a directory"),
        (tmp_path / "x", "No such"),
    ):
        with pytest.raises(FirmwareError, match=reason) as raised:
            read_smbios("/nonexistent", str(path))
        assert str(raised.value).startswith(f"{path}: ")
    for path in (fifo, Path("/dev/null")):
        assert devices(read_smbios("/nonexistent", str(path))) == ()
    assert len(read_smbios("/nonexistent", "/dev/zero").table) == firmware.LARGEST_TABLE


# --- EDAC


def make_edac(sysfs: Path) -> Path:
    edac = sysfs / "devices/system/edac/mc"
    for number, dimms in ((0, ("dimm0", "dimm2")), (10, ("dimm0",)), (2, ("rank3",))):
        write(edac / f"mc{number}/mc_name", f"Skylake Socket#0 IMC#{number}\n")
        for dimm in dimms:
            write(edac / f"mc{number}/{dimm}/dimm_location", f"channel {dimm[-1]} slot 0 \n")
            write(edac / f"mc{number}/{dimm}/dimm_label", f"{dimm} of {number}\n")
    write(edac / "mc0/dimm0/dimm_edac_mode", "SECDED\n")
    write(edac / "power/control", "auto\n")
    return edac


def test_dimms_and_ranks_of_edac(tmp_path: Path) -> None:
    make_edac(tmp_path)
    assert read_edac(str(tmp_path)) == [
        EdacDimm(0, "Skylake Socket#0 IMC#0", "channel 0 slot 0", "dimm0 of 0"),
        EdacDimm(0, "Skylake Socket#0 IMC#0", "channel 2 slot 0", "dimm2 of 0"),
        EdacDimm(2, "Skylake Socket#0 IMC#2", "channel 3 slot 0", "rank3 of 2"),
        EdacDimm(10, "Skylake Socket#0 IMC#10", "channel 0 slot 0", "dimm0 of 10"),
    ]


def test_csrows_of_old_kernels(tmp_path: Path) -> None:
    edac = tmp_path / "devices/system/edac/mc"
    write(edac / "mc0/mc_name", "F10h")
    write(edac / "mc0/csrow2/ch1_dimm_label", "DIMM_B2\n")
    assert read_edac(str(tmp_path)) == [EdacDimm(0, "F10h", "csrow 2 channel 1", "DIMM_B2")]


def test_without_a_driver_edac_has_nothing(tmp_path: Path) -> None:
    assert read_edac(str(tmp_path)) == []
    write(tmp_path / "devices/system/edac/mc", "not a directory")
    assert read_edac(str(tmp_path)) == []


def test_what_edac_does_not_say_is_empty(tmp_path: Path) -> None:
    (tmp_path / "devices/system/edac/mc/mc0/dimm0/dimm_label").mkdir(parents=True)
    assert read_edac(str(tmp_path)) == [EdacDimm(0, "", "", "")]


# --- the label file


def test_label_files(tmp_path: Path) -> None:
    path = write(tmp_path / "labels", b"socket 0 channel 1 dimm 0 = B1\nserial X = \xff\n")
    found = read_labels(str(path))
    assert (found.by_place, found.by_serial) == ({MemoryKey(0, 1, 0): "B1"}, {"X": "\ufffd"})
    assert read_labels(str(tmp_path / "none")) == Labels()
    with pytest.raises(FirmwareError, match="Is a directory: DIMMs go without the names in it"):
        read_labels(str(tmp_path))
    with pytest.raises(FirmwareError, match="larger than 1048576 bytes"):
        read_labels("/dev/zero")


# --- all of it


def load(**options: str) -> Settings:
    return Settings.load(overrides={name.replace("_", "-"): value for name, value in options.items()})


def nehalem() -> cpus.CpuType:
    found = cpus.by_name("nehalem")
    assert found is not None
    return found


def test_names_of_a_machine(tmp_path: Path) -> None:
    make_tables(tmp_path)
    write(tmp_path / "devices/system/edac/mc/mc0/mc_name", "i7 core #0")
    write(tmp_path / "devices/system/edac/mc/mc0/dimm0/dimm_location", "channel 1 slot 0 ")
    write(tmp_path / "devices/system/edac/mc/mc0/dimm0/dimm_label", "upper left")
    labels = write(tmp_path / "labels", "serial SNA1000003 = mine\n")
    names = dimm_names(load(sysfs_root=str(tmp_path), dimm_labels=str(labels)), nehalem())
    assert [(tuple(key), name.label, name.serial) for key, name in names.known().items()] == [
        ((0, 0, 0), "CPU0_DIMM_A1", "SNA1000000"),
        ((0, 1, 0), "upper left", "SNA1000001"),
        ((1, 0, 0), "CPU1_DIMM_A1", "SNA1000002"),
        ((1, 1, 0), "mine", "SNA1000003"),
    ]


def test_smbios_can_be_left_out(tmp_path: Path) -> None:
    make_tables(tmp_path)
    none = str(tmp_path / "none")
    assert dimm_names(load(sysfs_root=str(tmp_path), dimm_labels=none, no_dmi="yes"), nehalem()).known() == {}
    table = str(FIXTURES / "dmi_q35_default.bin")
    only = dimm_names(load(sysfs_root=str(tmp_path), dimm_labels=none, dmi_table=table), nehalem()).of(
        0, 0, 0
    )
    assert only is not None
    assert only.label == "DIMM 0"


def test_what_is_wrong_is_logged_and_done_without(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    labels = write(tmp_path / "labels", "socket 0 = B1\nsocket 0 channel 0 dimm 0 = A1\n")
    caplog.set_level(logging.INFO)
    names = dimm_names(load(sysfs_root=str(tmp_path), dimm_labels=str(labels)), nehalem())
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]
    assert caplog.messages[0].startswith(f"{labels}:1: not a place or serial number")
    assert caplog.messages[1].startswith(
        f"DIMMs go without SMBIOS: {tmp_path}/firmware/dmi: no SMBIOS tables"
    )
    found = names.of(0, 0, 0)
    assert found is not None
    assert found.label == "A1"
    caplog.clear()
    dimm_names(load(sysfs_root=str(tmp_path), dimm_labels=str(tmp_path), dmi_table="/none"), nehalem())
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]


def test_a_file_of_something_else_is_not_reported_line_by_line(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    labels = write(tmp_path / "labels", "nonsense\n" * 100)
    table = write(tmp_path / "table", b"root:x:0:0:root")
    names = dimm_names(load(dimm_labels=str(labels), dmi_table=str(table)), nehalem())
    assert names.known() == {}
    assert len(caplog.messages) == firmware.MOST_PROBLEMS + 2
    assert caplog.messages[-2:] == [
        f"{labels}: 100 lines in all cannot be used",
        f"{table}: SMBIOS is cut off at offset 0x0",
    ]


def test_the_example_file_is_right_once_its_lines_are_taken_in(tmp_path: Path) -> None:
    example = Path(__file__).resolve().parents[2] / "data/dimm-labels.conf"
    assert read_labels(str(example)).problems == ()
    lines = [line.removeprefix("#") for line in example.read_text().splitlines() if line[1:2].strip()]
    used = read_labels(str(write(tmp_path / "labels", "\n".join(lines))))
    assert (len(used.by_place), len(used.by_serial), used.problems) == (2, 1, ())
