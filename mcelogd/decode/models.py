# SPDX-License-Identifier: GPL-2.0-only
"""Which CPU model decodes with what: the register that a new model adds one row to."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.intel import (
    broadwell_de,
    broadwell_epex,
    core2,
    denverton,
    diamond,
    dunnington,
    granite,
    haswell,
    i10nm,
    ivy_bridge,
    knights,
    nehalem,
    p4,
    p6old,
    sandy_bridge,
    sapphire,
    skylake_xeon,
    tulsa,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcelogd.decode.architectural import Model

MODELS: Mapping[str, Model] = {
    "broadwell-d": broadwell_de.MODEL,
    "broadwell-ep": broadwell_epex.MODEL,
    "clearwaterforest": granite.MODEL,
    "core2": core2.MODEL,
    "denverton": denverton.MODEL,
    "diamond_rapids": diamond.MODEL,
    "dunnington": dunnington.MODEL,
    "emeraldrapids_server": sapphire.MODEL,
    "graniterapids": granite.MODEL,
    "haswell-ep": haswell.MODEL,
    "icelake-d": i10nm.ICELAKE_D,
    "icelake_server": i10nm.ICELAKE_SERVER,
    "ivybridge-ep": ivy_bridge.MODEL,
    "knightslanding": knights.MODEL,
    "knightsmill": knights.MODEL,
    "nehalem": nehalem.NEHALEM,
    "p4": p4.MODEL,
    "p6old": p6old.MODEL,
    "sandybridge": sandy_bridge.SANDY_BRIDGE,
    "sandybridge-ep": sandy_bridge.SANDY_BRIDGE_EP,
    "sapphirerapids_server": sapphire.MODEL,
    "sierraforest": granite.MODEL,
    "skylake_server": skylake_xeon.MODEL,
    "snowridge": i10nm.SNOWRIDGE,
    "tulsa": tulsa.MODEL,
    "xeon75xx": nehalem.XEON75XX,
}
"""CpuType.name -> Model. A CPU without a row is decoded by the architecture alone."""
