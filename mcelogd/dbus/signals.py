# SPDX-License-Identifier: GPL-2.0-only
"""Which signals somebody wants to hear, and to whom the names on the bus belong that they come from."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.dbus.wire import DBUS

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from mcelogd.dbus.library import Message


class Subscription:
    """Somebody wants to hear a signal."""

    def __init__(
        self, sender: str, path: str, member: tuple[str, str], arg0: str, callback: Callable[..., None]
    ) -> None:
        self.sender = sender
        self.path = path
        self.member = member
        self.arg0 = arg0
        self.callback = callback

    @property
    def rule(self) -> str:
        """What the bus is asked for (D-Bus Specification, "Match Rules")."""
        interface, member = self.member
        keys = {"sender": self.sender, "path": self.path, "interface": interface, "member": member}
        keys["arg0"] = self.arg0
        return "type='signal'" + "".join(f",{key}='{value}'" for key, value in keys.items() if value)

    def wants(self, signal: Message, owner: str) -> bool:
        """Whether it is the one, and not something like it: anybody can send us anything."""
        if not owner or signal.sender != owner or self.path not in ("", signal.path):
            return False
        return not self.arg0 or signal.body[:1] == [self.arg0]


class Owners:
    """To whom the names belong that we ask or listen to: what they send bears their unique name."""

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def __iter__(self) -> Iterator[str]:
        return iter(tuple(self._owners))

    def __contains__(self, name: str) -> bool:
        return name == DBUS or name.startswith(":") or name in self._owners

    def of(self, name: str) -> str:
        """Empty if nobody has it, or if we do not know yet."""
        return name if name == DBUS or name.startswith(":") else self._owners.get(name, "")

    def change(self, name: str, owner: str) -> None:
        self._owners[name] = owner
