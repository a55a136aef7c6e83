# SPDX-License-Identifier: GPL-2.0-only
"""What doctor says of facts: of a machine that is well, and of each fault."""

from __future__ import annotations

import struct
from typing import Any, NamedTuple

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcelogd.ctl.look import Look
from mcelogd.doctor import facts as f
from mcelogd.doctor.checks import CHECKS, examine
from mcelogd.doctor.finding import AS_ROOT, Finding, State, exit_status
from mcelogd.doctor.parse import (
    parse_hest,
    parse_journald,
    parse_kernel_config,
    parse_properties,
    words_of,
)
from mcelogd.doctor.text import document, lines

CPUINFO = "vendor_id\t: GenuineIntel\ncpu family\t: 6\nmodel\t\t: 106\nflags\t\t: fpu mce cx8 mca\n"
CONFIG = {"X86_MCE": "y", "X86_MCE_INTEL": "y", "X86_MCELOG_LEGACY": "y", "TRACING": "y", "RAS_CEC": "n"}
NOW = 1_800_000_000
THERE, DENIED, GONE = f.Reading.THERE, f.Reading.DENIED, f.Reading.MISSING
KNOBS = {"ignore_ce": "0", "dont_log_ce": "0", "check_interval": "300", "cmci_disabled": "0", "trigger": ""}


def text(content: str) -> f.Text:
    return f.Text(THERE, content)


OURS = f.Process(700, "mcelog", is_ours=True, has_device=True)
TRACE = f.Trace("/t", THERE, THERE, THERE, text("1\n"), text("0\n"), text("1\n"))
TRIGGER = f.TriggerFile("cache-threshold-trigger", "/etc/mcelog/cache-error-trigger", THERE)
ACTIVE = {
    "LoadState": "loaded",
    "ActiveState": "active",
    "StatusText": "reads",
    "LogRateLimitBurst": "1000000",
}

WELL = f.Facts(
    machine=f.Machine(
        cpuinfo=text(CPUINFO),
        cmdline=text("root=/dev/sda quiet\n"),
        release="6.12.1-amd64",
        config=CONFIG,
        config_file="/boot/config-6.12.1-amd64",
        machinecheck={0: KNOBS, 1: KNOBS},
        hest=f.Hest(THERE, generic=2),
    ),
    sources=f.Sources(
        device=THERE,
        processes=(OURS,),
        trace=TRACE,
        lockdown=text("[none] integrity"),
        kernel_lines=1,
        records=2,
    ),
    memory=f.Memory(THERE, THERE, text("1\n"), text("1\n"), ()),
    surroundings=f.Surroundings(
        polkitd="/usr/lib/polkit-1/polkitd",
        policy="/usr/share/polkit-1/actions/org.mcelog.policy",
        bus_policy="/usr/share/dbus-1/system.d/org.mcelog.conf",
        bus_answer=f.Answer(0, 's "1"\n'),
        journal_socket=True,
        journal_kept=True,
        catalog="/usr/lib/systemd/catalog/mcelog.catalog",
        catalog_known=True,
        triggers=(TRIGGER,),
    ),
    stored=f.Stored(reading=THERE, free=1 << 30, database=THERE, newest=NOW - 5),
    service=f.Service(ACTIVE, "enabled"),
    chosen=f.Chosen(page_action="soft"),
    now=NOW,
    rtc=NOW,
)


def but(facts: f.Facts = WELL, **parts: Any) -> f.Facts:
    """Facts with fields of their parts changed: but(machine={"release": "5.4"}), and with others."""
    changed = {
        name: getattr(facts, name)._replace(**value) if isinstance(value, dict) else value
        for name, value in parts.items()
    }
    return facts._replace(**changed)


def of(check: str, facts: f.Facts) -> list[Finding]:
    return [finding for finding in examine(facts) if finding.check == check]


