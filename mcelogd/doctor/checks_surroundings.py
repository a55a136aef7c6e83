# SPDX-License-Identifier: GPL-2.0-only
"""polkit, D-Bus, journald and triggers: whether others hear of errors, and may ask. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.doctor.facts import Reading
from mcelogd.doctor.finding import broken, cut, not_applicable, ok, unknown, warning

if TYPE_CHECKING:
    from mcelogd.doctor.facts import Facts, TriggerFile
    from mcelogd.doctor.finding import Finding

POLICY = "/usr/share/polkit-1/actions/org.mcelog.policy"
BUS_POLICY = "/usr/share/dbus-1/system.d/org.mcelog.conf"
CATALOG = "/usr/lib/systemd/catalog/mcelog.catalog"
FEWEST = 10_000
"""Messages in half a minute that journald takes of a service where nothing else is said."""


def polkit(facts: Facts) -> list[Finding]:
    """Whether others than root can be let in."""
    around = facts.surroundings
    if facts.chosen.bus == "none":
        return [not_applicable("mcelog is not on D-Bus: bus = none")]
    found = []
    why = "nobody but root can see DIMMs and pages by D-Bus, or do anything about them"
    if not around.polkitd:
        found.append(warning("polkit is not installed", why, "install it: apt install polkitd"))
    if not around.policy:
        remedy = f"install mcelog again, so that {POLICY} is there"
        found.append(
            warning("polkit does not know of mcelog: org.mcelog.policy is not installed", why, remedy)
        )
    return found or [ok("polkit says who may see and do what")]


def dbus(facts: Facts) -> list[Finding]:
    """Whether mcelog can be, and is, on the bus."""
    around = facts.surroundings
    if facts.chosen.bus == "none":
        return [not_applicable("mcelog is not on D-Bus: bus = none")]
    if not around.bus_policy and facts.chosen.bus == "system":
        return [
            broken(
                "the bus does not know of mcelog: org.mcelog.conf is not installed",
                "the bus lets mcelog neither have its name nor be called: mcelogctl does not work",
                f"install mcelog again, so that {BUS_POLICY} is there; then systemctl reload dbus",
            )
        ]
    answer = around.bus_answer
    if answer.status is None or facts.chosen.bus != "system":
        return [ok("mcelog is known to the bus; whether it answers was not asked")]
    if answer.status == 0:
        return [ok("mcelog answers on the bus")]
    if not _is_active(facts):
        return [not_applicable("mcelog is known to the bus, and not running")]
    return [
        warning(
            f"mcelog does not answer on the bus: {cut(answer.errors.strip()) or 'no reason given'}",
            "records are taken all the same, but mcelogctl does not work",
            "systemctl status dbus mcelog; then systemctl restart mcelog",
        )
    ]


def _is_active(facts: Facts) -> bool:
    return (facts.service.properties or {}).get("ActiveState") == "active"


def journald(facts: Facts) -> list[Finding]:
    """Whether what mcelog says is kept."""
    around = facts.surroundings
    where = "/etc/systemd/journald.conf and journald.conf.d; then systemctl restart systemd-journald"
    storage = around.journald.get("Storage", "").lower() or "auto"
    if not around.journal_socket:
        why = "what mcelog logs is seen by nobody"
        return [
            broken(
                "journald is not running",
                why,
                "systemctl start systemd-journald; without systemd set logfile",
            )
        ]
    if storage == "none":
        return [
            broken(
                "journald keeps nothing: Storage=none",
                "no event can be found afterwards",
                f"Storage=persistent in {where}",
            )
        ]
    found = []
    if storage == "volatile" or (storage == "auto" and not around.journal_kept):
        said = "Storage=volatile" if storage == "volatile" else "there is no /var/log/journal"
        remedy = (
            f"Storage=persistent in {where}"
            if storage == "volatile"
            else "mkdir -p /var/log/journal; journalctl --flush"
        )
        why = "the events before a crash are gone after it"
        found.append(warning(f"the journal is lost at each reboot: {said}", why, remedy))
    found += _rate(facts, where)
    return found or [ok(f"events are kept (Storage={storage})")]


def _rate(facts: Facts, where: str) -> list[Finding]:
    """The unit's own limit counts; where it has none, that of journald."""
    unit = facts.service.properties or {}
    burst, interval = unit.get("LogRateLimitBurst", ""), unit.get("LogRateLimitIntervalUSec", "")
    said = f"LogRateLimitBurst={cut(burst)} of mcelog.service"
    if not _number(burst):
        burst, said = facts.surroundings.journald.get("RateLimitBurst", ""), "RateLimitBurst of journald.conf"
        interval = facts.surroundings.journald.get("RateLimitIntervalSec", "")
    number = _number(burst)
    if number is None or number >= FEWEST or not number or interval in ("0", "0s"):
        return []
    why = "in a storm of errors journald throws away what exceeds it"
    remedy = f"LogRateLimitBurst=1000000 by systemctl edit mcelog, or RateLimitBurst in {where}"
    return [warning(f"journald takes only {number} messages at once: {said}", why, remedy)]


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdecimal() and len(text) < 20 else None


def catalog(facts: Facts) -> list[Finding]:
    """Whether journalctl -x can explain the events."""
    why = "journalctl -x does not explain what events mean and what to do about them"
    if not facts.surroundings.catalog:
        return [
            warning(
                "mcelog.catalog is not installed", why, f"install mcelog again, so that {CATALOG} is there"
            )
        ]
    known = facts.surroundings.catalog_known
    if known is None:
        return [unknown("whether journald knows our catalog cannot be seen", "journalctl --update-catalog")]
    if not known:
        return [warning("journald does not know our catalog", why, "journalctl --update-catalog")]
    return [ok("journalctl -x explains our events")]


def triggers(facts: Facts) -> list[Finding]:
    """Whether the programs of mcelog.conf can be run, and only root can change them."""
    around = facts.surroundings
    if not around.triggers:
        return [not_applicable(f"no triggers in {cut(facts.chosen.file)}")]
    found = [problem for one in around.triggers if (problem := _trigger(one, facts)) is not None]
    directory = around.trigger_directory
    if directory is not None and directory.reading is Reading.THERE and (problem := _owner(directory)):
        found.append(problem)
    return found or [ok(f"{len(around.triggers)} triggers can be run")]


def _trigger(one: TriggerFile, facts: Facts) -> Finding | None:
    path = cut(one.path)
    why = "it is not run when it is needed"
    without = f"or remove {one.setting} from {cut(facts.chosen.file)}"
    if one.reading is Reading.DENIED:
        return unknown(f"{path} may be seen by root only")
    if one.reading is not Reading.THERE or not one.is_file:
        what = "is not there" if one.reading is not Reading.THERE else "is no file"
        return warning(f"{one.setting} = {path}: it {what}", why, f"install it, {without}")
    if not one.mode & 0o111:
        return warning(f"{one.setting} = {path}: it is not executable", why, f"chmod 755 {path}")
    return _owner(one)


def _owner(one: TriggerFile) -> Finding | None:
    path = cut(one.path)
    if one.uid != 0:
        why = "its owner can have root do anything by it"
        return warning(f"{path} belongs to uid {one.uid}", why, f"chown root: {path}")
    writable = "anybody" if one.mode & 0o002 else "its group" if one.mode & 0o020 and one.gid else ""
    if writable:
        why = f"{writable} can have root do anything by it"
        return warning(f"{path} can be changed by {writable}", why, f"chmod go-w {path}")
    return None
