# SPDX-License-Identifier: GPL-2.0-only
"""The file that node_exporter's textfile collector reads."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path

MODE = 0o644
"""node_exporter runs as somebody else."""


def replace(path: Path, data: bytes) -> None:
    """Have `data` in the file: who reads it gets the old content or the new, never a part. OSError if not.

    Until it is complete it has a name that does not end in .prom, which node_exporter passes over.
    """
    descriptor, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            os.fchmod(file.fileno(), MODE)
        Path(name).replace(path)
    except BaseException:
        with contextlib.suppress(OSError):
            Path(name).unlink()
        raise
