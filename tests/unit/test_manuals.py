# SPDX-License-Identifier: GPL-2.0-only
"""The manuals say what the program has: no option, setting or field too few, and none too many."""

from __future__ import annotations

import os
import re
import shlex
import shutil
import subprocess
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest
from mdoc import arguments, entries, literals, words

from mcelogd import config, message_ids
from mcelogd.ctl import arguments as ctl_arguments
from mcelogd.ctl.commands import COMMANDS
from mcelogd.ctl.commands import OPTIONS as CTL_OPTIONS
from mcelogd.ctl.exits import Exit
from mcelogd.ctl.main import INTERRUPTED
from mcelogd.reload import AT_ONCE
from mcelogd.settings import Settings
from mcelogd.triggers import ROWS
from mcelogd.values import text_of

ROOT = Path(__file__).resolve().parents[2]
PAGES = ("mcelog.8", "mcelogctl.1", "mcelog.conf.5", "mcelog.triggers.5", "org.mcelog.5")
PAGES += ("mcelog.journal-fields.7",)

FOREIGN = "busctl.1 gdbus.1 journalctl.1 less.1 ssh.1 systemctl.1 sd_listen_fds.3 sd_notify.3 systemd.exec.5"
FOREIGN += " systemd.journal-fields.7 systemd.time.7 polkit.8 systemd-journal-remote.8"
"""Manuals of other packages that ours refer to."""

KERNELS = {"MCE_GETCLEAR_FLAGS", "MCE_GET_LOG_LEN", "MCE_GET_RECORD_LEN", "MCE_OVERFLOW"}
"""Names of the kernel that look like fields of the journal; so do AMD's of error codes."""
AMDS = {"MCE_LT_HANDSHAKE", "MCE_MCIP_SET", "MCE_UNDER_WFS"}

BY_LIBRARIES = {"LISTEN_FDS", "LISTEN_FDNAMES", "PATH"}
"""Variables that matter, though our code does not name them, or not as such."""

YOURS = ("/etc/mcelog/dimm-error-trigger.local", "/etc/polkit-1/rules.d/50-mcelog-admins.rules")
YOURS += ("/etc/mcelog/*-trigger", "/etc/mcelog/*-trigger.local", "/usr/share/doc/mcelog/docs/README.md")
"""Files that the manuals tell to write, or name by a pattern, and what packages bring alone."""


