# SPDX-License-Identifier: GPL-2.0-only
"""Off-lining a page, against files that behave as the kernel's do: they block, answer, refuse."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from mcelogd.act.offline import How, Result
from tests.integration.page_kernel import PAGE, Kernel, Machine, one_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def test_a_page_is_off_lined_and_the_proof_of_it_read(machine: Machine) -> None:
    kernel = Kernel(machine, Kernel.off_line)
    offliner = machine.offliner()
    result = one_page(offliner, page=PAGE + 0x678)
    assert result == Result(PAGE, True, How.SOFT, lost=True)
    assert kernel.got == ["0x12345000"]
    assert machine.offliner().check("soft") == ""


def test_success_without_the_mark_is_none(machine: Machine) -> None:
    machine.soft.touch()
    result = one_page(machine.offliner())
    assert machine.soft.read_text() == "0x12345000"
    assert (result.ok, result.lost) == (False, False)
    assert "did not mark" in result.reason


@pytest.mark.parametrize(("grown", "lost"), [(4, True), (0, False)])
def test_without_kpageflags_success_is_not_verified(machine: Machine, grown: int, lost: bool) -> None:
    def work(kernel: Kernel) -> None:
        kernel.show_memory(100)
        kernel.accept(machine.soft)
        kernel.show_memory(100 + grown)

    Kernel(machine, work)
    machine.kpageflags.unlink()
    result = one_page(machine.offliner())
    assert (result.ok, result.lost) == (True, lost)
    assert result.reason.startswith("not verified: ")
    assert ("HardwareCorrupted did not grow" in result.reason) is not lost


def test_soft_then_hard_takes_what_would_not_move(machine: Machine) -> None:
    """A page that softly does not go: no memory to move it to, say; /dev/full gives such an errno."""

    def work(kernel: Kernel) -> None:
        machine.soft.unlink()
        machine.soft.symlink_to("/dev/full")
        for _ in range(2):
            kernel.show_memory(0)
        kernel.accept(machine.hard)
        machine.mark(PAGE)
        kernel.show_memory(4)

    kernel = Kernel(machine, work)
    result = one_page(machine.offliner(), "soft-then-hard")
    assert (result.ok, result.how, result.lost) == (True, How.HARD, True)
    assert result.reason == "soft: No space left on device (ENOSPC)"
    assert kernel.got == ["0x12345000"]


def refusing_files(machine: Machine) -> Iterator[tuple[str, Callable[[], object]]]:
    """What is in place of the kernel's file, and what is said then."""
    listening = socket.socket(socket.AF_UNIX)
    yield "CONFIG_MEMORY_FAILURE", lambda: None
    yield "Is a directory (EISDIR)", machine.soft.mkdir
    yield "No space left on device (ENOSPC)", lambda: machine.soft.symlink_to("/dev/full")
    yield "no memory there", lambda: listening.bind(str(machine.soft))
    yield "(EIO)", lambda: machine.soft.symlink_to("/proc/self/mem")
    yield "Too many levels of symbolic links", lambda: machine.soft.symlink_to(machine.soft)
    listening.close()


def test_every_refusal_of_the_files_is_a_result(machine: Machine) -> None:
    for said, make in refusing_files(machine):
        make()
        result = one_page(machine.offliner())
        assert not result.ok
        assert said in result.reason
        assert result.errno
        assert not result.lost
        if machine.soft.is_dir():
            machine.soft.rmdir()
        else:
            machine.soft.unlink(missing_ok=True)


def test_what_cannot_work_is_known_at_the_start(machine: Machine) -> None:
    assert "CONFIG_MEMORY_FAILURE" in machine.offliner().check("soft-then-hard")
    machine.soft.touch()
    assert machine.offliner().check("soft-then-hard") == ""
    assert "CONFIG_MEMORY_FAILURE" in machine.offliner().check("hard")


def test_dry_run_leaves_the_files_alone(machine: Machine) -> None:
    """Opening one of these would block."""
    os.mkfifo(machine.soft)
    os.mkfifo(machine.hard)
    for how in How:
        result = one_page(machine.offliner(dry_run=True), how)
        assert (result.ok, result.lost) == (False, False)
        assert result.reason.startswith("dry run: would be ")


def test_a_word_that_is_no_way_to_off_line(machine: Machine) -> None:
    with pytest.raises(ValueError, match="account"):
        one_page(machine.offliner(), "account")
