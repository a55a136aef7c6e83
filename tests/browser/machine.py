# SPDX-License-Identifier: GPL-2.0-only
"""The machine that the page is tried on: a server with two Ice Lake sockets, as its firmware describes
its DIMMs, and errors at chosen channels of it."""

from __future__ import annotations

import struct
import time

from ..integration.conftest import memory_error

CORRECTED = 0x9C00004000010080
UNCORRECTED = 0xBC00000000010080
"""MCi_STATUS of memory reads; the channel of the bank's controller comes on top."""

HOUR = 3600
DAY = 24 * HOUR

GIVEN_LABEL = "P2-DIMMD1 <img src=x onerror=alert(1)>"
"""One slot's name is not as it should be: firmware can write anything."""


def smbios() -> bytes:
    """Sockets with eight channels, in two halves; the first two channels of each have two DIMMs."""
    table = b""
    for socket in (0, 1):
        for channel in range(8):
            for slot in range(2 if channel < 2 else 1):
                label = f"P{socket + 1}-DIMM{'ABCDEFGH'[channel]}{slot + 1}"
                label = GIVEN_LABEL if label == GIVEN_LABEL.split()[0] else label
                bank = f"P{socket}_Node{channel // 4}_Channel{channel % 4}_Dimm{slot}"
                handle = 0x1100 + socket * 32 + channel * 2 + slot
                table += _device(handle, label, bank, "Example", f"5E{handle:06X}", "EX64G-3200R")
    return table + _structure(127, 0xFEFF, b"")


def _device(handle: int, *names: str) -> bytes:
    """A DIMM of 64 GiB: SMBIOS 3, section 7.18."""
    body = struct.pack("<HHHHHBBBBBHH", 0x1000, 0xFFFE, 72, 64, 0x7FFF, 9, 0, 1, 2, 26, 1 << 13, 3200)
    body += bytes([3, 4, 0, 5, 2]) + struct.pack("<I", 64 << 10)
    return _structure(17, handle, body.ljust(0x50, b"\0") + bytes(8), *names)


def _structure(kind: int, handle: int, body: bytes, *strings: str) -> bytes:
    text = b"".join(one.encode("ascii") + b"\0" for one in strings) or b"\0"
    return struct.pack("<BBH", kind, 4 + len(body), handle) + body + text + b"\0"


def error(socket: int, channel: int, page: int, *, ago: int = 0, status: int = CORRECTED) -> bytes:
    """One record: `channel` counts the socket's channels from 0, `ago` is in seconds."""
    at = int(time.time()) - ago
    controller, half = divmod(channel, 2)
    bank = 13 + 4 * controller
    return memory_error(page, status=status | half, bank=bank, socketid=socket, time=at, extcpu=socket * 32)


def history() -> bytes:
    """A month: one DIMM that fails, one with many errors, one with a few, one with some long ago."""
    told = [(days * DAY, 1, 6, 0x51A300 + days) for days in range(28, 9, -3)]
    told += [(hours * HOUR, 0, 4, 0x100000 + hours) for hours in (300, 250, 200, 140, 90, 30)]
    told += [(hours * HOUR, 0, 6, 0x3C4410) for hours in (20, 11, 7, 6, 4, 2)]
    for storm in (50, 3):
        told += [(storm * HOUR - n * 5, 1, 2, 0x7B3A5C + n % 4) for n in range(14)]
    # In the order in which the kernel would have reported them.
    corrected = [error(*where, ago=ago) for ago, *where in sorted(told, reverse=True)]
    return b"".join(corrected) + error(1, 2, 0x7B3A90, ago=HOUR, status=UNCORRECTED)
