# SPDX-License-Identifier: GPL-2.0-only
"""The row type of the tables of extended error codes of Scalable MCA banks."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from mcelogd.event import Kind


class Code(NamedTuple):
    """One extended error code.

    `name` is the manual's mnemonic, empty where none is public; `kind` None
    where it is that of the bank.
    """

    name: str
    text: str
    kind: Kind | None = None
