# SPDX-License-Identifier: GPL-2.0-only
"""Facts of CPU, firmware, kernel, memory, and of where records come from."""

from __future__ import annotations

import contextlib
import os
import re
import stat
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd.cpu import GENERIC, parse_cpuinfo
from mcelogd.dimms import check, smbios
from mcelogd.dimms.labels import Labels
from mcelogd.dimms.names import DimmNames
from mcelogd.doctor.facts import Hest, Machine, Memory, Process, Reading, Sources, Trace
from mcelogd.doctor.parse import parse_hest, parse_kernel_config
from mcelogd.doctor.reading import ask, gunzipped
from mcelogd.earlier.messages import count_told
from mcelogd.firmware import FirmwareError, read_edac, read_labels, read_smbios
from mcelogd.settings import Smbios

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mcelogd.doctor.reading import Root
    from mcelogd.settings import Settings

MACHINECHECK = "/sys/devices/system/machinecheck"
MOST_CPUS = 1024
KMSG_BYTES = 16 << 20
MOST_LINES = "100000"
PAGES = "/sys/devices/system/memory"
NAMES = ("mcelog", "rasdaemon")


def machine(root: Root) -> Machine:
    release = root.word("/proc/sys/kernel/osrelease")
    config_file, config = _config(root, release)
    return Machine(
        cpuinfo=root.text("/proc/cpuinfo"),
        container=_container(root),
        hypervisor=root.word("/sys/class/dmi/id/sys_vendor") or root.word("/sys/hypervisor/type"),
        cmdline=root.text("/proc/cmdline"),
        release=release,
        config=config,
        config_file=config_file,
        machinecheck=_machinecheck(root),
        hest=_hest(root),
    )


def _container(root: Root) -> str:
    """As systemd finds it out; empty for none."""
    if name := root.word("/run/systemd/container"):
        return name
    files = {"/run/.containerenv": "podman", "/.dockerenv": "docker"}
    return next((name for path, name in files.items() if root.look(path) is Reading.THERE), "")


def _config(root: Root, release: str) -> tuple[str, dict[str, str] | None]:
    reading, packed = root.bytes("/proc/config.gz")
    if reading is Reading.THERE and (text := gunzipped(packed)):
        return "/proc/config.gz", parse_kernel_config(text.decode(errors="replace"))
    if release and "/" not in release and "\0" not in release:
        for path in (
            f"/boot/config-{release}",
            f"/lib/modules/{release}/config",
            f"/usr/lib/modules/{release}/config",
        ):
            if (found := root.text(path)).is_there:
                return path, parse_kernel_config(found.text)
    return "", None


def _machinecheck(root: Root) -> dict[int, dict[str, str]] | None:
    reading, names = root.names(MACHINECHECK)
    numbers = sorted(
        int(match[1]) for name in names if (match := re.fullmatch(r"machinecheck(\d{1,6})", name))
    )
    if reading is Reading.MISSING or (reading is Reading.THERE and not numbers):
        return None
    return {number: _settings_of(root, number) for number in numbers[:MOST_CPUS]}


def _settings_of(root: Root, number: int) -> dict[str, str]:
    place = f"{MACHINECHECK}/machinecheck{number}"
    wanted = [
        name
        for name in root.names(place)[1]
        if name in ("ignore_ce", "dont_log_ce", "check_interval", "cmci_disabled", "trigger")
        or re.fullmatch(r"bank\d{1,3}", name)
    ]
    texts = {name: root.text(f"{place}/{name}", 4096) for name in wanted}
    return {name: text.text.strip() for name, text in texts.items() if text.is_there}


def _hest(root: Root) -> Hest:
    reading, table = root.bytes("/sys/firmware/acpi/tables/HEST")
    return parse_hest(table) if reading is Reading.THERE else Hest(reading)


def sources(root: Root, trace_root: str, records: int | None) -> Sources:
    processes, hidden = _processes(root)
    device, found = root.stat("/dev/mcelog")
    return Sources(
        device=device,
        is_character_device=found is None or stat.S_ISCHR(found.st_mode),
        processes=processes,
        hidden=hidden,
        trace=_trace(root, trace_root),
        lockdown=root.text("/sys/kernel/security/lockdown", 4096),
        cec_directory=root.look("/sys/kernel/debug/ras/cec") is Reading.THERE,
        edac=_edac(root),
        kernel_lines=_kernel_lines(root),
        records=records,
    )


