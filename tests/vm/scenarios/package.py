# SPDX-License-Identifier: GPL-2.0-only
"""The Debian package: over the C program's, upgraded while records come, and gone without a trace."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from guest import mce, service
from guest.journal import entries, wait_for_entries
from guest.registry import scenario
from guest.service import CONFIG, UNIT, message_id
from guest.shell import run, wait_for
from scenarios.durability import BASE, PAGE, Feeder

PACKAGE = Path("/vm/mcelog.deb")
ENABLED = (UNIT, "mcelog.socket", "mcelog.path")
OF_OTHERS = ("/var/lib/dpkg/", "/var/log/", "/var/lib/systemd/", "/var/cache/", "/var/tmp/", "/tmp/")
"""Where others write meanwhile."""
INSTANCE = Path("/sys/kernel/tracing/instances/mcelog")
WHEEL = Path("/usr/lib/python3/dist-packages/cysystemd")

C_VERSION = "153+dfsg-1"
C_FILES = {
    "usr/sbin/mcelog": "#!/bin/sh\nexit 0\n",
    "etc/init.d/mcelog": "#!/bin/sh\n# Provides: mcelog\nexit 0\n",
    "etc/default/mcelog": "MODE=daemon\n",
    "etc/mcelog/mcelog.conf": "daemon = yes\n",
    "etc/mcelog/page-error-trigger": "#!/bin/sh\nexit 1\n",
}
"""What stands for the C program's package: the same places, the same conffiles."""


def dpkg(*arguments: str) -> None:
    """dpkg, with nobody there to answer a question: one is a failure."""
    run("dpkg", *arguments, limit=400, env={**os.environ, "DEBIAN_FRONTEND": "noninteractive"})


def files() -> set[str]:
    """Every file of the root file system but those that others keep changing."""
    found = run("find", "/", "-xdev", "-path", "/vm", "-prune", "-o", "-print", limit=120, quiet=True).stdout
    return {path for path in found.splitlines() if not path.startswith(OF_OTHERS)}


def purge() -> None:
    dpkg("--purge", "mcelog")


def assert_no_trace(before: set[str]) -> None:
    """Nothing of the package is left: files, units, what runs, what the kernel buffers."""
    after = files()
    left, lost = sorted(after - before), sorted(before - after)
    assert (left, lost) == ([], []), f"left behind: {left}, taken along: {lost}"
    assert not INSTANCE.exists()
    assert not list(Path("/run").glob("mcelog*"))
    assert not list(Path("/var/log").glob("mcelog*"))
    assert not list(Path("/var/lib/systemd").rglob("*mcelog*"))
    assert run("systemctl", "list-units", "--all", "--plain", "--no-legend", "mcelog*").stdout.strip() == ""


def c_package() -> Path:
    """A package as Debian's last one of the C program."""
    root = Path("/tmp/c-mcelog")
    for name, text in C_FILES.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_text(text)
        (root / name).chmod(0o755 if text.startswith("#!") else 0o644)
    control = root / "DEBIAN"
    control.mkdir()
    fields = {
        "Package": "mcelog",
        "Version": C_VERSION,
        "Architecture": "amd64",
        "Maintainer": "Somebody <somebody@example.org>",
        "Description": "the C program",
    }
    (control / "control").write_text("".join(f"{name}: {value}\n" for name, value in fields.items()))
    conffiles = [f"/{name}\n" for name in C_FILES if name.startswith("etc/")]
    (control / "conffiles").write_text("".join(conffiles))
    run("dpkg-deb", "--build", "--root-owner-group", str(root), "/tmp/c-mcelog.deb", limit=60)
    return Path("/tmp/c-mcelog.deb")


def newer_package() -> Path:
    """The same package with a higher version."""
    root = Path("/tmp/newer")
    run("dpkg-deb", "--raw-extract", str(PACKAGE), str(root), limit=120)
    control = root / "DEBIAN/control"
    fields = [
        f"{line}+1" if line.startswith("Version:") else line for line in control.read_text().splitlines()
    ]
    control.write_text("\n".join([*fields, ""]))
    run("dpkg-deb", "-Zgzip", "-z1", "--build", "--root-owner-group", str(root), "/tmp/newer.deb", limit=120)
    return Path("/tmp/newer.deb")


