# SPDX-License-Identifier: GPL-2.0-only
"""The daemon while the bus is away, and when it is back."""

from __future__ import annotations

from typing import TYPE_CHECKING

from .conftest import memory_error, wait_for
from .dbus_daemon import FIRST, MANAGER, NAME, daemon_on, shipped_bus
from .privatebus import need
from .reliability import Claims, Part, fault

if TYPE_CHECKING:
    from pathlib import Path

MORE = 100


@fault(
    Part.BUS,
    "The bus goes away and comes back",
    says=("not on D-Bus: the bus closed the connection", "on D-Bus again"),
    sees="Callers get no answer; the socket's clients do",
    lost="Nothing but signals that nobody could hear; what is read afterwards is exact",
    recovers="By itself: it looks for the bus, and takes its name again",
)
def test_a_bus_that_goes_and_comes(tmp_path: Path, claims: Claims) -> None:
    need("busctl", "systemd")
    asked = ("busctl", "get-property", NAME, MANAGER, "org.mcelog.Manager", "RecordsRead")
    count = len(FIRST) // len(memory_error(0)) + MORE
    with shipped_bus() as bus, daemon_on(bus, tmp_path) as scratch:
        bus.stop()
        wait_for(lambda: "not on D-Bus" in scratch.log.read_text(), "the message")
        scratch.send(b"".join(memory_error(number) for number in range(MORE)))
        scratch.wait_stored(count)
        assert scratch.command("--client").returncode == 0
        bus.start()
        wait_for(lambda: bus.run(*asked).stdout == f"t {count}\n", "the name on the new bus")
        claims.recovered(scratch.log.read_text().count("on D-Bus again") == 1)
        claims.kept(scratch.stored(), count)
        claims.saw(scratch.log.read_text())
