# SPDX-License-Identifier: GPL-2.0-only
"""The table of settings, what is derived from it, and the shipped mcelog.conf."""

from __future__ import annotations

import getopt
import os
import re
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd import cpu
from mcelogd.config import ConfigError, load, parse
from mcelogd.options import COMMAND_LINE, DEFAULT, Alias, Options, Setting
from mcelogd.rate import NEVER, Rate
from mcelogd.settings import PageAction, RowAction, Settings, Smbios, SourceKind, Syslog, usage
from mcelogd.values import ANYONE, integer

SHIPPED = Path(__file__).parents[2] / "data" / "mcelog.conf"

V208_FLAGS = """
    binary core2 daemon debug-numerrors dmi dump-raw-ascii filter foreground generic ignorenodev k8
    no-dmi no-filter no-imc-log no-syslog p4 raw syslog syslog-error
"""
V208_WITH_ARGUMENT = """
    config-file cpu cpumhz dmi-verbose file intel-cpu logfile max-corr-err-counters num-errors pidfile
"""
V208_COMMANDS = "ascii client help is-cpu-supported ping version"
V208_FILE = {
    "global": "filter-memory-errors run-credentials-user run-credentials-group",
    "server": "client-user client-group socket-path initial-ping-timeout listen-backlog",
    "dimm": """dimm-tracking-enabled dmi-prepopulate uc-error-trigger uc-error-threshold uc-error-log
        ce-error-trigger ce-error-threshold ce-error-log""",
    "socket": """socket-tracking-enabled mem-uc-error-trigger mem-uc-error-threshold mem-uc-error-log
        mem-ce-error-trigger mem-ce-error-threshold mem-ce-error-log bus-uc-threshold-trigger
        iomca-threshold-trigger unknown-threshold-trigger""",
    "cache": "cache-threshold-trigger cache-threshold-log",
    "page": """memory-ce-threshold memory-ce-trigger memory-ce-log memory-ce-action memory-ce-offline-retry
        memory-pre-sync-soft-ce-trigger memory-post-sync-soft-ce-trigger
        memory-ce-counter-replacement-threshold memory-ce-counter-replacement-trigger
        memory-ce-counter-replacement-log""",
    "trigger": "children-max directory",
}
V208_SET_AS_SHIPPED = {
    "filter": True,
    "client-user": 0,
    "dimm-tracking-enabled": True,
    "dmi-prepopulate": True,
    "uc-error-threshold": Rate(1, 86400, "h"),
    "ce-error-threshold": Rate(10, 86400, "h"),
    "socket-tracking-enabled": True,
    "mem-uc-error-threshold": Rate(100, 86400, "h"),
    "mem-ce-error-trigger": "socket-memory-error-trigger",
    "mem-ce-error-threshold": Rate(100, 86400, "h"),
    "mem-ce-error-log": True,
    "bus-uc-threshold-trigger": "bus-error-trigger",
    "iomca-threshold-trigger": "iomca-error-trigger",
    "unknown-threshold-trigger": "unknown-error-trigger",
    "cache-threshold-trigger": "cache-error-trigger",
    "cache-threshold-log": True,
    "memory-ce-threshold": Rate(2, 86400, "h"),
    "memory-ce-offline-retry": True,
    "memory-ce-counter-replacement-threshold": Rate(20, 86400, "h"),
    "memory-ce-counter-replacement-trigger": "page-error-counter-replacement-trigger",
    "memory-ce-log": True,
    "memory-ce-action": "soft",
    "memory-pre-sync-soft-ce-trigger": "page-error-pre-sync-soft-trigger",
    "memory-post-sync-soft-ce-trigger": "page-error-post-sync-soft-trigger",
    "children-max": 2,
    "directory": "/etc/mcelog",
}


def read(text: str, **overrides: str | None) -> Settings:
    named = {name.replace("_", "-"): value for name, value in overrides.items()}
    return Settings.load(parse(text, "mcelog.conf"), named)


def warnings(text: str) -> list[str]:
    return [str(warning) for warning in read(text).warnings]


