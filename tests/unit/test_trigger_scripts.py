# SPDX-License-Identifier: GPL-2.0-only
"""The scripts that come with mcelog, run as they are, by every POSIX shell at hand.

logger(1) is played by a script that comes first in PATH: the real one writes
to this machine's own syslog and journal. sysfs is a directory: CPUs of this
machine stay online.
"""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from pathlib import Path

import pytest

from mcelogd import message_ids
from mcelogd.triggers import ROWS

SCRIPTS = Path(__file__).parents[2] / "data/triggers"
NAMES = sorted({row.script for row in ROWS} - {""})
SYNC = [name for name in NAMES if "-sync-" in name]
SHELLS = [shell for shell in ("dash", "bash", "busybox") if shutil.which(shell)]

MESSAGE = 'it\'s $5 for `a` "b" * \\ %s -- ü'
ENVIRONMENT = {
    "MESSAGE": MESSAGE,
    "LOCATION": "SOCKET:1 CHANNEL:? DIMM:? [a  b]",
    "THRESHOLD": "20 in 24h",
    "TOTALCOUNT": "20",
    "LASTEVENT": "1795000000",
    "THRESHOLD_COUNT": "0",
    "AGETIME": "86400",
    "SOCKETID": "1",
    "MCELOG_EVENT_ID": "42",
}

LOGGER = """\
#!/bin/sh
{ printf '<%s>' "$@"; echo; [ "$1" != --journald ] || { cat; echo; }; } >> "$LOGGED"
[ "$1" != --journald ] || [ -z "$NO_JOURNALD" ]
"""