@scenario(limit=800, package=True)
def install_upgrade_purge() -> None:
    """It runs at once; an upgrade keeps state and loses no record sent meanwhile; a purge leaves nothing."""
    before = files()
    dpkg("--install", str(PACKAGE))
    _works()
    newer = newer_package()
    _upgrade(newer)
    purge()
    shutil.move("/root/cysystemd", WHEEL)
    assert_no_trace(before)


def _works() -> None:
    """Running and enabled, and everyone who asks gets an answer."""
    wait_for(service.is_active, "the service to run after installing")
    enabled = {unit: run("systemctl", "is-enabled", unit).stdout.strip() for unit in ENABLED}
    assert set(enabled.values()) == {"enabled"}, enabled
    assert run("systemctl", "is-enabled", "mcelog-oneshot.timer", check=False).stdout.strip() == "disabled"
    mce.inject(mce.RECORD)
    service.wait_for_stored(1)
    wait_for_entries(message_id("CORRECTED_MEMORY_ERROR"))
    assert "1 total" in service.client()
    wait_for(
        lambda: "1" in run("busctl", "get-property", "org.mcelog", "/org/mcelog", "org.mcelog.Manager",
                           "CorrectedErrors", check=False).stdout,
        "the answer on D-Bus",
    )  # fmt: skip
    catalog = run("journalctl", "--list-catalog", message_id("CORRECTED_MEMORY_ERROR").partition("=")[2])
    assert "memory" in catalog.stdout
    _reads_the_journal()


def _reads_the_journal() -> None:
    """mcelogctl reads the journal by the library in the package: the image's own is out of the way."""
    shutil.move(WHEEL, "/root/cysystemd")
    shown = run("mcelogctl", "events", limit=60)
    assert "memory" in shown.stdout
    assert shown.stderr == "", "not from the journal"


def _upgrade(newer: Path) -> None:
    """As dpkg does it, while records come; not more of them than leave the guest time for dpkg."""
    pid, kept = service.main_pid(), len(service.stored())
    feeder = Feeder(pause=0.2)
    with feeder.running():
        feeder.wait_for_flow()
        dpkg("--install", str(newer))
        feeder.wait_for_flow()
    assert service.main_pid() != pid, "the daemon is still the old one"
    assert run("dpkg-query", "-W", "-f=${Version}", "mcelog").stdout.endswith("+1")
    found = service.wait_for_stored(feeder.sent)
    print(f"{feeder.sent} records were sent, {kept} were there before", flush=True)
    wanted = {BASE + number * PAGE for number in range(feeder.sent)}
    assert {record["addr"] for record in found} >= wanted
    assert not entries(message_id("RECORDS_LOST"))
    assert len(found) == feeder.sent + kept


@scenario(limit=800, package=True)
def takes_the_place_of_the_c_program() -> None:
    """Over the C program's package: settings that were changed stay, nobody is asked about the others."""
    before = files()
    c_program = c_package()
    dpkg("--install", str(c_program))
    CONFIG.write_text("daemon = yes\nfilter = no\n")
    dpkg("--force-confold", "--install", str(PACKAGE))
    wait_for(service.is_active, "the service to run in place of the C program")
    assert CONFIG.read_text() == "daemon = yes\nfilter = no\n"
    assert "filter = no" in run(service.PROGRAM, "--check-config").stdout
    assert Path("/etc/mcelog/page-error-trigger").read_text() != C_FILES["etc/mcelog/page-error-trigger"]
    assert not Path("/etc/init.d/mcelog").exists()
    assert not Path("/etc/default/mcelog").exists()
    purge()

    dpkg("--install", str(c_program))
    dpkg("--install", str(PACKAGE))
    assert CONFIG.read_text() != C_FILES["etc/mcelog/mcelog.conf"]
    purge()
    assert_no_trace(before)
