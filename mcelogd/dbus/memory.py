# SPDX-License-Identifier: GPL-2.0-only
"""The objects of DIMMs and sockets. data/org.mcelog.xml says what their properties mean."""

from __future__ import annotations

import contextlib
import time
from typing import TYPE_CHECKING, Any, Final

from mcelogd.account.memory import ANY, MemoryKey
from mcelogd.dbus.declare import Emits, Interface, readable
from mcelogd.dbus.wire import BusError
from mcelogd.rate import NEVER

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.account.books import Books
    from mcelogd.account.memory import Counter, MemoryErrors
    from mcelogd.dimms.names import DimmName
    from mcelogd.rate import Rate

NAME: Final = "org.mcelog"
MANAGER: Final = "/org/mcelog"
READ: Final = "org.mcelog.read"
INVALID_ARGUMENT: Final = "org.mcelog.Error.InvalidArgument"


class InvalidArgumentError(BusError):
    """An argument makes no sense."""

    def __init__(self, text: str) -> None:
        super().__init__(INVALID_ARGUMENT, text)


def path_of(key: MemoryKey) -> str:
    """The object of a DIMM or socket."""
    if key.is_socket:
        return f"{MANAGER}/socket/{key.socket}"
    words = ("any" if number == ANY else str(number) for number in key)
    return f"{MANAGER}/dimm/{'_'.join(words)}"


def key_of_path(path: str) -> MemoryKey:
    """The reverse of path_of(); raises InvalidArgumentError."""
    kind, _, rest = path.removeprefix(f"{MANAGER}/").partition("/")
    with contextlib.suppress(ValueError):
        if kind == "socket":
            return MemoryKey(int(rest), ANY, ANY)
        if kind == "dimm":
            socket, channel, dimm = (ANY if word == "any" else int(word) for word in rest.split("_"))
            return MemoryKey(socket, channel, dimm)
    raise InvalidArgumentError(f"{path} is neither a DIMM nor a socket of {NAME}")


class Counted:
    """What DIMMs and sockets have in common: the two counters of a row, 0 where there is none yet."""

    def __init__(self, key: MemoryKey, books: Books) -> None:
        self.key = key
        self.books = books

    @property
    def row(self) -> MemoryErrors | None:
        return self.books.memory.find(self.key)

    @property
    def rates(self) -> tuple[Rate, Rate]:
        rates = self.books.memory.rates[self.key.is_socket]
        return rates.corrected, rates.uncorrected

    def total(self, *, corrected: bool) -> int:
        counter = self._counter(corrected=corrected)
        return counter.total if counter is not None else 0

    def in_period(self, *, corrected: bool) -> int:
        counter = self._counter(corrected=corrected)
        rate = self.rates[0 if corrected else 1]
        return counter.bucket.seen_at(rate, int(time.time())) if counter is not None else 0

    @property
    def is_hit(self) -> bool:
        """Whether any error is counted."""
        return any(self.total(corrected=corrected) for corrected in (True, False))

    def threshold(self, *, corrected: bool) -> str:
        rate = self.rates[0 if corrected else 1]
        return "" if rate is NEVER else str(rate)

    def _counter(self, *, corrected: bool) -> Counter | None:
        row = self.row
        return None if row is None else row.corrected if corrected else row.uncorrected


