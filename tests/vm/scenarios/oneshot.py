# SPDX-License-Identifier: GPL-2.0-only
"""Without a daemon: by hand, by timer, and started by the kernel itself."""

from __future__ import annotations

from guest import mce, service
from guest.clean import TRIGGER
from guest.journal import entries, wait_for_entries
from guest.registry import scenario
from guest.service import PROGRAM
from guest.shell import run, wait_for

STATUS_WORDS = "STATUS 8c00004000010090"


@scenario()
def prints_and_empties_the_log() -> None:
    """mcelog prints what there is, once."""
    mce.inject(mce.RECORD, "--count", "3", "--step", "addr=4096")
    text = run(PROGRAM).stdout
    assert text.count(STATUS_WORDS) == 3, text
    assert [line for line in text.splitlines() if "ADDR 4c0002000" in line], text
    second = run(PROGRAM)
    assert (second.returncode, second.stdout, second.stderr) == (0, "", "")


@scenario()
def names_the_missing_source() -> None:
    """Nothing to read from: one line that says so, status 1; --ignorenodev is silent."""
    with mce.no_source():
        plain = run(PROGRAM, check=False)
        ignoring = run(PROGRAM, "--ignorenodev", check=False)
    assert plain.returncode == 1
    assert len(plain.stderr.strip().splitlines()) == 1
    assert "/dev/mcelog" in plain.stderr
    assert (ignoring.returncode, ignoring.stdout, ignoring.stderr) == (0, "", "")


@scenario()
def service_logs_to_journal() -> None:
    """The timer's service decodes into the journal."""
    mce.inject(mce.RECORD)
    service.start("mcelog-oneshot.service")
    wait_for_entries("_SYSTEMD_UNIT=mcelog-oneshot.service")
    text = "\n".join(str(entry["MESSAGE"]) for entry in entries("_SYSTEMD_UNIT=mcelog-oneshot.service"))
    assert STATUS_WORDS in text, text


@scenario(device=True)
def kernel_trigger() -> None:
    """Started by the kernel: no PATH, no environment, no open files; the text goes to syslog."""
    TRIGGER.write_text(PROGRAM)
    mce.inject(mce.RECORD)
    wait_for(lambda: _in_syslog(STATUS_WORDS), "the decoded record in the journal, by syslog", 40)


@scenario(device=True)
def kernel_trigger_with_log_file() -> None:
    """Started by the kernel with a log file configured."""
    service.configure(f"logfile = {service.LOGFILE}")
    TRIGGER.write_text(PROGRAM)
    mce.inject(mce.RECORD)
    wait_for(
        lambda: service.LOGFILE.exists() and STATUS_WORDS in service.LOGFILE.read_text(), "the log file", 40
    )


def _in_syslog(words: str) -> bool:
    return any(
        words in str(entry["MESSAGE"]) for entry in entries("SYSLOG_IDENTIFIER=mcelog", "_TRANSPORT=syslog")
    )
