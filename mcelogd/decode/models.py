# SPDX-License-Identifier: GPL-2.0-only
"""Which CPU model decodes with what: the register that a new model adds one row to."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from mcelogd.decode.architectural import Model

MODELS: Mapping[str, Model] = {}
"""CpuType.name -> Model. A CPU without a row is decoded by the architecture alone."""
