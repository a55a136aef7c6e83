# SPDX-License-Identifier: GPL-2.0-only
"""What `meson install` puts where, and what systemd's own tools say about the installed units."""

from __future__ import annotations

import configparser
import os
import re
import shutil
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from mcelogd import __version__
from mcelogd.triggers import ROWS as TRIGGERS

if TYPE_CHECKING:
    from collections.abc import Sequence

ROOT = Path(__file__).resolve().parents[2]
UNITS = ("mcelog.service", "mcelog.socket", "mcelog.path", "mcelog-oneshot.service", "mcelog-oneshot.timer")
MANUALS = ("mcelog.8", "mcelogctl.1", "mcelog.conf.5", "mcelog.triggers.5", "org.mcelog.5")
MANUALS += ("mcelog.journal-fields.7",)
SERVICES = ("mcelog.service", "mcelog-oneshot.service")
COLLECTORS = ("mcelog-exporter.service", "mcelog-metrics.service")
COLLECTING = (*COLLECTORS, "mcelog-exporter.socket", "mcelog-metrics.timer")

EXPOSURE = 1.3
"""What `systemd-analyze security` may say at most, of 10. Every point given up needs a reason."""


def need(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        assert not os.environ.get("CI"), f"CI must have {tool}"
        pytest.skip(f"{tool} is not installed")
    return found


def run(
    command: Sequence[str | Path], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LC_ALL": "C.UTF-8", **(environment or {})}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=env, timeout=60)


def install(build: Path, *options: str, destdir: str = "") -> None:
    meson = need("meson")
    for command in ([meson, "setup", build, ROOT, *options], [meson, "install", "-C", build]):
        done = run(command, {"DESTDIR": destdir})
        assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module")
def packaged(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A package's content: the defaults, installed into a DESTDIR."""
    root = tmp_path_factory.mktemp("package")
    install(root / "build", destdir=str(root / "content"))
    return root / "content"


@pytest.fixture(scope="module")
def prefix(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An installation in a prefix of its own, which runs from there."""
    root = tmp_path_factory.mktemp("installed")
    install(root / "build", f"--prefix={root / 'usr'}")
    return root / "usr"


def units(prefix: Path) -> list[Path]:
    return [prefix / "lib/systemd/system" / name for name in (*UNITS, *COLLECTING)]


def test_everything_goes_to_its_place(packaged: Path) -> None:
    expected = {
        "/usr/sbin/mcelog",
        "/usr/bin/mcelogctl",
        *(f"/usr/lib/systemd/system/{name}" for name in (*UNITS, *COLLECTING)),
        "/usr/lib/sysusers.d/mcelog-exporter.conf",
        "/usr/share/polkit-1/rules.d/50-mcelog-exporter.rules",
        "/usr/share/mcelog/prometheus/mcelog.rules.yml",
        "/usr/share/mcelog/grafana/mcelog.json",
        "/usr/lib/udev/rules.d/60-mcelog.rules",
        "/usr/lib/systemd/catalog/mcelog.catalog",
        "/etc/logrotate.d/mcelog",
        "/usr/share/dbus-1/system.d/org.mcelog.conf",
        "/usr/share/dbus-1/system-services/org.mcelog.service",
        "/usr/share/dbus-1/interfaces/org.mcelog.xml",
        "/usr/share/bash-completion/completions/mcelogctl",
        "/usr/share/fish/vendor_completions.d/mcelogctl.fish",
        "/usr/share/zsh/site-functions/_mcelogctl",
        "/usr/share/polkit-1/actions/org.mcelog.policy",
        *(f"/usr/share/man/man{name[-1]}/{name}" for name in MANUALS),
        *(f"/usr/share/cockpit/mcelog/{path.name}" for path in (ROOT / "data/cockpit").iterdir()),
        "/etc/mcelog/mcelog.conf",
        "/etc/mcelog/dimm-labels.conf",
        *(f"/etc/mcelog/{row.script}" for row in TRIGGERS if row.script),
    }
    found = {f"/{path.relative_to(packaged)}" for path in packaged.rglob("*") if path.is_file()}
    assert expected - found == set()
    outside = [path for path in found - expected if "/mcelogd/" not in path]
    assert sorted(outside) == []


def test_no_build_directory_is_left_in_what_is_installed(packaged: Path) -> None:
    text = [path for path in packaged.rglob("*") if path.is_file() and path.suffix != ".pyc"]
    strangers = [str(packaged), str(packaged.parent), str(ROOT)]
    assert [path for path in text if any(word in path.read_text("utf-8") for word in strangers)] == []
    filled = [path for path in text if path.suffix not in (".catalog", ".py")]
    assert [path for path in filled if re.search(r"@\w+@", path.read_text("utf-8"))] == []


def test_directories_can_be_chosen(tmp_path: Path) -> None:
    choices = ("systemdsystemunitdir", "udevrulesdir", "logrotatedir")
    options = [f"-D{name}=/elsewhere/{name}" for name in choices]
    install(
        tmp_path / "build", *options, "-Dsbindir=bin", "-Dbytecompile=false", destdir=str(tmp_path / "to")
    )
    assert (tmp_path / "to/usr/bin/mcelog").is_file()
    assert (tmp_path / "to/elsewhere/udevrulesdir/60-mcelog.rules").is_file()
    assert (tmp_path / "to/elsewhere/logrotatedir/mcelog").is_file()
    unit = (tmp_path / "to/elsewhere/systemdsystemunitdir/mcelog.service").read_text()
    assert "ExecStart=/usr/bin/mcelog --daemon --foreground\n" in unit


def test_installing_again_keeps_what_the_administrator_changed(tmp_path: Path) -> None:
    config = tmp_path / "to/etc/mcelog/mcelog.conf"
    config.parent.mkdir(parents=True)
    config.write_text("cpu = haswell\n")
    install(tmp_path / "build", "-Dbytecompile=false", destdir=str(tmp_path / "to"))
    assert config.read_text() == "cpu = haswell\n"
    assert (tmp_path / "to/etc/logrotate.d/mcelog").is_file()


def test_installed_program_runs_from_its_prefix(prefix: Path) -> None:
    """With neither PATH nor environment, as the kernel starts it, and with nothing of ours in the way."""
    done = subprocess.run(
        [prefix / "sbin/mcelog", "--version"], env={}, cwd="/", check=False, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, f"mcelog {__version__}\n")


def test_installed_program_ignores_the_callers_directory(prefix: Path, tmp_path: Path) -> None:
    (tmp_path / "mcelogd").mkdir()
    (tmp_path / "mcelogd/__init__.py").write_text("raise SystemExit('imported from the wrong place')")
    environment = {"PYTHONPATH": str(tmp_path)}
    done = subprocess.run(
        [prefix / "sbin/mcelog", "--version"],
        env=environment,
        cwd=tmp_path,
        check=False,
        capture_output=True,
        text=True,
    )
    assert (done.returncode, done.stdout + done.stderr) == (0, f"mcelog {__version__}\n")


def test_modules_are_compiled_with_their_final_path(packaged: Path) -> None:
    """A sandboxed daemon cannot do it, and a traceback must not name the build machine's directories."""
    (compiled,) = packaged.rglob("__pycache__/record.*.pyc")
    assert (
        b"dist-packages/mcelogd/record.py" in compiled.read_bytes()
        or b"site-packages" in compiled.read_bytes()
    )
    assert str(packaged).encode() not in compiled.read_bytes()


def test_verify_has_nothing_to_say(prefix: Path) -> None:
    """Unknown keys and values are only warned about, with exit status 0: any output is a failure."""
    done = run([need("systemd-analyze"), "verify", "--man=no", *units(prefix)])
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


@pytest.mark.parametrize("service", [*SERVICES, *COLLECTORS])
def test_exposure(prefix: Path, service: str) -> None:
    threshold = f"--threshold={EXPOSURE * 10:.0f}"
    unit = prefix / "lib/systemd/system" / service
    done = run([need("systemd-analyze"), "security", "--offline=true", "--no-pager", threshold, unit])
    assert done.returncode == 0, done.stdout + done.stderr


DENIED = {
    *("~@privileged", "@resources"),
    *("~process_vm_readv", "process_vm_writev", "userfaultfd"),
}

SANDBOX = {
    # capabilities: the one it uses, and no way to more
    "CapabilityBoundingSet": {"CAP_SYS_ADMIN"},
    "AmbientCapabilities": set(),
    "NoNewPrivileges": {"yes"},
    "RestrictSUIDSGID": {"yes"},
    "RestrictNamespaces": {"yes"},
    # files: these alone can be written to, beside the state and the runtime directory
    "ProtectSystem": {"strict"},
    "ReadWritePaths": {
        "-/var/log",
        "-/sys/devices/system/memory/soft_offline_page",
        "-/sys/devices/system/memory/hard_offline_page",
    },
    "ReadOnlyPaths": {"-/var/log/journal", "-/var/log/audit", "-/var/log/private"},
    "InaccessiblePaths": {"-/boot"},
    "StateDirectory": {"mcelog"},
    "ProtectHome": {"yes"},
    "PrivateTmp": {"yes"},
    "PrivateMounts": {"yes"},
    "PrivateDevices": {"yes"},
    "DeviceAllow": {"/dev/mcelog", "r"},
    "BindPaths": {"-/dev/mcelog"},
    # the kernel
    "ProtectKernelTunables": {"yes"},
    "ProtectKernelModules": {"yes"},
    "ProtectKernelLogs": {"yes"},
    "ProtectControlGroups": {"yes"},
    "ProtectClock": {"yes"},
    "ProtectHostname": {"yes"},
    "ProtectProc": {"invisible"},
    "SystemCallArchitectures": {"native"},
    "SystemCallFilter": {"@system-service", *DENIED},
    "SystemCallErrorNumber": {"EPERM"},
    "MemoryDenyWriteExecute": {"yes"},
    "LockPersonality": {"yes"},
    "RestrictRealtime": {"yes"},
    "RemoveIPC": {"yes"},
    "KeyringMode": {"private"},
    # no network
    "PrivateNetwork": {"yes"},
    "IPAddressDeny": {"any"},
    "RestrictAddressFamilies": {"AF_UNIX"},
    # what a defect could use up
    "MemoryMax": {"256M"},
    "TasksMax": {"32"},
    "LimitCORE": {"0"},
}
"""Every option, with all words of its lines: SECURITY.md says what each takes away."""


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.parametrize("option", SANDBOX)
def test_each_option_of_the_sandbox(prefix: Path, service: str, option: str) -> None:
    text = (prefix / "lib/systemd/system" / service).read_text("utf-8")
    found = re.findall(rf"^{option}=(.*)$", text, re.MULTILINE)
    assert {word for value in found for word in value.split()} == SANDBOX[option]


def test_nothing_else_is_outside_of_the_sandbox(prefix: Path) -> None:
    """A command with a "+" has all rights of root: those two that need them, and no more."""
    outside = []
    for service in SERVICES:
        text = (prefix / "lib/systemd/system" / service).read_text("utf-8")
        outside += re.findall(r"^Exec\w+=[-@:]*[+!](?:\S*/)?(.*)$", text, re.MULTILINE)
    assert sorted(outside) == ["mcelog --imc-log", *["mcelog --prepare-source"] * 2]


DANGEROUS = """
    ptrace process_vm_readv process_vm_writev bpf perf_event_open userfaultfd
    mount umount2 pivot_root chroot init_module finit_module delete_module kexec_load reboot swapon
    iopl ioperm acct quotactl settimeofday clock_settime setuid setresuid sched_setscheduler
"""


def test_system_calls_that_would_do_harm_are_not_let_through() -> None:
    """By the sets of the systemd that is here, expanded."""
    allowed = system_calls("@system-service")
    for word in DENIED:
        name = word.removeprefix("~")
        allowed -= system_calls(name) if name[0] == "@" else {name}
    assert {"read", "readv", "ioctl", "fsync"} <= allowed
    assert allowed & set(DANGEROUS.split()) == set()


def system_calls(name: str) -> set[str]:
    printed = run([need("systemd-analyze"), "--no-pager", "syscall-filter", name]).stdout
    words = [line.split()[0] for line in printed.splitlines()[1:] if line.strip()]
    found = {word for word in words if word[0] not in "#@"}
    return found.union(*(system_calls(word) for word in words if word[0] == "@"))


def sandbox(unit: str) -> list[str]:
    lines = (ROOT / "data" / unit).read_text().partition("# --- Sandbox")[2].partition("[Install]")[0]
    settings = [line for line in lines.splitlines()[1:] if line and not line.startswith("#")]
    assert settings
    return settings


def test_both_ways_of_running_have_the_same_sandbox() -> None:
    assert sandbox("mcelog-oneshot.service") == sandbox("mcelog.service")


@pytest.mark.parametrize("service", SERVICES)
def test_log_file_of_an_old_configuration_can_be_written_and_reopened(service: str) -> None:
    """logfile=/var/log/mcelog: after logrotate the file is a new one, so its directory must be writable."""
    lines = sandbox(service)
    assert "ReadWritePaths=-/var/log" in lines
    assert any(line.startswith("ReadOnlyPaths=") and "-/var/log/journal" in line for line in lines)


@pytest.mark.parametrize("service", SERVICES)
def test_a_missing_path_does_not_stop_the_unit(service: str) -> None:
    """Without the "-" a path that is not there is a failed unit (226/NAMESPACE)."""
    keys = ("ReadWritePaths", "ReadOnlyPaths", "InaccessiblePaths", "BindPaths")
    paths = [
        path for line in sandbox(service) for path in line.partition("=")[2].split() if line.startswith(keys)
    ]
    assert paths
    assert [path for path in paths if not path.startswith("-")] == []


class Unit(configparser.RawConfigParser):
    """A unit file with each key's last value; keys keep their case."""

    def __init__(self, name: str) -> None:
        super().__init__(strict=False, delimiters=("=",), comment_prefixes=("#",), interpolation=None)
        self.optionxform = str  # type: ignore[assignment,method-assign]
        self.read(ROOT / "data" / name, encoding="utf-8")


def test_metrics_are_served_on_loopback_to_whom_the_polkit_rule_names(prefix: Path) -> None:
    assert Unit("mcelog-exporter.socket")["Socket"]["ListenStream"].startswith("127.0.0.1:")
    user = Unit("mcelog-exporter.service")["Service"]["User"]
    rule = (ROOT / "data/polkit/50-mcelog-exporter.rules").read_text()
    assert f'subject.user == "{user}"' in rule
    users = prefix / "lib/sysusers.d/mcelog-exporter.conf"
    assert f"\nu {user} " in users.read_text()
    made = run([need("systemd-sysusers"), "--dry-run", users])
    assert made.returncode == 0, made.stderr


CONDITIONS = [
    "/sys/devices/system/machinecheck/machinecheck0",
    "|/dev/mcelog",
    "|/sys/kernel/tracing/events/mce/mce_record",
]
"""Machine checks, and one of two ways to hear of them."""


def test_no_source_means_no_failed_unit() -> None:
    for name in (*SERVICES, "mcelog.socket"):
        lines = (ROOT / "data" / name).read_text(encoding="utf-8").splitlines()
        key = "ConditionPathExists="
        assert [line.removeprefix(key) for line in lines if line.startswith(key)] == CONDITIONS, name


def test_socket_is_where_clients_look_for_it() -> None:
    socket = Unit("mcelog.socket")["Socket"]
    assert socket["ListenStream"] == "/run/mcelog-client"
    assert socket["FileDescriptorName"] == "client"
    assert socket["SocketMode"] == "0666"


def test_every_unit_is_for_systemd_252() -> None:
    """Debian 12's: notify-reload and the like came later, and are ignored there with a warning only."""
    assert Unit("mcelog.service")["Service"]["Type"] == "notify"
    assert Unit("mcelog.service")["Service"]["LogRateLimitIntervalSec"] != "0"


def test_logrotate_takes_the_configuration(packaged: Path, tmp_path: Path) -> None:
    state = tmp_path / "state"
    done = run([need("logrotate"), "--debug", "--state", state, packaged / "etc/logrotate.d/mcelog"])
    assert done.returncode == 0, done.stderr
    assert "error" not in done.stdout + done.stderr


def test_rotated_log_is_reopened_by_signal(packaged: Path, tmp_path: Path) -> None:
    """The real logrotate on the real rules, the paths moved into a scratch directory."""
    log, pidfile = tmp_path / "mcelog", tmp_path / "mcelog.pid"
    rules = (packaged / "etc/logrotate.d/mcelog").read_text()
    rules = rules.replace("/var/log/mcelog", str(log)).replace("/run/mcelog.pid", str(pidfile))
    rules = rules.replace("/run/systemd/system", str(tmp_path / "no-systemd")).replace(
        "0640 root adm", "0640"
    )
    (tmp_path / "rules").write_text(rules)
    (tmp_path / "rules").chmod(0o644)
    log.write_text("Hardware event. This is not a software error.\n")
    reader = subprocess.Popen(
        ["sh", "-c", "trap 'exit 42' USR1; echo; while :; do sleep 0.05; done"], stdout=-1
    )
    assert reader.stdout is not None
    reader.stdout.readline()
    pidfile.write_text(f"{reader.pid}\n")
    done = run([need("logrotate"), "--force", "--state", tmp_path / "state", tmp_path / "rules"])
    assert done.returncode == 0, done.stderr
    assert reader.wait(timeout=10) == 42
    reader.stdout.close()
    assert log.read_text() == ""
    assert len(list(tmp_path.glob("mcelog-2*"))) == 1
