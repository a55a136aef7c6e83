# SPDX-License-Identifier: GPL-2.0-only
"""mcelogctl doctor: each fault is set up, named with its remedy, and gone when the remedy was followed."""

from __future__ import annotations

import json
import shutil
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from guest import mce, service
from guest.registry import scenario
from guest.service import PROGRAM, UNIT
from guest.shell import run, wait_for

if TYPE_CHECKING:
    from collections.abc import Iterator

Finding = dict[str, Any]
MACHINECHECK = Path("/sys/devices/system/machinecheck")
POLICY = Path("/usr/share/polkit-1/actions/org.mcelog.policy")
BUS_POLICY = Path("/usr/share/dbus-1/system.d/org.mcelog.conf")
STATE = Path("/var/lib/mcelog")
JOURNALD = Path("/run/systemd/journald.conf.d/doctor.conf")
NOBODY = 65534

TRUE_IN_A_VM = {"virtualisation", "smbios"}
"""It is one, and QEMU's DIMMs have no serial numbers."""


def doctor(*, status: int | None = None) -> list[Finding]:
    """What it finds; and the exit status that goes with it."""
    done = run("mcelogctl", "doctor", "--json", check=False, limit=100, quiet=True)
    findings: list[Finding] = json.loads(done.stdout)
    for finding in findings:
        print(finding, flush=True)
    states = {finding["state"] for finding in findings}
    expected = 2 if "broken" in states else 1 if "warning" in states else 0
    assert done.returncode == (expected if status is None else status), (done.returncode, done.stderr)
    return findings


def of(check: str, findings: list[Finding]) -> list[Finding]:
    return [finding for finding in findings if finding["check"] == check]


def assert_found(check: str, state: str, words: str, remedy: str) -> str:
    """One finding of that check has that state, those words and that remedy; the remedy in full."""
    found = of(check, doctor())
    named = [one for one in found if one["state"] == state and words in one["found"]]
    assert named, found
    assert named[0]["why"]
    assert remedy in named[0]["remedy"], named
    return str(named[0]["remedy"])


def assert_well(check: str) -> None:
    states = {finding["state"] for finding in of(check, doctor())}
    assert states == {"ok"}, states


@contextmanager
def away(path: Path) -> Iterator[None]:
    """A file is not where it should be."""
    aside = path.with_name(path.name + ".away")
    path.rename(aside)
    try:
        yield
    finally:
        aside.rename(path)


@scenario(limit=120, alone=True)
def a_healthy_machine() -> None:
    """Nothing is broken, and warnings are only what is true: it is a virtual machine."""
    run("systemctl", "enable", UNIT)
    run("journalctl", "--update-catalog", limit=60)
    service.start()
    mce.inject(mce.RECORD)
    service.wait_for_stored(1)
    findings = doctor(status=1)
    warned = {one["check"] for one in findings if one["state"] == "warning"}
    # Debian's own kernels have RAS_CEC, and it is on.
    assert warned <= TRUE_IN_A_VM | (set() if mce.DEVICE.exists() else {"ras-cec"})
    assert of("dbus", findings)[0]["found"] == "mcelog answers on the bus"
    assert "recorded" in of("kernel-log", findings)[0]["found"]
    text = run(PROGRAM, "--doctor", check=False, limit=100)
    assert text.returncode == 1
    assert "virtual machine" in text.stdout
    done = subprocess.run(
        ["mcelogctl", "doctor", "--json"],
        user=NOBODY, group=NOBODY, extra_groups=[], capture_output=True, text=True, timeout=100, check=False,
    )  # fmt: skip
    print(done, flush=True)
    assert (done.returncode, done.stderr) == (1, "")
    seen = {finding["check"]: finding for finding in json.loads(done.stdout)}
    source = "device" if mce.DEVICE.exists() else "tracefs"
    assert seen["state"]["state"] == seen[source]["state"] == "unknown"
    assert "root" in seen["state"]["remedy"]


