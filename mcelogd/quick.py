# SPDX-License-Identifier: GPL-2.0-only
"""Where `mcelog` starts. What monitoring runs every few seconds is done here, the rest is cli.py's.

These commands need next to nothing of the program, and loading it would be
most of their time: the table of settings and `typing`, which it is made with,
cost more than the interpreter's own start.
"""

from __future__ import annotations

import sys

from mcelogd import __version__

INTERRUPTED = 130


def main() -> int:
    """Run the command; the exit status, as the C program has it."""
    if sys.stderr is not None and sys.argv[1:] == ["--version"]:
        sys.stderr.write(f"mcelog {__version__}\n")
        return 0
    try:
        status = _ask(sys.argv[1]) if sys.argv[1:] in (["--client"], ["--ping"]) else None
    except KeyboardInterrupt:
        return INTERRUPTED
    if status is not None:
        return status
    from mcelogd import cli

    return cli.main()


def _ask(command: str) -> int | None:
    """Ask the daemon at its usual place; None where that is for cli.py to find out."""
    from mcelogd import config

    try:
        found = config.load(config.DEFAULT_FILE, must_exist=False)
    except config.ConfigError:
        return None
    if found.find("server", "socket-path") is not None:
        return None
    from mcelogd import client

    ask = client.run_client if command == "--client" else client.run_ping
    return ask(config.DEFAULT_SOCKET)
