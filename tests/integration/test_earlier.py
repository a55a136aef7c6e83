# SPDX-License-Identifier: GPL-2.0-only
"""Machine checks from before: real journals, and directories as pstore and systemd-pstore make them."""

from __future__ import annotations

import os
import random
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd.earlier import kernel_log, pstore
from mcelogd.earlier.found import Origin
from mcelogd.earlier.gather import gather
from mcelogd.earlier.merge import records_of, unseen
from mcelogd.record import LENGTH, MceRecord, layout, pack
from mcelogd.store.rows import StoredEvent

from .ctl_peers import Journal, journal
from .journal_peer import open_files
from .privatebus import NOBODY, effective_user

if TYPE_CHECKING:
    from mcelogd.earlier.found import Found

START = 1_795_374_194
"""Seconds since the epoch of the journal's first entry."""
NOW = START + 600
BOOT = "0123456789abcdef" * 2
OTHER_BOOT = "f" * 32

GROUP = (
    "mce: [Hardware Error]: Machine check events logged",
    "mce: [Hardware Error]: CPU 0: Machine Check: 0 Bank 4: a600000000020408",
    "mce: [Hardware Error]: TSC 0 ADDR fef4c9e0 ",
    f"mce: [Hardware Error]: PROCESSOR 0:706a1 TIME {START + 3} SOCKET 0 APIC 0 microcode 28",
)
AMD = (
    "[Hardware Error]: Corrected error, no action required.",
    "[Hardware Error]: CPU:2 (19:1:1) MC17_STATUS[Over|CE|MiscV|AddrV|-|-|SyndV|CECC]: 0xdc2040000000011b",
    "[Hardware Error]: Error Addr: 0x000000003f0c4140",
    "[Hardware Error]: IPID: 0x0000009600150f00, Syndrome: 0x0a00000000020a01",
    "[Hardware Error]: cache level: L3/GEN, tx: GEN, mem-tx: RD",
)
PANIC = f"""\
<4>[  812.004417] Disabling lock debugging due to kernel taint
<0>[  812.004431] mce: [Hardware Error]: CPU 2: Machine Check Exception: 5 Bank 3: be00000000800400
<0>[  812.004433] mce: [Hardware Error]: RIP !INEXACT! 33:<00007f3c1d2e4a10>
<0>[  812.004436] mce: [Hardware Error]: TSC 1c9f0a2b3d4 ADDR fee00 MISC 86
<0>[  812.004440] mce: [Hardware Error]: PROCESSOR 0:306e4 TIME {START - 900} SOCKET 1 APIC 4 microcode 428
<0>[  812.004442] mce: [Hardware Error]: Run the above through 'mcelog --ascii'
<0>[  812.004457] mce: [Hardware Error]: Machine check: Processor context corrupt
<0>[  812.004459] Kernel panic - not syncing: Fatal machine check
"""
REGISTERS = MceRecord(
    status=0xBE00000000800400,
    misc=0x86,
    addr=0xFEE00,
    mcgstatus=5,
    ip=0x7F3C1D2E4A10,
    tsc=0x1C9F0A2B3D4,
    time=START - 900,
    cpuid=0x306E4,
    cs=0x33,
    bank=3,
    cpu8=2,
    extcpu=2,
    socketid=1,
    apicid=4,
    mcgcap=0xF000C14,
)


def kernel(one: Journal, lines: tuple[str, ...], seconds: float = 0.0, **changes: str) -> None:
    fields = {"_TRANSPORT": "kernel", "SYSLOG_FACILITY": "0", "_BOOT_ID": BOOT, "PRIORITY": "0"}
    for line in lines:
        one.add(line, seconds, **fields | changes)