@scenario(alone=True, append="mce=off", limit=120)
def switched_off_at_boot() -> None:
    assert_found("command-line", "broken", "mce=off", "/etc/default/grub")
    assert_found("machine-checks", "broken", "has no CPUs in it", "mce=off")


@scenario(limit=120)
def corrected_errors_switched_off() -> None:
    """What is written to sysfs is found, and the remedy is a command that mends it."""
    for name in ("ignore_ce", "dont_log_ce"):
        (MACHINECHECK / f"machinecheck0/{name}").write_text("1")
        remedy = assert_found("machine-checks", "broken", f"{name} is 1", f"{name}; do echo 0 >")
        run("sh", "-c", remedy)
        assert_well("machine-checks")
    interval = (MACHINECHECK / "machinecheck0/check_interval").read_text()
    (MACHINECHECK / "machinecheck0/check_interval").write_text("0")
    try:
        assert_found("machine-checks", "warning", "check_interval is 0", "check_interval")
    finally:
        (MACHINECHECK / "machinecheck0/check_interval").write_text(interval)


@scenario(limit=120, device=True)
def the_kernel_runs_a_program() -> None:
    trigger = MACHINECHECK / "machinecheck0/trigger"
    trigger.write_text(f"{PROGRAM}\n")
    remedy = assert_found("machine-checks", "warning", PROGRAM, "machinecheck0/trigger")
    run("sh", "-c", remedy)
    assert_well("machine-checks")


@scenario(limit=120, device=True)
def another_reader() -> None:
    """A process that has the device open is named; a C mcelog and rasdaemon are, too."""
    programs = Path("/run/doctor")
    programs.mkdir()
    with mce.DEVICE.open("rb") as device:
        reader = subprocess.Popen(["sleep", "100"], stdin=device)
    try:
        remedy = assert_found("device", "broken", f"process {reader.pid} (sleep)", f"kill {reader.pid}")
        run("sh", "-c", remedy.partition(",")[0])
        reader.wait(10)
        assert_well("device")
        for name, state, said in (
            ("mcelog", "broken", "another mcelog"),
            ("rasdaemon", "warning", "disable --now rasdaemon"),
        ):
            program = programs / name
            shutil.copyfile("/bin/sleep", program)
            program.chmod(0o755)
            with subprocess.Popen([program, "100"]) as other:
                finding = of("consumers", doctor())
                other.kill()
            assert [one["state"] for one in finding] == [state], finding
            assert said in finding[0]["found"] + finding[0]["remedy"]
    finally:
        reader.kill()
        shutil.rmtree(programs)


@scenario(limit=120, alone=True)
def records_that_went_elsewhere() -> None:
    """The kernel says that it logged a machine check, and somebody else has read it."""
    mce.inject(mce.RECORD)
    wait_for(mce.pending, "the record")
    mce.drain()
    service.start()
    assert_found("kernel-log", "warning", "mcelog recorded 0", "journalctl -k -b")


@scenario(limit=120)
def policies_are_missing() -> None:
    with away(POLICY):
        assert_found("polkit", "warning", "org.mcelog.policy", str(POLICY))
    assert_well("polkit")
    with away(BUS_POLICY):
        assert_found("dbus", "broken", "org.mcelog.conf", str(BUS_POLICY))


@scenario(limit=120)
def triggers_that_cannot_run() -> None:
    """Not executable, writable for all, not there."""
    script = Path("/etc/mcelog/cache-error-trigger")
    kept = script.stat().st_mode & 0o777
    try:
        script.chmod(0o644)
        remedy = assert_found("triggers", "warning", "not executable", f"chmod 755 {script}")
        run("sh", "-c", remedy)
        assert_well("triggers")
        script.chmod(0o777)
        remedy = assert_found("triggers", "warning", "changed by anybody", f"chmod go-w {script}")
        run("sh", "-c", remedy)
        with away(script):
            assert_found("triggers", "warning", "it is not there", "cache-threshold-trigger")
    finally:
        script.chmod(kept)


