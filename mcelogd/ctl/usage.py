# SPDX-License-Identifier: GPL-2.0-only
"""What `mcelogctl --help` prints. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.ctl.commands import COMMANDS, EXAMPLES, OPTIONS, Argument
from mcelogd.ctl.text import wrapped

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from mcelogd.ctl.commands import Command, Example

_LEFT = 32
_RIGHT = 66
"""Columns of a name, and of what is said about it."""

_HELP = Argument("-h --help", "", "this text; after a command, more about that one")
_VERSION = Argument("--version", "", "version of mcelogctl")


def help_asked_for(arguments: Sequence[str]) -> str:
    """The help that -h or --help asks for, of a command or of all; empty if nobody asks."""
    before_end = list(arguments)[: [*arguments, "--"].index("--")]
    if not {"-h", "--help"} & set(before_end):
        return ""
    named = {one.name: one for one in COMMANDS}
    return next((command_help(named[one]) for one in before_end if one in named), overview())


def overview() -> str:
    """All commands."""
    commands = ((f"{one.name} {one.usage}", one.summary) for one in COMMANDS)
    return (
        "Usage: mcelogctl [OPTION...] [COMMAND ...]\n\n"
        "Hardware errors of this machine, as mcelog knows them, and what to do about them.\n"
        "DIMM stands for SOCKET/CHANNEL/DIMM, such as 0/1/0, or for a label.\n\n"
        f"Commands:\n{_list(commands)}\n"
        f"Options:\n{_list(map(_named, (*OPTIONS, _HELP, _VERSION)))}\n"
        f"Examples:\n{_examples(EXAMPLES, 'mcelogctl')}\n"
        "Exit status:\n"
        "  0 done, 1 not done, 2 wrong arguments, 3 mcelog cannot be reached, 4 not allowed;\n"
        "  of status also 10 watch, 11 act, 12 machine checks are not being read;\n"
        "  of doctor 0 well, 1 warnings, 2 broken\n"
    )


def command_help(command: Command) -> str:
    """One command."""
    parts = [f"Usage: mcelogctl {command.name} {command.usage}".rstrip() + "\n", f"{command.summary}.\n"]
    if command.arguments:
        parts.append(_list(map(_named, command.arguments)))
    if command.text:
        parts.append(command.text + "\n")
    if command.examples:
        parts.append("Examples:\n" + _examples(command.examples, f"mcelogctl {command.name}"))
    parts.append("Options of all commands: mcelogctl --help\n")
    return "\n".join(parts)


def _named(argument: Argument) -> tuple[str, str]:
    if not argument.is_option:
        return argument.value, argument.text
    return f"{', '.join(argument.names.split())} {argument.value}", argument.text


def _list(items: Iterable[tuple[str, str]]) -> str:
    lines = []
    for name, text in items:
        first, *more = wrapped(text, _RIGHT)
        lines.append(f"  {name.rstrip():{_LEFT - 2}} {first}\n")
        lines += [" " * (_LEFT + 1) + line + "\n" for line in more]
    return "".join(lines)


def _examples(examples: Iterable[Example], program: str) -> str:
    lines = [(f"{program} {arguments}".rstrip(), text) for arguments, text in examples]
    wide = max(len(line) for line, _ in lines)
    return "".join(f"  {line:{wide}}   {text}\n" for line, text in lines)
