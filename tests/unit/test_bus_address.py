# SPDX-License-Identifier: GPL-2.0-only
"""Where a bus is."""

from __future__ import annotations

import pytest

from mcelogd.dbus.connection import addresses


@pytest.mark.parametrize(
    ("setting", "environ", "found"),
    [
        ("system", {}, ["/run/dbus/system_bus_socket"]),
        ("system", {"DBUS_SYSTEM_BUS_ADDRESS": "unix:path=/a,guid=12"}, ["/a"]),
        ("session", {"XDG_RUNTIME_DIR": "/run/user/7"}, ["/run/user/7/bus"]),
        ("session", {"DBUS_SESSION_BUS_ADDRESS": "unix:abstract=/tmp/x"}, ["\0/tmp/x"]),
        ("unix:guid=1,path=/a%20b;tcp:host=x;unix:path=/c", {}, ["/a b", "/c"]),
    ],
)
def test_addresses(setting: str, environ: dict[str, str], found: list[str]) -> None:
    assert addresses(setting, environ) == found


@pytest.mark.parametrize(
    "setting", ["session", "tcp:host=localhost,port=1", "unix:runtime=yes", "", ":", "unix:path="]
)
def test_what_is_no_address(setting: str) -> None:
    with pytest.raises(ValueError, match=r"no bus|Unix socket"):
        addresses(setting, {})
