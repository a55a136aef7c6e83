# SPDX-License-Identifier: GPL-2.0-only
"""What the decoders of several Intel families share: telling code classes apart and labelling lines."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.decode.bits import LINE_WIDTH
from mcelogd.decode.compound import FILTERED

if TYPE_CHECKING:
    from collections.abc import Sequence


def is_bus_error(status: int) -> bool:
    """Whether MCACOD is a bus/interconnect code, 1PPT RRRR IILL.

    Not with the filter bit: what a model adds has never been shown for those.
    """
    return (status & 0xFFFF) >> 11 == 1


def is_memory_error(status: int) -> bool:
    """Whether MCACOD is a memory controller code, 1MMM CCCC, filtered or not."""
    return (status & 0xFFFF & ~FILTERED) >> 7 == 1


def labelled(label: str, texts: Sequence[str]) -> list[str]:
    """`texts` as lines, the first of them behind `label`.

    The label has a line of its own where there is nothing to put behind it,
    and where the first text alone is longer than a line.
    """
    if not texts or len(texts[0]) > LINE_WIDTH:
        return [label, *texts]
    return [label + texts[0], *texts[1:]]


def labelled_block(label: str, texts: Sequence[str]) -> list[str]:
    """As labelled(), with an empty line after texts; how Sandy and Ivy Bridge have always been shown."""
    lines = labelled(label, texts)
    return [*lines, ""] if texts else lines
