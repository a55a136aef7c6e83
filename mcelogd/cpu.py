# SPDX-License-Identifier: GPL-2.0-only
"""Which CPU a record comes from, and the names `--cpu` takes.

A CPU is one row of CPU_TYPES. Families and models are those of CPUID leaf 1
EAX (Intel SDM vol. 2A, CPUID; table "Version Information").
"""

from __future__ import annotations

import enum
import functools
from typing import NamedTuple


class Vendor(enum.IntEnum):
    """CPU vendors as `struct mce` numbers them (arch/x86/include/asm/processor.h)."""

    INTEL = 0
    CYRIX = 1
    AMD = 2
    UMC = 3
    CENTAUR = 5
    TRANSMETA = 7
    NSC = 8
    HYGON = 9
    ZHAOXIN = 10
    VORTEX = 11


VENDOR_NAMES = {
    Vendor.INTEL: "Intel",
    Vendor.CYRIX: "Cyrix",
    Vendor.AMD: "AMD",
    Vendor.UMC: "UMC",
    Vendor.CENTAUR: "Centaur",
    Vendor.TRANSMETA: "Transmeta",
    Vendor.NSC: "NSC",
    Vendor.HYGON: "Hygon",
    Vendor.ZHAOXIN: "Zhaoxin",
    Vendor.VORTEX: "Vortex",
}

VENDOR_IDS = {
    "GenuineIntel": Vendor.INTEL,
    "AuthenticAMD": Vendor.AMD,
    "HygonGenuine": Vendor.HYGON,
    "CentaurHauls": Vendor.CENTAUR,
    "  Shanghai  ": Vendor.ZHAOXIN,
}
"""CPUID leaf 0 vendor strings, as /proc/cpuinfo shows them under `vendor_id`."""


def vendor_name(number: int) -> str:
    """The vendor's name; `vendor N` for a number no kernel defines."""
    return VENDOR_NAMES.get(number, f"vendor {number}")  # type: ignore[call-overload, no-any-return]  # any int may be asked for


def vendor_number(name: str) -> int | None:
    """The number of a vendor's name, of `vendor N`, or of a plain number; None if it is neither."""
    for number, known in VENDOR_NAMES.items():
        if known == name:
            return int(number)
    digits = name.removeprefix("vendor ")
    return int(digits) if digits.isascii() and digits.isdigit() else None


class Signature(NamedTuple):
    """Family, model and stepping, the extended parts added as the SDM says."""

    family: int
    model: int
    stepping: int


def parse_cpuid(eax: int) -> Signature:
    """Signature of CPUID leaf 1 EAX (Intel SDM vol. 2A, CPUID; AMD APM vol. 3 appendix E)."""
    family = eax >> 8 & 0xF
    model = eax >> 4 & 0xF
    if family in (6, 0xF):
        model |= (eax >> 16 & 0xF) << 4
    if family == 0xF:
        family += eax >> 20 & 0xFF
    return Signature(family, model, eax & 0xF)


def format_cpuid(family: int, model: int, stepping: int = 0) -> int:
    """CPUID leaf 1 EAX of a family, model and stepping: the reverse of parse_cpuid."""
    eax = min(family, 0xF) << 8 | (model & 0xF) << 4 | stepping & 0xF
    if family >= 0xF:
        eax |= (family - 0xF & 0xFF) << 20
    if family == 6 or family >= 0xF:
        eax |= (model >> 4 & 0xF) << 16
    return eax


class CpuType(NamedTuple):
    """A row of CPU_TYPES: one kind of CPU as far as decoding goes.

    `name` is what `--cpu` takes, `aliases` what it takes as well; `title` is
    for people. `models` are Intel family 6 model numbers, or
    family << 8 | model for later families. `integrated_mc` says that memory
    errors name a channel of this CPU's own memory controller, so that they
    are counted per DIMM and socket.
    """

    name: str
    title: str
    vendor: Vendor | None
    models: tuple[int, ...] = ()
    aliases: tuple[str, ...] = ()
    integrated_mc: bool = True


