# SPDX-License-Identifier: GPL-2.0-only
"""What the checks go by: facts of a machine, as they were found. Pure."""

from __future__ import annotations

import enum
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Mapping


class Reading(enum.Enum):
    """What became of looking at a file."""

    THERE = enum.auto()
    MISSING = enum.auto()
    DENIED = enum.auto()
    FAILED = enum.auto()


class Text(NamedTuple):
    """A file: what is in it, or why that is not known."""

    reading: Reading = Reading.MISSING
    text: str = ""

    @property
    def is_there(self) -> bool:
        return self.reading is Reading.THERE

    @property
    def is_missing(self) -> bool:
        return self.reading is Reading.MISSING

    @property
    def is_denied(self) -> bool:
        return self.reading is Reading.DENIED

    @property
    def number(self) -> int | None:
        """The number in it; None if there is none."""
        text = self.text.strip()
        return int(text) if self.is_there and text.isascii() and text.isdecimal() and len(text) < 20 else None


MISSING = Text()


class Hest(NamedTuple):
    """The firmware's table of error sources (ACPI, "Hardware Error Source Table").

    `firmware_first` names sources of machine checks that the firmware keeps to itself; `generic` counts the
    sources by which it reports errors.
    """

    reading: Reading = Reading.MISSING
    firmware_first: tuple[str, ...] = ()
    generic: int = 0
    damaged: bool = False


class Machine(NamedTuple):
    """CPU, firmware and kernel; `config` is None where no configuration was found, `machinecheck` where
    sysfs has no such directory."""

    cpuinfo: Text = MISSING
    container: str = ""
    hypervisor: str = ""
    cmdline: Text = MISSING
    release: str = ""
    config: Mapping[str, str] | None = None
    config_file: str = ""
    machinecheck: Mapping[int, Mapping[str, str]] | None = None
    hest: Hest = Hest()


class Process(NamedTuple):
    """A process that has to do with machine checks; `has_device` if it has /dev/mcelog open."""

    pid: int
    name: str
    is_ours: bool = False
    has_device: bool = False


class Trace(NamedTuple):
    """tracefs: `root` is its directory, `event` the one of mce_record; the rest is of our instance."""

    root: str = "/sys/kernel/tracing"
    mounted: Reading = Reading.MISSING
    event: Reading = Reading.MISSING
    instance: Reading = Reading.MISSING
    enabled: Text = MISSING
    buffer_percent: Text = MISSING
    tracing_on: Text = MISSING


class Sources(NamedTuple):
    """Where records come from, and who else takes them. `hidden` processes do not show what they have open.

    Kernel lines are None where its log may not be read, `records` where ours may not.
    """

    device: Reading = Reading.MISSING
    is_character_device: bool = True
    processes: tuple[Process, ...] = ()
    hidden: int = 0
    trace: Trace = Trace()
    lockdown: Text = MISSING
    cec_directory: bool = False
    edac: tuple[str, ...] = ()
    kernel_lines: int | None = None
    records: int | None = None


class Memory(NamedTuple):
    """Pages and DIMMs; `smbios` is what is wrong with SMBIOS, None where it could not be read."""

    soft: Reading = Reading.MISSING
    hard: Reading = Reading.MISSING
    recovery: Text = MISSING
    enable_soft: Text = MISSING
    smbios: tuple[str, ...] | None = None
    smbios_trouble: str = ""
    smbios_denied: bool = False


class Answer(NamedTuple):
    """What a command said; `status` is None where it could not be run or did not end."""

    status: int | None = None
    output: str = ""
    errors: str = ""


class TriggerFile(NamedTuple):
    """A program that mcelog.conf names, or its directory; permissions are those of stat(2)."""

    setting: str
    path: str
    reading: Reading = Reading.MISSING
    is_file: bool = True
    mode: int = 0o755
    uid: int = 0
    gid: int = 0


class Surroundings(NamedTuple):
    """What else takes part: polkit, D-Bus, journald, triggers. Names of files are empty if there is none.

    `journal_kept` says whether there is a directory for a journal that outlives a reboot; `catalog_known` is
    None where that cannot be asked.
    """

    polkitd: str = ""
    policy: str = ""
    bus_policy: str = ""
    bus_answer: Answer = Answer()
    journald: Mapping[str, str] = {}
    journal_socket: bool = False
    journal_kept: bool = False
    catalog: str = ""
    catalog_known: bool | None = None
    trigger_directory: TriggerFile | None = None
    triggers: tuple[TriggerFile, ...] = ()


class Stored(NamedTuple):
    """The state directory; sizes in bytes, `newest` in seconds since the epoch, 0 for no record."""

    directory: str = "/var/lib/mcelog"
    reading: Reading = Reading.MISSING
    is_directory: bool = True
    writable: bool = True
    read_only: bool = False
    free: int | None = None
    database: Reading = Reading.MISSING
    trouble: str = ""
    aside: tuple[str, ...] = ()
    newest: int = 0


class Service(NamedTuple):
    """mcelog.service, by systemd's names of its properties; None where there is no systemd to ask."""

    properties: Mapping[str, str] | None = None
    enabled: str = ""
    """What is-enabled says."""


class Chosen(NamedTuple):
    """mcelog.conf, as far as checks need it; `error` says why it cannot be used, and then all is default."""

    file: str = "/etc/mcelog/mcelog.conf"
    error: str = ""
    denied: bool = False
    is_there: bool = True
    warnings: tuple[str, ...] = ()
    source: str = "auto"
    page_action: str = "off"
    bus: str = "system"


class Facts(NamedTuple):
    """All of them; `now`, `booted` and `rtc` are seconds since the epoch, None where that is not known."""

    machine: Machine = Machine()
    sources: Sources = Sources()
    memory: Memory = Memory()
    surroundings: Surroundings = Surroundings()
    stored: Stored = Stored()
    service: Service = Service()
    chosen: Chosen = Chosen()
    now: int = 0
    booted: int | None = None
    rtc: int | None = None
    is_root: bool = True

    @property
    def uses_device(self) -> bool:
        """Whether /dev/mcelog is read rather than tracefs."""
        wanted = self.chosen.source
        return wanted == "device" or (wanted == "auto" and self.sources.device is not Reading.MISSING)
