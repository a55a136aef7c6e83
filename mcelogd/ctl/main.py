# SPDX-License-Identifier: GPL-2.0-only
"""`mcelogctl` from its start to its exit status. Each command loads only what it needs."""

from __future__ import annotations

import os
import sys

from mcelogd import __version__
from mcelogd.ctl.exits import CtlError, Exit

TYPE_CHECKING = False
if TYPE_CHECKING:  # as typing's, whose import is as long as an interpreter's start
    import argparse
    from collections.abc import Sequence

    from mcelogd.ctl.output import Output

INTERRUPTED = 130


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; the exit status."""
    _open_standard_descriptors()
    try:
        status = _run(sys.argv[1:] if arguments is None else arguments)
        sys.stdout.flush()
    except CtlError as error:
        _say(str(error))
        status = error.status
    except BrokenPipeError:
        # Whoever read our output has had enough.
        _discard_output()
        return Exit.FAILURE
    except OSError as error:
        _say(f"cannot write to standard output: {error.strerror or error}")
        _discard_output()
        return Exit.FAILURE
    except KeyboardInterrupt:
        _discard_output()
        return INTERRUPTED
    return status


def _run(arguments: Sequence[str]) -> int:
    if any(one in ("-h", "--help") for one in arguments):
        # Before there is a parser, which takes as long to load as all the rest of this.
        from mcelogd.ctl.usage import help_asked_for

        if text := help_asked_for(arguments):
            sys.stdout.write(text)
            return Exit.OK
    if list(arguments) == ["--version"]:
        return _version()
    from mcelogd.ctl.arguments import parse
    from mcelogd.ctl.output import Output

    options = parse(arguments)
    if options.version:
        return _version()
    return _command(options, Output(options))


def _version() -> int:
    sys.stdout.write(f"mcelogctl {__version__}\n")
    return Exit.OK


def _command(options: argparse.Namespace, output: Output) -> int:
    if options.command == "doctor":
        return _doctor(options, output)
    if options.command in ("events", "show"):
        from mcelogd.ctl import events

        return (events.events if options.command == "events" else events.show)(options, output)
    if options.command == "metrics":
        from mcelogd.ctl.metrics import metrics

        return metrics(options)
    import asyncio

    if options.command == "monitor":
        from mcelogd.ctl.monitor import monitor

        return asyncio.run(monitor(options, output))
    from mcelogd.ctl import actions

    return asyncio.run(actions.run(options, output))


def _doctor(options: argparse.Namespace, output: Output) -> int:
    if options.host is not None:
        raise CtlError("doctor looks at this machine only: run it on the other, by ssh", Exit.USAGE)
    from mcelogd.doctor.report import report

    return report(output, options.root or "/")


def _say(text: str) -> None:
    from mcelogd.ctl.output import say

    say(text)


def _open_standard_descriptors() -> None:
    """Where they are closed, the next files opened must not become them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
    sys.stdout = sys.stdout or open(1, "w", closefd=False)  # noqa: SIM115  # by its number


def _discard_output() -> None:
    """Python would try once more at exit, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)