def _intel(
    name: str, title: str, models: tuple[int, ...], *aliases: str, integrated_mc: bool = True
) -> CpuType:
    return CpuType(name, title, Vendor.INTEL, models, aliases, integrated_mc)


GENERIC = CpuType("generic", "generic CPU", None, integrated_mc=False)
K8 = CpuType("k8", "AMD K8 and derivates", Vendor.AMD, integrated_mc=False)
INTEL = _intel("intel", "Intel generic architectural MCA", ())
P4 = _intel("p4", "Intel P4", (), "xeon5000", integrated_mc=False)
TULSA = _intel("tulsa", "Intel Xeon 7100 series", (), "xeon7100", "xeon71xx", integrated_mc=False)
P6OLD = _intel("p6old", "Intel PPro/P2/P3/old Xeon", tuple(range(0xF)), integrated_mc=False)

# Model numbers: Intel SDM vol. 4, table 2-1; Linux arch/x86/include/asm/intel-family.h.
CPU_TYPES = (
    GENERIC,
    K8,
    INTEL,
    P4,
    TULSA,
    P6OLD,
    _intel("alderlake", "Alder Lake", (0x97, 0x9A, 0xBE)),
    _intel("arrowlake", "Arrow Lake", (0xB5, 0xC5, 0xC6)),
    _intel(
        "atom",
        "Atom",
        (0x1C, 0x26, 0x27, 0x35, 0x36, 0x37, 0x4A, 0x4C, 0x4D, 0x5A, 0x5D),
        integrated_mc=False,
    ),
    _intel("broadwell", "Broadwell", (0x3D, 0x47)),
    _intel("broadwell-d", "Intel Xeon (Broadwell) D family", (0x56,)),
    _intel("broadwell-ep", "Intel Xeon v4 (Broadwell) EP/EX", (0x4F,), "broadwell-ex", "xeon-v4"),
    _intel("clearwaterforest", "Clearwater Forest", (0xDD,)),
    _intel("cometlake", "Comet Lake", (0xA5, 0xA6)),
    _intel(
        "core2",
        "Intel Core",
        (0x0F, 0x17),
        "xeon3100",
        "xeon3200",
        "xeon5100",
        "xeon5200",
        "xeon7200",
        integrated_mc=False,
    ),
    _intel("denverton", "Denverton", (0x5F,)),
    _intel("diamond_rapids", "Diamond Rapids", (0x1301,)),
    _intel("dunnington", "Intel Xeon 7400 series", (0x1D,), "xeon7400", "xeon74xx", integrated_mc=False),
    _intel("emeraldrapids_server", "Emerald Rapids server", (0xCF,)),
    _intel("grandridge", "Grand Ridge", (0xB6,)),
    _intel("graniterapids", "Granite Rapids", (0xAD, 0xAE)),
    _intel("haswell", "Haswell", (0x3C, 0x45, 0x46)),
    _intel("haswell-ep", "Intel Xeon v3 (Haswell) EP/EX", (0x3F,), "haswell-ex", "xeon-v3"),
    _intel("icelake", "Ice Lake", (0x7D, 0x7E, 0x9D)),
    _intel("icelake-d", "Ice Lake server D family", (0x6C,)),
    _intel("icelake_server", "Ice Lake server", (0x6A,)),
    _intel("ivybridge", "Ivy Bridge", (0x3A,)),
    _intel("ivybridge-ep", "Intel Xeon v2 (Ivy Bridge) EP/EX", (0x3E,), "ivybridge-ex", "xeon-v2"),
    _intel("kabylake", "Kaby Lake", (0x8E, 0x9E)),
    _intel("knightslanding", "Knights Landing", (0x57,)),
    _intel("knightsmill", "Knights Mill", (0x85,)),
    _intel("lakefield", "Lakefield", (0x8A,)),
    _intel("lunarlake", "Lunar Lake", (0xBD,)),
    _intel("meteorlake", "Meteor Lake", (0xAA, 0xAC)),
    _intel(
        "nehalem",
        'Intel Xeon 5500 series / Core i3/5/7 ("Nehalem/Westmere")',
        (0x1A, 0x1E, 0x25, 0x2C),
        "westmere",
        "xeon5500",
        "core_i3",
        "core_i5",
        "core_i7",
    ),
    _intel("pantherlake", "Panther Lake", (0xCC,)),
    _intel("raptorlake", "Raptor Lake", (0xB7, 0xBA, 0xBF)),
    _intel("rocketlake", "Rocket Lake", (0xA7,)),
    _intel("sandybridge", "Sandy Bridge", (0x2A,)),
    _intel("sandybridge-ep", "Sandy Bridge EP", (0x2D,)),
    _intel("sapphirerapids_server", "Sapphire Rapids server", (0x8F,)),
    _intel("sierraforest", "Sierra Forest", (0xAF,)),
    _intel("skylake", "Skylake", (0x4E, 0x5E)),
    _intel("skylake_server", "Skylake server", (0x55,), "cascadelake_server"),
    _intel("tigerlake", "Tiger Lake", (0x8C, 0x8D)),
    _intel("snowridge", "Tremont microserver", (0x86,)),
    _intel("wildcatlake", "Wildcat Lake", (0xD5,)),
    _intel("xeon75xx", "Intel Xeon 7500 series", (0x2E, 0x2F), "xeon7500"),
)

