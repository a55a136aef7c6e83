# SPDX-License-Identifier: GPL-2.0-only
"""Who may do what: as polkit says, each time anew.

Source: polkit Reference Manual, "org.freedesktop.PolicyKit1.Authority Interface".
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import logging
import os
from typing import TYPE_CHECKING, Any, Final, Protocol

from mcelogd.dbus import wire as dbus_wire
from mcelogd.dbus.wire import DBUS, DBUS_PATH, BusError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

log = logging.getLogger(__name__)

POLKIT: Final = "org.freedesktop.PolicyKit1"
AUTHORITY_PATH: Final = "/org/freedesktop/PolicyKit1/Authority"
AUTHORITY: Final = "org.freedesktop.PolicyKit1.Authority"

ANSWER_SECONDS = 10.0
"""How long polkit may think."""

PASSWORD_SECONDS = 300.0
"""How long a user may take to type a password."""

MAX_PENDING = 16
"""Checks of one user that may be under way."""

_ALLOW_USER_INTERACTION: Final = 1


class Bus(Protocol):
    """What of mcelogd.dbus.connection.BusConnection is needed here."""

    async def call(
        self,
        destination: str,
        path: str,
        interface: str,
        member: str,
        signature: str = "",
        body: Sequence[Any] = (),
        *,
        seconds: float = ...,
    ) -> list[Any]: ...

    def on_signal(
        self,
        sender: str,
        path: str,
        interface: str,
        member: str,
        callback: Callable[[list[Any]], None],
        *,
        arg0: str = "",
    ) -> Callable[[], None]: ...


class AccessDeniedError(BusError):
    """The caller may not do that."""

    def __init__(self, text: str) -> None:
        super().__init__(dbus_wire.ACCESS_DENIED, text)


class InteractionRequiredError(BusError):
    """The caller may do that once somebody has typed a password."""

    def __init__(self) -> None:
        super().__init__(dbus_wire.INTERACTION_REQUIRED, "Interactive authentication required.")


class Authority:
    """Decides whether the owner of a connection to the bus may do something."""

    def __init__(self, bus: Bus, own_uid: int | None = None) -> None:
        """`own_uid`: who runs this process, and so may do with it whatever he likes."""
        self._bus = bus
        self._passes = (0, os.geteuid() if own_uid is None else own_uid)
        self._numbers = itertools.count(1)
        self._pending: dict[int, int] = {}
        self._cancelling: set[asyncio.Task[None]] = set()
        self._trouble = ""

    async def check(
        self, sender: str, action: str, details: Mapping[str, str] | None = None, *, interactive: bool = False
    ) -> None:
        """Return if `sender`, a unique name on the bus, may do `action`, a polkit action id.

        `details` are for polkit's rules and the text of its dialog; `interactive`: the caller waits for
        that dialog. Root may always, whether there is a polkit or not. Raises AccessDeniedError, also
        where nobody can say; InteractionRequiredError; BusError if the user has too many pending.
        """
        uid = await self._uid(sender)
        if uid in self._passes:
            return
        with self._slot(uid):
            authorized, challenge = await self._ask(sender, action, details or {}, interactive)
        if authorized:
            return
        if challenge:
            raise InteractionRequiredError
        raise AccessDeniedError(f"not authorized for {action}")

    async def _uid(self, sender: str) -> int:
        """As the bus knows from the kernel."""
        question = (DBUS, DBUS_PATH, DBUS, "GetConnectionUnixUser", "s", [sender])
        try:
            (uid,) = await self._bus.call(*question, seconds=ANSWER_SECONDS)
        except BusError as error:
            raise AccessDeniedError("it is not known who you are") from error
        return int(uid)

    @contextlib.contextmanager
    def _slot(self, uid: int) -> Iterator[None]:
        if self._pending.get(uid, 0) >= MAX_PENDING:
            raise BusError(dbus_wire.LIMITS_EXCEEDED, "too many of your calls wait for authorization")
        self._pending[uid] = self._pending.get(uid, 0) + 1
        try:
            yield
        finally:
            self._pending[uid] -= 1
            if not self._pending[uid]:
                del self._pending[uid]

    async def _ask(
        self, sender: str, action: str, details: Mapping[str, str], interactive: bool
    ) -> tuple[bool, bool]:
        """(authorized, could be with a password). Asks no longer once the caller has left, or time is up."""
        number = str(next(self._numbers))
        flags = _ALLOW_USER_INTERACTION if interactive else 0
        subject = ("system-bus-name", {"name": ("s", sender)})
        seconds = PASSWORD_SECONDS if interactive else ANSWER_SECONDS
        asking = asyncio.get_running_loop().create_task(
            self._call(
                *("CheckAuthorization", "(sa{sv})sa{ss}us", [subject, action, dict(details), flags, number]),
                seconds=2 * seconds,
            )
        )
        try:
            with self._departure(sender) as left:
                either: set[asyncio.Future[Any]] = {asking, left}
                await asyncio.wait(either, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            if left.done() and not asking.done():
                raise AccessDeniedError("the caller has left the bus")
            if not asking.done():
                raise AccessDeniedError(f"no answer about {action} within {seconds:g} s")
        finally:
            if not asking.done():
                asking.cancel()
                self._cancel(number)
        return self._understood(asking)

    @contextlib.contextmanager
    def _departure(self, sender: str) -> Iterator[asyncio.Future[None]]:
        """Done when the caller has left the bus."""
        left: asyncio.Future[None] = asyncio.get_running_loop().create_future()

        def changed(body: list[Any]) -> None:
            if body[2] == "" and not left.done():
                left.set_result(None)

        unsubscribe = self._bus.on_signal(DBUS, DBUS_PATH, DBUS, "NameOwnerChanged", changed, arg0=sender)
        try:
            yield left
        finally:
            unsubscribe()

    def _understood(self, asking: asyncio.Task[list[Any]]) -> tuple[bool, bool]:
        try:
            ((authorized, challenge, _),) = asking.result()
        except BusError as error:
            if error.name == dbus_wire.NAME_HAS_NO_OWNER:
                raise AccessDeniedError("the caller has left the bus") from error
            self._log_trouble(str(error))
            raise AccessDeniedError("polkit cannot be asked, so only root may do this") from error
        except (TypeError, ValueError) as error:
            self._log_trouble("its answer makes no sense")
            raise AccessDeniedError("polkit cannot be asked, so only root may do this") from error
        self._trouble = ""
        return authorized is True, challenge is True

    def _log_trouble(self, trouble: str) -> None:
        """Once, not as often as anybody calls."""
        if trouble != self._trouble:
            log.warning("polkit cannot be asked, so only root is let in: %s", trouble)
        self._trouble = trouble

    def _cancel(self, number: str) -> None:
        """Take the dialog off the screen. Nobody waits for that, and it may be too late."""

        async def cancel() -> None:
            with contextlib.suppress(BusError):
                await self._call("CancelCheckAuthorization", "s", [number], seconds=ANSWER_SECONDS)

        task = asyncio.get_running_loop().create_task(cancel())
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def _call(self, member: str, signature: str, body: list[Any], seconds: float) -> list[Any]:
        return await self._bus.call(
            POLKIT, AUTHORITY_PATH, AUTHORITY, member, signature, body, seconds=seconds
        )