class Machine:
    """A trigger directory, a logger, and the sysfs of a machine with four CPUs."""

    def __init__(self, path: Path, shell: str) -> None:
        self.shell = shell
        self.directory = path / "triggers"
        shutil.copytree(SCRIPTS, self.directory)
        self.logged = path / "logged"
        self.programs = path / "bin"
        self.programs.mkdir()
        self.program("logger", LOGGER)
        self.cpus = path / "sys/devices/system/cpu"
        self.journal = path / "journal"
        for number in range(4):
            (self.cpus / f"cpu{number}").mkdir(parents=True)
            if number:
                (self.cpus / f"cpu{number}/online").write_text("1\n")
        (self.cpus / "online").write_text("0-3\n")
        self.environment = {
            **ENVIRONMENT,
            "PATH": f"{self.programs}:/usr/bin:/bin",
            "LOGGED": str(self.logged),
            "MCELOG_SYSFS": str(path / "sys"),
            "MCELOG_JOURNAL": str(self.journal),
        }

    def program(self, name: str, text: str) -> None:
        self.write(self.programs / name, text)

    def add(self, name: str, text: str, mode: int = 0o755) -> None:
        """A file of the administrator's beside the scripts."""
        self.write(self.directory / name, text, mode)

    @staticmethod
    def write(path: Path, text: str, mode: int = 0o755) -> None:
        path.parent.mkdir(exist_ok=True)
        path.write_text(text)
        path.chmod(mode)

    def run(self, name: str, *arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
        """As mcelog does, with the shell that is to be tried."""
        shell = [self.shell, "sh"] if self.shell == "busybox" else [self.shell]
        return subprocess.run(
            [*shell, f"./{name}", *arguments],
            cwd=self.directory,
            env=self.environment | environment,
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )

    def log(self) -> list[str]:
        return self.logged.read_text().splitlines() if self.logged.exists() else []

    def state(self, cpu: int) -> str:
        return (self.cpus / f"cpu{cpu}/online").read_text().strip()


@pytest.fixture(params=SHELLS)
def machine(request: pytest.FixtureRequest, tmp_path: Path) -> Machine:
    return Machine(tmp_path, request.param)


@pytest.mark.parametrize("name", NAMES)
def test_a_script_can_be_executed_and_is_for_any_posix_shell(name: str) -> None:
    path = SCRIPTS / name
    assert os.access(path, os.X_OK)
    assert path.read_text("utf-8").startswith("#!/bin/sh\n# SPDX-License-Identifier: GPL-2.0-only\n")


def test_meson_installs_every_script() -> None:
    text = (SCRIPTS / "meson.build").read_text("utf-8")
    assert [name for name in NAMES if f"'{name}'" not in text] == []


def logger_line(text: str) -> str:
    return f"<-p><daemon.err><-t><mcelog><--><{text}>"


@pytest.mark.parametrize("name", sorted(set(NAMES) - {"cache-error-trigger"}))
def test_a_script_logs_what_happened(machine: Machine, name: str) -> None:
    done = machine.run(name, "4096")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    first, *others = machine.log()
    assert first == logger_line(MESSAGE)
    if "counter-replacement" in name:
        names = ("THRESHOLD", "TOTALCOUNT", "LASTEVENT", "THRESHOLD_COUNT", "AGETIME")
        assert others == [logger_line(f"{name}: {ENVIRONMENT[name]}") for name in names]
    else:
        assert others == [logger_line("Location: SOCKET:1 CHANNEL:? DIMM:? [a  b]")]


LOCAL = 'printf "%s\\n" "local: $MESSAGE" "$1" "${CPU-}"\n'


@pytest.mark.parametrize("name", NAMES)
def test_a_local_script_is_run_with_all_variables(machine: Machine, name: str) -> None:
    """It is read by the script's own shell, as with the C program, so that it may do without `#!`."""
    machine.add(f"{name}.local", LOCAL)
    done = machine.run(name, "4096", CPU="3", AFFECTED_CPUS="")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"local: {MESSAGE}\n4096\n3\n"


@pytest.mark.parametrize("name", NAMES)
def test_a_local_script_that_is_not_executable_is_not_run(machine: Machine, name: str) -> None:
    machine.add(f"{name}.local", LOCAL, mode=0o644)
    done = machine.run(name, "4096", AFFECTED_CPUS="")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")


def test_a_local_script_may_say_that_it_failed(machine: Machine) -> None:
    machine.add("dimm-error-trigger.local", "exit 9\n")
    assert machine.run("dimm-error-trigger").returncode == 9


@pytest.mark.parametrize("name", SYNC)
@pytest.mark.parametrize("word", ["-sync-", "-"])
def test_both_names_of_the_directory_and_the_local_script_are_good(
    machine: Machine, name: str, word: str
) -> None:
    """The C program's script, manual and configuration file name them differently."""
    base = name.replace("-sync-", word)
    machine.add(f"{base}.local", 'echo "local $1"; item=spoilt name=spoilt\n')
    machine.add(f"{base}.extern/10 first", 'echo "first $1"; exit 3\n')
    machine.add(f"{base}.extern/20-second", 'echo "second $1 $LOCATION"\n')
    machine.add(f"{base}.extern/30-not", "echo not\n", mode=0o644)
    (machine.directory / f"{base}.extern/40-directory").mkdir()
    done = machine.run(name, "4096")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout == f"local 4096\nfirst 4096\nsecond 4096 {ENVIRONMENT['LOCATION']}\n"


# The one that acts.


def test_the_cpus_of_a_failing_cache_are_taken_offline(machine: Machine) -> None:
    done = machine.run("cache-error-trigger", AFFECTED_CPUS="1 3")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert [machine.state(cpu) for cpu in (1, 2, 3)] == ["0", "1", "0"]
    assert machine.log() == [
        f"<-p><daemon.warning><-t><mcelog><--><CPU {cpu} was taken offline because of its failing cache>"
        for cpu in (1, 3)
    ]


def entries(machine: Machine) -> list[dict[str, str]]:
    """What was sent to the journal, field by field."""
    parts = machine.logged.read_text().split("<--journald>\n")[1:]
    return [dict(line.split("=", 1) for line in part.splitlines() if line) for part in parts]


def test_the_journal_is_told_with_fields(machine: Machine) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(machine.journal))
        assert machine.run("cache-error-trigger", AFFECTED_CPUS="0 1").returncode == 1
    failed, taken = entries(machine)
    every = {"SYSLOG_IDENTIFIER": "mcelog", "MCE_SOCKET": "1", "MCE_EVENT_ID": "42"}
    assert taken == every | {
        "MESSAGE_ID": message_ids.CPU_OFFLINED,
        "PRIORITY": "4",
        "MESSAGE": "CPU 1 was taken offline because of its failing cache",
        "MCE_CPU": "1",
    }
    assert failed == every | {
        "MESSAGE_ID": message_ids.CPU_OFFLINE_FAILED,
        "PRIORITY": "3",
        "MESSAGE": "CPU 0 has a failing cache and could not be taken offline: the kernel does not let it go",
        "MCE_CPU": "0",
        "MCE_ERROR": "the kernel does not let it go",
    }


