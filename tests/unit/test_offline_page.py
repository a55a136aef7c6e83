# SPDX-License-Identifier: GPL-2.0-only
"""Taking one page out of use: what is looked at before, what is written, and what is made of the answer."""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from mcelogd.act.caps import Memory
from mcelogd.act.page import EHWPOISON, How, PageKnobs

if TYPE_CHECKING:
    from pathlib import Path

GIB = 1 << 30
PAGE = 0x5000


class Tree:
    """sysfs and /proc in a directory; the kernel's two files may be anything."""

    def __init__(self, directory: Path) -> None:
        self.memory = directory / "sys/devices/system/memory"
        self.memory.mkdir(parents=True)
        self.proc = directory / "proc"
        (self.proc / "sys/vm").mkdir(parents=True)
        self.roots = (str(directory / "sys"), str(self.proc))
        self.soft = self.memory / "soft_offline_page"
        self.hard = self.memory / "hard_offline_page"
        self.soft.touch()
        self.hard.touch()
        self.set_memory()
        self.set_flags(0x5828)

    def set_flags(self, flags: int, page: int = PAGE) -> None:
        path = self.proc / "kpageflags"
        path.touch()
        with path.open("r+b") as file:
            file.seek(page // 4096 * 8)
            file.write(flags.to_bytes(8, "little"))

    def set_memory(self, corrupted_kb: int = 0) -> None:
        text = f"MemTotal:       1048576 kB\nMemFree: x kB\nHardwareCorrupted:     {corrupted_kb} kB\n"
        (self.proc / "meminfo").write_text(text)

    def set_sysctl(self, name: str, value: str) -> None:
        (self.proc / "sys/vm" / name).write_text(f"{value}\n")

    @property
    def written(self) -> str:
        return self.soft.read_text() + self.hard.read_text()


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def no_limit(_memory: object) -> str:
    return ""


def fail_with(monkeypatch: pytest.MonkeyPatch, *numbers: int) -> None:
    """The kernel's errors that no file but its own can give, one for each write."""
    left = iter(numbers)

    def write(_descriptor: int, _data: bytes) -> int:
        number = next(left)
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr("mcelogd.act.page.os.write", write)


@pytest.mark.parametrize("how", list(How))
@pytest.mark.parametrize("flags", [0x28000, 0x30000])
def test_a_huge_page_is_left_alone(tree: Tree, how: How, flags: int) -> None:
    tree.set_flags(flags)
    result = PageKnobs(*tree.roots).take(PAGE, how, no_limit)
    assert (result.ok, result.errno, result.lost, tree.written) == (False, None, False, "")
    assert "memory-offline-huge-pages" in result.reason


def test_a_huge_page_goes_if_permitted(tree: Tree) -> None:
    tree.set_flags(0x28000)
    PageKnobs(*tree.roots, huge_pages=True).take(PAGE + 0xFFF, How.SOFT, no_limit)
    assert tree.soft.read_text() == "0x5000"


@pytest.mark.parametrize("how", [How.SOFT, How.SOFT_THEN_HARD])
def test_soft_off_lining_may_be_switched_off(tree: Tree, how: How) -> None:
    tree.set_sysctl("enable_soft_offline", "0")
    knobs = PageKnobs(*tree.roots)
    assert "vm.enable_soft_offline=1" in knobs.take(PAGE, how, no_limit).reason
    assert "vm.enable_soft_offline=1" in knobs.check(how)
    assert tree.written == ""


def test_hard_off_lining_must_not_panic_the_kernel(tree: Tree) -> None:
    tree.set_sysctl("memory_failure_recovery", "0")
    knobs = PageKnobs(*tree.roots)
    assert "panic" in knobs.take(PAGE, How.HARD, no_limit).reason
    assert "panic" in knobs.check(How.HARD)
    assert knobs.check(How.SOFT_THEN_HARD) == ""
    tree.set_sysctl("memory_failure_recovery", "1")
    tree.set_sysctl("panic_on_unrecoverable_memory_failure", "1")
    tree.set_flags(0)
    assert "panic_on_unrecoverable" in knobs.take(PAGE, How.HARD, no_limit).reason
    assert tree.written == ""
    tree.set_flags(0x400)
    knobs.take(PAGE, How.HARD, no_limit)
    assert tree.written == "0x5000"


@pytest.mark.parametrize("flags", [0x80, 0x100000000, 0x4000000])
def test_never_hard_on_a_page_of_the_kernels(tree: Tree, flags: int) -> None:
    tree.set_flags(flags)
    result = PageKnobs(*tree.roots).take(PAGE, How.HARD, no_limit)
    assert not result.ok
    assert "the kernel uses it for" in result.reason
    assert tree.written == ""


@pytest.mark.parametrize("flags", [0, 0x80, 0x100000000])
def test_soft_then_hard_stops_at_the_kernels_own(
    tree: Tree, flags: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, errno.EIO)
    tree.set_flags(flags)
    result = PageKnobs(*tree.roots).take(PAGE, How.SOFT_THEN_HARD, no_limit)
    assert (result.ok, result.how, result.errno, result.lost) == (False, How.SOFT, errno.EIO, False)
    assert result.reason.startswith("soft: ")
    assert "(EIO); hard is not tried: the kernel" in result.reason


@pytest.mark.parametrize("flags", [None, 0x5828])
def test_soft_then_hard_goes_on_as_configured(
    tree: Tree, flags: int | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Where the flags say nothing against it, and where they cannot be read."""
    fail_with(monkeypatch, errno.EIO, errno.EBUSY)
    if flags is None:
        (tree.proc / "kpageflags").unlink()
    knobs = PageKnobs(*tree.roots)
    result = knobs.take(PAGE, How.SOFT_THEN_HARD, no_limit)
    assert (result.ok, result.how, result.errno) == (False, How.HARD, errno.EBUSY)
    assert result.lost is (flags is None)
    if result.lost:
        assert "marked as bad" in knobs.take(PAGE, How.SOFT, no_limit).reason
    assert "soft: " in result.reason
    assert "(EIO); hard: " in result.reason


@pytest.mark.parametrize("number", [errno.ENXIO, errno.EPERM, errno.EINVAL, errno.ENOENT, errno.EROFS])
def test_soft_then_hard_stops_where_hard_would_fail_too(
    tree: Tree, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, number)
    result = PageKnobs(*tree.roots).take(PAGE, How.SOFT_THEN_HARD, no_limit)
    assert (result.ok, result.how, result.errno) == (False, How.SOFT, number)
    assert "hard" not in result.reason


def test_marked_but_in_use_stays_a_failure(tree: Tree, monkeypatch: pytest.MonkeyPatch) -> None:
    """What the kernel marked and could not take counts as lost memory, and is not done on the next try."""

    def write(_descriptor: int, _data: bytes) -> int:
        tree.set_flags(1 << 19)
        raise OSError(errno.EBUSY, "Device or resource busy")

    monkeypatch.setattr("mcelogd.act.page.os.write", write)
    knobs = PageKnobs(*tree.roots)
    result = knobs.take(PAGE, How.HARD, no_limit)
    assert (result.ok, result.errno, result.lost) == (False, errno.EBUSY, True)
    again = knobs.take(PAGE, How.SOFT, no_limit)
    assert (again.ok, again.already, again.lost) == (False, False, False)
    assert PageKnobs(*tree.roots).take(PAGE, How.SOFT, no_limit).already


def test_a_marked_page_of_the_kernels_is_no_success(tree: Tree) -> None:
    tree.set_flags(1 << 19 | 0x80)
    result = PageKnobs(*tree.roots).take(PAGE, How.SOFT, no_limit)
    assert (result.ok, result.already, tree.written) == (False, False, "")


@pytest.mark.parametrize("how", list(How))
def test_off_lined_before_is_done(tree: Tree, how: How, monkeypatch: pytest.MonkeyPatch) -> None:
    (tree.proc / "kpageflags").unlink()
    fail_with(monkeypatch, EHWPOISON)
    result = PageKnobs(*tree.roots).take(PAGE, how, no_limit)
    assert (result.ok, result.errno, result.already, result.lost) == (True, EHWPOISON, True, False)
    tree.set_flags(1 << 19)
    result = PageKnobs(*tree.roots).take(PAGE, how, no_limit)
    assert (result.ok, result.errno, result.already, result.lost) == (True, None, True, False)


@pytest.mark.parametrize("method", [How.SOFT, How.HARD])
@pytest.mark.parametrize(
    "number",
    [
        *(errno.EIO, errno.EBUSY, errno.ENXIO, errno.EINVAL, errno.EPERM),
        *(errno.EOPNOTSUPP, errno.ENOMEM, errno.EROFS, errno.EAGAIN),
    ],
)
def test_every_failure_is_explained(
    tree: Tree, method: How, number: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    fail_with(monkeypatch, number)
    result = PageKnobs(*tree.roots).take(PAGE, method, no_limit)
    assert (result.ok, result.how, result.errno) == (False, method, number)
    assert result.reason.endswith(f"({errno.errorcode[number]})")
    assert "\n" not in result.reason
    unexplained = {(How.HARD, name) for name in (errno.EIO, errno.EOPNOTSUPP, errno.ENOMEM, errno.EAGAIN)}
    assert (os.strerror(number) in result.reason) is ((method, number) in unexplained)


def test_dry_run_writes_nothing(tree: Tree) -> None:
    knobs = PageKnobs(*tree.roots, dry_run=True)
    assert knobs.take(PAGE, How.SOFT_THEN_HARD, no_limit).reason == "dry run: would be soft off-lined"
    tree.set_flags(0x80)
    result = knobs.take(PAGE, How.SOFT, no_limit)
    assert (result.ok, result.lost) == (False, False)
    assert result.reason.endswith("in vain: the kernel uses it for a slab cache")
    assert "in vain: this kernel has no memory there" in knobs.take(1 << 52, How.HARD, no_limit).reason
    tree.set_flags(1 << 19)
    assert knobs.take(PAGE, How.SOFT, no_limit).already
    assert tree.written == ""


def test_limits_are_asked_with_what_memory_there_is(tree: Tree) -> None:
    tree.set_memory(corrupted_kb=8)
    asked = []

    def limit(memory: Memory | None) -> str:
        asked.append(memory)
        return "enough"

    result = PageKnobs(*tree.roots).take(PAGE, How.HARD, limit)
    assert (result.ok, result.reason, tree.written) == (False, "enough", "")
    (tree.proc / "meminfo").write_bytes(b"\xff\0MemTotal\n\nHardwareCorrupted: 4 kB")
    PageKnobs(*tree.roots).take(PAGE, How.HARD, limit)
    assert asked == [Memory(GIB, 8192), None]


@pytest.mark.parametrize("address", [-1, -4096, 2**64, 2**200])
def test_no_address_at_all(tree: Tree, address: int) -> None:
    assert PageKnobs(*tree.roots).take(address, How.HARD, no_limit).reason == "no physical address"
    assert tree.written == ""


def test_the_largest_address_is_one(tree: Tree) -> None:
    PageKnobs(*tree.roots).take(2**64 - 1, How.SOFT, no_limit)
    assert tree.written == "0xfffffffffffff000"