def test_a_machine_that_is_well() -> None:
    findings = examine(WELL)
    assert {one.state for one in findings if one.check not in ("tracefs", "edac")} == {State.OK}
    assert [one.check for one in findings] == [check.name for check in CHECKS]
    assert exit_status(findings) == 0
    on_tracefs = but(sources={"device": GONE})
    assert {one.state for one in examine(on_tracefs) if one.check not in ("device", "edac")} == {State.OK}


class Fault(NamedTuple):
    """Facts changed, the check that must say so, its state, and words of what it says and of the remedy."""

    check: str
    state: State
    facts: f.Facts
    found: str
    remedy: str


def fault(check: str, state: State, found: str, remedy: str, **parts: Any) -> Fault:
    return Fault(check, state, but(**parts), found, remedy)


W, B, U = State.WARNING, State.BROKEN, State.UNKNOWN
NO_DEVICE = {"device": GONE}


def traced(**values: Any) -> dict[str, Any]:
    return {"device": GONE, "trace": TRACE._replace(**values)}


def knobs(**values: str) -> dict[str, Any]:
    return {"machinecheck": {0: KNOBS | values, 1: KNOBS | values}}


def trigger(**values: Any) -> dict[str, Any]:
    return {"triggers": (TRIGGER._replace(**values),)}


