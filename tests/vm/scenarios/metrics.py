# SPDX-License-Identifier: GPL-2.0-only
"""Metrics, in both ways of docs/metrics.md, by the units themselves and the guest's own polkit."""

from __future__ import annotations

import pwd
import shutil
import sys
import urllib.error
import urllib.request
from pathlib import Path

from guest import mce, service
from guest.registry import scenario
from guest.shell import run, wait_for

URL = "http://127.0.0.1:9948/metrics"
SOCKET, EXPORTER = "mcelog-exporter.socket", "mcelog-exporter.service"
USER = "mcelog-exporter"
TEXTFILE = Path("/var/lib/prometheus/node-exporter/mcelog.prom")
TIMER, COLLECTOR = "mcelog-metrics.timer", "mcelog-metrics.service"

RECORD = {**mce.RECORD, "socketid": 1, "apicid": 0x42, "cpu": 1}
ADDRESS = f"{mce.RECORD['addr']:x}"
LABELS = 'channel="0",dimm="any",label="DIMM 0",severity="corrected",socket="1"'
ERRORS = f"mcelog_memory_errors_total{{{LABELS}}}"

IMPATIENT = "from mcelogd.ctl import main, metrics; metrics.IDLE_SECONDS = 4.0; raise SystemExit(main.main())"
"""mcelogctl with less than the five minutes of its own."""


def samples(page: str) -> dict[str, float]:
    """What is measured, by name and labels."""
    lines = (line for line in page.splitlines() if not line.startswith("#"))
    return {name: float(value) for name, _, value in (line.rpartition(" ") for line in lines)}


def scrape() -> str:
    """The endpoint's page; the first call starts the service."""
    try:
        with urllib.request.urlopen(URL, timeout=60) as answer:
            return str(answer.read().decode())
    except urllib.error.URLError:
        run("systemctl", "status", "--no-pager", "-l", EXPORTER, check=False)
        raise


def wait_for_errors(count: int) -> dict[str, float]:
    """All samples, once so many errors are among them."""
    return wait_for(
        lambda: found if (found := samples(scrape())).get(ERRORS) == count else {}, f"{count} errors", 40
    )


def serve() -> None:
    """As docs/metrics.md says."""
    run("systemd-sysusers")
    run("systemctl", "start", SOCKET)


def pid_of_exporter() -> int:
    return int(service.prop("MainPID", EXPORTER))


def assert_powerless(pid: int) -> None:
    """It runs as its own user, with no power of root's."""
    lines = (line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    status = {name: value.split() for name, value in lines}
    account = pwd.getpwnam(USER)
    assert account.pw_uid != 0
    assert set(status["Uid"]) == {str(account.pw_uid)}
    assert set(status["Gid"]) == {str(account.pw_gid)}
    assert {int(status[name][0], 16) for name in ("CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    assert status["NoNewPrivs"] == ["1"]


@scenario(limit=180)
def the_endpoint() -> None:
    """Started by the first who asks; counts by DIMM, read by a user who may do no more than that."""
    service.start()
    serve()
    assert not service.is_active(EXPORTER)
    before = samples(scrape())
    assert service.is_active(EXPORTER)
    assert (before["mcelog_up"], before["mcelog_memory_readable"], before["mcelog_records_total"]) == (
        1,
        1,
        0,
    )
    pid = pid_of_exporter()
    assert_powerless(pid)
    mce.inject(RECORD, "--count", "3", "--step", "addr=4096")
    after = wait_for_errors(3)
    assert after["mcelog_records_total"] == 3
    assert after['mcelog_errors_total{severity="corrected"}'] == 3
    assert after['mcelog_errors_total{severity="uncorrected"}'] == 0
    assert sum(value for name, value in after.items() if name.startswith("mcelog_pages{")) == 3
    page = scrape()
    assert ADDRESS not in page, page
    assert str(RECORD["addr"]) not in page, page
    assert pid_of_exporter() == pid
    assert service.prop("NRestarts", EXPORTER) == "0"


@scenario(limit=120)
def its_user_reads_and_no_more() -> None:
    """The right that the rule for polkit gives to the endpoint's user, and none besides."""
    service.start()
    run("systemd-sysusers")
    manager = ("org.mcelog", "/org/mcelog", "org.mcelog.Manager")
    call = ("runuser", "-u", USER, "--", "busctl", "--allow-interactive-authorization=no", "call", *manager)
    assert run(*call, "ListPages", "uu", "0", "10").returncode == 0
    for refused in (
        ("ResetCounters", "o", "/org/mcelog"),
        ("OfflinePage", "ts", str(RECORD["addr"]), "soft"),
        ("Reload",),
        ("SelfTest",),
    ):
        done = run(*call, *refused, check=False)
        assert done.returncode == 1
        assert "denied" in done.stderr or "authentication required" in done.stderr, done.stderr


@scenario(limit=180)
def what_is_stopped_stays_stopped() -> None:
    """The endpoint says that mcelog does not run, and does not start it; it goes on when it runs again."""
    serve()
    assert samples(scrape()) == {"mcelog_up": 0}
    assert not service.is_active()
    service.start()
    wait_for(lambda: samples(scrape())["mcelog_up"] == 1, "mcelog in the metrics")
    service.stop()
    wait_for(lambda: samples(scrape()) == {"mcelog_up": 0}, "its end in the metrics")
    assert not service.is_active()


@scenario(limit=180)
def it_ends_when_nobody_asks() -> None:
    """And the socket starts it again, for the next who does."""
    program = f"{sys.executable} -c '{IMPATIENT}' metrics --serve"
    service.drop_in("Service", "ExecStart=", f"ExecStart={program}", unit=EXPORTER)
    service.start()
    serve()
    assert samples(scrape())["mcelog_up"] == 1
    first = pid_of_exporter()
    wait_for(lambda: service.prop("ActiveState", EXPORTER) == "inactive", "its end", 60)
    assert service.prop("Result", EXPORTER) == "success"
    assert service.is_active(SOCKET)
    assert samples(scrape())["mcelog_up"] == 1
    assert pid_of_exporter() not in {0, first}


@scenario(limit=240)
def the_file_for_node_exporter() -> None:
    """Written by the timer's service where the directory is; without one nothing is done, nor fails."""
    service.start()
    run("systemctl", "start", COLLECTOR)
    assert service.prop("ConditionResult", COLLECTOR) == "no"
    mce.inject(RECORD, "--count", "2", "--step", "addr=4096")
    service.wait_for_stored(2)
    TEXTFILE.parent.mkdir(parents=True)
    try:
        run("systemctl", "start", COLLECTOR, limit=60)
        found = samples(TEXTFILE.read_text())
        assert (found["mcelog_up"], found["mcelog_memory_readable"], found[ERRORS]) == (1, 1, 2)
        assert ADDRESS not in TEXTFILE.read_text()
        assert TEXTFILE.stat().st_mode & 0o777 == 0o644
        assert service.prop("Result", COLLECTOR) == "success"
        written = TEXTFILE.stat().st_mtime_ns
        run("systemctl", "start", TIMER)
        wait_for(lambda: TEXTFILE.stat().st_mtime_ns > written, "the timer's next file", 100)
    finally:
        run("systemctl", "stop", TIMER)
        shutil.rmtree(TEXTFILE.parent)
