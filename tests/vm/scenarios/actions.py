# SPDX-License-Identifier: GPL-2.0-only
"""What the daemon does about failing parts, with a kernel and a systemd that really do it."""

from __future__ import annotations

from pathlib import Path

from guest import mce, memory, service, triggers
from guest.journal import entries, wait_for_entries
from guest.memory import OwnPage
from guest.registry import scenario
from guest.service import UNIT, message_id
from guest.shell import run, wait_for

SEEN = Path("/etc/vm-seen")
CPUS = Path("/sys/devices/system/cpu")
RUNTIME = Path("/run/mcelog")

SOFT = """\
[page]
memory-ce-threshold = 2 / 24h
memory-ce-action = soft
memory-ce-log = yes
"""
WITH_TRIGGERS = (
    SOFT
    + """\
memory-ce-trigger = crossed
memory-pre-sync-soft-ce-trigger = before
memory-post-sync-soft-ce-trigger = after
"""
)


@scenario()
def page_is_soft_off_lined() -> None:
    """Two errors, and the page is out of use; who had it keeps its contents, and lives."""
    triggers.settings(WITH_TRIGGERS)
    SEEN.unlink(missing_ok=True)
    triggers.script("crossed", 'echo "crossed: $MESSAGE"')
    triggers.script("before", 'echo "before: $1 $MCELOG_PAGE_STATE"', f"ls /dev > {SEEN}")
    triggers.script("after", 'echo "after: $1 $MCELOG_PAGE_STATE"')
    service.start()
    page = OwnPage()
    bad, corrupted = page.address, memory.corrupted_kb()
    memory.send_errors(bad, 2)
    (entry,) = wait_for_entries(message_id("PAGE_OFFLINED"))
    wait_for_entries(message_id("TRIGGER_RUN"), count=3)
    assert (entry["MCE_PAGE"], entry["MCE_PAGE_ACTION"], entry["MCE_COUNT"]) == (f"{bad:#x}", "soft", "2")
    assert memory.is_poisoned(bad)
    assert memory.corrupted_kb() == corrupted + 4
    assert page.address != bad
    assert page.is_intact
    assert f'{bad:x}: total 2 seen "2 in 24h" offline triggered' in service.client()
    _ran_outside(bad)
    memory.give_back(bad)


def _ran_outside(bad: int) -> None:
    """The triggers ran, each in a unit of its own that has the whole machine before it."""
    printed = entries(message_id("TRIGGER_OUTPUT"))
    assert {entry["MESSAGE"] for entry in printed} == {
        f"crossed: Corrected memory errors on page {bad:x} exceed threshold 2 in 24h: 2 in 24h",
        f"before: {bad} online",
        f"after: {bad} offline",
    }
    units = {entry["_SYSTEMD_UNIT"] for entry in printed}
    assert len(units) == 3, units
    assert all(unit.startswith(triggers.UNITS) for unit in units), units
    assert {entry["MCE_TRIGGER"] for entry in printed} == {"crossed", "before", "after"}
    assert "vda" in SEEN.read_text().split(), "the trigger saw the daemon's private /dev"
    told = entries(message_id("TRIGGER_RUN"), f"_SYSTEMD_UNIT={UNIT}")
    assert {entry["MCE_TRIGGER"] for entry in told} == {"crossed", "before", "after"}
    wait_for(lambda: not triggers.units(), "the units to go")
    assert not triggers.failed_units()


@scenario()
def as_shipped() -> None:
    """With the settings and scripts that come with mcelog: a page goes, and the scripts log it."""
    service.start()
    page = OwnPage()
    bad = page.address
    memory.send_errors(bad, 2)
    wait_for_entries(message_id("PAGE_OFFLINED"))
    wait_for_entries(message_id("TRIGGER_RUN"), count=2)
    assert memory.is_poisoned(bad)
    assert page.is_intact
    logged = [entry["MESSAGE"] for entry in entries("SYSLOG_IDENTIFIER=mcelog", "PRIORITY=3")]
    assert f"pre soft trigger run for page {bad}: 2 in 24h" in logged
    assert f"post soft trigger run for page {bad}: 2 in 24h" in logged
    assert "Location: SOCKET:0 CHANNEL:0 DIMM:? [DIMM 0]" in logged, logged
    assert not entries(message_id("TRIGGER_FAILED"))
    memory.give_back(bad)


@scenario()
def kernel_page_is_retried() -> None:
    """A page in a slab cache cannot be off-lined: said with its reason, and tried again ever more rarely."""
    triggers.settings(SOFT + "memory-ce-offline-retry = yes\n")
    service.start()
    bad = next(memory.pages_with(memory.SLAB))
    for tries, errors in enumerate((2, 4, 8), start=1):
        memory.send_errors(bad, errors - 1)
        service.wait_for_stored(2**tries - 2 + errors - 1)
        assert len(entries(message_id("PAGE_OFFLINE_FAILED"))) == tries - 1
        memory.send_errors(bad, 1)
        failures = wait_for_entries(message_id("PAGE_OFFLINE_FAILED"), count=tries)
        assert len(failures) == tries
        assert failures[-1]["MCE_PAGE"] == f"{bad:#x}"
        assert "slab cache" in failures[-1]["MCE_ERROR"]
        assert "EIO" in failures[-1]["MCE_ERROR"]
    shown = wait_for(service.client, "an answer")
    assert f'{bad:x}: total 14 seen "14 in 24h" offline-failed triggered' in shown
    assert not memory.is_poisoned(bad)