def need(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        assert not os.environ.get("CI"), f"CI must have {tool}"
        pytest.skip(f"{tool} is not installed")
    return found


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What `meson install` installs."""
    root = tmp_path_factory.mktemp("manuals")
    setup = [need("meson"), "setup", "--prefix=/usr", "-Dbytecompile=false", str(root / "build"), str(ROOT)]
    for command in (setup, ["meson", "install", "-C", str(root / "build")]):
        done = subprocess.run(
            command,
            env={**os.environ, "DESTDIR": str(root / "to"), "LC_ALL": "C"},
            check=False,
            capture_output=True,
            text=True,
        )
        assert done.returncode == 0, done.stdout + done.stderr
    return root / "to"


def path_of(installed: Path, name: str) -> Path:
    return installed / f"usr/share/man/man{name[-1]}" / name


@pytest.fixture(scope="module")
def pages(installed: Path) -> dict[str, str]:
    return {name: path_of(installed, name).read_text("utf-8") for name in PAGES}


def written(name: str) -> str:
    """A manual that is installed as it is."""
    return (ROOT / "data/man" / name).read_text("utf-8")


# --- Form ---------------------------------------------------------------------


@pytest.mark.parametrize("name", PAGES)
def test_groff_has_nothing_to_say(installed: Path, name: str) -> None:
    environment = {**os.environ, "LC_ALL": "C.UTF-8", "MANWIDTH": "80"}
    command = [need("man"), "--warnings", "--local-file", str(path_of(installed, name))]
    done = subprocess.run(command, env=environment, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert "SEE ALSO" in done.stdout


@pytest.mark.parametrize("name", PAGES)
def test_mandoc_has_nothing_to_say(installed: Path, name: str) -> None:
    """But for manuals that are not installed here: test_no_reference_is_dead."""
    command = [need("mandoc"), "-T", "lint", str(path_of(installed, name))]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    found = [line for line in done.stdout.splitlines() if "referenced manual not found" not in line]
    assert found == []


def test_no_reference_is_dead(pages: dict[str, str]) -> None:
    known = {*PAGES, *FOREIGN.split()}
    referred = {name: set(re.findall(r"\.(?:Pq )?Xr (\S+ \d)", text)) for name, text in pages.items()}
    named = {reference.replace(" ", ".") for found in referred.values() for reference in found}
    assert named == known


def test_manuals_that_other_files_name_are_there() -> None:
    """Documentation= of the units, comments in scripts and settings, the README."""
    files = [ROOT / "README.md", *(ROOT / "data").rglob("*"), *(ROOT / "docs").rglob("*.md")]
    text = "\n".join(path.read_text("utf-8") for path in files if path.is_file())
    named = set(re.findall(r"(?<![\w.-])((?:org\.)?mcelog[a-z.-]*)\((\d)\)", text))
    assert {f"{name}.{section}" for name, section in named} == set(PAGES)


def test_every_path_is_one_that_is_installed(installed: Path, pages: dict[str, str]) -> None:
    text = "\n".join(pages.values())
    paths = set(re.findall(r"(?<![\w.])/(?:etc|usr)/[\w./*-]*[\w*]", text)) - set(YOURS)
    ours = {path for path in paths if not path.startswith("/usr/local/")}
    assert len(ours) > 10, "is the pattern wrong?"
    assert [path for path in sorted(ours) if not (installed / path[1:]).exists()] == []
    units = set(re.findall(r"\bmcelog[\w-]*\.(?:service|socket|path|timer)\b", text))
    there = {path.name for path in (installed / "usr/lib/systemd/system").iterdir()}
    assert units == there


# --- mcelog(8) ----------------------------------------------------------------


def test_mcelog_names_every_option() -> None:
    found: dict[str, bool] = {}
    for entry in entries(written("mcelog.8")):
        if entry.section == "OPTIONS":
            for spelling in re.split(", (?=--)", words(entry.tag)):
                found[spelling.removeprefix("--")] = entry.subsection.startswith("Not in the C program")
    expected = {command.name: command.ours for command in Settings.commands}
    for row in (row for row in Settings.rows if row.cli):
        expected |= {f"{one.name} {one.metavar}".rstrip(): row.ours for one in row.spellings}
    assert found == expected


def test_mcelog_says_which_options_are_not_for_the_file() -> None:
    said = re.search(
        r"on the command line they win\.\n(.*?)are for the command line only", written("mcelog.8"), re.S
    )
    assert said is not None
    only = {row.name for row in Settings.rows if not row.in_file}
    assert {name.removeprefix("-") for name in arguments("Fl", said[1])} == only


def variables(*files: str) -> set[str]:
    """Environment variables that modules ask for by name."""
    pattern = r'environ(?:ment)?(?:\.get\(|\[)"([A-Z_]+)"(?!\] =)|"([A-Z_]+)" in (?:self\.)?_?environ'
    text = "\n".join((ROOT / "mcelogd" / name).read_text("utf-8") for name in files)
    return {first or second for first, second in re.findall(pattern, text)}


def test_mcelog_names_every_environment_variable() -> None:
    found = {name for one in entries(written("mcelog.8")) for name in arguments("Ev", f" {one.tag}")}
    files = ("dbus/connection.py", "service_manager.py", "startup.py", "assembly.py", "daemon.py")
    assert found == variables(*files) | BY_LIBRARIES


def test_mcelog_names_every_signal() -> None:
    code = "".join((ROOT / "mcelogd/daemon.py").read_text("utf-8"))
    named = [one.tag for one in entries(written("mcelog.8")) if one.section == "SIGNALS"]
    assert {name for tag in named for name in arguments("Dv", f" {tag}")} == set(
        re.findall(r"signal\.(SIG\w+)", code)
    )


# --- mcelogctl(1) -------------------------------------------------------------


def test_mcelogctl_names_every_command() -> None:
    page = entries(written("mcelogctl.1"))
    found = {one.tag.split()[1]: one.text for one in page if one.section == "COMMANDS" and one.depth == 1}
    assert found.keys() == {command.name for command in COMMANDS}
    everywhere = {name.lstrip("-") for option in CTL_OPTIONS for name in option.names.split()}
    for command in COMMANDS:
        named = {name.removeprefix("-") for name in arguments("Fl", found[command.name])}
        options = [one.names.split() for one in command.arguments if one.is_option]
        expected = {name.lstrip("-") for names in options for name in names}
        assert named - everywhere == expected, command.name


def test_mcelogctl_names_every_option() -> None:
    found = {words(one.tag) for one in entries(written("mcelogctl.1")) if one.section == "OPTIONS"}
    expected = {f"{', '.join(one.names.split())} {one.value}".rstrip() for one in CTL_OPTIONS}
    plain = {re.sub(r"[\[\]\s]", "", text) for text in expected} | {"-h,--help", "--version"}
    assert {re.sub(r"\s", "", text) for text in found} == plain


def test_mcelogctl_names_every_exit_status() -> None:
    found = {one.tag for one in entries(written("mcelogctl.1")) if one.section == "EXIT STATUS"}
    assert found == {str(int(status)) for status in (*Exit, INTERRUPTED)}


def test_mcelogctl_names_every_environment_variable() -> None:
    found = {name for one in entries(written("mcelogctl.1")) for name in arguments("Ev", f" {one.tag}")}
    files = [str(path.relative_to(ROOT / "mcelogd")) for path in (ROOT / "mcelogd/ctl").glob("*.py")]
    assert found == variables("dbus/connection.py", *files)


# --- mcelog.conf(5) -----------------------------------------------------------

INSTALLED = config.parse((ROOT / "data/mcelog.conf").read_text("utf-8"), "mcelog.conf")


def section_of(heading: str) -> str:
    return heading.removeprefix("SECTION ").lower() if heading.startswith("SECTION ") else config.GLOBAL


def test_mcelog_conf_names_every_setting_in_its_section() -> None:
    page = written("mcelog.conf.5")
    found = [
        (section_of(one.section), one.tag.split()[1]) for one in entries(page) if one.tag.startswith("Ic ")
    ]
    assert sorted(found) == sorted((row.section, row.name) for row in Settings.rows if row.in_file)
    aliases = {alias.name for row in Settings.rows if row.in_file for alias in row.aliases}
    assert aliases - set(arguments("Ic", page)) == set()


def test_mcelog_conf_says_what_holds_without_a_line_and_as_installed() -> None:
    defaults = {
        one.tag.split()[1]: re.findall(r"^Default: (.+?)(?:; as installed: (.+))?\.$", one.text, re.MULTILINE)
        for one in entries(written("mcelog.conf.5"))
        if one.tag.startswith("Ic ")
    }
    for row in (row for row in Settings.rows if row.in_file):
        default = text_of(row.default) or "not set"
        given = row.in_config(INSTALLED)
        installed = given.text if given and given.text != default else ""
        assert defaults[row.name] == [(default, installed)], row.name


def test_mcelog_conf_says_what_a_reload_applies() -> None:
    section = written("mcelog.conf.5").partition(".Sh READING IT AGAIN\n")[2].partition("\n.Sh ")[0]
    named = set(arguments("Ic", section)) - {"storm-threshold"}
    names = {row.name for row in Settings.rows}
    with_each = {name.removesuffix("threshold") + what for name in named for what in ("log", "trigger")}
    assert named | (with_each & names) | {row.setting for row in ROWS} == AT_ONCE


@pytest.mark.parametrize("name", ["mcelog.8", "mcelog.conf.5", "mcelog.triggers.5"])
def test_settings_that_are_shown_are_right(name: str) -> None:
    shown = [text for text in literals(written(name)) if re.match(r"\[[a-z]+\]\n|[\w-]+ = ", text)]
    assert shown
    for text in shown:
        settings = Settings.load(config.parse(text, name))
        assert settings.warnings == ()
        assert [value for value in settings.values.values() if value.origin.startswith(name)]


# --- mcelog.triggers(5) -------------------------------------------------------


def test_mcelog_triggers_names_every_trigger_with_script_and_variables() -> None:
    page = entries(written("mcelog.triggers.5"))
    groups: dict[str, set[str]] = {}
    for one in page:
        if one.section == "VARIABLES":
            groups.setdefault(one.subsection, set()).update(arguments("Ev", f" {one.tag}"))
    found = {}
    for one in page:
        if one.section == "TRIGGERS":
            _, setting, _, section = one.tag.split()
            told = re.search(r"^Variables: (.*)\.$", one.text, re.MULTILINE)
            assert told is not None
            script = re.search(r"^Script:\n\.Pa (\S+)", one.text, re.MULTILINE)
            got = frozenset().union(*(groups[group] for group in told[1].split(", ")))
            found[setting] = (section.strip("()"), script[1] if script else "", got)
    sections = {row.name: row.section for row in Settings.rows}
    expected = {row.setting: (sections[row.setting], row.script, set(row.variables.split())) for row in ROWS}
    assert found == expected


# --- org.mcelog(5) and mcelog.journal-fields(7) -------------------------------


def test_org_mcelog_names_every_member(pages: dict[str, str]) -> None:
    page = entries(pages["org.mcelog.5"])
    listed = ("INTERFACE", "RIGHTS")
    found = {
        (one.section.partition(" ")[2], one.tag.split()[-1 if one.section == "RIGHTS" else 1])
        for one in page
        if one.section.startswith(listed) and one.depth == 1
    }
    tree = ET.fromstring((ROOT / "data/org.mcelog.xml").read_text("utf-8"))
    members = {
        (interface.get("name"), member.get("name"))
        for interface in tree.iter("interface")
        for member in interface
    }
    policy = ET.fromstring((ROOT / "data/polkit/org.mcelog.policy").read_text("utf-8"))
    assert found == members | {("", action.get("id")) for action in policy.iter("action")}


def test_org_mcelog_names_every_error_of_its_own(pages: dict[str, str]) -> None:
    code = "\n".join(path.read_text("utf-8") for path in (ROOT / "mcelogd").rglob("*.py"))
    page = pages["org.mcelog.5"]
    assert set(re.findall(r"org\.mcelog\.Error\.\w+", code)) == set(
        re.findall(r"org\.mcelog\.Error\.\w+", page)
    )


def test_mcelog_journal_fields_names_every_field_and_id(pages: dict[str, str]) -> None:
    page = entries(pages["mcelog.journal-fields.7"])
    ids = {one.tag.split()[1]: one.body[0] for one in page if one.section == "MESSAGE IDS"}
    assert ids == {name: value for name, value in vars(message_ids).items() if name.isupper()}
    fields = {one.tag.split()[1] for one in page if one.section == "FIELDS OF AN ENTRY"}
    files = [*(ROOT / "mcelogd").rglob("*.py"), *(ROOT / "data/triggers").glob("*-trigger")]
    code = "\n".join(path.read_text("utf-8") for path in files)
    used = set(re.findall(r"\bMCE_[A-Z_]+\b", code)) - KERNELS - AMDS
    assert {name for name in fields if name.startswith("MCE_")} == used


# --- What is shown as to be typed ---------------------------------------------


def commands(pages: dict[str, str], program: str) -> list[list[str]]:
    """The arguments of each time a program is shown, up to a pipe or redirection."""
    shown = [
        line.removeprefix("$ ")
        for text in pages.values()
        for block in literals(text)
        for line in block.split("\n")
    ]
    shown += [
        quoted
        for text in pages.values()
        for quoted in re.findall(r"^\.Ql (\w+ --?.*?|\w+ctl .*?)(?: [.,;:])?$", text, re.M)
    ]
    pieces = [piece.strip() for line in shown for piece in re.split(r" \||>>? |^\*/5 [* ]*", line)]
    return [shlex.split(piece)[1:] for piece in pieces if re.match(rf"{program}(?: |$)", piece)]


def test_commands_of_mcelogctl_can_be_typed(pages: dict[str, str]) -> None:
    shown = commands(pages, "mcelogctl")
    assert len(shown) > 10
    for given in shown:
        ctl_arguments.parse(given)


def test_commands_of_mcelog_can_be_typed(pages: dict[str, str]) -> None:
    import getopt

    shown = commands(pages, "mcelog")
    assert len(shown) > 5
    for given in shown:
        getopt.gnu_getopt(given, "", [*Settings.long_options(), *Settings.command_names()])


def test_queries_of_the_journal_are_about_what_there_is(pages: dict[str, str]) -> None:
    page = pages["mcelog.journal-fields.7"]
    fields = {one.tag.split()[1] for one in entries(page) if one.section == "FIELDS OF AN ENTRY"}
    shown = [word for given in commands(pages, "journalctl") for word in given]
    matches = [word.partition("=") for word in shown if re.match(r"[A-Z]", word)]
    printed = {word.partition("=")[2] for word in shown if word.startswith("--output-fields=")}
    assert printed
    assert ({name for name, _, _ in matches} | printed) - fields == set()
    ids = {value for name, _, value in matches if name == "MESSAGE_ID"}
    assert ids
    assert ids - {value for name, value in vars(message_ids).items() if name.isupper()} == set()