FAULTS = [
    fault("cpu", B, "flag mca", "virtual", machine={"cpuinfo": text(CPUINFO.replace(" mca", ""))}),
    fault("cpu", U, "/proc/cpuinfo", "mount /proc", machine={"cpuinfo": f.MISSING}),
    fault("virtualisation", W, "container (docker)", "on the host", machine={"container": "docker"}),
    fault(
        "virtualisation",
        W,
        "machine (QEMU)",
        "host",
        machine={"cpuinfo": text(CPUINFO.strip() + " hypervisor\n"), "hypervisor": "QEMU"},
    ),
    fault("command-line", B, "mce=off", "update-grub", machine={"cmdline": text("a mce=off b")}),
    fault("command-line", B, "nomce", "update-grub", machine={"cmdline": text("nomce")}),
    fault("command-line", B, "mce=dont_log_ce", "remove", machine={"cmdline": text("mce=dont_log_ce")}),
    fault("command-line", B, "mce=ignore_ce", "remove", machine={"cmdline": text("mce=ignore_ce")}),
    fault("command-line", W, "mce=no_cmci", "remove", machine={"cmdline": text("mce=print_all,no_cmci")}),
    fault("kernel-config", B, "CONFIG_X86_MCE is", "kernel", machine={"config": CONFIG | {"X86_MCE": "n"}}),
    fault("kernel-config", W, "_INTEL", "=y", machine={"config": CONFIG | {"X86_MCE_INTEL": "n"}}),
    fault(
        "kernel-config",
        B,
        "neither CONFIG_X86_MCELOG_LEGACY",
        "kernel",
        machine={"config": {"X86_MCE": "y", "X86_MCE_INTEL": "y"}},
    ),
    fault("kernel-config", U, "6.12.1-amd64", "/boot/config-6.12.1-amd64", machine={"config": None}),
    fault("device", B, "source = device", "source = auto", sources=NO_DEVICE, chosen={"source": "device"}),
    fault("device", B, "file of its own", "rm /dev/mcelog", sources={"is_character_device": False}),
    fault(
        "device",
        B,
        "process 9 (cat)",
        "kill 9",
        sources={"processes": (OURS, f.Process(9, "cat", has_device=True))},
    ),
    fault("device", U, "for root to see", AS_ROOT, sources={"processes": (), "hidden": 3}),
    fault(
        "tracefs",
        B,
        "locked down",
        "lockdown=integrity",
        sources={"device": GONE, "lockdown": text("none integrity [confidentiality]\n")},
    ),
    fault("tracefs", B, "not mounted on /t", "mount -t tracefs tracefs /t", sources=traced(mounted=GONE)),
    fault("tracefs", B, "mce_record", "CONFIG_TRACING", sources=traced(event=GONE)),
    fault("tracefs", U, "root only", AS_ROOT, sources=traced(mounted=DENIED)),
    fault("tracefs", W, "instances/mcelog is not there", "systemctl start", sources=traced(instance=GONE)),
    fault(
        "tracefs", B, "enable is 0", "echo 1 > /t/instances/mcelog/events", sources=traced(enabled=text("0"))
    ),
    fault("tracefs", B, "tracing_on is 0", "echo 1", sources=traced(tracing_on=text("0"))),
    fault("tracefs", W, "buffer_percent is 50", "echo 0", sources=traced(buffer_percent=text("50\n"))),
    fault("ras-cec", B, "/dev/mcelog", "ras=cec_disable", machine={"config": CONFIG | {"RAS_CEC": "y"}}),
    fault(
        "ras-cec",
        W,
        "active",
        "ras=cec_disable",
        machine={"config": CONFIG | {"RAS_CEC": "y"}},
        sources=NO_DEVICE,
    ),
    fault("ras-cec", B, "active", "ras=cec_disable", sources={"cec_directory": True}),
    fault("ras-cec", U, "not known", "", machine={"config": None}),
    fault("edac", W, "EDAC", "blacklist", machine={"release": "5.4.0-1"}, sources={"edac": ("skx",)}),
    fault(
        "consumers",
        W,
        "rasdaemon",
        "disable --now rasdaemon",
        sources={"processes": (f.Process(8, "rasdaemon"),)},
    ),
    fault("consumers", B, "another mcelog", "kill 8", sources={"processes": (OURS, f.Process(8, "mcelog"))}),
    fault("consumers", B, "runs 2 times", "MainPID", sources={"processes": (OURS, OURS._replace(pid=701))}),
    fault(
        "firmware-first",
        W,
        "corrected machine checks",
        "firmware",
        machine={"hest": f.Hest(THERE, ("corrected machine checks",))},
    ),
    fault(
        "firmware-first", W, "damaged", "update the firmware", machine={"hest": f.Hest(THERE, damaged=True)}
    ),
    fault("firmware-first", U, "HEST", AS_ROOT, machine={"hest": f.Hest(DENIED)}),
    fault(
        "kernel-log",
        W,
        "3 times since it was booted, but mcelog recorded 2",
        "journalctl -k",
        sources={"kernel_lines": 3},
    ),
    fault("kernel-log", U, "kernel's log", AS_ROOT, sources={"kernel_lines": None}),
    fault("kernel-log", U, "root", AS_ROOT, sources={"records": None}),
    fault("machine-checks", B, "no CPUs", "mce=off", machine={"machinecheck": None}),
    fault("machine-checks", B, "ignore_ce is 1", "echo 0", machine=knobs(ignore_ce="1")),
    fault(
        "machine-checks",
        B,
        "on CPU 1",
        "dont_log_ce",
        machine={"machinecheck": {0: KNOBS, 1: KNOBS | {"dont_log_ce": "1"}}},
    ),
    fault("machine-checks", W, "cmci_disabled is 1", "cmci_disabled", machine=knobs(cmci_disabled="1")),
    fault("machine-checks", W, "does not poll", "echo 300", machine=knobs(check_interval="0")),
    fault(
        "machine-checks",
        B,
        "check_interval is 0 and",
        "300",
        machine=knobs(check_interval="0", cmci_disabled="1"),
    ),
    fault("machine-checks", W, "/sbin/x", "machinecheck0/trigger", machine=knobs(trigger="/sbin/x")),
    fault("machine-checks", W, "bank3", "bank3", machine=knobs(bank3="0")),
    fault(
        "machine-checks",
        W,
        "check_interval differs",
        "same value",
        machine={"machinecheck": {0: KNOBS, 1: KNOBS | {"check_interval": "1"}}},
    ),
    fault("page-offlining", W, "memory_failure_recovery", "sysctl -w", memory={"recovery": text("0\n")}),
    fault("page-offlining", W, "enable_soft_offline is 0", "sysctl -w", memory={"enable_soft": text("0\n")}),
    fault("page-offlining", W, "soft_offline_page is not there", "MEMORY_FAILURE", memory={"soft": GONE}),
    fault("smbios", W, "no serial", "dimm-labels.conf", memory={"smbios": ("1 DIMM has no serial number",)}),
    fault(
        "smbios", W, "no tables", "dimm-labels.conf", memory={"smbios": None, "smbios_trouble": "no tables"}
    ),
    fault("smbios", U, "root only", AS_ROOT, memory={"smbios": None, "smbios_denied": True}),
    fault("polkit", W, "not installed", "apt install", surroundings={"polkitd": ""}),
    fault("polkit", W, "org.mcelog.policy", "install mcelog", surroundings={"policy": ""}),
    fault("dbus", B, "org.mcelog.conf", "reload dbus", surroundings={"bus_policy": ""}),
    fault(
        "dbus",
        W,
        "not answer on the bus: no",
        "systemctl",
        surroundings={"bus_answer": f.Answer(1, "", "no\n")},
    ),
    fault("journald", B, "not running", "systemd-journald", surroundings={"journal_socket": False}),
    fault("journald", B, "Storage=none", "persistent", surroundings={"journald": {"Storage": "none"}}),
    fault("journald", W, "volatile", "persistent", surroundings={"journald": {"Storage": "volatile"}}),
    fault("journald", W, "no /var/log/journal", "mkdir", surroundings={"journal_kept": False}),
    fault(
        "journald",
        W,
        "only 500 messages",
        "LogRateLimitBurst",
        service=f.Service(ACTIVE | {"LogRateLimitBurst": "500"}, "enabled"),
    ),
    fault(
        "journald",
        W,
        "only 7 messages",
        "RateLimitBurst",
        service=f.Service({}, "enabled"),
        surroundings={"journald": {"RateLimitBurst": "7"}},
    ),
    fault("catalog", W, "not installed", "install mcelog", surroundings={"catalog": ""}),
    fault("catalog", W, "does not know", "--update-catalog", surroundings={"catalog_known": False}),
    fault(
        "triggers", W, "not there", "or remove cache-threshold-trigger", surroundings=trigger(reading=GONE)
    ),
    fault("triggers", W, "not executable", "chmod 755 /etc", surroundings=trigger(mode=0o644)),
    fault("triggers", W, "belongs to uid 5", "chown root:", surroundings=trigger(uid=5)),
    fault("triggers", W, "changed by anybody", "chmod go-w", surroundings=trigger(mode=0o757)),
    fault("triggers", W, "its group", "chmod go-w", surroundings=trigger(mode=0o775, gid=100)),
    fault(
        "triggers",
        W,
        "/x can be changed",
        "chmod go-w /x",
        surroundings={"trigger_directory": f.TriggerFile("directory", "/x", THERE, mode=0o777)},
    ),
    fault("state", U, "root only", AS_ROOT, stored={"reading": DENIED}),
    fault("state", W, "not there yet", "systemctl start", stored={"reading": GONE}),
    fault("state", B, "read-only", "remount", stored={"read_only": True}),
    fault("state", B, "cannot be written", "chown", stored={"writable": False}),
    fault("state", B, "no directory", "rm", stored={"is_directory": False}),
    fault("state", W, "1 MiB left", "df", stored={"free": 1 << 20}),
    fault("state", B, "not a database", "restart", stored={"trouble": "file is not a database"}),
    fault("state", W, "mcelog.db.damaged-7", ".recover", stored={"aside": ("mcelog.db.damaged-7",)}),
    fault("clock", W, "past", "hwclock", now=1000),
    fault("clock", W, "2 hours in the future", "timedatectl", stored={"newest": NOW + 2 * 3600}),
    fault("clock", W, "3 days", "hwclock", rtc=NOW - 3 * 86400),
    fault("service", B, "masked", "unmask", service=f.Service(ACTIVE | {"LoadState": "masked"}, "masked")),
    fault("service", B, "no mcelog.service", "install", service=f.Service({"LoadState": "not-found"}, "")),
    fault(
        "service",
        B,
        "failed (exit-code)",
        "journalctl -u",
        service=f.Service({"LoadState": "loaded", "ActiveState": "failed", "Result": "exit-code"}, "enabled"),
    ),
    fault(
        "service",
        B,
        "again and again",
        "journalctl -u",
        service=f.Service(ACTIVE | {"ActiveState": "activating", "SubState": "auto-restart"}, "enabled"),
    ),
    fault(
        "service",
        B,
        "not running",
        "systemctl start",
        service=f.Service({"LoadState": "loaded", "ActiveState": "inactive"}, "enabled"),
    ),
    fault(
        "service",
        B,
        "condition",
        "systemctl status",
        service=f.Service(
            {
                "LoadState": "loaded",
                "ActiveState": "inactive",
                "ConditionResult": "no",
                "ConditionTimestampMonotonic": "5",
            },
            "enabled",
        ),
    ),
    fault("service", W, "not enabled", "systemctl enable", service=f.Service(ACTIVE, "disabled")),
    fault("service", B, "systemd neither", "--daemon", service=f.Service(), sources={"processes": ()}),
    fault("configuration", B, "x:1: nonsense", "--check-config", chosen={"error": "x:1: nonsense"}),
    fault("configuration", W, "x:2: odd", "reload", chosen={"warnings": ("x:2: odd",)}),
    fault("configuration", U, "root only", AS_ROOT, chosen={"denied": True}),
]


