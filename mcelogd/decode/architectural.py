# SPDX-License-Identifier: GPL-2.0-only
"""The machine-check architecture that every Intel CPU since the P6 has.

Source: Intel SDM vol. 3B, chapter "Machine-Check Architecture". What a model
adds (channels, DIMMs, model-specific codes) comes in as a Model.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from mcelogd.decode import compound
from mcelogd.decode.bits import (
    MCG_CAP_CMCI_P,
    MCG_CAP_SER_P,
    MCG_CAP_TES_P,
    MCG_STATUS_EIPV,
    MCG_STATUS_LMCES,
    MCG_STATUS_MCIP,
    MCG_STATUS_RIPV,
    MCI_STATUS_ADDRV,
    MCI_STATUS_AR,
    MCI_STATUS_EN,
    MCI_STATUS_FWST,
    MCI_STATUS_MISCV,
    MCI_STATUS_OVER,
    MCI_STATUS_PCC,
    MCI_STATUS_S,
    MCI_STATUS_UC,
    MCI_STATUS_VAL,
    extract,
)
from mcelogd.event import Finding, Kind, Location, Recovery, Severity, Tracking

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.record import MceRecord


def _no_lines(record: MceRecord) -> list[str]:  # noqa: ARG001 - the signature is Model's
    return []


def _one_channel(record: MceRecord, channel: int | None) -> tuple[Location, ...]:  # noqa: ARG001
    return (Location(channel=channel),)


def _plain_ecc(record: MceRecord) -> str | None:  # noqa: ARG001
    return None


class Model(NamedTuple):
    """What a CPU model adds to the architecture; the defaults add nothing.

    `describe` returns the model's own lines of decoded text. `locate` says
    where a memory error is, given the channel its code names; more than one
    Location where several DIMMs are involved. `corrected_by` says how a
    corrected error was corrected when it was not by ECC ("mirroring ...").
    `channel_offset` is what to add to the channel number for a bank.
    """

    describe: Callable[[MceRecord], list[str]] = _no_lines
    locate: Callable[[MceRecord, int | None], tuple[Location, ...]] = _one_channel
    corrected_by: Callable[[MceRecord], str | None] = _plain_ecc
    channel_offset: Callable[[int], int] = lambda _bank: 0


ARCHITECTURE_ONLY = Model()

ACTIONS = {1: "AR", 2: Recovery.SRAO.value, 3: Recovery.SRAR.value}
"""Names of MCi_STATUS S (bit 56) and AR (bit 55) together."""

TRACKING_LINES = {
    Tracking.GREEN: ("Threshold based error status: green",),
    Tracking.YELLOW: (
        "Threshold based error status: yellow",
        "The cache has corrected more errors than its threshold allows. It still works,",
        "but uncorrected errors may follow: plan to replace the processor",
    ),
    Tracking.RESERVED: ("Threshold based error status: res3",),
}


def decode(record: MceRecord, model: Model = ARCHITECTURE_ONLY) -> Finding:
    """The Finding for any record of a CPU with Intel's machine-check architecture."""
    code = compound.decode_code(record, model.channel_offset(record.bank))
    tracking = tracking_of(record)
    filtered = ("corrected filtering (some unreported errors in same region)",)
    mca = (*filtered, *code.lines) if compound.is_filtered(record.status) else code.lines
    lines = (
        mcg_status_line(record.mcgstatus),
        "MCi status:",
        *_status_lines(record, model),
        *TRACKING_LINES.get(tracking, ()),
        f"MCA: {mca[0]}",
        *mca[1:],
        *model.describe(record),
    )
    return Finding(
        kind=code.kind,
        severity=severity_of(record),
        what=" ".join(code.lines[0].split()),
        lines=lines,
        recovery=recovery_of(record),
        tracking=tracking,
        corrected_count=corrected_count(record),
        locations=model.locate(record, code.channel) if code.kind is Kind.MEMORY else (),
        cache=code.cache,
        bus=code.bus,
        root_port=code.root_port,
        classified=code.classified,
    )