# --- the table


def test_rows_have_distinct_names_and_sections_stand_together() -> None:
    names = [spelling.name for row in Settings.rows for spelling in row.spellings] + Settings.command_names()
    assert sorted(names) == sorted(set(names))
    sections = [row.section for row in Settings.rows]
    runs = [here for here, before in zip(sections, [None, *sections], strict=False) if here != before]
    assert runs == ["global", "server", "dimm", "socket", "cache", "page", "core", "trigger"]


def test_every_row_has_a_line_of_help() -> None:
    assert [row.name for row in Settings.rows if not row.help.isprintable() or len(row.help) < 9] == []


def test_defaults_parse_to_themselves() -> None:
    defaults = Settings.load()
    again = read("\n".join(defaults.describe()))
    differ = {name for name, value in again.values.items() if value.value != defaults.values[name].value}
    assert differ == set()


def test_every_option_of_v208_is_there() -> None:
    options = Settings.long_options()
    theirs = {spelling.name for row in Settings.rows if not row.ours for spelling in row.spellings}
    assert {name for name in options if name.removesuffix("=") in theirs} == {
        *V208_FLAGS.split(),
        *(f"{name}=" for name in V208_WITH_ARGUMENT.split()),
    }
    assert {c.name for c in Settings.commands if not c.ours} == set(V208_COMMANDS.split())
    in_file = {
        section: {
            row.name for row in Settings.rows if row.section == section and not row.cli and not row.ours
        }
        for section in V208_FILE
    }
    assert in_file == {section: set(names.split()) for section, names in V208_FILE.items()}


def test_getopt_takes_the_table() -> None:
    names = Settings.long_options() + Settings.command_names()
    line = "--daemon --cpu=k8 /dev/x --logfile= --filter --client --conf y --no-filter"
    options, rest = getopt.gnu_getopt(line.split(), "", names)
    assert rest == ["/dev/x"]
    assert list(Settings.overrides(options).items()) == [
        ("daemon", None),
        ("cpu", "k8"),
        ("logfile", ""),
        ("filter", None),
        ("config-file", "y"),
        ("no-filter", None),
    ]


def test_usage_names_everything_ours_apart() -> None:
    theirs, _, ours = usage().partition("Not in the C program:\n")
    hidden = {"dump-raw-ascii"}
    shown = set(re.findall(r"^--([a-z0-9-]+)", theirs, re.MULTILINE))
    assert shown == {*V208_FLAGS.split(), *V208_WITH_ARGUMENT.split(), *V208_COMMANDS.split()} - hidden
    shown = set(re.findall(r"^--([a-z0-9-]+)", ours, re.MULTILINE))
    commands = {command.name for command in Settings.commands if command.ours}
    assert shown == {row.name for row in Settings.rows if row.ours and row.cli} | commands
    assert "--version           Print the version\n" in theirs
    valid = f"Valid CPUs: {' '.join(cpu.names(new=False))}\nand: {' '.join(cpu.names(new=True))}\n"
    assert ours.endswith("\n\n" + valid)


def test_a_setting_is_one_row() -> None:
    class Mine(Options):
        depth = Setting("queue", "queue-depth", integer(1), 8, "How deep", aliases=(Alias("deep", "100"),))

    assert Mine.load().depth == 8
    assert Mine.load(parse("[queue]\nqueue-depth = 9\n", "x")).depth == 9
    assert Mine.load(overrides={"deep": None}).depth == 100
    assert [str(w) for w in Mine.load(parse("[queue]\nqueue-dept = 9\n", "x")).warnings] == [
        'x:2: unknown option "queue-dept", ignored; did you mean "queue-depth"?'
    ]


# --- values