WORN_L1 = mce.RECORD | {"status": 0x8040000000000104, "misc": 0, "addr": 0, "bank": 1, "mcgcap": 0x90A}
"""A level-1 data cache beyond its threshold; MCG_CAP has MCG_TES_P."""


CPU0 = CPUS / "cpu0/online"
WHY_NOT = {True: "it is the last one", False: "the kernel does not let it go"}
"""CPU 0 cannot be taken offline since Linux 6.5."""


@scenario(append="cpu0_hotplug", limit=90)
def cpu_with_a_worn_cache() -> None:
    """CPU 1 is taken offline by the script that comes with mcelog; CPU 0 is not, being the last."""
    online = CPUS / "cpu1/online"
    service.start()
    try:
        mce.inject(WORN_L1 | {"cpu": 1})
        (entry,) = wait_for_entries(message_id("CPU_OFFLINED"))
        assert online.read_text() == "0\n"
        assert (entry["MCE_CPU"], entry["MCE_EVENT_ID"]) == ("1", "1")
        # journald cannot say whose entry it is when the process has ended before it looks
        unit = f"{triggers.UNITS}cache-error-trigger"
        assert entry.get("_SYSTEMD_UNIT", unit).startswith(unit)
        wait_for_entries(message_id("TRIGGER_RUN"))
        mce.inject(WORN_L1 | {"cpu": 0})
        (entry,) = wait_for_entries(message_id("CPU_OFFLINE_FAILED"))
        assert (entry["MCE_CPU"], entry["MCE_ERROR"]) == ("0", WHY_NOT[CPU0.exists()])
        assert not CPU0.exists() or CPU0.read_text() == "1\n"
        (failed,) = wait_for_entries(message_id("TRIGGER_FAILED"))
        assert failed["MCE_ERROR"] == "exit status 1"
    finally:
        online.write_text("1")
    assert not triggers.failed_units()


UNKNOWN = mce.RECORD | {"status": 0x8C0000000000040B, "bank": 1}
ON_UNKNOWN = "[socket]\nunknown-threshold-trigger = {}\n[trigger]\ntime-limit = 3\nchildren-max = 2\n"


@scenario()
def hung_trigger_is_ended() -> None:
    """By systemd, at time-limit, with all it started; and nothing of it stays behind."""
    triggers.settings(ON_UNKNOWN.format("hung"))
    triggers.script("hung", "sleep 543 &", "echo hanging", "sleep 543")
    service.start()
    mce.inject(UNKNOWN)
    wait_for_entries(message_id("TRIGGER_OUTPUT"))
    assert "hung" in triggers.units()
    (entry,) = wait_for_entries(message_id("TRIGGER_FAILED"))
    assert entry["MCE_TRIGGER"] == "hung"
    assert entry["MCE_ERROR"] == "did not end within 3 seconds; ended by systemd"
    assert run("pgrep", "-f", "sleep 543", check=False).returncode == 1
    wait_for(lambda: not triggers.units(), "its unit to go")
    assert not triggers.failed_units()
    assert not list(RUNTIME.glob("*.env"))


@scenario()
def failing_triggers_are_told() -> None:
    """With their reasons, in their order; the daemon goes on."""
    triggers.settings(ON_UNKNOWN.format("bad").replace("children-max = 2", "children-max = 1"))
    service.start()
    reasons: list[str] = []
    for lines in (None, ("exit 3",), ("kill -SEGV $$",)):
        if lines is not None:
            triggers.script("bad", *lines)
        mce.inject(UNKNOWN)
        failures = wait_for_entries(message_id("TRIGGER_FAILED"), count=len(reasons) + 1)
        reasons.append(failures[-1]["MCE_ERROR"])
    assert reasons == ["cannot be executed (status 203)", "exit status 3", "ended by SIGSEGV"], reasons
    assert "SOCKET" not in service.client()
    assert not triggers.failed_units()


@scenario(limit=120)
def many_triggers() -> None:
    """Twenty at once, two at a time, all are run; systemd keeps nothing of them."""
    triggers.settings(ON_UNKNOWN.format("short"))
    triggers.script("short", 'echo "$MCELOG_EVENT_ID"')
    service.start()
    mce.inject(UNKNOWN, "--count", "20")
    wait_for_entries(message_id("TRIGGER_RUN"), count=20)
    printed = [int(entry["MESSAGE"]) for entry in wait_for_entries(message_id("TRIGGER_OUTPUT"), count=20)]
    assert sorted(printed) == list(range(1, 21)), printed
    wait_for(lambda: not triggers.units(), "the units to go")
    assert not entries(message_id("TRIGGER_FAILED"))
