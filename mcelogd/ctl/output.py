# SPDX-License-Identifier: GPL-2.0-only
"""Standard output: a terminal with a pager, or a file, or a program that reads it."""

from __future__ import annotations

import json
import os
import shutil
import sys
import time
from typing import TYPE_CHECKING, Any

from mcelogd.ctl.look import Look
from mcelogd.ctl.text import printable

if TYPE_CHECKING:
    import argparse
    import subprocess
    from collections.abc import AsyncIterator, Iterable, Mapping

_LESS = "FRSXMK"
"""As systemd's tools call less: quits if all fits, shows colours, cuts lines, ends with Ctrl-C."""

_WIDE = 80


class Output:
    """What standard output is good for, and how to write to it."""

    def __init__(self, options: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> None:
        self._environ = environ
        self._is_terminal = sys.stdout.isatty()
        self._wants_pager = not options.no_pager
        self.json = bool(options.json)
        self.legend = not options.no_legend
        if hasattr(sys.stdout, "reconfigure"):
            sys.stdout.reconfigure(errors="replace")

    def look(self) -> Look:
        """How lines are to be."""
        room = shutil.get_terminal_size((_WIDE, 24)).columns if self._is_terminal else None
        return Look(time.time(), room=room, colour=self._has_colour(), legend=self.legend)

    def _has_colour(self) -> bool:
        """SYSTEMD_COLORS as in systemd(1); NO_COLOR as in https://no-color.org."""
        wish = self._environ.get("SYSTEMD_COLORS", "").lower()
        if wish:
            return wish not in ("0", "no", "n", "false", "f", "off")
        return (
            self._is_terminal
            and not self._environ.get("NO_COLOR")
            and self._environ.get("TERM", "dumb") != "dumb"
        )

    def document(self, value: Any) -> None:
        """JSON, indented where a person reads it. ASCII only, so that nothing in it commands a terminal."""
        text = json.dumps(value, indent=2 if self._is_terminal else None)
        self.lines([text])

    def lines(self, lines: Iterable[str]) -> None:
        """Write them, on a terminal through the pager."""
        with self.paged() as writer:
            for line in lines:
                writer.write(line)

    def paged(self) -> Writer:
        """For lines that come one by one: the pager ends with the `with` block."""
        return Writer(self._start_pager())

    def live(self) -> Writer:
        """For lines that must be seen at once."""
        return Writer(None, flush=True)

    def _start_pager(self) -> subprocess.Popen[str] | None:
        if not self._is_terminal or not self._wants_pager or self._environ.get("TERM", "dumb") == "dumb":
            return None
        import subprocess  # not for those who need no pager

        environment = {**self._environ, "LESS": self._environ.get("SYSTEMD_LESS", _LESS)}
        commands = ["less", "more"]
        if "SUDO_UID" in self._environ or "PKEXEC_UID" in self._environ:
            # Whoever may see this as root need not be allowed to start a shell from less.
            environment["LESSSECURE"] = "1"
            commands = ["less"]
        else:
            chosen = self._environ.get("SYSTEMD_PAGER", self._environ.get("PAGER"))
            if chosen is not None:
                if chosen.strip() in ("", "cat"):
                    return None
                commands.insert(0, chosen)
        for command in commands:
            try:
                return subprocess.Popen(
                    command.split(), stdin=subprocess.PIPE, text=True, errors="replace", env=environment
                )
            except OSError:
                continue
        return None


class Writer:
    """Writes lines, to the pager if there is one. Whoever leaves the pager has seen enough: no error."""

    def __init__(self, pager: subprocess.Popen[str] | None, *, flush: bool = False) -> None:
        self._pager = pager
        self._stream = sys.stdout if pager is None else pager.stdin
        self._flush = flush

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> bool:
        if self._pager is None:
            sys.stdout.flush()
            return False
        assert self._pager.stdin is not None
        try:
            self._pager.stdin.close()
        except BrokenPipeError:
            kind = kind or BrokenPipeError
        while True:
            try:
                self._pager.wait()
                break
            except KeyboardInterrupt:
                continue  # less, too, was told; it ends, or it does not
        return kind is BrokenPipeError

    def write(self, line: str) -> None:
        """A line without its end."""
        assert self._stream is not None
        self._stream.write(f"{line}\n")
        if self._flush:
            self._stream.flush()

    async def write_all(self, lines: AsyncIterator[str]) -> None:
        async for line in lines:
            self.write(line)


def say(text: str) -> None:
    """A line for the person who asked, beside what was asked for."""
    if sys.stderr is not None:
        sys.stderr.write(f"mcelogctl: {printable(text)}\n")
