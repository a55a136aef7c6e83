# SPDX-License-Identifier: GPL-2.0-only
"""What settings can be: parsers from a setting's text to its value.

Each raises ValueError with a line that says what is accepted; that line
follows the offending text in a message. Rates are in rate.py.
"""

from __future__ import annotations

import math
import os
from typing import TYPE_CHECKING, TypeVar

from mcelogd.rate import NEVER, Rate, parse_rate

if TYPE_CHECKING:
    import enum
    from collections.abc import Callable

    from mcelogd.cpu import CpuType

    E = TypeVar("E", bound=enum.StrEnum)

ANYONE = -1
"""User or group `*`: every one. No process has the id (uid_t)-1."""

LARGEST_ID = 2**32 - 2

LARGEST_INT = 2**31 - 1

LONGEST_SOCKET_PATH = 107
"""Bytes of sun_path less the closing NUL: unix(7)."""

BOOLEANS = {
    "yes": True,
    "true": True,
    "1": True,
    "on": True,
    "no": False,
    "false": False,
    "0": False,
    "off": False,
}


class UnknownName(ValueError):
    """A user or group that this system does not have."""


def parse_bool(text: str) -> bool:
    """yes, true, 1, on; no, false, 0, off."""
    try:
        return BOOLEANS[text.lower()]
    except KeyError:
        raise ValueError(f"neither yes nor no ({', '.join(BOOLEANS)})") from None


def integer(least: int, most: int = LARGEST_INT) -> Callable[[str], int]:
    """A parser of whole numbers from `least` to `most`, decimal or 0x..."""

    def parse(text: str) -> int:
        number = _integer(text)
        if number is None or not least <= number <= most:
            raise ValueError(f"not a whole number from {least} to {most}")
        return number

    return parse


def parse_megahertz(text: str) -> float:
    """A clock frequency above 0."""
    try:
        number = float(text)
    except ValueError:
        number = 0.0
    if not math.isfinite(number) or number <= 0:
        raise ValueError("not a frequency in MHz such as 1800.00")
    return number


def choice(kind: type[E], *, yes: E | None = None, no: E | None = None) -> Callable[[str], E]:
    """A parser of an enumeration's values; `yes` and `no` are what those words mean, if anything."""
    words = {word: yes if truth else no for word, truth in BOOLEANS.items()}
    accepted = {word: member for word, member in words.items() if member}
    accepted |= {member.value: member for member in kind}

    def parse(text: str) -> E:
        try:
            return accepted[text.lower()]
        except KeyError:
            raise ValueError(f"none of {', '.join(member.value for member in kind)}") from None

    return parse


def parse_path(text: str) -> str:
    """The path of a file or directory; not empty.

    Made absolute: a daemon in the background is no longer where it was started.
    """
    if not text:
        raise ValueError("a path is needed")
    return os.path.abspath(text)  # noqa: PTH100  # pathlib costs every --client its import


def parse_socket_path(text: str) -> str:
    """The path of a Unix socket, made absolute; empty for none."""
    if text:
        text = os.path.abspath(text)  # noqa: PTH100
    if len(text.encode(errors="surrogateescape")) > LONGEST_SOCKET_PATH:
        raise ValueError(f"too long for a Unix socket: at most {LONGEST_SOCKET_PATH} bytes")
    return text


def parse_rate_or_off(text: str) -> Rate:
    """A rate such as `20 / 10`; `off` for a threshold that is never crossed."""
    return NEVER if BOOLEANS.get(text.lower()) is False else parse_rate(text)


def parse_share(text: str) -> float:
    """A percentage such as `0.1%` -> the share it is, 0.001."""
    digits = text.removesuffix("%").rstrip()
    try:
        percent = float(digits) if text.endswith("%") and digits[:1].isdigit() else -1.0
    except ValueError:
        percent = -1.0
    if not 0 <= percent <= 100:
        raise ValueError("not a percentage such as 0.1%")
    return percent / 100


