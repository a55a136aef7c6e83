# SPDX-License-Identifier: GPL-2.0-only
"""mcelog itself: its state, its clock, its unit, its settings. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.doctor.facts import Reading
from mcelogd.doctor.finding import broken, cut, ok, unknown, warning

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcelogd.doctor.facts import Facts
    from mcelogd.doctor.finding import Finding

LEAST_FREE = 16 << 20
"""Bytes that the store may need at once."""

WRITTEN = 1_767_225_600
"""2026: no clock that is right shows an earlier time to this program."""

HOUR = 3600
DAY = 86400


def state(facts: Facts) -> list[Finding]:
    """Whether records and counters survive a restart."""
    stored = facts.stored
    place = cut(stored.directory)
    why = "counters and records do not survive a restart"
    if stored.reading is Reading.DENIED:
        return [unknown(f"{place} may be looked into by root only")]
    if stored.reading is not Reading.THERE:
        return [
            warning(f"{place} is not there yet", "mcelog makes it when it starts", "systemctl start mcelog")
        ]
    if not stored.is_directory:
        return [broken(f"{place} is no directory", why, f"rm {place}; systemctl restart mcelog")]
    found = []
    if stored.read_only:
        found.append(broken(f"{place} is read-only", why, f"mount -o remount,rw on what {place} is on"))
    elif facts.is_root and not stored.writable:
        found.append(broken(f"{place} cannot be written to", why, f"chown root: {place}; chmod 750 {place}"))
    if stored.free is not None and stored.free < LEAST_FREE:
        remedy = f"make room: df {place}; or lower store-max-size in {cut(facts.chosen.file)}"
        found.append(warning(f"{place} has {stored.free >> 20} MiB left", why + " where it is full", remedy))
    found += _database(facts)
    return found or [ok(f"{place} can be written to, and its records read")]


def _database(facts: Facts) -> list[Finding]:
    stored = facts.stored
    place = cut(stored.directory)
    if stored.database is Reading.DENIED:
        return [unknown(f"{place}/mcelog.db may be read by root only")]
    if stored.trouble:
        return [
            broken(
                f"the store cannot be used: {cut(stored.trouble)}",
                "earlier events and counters cannot be read",
                "systemctl restart mcelog: it moves a damaged store aside and begins a new one; "
                f"sqlite3 {place}/mcelog.db.damaged-TIME .recover shows what is left",
            )
        ]
    if stored.aside:
        names = cut(", ".join(stored.aside))
        return [
            warning(
                f"a damaged store was moved aside: {names}",
                "events and counters of before are in there, and the disk may be failing",
                f"sqlite3 {place}/{cut(stored.aside[-1])} .recover shows what is left; then rm it",
            )
        ]
    return []


def clock(facts: Facts) -> list[Finding]:
    """Whether times of events can be right: thresholds go by them, too."""
    if facts.now < WRITTEN:
        return [
            warning(
                "the clock is in the past, before this program was written",
                "thresholds go by time: what is counted now is forgotten once the clock is set",
                "timedatectl set-time; hwclock --systohc; and a new battery for the board",
            )
        ]
    if facts.stored.newest > facts.now + HOUR:
        return [
            warning(
                f"the newest record is {_span(facts.stored.newest - facts.now)} in the future",
                "the clock was set back: thresholds go by time, and count nothing until then",
                "timedatectl shows the time; mcelogctl reset --all begins anew",
            )
        ]
    if facts.rtc is not None and abs(facts.rtc - facts.now) > DAY:
        what = f"the clock of the board differs by {_span(abs(facts.rtc - facts.now))}"
        return [warning(what, "after a boot the first events have that time", "hwclock --systohc")]
    return [ok("the clock is plausible")]


def _span(seconds: int) -> str:
    return f"{seconds // DAY} days" if seconds >= 2 * DAY else f"{seconds // HOUR} hours"


def service(facts: Facts) -> list[Finding]:
    """Whether mcelog runs, and will after a boot."""
    unit = facts.service.properties
    enabled = facts.service.enabled
    if unit is None:
        return [_without_systemd(facts)]
    load, active = unit.get("LoadState", ""), unit.get("ActiveState", "")
    why = "machine checks are not being read"
    if load == "masked" or enabled.startswith("masked"):
        return [
            broken("mcelog.service is masked", why, "systemctl unmask mcelog; systemctl enable --now mcelog")
        ]
    if load == "not-found" or (not load and enabled in ("", "not-found")):
        return [
            broken(
                "there is no mcelog.service", why, "install mcelog again; then systemctl enable --now mcelog"
            )
        ]
    found = []
    if active == "failed" or unit.get("SubState") == "auto-restart":
        again = " and is started again and again" if active != "failed" else ""
        what = f"mcelog.service failed ({cut(unit.get('Result', '')) or 'no reason given'}){again}"
        remedy = "journalctl -u mcelog -b says why; then systemctl restart mcelog"
        found.append(broken(what, why, remedy))
    elif active == "inactive":
        found.append(_inactive(unit))
    elif active:
        status = cut(unit.get("StatusText", ""))
        found.append(ok(f"mcelog.service is {cut(active)}{f': {status}' if status else ''}"))
    if enabled == "disabled":
        at_boot = "after the next boot it is not started"
        found.append(warning("mcelog.service is not enabled", at_boot, "systemctl enable mcelog"))
    return found or [ok(f"mcelog.service is {cut(enabled)}")]


def _inactive(unit: Mapping[str, str]) -> Finding:
    if unit.get("ConditionResult") == "no" and unit.get("ConditionTimestampMonotonic", "0") not in ("", "0"):
        what = "mcelog.service was not started, because a condition of it does not hold"
        remedy = "systemctl status mcelog names the condition; see the links above"
        return broken(what, "machine checks are not being read", remedy)
    return broken(
        "mcelog.service is not running", "machine checks are not being read", "systemctl start mcelog"
    )


def _without_systemd(facts: Facts) -> Finding:
    ours = [one.pid for one in facts.sources.processes if one.is_ours]
    if ours:
        return ok(f"mcelog is running (process {ours[0]}), without systemd")
    why = "machine checks are not being read"
    return broken("mcelog is not running, and systemd neither", why, "mcelog --daemon")


def configuration(facts: Facts) -> list[Finding]:
    """Whether the settings mean what they were meant to."""
    chosen = facts.chosen
    if chosen.denied:
        return [unknown(f"{cut(chosen.file)} may be read by root only")]
    if chosen.error:
        why = "mcelog does not start with it"
        return [
            broken(cut(chosen.error), why, f"correct that line of {cut(chosen.file)}; mcelog --check-config")
        ]
    if chosen.warnings:
        why = "something in it does not mean what it looks like"
        remedy = f"correct {cut(chosen.file)}, then systemctl reload mcelog; mcelog --check-config"
        return [warning(cut(text), why, remedy) for text in chosen.warnings[:5]]
    if not chosen.is_there:
        return [ok(f"{cut(chosen.file)} is not there: all is by default")]
    return [ok(f"{cut(chosen.file)} has nothing wrong in it, source = {cut(chosen.source)}")]