class Dimm(Interface, name="org.mcelog.Dimm", read=READ):
    """A DIMM, or a channel whose errors do not name one."""

    def __init__(self, key: MemoryKey, books: Books, names: Callable[[MemoryKey], DimmName | None]) -> None:
        self._counted = Counted(key, books)
        self._names = names
        self.last_error = 0

    @readable("i", Emits.CONST)
    def Socket(self) -> int:
        return self._counted.key.socket

    @readable("i", Emits.CONST)
    def Channel(self) -> int:
        return self._counted.key.channel

    @readable("i", Emits.CONST)
    def Dimm(self) -> int:
        return self._counted.key.dimm

    @readable("s", Emits.CONST)
    def Label(self) -> str:
        return self._word("label")

    @readable("s", Emits.NAME)
    def Location(self) -> str:
        return self._word("location")

    @readable("s", Emits.NAME)
    def Manufacturer(self) -> str:
        return self._word("manufacturer")

    @readable("s", Emits.NAME)
    def PartNumber(self) -> str:
        return self._word("part")

    @readable("s", Emits.NAME)
    def SerialNumber(self) -> str:
        return self._word("serial")

    @readable("t", Emits.NAME)
    def Size(self) -> int:
        name = self._names(self._counted.key)
        return (name.size or 0) if name is not None else 0

    @readable("t", Emits.NAME)
    def CorrectedErrors(self) -> int:
        return self._counted.total(corrected=True)

    @readable("t", Emits.NAME)
    def UncorrectedErrors(self) -> int:
        return self._counted.total(corrected=False)

    @readable("t", Emits.NAME)
    def CorrectedInPeriod(self) -> int:
        return self._counted.in_period(corrected=True)

    @readable("t", Emits.NAME)
    def UncorrectedInPeriod(self) -> int:
        return self._counted.in_period(corrected=False)

    @readable("s", Emits.NAME)
    def CorrectedThreshold(self) -> str:
        return self._counted.threshold(corrected=True)

    @readable("s", Emits.NAME)
    def UncorrectedThreshold(self) -> str:
        return self._counted.threshold(corrected=False)

    @readable("t", Emits.NAME)
    def LastErrorTime(self) -> int:
        # One before it was replaced, or its counters were reset, is not this one's.
        return self.last_error if self._counted.is_hit else 0

    @readable("s", Emits.NAME)
    def FaultMode(self) -> str:
        verdict = self._verdict()
        return verdict.mode.value if verdict is not None else ""

    @readable("s", Emits.NAME)
    def Advice(self) -> str:
        verdict = self._verdict()
        return verdict.advice.value if verdict is not None else "none"

    @readable("as", Emits.NAME)
    def AdviceReasons(self) -> list[str]:
        verdict = self._verdict()
        return list(verdict.reasons) if verdict is not None else []

    def _word(self, name: str) -> str:
        found = self._names(self._counted.key)
        return str(getattr(found, name)) if found is not None else ""

    def _verdict(self) -> Any:
        faults = self._counted.books.faults
        return faults.verdict(self._counted.key) if faults is not None else None


class Socket(Interface, name="org.mcelog.Socket", read=READ):
    """A processor socket: its memory as a whole, and its cores."""

    def __init__(self, key: MemoryKey, books: Books) -> None:
        self._counted = Counted(key, books)

    @readable("i", Emits.CONST)
    def Socket(self) -> int:
        return self._counted.key.socket

    @readable("t", Emits.NAME)
    def CorrectedErrors(self) -> int:
        return self._counted.total(corrected=True)

    @readable("t", Emits.NAME)
    def UncorrectedErrors(self) -> int:
        return self._counted.total(corrected=False)

    @readable("t", Emits.NAME)
    def CorrectedInPeriod(self) -> int:
        return self._counted.in_period(corrected=True)

    @readable("t", Emits.NAME)
    def UncorrectedInPeriod(self) -> int:
        return self._counted.in_period(corrected=False)

    @readable("s", Emits.NAME)
    def CorrectedThreshold(self) -> str:
        return self._counted.threshold(corrected=True)

    @readable("s", Emits.NAME)
    def UncorrectedThreshold(self) -> str:
        return self._counted.threshold(corrected=False)

    @readable("a(utta{st})", Emits.NAME)
    def Cores(self) -> list[tuple[int, int, int, dict[str, int]]]:
        cores, now = self._counted.books.cores, int(time.time())
        if cores is None:
            return []
        return [
            (
                core.key.cpu,
                core.total,
                core.bucket.seen_at(cores.rate, now),
                {kind.value: total for kind, total in core.totals.items() if total},
            )
            for core in cores
            if core.key.socket == self._counted.key.socket
        ]


DIMM_CHANGES: Final = tuple(name for name, one in Dimm.properties.items() if one.emits is Emits.NAME)
COUNTS: Final = ("CorrectedErrors", "UncorrectedErrors", "CorrectedInPeriod", "UncorrectedInPeriod")
"""What each error changes, of both; of a DIMM the time of its last error too, of a socket its cores."""

SOCKET_CHANGES: Final = tuple(name for name, one in Socket.properties.items() if one.emits is Emits.NAME)
