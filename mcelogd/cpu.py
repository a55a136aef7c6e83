# SPDX-License-Identifier: GPL-2.0-only
"""Which CPU a record comes from, and the names `--cpu` takes.

A CPU is one row of CPU_TYPES, or of NEW_CPU_TYPES if the C program does not
know it. Families and models are those of CPUID leaf 1 EAX (Intel SDM vol. 2A,
CPUID; table "Version Information").
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
    """Signature of CPUID leaf 1 EAX (Intel SDM vol. 2A, CPUID; AMD APM vol. 3 appendix E).

    Zhaoxin's family 7 has the extended model too (Linux arch/x86/lib/cpu.c).
    """
    family = eax >> 8 & 0xF
    model = eax >> 4 & 0xF
    if family in (6, 7, 0xF):
        model |= (eax >> 16 & 0xF) << 4
    if family == 0xF:
        family += eax >> 20 & 0xFF
    return Signature(family, model, eax & 0xF)


def format_cpuid(family: int, model: int, stepping: int = 0) -> int:
    """CPUID leaf 1 EAX of a family, model and stepping: the reverse of parse_cpuid."""
    eax = min(family, 0xF) << 8 | (model & 0xF) << 4 | stepping & 0xF
    if family >= 0xF:
        eax |= (family - 0xF & 0xFF) << 20
    if family in (6, 7) or family >= 0xF:
        eax |= (model >> 4 & 0xF) << 16
    return eax


class Models(NamedTuple):
    """The models from `first` to `last`, both included, of a family."""

    family: int
    first: int = 0
    last: int = 0xFF


class CpuType(NamedTuple):
    """A row of CPU_TYPES: one kind of CPU as far as decoding goes.

    `name` is what `--cpu` takes, `aliases` what it takes as well; `title` is
    for people. `models` are Intel family 6 model numbers, or
    family << 8 | model for later families; `ranges` the models of other
    vendors. `integrated_mc` says that memory errors are those of this CPU's
    own memory controller, so that they are counted per DIMM and socket.
    """

    name: str
    title: str
    vendor: Vendor | None
    models: tuple[int, ...] = ()
    aliases: tuple[str, ...] = ()
    integrated_mc: bool = True
    ranges: tuple[Models, ...] = ()


def _intel(
    name: str, title: str, models: tuple[int, ...], *aliases: str, integrated_mc: bool = True
) -> CpuType:
    return CpuType(name, title, Vendor.INTEL, models, aliases, integrated_mc)


def _amd(name: str, title: str, *ranges: Models, aliases: tuple[str, ...] = ()) -> CpuType:
    return CpuType(name, title, Vendor.AMD, aliases=aliases, ranges=ranges)


GENERIC = CpuType("generic", "generic CPU", None, integrated_mc=False)
K8 = _amd("k8", "AMD K8 and derivates", Models(0xF))
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

AMD = CpuType("amd", "AMD generic MCA", Vendor.AMD, integrated_mc=False)
ZEN = _amd("zen", "AMD Zen of a newer generation")
HYGON = CpuType("hygon", "Hygon Dhyana", Vendor.HYGON, aliases=("dhyana",), ranges=(Models(0x18),))
ZHAOXIN = CpuType("zhaoxin", "Zhaoxin", Vendor.ZHAOXIN)
ZHAOXIN_KH50000 = CpuType("kh-50000", "Zhaoxin KH-50000", Vendor.ZHAOXIN, ranges=(Models(7, 0x7B, 0x7B),))
CENTAUR = CpuType("centaur", "Centaur (VIA)", Vendor.CENTAUR, integrated_mc=False)

# Zen generations: Linux arch/x86/kernel/cpu/amd.c, bsp_init_amd().
NEW_CPU_TYPES = (
    AMD,
    _amd("amd-10h", "AMD family 10h", Models(0x10), aliases=("barcelona", "shanghai", "istanbul")),
    _amd("amd-11h", "AMD family 11h", Models(0x11)),
    _amd("amd-12h", "AMD family 12h", Models(0x12), aliases=("llano",)),
    _amd("amd-14h", "AMD family 14h", Models(0x14), aliases=("bobcat",)),
    _amd(
        "amd-15h",
        "AMD family 15h",
        Models(0x15),
        aliases=("bulldozer", "piledriver", "steamroller", "excavator"),
    ),
    _amd("amd-16h", "AMD family 16h", Models(0x16), aliases=("jaguar", "puma")),
    ZEN,
    _amd(
        "zen1",
        "AMD Zen",
        Models(0x17, 0x00, 0x2F),
        Models(0x17, 0x50, 0x5F),
        aliases=("zen+", "naples"),
    ),
    _amd(
        "zen2",
        "AMD Zen 2",
        Models(0x17, 0x30, 0x4F),
        Models(0x17, 0x60, 0x7F),
        Models(0x17, 0x90, 0x91),
        Models(0x17, 0xA0, 0xAF),
        aliases=("rome",),
    ),
    _amd(
        "zen3",
        "AMD Zen 3",
        Models(0x19, 0x00, 0x0F),
        Models(0x19, 0x20, 0x5F),
        aliases=("milan",),
    ),
    _amd(
        "zen4",
        "AMD Zen 4",
        Models(0x19, 0x10, 0x1F),
        Models(0x19, 0x60, 0xAF),
        aliases=("genoa",),
    ),
    _amd(
        "zen5",
        "AMD Zen 5",
        Models(0x1A, 0x00, 0x2F),
        Models(0x1A, 0x40, 0x4F),
        Models(0x1A, 0x60, 0x7F),
        aliases=("turin",),
    ),
    HYGON,
    ZHAOXIN,
    ZHAOXIN_KH50000,
    CENTAUR,
)
"""What the C program refuses or knows nothing of."""

ALL_CPU_TYPES = (*CPU_TYPES, *NEW_CPU_TYPES)

_BY_NAME = {name: cpu for cpu in ALL_CPU_TYPES for name in (cpu.name, *cpu.aliases)}
_BY_INTEL_MODEL = {model: cpu for cpu in CPU_TYPES if cpu.vendor == Vendor.INTEL for model in cpu.models}

FIRST_ZEN_FAMILY = 0x17
FIRST_ZHAOXIN_FAMILY = 7

FIRST_INTEGRATED_MC = 0x1A
"""Intel family 6 model of Nehalem: newer models have the architectural MCA at the least."""


def by_name(name: str) -> CpuType | None:
    """The CPU type that `--cpu NAME` means; None for a name that is not known."""
    return _BY_NAME.get(name.lower())


def names(*, new: bool | None = None) -> list[str]:
    """The names `--cpu` takes: all, or only those the C program has not (`new`) or has."""
    return [name for name, cpu in _BY_NAME.items() if new in (None, cpu in NEW_CPU_TYPES)]


@functools.cache
def by_signature(vendor: int, family: int, model: int) -> CpuType:
    """The CPU type of a vendor, family and model; the vendor's generic one where the model is new."""
    if vendor == Vendor.INTEL:
        return _intel_type(family, model)
    if vendor == Vendor.AMD:
        return _in_range(Vendor.AMD, family, model) or (ZEN if family >= FIRST_ZEN_FAMILY else AMD)
    if vendor == Vendor.HYGON:
        return HYGON
    # Zhaoxin's CPUs have the one or the other vendor string.
    if vendor == Vendor.ZHAOXIN or (vendor == Vendor.CENTAUR and family >= FIRST_ZHAOXIN_FAMILY):
        return _in_range(Vendor.ZHAOXIN, family, model) or ZHAOXIN
    return CENTAUR if vendor == Vendor.CENTAUR else GENERIC


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
    return cpu not in (GENERIC, INTEL, AMD, ZEN, ZHAOXIN, CENTAUR)


def _in_range(vendor: Vendor, family: int, model: int) -> CpuType | None:
    for cpu in ALL_CPU_TYPES:
        for models in cpu.ranges if cpu.vendor is vendor else ():
            if models.family == family and models.first <= model <= models.last:
                return cpu
    return None


def _intel_type(family: int, model: int) -> CpuType:
    if family == 0xF:
        return TULSA if model == 6 else P4
    if family == 6:
        fallback = INTEL if model > FIRST_INTEGRATED_MC else P6OLD
        return _BY_INTEL_MODEL.get(model, fallback)
    if family > 0xF:
        return _BY_INTEL_MODEL.get(family << 8 | model, INTEL)
    return INTEL if family > 6 else GENERIC