def test_defaults_are_what_the_c_program_does_without_a_file() -> None:
    settings = Settings.load()
    assert (settings.filter, settings.raw, settings.daemon, settings.logfile) == (True, False, False, None)
    assert (settings.syslog, settings.dmi, settings.source) == (Syslog.AUTO, Smbios.AUTO, SourceKind.AUTO)
    assert (settings.client_user, settings.client_group) == (0, None)
    assert (settings.socket_path, settings.listen_backlog) == ("/run/mcelog-client", 128)
    assert (settings.ce_error_threshold, settings.memory_ce_threshold) == (NEVER, NEVER)
    assert (settings.dimm_tracking_enabled, settings.socket_tracking_enabled) == (None, None)
    assert (settings.memory_ce_action, settings.row_ce_action) == (PageAction.OFF, RowAction.OFF)
    assert (settings.children_max, settings.max_corr_err_counters) == (4, 4158)
    assert (settings.run_credentials_user, settings.trigger_directory) == (None, None)
    assert (settings.cache_threshold_log, settings.memory_ce_log) == (True, False)
    assert (settings.record_length, settings.state_dir, settings.bus) == (128, "/var/lib/mcelog", "system")
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("text", "name", "value"),
    [
        ("raw = YES", "raw", True),
        ("raw = on", "raw", True),
        ("filter = 0", "filter", False),
        ("filter = no", "filter", False),
        ("no-filter = yes", "filter", False),
        ("no-filter = no", "filter", True),
        ("dump-raw-ascii = yes", "raw", True),
        ("cpu = K8", "cpu", cpu.K8),
        ("k8 = yes", "cpu", cpu.K8),
        ("k8 = no", "cpu", None),
        ("intel-cpu = 6,0x3f", "cpu", cpu.by_name("haswell-ep")),
        ("intel-cpu = 6,250", "cpu", cpu.INTEL),
        ("cpumhz = 1800.00", "cpumhz", 1800.0),
        ("syslog = yes", "syslog", Syslog.YES),
        ("syslog = no", "syslog", Syslog.AUTO),
        ("syslog-error = yes", "syslog", Syslog.ERROR),
        ("no-syslog = yes", "syslog", Syslog.NEVER),
        ("no-syslog = no", "syslog", Syslog.AUTO),
        ("syslog = yes\nno-syslog = no", "syslog", Syslog.YES),
        ("dmi = no", "dmi", Smbios.NO),
        ("no-dmi = yes", "dmi", Smbios.NEVER),
        ("dmi-verbose = 0x3", "dmi-verbose", 3),
        ("num-errors = 3", "num-errors", 3),
        ("record-length = 88", "record-length", 88),
        ("bus = SESSION", "bus", "session"),
        ("bus = unix:path=/run/x", "bus", "unix:path=/run/x"),
        ("source = tracefs", "source", "tracefs"),
        ("run-credentials-user = root", "run-credentials-user", 0),
        ("run-credentials-user = *", "run-credentials-user", None),
        ("run-credentials-group = 1234", "run-credentials-group", 1234),
        ("[server]\nclient-user = *", "client-user", ANYONE),
        ("[server]\nclient-user = 1000", "client-user", 1000),
        ("[server]\nclient-group = root", "client-group", 0),
        ("[server]\nsocket-path =", "socket-path", ""),
        ("[dimm]\nce-error-threshold = 1k/1d", "ce-error-threshold", Rate(1000, 86400, "d")),
        ("[dimm]\nce-error-trigger = x", "ce-error-trigger", "x"),
        ("[dimm]\nce-error-trigger =", "ce-error-trigger", None),
        ("[page]\nmemory-ce-action = Soft-Then-Hard", "memory-ce-action", PageAction.SOFT_THEN_HARD),
        ("[page]\nmemory-ce-action = off", "memory-ce-action", PageAction.OFF),
        ("[page]\nrow-ce-action = account", "row-ce-action", RowAction.ACCOUNT),
        ("[trigger]\nchildren-max = 0", "children-max", 0),
    ],
)
def test_values(text: str, name: str, value: object) -> None:
    settings = read(text)
    assert settings.values[name].value == value
    assert settings.warnings == ()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("raw = maybe", '1: raw = "maybe": neither yes nor no (yes, true, 1, on, no, false, 0, off)'),
        ("k8 = 2", '1: k8 = "2": neither yes nor no (yes, true, 1, on, no, false, 0, off)'),
        (
            "cpu = hasswell",
            '1: cpu = "hasswell": none of the CPU types that mcelog --help lists; did you mean "haswell"?',
        ),
        ("intel-cpu = 6", '1: intel-cpu = "6": not "FAMILY,MODEL" such as 6,0x3f'),
        ("intel-cpu = 4,1", '1: intel-cpu = "4,1": no Intel CPU of family 4 is known'),
        ("cpumhz = fast", '1: cpumhz = "fast": not a frequency in MHz such as 1800.00'),
        ("cpumhz = nan", '1: cpumhz = "nan": not a frequency in MHz such as 1800.00'),
        ("cpumhz = -1", '1: cpumhz = "-1": not a frequency in MHz such as 1800.00'),
        ("syslog = loud", '1: syslog = "loud": none of auto, yes, error, never'),
        ("num-errors = 3x", '1: num-errors = "3x": not a whole number from 0 to 2147483647'),
        ("num-errors = 1_0", '1: num-errors = "1_0": not a whole number from 0 to 2147483647'),
        ("num-errors = ٣", '1: num-errors = "٣": not a whole number from 0 to 2147483647'),
        ("logfile =", '1: logfile = "": a path is needed'),
        (
            "bus = mine",
            '1: bus = "mine": none of system, session, none, or a D-Bus address such as unix:path=/run/bus',
        ),
        (
            "record-length = 10",
            '1: record-length = "10": record length 10: the kernel\'s struct mce has 72 to 128',
        ),
        (
            "run-credentials-user = no-one-here",
            '1: run-credentials-user = "no-one-here": this system has no such user',
        ),
        ("[server]\nlisten-backlog = -1", '2: [server] listen-backlog = "-1": not a whole number from 0'),
        ("[server]\nsocket-path = " + "x" * 108, "2: [server] socket-path = "),
        (
            "\n[dimm]\nce-error-threshold = ten",
            '3: [dimm] ce-error-threshold = "ten": not a rate: "COUNT / TIME"',
        ),
        (
            "[page]\nmemory-ce-action = kill",
            '2: [page] memory-ce-action = "kill": none of off, account, soft, hard,',
        ),
    ],
)
def test_a_value_that_cannot_be_parsed_stops_the_start(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=f"^mcelog.conf:{re.escape(message)}"):
        read(text)


