# SPDX-License-Identifier: GPL-2.0-only
"""mcelogctl doctor and mcelog --doctor, on file systems with faults in them."""

from __future__ import annotations

import gzip
import json
import os
import shutil
import struct
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from mcelogd import message_ids
from mcelogd.doctor.checks import CHECKS
from mcelogd.store.database import Store

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

ROOT = Path(__file__).resolve().parents[2]
SMBIOS = ROOT / "tests/fixtures/smbios"
NOBODY = 65534
RELEASE = "6.12.1-amd64"
CONFIG = "CONFIG_X86_MCE=y\nCONFIG_X86_MCE_INTEL=y\nCONFIG_TRACING=y\n# CONFIG_RAS_CEC is not set\n"
UNIT = "[Service]\nExecStart=/bin/true\n[Install]\nWantedBy=multi-user.target\n"
SETTINGS = """\
[page]
memory-ce-action = soft
[cache]
cache-threshold-trigger = cache-error-trigger
[trigger]
directory = /etc/mcelog
"""
MACHINECHECK = "sys/devices/system/machinecheck"
INSTANCE = "sys/kernel/tracing/instances/mcelog"

AS_USER = """\
import os, sys
import mcelogd.cli, mcelogd.ctl.main, mcelogd.doctor.report
uid = int(sys.argv[1])
if uid:
    os.setgroups([])
    os.setgid(uid)
    os.setuid(uid)
program = {"mcelogd": mcelogd.cli, "mcelogd.ctl": mcelogd.ctl.main}[sys.argv[3]]
sys.argv[:4] = [sys.argv[3]]
sys.exit(program.main())
"""
"""The interpreter may be where only root may go."""

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="triggers have to belong to root")

WELL = {
    "proc/cpuinfo": "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 106\nflags\t\t: mce mca\n",
    "proc/cmdline": "root=/dev/sda quiet\n",
    "proc/stat": "cpu 1\nbtime 1790000000\n",
    "proc/sys/kernel/osrelease": f"{RELEASE}\n",
    "proc/sys/vm/memory_failure_recovery": "1\n",
    "proc/sys/vm/enable_soft_offline": "1\n",
    f"boot/config-{RELEASE}": CONFIG,
    "dev/kmsg": "6,1,2,-;Linux version 6.12\n",
    "sys/kernel/tracing/events/mce/mce_record/format": "name: mce_record\n",
    f"{INSTANCE}/events/mce/mce_record/enable": "1\n",
    f"{INSTANCE}/buffer_percent": "0\n",
    f"{INSTANCE}/tracing_on": "1\n",
    "sys/kernel/security/lockdown": "[none] integrity confidentiality\n",
    "sys/devices/system/memory/soft_offline_page": "",
    "sys/devices/system/memory/hard_offline_page": "",
    "usr/lib/polkit-1/polkitd": "",
    "usr/share/polkit-1/actions/org.mcelog.policy": "",
    "usr/share/dbus-1/system.d/org.mcelog.conf": "",
    "usr/lib/systemd/catalog/mcelog.catalog": "",
    "run/systemd/journal/socket": "",
    "var/log/journal/id/system.journal": "",
    "etc/mcelog/mcelog.conf": SETTINGS,
    "etc/mcelog/cache-error-trigger": "#!/bin/sh\n",
    "etc/machine-id": "0123456789abcdef0123456789abcdef\n",
    "usr/lib/systemd/system/mcelog.service": UNIT,
}


def write(path: Path, content: str | bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())


@pytest.fixture
def tree() -> Iterator[Path]:
    """The file system of a machine that is well, and reads the trace event; any user may go there."""
    with tempfile.TemporaryDirectory() as directory:
        Path(directory).chmod(0o755)
        yield planted(Path(directory))