def test_a_logger_that_does_not_know_the_journal_logs_plainly(machine: Machine) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as journal:
        journal.bind(str(machine.journal))
        assert machine.run("cache-error-trigger", AFFECTED_CPUS="1", NO_JOURNALD="1").returncode == 0
    assert machine.log()[-1].startswith("<-p><daemon.warning>")


def test_the_last_cpu_is_left_alone(machine: Machine) -> None:
    (machine.cpus / "online").write_text("2\n")
    assert machine.run("cache-error-trigger", AFFECTED_CPUS="2").returncode == 1
    assert machine.state(2) == "1"
    assert machine.log()[0].endswith("could not be taken offline: it is the last one>")


def test_a_cpu_that_is_offline_stays_so_without_a_word(machine: Machine) -> None:
    (machine.cpus / "cpu1/online").write_text("0\n")
    assert machine.run("cache-error-trigger", AFFECTED_CPUS="1").returncode == 0
    assert machine.log() == []


def test_a_cpu_that_does_not_exist(machine: Machine) -> None:
    assert machine.run("cache-error-trigger", AFFECTED_CPUS="9 1").returncode == 1
    assert not (machine.cpus / "cpu9").exists()
    assert machine.log()[0].endswith(
        "CPU 9 has a failing cache and could not be taken offline: there is no such CPU>"
    )
    assert machine.state(1) == "0"


def test_a_kernel_that_refuses(machine: Machine) -> None:
    """tee(1) says why, as the kernel puts it; root may write to any file, so it is played."""
    machine.program("tee", '#!/bin/sh\necho "tee: $1: Device or resource busy" >&2\nexit 1\n')
    assert machine.run("cache-error-trigger", AFFECTED_CPUS="1").returncode == 1
    assert machine.log()[0].endswith("could not be taken offline: Device or resource busy>")


def test_a_kernel_that_does_not_do_it_and_does_not_say_so(machine: Machine) -> None:
    machine.program("tee", "#!/bin/sh\ncat >/dev/null\n")
    assert machine.run("cache-error-trigger", AFFECTED_CPUS="1").returncode == 1
    assert machine.log()[0].endswith("could not be taken offline: it is still online>")


@pytest.mark.parametrize("cpus", ["unknown", "1;reboot", "-1", "../cpu1", "1,2", "$(touch x)", "*"])
def test_what_is_no_cpu_is_not_touched(machine: Machine, cpus: str) -> None:
    """The C program's script takes "unknown" for CPU 0."""
    done = machine.run("cache-error-trigger", AFFECTED_CPUS=cpus)
    assert (done.returncode, done.stderr) == (1, "")
    assert [machine.state(cpu) for cpu in (1, 2, 3)] == ["1", "1", "1"]
    assert "none was taken offline" in machine.log()[0]


def test_a_dry_run_says_what_it_would_do(machine: Machine) -> None:
    assert machine.run("cache-error-trigger", AFFECTED_CPUS="1", MCELOG_DRY_RUN="1").returncode == 0
    assert machine.state(1) == "1"
    assert machine.log()[0].endswith("would be taken offline (dry run)>")


def test_a_failure_is_not_hidden_by_the_local_script(machine: Machine) -> None:
    machine.add("cache-error-trigger.local", "echo local\n")
    done = machine.run("cache-error-trigger", AFFECTED_CPUS="0")
    assert (done.returncode, done.stdout) == (1, "local\n")


def test_without_cpus_there_is_nothing_to_do(machine: Machine) -> None:
    assert machine.run("cache-error-trigger").returncode == 0
    assert machine.log() == []