@pytest.mark.parametrize("fault", FAULTS, ids=[f"{one.check}: {one.found}" for one in FAULTS])
def test_each_fault_is_named_with_its_remedy(fault: Fault) -> None:
    found = [
        one for one in of(fault.check, fault.facts) if one.state is fault.state and fault.found in one.found
    ]
    assert len(found) == 1, of(fault.check, fault.facts)
    assert fault.remedy in found[0].remedy
    assert bool(found[0].why) == (fault.state is not U)
    status = exit_status(examine(fault.facts))
    assert status == 2 if fault.state is B else status >= (fault.state is W)


def test_every_check_has_a_fault_in_these_tests() -> None:
    assert {fault.check for fault in FAULTS} == {check.name for check in CHECKS}


def test_several_faults_of_a_link_are_all_named() -> None:
    found = of("machine-checks", but(machine=knobs(ignore_ce="1", dont_log_ce="1", trigger="/sbin/x")))
    assert [one.state for one in found] == [B, B, W]


def test_what_does_not_apply() -> None:
    assert of("dbus", but(chosen={"bus": "none"}))[0].state is State.NOT_APPLICABLE
    assert of("page-offlining", but(chosen={"page_action": "off"}))[0].state is State.NOT_APPLICABLE
    assert of("triggers", but(surroundings={"triggers": ()}))[0].state is State.NOT_APPLICABLE
    assert of("device", but(sources=NO_DEVICE))[0].state is State.NOT_APPLICABLE
    assert (
        of("ras-cec", but(machine={"cmdline": text("ras=cec_disable"), "config": {"RAS_CEC": "y"}}))[0].state
        is State.OK
    )


