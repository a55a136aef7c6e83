# SPDX-License-Identifier: GPL-2.0-only
"""The command line of `mcelogctl`, parsed. Pure."""

from __future__ import annotations

import argparse
import re
from typing import TYPE_CHECKING, Any, NoReturn

from mcelogd.ctl.commands import COMMANDS, OPTIONS
from mcelogd.ctl.exits import CtlError, Exit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from mcelogd.ctl.commands import Argument


class _Parser(argparse.ArgumentParser):
    """Says what is wrong in one line, and where to read on."""

    def error(self, message: str) -> NoReturn:
        if "invalid choice" in message:
            message = "there is no such command"
        message = re.sub(r"^argument [^:]*: (?!expected)", "", message)
        raise CtlError(f"{message}; see {self.prog} --help", Exit.USAGE)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    """What the arguments say: `command`, and each option and argument by its long name.

    Options of all commands may stand before or after the command. Raises CtlError if the arguments make
    no sense.
    """
    root = _Parser(prog="mcelogctl", allow_abbrev=False, add_help=False)
    _add(root, OPTIONS)
    root.add_argument("--version", action="store_true", default=argparse.SUPPRESS)
    commands = root.add_subparsers(dest="command", metavar="COMMAND", parser_class=_Parser)
    for command in COMMANDS:
        parser = commands.add_parser(command.name, allow_abbrev=False, add_help=False)
        _add(parser, (*command.arguments, *OPTIONS))
    named = [one for command in COMMANDS for one in command.arguments]
    found = argparse.Namespace(**{_name(one): _absent(one) for one in (*named, *OPTIONS)})
    found.version = False
    root.parse_args(_joined(arguments), found)
    found.command = found.command or "status"
    if found.command == "reset" and bool(found.place) == found.all:
        raise CtlError("reset takes a DIMM, a socket, or --all; see mcelogctl reset --help", Exit.USAGE)
    return found


def _add(parser: argparse.ArgumentParser, arguments: Iterable[Argument]) -> None:
    """SUPPRESS: what is said before the command is not undone by what is not said after it."""
    for one in arguments:
        options: dict[str, Any] = {"default": argparse.SUPPRESS}
        if one.is_option and not one.value:
            options["action"] = "store_true"
        else:
            options |= {"metavar": one.value, "type": _converting(one.parse)}
        if not one.is_option and one.may_lack:
            options["nargs"] = "?"
        parser.add_argument(*one.names.split(), **options)


def _converting(parse: Callable[[str], object] | None) -> Callable[[str], object]:
    def convert(text: str) -> object:
        try:
            return parse(text) if parse is not None else text
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    return convert


def _name(argument: Argument) -> str:
    return argument.names.split()[-1].removeprefix("--").replace("-", "_")


def _absent(argument: Argument) -> bool | str | None:
    if _name(argument) == "address":
        return "system"
    return False if argument.is_option and not argument.value else None


def _joined(arguments: Sequence[str]) -> list[str]:
    """`--since -2h` as `--since=-2h`: argparse takes -2h for an option."""
    joined: list[str] = []
    for argument in arguments:
        if joined and joined[-1] in ("--since", "--until", "-S", "-U") and re.match(r"-\d", argument):
            joined[-1] += ("=" if joined[-1].startswith("--") else "") + argument
        else:
            joined.append(argument)
    return joined
