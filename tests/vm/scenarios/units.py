# SPDX-License-Identifier: GPL-2.0-only
"""The unit files: checked by systemd itself, and every way they start the daemon."""

from __future__ import annotations

from pathlib import Path

from guest import mce, service
from guest.registry import scenario
from guest.service import PROGRAM, UNIT
from guest.shell import run, wait_for

UNITS = Path("/usr/lib/systemd/system")
SANDBOXED = (UNIT, "mcelog-oneshot.service", "mcelog-exporter.service", "mcelog-metrics.service")
MAX_EXPOSURE = 2.0
"""`systemd-analyze security`: 0 is locked in, 10 is open; the C program's unit has 9.6."""


@scenario(limit=120)
def verify_is_clean() -> None:
    """systemd-analyze verify finds nothing to say about any unit."""
    units = sorted(str(path) for path in UNITS.glob("mcelog*"))
    assert f"{UNITS}/{UNIT}" in units
    done = run("systemd-analyze", "verify", "--man=no", *units, check=False, limit=100)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@scenario()
def sandbox_is_tight() -> None:
    """systemd-analyze security: 2.0 at most."""
    threshold = str(round(MAX_EXPOSURE * 10))
    for unit in SANDBOXED:
        run("systemd-analyze", "security", "--no-pager", f"--threshold={threshold}", unit)


@scenario(device=True)
def path_activation() -> None:
    """mcelog.path starts the service when the device appears."""
    with mce.no_device():
        service.start("mcelog.path")
        assert not service.is_active()
    wait_for(service.is_active, "the service", 40)
    mce.inject(mce.RECORD)
    service.wait_for_stored(1)


@scenario()
def socket_activation() -> None:
    """mcelog --client starts the service and gets its answer."""
    service.start("mcelog.socket")
    assert not service.is_active()
    mce.inject(mce.RECORD | {"socketid": 1})
    run(PROGRAM, "--client", limit=60)
    assert service.is_active()
    service.wait_for_stored(1)
    assert "SOCKET 1" in service.client()


@scenario()
def stop_stays_stopped() -> None:
    """After systemctl stop neither path nor socket bring it back at once."""
    service.start()
    service.stop()
    wait_for(lambda: not service.is_active(), "the end")
    assert run("sleep", "3").returncode == 0
    assert service.prop("ActiveState") == "inactive"


@scenario()
def no_source_no_failure() -> None:
    """On a kernel with neither the device nor the trace event the unit is skipped, not failed."""
    with mce.no_source():
        run("systemctl", "start", UNIT)
        assert (service.prop("ActiveState"), service.prop("ConditionResult")) == ("inactive", "no")