def test_nothing_known_is_no_fault_of_ours() -> None:
    """Facts that all lack: every check says something, and none raises."""
    assert {one.check for one in examine(f.Facts())} == {check.name for check in CHECKS}


@given(st.text(), st.text(), st.text())
def test_texts_of_any_kind_are_taken(one: str, other: str, third: str) -> None:
    facts = but(
        machine={
            "cpuinfo": text(one), "cmdline": text(other), "release": third, "config": {one: other},
            "machinecheck": {0: {"trigger": one, "check_interval": other, "ignore_ce": third}},
        },
        sources={"device": GONE, "trace": TRACE._replace(enabled=text(one), buffer_percent=text(other))},
        service=f.Service({"ActiveState": one, "LogRateLimitBurst": other, "StatusText": third}, third),
        surroundings={"journald": {"Storage": one, "RateLimitBurst": other}},
    )  # fmt: skip
    findings = examine(facts)
    shown = lines(findings, Look(0.0, room=80, colour=False))
    assert all(line.isprintable() for line in shown)


def test_the_report_names_reason_and_remedy() -> None:
    findings = examine(but(machine={"cmdline": text("mce=off")}, now=5))
    shown = "\n".join(lines(findings, Look(0.0, room=None)))
    assert "  broken command-line    mce=off is on the kernel command line\n" in shown
    assert "Why: the kernel does not look" in shown
    assert "Remedy: remove it from GRUB_CMDLINE_LINUX" in shown
    assert shown.endswith("\n\n1 broken, 1 warning, 19 ok.")
    assert "\x1b[1;31m  broken" in "\n".join(lines(findings, Look(0.0, colour=True)))
    assert max(map(len, lines(findings, Look(0.0, room=80)))) <= 80
    assert set(document(findings)[0]) == {"check", "state", "found", "why", "remedy"}