@pytest.mark.parametrize("option", ["client-user", "client-group"])
def test_an_unknown_client_is_nobody(option: str) -> None:
    settings = read(f"[server]\n{option} = no-one-here\n")
    assert (settings.client_user, settings.client_group) == (0, None)
    (warning,) = settings.warnings
    kind = option.removeprefix("client-")
    reason = f'"no-one-here": this system has no such {kind}; this counts as not set'
    assert str(warning) == f"mcelog.conf:2: [server] {option} = {reason}"
    assert settings.values[option].origin == DEFAULT


def test_one_setting_can_be_read_from_a_file_with_errors() -> None:
    config = parse(
        "cpumhz = fast\n[server]\nsocket-path = /run/x\nclient-user = no-one-here\n", "mcelog.conf"
    )
    assert Settings.socket_path.read(config) == "/run/x"
    assert Settings.client_user.read(config) == 0
    assert Settings.listen_backlog.read(config) == 128
    with pytest.raises(ConfigError):
        Settings.cpumhz.read(config)


def test_settings_cannot_be_changed() -> None:
    settings = Settings.load()
    with pytest.raises(AttributeError):
        settings.raw = True  # type: ignore[assignment]


# --- the command line


def test_the_command_line_overrides_the_file() -> None:
    settings = read(
        "filter = yes\nlogfile = /a\nno-syslog = yes\n", no_filter=None, logfile="/b", syslog_error=None
    )
    assert (settings.filter, settings.logfile, settings.syslog) == (False, "/b", Syslog.ERROR)
    assert settings.values["filter"].origin == COMMAND_LINE
    assert read("no-filter = yes\n", filter=None).filter is True


