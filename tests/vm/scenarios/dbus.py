# SPDX-License-Identifier: GPL-2.0-only
"""The service on the system bus, with the guest's own polkit."""

from __future__ import annotations

import json
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guest import mce, service
from guest.registry import scenario
from guest.service import UNIT
from guest.shell import run, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

HEARD = Path("/run/vm-heard")
ACTIONS = {"read", "offline-page", "reset-counters", "reload", "self-test"}
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


@scenario()
def polkit_knows_the_actions() -> None:
    """pkaction lists them with their defaults."""
    known = run("pkaction").stdout.split()
    assert {f"org.mcelog.{name}" for name in ACTIONS} <= set(known), known
    shown = run("pkaction", "--verbose", "--action-id", "org.mcelog.read").stdout
    assert "implicit active:   yes" in shown
    assert "implicit any:      auth_admin" in shown


@scenario(limit=120)
def everybody_hears_signals_without_addresses() -> None:
    """busctl monitor while errors come in and a page goes: all is told, and nowhere where it was."""
    service.configure("[page]\nmemory-ce-threshold = 3 / 24h\nmemory-ce-action = soft\n")
    service.start()
    with _monitor():
        mce.inject(mce.RECORD, "--count", "3")
        service.wait_for_stored(3)
        wait_for(lambda: "PageOfflined" in HEARD.read_text(), "the last signal")
    text = HEARD.read_text()
    signals = [json.loads(line) for line in text.splitlines()]
    members = {signal["member"] for signal in signals if signal["type"] == "signal"}
    wanted = {"EventLogged", "ThresholdExceeded", "InterfacesAdded", "PropertiesChanged", "PageOfflined"}
    assert wanted <= members, members
    for address in (mce.RECORD["addr"], mce.RECORD["addr"] >> 12):
        assert not [signal for signal in signals if address in set(_numbers(signal["payload"]))]
        assert f"{address:x}" not in text.lower()


@contextmanager
def _monitor() -> Iterator[None]:
    """All signals of org.mcelog go to HEARD, a JSON object a line."""
    match = "--match=type='signal',sender='org.mcelog'"
    with (
        HEARD.open("wb") as heard,
        subprocess.Popen(["busctl", "monitor", "--json=short", match], stdout=heard) as monitor,
    ):
        try:
            # It says nothing of its own when it is ready: an event is shown once it is.
            run("sleep", "3")
            yield
        finally:
            monitor.terminate()


def _numbers(value: Any) -> Iterator[int]:
    """All that is in a signal."""
    if isinstance(value, dict):
        value = list(value.values())
    if isinstance(value, list):
        for one in value:
            yield from _numbers(one)
    elif isinstance(value, int):
        yield value