def planted(root: Path) -> Path:
    for name, content in WELL.items():
        write(root / name, content)
    for cpu in range(2):
        for name, value in (("ignore_ce", 0), ("dont_log_ce", 0), ("check_interval", 300), ("bank0", "ff")):
            write(root / f"{MACHINECHECK}/machinecheck{cpu}/{name}", f"{value}\n")
        write(root / f"{MACHINECHECK}/machinecheck{cpu}/trigger", "\n")
    write(root / "sys/firmware/dmi/tables/DMI", (SMBIOS / "dmi_q35_4dimms_file.bin").read_bytes())
    write(
        root / "sys/firmware/dmi/tables/smbios_entry_point",
        (SMBIOS / "dmi_q35_4dimms_file.entry").read_bytes(),
    )
    write(root / "var/lib/systemd/catalog/database", b"RHHHKSLP" + bytes.fromhex(message_ids.SERVICE_STARTED))
    (root / "etc/mcelog/cache-error-trigger").chmod(0o755)
    wants = root / "etc/systemd/system/multi-user.target.wants"
    wants.mkdir(parents=True)
    (wants / "mcelog.service").symlink_to("/usr/lib/systemd/system/mcelog.service")
    (root / "var/lib/mcelog").mkdir(parents=True)
    (root / "var/lib/mcelog").chmod(0o750)
    Store(root / "var/lib/mcelog/mcelog.db").close()
    return root


