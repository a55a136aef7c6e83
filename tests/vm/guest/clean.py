# SPDX-License-Identifier: GPL-2.0-only
"""The same clean start for every scenario."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path

from guest import mce

UNITS = (
    "mcelog.path", "mcelog.socket", "mcelog-oneshot.timer", "mcelog-oneshot.service", "mcelog.service",
    "mcelog-exporter.socket", "mcelog-exporter.service", "mcelog-metrics.timer", "mcelog-metrics.service",
)  # fmt: skip
SERVICE = Path("/usr/lib/systemd/system/mcelog.service")
STATE = Path("/var/lib/mcelog")
LOGS = Path("/var/log")
CONFIG = Path("/etc/mcelog/mcelog.conf")
SHIPPED_CONFIG = Path("/vm/mcelog.conf.shipped")
SETTINGS = "earlier-records = no\n"
"""What the scenarios before this one injected in this boot stands in the kernel's log."""
DROP_INS = Path("/run/systemd/system")
TRIGGER = Path("/sys/devices/system/machinecheck/machinecheck0/trigger")


def _quietly(*command: str) -> None:
    subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, timeout=120, check=False)


def clean_start() -> None:
    """Nothing runs, nothing is kept, nothing is changed: as after installing, but for what was before."""
    if SERVICE.exists():
        _quietly("systemctl", "stop", *UNITS)
    changed = [*DROP_INS.glob("mcelog*.d"), *STATE.glob("*"), *LOGS.glob("mcelog*")]
    for path in changed:
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    if any(path.parent == DROP_INS for path in changed):
        _quietly("systemctl", "daemon-reload")
    if SERVICE.exists():
        _quietly("systemctl", "reset-failed", *UNITS)
    if SHIPPED_CONFIG.exists():
        CONFIG.write_text(SETTINGS + SHIPPED_CONFIG.read_text())
    if TRIGGER.exists():
        TRIGGER.write_text("\n")
    mce.drain()
