# SPDX-License-Identifier: GPL-2.0-only
"""What every module of the harness shares: where things are, and how a command is run."""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

VM = Path(__file__).resolve().parent.parent
PROJECT = VM.parent.parent
CACHE = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mcelog-vm"


class VmError(Exception):
    """Why there is no virtual machine, in one line for the user."""


def say(text: str) -> None:
    sys.stderr.write(f"vm: {text}\n")
    sys.stderr.flush()


def call(command: Sequence[str | Path], log: Path, cwd: Path | None = None, stdin: str = "") -> None:
    """Run a long command with its output in a file; a failure names the file and its last words."""
    with log.open("a") as out:
        out.write(f"$ {' '.join(map(str, command))}\n")
        out.flush()
        try:
            done = subprocess.run(
                command, cwd=cwd, input=stdin, text=True, stdout=out, stderr=subprocess.STDOUT, check=False
            )
        except FileNotFoundError:
            raise VmError(f"{command[0]} is not installed") from None
    if done.returncode:
        last = (log.read_text(errors="replace").strip().splitlines() or [""])[-1]
        raise VmError(f"{command[0]} failed (status {done.returncode}): {last} - all of it in {log}")


def digest(*parts: str | bytes | Path) -> str:
    """A short name for the content of all parts; a path stands for the file's content."""
    sha = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part
        sha.update(hashlib.sha256(data.encode() if isinstance(data, str) else data).digest())
    return sha.hexdigest()[:16]