def parse_trigger(text: str) -> str | None:
    """The program of a trigger; empty for none."""
    return text or None


def parse_bus(text: str) -> str:
    """`system`, `session`, `none`, or a D-Bus address such as `unix:path=/run/bus`."""
    if text.lower() in ("system", "session", "none"):
        return text.lower()
    transport, colon, rest = text.partition(":")
    if not (transport and colon and "=" in rest):
        raise ValueError("none of system, session, none, or a D-Bus address such as unix:path=/run/bus")
    return text


def parse_record_length(text: str) -> int:
    """Bytes of one `struct mce`: a length that a kernel can have."""
    from mcelogd.record import Layout, RecordLengthError

    number = _integer(text)
    if number is None:
        raise ValueError("not a number of bytes")
    try:
        return Layout(number).length
    except RecordLengthError as error:
        raise ValueError(str(error)) from error


def parse_cpu(text: str) -> CpuType:
    """The CPU type with that name."""
    from mcelogd import cpu

    found = cpu.by_name(text)
    if found is None:
        raise ValueError(f"none of the CPU types that mcelog --help lists{nearest(text, cpu.names())}")
    return found


def intel_cpu_name(text: str) -> str:
    """`FAMILY,MODEL` of an Intel CPU -> the name that parse_cpu takes."""
    from mcelogd import cpu

    family, comma, model = text.partition(",")
    numbers = (_integer(family), _integer(model))
    if not comma or numbers[0] is None or numbers[1] is None or min(numbers[0], numbers[1]) < 0:
        raise ValueError('not "FAMILY,MODEL" such as 6,0x3f')
    found = cpu.by_signature(cpu.Vendor.INTEL, numbers[0], numbers[1])
    if found is cpu.GENERIC:
        raise ValueError(f"no Intel CPU of family {numbers[0]} is known")
    return found.name


def parse_user(text: str) -> int:
    """A user's name or number -> uid; `*` -> ANYONE. Raises UnknownName."""
    import pwd

    return _account(text, "user", lambda name: pwd.getpwnam(name).pw_uid)


def parse_group(text: str) -> int:
    """A group's name or number -> gid; `*` -> ANYONE. Raises UnknownName."""
    import grp

    return _account(text, "group", lambda name: grp.getgrnam(name).gr_gid)


def to_run_as(parse: Callable[[str], int]) -> Callable[[str], int | None]:
    """A parser of a user or group to run as: `*` means to stay what one is."""

    def parse_run_as(text: str) -> int | None:
        number = parse(text)
        return None if number == ANYONE else number

    return parse_run_as


def text_of(value: object) -> str | None:
    """The text that parses to a default `value`; None for a setting that is not set."""
    if value is None or value is NEVER:
        return None
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{100 * value:g}%"
    return str(value)


def nearest(word: str, known: list[str]) -> str:
    """`; did you mean X?` for the known word that is most like it, or nothing."""
    import difflib  # only who has mistyped pays for it

    found = difflib.get_close_matches(word.lower()[:80], known, 1)
    return f'; did you mean "{found[0]}"?' if found else ""


def _account(text: str, what: str, look_up: Callable[[str], int]) -> int:
    if text == "*":
        return ANYONE
    if text.isdecimal() and (number := _integer(text)) is not None and number <= LARGEST_ID:
        return number
    try:
        return look_up(text)
    except (KeyError, ValueError):  # ValueError: a name that no encoding can hold
        raise UnknownName(f"this system has no such {what}") from None


def _integer(text: str) -> int | None:
    """A decimal or 0x number of at most 20 digits; None for anything else int() takes, such as 1_000."""
    sign, digits = ("-", text[1:]) if text.startswith("-") else ("", text)
    if not (digits.isascii() and digits.isalnum() and len(digits) <= 20):
        return None
    try:
        return int(sign + digits, 16 if digits[:2].lower() == "0x" else 10)
    except ValueError:
        return None
