# SPDX-License-Identifier: GPL-2.0-only
"""Every setting: of the file, of the command line, or of both.

One row per setting; parsing, checking, getopt's table, `--help` and
`--check-config` follow from the row. `Settings.load(...).client_user` is
typed. A default is what the C program does without the option; None and
rate.NEVER stand for "not set".

Users and groups: one that does not exist gives `client-user` and
`client-group` their defaults (nobody but root) with a warning; for
`run-credentials-*` it stops the start, because going on would mean to keep
root's rights against the administrator's word.
"""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, TypeVar

from mcelogd.config import DEFAULT_FILE, DEFAULT_SOCKET, GLOBAL
from mcelogd.options import Alias, Command, Options, Setting
from mcelogd.rate import NEVER, Rate, parse_rate
from mcelogd.record import LENGTH
from mcelogd.values import (
    choice,
    integer,
    intel_cpu_name,
    parse_bool,
    parse_bus,
    parse_cpu,
    parse_group,
    parse_megahertz,
    parse_path,
    parse_rate_or_off,
    parse_record_length,
    parse_share,
    parse_socket_path,
    parse_trigger,
    parse_user,
    to_run_as,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    T = TypeVar("T")

DAEMON_LOGFILE = "/var/log/mcelog"
"""Where a daemon in the background logs that was given neither a log file nor syslog."""


class Syslog(enum.StrEnum):
    """What goes to syslog. AUTO: a daemon's remarks and errors, not the decoded records."""

    AUTO = "auto"
    YES = "yes"
    ERROR = "error"
    NEVER = "never"


class Smbios(enum.StrEnum):
    """Use of SMBIOS. AUTO: where the tables look sane; NO: not to decode; NEVER: nor to prepopulate DIMMs."""

    AUTO = "auto"
    YES = "yes"
    NO = "no"
    NEVER = "never"


class SourceKind(enum.StrEnum):
    """Where records come from. AUTO: the device where the kernel has it, else tracefs."""

    AUTO = "auto"
    DEVICE = "device"
    TRACEFS = "tracefs"


class PageAction(enum.StrEnum):
    """What is done about a page whose corrected errors exceed the threshold."""

    OFF = "off"
    ACCOUNT = "account"
    SOFT = "soft"
    HARD = "hard"
    SOFT_THEN_HARD = "soft-then-hard"


class RowAction(enum.StrEnum):
    """What is done about the known pages of a failing DRAM row."""

    OFF = "off"
    ACCOUNT = "account"
    SOFT = "soft"


def _option(
    name: str,
    metavar: str,
    parse: Callable[[str], T],
    default: T,
    help: str,
    *,
    ours: bool = False,
    in_file: bool = True,
    aliases: tuple[Alias, ...] = (),
) -> Setting[T]:
    """The row of a long option, with an argument if `metavar` names one."""
    return Setting(
        GLOBAL,
        name,
        parse,
        default,
        help,
        metavar=metavar,
        cli=True,
        ours=ours,
        in_file=in_file,
        aliases=aliases,
    )


def _switch(name: str, help: str, *, ours: bool = False, aliases: tuple[Alias, ...] = ()) -> Setting[bool]:
    """The row of a flag that is off by default."""
    return _option(name, "", parse_bool, False, help, ours=ours, aliases=aliases)


def _trigger(section: str, name: str, when: str, *, ours: bool = False) -> Setting[str | None]:
    return Setting(section, name, parse_trigger, None, f"Program to run {when}", ours=ours)


def _threshold(section: str, name: str, what: str) -> Setting[Rate]:
    return Setting(section, name, parse_rate, NEVER, f"How many {what} are too many")


def _log(section: str, name: str, *, default: bool = False, ours: bool = False) -> Setting[bool]:
    return Setting(
        section, name, parse_bool, default, "Whether to log when that threshold is crossed", ours=ours
    )


class Settings(Options):
    """The table of settings."""

    cpu = _option(
        "cpu",
        "CPU",
        parse_cpu,
        None,
        "Decode for this CPU type (see below), not the record's",
        aliases=(
            Alias("intel-cpu", intel_cpu_name, "Decode for the Intel CPU with this cpuid", "FAMILY,MODEL"),
            Alias("k8", "k8", "Decode for an AMD K8"),
            Alias("p4", "p4", "Decode for an Intel Pentium 4"),
            Alias("core2", "core2", "Decode for an Intel Core 2"),
            Alias("generic", "generic", "Decode what all CPUs have in common"),
        ),
    )
    cpumhz = _option(
        "cpumhz", "MHZ", parse_megahertz, None, "Clock for times from the TSC (old kernels only)"
    )
    raw = _switch(
        "raw",
        "Print the registers undecoded, for other programs",
        aliases=(Alias("dump-raw-ascii", "yes"),),
    )
    daemon = _switch("daemon", "Stay in the background and wait for records")
    foreground = _switch("foreground", "With --daemon: stay in the foreground")
    pidfile = _option(
        "pidfile", "FILE", parse_path, "/run/mcelog.pid", "With --daemon: file for its process id"
    )
    ignorenodev = _switch("ignorenodev", "Exit silently when the device cannot be opened")
    binary = _switch("binary", "The device is a file of binary records, as pstore keeps them")
    file = _option("file", "FILE", parse_path, None, "With --ascii: the log, instead of standard input")
    logfile = _option("logfile", "FILE", parse_path, None, "Append decoded records to this file")
    syslog = _option(
        "syslog",
        "",
        choice(Syslog, yes=Syslog.YES, no=Syslog.AUTO),
        Syslog.AUTO,
        "Write decoded records to syslog",
        aliases=(
            Alias("syslog-error", "error", "Write decoded records to syslog as errors"),
            Alias("no-syslog", "never", "Write nothing to syslog"),
        ),
    )
    dmi = _option(
        "dmi",
        "",
        choice(Smbios, yes=Smbios.YES, no=Smbios.NO),
        Smbios.AUTO,
        "Name DIMMs by SMBIOS (needs root)",
        aliases=(Alias("no-dmi", "never", "Do not read SMBIOS"),),
    )
    dmi_verbose = _option("dmi-verbose", "LEVEL", integer(0), 0, "Show what SMBIOS says, 4 is most")
    filter = _option(
        "filter",
        "",
        parse_bool,
        True,
        "Leave out events known to be bogus (default)",
        aliases=(Alias("no-filter", "no", "Show events known to be bogus too"),),
    )
    filter_memory_errors = Setting(
        GLOBAL, "filter-memory-errors", parse_bool, False, "Count memory errors, do not log each"
    )
    config_file = _option(
        "config-file", "FILE", parse_path, DEFAULT_FILE, f"Settings, instead of {DEFAULT_FILE}", in_file=False
    )
    num_errors = _option("num-errors", "N", integer(0), 0, "End after N records (for tests; 0: never)")
    debug_numerrors = _switch("debug-numerrors", "End after one read once --num-errors are done (for tests)")
    no_imc_log = _switch("no-imc-log", "Do not switch on the memory controller's extended logging")
    max_corr_err_counters = _option(
        "max-corr-err-counters", "N", integer(1), 4158, "Most pages whose corrected errors are counted"
    )
    run_credentials_user = Setting(
        GLOBAL, "run-credentials-user", to_run_as(parse_user), None, "User the daemon becomes once set up"
    )
    run_credentials_group = Setting(
        GLOBAL,
        "run-credentials-group",
        to_run_as(parse_group),
        None,
        "Group it becomes (not set: the user's)",
    )
    source = _option(
        "source",
        "SOURCE",
        choice(SourceKind),
        SourceKind.AUTO,
        "Read from auto, device or tracefs",
        ours=True,
    )
    tracefs_root = _option(
        "tracefs-root", "DIR", parse_path, "/sys/kernel/tracing", "Where tracefs is mounted", ours=True
    )
    trace_buffer_size = Setting(
        GLOBAL,
        "trace-buffer-size",
        integer(4, 1 << 20),
        256,
        "KiB for each CPU in which the kernel keeps records that were not read yet",
        ours=True,
    )
    json = _option(
        "json", "", parse_bool, False, "Print decoded records as JSON, one a line", ours=True, in_file=False
    )
    record_length = _option(
        "record-length", "N", parse_record_length, LENGTH, "Bytes of a record in a FIFO or file", ours=True
    )
    root = _option(
        "root", "DIR", parse_path, "/", "With --doctor: look at the system in DIR", ours=True, in_file=False
    )
    state_dir = _option(
        "state-dir", "DIR", parse_path, "/var/lib/mcelog", "Where counters and records are kept", ours=True
    )
    sysfs_root = _option("sysfs-root", "DIR", parse_path, "/sys", "Where sysfs is mounted", ours=True)
    dmi_table = _option(
        "dmi-table", "FILE", parse_path, None, "SMBIOS table, instead of the running system's", ours=True
    )
    bus = _option("bus", "BUS", parse_bus, "system", "D-Bus: system, session, none or an address", ours=True)
    journal_socket = _option(
        "journal-socket",
        "FILE",
        parse_path,
        "/run/systemd/journal/socket",
        "Where journald listens",
        ours=True,
    )
    dimm_labels = _option(
        "dimm-labels",
        "FILE",
        parse_path,
        "/etc/mcelog/dimm-labels.conf",
        "Your own names of DIMMs",
        ours=True,
    )
    store_max_age = Setting(
        GLOBAL, "store-max-age", integer(0), 365, "Days that records are kept; 0: no limit", ours=True
    )
    store_max_size = Setting(
        GLOBAL, "store-max-size", integer(0), 256, "Megabytes of records kept; 0: no limit", ours=True
    )
    earlier_records = Setting(
        GLOBAL, "earlier-records", parse_bool, True, "Find records of before", ours=True
    )
    earlier_journal = Setting(GLOBAL, "earlier-journal", parse_path, None, "Journal to look in", ours=True)
    earlier_pstore = Setting(GLOBAL, "earlier-pstore", parse_path, None, "Pstore to look in", ours=True)
    storm_threshold = Setting(
        GLOBAL,
        "storm-threshold",
        parse_rate_or_off,
        Rate(20, 10),
        "Errors of one kind and place that are logged one by one",
        ours=True,
    )
    storm_summary_seconds = Setting(
        GLOBAL, "storm-summary-seconds", integer(1), 60, "How often a storm is summed up", ours=True
    )
    dry_run = _switch("dry-run", "Say what would be done to pages and CPUs, do not do it", ours=True)

    client_user = Setting(
        "server", "client-user", parse_user, 0, "User who may query the daemon; * for any", or_default=True
    )
    client_group = Setting(
        "server", "client-group", parse_group, None, "Group who may too; * for any", or_default=True
    )
    socket_path = Setting(
        "server", "socket-path", parse_socket_path, DEFAULT_SOCKET, "Socket for queries; empty for none"
    )
    initial_ping_timeout = Setting(
        "server", "initial-ping-timeout", integer(0), 2, "Seconds to wait for an answer of another daemon"
    )
    # Not the C program's 10: a hundred clients at once are to be served.
    listen_backlog = Setting("server", "listen-backlog", integer(0), 128, "Connections waiting at once")

    dimm_tracking_enabled = Setting(
        "dimm", "dimm-tracking-enabled", parse_bool, None, "Count errors per DIMM (not set: if the CPU can)"
    )
    dmi_prepopulate = Setting("dimm", "dmi-prepopulate", parse_bool, True, "List the DIMMs that SMBIOS names")
    uc_error_threshold = _threshold("dimm", "uc-error-threshold", "uncorrected errors of a DIMM")
    uc_error_trigger = _trigger("dimm", "uc-error-trigger", "at uc-error-threshold")
    uc_error_log = _log("dimm", "uc-error-log")
    ce_error_threshold = _threshold("dimm", "ce-error-threshold", "corrected errors of a DIMM")
    ce_error_trigger = _trigger("dimm", "ce-error-trigger", "at ce-error-threshold")
    ce_error_log = _log("dimm", "ce-error-log")

    socket_tracking_enabled = Setting(
        "socket",
        "socket-tracking-enabled",
        parse_bool,
        None,
        "Count memory errors per socket (not set: as above)",
    )
    mem_uc_error_threshold = _threshold("socket", "mem-uc-error-threshold", "uncorrected memory errors")
    mem_uc_error_trigger = _trigger("socket", "mem-uc-error-trigger", "at mem-uc-error-threshold")
    mem_uc_error_log = _log("socket", "mem-uc-error-log")
    mem_ce_error_threshold = _threshold("socket", "mem-ce-error-threshold", "corrected memory errors")
    mem_ce_error_trigger = _trigger("socket", "mem-ce-error-trigger", "at mem-ce-error-threshold")
    mem_ce_error_log = _log("socket", "mem-ce-error-log")
    bus_trigger = _trigger("socket", "bus-uc-threshold-trigger", "at a bus error")
    iomca_trigger = _trigger("socket", "iomca-threshold-trigger", "at an I/O error")
    unknown_trigger = _trigger("socket", "unknown-threshold-trigger", "at an error of no other class")

    cache_threshold_trigger = _trigger(
        "cache", "cache-threshold-trigger", "when the CPU says a cache wears out"
    )
    cache_threshold_log = _log("cache", "cache-threshold-log", default=True)

    memory_ce_threshold = _threshold("page", "memory-ce-threshold", "corrected errors of a page")
    memory_ce_trigger = _trigger("page", "memory-ce-trigger", "at memory-ce-threshold")
    memory_ce_log = _log("page", "memory-ce-log")
    memory_ce_action = Setting(
        "page",
        "memory-ce-action",
        choice(PageAction, no=PageAction.OFF),
        PageAction.OFF,
        "What to do about it",
    )
    memory_ce_offline_retry = Setting(
        "page", "memory-ce-offline-retry", parse_bool, False, "Retry off-lining at twice the errors each time"
    )
    pre_soft_trigger = _trigger("page", "memory-pre-sync-soft-ce-trigger", "before soft off-lining")
    post_soft_trigger = _trigger("page", "memory-post-sync-soft-ce-trigger", "after soft off-lining")
    counter_replacement_threshold = _threshold(
        "page", "memory-ce-counter-replacement-threshold", "pages whose counter made room for another's"
    )
    counter_replacement_trigger = _trigger(
        "page", "memory-ce-counter-replacement-trigger", "at memory-ce-counter-replacement-threshold"
    )
    counter_replacement_log = _log("page", "memory-ce-counter-replacement-log")
    row_ce_action = Setting(
        "page",
        "row-ce-action",
        choice(RowAction, no=RowAction.OFF),
        RowAction.OFF,
        "What to do about the known pages of a failing DRAM row",
        ours=True,
    )
    row_ce_threshold = Setting(
        "page", "row-ce-threshold", parse_rate, Rate(3, 86400, "h"), "Corrected errors of a row", ours=True
    )
    offline_max_per_day = Setting(
        "page",
        "memory-offline-max-per-day",
        integer(0),
        32,
        "Most pages off-lined in a day; 0: any number",
        ours=True,
    )
    offline_max = Setting(
        "page", "memory-offline-max", integer(0), 512, "Most pages off-lined in all; 0: any number", ours=True
    )
    offline_max_share = Setting(
        "page",
        "memory-offline-max-share",
        parse_share,
        0.001,
        "Most of the memory off-lined in all; 0%: any",
        ours=True,
    )
    offline_huge_pages = Setting(
        "page",
        "memory-offline-huge-pages",
        parse_bool,
        False,
        "Off-line pages of hugetlbfs, each at the cost of a huge page",
        ours=True,
    )
    offline_again = Setting(
        "page",
        "memory-offline-again",
        parse_bool,
        False,
        "After a reboot, off-line the pages off-lined before",
        ours=True,
    )

    core_ce_error_threshold = Setting(
        "core",
        "core-ce-error-threshold",
        parse_rate_or_off,
        Rate(18, 86400, "h"),
        "Corrected errors of a CPU core that are not memory's",
        ours=True,
    )
    core_ce_error_trigger = _trigger("core", "core-ce-error-trigger", "at core-ce-error-threshold", ours=True)
    core_ce_error_log = _log("core", "core-ce-error-log", ours=True)

    children_max = Setting("trigger", "children-max", integer(-1), 4, "Most triggers at once; 0: any number")
    trigger_directory = Setting("trigger", "directory", parse_path, None, "Where triggers are and run")
    trigger_seconds = Setting(
        "trigger", "time-limit", integer(1), 60, "Seconds after which a trigger is ended", ours=True
    )

    commands = (
        Command("ascii", "Decode a kernel log, from standard input or --file"),
        Command("client", "Ask the running daemon for the errors it counted"),
        Command("ping", "Ask the running daemon for a sign of life"),
        Command("is-cpu-supported", "Exit with 0 if this CPU's errors can be decoded, else 1"),
        Command("version", "Print the version"),
        Command("help", "Print this"),
        Command("history", "Show what DIMMs that were replaced had counted", ours=True),
        Command(
            "replaced", "Tell the daemon that the DIMM SOCKET/CHANNEL/DIMM is another one now", ours=True
        ),
        Command("acquit", "Tell it that the DIMM SOCKET/CHANNEL/DIMM is sound", ours=True),
        Command("doctor", "Say what keeps errors from being logged, and the remedy", ours=True),
        Command("imc-log", "Switch on what --no-imc-log leaves alone; mcelog.service runs it", ours=True),
        Command("prepare-source", "Have the kernel buffer machine checks; mcelog.service runs it", ours=True),
        Command("cleanup", "Undo that: remove the buffers, and what is in them", ours=True),
        Command("inject-self-test", "Inject one harmless record; mcelogctl self-test runs it", ours=True),
        Command("check-config", "Check the settings, print those in effect", ours=True),
    )


SYNOPSIS = """\
Usage:

  mcelog [options]  [mcelogdevice]
Decode the machine checks that the kernel holds now.

  mcelog [options] --daemon
Stay, and decode and count machine checks as they come.

  mcelog [options] --client
Show the errors that the running daemon counted.

  mcelog [options] --ascii < log
  mcelog [options] --ascii --file log
Decode machine checks in a kernel's log or panic text.
"""


def usage() -> str:
    """The text of `--help`."""
    from mcelogd import cpu

    parts = [
        SYNOPSIS,
        "Options:\n" + "".join(_help_lines(ours=False)),
        "Not in the C program:\n" + "".join(_help_lines(ours=True)),
        f"Valid CPUs: {' '.join(cpu.names(new=False))}\nand: {' '.join(cpu.names(new=True))}\n",
    ]
    return "\n".join(parts)


def _help_lines(*, ours: bool) -> Iterator[str]:
    for command in Settings.commands:
        if command.ours is ours:
            yield _help_line(f"--{command.name}", command.help)
    for row in Settings.rows:
        for spelling in row.spellings if row.cli and row.ours is ours else ():
            if spelling.help:
                yield _help_line(f"--{spelling.name} {spelling.metavar}".rstrip(), spelling.help)


def _help_line(option: str, help: str) -> str:
    return f"{option:<19} {help}\n"
