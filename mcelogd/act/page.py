# SPDX-License-Identifier: GPL-2.0-only
"""Takes one page of memory out of use, by way of sysfs. It blocks: see offline.py for the way around.

Source: Linux Documentation/ABI/testing/sysfs-memory-page-offline,
Documentation/admin-guide/sysctl/vm.rst and mm/memory-failure.c. Soft
off-lining moves what the page holds elsewhere and hurts nobody; hard
off-lining takes the page away, and kills who needs what was in it.
"""

from __future__ import annotations

import enum
import errno
import os
from typing import TYPE_CHECKING, NamedTuple

from mcelogd.act.caps import PAGE_SIZE
from mcelogd.act.kpageflags import PageKind, kernel_use
from mcelogd.act.proc import Proc

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.act.caps import Memory
    from mcelogd.act.proc import View

EHWPOISON = 133
"""errno: the page is off-lined already. Python's errno knows the name from 3.14 on only."""

LARGEST_ADDRESS = 2**64 - 1


class How(enum.StrEnum):
    """The ways to take a page out of use, as `memory-ce-action` names them."""

    SOFT = "soft"
    HARD = "hard"
    SOFT_THEN_HARD = "soft-then-hard"


class Result(NamedTuple):
    """What became of a page.

    `how` is SOFT or HARD: what was done, or tried last, or refused. `reason`
    says why it failed; after a success it is what else there is to know, or
    empty. `errno` is the kernel's, None where it was not asked. `already`:
    nothing was done, for the page was out of use before. `lost`: it is marked
    as bad from now on, which it may be even if off-lining failed. `postponed`:
    nothing speaks against the page itself; it is only not its turn now.
    """

    address: int
    ok: bool
    how: How
    reason: str = ""
    errno: int | None = None
    already: bool = False
    lost: bool = False
    postponed: bool = False


_LATER = "; a later try may succeed"
_FAILURES: dict[How, dict[int, str]] = {
    How.SOFT: {
        errno.EIO: "the kernel cannot move what it holds",
        errno.EBUSY: "it is in use and cannot be moved now, held by a driver or a virtual machine perhaps"
        + _LATER,
        errno.EAGAIN: "it cannot be moved now" + _LATER,
        errno.ENOMEM: "there is no free memory to move it to" + _LATER,
        errno.EOPNOTSUPP: "soft off-lining is switched off; sysctl vm.enable_soft_offline=1 permits it",
    },
    How.HARD: {
        errno.EBUSY: "the kernel has marked it as bad, but could not take it from who uses it; restart"
        " the machine when it suits",
    },
}
# Where soft off-lining fails with one of these, hard would too.
_ANY_FAILURES = {
    errno.ENOENT: "this kernel cannot off-line pages; it is built without CONFIG_MEMORY_FAILURE",
    errno.ENXIO: "this kernel has no memory there: it is a device's, a hole, or not on-line",
    errno.EINVAL: "the kernel does not take this address",
    errno.EPERM: "it takes CAP_SYS_ADMIN; run mcelog as root, without run-credentials-user",
    errno.EACCES: "only root may; run mcelog as root, without run-credentials-user",
    errno.EROFS: "sysfs is read-only here; the service needs ReadWritePaths= for the file",
}