def test_the_last_of_the_command_line_counts() -> None:
    assert read("", filter=None, no_filter=None).filter is False
    assert read("", no_filter=None, filter=None).filter is True
    assert read("", cpu="haswell", k8=None).cpu == cpu.K8
    assert read("", k8=None, cpu="p4").cpu == cpu.P4
    again = [("--filter", ""), ("--no-filter", ""), ("--filter", "")]
    assert Settings.load(overrides=Settings.overrides(again)).filter is True


def test_errors_of_the_command_line_name_the_option() -> None:
    with pytest.raises(ConfigError, match=r'^command line: --cpumhz "fast": not a frequency'):
        read("", cpumhz="fast")
    with pytest.raises(ConfigError, match=r'^command line: --intel-cpu "x": not "FAMILY,MODEL"'):
        read("", intel_cpu="x")


# --- what the administrator should hear about


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("logfiel = x", '1: unknown option "logfiel", ignored; did you mean "logfile"?'),
        ("Raw = yes", '1: unknown option "Raw", ignored; did you mean "raw"?'),
        ("qqq = yes", '1: unknown option "qqq", ignored'),
        ("= yes", '1: unknown option "", ignored'),
        (
            "[dimm]\nce-error-treshold = 1 / 1h",
            '2: unknown option "ce-error-treshold", ignored; did you mean "ce-error-threshold"?',
        ),
        (
            "[socket]\nce-eror-log = 1",
            '2: unknown option "ce-eror-log", ignored; did you mean "mem-ce-error-log"?',
        ),
        ("[dim]\nce-error-log = 1", '1: unknown section "[dim]", all in it is ignored; did you mean "dimm"?'),
        ("[ dimm ]", '1: unknown section "[ dimm ]", all in it is ignored; did you mean "dimm"?'),
        ("[qqq]", '1: unknown section "[qqq]", all in it is ignored'),
        (
            "[socket]\nce-error-threshold = 1 / 1h",
            '2: "ce-error-threshold" has no effect in [socket]; it belongs in [dimm]',
        ),
        (
            "[server]\nlogfile = x",
            '2: "logfile" has no effect in [server]; it belongs above the first section or in [global]',
        ),
        (
            "[server]\nk8 = yes",
            '2: "k8" has no effect in [server]; it belongs above the first section or in [global]',
        ),
        (
            "children-max = 1",
            '1: "children-max" belongs in [trigger]; here it counts unless it is set there too',
        ),
        ("raw = yes\nraw = no", '2: "raw" is already set on line 1, and the first counts'),
        (
            "[dimm]\nuc-error-log = 1\n[page]\n[dimm]\nuc-error-log = 0",
            '5: "uc-error-log" is already set on line 2, and the first counts',
        ),
        ("client = yes", '1: "client" is a command, for the command line only; it is ignored here'),
        ("config-file = x", '1: "config-file" is for the command line only; it is ignored here'),
        ("no-filter = yes\nfilter = yes", '2: "filter" is overruled by "no-filter" on line 1'),
    ],
)
def test_warnings(text: str, expected: str) -> None:
    assert warnings(text) == [f"mcelog.conf:{expected}"]


def test_warnings_come_in_the_order_of_lines() -> None:
    text = "[nothing]\n[server]\nclient-user = no-one-here\nx = 1\n[nowhere]\n"
    assert [warning.line for warning in read(text).warnings] == [1, 3, 4, 5]


def test_what_is_ignored_has_no_effect() -> None:
    misplaced = "config-file = x\n[socket]\nce-error-threshold = 1 / 1h\n[server]\nraw = yes\n"
    settings = read(misplaced + "[dim]\nce-error-log = 1\n")
    assert (settings.ce_error_threshold, settings.raw, settings.ce_error_log) == (NEVER, False, False)
    assert settings.config_file == "/etc/mcelog/mcelog.conf"


