# SPDX-License-Identifier: GPL-2.0-only
"""AMD CPUs of which only the architecture is known (before K8): the error code alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.amd import codes, status
from mcelogd.decode.amd.codes import Form
from mcelogd.event import Finding, Kind

if TYPE_CHECKING:
    from mcelogd.record import MceRecord

KINDS = {Form.TLB: Kind.TLB, Form.MEM: Kind.CACHE, Form.BUS: Kind.BUS, Form.INT: Kind.INTERNAL}


def decode(record: MceRecord) -> Finding:
    """The Finding for a record of a CPU whose banks are not known."""
    code = record.status & 0xFFFF
    kind = KINDS.get(codes.form_of(code), Kind.UNKNOWN)
    what = codes.describe(code)
    how_bad = status.severity(record.status)
    return Finding(
        kind=kind,
        severity=how_bad,
        what=what,
        lines=(*status.status_lines(record, how_bad, 0), f"MCA: {what}"),
        cache=codes.cache_unit(code),
        bus=codes.bus_error(code),
        classified=kind is not Kind.UNKNOWN,
    )
