# SPDX-License-Identifier: GPL-2.0-only
"""Knights Landing and Knights Mill: the architecture's codes, but two memory controllers to number.

Source: Intel SDM vol. 3B, chapter "Interpreting Machine Check Error Codes",
section of signature 06_57H: each DDR memory controller counts its three
channels from 0; the second one reports through bank 15.
"""

from __future__ import annotations

from mcelogd.decode.architectural import Model

SECOND_CONTROLLER_BANK = 15
CHANNELS_PER_CONTROLLER = 3


def channel_offset(bank: int) -> int:
    """What to add to the channel a memory error in `bank` names, to number all of a socket's."""
    return CHANNELS_PER_CONTROLLER if bank == SECOND_CONTROLLER_BANK else 0


MODEL = Model(channel_offset=channel_offset)
