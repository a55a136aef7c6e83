# SPDX-License-Identifier: GPL-2.0-only
"""The service on the system bus, with the guest's own polkit."""

from __future__ import annotations

import subprocess

from guest import mce, service
from guest.registry import scenario
from guest.service import UNIT
from guest.shell import run, wait_for

MANAGER = ("org.mcelog", "/org/mcelog", "org.mcelog.Manager")
NOBODY = 65534


def _read(*words: str) -> str:
    return run("busctl", "get-property", *MANAGER, *words, limit=60).stdout


def _as_nobody(*words: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        ["busctl", *words], user=NOBODY, group=NOBODY, capture_output=True, text=True, timeout=60, check=False
    )


@scenario()
def a_call_starts_the_service() -> None:
    """D-Bus activation; and the name is owned when systemd calls it started."""
    assert not service.is_active()
    assert _read("Source") == f's "{mce.source()}"\n'
    assert service.is_active()
    assert service.prop("BusName") == "org.mcelog"
    service.stop()
    service.start()
    assert "org.mcelog" in run("busctl", "list", "--acquired", "--no-pager").stdout


@scenario(limit=120)
def root_reads_and_nobody_does_not() -> None:
    """Totals are anybody's; DIMMs, pages and events are not; root acts."""
    service.start()
    mce.inject(mce.RECORD)
    service.wait_for_stored(1)
    wait_for(lambda: _read("CorrectedErrors") == "t 1\n", "the error")
    tree = run("busctl", "tree", "--list", "org.mcelog").stdout.split()
    (dimm,) = [path for path in tree if path.startswith("/org/mcelog/dimm/")]
    count = ("get-property", "org.mcelog", dimm, "org.mcelog.Dimm", "CorrectedErrors")
    assert run("busctl", *count).stdout == "t 1\n"
    assert _as_nobody("get-property", *MANAGER, "CorrectedErrors").stdout == "t 1\n"
    for refused in (
        count,
        ("call", "org.mcelog", "/org/mcelog", "org.freedesktop.DBus.ObjectManager", "GetManagedObjects"),
        ("call", *MANAGER, "ListPages", "uu", "0", "10"),
        ("call", *MANAGER, "GetEvents", "tu", "0", "10"),
        ("call", *MANAGER, "ResetCounters", "o", dimm),
        ("call", *MANAGER, "Reload"),
    ):
        done = _as_nobody("--allow-interactive-authorization=no", *refused)
        assert (done.returncode, done.stdout) == (1, ""), done
        assert "denied" in done.stderr or "authentication required" in done.stderr, done.stderr
    run("busctl", "call", *MANAGER, "ResetCounters", "o", dimm)
    assert run("busctl", *count).stdout == "t 0\n"
    assert run("mcelogctl", "dimms", check=False).returncode == 0


@scenario(limit=120)
def it_survives_its_bus() -> None:
    """A restart of the bus costs no record, and the name comes back."""
    service.start()
    pid = service.main_pid()
    run("systemctl", "restart", "dbus.service", limit=100)
    mce.inject(mce.RECORD)
    service.wait_for_stored(1)
    wait_for(lambda: "org.mcelog" in run("busctl", "list", "--acquired", "--no-pager").stdout, "the name")
    assert service.main_pid() == pid
    run("systemctl", "reload", UNIT)
    assert service.is_active()