def _trace(root: Root, place: str) -> Trace:
    mounted = root.look(f"{place}/events")
    if mounted is Reading.MISSING and root.look(f"{place}/trace") is Reading.THERE:
        mounted = Reading.THERE
    ours = f"{place}/instances/mcelog"
    return Trace(
        root=place,
        mounted=mounted,
        event=root.look(f"{place}/events/mce/mce_record"),
        instance=root.look(ours),
        enabled=root.text(f"{ours}/events/mce/mce_record/enable", 4096),
        buffer_percent=root.text(f"{ours}/buffer_percent", 4096),
        tracing_on=root.text(f"{ours}/tracing_on", 4096),
    )


def _edac(root: Root) -> tuple[str, ...]:
    place = "/sys/devices/system/edac/mc"
    numbers = [name for name in root.names(place)[1] if re.fullmatch(r"mc\d{1,4}", name)]
    return tuple(root.word(f"{place}/{name}/mc_name") or name for name in numbers)


def _kernel_lines(root: Root) -> int | None:
    """By the kernel's own buffer, which may have forgotten, and by the journal, which need not keep it."""
    reading, content = root.bytes("/dev/kmsg", KMSG_BYTES)
    found = [count_told(content.decode(errors="replace").splitlines())] if reading is Reading.THERE else []
    if root.is_running and os.geteuid() == 0:
        said = ask("journalctl", "-q", "--no-pager", "-b", "-k", "-o", "cat", "-n", MOST_LINES)
        found += [count_told(said.output.splitlines())] if said.status == 0 else []
    return max(found, default=None)


def _processes(root: Root) -> tuple[tuple[Process, ...], int]:
    """Those that read machine checks; and how many do not show what they have open."""
    found, hidden = [], 0
    for name in root.names("/proc")[1]:
        if not (name.isascii() and name.isdecimal()) or (root.is_running and int(name) == os.getpid()):
            continue
        command = root.text(f"/proc/{name}/cmdline", 4096).text.split("\0")
        title = root.word(f"/proc/{name}/comm")
        descriptors = _has_device(root, name)
        hidden += descriptors is None
        is_ours = _is_ours(command)
        if descriptors or title in NAMES or is_ours:
            found.append(Process(int(name), "mcelog" if is_ours else title, is_ours, bool(descriptors)))
    return tuple(found), hidden


def _is_ours(command: list[str]) -> bool:
    """A daemon that Python runs: `python3 -I /usr/sbin/mcelog --daemon`, or -m mcelogd."""
    python, *words = command
    if not python.rpartition("/")[2].startswith("python") or "--daemon" not in words:
        return False
    return "mcelogd" in words or any(word.rpartition("/")[2] == "mcelog" for word in words)


def _has_device(root: Root, process: str) -> bool | None:
    """Whether it has /dev/mcelog open; None if that may not be seen."""
    place = f"/proc/{process}/fd"
    reading, names = root.names(place)
    if reading is Reading.DENIED:
        return None
    for name in names:
        with contextlib.suppress(OSError):
            if (root / f"{place}/{name}").readlink() == Path("/dev/mcelog"):
                return True
    return False


def memory(root: Root, settings: Settings) -> Memory:
    found, trouble, denied = _smbios(root, settings)
    return Memory(
        soft=root.look(f"{PAGES}/soft_offline_page"),
        hard=root.look(f"{PAGES}/hard_offline_page"),
        recovery=root.text("/proc/sys/vm/memory_failure_recovery", 4096),
        enable_soft=root.text("/proc/sys/vm/enable_soft_offline", 4096),
        smbios=found,
        smbios_trouble=trouble,
        smbios_denied=denied,
    )


def _smbios(root: Root, settings: Settings) -> tuple[tuple[str, ...] | None, str, bool]:
    """What is wrong with it; else why that is not known, and whether root would know."""
    if settings.dmi is Smbios.NEVER:
        return (), "", False
    table = str(root / settings.dmi_table) if settings.dmi_table else None
    try:
        tables = read_smbios(str(root / "/sys"), table)
        parsed = smbios.parse(tables.entry, tables.table)
        return tuple(_problems(root, settings, parsed)), "", False
    except FirmwareError as error:
        return None, str(error), isinstance(error.__cause__, PermissionError)


def _problems(root: Root, settings: Settings, parsed: smbios.Smbios) -> Iterator[str]:
    try:
        labels = read_labels(str(root / settings.dimm_labels))
    except FirmwareError as error:
        yield str(error)
        labels = Labels()
    info = parse_cpuinfo(root.text("/proc/cpuinfo").text)
    cpu = settings.cpu or (info.cpu_type if info is not None else GENERIC)
    yield from map(str, labels.problems)
    yield from check.problems(parsed, DimmNames(cpu, parsed, read_edac(str(root / "/sys")), labels))