class PageKnobs:
    """The kernel's two files to off-line a page with, and what it tells about pages.

    `huge_pages` permits to off-line pages of hugetlbfs, at the cost of a whole
    huge page; `dry_run` looks, and writes nothing.
    """

    def __init__(
        self, sysfs_root: str, proc_root: str, *, huge_pages: bool = False, dry_run: bool = False
    ) -> None:
        directory = f"{sysfs_root}/devices/system/memory"
        self.files = {
            How.SOFT: f"{directory}/soft_offline_page",
            How.HARD: f"{directory}/hard_offline_page",
        }
        self._proc = Proc(proc_root)
        self._huge_pages = huge_pages
        self._dry_run = dry_run
        self._marked_in_use: set[int] = set()
        """Pages that are marked as bad and in use all the same: their flags alone do not tell."""

    def check(self, how: How) -> str:
        """Why no page at all can be off-lined this way now; empty if it should be possible.

        Of soft-then-hard it is the soft way that has to be possible.
        """
        method = _first(how)
        path = self.files[method]
        if not os.access(path, os.F_OK):
            return f"{path}: {_ANY_FAILURES[errno.ENOENT]}"
        if not os.access(path, os.W_OK):
            return f"{path} cannot be written; run mcelog as root, and see ReadWritePaths= of its service"
        return self._forbidden(method)

    def boot_id(self) -> str:
        """What tells this boot from others; empty where unknown."""
        return self._proc.sysctl("kernel/random/boot_id")

    def take(self, address: int, how: How, limit: Callable[[Memory | None], str]) -> Result:
        """Take the page of a physical byte address out of use; for as long as it takes.

        `limit` says from the memory there is why not one more page may go, or
        nothing. Whether it may is asked before anything is written.
        """
        page = address & ~(PAGE_SIZE - 1)
        first = _first(how)
        if not 0 <= address <= LARGEST_ADDRESS:
            return Result(address, False, first, "no physical address")
        before = self._proc.view(page)
        if before.is_marked or page in self._marked_in_use:
            return self._marked(page, first, before)
        too_many = limit(before.memory)
        refusal = too_many or self._refusal(first, before)
        if refusal:
            return Result(page, False, first, refusal, postponed=bool(too_many))
        if self._dry_run:
            return Result(page, False, first, _would_be(first, before), postponed=True)
        result = self._write(page, first, before)
        if result.ok or how is not How.SOFT_THEN_HARD or result.errno in _ANY_FAILURES:
            return result
        return self._then_hard(page, result)

    def _marked(self, page: int, method: How, view: View) -> Result:
        """Asked to soft off-line a marked page, the kernel does nothing and reports success."""
        if view.kind is PageKind.POISONED and page not in self._marked_in_use:
            return Result(page, True, method, "off-lined before", already=True)
        return Result(page, False, method, "it is marked as bad, but the kernel could not take it out of use")

    def _then_hard(self, page: int, soft: Result) -> Result:
        """What soft off-lining could not move is taken away, but never from the kernel itself."""
        before = self._proc.view(page)
        refusal = self._refusal(How.HARD, before)
        if not refusal and soft.errno == errno.EIO and before.kind is PageKind.UNCLEAR:
            refusal = "the kernel itself seems to use the page"
        if refusal:
            return soft._replace(reason=f"soft: {soft.reason}; hard is not tried: {refusal}")
        hard = self._write(page, How.HARD, before)
        note = f"; hard: {hard.reason}" if hard.reason else ""
        return hard._replace(reason=f"soft: {soft.reason}{note}")

    def _refusal(self, method: How, view: View) -> str:
        """Why the kernel is not to be asked; empty if it may."""
        kind = view.kind
        if kind is PageKind.HUGE and not self._huge_pages:
            return (
                "it is part of a huge page, all of which would go; memory-offline-huge-pages = yes permits it"
            )
        if method is How.HARD and kind is PageKind.KERNEL:
            return f"the kernel uses it for {kernel_use(view.flags or 0)}, and would not give it up"
        panics = self._proc.sysctl("vm/panic_on_unrecoverable_memory_failure") == "1"
        if method is How.HARD and kind is PageKind.UNCLEAR and panics:
            return "the kernel may use it itself, and vm.panic_on_unrecoverable_memory_failure is 1"
        return self._forbidden(method)

    def _forbidden(self, method: How) -> str:
        """What the sysctls have against a method, whatever the page."""
        if method is How.SOFT and self._proc.sysctl("vm/enable_soft_offline") == "0":
            return _FAILURES[How.SOFT][errno.EOPNOTSUPP]
        if method is How.HARD and self._proc.sysctl("vm/memory_failure_recovery") == "0":
            return "the kernel would panic, because vm.memory_failure_recovery is 0"
        return ""

    def _write(self, page: int, method: How, before: View) -> Result:
        """Ask the kernel, and see whether it did what it says."""
        try:
            descriptor = os.open(self.files[method], os.O_WRONLY | os.O_CLOEXEC)
            try:
                os.write(descriptor, b"%#x" % page)
            finally:
                os.close(descriptor)
        except OSError as error:
            if error.errno == EHWPOISON:
                return Result(page, True, method, "off-lined before", EHWPOISON, already=True)
            return self._failed(page, method, error, before)
        return self._verified(page, method, before)

    def _failed(self, page: int, method: How, error: OSError, before: View) -> Result:
        """A hard off-lining that fails has marked the page as bad for all that."""
        after = self._proc.view(page) if method is How.HARD else before
        marked = error.errno == errno.EBUSY if after.flags is None else after.is_marked
        lost = method is How.HARD and marked
        if lost:
            self._marked_in_use.add(page)
        return Result(page, False, method, _failure(method, error, before.flags), error.errno, lost=lost)

    def _verified(self, page: int, method: How, before: View) -> Result:
        after = self._proc.view(page)
        if after.flags is not None:
            if after.is_marked:
                return Result(page, True, method, lost=True)
            return Result(
                page, False, method, "the kernel reported success, but did not mark the page as bad"
            )
        has_grown = (
            before.memory is None or after.memory is None or after.memory.corrupted > before.memory.corrupted
        )
        reason = f"not verified: {after.problem}"
        if not has_grown:
            reason += "; HardwareCorrupted did not grow: it was off-lined before, or is not"
        return Result(page, True, method, reason, lost=has_grown)


def _first(how: How) -> How:
    return How.HARD if how is How.HARD else How.SOFT


def _would_be(method: How, view: View) -> str:
    vain = ""
    if view.kind is PageKind.NO_MEMORY:
        vain = f", in vain: {_ANY_FAILURES[errno.ENXIO]}"
    elif view.kind is PageKind.KERNEL:
        vain = f", in vain: the kernel uses it for {kernel_use(view.flags or 0)}"
    return f"dry run: would be {method} off-lined{vain}"


def _failure(method: How, error: OSError, flags: int | None) -> str:
    """Why off-lining failed, in words; with the errno's name, which can be looked for."""
    number = error.errno or 0
    text = _FAILURES[method].get(number) or _ANY_FAILURES.get(number) or error.strerror or "it failed"
    if method is How.SOFT and number == errno.EIO and (use := kernel_use(flags or 0)):
        text = f"the kernel itself uses it, for {use}"
    return f"{text} ({errno.errorcode.get(number, number)})"
