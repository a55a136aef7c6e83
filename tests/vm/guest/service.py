# SPDX-License-Identifier: GPL-2.0-only
"""The service under test: its unit, its settings, its store."""

from __future__ import annotations

import importlib
import sqlite3
import sys
from pathlib import Path

from guest import mce
from guest.shell import run, wait_for

UNIT = "mcelog.service"
PROGRAM = "/usr/sbin/mcelog"
DATABASE = Path("/var/lib/mcelog/mcelog.db")
CONFIG = Path("/etc/mcelog/mcelog.conf")
LOGFILE = Path("/var/log/mcelog")

sys.path.append("/usr/lib/python3/dist-packages")


def message_id(name: str) -> str:
    """The match for one kind of journal entry, by its name in mcelogd/message_ids.py."""
    return f"MESSAGE_ID={getattr(importlib.import_module('mcelogd.message_ids'), name)}"


def prop(name: str, unit: str = UNIT) -> str:
    """One property of a unit."""
    return run("systemctl", "show", "-P", name, unit, quiet=True).stdout.strip()


def is_active(unit: str = UNIT) -> bool:
    return prop("ActiveState", unit) == "active"


def main_pid() -> int:
    return int(prop("MainPID"))


def wait_for_successor(pid: int, limit: float = 60) -> int:
    """Wait until another process serves; its id."""
    wait_for(lambda: is_active() and main_pid() not in {0, pid}, f"a new daemon after {pid}", limit)
    print(f"{pid} is followed by {main_pid()}", flush=True)
    return main_pid()


def start(*units: str) -> None:
    """systemctl start; a failure shows the status."""
    units = units or (UNIT,)
    if run("systemctl", "start", *units, check=False, limit=100).returncode:
        run("systemctl", "status", "--no-pager", "-l", *units, check=False)
        raise AssertionError(f"systemctl start {' '.join(units)} failed")


def stop(*units: str) -> None:
    run("systemctl", "stop", *(units or (UNIT,)), limit=100)


def drop_in(section: str, *lines: str, unit: str = UNIT) -> None:
    """Change the unit until the next scenario starts."""
    directory = Path(f"/run/systemd/system/{unit}.d")
    directory.mkdir(parents=True, exist_ok=True)
    (directory / f"{section.lower()}.conf").write_text("\n".join([f"[{section}]", *lines, ""]))
    run("systemctl", "daemon-reload")


def configure(*lines: str) -> None:
    """Settings on top of the shipped mcelog.conf, until the next scenario starts."""
    CONFIG.parent.mkdir(parents=True, exist_ok=True)
    shipped = CONFIG.read_text() if CONFIG.exists() else ""
    CONFIG.write_text("\n".join([*lines, shipped]))


def stored() -> list[dict[str, int]]:
    """Every record in the store, oldest first, unpacked."""
    try:
        database = sqlite3.connect(f"file:{DATABASE}?mode=ro", uri=True, timeout=30)
    except sqlite3.OperationalError:
        return []
    try:
        rows = database.execute("SELECT record FROM events ORDER BY id").fetchall()
    except sqlite3.OperationalError:
        return []
    finally:
        database.close()
    return [mce.unpack(row[0].ljust(128, b"\0")) for row in rows]


def wait_for_stored(count: int, limit: float = 30) -> list[dict[str, int]]:
    """Wait until the store holds at least so many records; all of them."""
    wait_for(lambda: len(stored()) >= count, f"{count} records in the store", limit)
    return stored()


def client(*, check: bool = True) -> str:
    """What mcelog --client prints."""
    return run(PROGRAM, "--client", check=check).stdout