@scenario(limit=120)
def a_damaged_store() -> None:
    """Named while it is there, and when it was moved aside by following the remedy."""
    service.start()
    service.stop()
    doctor()
    assert not service.is_active(), "doctor starts nothing"
    for path in STATE.glob("mcelog.db-*"):
        path.unlink()
    (STATE / "mcelog.db").write_bytes(b"no database " * 1000)
    remedy = assert_found("state", "broken", "mcelog.db", "systemctl restart mcelog")
    run("sh", "-c", remedy.partition(":")[0], limit=100)
    wait_for(lambda: list(STATE.glob("mcelog.db.damaged-*")), "the damaged store aside")
    assert_found("state", "warning", "mcelog.db.damaged-", ".recover")


@scenario(limit=120)
def a_read_only_state_directory() -> None:
    run("mount", "-t", "tmpfs", "-o", "ro", "tmpfs", str(STATE))
    try:
        assert_found("state", "broken", "read-only", "remount,rw")
    finally:
        run("umount", str(STATE))


@scenario(limit=120)
def a_service_that_does_not_run() -> None:
    """Stopped, failed, masked; each remedy brings it back."""
    assert_found("service", "broken", "not running", "systemctl start mcelog")
    service.drop_in("Service", "ExecStart=", "ExecStart=/bin/false", "Restart=no")
    run("systemctl", "start", UNIT, check=False, limit=60)
    assert_found("service", "broken", "failed", "journalctl -u mcelog")
    shutil.rmtree(f"/run/systemd/system/{UNIT}.d")
    run("systemctl", "mask", "--runtime", UNIT)
    try:
        assert_found("service", "broken", "masked", "systemctl unmask mcelog")
    finally:
        run("systemctl", "unmask", "--runtime", UNIT)
    run("systemctl", "reset-failed", UNIT, check=False)
    service.start()
    assert "broken" not in {finding["state"] for finding in of("service", doctor())}


@scenario(limit=120)
def a_condition_that_does_not_hold() -> None:
    """Skipped by systemd, which calls that no failure."""
    service.drop_in("Unit", "ConditionPathExists=/nonexistent")
    run("systemctl", "start", UNIT)
    assert_found("service", "broken", "a condition of it does not hold", "systemctl status mcelog")


@scenario(limit=120)
def journald_keeps_nothing() -> None:
    JOURNALD.parent.mkdir(parents=True, exist_ok=True)
    try:
        JOURNALD.write_text("[Journal]\nStorage=none\n")
        run("systemctl", "restart", "systemd-journald", limit=60)
        assert_found("journald", "broken", "Storage=none", "Storage=persistent")
    finally:
        JOURNALD.unlink()
        run("systemctl", "restart", "systemd-journald", limit=60)


@scenario(limit=120)
def a_rate_limit() -> None:
    service.drop_in("Service", "LogRateLimitBurst=100")
    assert_found("journald", "warning", "only 100 messages", "LogRateLimitBurst=1000000")


@scenario(limit=120)
def no_recovery_from_memory_errors() -> None:
    knob = Path("/proc/sys/vm/memory_failure_recovery")
    knob.write_text("0")
    try:
        assert_found("page-offlining", "warning", "memory_failure_recovery is 0", "sysctl -w")
    finally:
        knob.write_text("1")


@scenario(limit=120)
def settings_that_make_no_sense() -> None:
    service.configure("colour = green")
    assert_found("configuration", "warning", "colour", "mcelog --check-config")
    service.CONFIG.write_text("nonsense\n")
    assert_found("configuration", "broken", "mcelog.conf:1", "mcelog.conf")
    service.CONFIG.write_text("source = device\n")
    with mce.no_device():
        assert_found("device", "broken", "source = device", "CONFIG_X86_MCELOG_LEGACY")
