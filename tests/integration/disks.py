# SPDX-License-Identifier: GPL-2.0-only
"""A disk of a test's own, really full or really read-only: a small tmpfs, for which root is needed."""

from __future__ import annotations

import contextlib
import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Disk:
    """What is mounted at `path`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.store = path / "db"
        self._filler = path / "filler"

    def fill(self) -> None:
        with contextlib.suppress(OSError), self._filler.open("ab", buffering=0) as file:
            while True:
                file.write(bytes(4096))

    def free(self) -> None:
        self._filler.unlink()

    def remount(self, how: str) -> None:
        subprocess.run(["mount", "-o", f"remount,{how}", self.path], check=True)


@contextlib.contextmanager
def small_disk(path: Path, size: str = "1m") -> Iterator[Disk]:
    """A disk of that size at `path`; the test is skipped where nothing may be mounted."""
    path.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", f"size={size}", "mcelog-test", path]
    try:
        done = subprocess.run(mount, capture_output=True, check=False)
    except OSError as error:
        pytest.skip(f"mount: {error}")
    if done.returncode:
        pytest.skip(done.stderr.decode().strip())
    try:
        yield Disk(path)
    finally:
        # Lazily: a test that failed may have left a daemon on it, which ends after this.
        subprocess.run(["umount", "--lazy", path], check=True)
