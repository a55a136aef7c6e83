# SPDX-License-Identifier: GPL-2.0-only
"""Which source is read where none is named: one of the kernel's two, never both."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd.settings import SourceKind
from mcelogd.sources.device import PATH

if TYPE_CHECKING:
    from mcelogd.settings import Settings


def is_tracefs(settings: Settings, device: str) -> bool:
    """Whether the trace event is read: asked for, or because the kernel has no /dev/mcelog.

    `device` is what the command line names, empty for nothing. Where neither is
    there it is the device, whose absence is what people know.
    """
    if device or settings.source is SourceKind.DEVICE:
        return False
    if settings.source is SourceKind.TRACEFS:
        return True
    return not Path(PATH).exists() and Path(settings.tracefs_root, "events/mce").is_dir()
