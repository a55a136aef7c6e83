# SPDX-License-Identifier: GPL-2.0-only
"""All facts of a machine."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd.config import DEFAULT_FILE
from mcelogd.doctor import gather_machine, gather_service
from mcelogd.doctor.facts import Facts
from mcelogd.doctor.reading import Root

if TYPE_CHECKING:
    from mcelogd.settings import Settings

TRACEFS = "/sys/kernel/tracing"


def gather(path: str = "/", config_file: str = DEFAULT_FILE) -> Facts:
    """What there is to know of the machine whose file system is at `path`; what is not known is left out."""
    root = Root(Path(path))
    chosen, settings = gather_service.chosen(root, config_file)
    booted = _booted(root)
    return Facts(
        machine=gather_machine.machine(root),
        sources=gather_machine.sources(
            root, _tracefs(settings), gather_service.records(root, settings, booted)
        ),
        memory=gather_machine.memory(root, settings),
        surroundings=gather_service.surroundings(root, settings),
        stored=gather_service.stored(root, settings),
        service=gather_service.service(root),
        chosen=chosen,
        now=int(time.time()),
        booted=booted,
        rtc=root.text("/sys/class/rtc/rtc0/since_epoch", 4096).number,
        is_root=os.geteuid() == 0,
    )


def _booted(root: Root) -> int | None:
    found = re.search(r"^btime (\d{1,12})$", root.text("/proc/stat").text, re.MULTILINE)
    return int(found[1]) if found else None


def _tracefs(settings: Settings) -> str:
    value = settings.values.get("tracefs-root")
    return str(value.value) if value is not None and value.value else TRACEFS