def run(*words: str, uid: int = 0) -> subprocess.CompletedProcess[str]:
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT), "LC_ALL": "C.UTF-8"}
    environment["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, "-c", AS_USER, str(uid), *words]
    return subprocess.run(
        command, env=environment, cwd="/", capture_output=True, text=True, timeout=60, check=False
    )


def doctor(tree: Path, *, uid: int = 0) -> tuple[int, list[dict[str, Any]]]:
    done = run("-m", "mcelogd.ctl", "doctor", "--json", f"--root={tree}", uid=uid)
    assert done.stderr == ""
    return done.returncode, json.loads(done.stdout)


def off(findings: list[dict[str, Any]]) -> dict[str, str]:
    """The checks that are not well, and how they are."""
    well = ("ok", "not applicable")
    return {one["check"]: one["state"] for one in findings if one["state"] not in well} | without_systemctl()


def without_systemctl() -> dict[str, str]:
    return {} if shutil.which("systemctl") else {"service": "broken"}


def test_a_machine_that_is_well(tree: Path) -> None:
    status, findings = doctor(tree)
    assert off(findings) == without_systemctl(), findings
    assert status == (2 if without_systemctl() else 0)
    assert [one["check"] for one in findings] == [check.name for check in CHECKS]
    assert all(set(one) == {"check", "state", "found", "why", "remedy"} for one in findings)


def hest(flags: int) -> bytes:
    source = struct.pack("<HHHBB", 1, 1, 0, flags, 1) + bytes(40)
    return b"HEST" + struct.pack("<I", 88) + bytes(28) + struct.pack("<I", 1) + source


def put(name: str, content: str | bytes) -> Callable[[Path], None]:
    return lambda root: write(root / name, content)


def gone(name: str) -> Callable[[Path], None]:
    def remove(root: Path) -> None:
        path = root / name
        shutil.rmtree(path) if path.is_dir() else path.unlink()

    return remove


def mode(name: str, bits: int) -> Callable[[Path], None]:
    return lambda root: (root / name).chmod(bits)


def process(pid: int, name: str, *command: str, opened: str = "") -> Callable[[Path], None]:
    def make(root: Path) -> None:
        write(root / f"proc/{pid}/comm", f"{name}\n")
        write(root / f"proc/{pid}/cmdline", "\0".join([*command, ""]))
        (root / f"proc/{pid}/fd").mkdir()
        if opened:
            (root / f"proc/{pid}/fd/3").symlink_to(opened)

    return make


def masked(root: Path) -> None:
    (root / "etc/systemd/system/mcelog.service").symlink_to("/dev/null")


LOGGED = "6,1,2,-;mce: [Hardware Error]: Machine check events logged\n"
JOURNALD = "etc/systemd/journald.conf.d/50-x.conf"

FAULTS = {
    "mce=off": (put("proc/cmdline", "mce=off\n"), "command-line", "broken", "update-grub"),
    "nomce among others": (put("proc/cmdline", "a=b nomce\n"), "command-line", "broken", "update-grub"),
    "a virtual machine": (
        put("proc/cpuinfo", WELL["proc/cpuinfo"].strip() + " hypervisor\n"),
        "virtualisation",
        "warning",
        "host",
    ),
    "a container": (put("run/systemd/container", "lxc\n"), "virtualisation", "warning", "on the host"),
    "kernel without": (
        put("proc/config.gz", gzip.compress(b"CONFIG_X=y\n")),
        "kernel-config",
        "broken",
        "CONFIG_X86_MCE=y",
    ),
    "a file as device": (put("dev/mcelog", ""), "device", "broken", "rm /dev/mcelog"),
    "device wanted": (
        put("etc/mcelog/mcelog.conf", "source = device\n"),
        "device",
        "broken",
        "source = auto",
    ),
    "lockdown": (
        put("sys/kernel/security/lockdown", "none integrity [confidentiality]\n"),
        "tracefs",
        "broken",
        "integrity",
    ),
    "no tracefs": (gone("sys/kernel/tracing/events"), "tracefs", "broken", "mount -t tracefs"),
    "no event": (gone("sys/kernel/tracing/events/mce"), "tracefs", "broken", "CONFIG_X86_MCE"),
    "no instance": (gone(INSTANCE), "tracefs", "warning", "systemctl start mcelog"),
    "event off": (put(f"{INSTANCE}/events/mce/mce_record/enable", "0\n"), "tracefs", "broken", "echo 1 >"),
    "deaf": (put(f"{INSTANCE}/buffer_percent", "50\n"), "tracefs", "warning", "echo 0 >"),
    "CEC": (
        put(f"boot/config-{RELEASE}", CONFIG + "CONFIG_RAS_CEC=y\n"),
        "ras-cec",
        "warning",
        "ras=cec_disable",
    ),
    "rasdaemon": (
        process(77, "rasdaemon", "rasdaemon", "-f"),
        "consumers",
        "warning",
        "disable --now rasdaemon",
    ),
    "C mcelog": (process(78, "mcelog", "/usr/sbin/mcelog", "--daemon"), "consumers", "broken", "kill 78"),
    "two of ours": (
        lambda root: [
            process(pid, "mcelog", "/usr/bin/python3", "-I", "/usr/sbin/mcelog", "--daemon")(root)
            for pid in (5, 6)
        ],
        "consumers",
        "broken",
        "MainPID",
    ),
    "firmware first": (
        put("sys/firmware/acpi/tables/HEST", hest(1)),
        "firmware-first",
        "warning",
        "ipmitool",
    ),
    "damaged HEST": (put("sys/firmware/acpi/tables/HEST", b"HEST"), "firmware-first", "warning", "update"),
    "went elsewhere": (put("dev/kmsg", LOGGED), "kernel-log", "warning", "journalctl -k"),
    "ignore_ce": (
        put(f"{MACHINECHECK}/machinecheck1/ignore_ce", "1\n"),
        "machine-checks",
        "broken",
        "echo 0 >",
    ),
    "no polling": (
        lambda root: [put(f"{MACHINECHECK}/machinecheck{cpu}/check_interval", "0\n")(root) for cpu in (0, 1)],
        "machine-checks",
        "warning",
        "echo 300 >",
    ),
    "trigger": (put(f"{MACHINECHECK}/machinecheck0/trigger", "/x\n"), "machine-checks", "warning", "echo >"),
    "no banks": (gone(MACHINECHECK), "machine-checks", "broken", "mce=off"),
    "no recovery": (
        put("proc/sys/vm/memory_failure_recovery", "0\n"),
        "page-offlining",
        "warning",
        "sysctl -w",
    ),
    "no off-lining": (
        gone("sys/devices/system/memory"),
        "page-offlining",
        "warning",
        "CONFIG_MEMORY_FAILURE",
    ),
    "no SMBIOS": (gone("sys/firmware/dmi"), "smbios", "warning", "dimm-labels.conf"),
    "SMBIOS of QEMU": (
        put("sys/firmware/dmi/tables/DMI", (SMBIOS / "dmi_q35_autotype17_40G.bin").read_bytes()),
        "smbios",
        "warning",
        "dimm-labels.conf",
    ),
    "no polkit": (gone("usr/lib/polkit-1"), "polkit", "warning", "apt install"),
    "no policy": (gone("usr/share/polkit-1"), "polkit", "warning", "org.mcelog.policy"),
    "no bus policy": (gone("usr/share/dbus-1"), "dbus", "broken", "reload dbus"),
    "no journald": (gone("run/systemd/journal"), "journald", "broken", "systemd-journald"),
    "nothing kept": (put(JOURNALD, "[Journal]\nStorage=none\n"), "journald", "broken", "Storage=persistent"),
    "lost at boot": (gone("var/log/journal"), "journald", "warning", "mkdir -p /var/log/journal"),
    "rate limit": (
        put(JOURNALD, "[Journal]\nRateLimitBurst=50\n"),
        "journald",
        "warning",
        "LogRateLimitBurst",
    ),
    "no catalog": (gone("usr/lib/systemd/catalog"), "catalog", "warning", "install mcelog"),
    "old catalog": (put("var/lib/systemd/catalog/database", "x"), "catalog", "warning", "--update-catalog"),
    "no script": (gone("etc/mcelog/cache-error-trigger"), "triggers", "warning", "cache-threshold-trigger"),
    "not executable": (mode("etc/mcelog/cache-error-trigger", 0o644), "triggers", "warning", "chmod 755"),
    "anybody's": (mode("etc/mcelog/cache-error-trigger", 0o777), "triggers", "warning", "chmod go-w"),
    "directory of all": (mode("etc/mcelog", 0o777), "triggers", "warning", "chmod go-w"),
    "a user's": (
        lambda root: os.chown(root / "etc/mcelog/cache-error-trigger", NOBODY, 0),
        "triggers",
        "warning",
        "chown root",
    ),
    "no state": (gone("var/lib/mcelog"), "state", "warning", "systemctl start mcelog"),
    "damaged store": (
        put("var/lib/mcelog/mcelog.db", "no database\n" * 99),
        "state",
        "broken",
        "restart mcelog",
    ),
    "moved aside": (put("var/lib/mcelog/mcelog.db.damaged-7", ""), "state", "warning", "mcelog.db.damaged-7"),
    "clock of the board": (put("sys/class/rtc/rtc0/since_epoch", "7\n"), "clock", "warning", "hwclock"),
    "masked": (masked, "service", "broken", "unmask"),
    "disabled": (
        gone("etc/systemd/system/multi-user.target.wants"),
        "service",
        "warning",
        "systemctl enable",
    ),
    "odd setting": (
        put("etc/mcelog/mcelog.conf", SETTINGS + "colour = green\n"),
        "configuration",
        "warning",
        "reload",
    ),
    "no setting": (
        put("etc/mcelog/mcelog.conf", SETTINGS + "nonsense\n"),
        "configuration",
        "broken",
        "mcelog.conf",
    ),
}


@pytest.mark.parametrize("name", FAULTS)
def test_each_fault_is_named_with_its_remedy(name: str, tree: Path) -> None:
    make, check, state, remedy = FAULTS[name]
    if check == "service" and without_systemctl():
        pytest.skip("systemctl is not installed")
    make(tree)
    status, findings = doctor(tree)
    found = [one for one in findings if one["check"] == check and one["state"] == state]
    assert found, findings
    assert remedy in found[0]["remedy"]
    assert found[0]["why"]
    states = {one["state"] for one in findings}
    assert status == (2 if "broken" in states else 1)
    assert {"warning": 1, "broken": 2}[state] <= status


def test_who_has_the_device_open(tree: Path) -> None:
    """A device of the kernel's, made by hand: numbers of /dev/null, which harm nobody."""
    try:
        os.mknod(tree / "dev/mcelog", 0o600 | 0o020000, os.makedev(1, 3))
    except PermissionError:
        pytest.skip("devices cannot be made here")
    process(5, "mcelog", "python3", "/usr/sbin/mcelog", "--daemon", opened="/dev/mcelog")(tree)
    assert "device" not in off(doctor(tree)[1])
    process(42, "cat", "cat", opened="/dev/mcelog")(tree)
    status, findings = doctor(tree)
    (found,) = [one for one in findings if one["check"] == "device"]
    assert (status, found["state"]) == (2, "broken")
    assert "process 42 (cat)" in found["found"]
    assert "kill 42" in found["remedy"]


def test_as_another_user(tree: Path) -> None:
    """What may not be seen is not known, and that is no fault; what may be seen is."""
    for name in ("var/lib/mcelog", "sys/kernel/tracing", "sys/firmware/dmi/tables/DMI", "dev/kmsg"):
        (tree / name).chmod(0o700)
    write(tree / "sys/firmware/acpi/tables/HEST", hest(1))
    (tree / "sys/firmware/acpi/tables/HEST").chmod(0o400)
    write(tree / "proc/cmdline", "mce=no_cmci\n")
    status, findings = doctor(tree, uid=NOBODY)
    unknown = {"tracefs", "firmware-first", "kernel-log", "smbios", "state"}
    assert (
        off(findings) == dict.fromkeys(unknown, "unknown") | {"command-line": "warning"} | without_systemctl()
    )
    assert status == (2 if without_systemctl() else 1)
    for finding in findings:
        if finding["state"] == "unknown":
            assert finding["remedy"] == "run it as root: sudo mcelogctl doctor"


def test_mcelog_says_the_same(tree: Path) -> None:
    """Both programs, as text and as JSON; nobody is asked by D-Bus."""
    put("proc/cmdline", "mce=off\n")(tree)
    ours = run("-m", "mcelogd", "--doctor", f"--root={tree}")
    theirs = run("-m", "mcelogd.ctl", "doctor", f"--root={tree}")
    assert (ours.returncode, ours.stderr) == (2, "")
    assert ours.stdout == theirs.stdout
    assert "  broken command-line" in ours.stdout
    assert "\x1b" not in ours.stdout
    as_json = run("-m", "mcelogd", "--doctor", "--json", f"--root={tree}")
    assert json.loads(as_json.stdout) == doctor(tree)[1]


def test_its_own_configuration_is_looked_at(tree: Path) -> None:
    """Other settings than the default file's; one that cannot be used is a finding, not an error."""
    write(tree / "etc/other.conf", "nonsense\n")
    done = run("-m", "mcelogd", "--doctor", "--json", f"--root={tree}", "--config-file=/etc/other.conf")
    (found,) = [one for one in json.loads(done.stdout) if one["check"] == "configuration"]
    assert (done.returncode, found["state"]) == (2, "broken")
    assert "/etc/other.conf:1" in found["found"]


def test_an_empty_file_system(tmp_path: Path) -> None:
    status, findings = doctor(tmp_path)
    assert status == 2
    assert {one["check"] for one in findings} == {check.name for check in CHECKS}
    assert doctor(tmp_path / "nonexistent")[0] == 2


def test_files_that_want_to_do_harm(tree: Path) -> None:
    """Escapes for the terminal, nonsense, no end, FIFOs, directories for files, links in a circle."""
    evil = b"\x1b]0;owned\x07\xff\xe2\x80\xae\0mce=off\n" * 1000
    for name in (
        "proc/cpuinfo",
        "proc/stat",
        f"{MACHINECHECK}/machinecheck0/trigger",
        "sys/kernel/security/lockdown",
    ):
        write(tree / name, evil)
    write(tree / f"{MACHINECHECK}/machinecheck1/ignore_ce", evil)
    write(tree / "proc/config.gz", gzip.compress(bytes(1 << 26)))
    (tree / "dev/kmsg").unlink()
    os.mkfifo(tree / "dev/kmsg")
    (tree / "proc/cmdline").unlink()
    (tree / "proc/cmdline").mkdir()
    (tree / "etc/mcelog/mcelog.conf").write_text(
        "[trigger]\ndirectory = /\x1b[2J\n[cache]\ncache-threshold-trigger = x\x1b\n"
    )
    (tree / "usr/share/polkit-1/actions/org.mcelog.policy").unlink()
    (tree / "usr/share/polkit-1/actions/org.mcelog.policy").symlink_to("org.mcelog.policy")
    process(9, "evil\x1b[31m\u202e", "evil", opened="/dev/mcelog")(tree)
    done = run("-m", "mcelogd.ctl", "doctor", f"--root={tree}")
    assert (done.returncode, done.stderr) == (2, "")
    assert all(line.isprintable() for line in done.stdout.splitlines())
    assert done.stdout.isascii() or "\u202e" not in done.stdout
    assert doctor(tree)[0] == 2


def test_the_running_machine() -> None:
    """Whatever this one is: there is an answer for each link, as root and as nobody."""
    for uid in (0, NOBODY):
        done = run("-m", "mcelogd.ctl", "doctor", "--json", uid=uid)
        assert done.stderr == ""
        assert {one["check"] for one in json.loads(done.stdout)} == {check.name for check in CHECKS}


def test_another_machine_is_not_looked_at() -> None:
    done = run("-m", "mcelogd.ctl", "doctor", "-H", "db7")
    assert done.returncode == 2
    assert "run it on the other" in done.stderr


@pytest.mark.parametrize(("where", "status"), [(">&-", 2), (">/dev/full", 1)])
def test_output_that_goes_nowhere(where: str, status: int, tree: Path) -> None:
    """Closed, the exit status still says it; full, that is said."""
    put("proc/cmdline", "mce=off\n")(tree)
    command = f"exec {sys.executable} -m mcelogd --doctor --root={tree} {where}"
    environment = {"PATH": os.environ["PATH"], "PYTHONPATH": str(ROOT)}
    done = subprocess.run(
        ["sh", "-c", command], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == status
    assert "Traceback" not in done.stderr
    assert bool(done.stderr) == (status == 1)