def test_misplaced_in_global_counts_unless_overruled() -> None:
    assert read("children-max = 1\n").children_max == 1
    assert read("children-max = 1\n[trigger]\nchildren-max = 3\n").children_max == 3


def test_an_unreadable_file_is_told() -> None:
    config = parse("", "/etc/mcelog/mcelog.conf")
    config.problem = "Permission denied"
    (warning,) = Settings.load(config).warnings
    assert str(warning) == "/etc/mcelog/mcelog.conf: cannot be read, so defaults are used: Permission denied"


# --- --check-config


def test_describe_says_value_and_origin() -> None:
    settings = read("intel-cpu = 6,0x3f\n[server]\nclient-user = root\n", logfile="/var/log/x", raw=None)
    lines = [re.sub(" +#", " #", line) for line in settings.describe()]
    assert {
        "cpu = haswell-ep # mcelog.conf:1",
        "raw = yes # command line",
        "logfile = /var/log/x # command line",
        "client-user = root # mcelog.conf:3",
        "#client-group = # not set",
        "listen-backlog = 128 # default",
        "#ce-error-threshold = # not set",
    } <= set(lines)
    assert [line for line in lines if line.startswith("[")] == [
        "[global]", "[server]", "[dimm]", "[socket]", "[cache]", "[page]", "[core]", "[trigger]",
    ]  # fmt: skip


def test_describe_can_be_printed_whatever_it_holds() -> None:
    settings = Settings.load(parse(os.fsdecode(b"logfile = /tmp/\xe4\x1b[2J\n"), "x"))
    assert "logfile = /tmp/\\udce4\\x1b[2J" in "\n".join(settings.describe())
    assert all(line.isprintable() for line in settings.describe())


# --- the shipped file


def test_the_shipped_file_does_what_upstreams_does() -> None:
    settings = Settings.load(load(str(SHIPPED), must_exist=True))
    assert settings.warnings == ()
    given = {name: value.value for name, value in settings.values.items() if value.origin != DEFAULT}
    assert given == V208_SET_AS_SHIPPED


def mentioned() -> dict[tuple[str, str], str]:
    """Every option of the shipped file, commented out or not, by section and name."""
    found = {}
    section = "global"
    for line in SHIPPED.read_text().splitlines():
        if header := re.fullmatch(r"\[(\w+)\]", line):
            section = header[1]
        elif option := re.fullmatch(r"#?([a-z][a-z0-9-]*) = (.*)", line):
            assert (section, option[1]) not in found
            found[section, option[1]] = option[2]
    return found


def test_the_shipped_file_mentions_every_option_and_no_other() -> None:
    assert set(mentioned()) == {(row.section, row.name) for row in Settings.rows if row.in_file}


def test_what_is_commented_out_is_the_default_or_a_good_example() -> None:
    shipped = Settings.load(load(str(SHIPPED), must_exist=True))
    all_set = "".join(f"[{section}]\n{name} = {text}\n" for (section, name), text in mentioned().items())
    settings = read(all_set)
    assert settings.warnings == ()
    different = {
        row.name
        for row in Settings.rows
        if shipped.values[row.name].origin == DEFAULT
        and row.default not in (None, settings.values[row.name].value)
    }
    assert different == set()


# --- whatever is in the file

OPTIONS = st.sampled_from([(row.section, s.name) for row in Settings.rows for s in row.spellings])
TEXTS = st.text(max_size=8) | st.sampled_from(
    ["yes", "no", "*", "1", "-1", "1e9", "10 / 24h", "0x", "root", "6,63"]
)


@given(st.lists(st.tuples(OPTIONS, TEXTS), max_size=6))
def test_any_values_load_or_are_refused(options: list[tuple[tuple[str, str], str]]) -> None:
    text = "".join(f"[{section}]\n{name} = {value}\n" for (section, name), value in options)
    try:
        settings = read(text)
    except ConfigError as error:
        assert str(error).isprintable()  # noqa: PT017  # or it loads
    else:
        assert all(line.isprintable() for line in settings.describe())
        assert all(str(warning).isprintable() for warning in settings.warnings)