def decode_thermal(record: MceRecord) -> Finding:
    """The Finding for bank 128: IA32_THERM_STATUS, bit 0 set while the CPU throttles itself.

    Source: Intel SDM vol. 3B, "Thermal Status Information"; Linux
    drivers/thermal/intel/therm_throt.c.
    """
    hot = bool(record.status & 1)
    if hot:
        lines: tuple[str, ...] = (
            f"Processor {record.cpu} is above trip temperature. Throttling enabled.",
            "It runs slower until it has cooled down: check fans, air flow and room temperature",
        )
    else:
        lines = (f"Processor {record.cpu} is below trip temperature. Throttling disabled",)
    return Finding(
        kind=Kind.THERMAL,
        severity=Severity.CORRECTED if hot else Severity.INFO,
        what="Above trip temperature" if hot else "Below trip temperature",
        lines=lines,
        classified=False,
    )


def mcg_status_line(mcgstatus: int) -> str:
    """The `MCG status:` line."""
    names = (
        (MCG_STATUS_RIPV, "RIPV"),
        (MCG_STATUS_EIPV, "EIPV"),
        (MCG_STATUS_MCIP, "MCIP"),
        (MCG_STATUS_LMCES, "LMCE"),
    )
    return "MCG status:" + "".join(f"{name} " for bit, name in names if mcgstatus & bit)


def severity_of(record: MceRecord) -> Severity:
    """Severity by PCC, UC and the recovery class (SDM vol. 3B, "UCR Error Classification")."""
    status = record.status
    if not status & MCI_STATUS_UC:
        return Severity.CORRECTED
    if status & MCI_STATUS_PCC:
        return Severity.FATAL
    recovery = recovery_of(record)
    if recovery is None:
        return Severity.UNCORRECTED
    return Severity.DEFERRED if recovery is Recovery.UCNA else Severity.RECOVERABLE


def recovery_of(record: MceRecord) -> Recovery | None:
    """UCNA, SRAO or SRAR; None for corrected and fatal errors and CPUs without MCG_CAP.SER_P.

    A record that does not hold MCG_CAP is taken to be of a CPU that has it.
    """
    status = record.status
    if not status & MCI_STATUS_UC or status & MCI_STATUS_PCC:
        return None
    if record.mcgcap and not record.mcgcap & MCG_CAP_SER_P:
        return None
    if not status & MCI_STATUS_S:
        return None if status & MCI_STATUS_AR else Recovery.UCNA
    return Recovery.SRAR if status & MCI_STATUS_AR else Recovery.SRAO


def tracking_of(record: MceRecord) -> Tracking:
    """Threshold-based error status: only of corrected errors, and where MCG_CAP.TES_P offers it."""
    if record.status & MCI_STATUS_UC:
        return Tracking.NONE
    if record.mcgcap and not record.mcgcap & MCG_CAP_TES_P:
        return Tracking.NONE
    return Tracking(record.status >> 53 & 3)


def corrected_count(record: MceRecord) -> int | None:
    """MCi_STATUS 52:38, 0 to 32767; None where MCG_CAP.CMCI_P does not offer it."""
    if not (record.mcgcap or 0) & MCG_CAP_CMCI_P:
        return None
    return extract(record.status, 38, 52)


def _status_lines(record: MceRecord, model: Model) -> list[str]:
    status = record.status
    lines = [] if status & MCI_STATUS_VAL else ["Machine check not valid"]
    if status & MCI_STATUS_OVER:
        lines.append("Error overflow")
    if status & MCI_STATUS_UC:
        lines.append("Uncorrected error")
    else:
        corrected_by = model.corrected_by(record)
        lines.append(f"Corrected error by {corrected_by}" if corrected_by else "Corrected error")
    if status & MCI_STATUS_EN:
        lines.append("Error enabled")
    if status & MCI_STATUS_MISCV:
        lines.append("MCi_MISC register valid")
    if status & MCI_STATUS_ADDRV:
        lines.append("MCi_ADDR register valid")
    if status & MCI_STATUS_PCC:
        lines.append("Processor context corrupt")
    elif status & (MCI_STATUS_S | MCI_STATUS_AR):
        lines.append(ACTIONS[extract(status, 55, 56)])
    if (record.mcgcap or 0) & MCG_CAP_SER_P and status & MCI_STATUS_FWST:
        lines.append("Firmware may have updated this error")
    return lines
