# SPDX-License-Identifier: GPL-2.0-only
"""Built things, each a directory named after what went into it; made once, whole or not at all."""

from __future__ import annotations

import fcntl
import os
import shutil
import tempfile
import time
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from harness.common import CACHE, VmError, say

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

KEEP = 2
"""Of each kind so many versions stay; older ones are removed when a new one is built."""


@contextmanager
def locked(name: str) -> Iterator[None]:
    """Only one process at a time builds this; the others wait and then find it made."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with (CACHE / f"{name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say(f"{name}: another run is building it, waiting")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def cached(kind: str, key: str, build: Callable[[Path, Path], None], *, fresh: bool = False) -> Path:
    """The directory KIND-KEY, built by build(result, scratch) if it is not there yet."""
    final = CACHE / f"{kind}-{key}"
    if final.is_dir() and not fresh:
        return final
    with locked(kind):
        if final.is_dir() and not fresh:
            return final
        _build(final, build)
        _forget_old(kind, final)
    return final


def _build(final: Path, build: Callable[[Path, Path], None]) -> None:
    started = time.monotonic()
    say(f"building {final.name}")
    scratch = Path(tempfile.mkdtemp(prefix=f"building-{final.name}-", dir=CACHE))
    try:
        (scratch / "result").mkdir()
        build(scratch / "result", scratch)
        if final.is_dir():
            final.rename(scratch / "replaced")
        (scratch / "result").rename(final)
    except VmError:
        _keep_log(scratch, final)
        raise
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    (CACHE / f"{final.name}.failed.log").unlink(missing_ok=True)
    say(f"built {final.name} in {time.monotonic() - started:.0f} s")


def _keep_log(scratch: Path, final: Path) -> None:
    log = scratch / "log"
    if log.exists():
        kept = CACHE / f"{final.name}.failed.log"
        log.replace(kept)
        say(f"log of the failed build: {kept}")


def _forget_old(kind: str, newest: Path) -> None:
    for unfinished in CACHE.glob(f"building-{kind}-*/"):
        shutil.rmtree(unfinished, ignore_errors=True)
    versions = sorted(CACHE.glob(f"{kind}-*/"), key=lambda path: path.stat().st_mtime, reverse=True)
    for path in [path for path in versions if path != newest][KEEP - 1 :]:
        shutil.rmtree(path, ignore_errors=True)


@contextmanager
def scratch_directory() -> Iterator[Path]:
    """A directory that is gone afterwards; not in /tmp, which may be small and is cleaned by others."""
    CACHE.mkdir(parents=True, exist_ok=True)
    for path in CACHE.glob("run-*-*/"):
        if not Path(f"/proc/{path.name.split('-')[1]}").exists():  # left by a run that was killed
            shutil.rmtree(path, ignore_errors=True)
    with tempfile.TemporaryDirectory(prefix=f"run-{os.getpid()}-", dir=CACHE) as name:
        yield Path(name)