@pytest.fixture(scope="module")
def boot(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The journal of a boot with two machine checks in it, and much that is none."""
    directory = tmp_path_factory.mktemp("journal")
    with journal(directory) as one:
        kernel(one, ("Linux version 6.12", *GROUP), 30)
        kernel(one, AMD, 90, _BOOT_ID=OTHER_BOOT)
        kernel(one, AMD, 91, SYSLOG_FACILITY="3")
        kernel(one, AMD, 92, _TRANSPORT="journal")
        kernel(one, ("usb 1-1: Product: " + GROUP[1], "\0" + GROUP[1], GROUP[1] * 500), 93)
        # Printed at the start of the boot, received by journald 100 seconds later.
        printed = 374_194 + 200 - 100
        kernel(one, AMD, 200, _SOURCE_MONOTONIC_TIMESTAMP=f"{printed}500000")
    return directory


def parse(found: Found) -> MceRecord:
    return layout(LENGTH).parse(found.record)


def test_this_boots_messages(boot: Path) -> None:
    gathered = gather([], BOOT, (), NOW, journal=boot)
    assert (gathered.problems, gathered.has_kernel_log, gathered.seen) == ([], True, set())
    first, second = gathered.found
    assert (first.when, first.origin, first.incomplete) == (START + 3, Origin.KERNEL_LOG, False)
    assert (parse(first).status, parse(first).addr) == (0xA600000000020408, 0xFEF4C9E0)
    assert (second.when, second.incomplete) == (START + 100, True)
    assert (parse(second).cpu, parse(second).bank, parse(second).addr) == (2, 17, 0x3F0C4140)


def test_a_boot_id_with_dashes(boot: Path) -> None:
    dashed = f"{BOOT[:8]}-{BOOT[8:12]}-{BOOT[12:16]}-{BOOT[16:20]}-{BOOT[20:]}"
    assert len(gather([], dashed, (), NOW, journal=boot).found) == 2


def test_nothing_is_asked_without_a_boot(boot: Path) -> None:
    assert gather([], "", (), NOW, journal=boot) == ([], set(), [], False, 0)


@pytest.mark.parametrize("name", ["x", "--merge", BOOT + "0", "_UID=0"])
def test_no_boot_id(boot: Path, name: str) -> None:
    assert "is not known" in kernel_log.read(name, boot).problem


def test_a_boot_that_the_journal_does_not_know(boot: Path) -> None:
    log = kernel_log.read("e" * 32, boot)
    assert log == ([], "no kernel message of this boot is in the journal", False)


def test_no_journal(tmp_path: Path) -> None:
    assert "no kernel message" in kernel_log.read(BOOT, tmp_path).problem
    assert kernel_log.read(BOOT, tmp_path / "none").problem.startswith("journalctl failed: Failed to open")
    log = kernel_log.read(BOOT, tmp_path, program="no-such-program")
    assert log.problem == "cannot run no-such-program: No such file or directory"


def test_damaged_journals(boot: Path, tmp_path: Path) -> None:
    (original,) = boot.glob("*.journal")
    whole = original.read_bytes()
    rng = random.Random(7)
    for number in range(6):
        data = bytearray(whole)
        for _ in range(4**number):
            data[rng.randrange(len(data))] = rng.randrange(256)
        (tmp_path / "damaged.journal").write_bytes(data)
        log = kernel_log.read(BOOT, tmp_path, seconds=5)
        assert log.is_whole or log.problem
    (tmp_path / "damaged.journal").write_bytes(whole[: len(whole) // 2])
    kernel_log.read(BOOT, tmp_path, seconds=5)
    (tmp_path / "damaged.journal").write_bytes(rng.randbytes(100_000))
    assert kernel_log.read(BOOT, tmp_path, seconds=5).lines == []


def program(path: Path, text: str) -> str:
    path.write_text("#!/bin/sh\n" + text)
    path.chmod(0o755)
    return str(path)


@pytest.mark.parametrize("text", ["exec sleep 60", "yes", "exec 1>&- 2>&-; exec sleep 60", "sleep 5 & wait"])
def test_a_journal_that_does_not_end(tmp_path: Path, text: str) -> None:
    begin = time.monotonic()
    log = kernel_log.read(BOOT, program=program(tmp_path / "journalctl", text), seconds=0.5)
    assert time.monotonic() - begin < 4
    assert not log.is_whole
    assert log.problem


def test_what_a_broken_journalctl_prints(tmp_path: Path) -> None:
    entry = '{"MESSAGE":"mce: [Hardware Error]: x","__REALTIME_TIMESTAMP":"5000000"}'
    marker = "[Hardware Error]"
    lines = [entry, "[" * 30_000 + marker, f'["{marker}"]', f'{{"MESSAGE":["{marker}"]}}', f'"{marker}"']
    lines += [
        entry.replace('"5000000"', value) for value in ('"' + "9" * 30 + '"', "5", "null", '"-5"', '"٣"')
    ]
    lines += ["x" * 200_000 + marker, entry, "cut off " + marker]
    (tmp_path / "out").write_text("\n".join(lines))
    script = f"cat {tmp_path}/out; printf 'Oh\\033no\\nmore' >&2; exit 3"
    log = kernel_log.read(BOOT, program=program(tmp_path / "journalctl", script))
    assert [line.when for line in log.lines] == [5, 0, 0, 0, 0, 0, 5]
    assert log.problem.endswith("journalctl failed: Oh?no")


def test_too_many_messages(tmp_path: Path) -> None:
    entry = '{"MESSAGE":"mce: [Hardware Error]: x","__REALTIME_TIMESTAMP":"5000000"}'
    script = f"yes '{entry}' | head -n {kernel_log.MOST_LINES + 7}"
    log = kernel_log.read(BOOT, program=program(tmp_path / "journalctl", script))
    assert (len(log.lines), log.is_whole) == (kernel_log.MOST_LINES, True)
    assert "the first 7 are left out" in log.problem


def test_no_child_and_no_descriptor_is_left(boot: Path, tmp_path: Path) -> None:
    before = open_files()
    for _ in range(3):
        kernel_log.read(BOOT, boot)
        kernel_log.read(BOOT, program=program(tmp_path / "journalctl", "exec sleep 9"), seconds=0.05)
    assert open_files() == before
    children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text()
    assert "journalctl" not in "".join(Path(f"/proc/{pid}/comm").read_text() for pid in children.split())


class Pstore:
    """/sys/fs/pstore, and where systemd-pstore moves its files."""

    def __init__(self, directory: Path) -> None:
        self.sys, self.archive = self.roots = (directory / "sys", directory / "archive")
        for root in self.roots:
            root.mkdir()

    def efi(self, where: Path, text: str = PANIC, *, count: int = 1, size: int = 300) -> list[Path]:
        """The parts of a dump, each of so many characters, the last of the text being part 1."""
        where.mkdir(parents=True, exist_ok=True)
        parts: list[str] = [""]
        for line in reversed(text.splitlines(keepends=True)):
            if len(parts[-1]) + len(line) > size:
                parts.append("")
            parts[-1] = line + parts[-1]
        paths = []
        for number, part in enumerate(parts, 1):
            paths.append(where / f"dmesg-efi-{START - 900}{number:02}{count:03}")
            paths[-1].write_text(f"Panic#{count} Part{number}\n{part}")
        return paths

    def read(self, seen: set[str] | None = None) -> pstore.Left:
        return pstore.read(self.roots, seen or set(), NOW)


@pytest.fixture
def tree(tmp_path: Path) -> Pstore:
    return Pstore(tmp_path)


@pytest.mark.parametrize("where", ["sys", f"archive/{START - 900}/001", "archive/17953"])
def test_a_panic_in_parts(tree: Pstore, tmp_path: Path, where: str) -> None:
    parts = tree.efi(tmp_path / where)
    assert len(parts) > 2
    left = tree.read()
    (found,) = left.found
    assert (found.origin, found.when, found.source) == (Origin.PSTORE, START - 900, str(parts[0]))
    assert parse(found) == REGISTERS._replace(
        cpu8=0, mcgcap=0, microcode=0x428, synd=0, ipid=0, ppin=0, kflags=0
    )
    assert (len(left.seen), left.problems) == (len(parts), [])


def test_what_was_read_is_not_read_again(tree: Pstore) -> None:
    tree.efi(tree.sys)
    first = tree.read()
    again = tree.read(first.seen)
    assert (again.found, again.seen, again.problems) == ([], first.seen, [])
    for path in tree.sys.iterdir():
        os.utime(path, (START, START))
    assert tree.read(first.seen).found == first.found
    for path in tree.sys.iterdir():
        path.unlink()
    assert tree.read(first.seen) == ([], set(), [])


def test_a_panic_as_text_and_as_registers_is_one(tree: Pstore) -> None:
    tree.efi(tree.archive / "1" / "001")
    tree.efi(tree.sys)
    registers = tree.sys / f"mce-erst-{(START - 900 << 32) + 1}"
    registers.write_bytes(pack(REGISTERS))
    gathered = gather(tree.roots, "", (), NOW)
    assert len(gathered.found) == 3
    (one,) = unseen(gathered.found, [])
    assert (one.record, one.source) == (pack(REGISTERS), str(registers))
    row = StoredEvent(1, START, "internal", "fatal", 2, 3, 1, None, None, "", pack(REGISTERS))
    assert unseen(gathered.found, records_of([row])) == []


def test_a_joined_text_counts_where_the_parts_are_gone(tree: Pstore) -> None:
    directory = tree.archive / "179537329" / "001"
    parts = tree.efi(directory)
    joined = directory / "dmesg.txt"
    joined.write_text("".join(f"{part.name}:\n{part.read_text()}" for part in reversed(parts)))
    assert [one.source for one in tree.read().found] == [str(parts[0])]
    for part in parts:
        part.unlink()
    (found,) = tree.read().found
    assert (found.source, found.when, parse(found).addr) == (str(joined), START - 900, 0xFEE00)


def test_compressed_files_are_named_once(tree: Pstore) -> None:
    for number in (1, 2):
        (tree.archive / f"dmesg-efi-{START}0{number}001.enc.z").write_bytes(b"\x78\x9c" + PANIC.encode())
    left = tree.read()
    assert left.problems == [f"{tree.archive}: 2 compressed files (.enc.z) are not read"]
    assert left.found == []
    assert tree.read(left.seen).problems == []


def test_old_archives_are_left_alone(tree: Pstore) -> None:
    tree.efi(tree.archive)
    gathered = gather(tree.roots, "", (), NOW + 90 * 86400)
    assert gathered.found == []
    assert gathered.problems == ["1 machine checks in pstore are older than 30 days: left alone"]
    assert len(gather(tree.roots, "", (), NOW + 90 * 86400, most_age=91 * 86400).found) == 1


def test_files_that_are_none_of_ours(tree: Pstore) -> None:
    os.mkfifo(tree.sys / "dmesg-efi-1")
    (tree.sys / "dmesg-efi-2").symlink_to("/dev/zero")
    (tree.sys / "dmesg-efi-3").mkdir()
    (tree.sys / "console-ramoops-0").write_text(PANIC)
    (tree.sys / "loop").symlink_to(tree.sys)
    (tree.sys / "mce-erst-1").write_bytes(b"")
    (tree.sys / "mce-erst-2").write_bytes(random.Random(3).randbytes(128))
    (tree.archive / os.fsdecode(b"\xff\xfe")).mkdir()
    (tree.archive / os.fsdecode(b"\xff\xfe") / "dmesg-erst-1").write_bytes(random.Random(4).randbytes(50_000))
    deep = tree.archive.joinpath(*"abcdefgh")
    deep.mkdir(parents=True)
    (deep / "dmesg-efi-1").write_text(PANIC)
    left = tree.read()
    assert left.found == []
    assert sorted(left.problems) == [
        f"{tree.sys}/mce-erst-1: is no machine check (0 bytes)",
        f"{tree.sys}/mce-erst-2: is no machine check (128 bytes)",
    ]


def test_a_root_that_is_none(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    assert pstore.read([tmp_path / "none", tmp_path / "file"], set(), NOW) == ([], set(), [])


@pytest.mark.skipif(os.geteuid() != 0, reason="needs another user")
def test_files_that_may_not_be_read() -> None:
    with tempfile.TemporaryDirectory(prefix="mcelog-") as directory:
        Path(directory).chmod(0o755)
        tree = Pstore(Path(directory))
        (path,) = tree.efi(tree.sys, size=5000)
        path.chmod(0o600)
        tree.archive.chmod(0o700)
        with effective_user(NOBODY):
            left = tree.read()
        assert (left.found, left.seen) == ([], set())
        assert left.problems == [f"{path}: Permission denied", f"{tree.archive}: Permission denied"]
        assert len(tree.read(left.seen).found) == 1


def test_a_huge_file(tree: Pstore) -> None:
    path = tree.archive / "dmesg-erst-1"
    with path.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(0, os.SEEK_END)
        file.write(b"\n" + PANIC.encode())
    left = tree.read()
    assert len(left.found) == 1
    assert left.problems == [f"{path}: only its last {pstore.LARGEST} bytes are looked at"]


def test_a_tree_that_is_too_large_is_read_bit_by_bit(tree: Pstore) -> None:
    """The newest first; what there was no room for comes at the next start."""
    filler = b"<4>[  812.0] nothing\n" * 45_000
    for number in range(12):
        path = tree.archive / f"dmesg-ramoops-{number}"
        path.write_bytes(
            b"Panic#1 Part1\n" + filler + PANIC.replace("ADDR fee00", f"ADDR {number:x}000").encode()
        )
        os.utime(path, (START + number, START + number))
    begin = time.process_time()
    seen: set[str] = set()
    addresses = []
    for _ in range(6):
        left = tree.read(seen)
        addresses.append(sorted(parse(one).addr >> 12 for one in left.found))
        assert sum(len(one) for one in addresses) == len(left.seen)
        seen = left.seen
        if not left.problems:
            break
    assert [number for some in reversed(addresses) for number in some] == [*range(12)]
    assert len(addresses) > 2
    assert time.process_time() - begin < 10


def test_more_files_than_anyone_needs(tree: Pstore, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pstore, "MOST_FILES", 10)
    monkeypatch.setattr(pstore, "MOST_ENTRIES", 30)
    for number in range(60):
        (tree.sys / f"dmesg-ramoops-{number}").write_text(PANIC)
    left = tree.read()
    assert (len(left.found), len(left.seen)) == (10, 10)
    assert left.problems == [f"{tree.sys}: there are too many files; only 10 at most are looked at"]


def test_journal_and_pstore_together(boot: Path, tree: Pstore) -> None:
    tree.efi(tree.sys)
    gathered = gather(tree.roots, BOOT, (), NOW, journal=boot)
    assert [one.origin.value for one in gathered.found] == ["pstore", "kernel-log", "kernel-log"]
    assert unseen(gathered.found, []) == gathered.found
