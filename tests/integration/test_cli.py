# SPDX-License-Identifier: GPL-2.0-only
"""The command line: one-shot ways of running, options, and nonsense."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from mcelogd import __version__
from mcelogd.record import LENGTH

from .conftest import DEVICE_FIXTURES, Scratch, memory_error, run_mcelog

if TYPE_CHECKING:
    from pathlib import Path

NO_CONFIG = ("--config-file", "/dev/null")


def test_version_goes_where_the_c_program_puts_it() -> None:
    ended = run_mcelog("--version")
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", f"mcelog {__version__}\n")


def test_help_lists_the_cpus() -> None:
    ended = run_mcelog("--help")
    assert ended.returncode == 0
    assert "--max-corr-err-counters" in ended.stderr
    assert "Valid CPUs: generic k8" in ended.stderr


@pytest.mark.parametrize("option", ["--no-such-option", "-x", "--logfile", "--cpu=vax", "--record-length=7"])
def test_options_that_are_none(option: str) -> None:
    ended = run_mcelog(*NO_CONFIG, option)
    assert ended.returncode == 1
    assert ended.stderr.startswith("mcelog: ")
    assert "Traceback" not in ended.stderr


def test_options_may_be_shortened() -> None:
    assert run_mcelog("--vers").stderr == f"mcelog {__version__}\n"


def test_this_cpu_is_supported() -> None:
    assert run_mcelog(*NO_CONFIG, "--is-cpu-supported").returncode == 0


def test_a_file_of_records() -> None:
    ended = run_mcelog(*NO_CONFIG, str(DEVICE_FIXTURES / "icx_two_cpus.bin"))
    assert ended.returncode == 0, ended.stderr
    assert "MCE 0\nCPU 0 BANK " in ended.stdout
    assert "MCE 1\nCPU 1 BANK " in ended.stdout


def test_a_pipe_of_records_is_read_to_its_end() -> None:
    data = (DEVICE_FIXTURES / "nhm_full_overflow.bin").read_bytes()
    command = [sys.executable, "-m", "mcelogd", *NO_CONFIG, "/dev/stdin"]
    ended = subprocess.run(command, input=data, capture_output=True, check=False, timeout=20)
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count(b"\nMCE ") == len(data) // LENGTH


@pytest.mark.parametrize("length", [88, 112, 128, 136])
def test_records_of_other_kernels(tmp_path: Path, length: int) -> None:
    records = tmp_path / "records"
    records.write_bytes(b"".join(memory_error(n).ljust(length, b"\1")[:length] for n in (1, 2, 3)))
    ended = run_mcelog(*NO_CONFIG, "--record-length", str(length), str(records))
    assert ended.returncode == 0, ended.stderr
    assert [line for line in ended.stdout.splitlines() if line.startswith("MISC")] == [
        f"MISC 200000c086 ADDR {n}000 " for n in (1, 2, 3)
    ]


def test_a_binary_file_tells_its_record_length_by_its_size(tmp_path: Path) -> None:
    records = tmp_path / "mce-erst-1"
    records.write_bytes(memory_error(1)[:120])
    ended = run_mcelog(*NO_CONFIG, "--binary", str(records))
    assert ended.returncode == 0, ended.stderr
    assert ended.stdout.count("CPU 0 BANK 5") == 1


def test_a_cut_off_file_gives_its_whole_records_and_says_so(tmp_path: Path) -> None:
    records = tmp_path / "records"
    records.write_bytes(memory_error(1) + memory_error(2)[:100])
    ended = run_mcelog(*NO_CONFIG, str(records))
    assert ended.stdout.count("ADDR 1000") == 1
    assert "100 bytes at the end are no whole record" in ended.stderr
    assert ended.returncode == 1


def test_raw_text_decodes_to_the_same(tmp_path: Path) -> None:
    source = str(DEVICE_FIXTURES / "icx_cache_green_yellow.bin")
    raw = tmp_path / "raw"
    raw.write_text(run_mcelog(*NO_CONFIG, "--raw", source).stdout)
    again = run_mcelog("--ascii", "--raw", "--file", str(raw))
    assert again.returncode == 0, again.stderr
    assert again.stdout == raw.read_text()


def test_started_by_the_kernel(tmp_path: Path) -> None:
    """No descriptors, no environment, no terminal: the log file of mcelog.conf gets it."""
    config = tmp_path / "conf"
    log = tmp_path / "log"
    config.write_text(f"logfile = {log}\n")
    script = (
        "import os, sys; [os.close(fd) for fd in range(3)]; "
        "os.execve(sys.executable, [sys.executable, *sys.argv[1:]], {})"
    )
    command = ["-m", "mcelogd", "--config-file", str(config), str(DEVICE_FIXTURES / "icx_ucna.bin")]
    ended = subprocess.run([sys.executable, "-c", script, *command], check=False, timeout=20)
    assert ended.returncode == 0
    assert "Uncorrected error\n" in log.read_text()


def test_a_log_that_cannot_be_opened_ends_a_one_shot(tmp_path: Path) -> None:
    ended = run_mcelog(*NO_CONFIG, "--logfile", str(tmp_path), str(DEVICE_FIXTURES / "icx_ucna.bin"))
    assert ended.returncode == 1
    assert "cannot open logfile" in ended.stderr


def test_a_reader_that_has_had_enough() -> None:
    command = [sys.executable, "-m", "mcelogd", *NO_CONFIG, str(DEVICE_FIXTURES / "nhm_full_overflow.bin")]
    read, write = os.pipe()
    os.close(read)
    ended = subprocess.run(command, stdout=write, stderr=subprocess.PIPE, check=False, timeout=20)
    os.close(write)
    assert b"Traceback" not in ended.stderr


@pytest.mark.parametrize("arguments", [("--check-config",), ("--ascii", "--file"), ()])
def test_a_full_disk_behind_standard_output(arguments: tuple[str, ...], tmp_path: Path) -> None:
    """One line, never a traceback, and not a status that says all is well."""
    log = tmp_path / "log"
    log.write_text("CPU 0 BANK 5\nSTATUS 9c00004000010090\n")
    source = str(DEVICE_FIXTURES / "icx_ucna.bin") if not arguments else str(log)
    what = [*NO_CONFIG, *arguments] + ([] if arguments == ("--check-config",) else [source])
    with open("/dev/full", "w") as full:  # noqa: PTH123
        ended = run_mcelog(*what, capture_output=False, stdout=full, stderr=subprocess.PIPE)
    assert ended.returncode == 1
    assert ended.stderr.count("\n") == 1
    assert "No space left on device" in ended.stderr


def test_ascii_without_standard_output() -> None:
    script = "import os, sys; os.close(1); os.execv(sys.executable, [sys.executable, *sys.argv[1:]])"
    command = [sys.executable, "-c", script, "-m", "mcelogd", "--ascii", "--file", "/dev/null"]
    ended = subprocess.run(command, stderr=subprocess.PIPE, text=True, check=False, timeout=20)
    assert (ended.returncode, ended.stderr) == (1, "mcelog: there is no standard output to write to\n")


def test_known_bogus_errors_are_left_out_unless_asked_for(tmp_path: Path) -> None:
    """K8: a GART TLB walk error, northbridge extended code 5."""
    records = tmp_path / "records"
    records.write_bytes(memory_error(1, status=0xA00000000005001B, bank=4, cpuvendor=2, cpuid=0xF5A))
    assert run_mcelog(*NO_CONFIG, str(records)).stdout == ""
    assert "northbridge" in run_mcelog(*NO_CONFIG, "--no-filter", str(records)).stdout


def test_ascii_of_a_missing_file() -> None:
    ended = run_mcelog("--ascii", "--file", "/nonexistent")
    assert ended.returncode == 1
    assert ended.stderr == "mcelog: cannot open input file /nonexistent: No such file or directory\n"


def test_client_without_a_daemon(scratch: Scratch) -> None:
    ended = scratch.command("--client")
    assert ended.returncode != 0
    assert ended.stdout == ""
    assert ended.stderr.count("\n") == 1
    assert "No such file or directory" in ended.stderr


def test_check_config(scratch: Scratch) -> None:
    good = scratch.command("--check-config")
    assert good.returncode == 0
    assert "ce-error-threshold = 10 / 24h" in good.stdout
    scratch.config.write_text("[dimm]\nce-error-treshold = 1 / 24h\n")
    misspelt = scratch.command("--check-config")
    assert misspelt.returncode == 0
    assert "mcelog.conf:2" in misspelt.stderr
    assert "ce-error-threshold" in misspelt.stderr
    scratch.config.write_text("[dimm]\nce-error-threshold = many\n")
    bad = scratch.command("--check-config")
    assert bad.returncode == 1
    assert "mcelog.conf:2" in bad.stderr