# --- parsers


def hest(*sources: bytes, count: int | None = None) -> bytes:
    body = b"".join(sources)
    header = b"HEST" + struct.pack("<I", 40 + len(body)) + bytes(28)
    return header + struct.pack("<I", len(sources) if count is None else count) + body


def source(kind: int, size: int, flags: int = 0, banks: tuple[int, int] | None = None) -> bytes:
    """A source; `banks` is where their number is, and how many there are."""
    body = bytearray(struct.pack("<HHHBB", kind, 1, 0, flags, 1) + bytes(size - 8))
    if banks is not None:
        body[banks[0]] = banks[1]
        body += bytes(28 * banks[1])
    return bytes(body)


def test_hest() -> None:
    exceptions = source(0, 40, 1, (32, 3))
    corrected = source(1, 48, 0, (44, 20))
    deferred = source(11, 48, 1, (44, 0))
    table = hest(exceptions, source(6, 48, 1), source(9, 64), corrected, source(10, 92), deferred)
    found = parse_hest(table)
    assert found == f.Hest(THERE, ("machine check exceptions", "deferred machine checks"), 2)
    assert parse_hest(hest(source(9, 64))) == f.Hest(THERE, (), 1)
    assert parse_hest(table[:-1]).damaged
    assert parse_hest(hest(source(77, 64))).damaged
    assert parse_hest(hest(corrected, count=1 << 31)).damaged
    assert parse_hest(b"").damaged


@given(st.binary(), st.lists(st.binary(min_size=8, max_size=120), max_size=4))
def test_no_table_is_too_odd(junk: bytes, parts: list[bytes]) -> None:
    parse_hest(junk)
    parse_hest(hest(*parts))


def test_kernel_config() -> None:
    found = parse_kernel_config("#\n# CONFIG_RAS_CEC is not set\nCONFIG_X86_MCE=y\nCONFIG_HZ=250\nnonsense\n")
    assert found == {"RAS_CEC": "n", "X86_MCE": "y", "HZ": "250"}


def test_journald_settings() -> None:
    texts = [
        "[Journal]\n#Storage=none\nStorage = auto\n[Other]\nStorage=x\n",
        "[Journal]\nStorage=volatile\n",
    ]
    assert parse_journald(texts) == {"Storage": "volatile"}
    assert parse_properties("A=b=c\nnonsense\nD=\n") == {"A": "b=c", "D": ""}
    assert words_of("quiet mce=off -- nomce") == ["quiet", "mce=off"]
