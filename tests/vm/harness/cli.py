# SPDX-License-Identifier: GPL-2.0-only
"""The command `tools/vm`."""

from __future__ import annotations

import argparse
import fnmatch
import json
import signal
import sys
import time
from typing import TYPE_CHECKING

from guest.registry import scenarios
from harness import host, qemu, rootfs, session
from harness.common import VmError, say
from harness.systems import DEFAULT, SYSTEMS, system

if TYPE_CHECKING:
    from collections.abc import Sequence

JOURNAL_TAIL = 40


def journal_lines(journal: str, tail: int = JOURNAL_TAIL) -> list[str]:
    """The last entries as a person reads them."""
    lines = []
    for text in journal.splitlines()[-tail:]:
        entry = json.loads(text)
        message = entry.get("MESSAGE", "")
        if isinstance(message, list):
            message = bytes(message).decode(errors="replace")
        lines.append(f"{entry.get('SYSLOG_IDENTIFIER', '?')}[{entry.get('_PID', '?')}]: {message}")
    return lines


def explanation(result: session.Result) -> str:
    """Everything one wants to see of a failed scenario."""
    parts = [f"{result.name}: {result.verdict}: {result.reason}", "--- log", result.log.rstrip()]
    if result.journal:
        parts += [f"--- journal (last {JOURNAL_TAIL})", *journal_lines(result.journal)]
    if not result.log:
        parts += ["--- console (end)", result.console[-3000:]]
    return "\n".join(parts)


def _report(result: session.Result) -> None:
    line = f"{result.verdict:8}{result.name}  {result.seconds:.1f} s"
    print(line + (f"  {result.reason}" if result.reason else ""), flush=True)


def _matching(globs: Sequence[str]) -> list[str]:
    names = list(scenarios())
    for glob in globs:
        if not fnmatch.filter(names, glob):
            raise VmError(f"no scenario is named {glob!r}; `tools/vm list` shows them")
    return [name for name in names if not globs or any(fnmatch.fnmatch(name, glob) for glob in globs)]


def run(options: argparse.Namespace) -> int:
    words = list(options.words)
    name = words.pop(0) if words and words[0] in SYSTEMS else DEFAULT
    names = _matching(words)
    host.ensure()
    started = time.monotonic()
    results = session.run(system(name), names, _report)
    bad = [result for result in results if result.verdict == "failed"]
    for result in bad:
        print(f"\n{'=' * 70}\n{explanation(result)}")
    if options.logs:
        print(*(f"\n--- log of {one.name}\n{one.log}" for one in results if one.passed))
    skipped = sum(result.verdict == "skipped" for result in results)
    passed = len(results) - len(bad) - skipped
    say(f"{name}: {time.monotonic() - started:.0f} s")
    print(f"{passed} passed, {len(bad)} failed, {skipped} skipped")
    return 1 if bad else 0


def build(options: argparse.Namespace) -> int:
    host.ensure()
    for name in options.systems or [DEFAULT]:
        base = rootfs.base(system(name), fresh=options.fresh)
        print(base.kernel.image, base.image, sep="\n")
    return 0


def shell(options: argparse.Namespace) -> int:
    if not sys.stdin.isatty():
        raise VmError("a shell needs a terminal")
    host.ensure()
    with session.parts(system(options.system), with_project=True) as made, session.share(made) as path:
        if not made.project:
            say(f"{made.no_project}; going on without")
        say("end it with `poweroff`, or at once with Ctrl-A X; /vm is shared with this machine while it runs")
        return qemu.interactive(qemu.Machine(made.system, made.base, path))


def show(_: argparse.Namespace) -> int:
    print("systems:", *SYSTEMS)
    for one in scenarios().values():
        doc = (one.run.__doc__ or "").strip().splitlines()
        print(f"  {one.name:44}{doc[0] if doc else ''}")
    return 0


def arguments() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="tools/vm", description="Boot a Debian with a real /dev/mcelog, and test in it."
    )
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    known = ", ".join(SYSTEMS)
    one = commands.add_parser("shell", help="a root shell in the booted guest, with this tree installed")
    one.add_argument("system", nargs="?", default=DEFAULT, help=known)
    one.set_defaults(do=shell)
    one = commands.add_parser("run", help="run scenarios and print their verdicts")
    one.add_argument("words", nargs="*", metavar="[SYSTEM] [GLOB...]", help=f"{known}; names of scenarios")
    one.add_argument("--logs", action="store_true", help="also show what scenarios that passed have printed")
    one.set_defaults(do=run)
    one = commands.add_parser("build", help="build kernels and root file systems, if they are not there yet")
    one.add_argument("systems", nargs="*", metavar="SYSTEM", help=known)
    one.add_argument("--fresh", action="store_true", help="build anew, from today's packages")
    one.set_defaults(do=build)
    one = commands.add_parser("list", help="the systems and scenarios there are")
    one.set_defaults(do=show)
    return parser


def main() -> int:
    options = arguments().parse_args()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    try:
        status: int = options.do(options)
    except VmError as error:
        say(str(error))
        return 1
    except KeyboardInterrupt:
        return 130
    return status