_BY_NAME = {name: cpu for cpu in CPU_TYPES for name in (cpu.name, *cpu.aliases)}
_BY_INTEL_MODEL = {model: cpu for cpu in CPU_TYPES if cpu.vendor == Vendor.INTEL for model in cpu.models}

FIRST_INTEGRATED_MC = 0x1A
"""Intel family 6 model of Nehalem: newer models have the architectural MCA at the least."""


def by_name(name: str) -> CpuType | None:
    """The CPU type that `--cpu NAME` means; None for a name that is not known."""
    return _BY_NAME.get(name.lower())


def names() -> list[str]:
    """Every name `--cpu` takes."""
    return list(_BY_NAME)


@functools.cache
def by_signature(vendor: int, family: int, model: int) -> CpuType:
    """The CPU type of a vendor, family and model; the vendor's generic one where the model is new."""
    if vendor == Vendor.INTEL:
        return _intel_type(family, model)
    if vendor == Vendor.AMD and family == 0xF:
        return K8
    return GENERIC


def by_cpuid(vendor: int, eax: int) -> CpuType:
    """The CPU type a record's `cpuvendor` and `cpuid` name."""
    family, model, _ = parse_cpuid(eax)
    return by_signature(vendor, family, model)


class CpuInfo(NamedTuple):
    """The first processor of /proc/cpuinfo."""

    vendor: int
    family: int
    model: int

    @property
    def cpu_type(self) -> CpuType:
        return by_signature(*self)


def parse_cpuinfo(text: str) -> CpuInfo | None:
    """The first processor that /proc/cpuinfo describes; None where it names no family and model."""
    found: dict[str, str] = {}
    for line in text.splitlines():
        name, colon, value = line.partition(":")
        if colon:
            found.setdefault(name.strip(), value.removeprefix(" "))
    try:
        vendor = VENDOR_IDS.get(found["vendor_id"], 0xFF)
        return CpuInfo(int(vendor), int(found["cpu family"]), int(found["model"]))
    except (KeyError, ValueError):
        return None


def is_known(cpu: CpuType) -> bool:
    """False where decoding falls back to what every CPU of the vendor has in common."""
    return cpu not in (GENERIC, INTEL)


def _intel_type(family: int, model: int) -> CpuType:
    if family == 0xF:
        return TULSA if model == 6 else P4
    if family == 6:
        fallback = INTEL if model > FIRST_INTEGRATED_MC else P6OLD
        return _BY_INTEL_MODEL.get(model, fallback)
    if family > 0xF:
        return _BY_INTEL_MODEL.get(family << 8 | model, INTEL)
    return INTEL if family > 6 else GENERIC
