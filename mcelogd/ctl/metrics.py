# SPDX-License-Identifier: GPL-2.0-only
"""`mcelogctl metrics`: asks mcelog by D-Bus, and hands the answer to Prometheus in one of three ways."""

from __future__ import annotations

import asyncio
import sys
import threading
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

from mcelogd.ctl.exits import CtlError, Exit
from mcelogd.ctl.output import say
from mcelogd.ctl.service import MOST_AT_ONCE, connected

try:
    from mcelogd.metrics import text
    from mcelogd.metrics.families import Seen, families
except ImportError as error:
    raise CtlError(
        f"metrics cannot be made: {error}; install python3-prometheus-client, or by pip prometheus-client"
    ) from None

if TYPE_CHECKING:
    import argparse
    import socket

    from mcelogd.ctl.service import Service

IDLE_SECONDS = 300.0
"""An endpoint that nobody asks for so long ends; systemd keeps its socket."""
FRESH_SECONDS = 1.0
"""What was read is good for so long: however often one asks, mcelog is asked once a second at most."""


def metrics(options: argparse.Namespace) -> Exit:
    """Print them, put them into a file, or serve them. Where mcelog does not run, they say so.

    CtlError for options that make no sense together, and for a file that cannot be written.
    """
    if options.json:
        raise CtlError("metrics are OpenMetrics text and never JSON: leave --json out", Exit.USAGE)
    if options.textfile and options.serve:
        raise CtlError("--textfile and --serve are different ways; leave one of them out", Exit.USAGE)
    options.no_ask_password |= bool(options.textfile) or options.serve
    if options.serve:
        return _serve(options)
    seen, problem = asyncio.run(look(options))
    if options.textfile:
        return _write(Path(options.textfile), seen)
    sys.stdout.write(text.openmetrics(families(seen)).decode())
    if problem:
        say(problem)
    return Exit.OK


async def look(options: argparse.Namespace) -> tuple[Seen, str]:
    """What mcelog says, and why it is not all."""
    seen = Seen(None)
    try:
        async with connected(options, start=False) as service:
            seen = Seen(await service.manager())
            seen = seen._replace(objects=await service.objects(), pages=await _page_states(service))
    except CtlError as error:
        # Who may not read DIMMs still sees the totals; of who went away in between nothing is true any more.
        return seen if error.status is Exit.DENIED else Seen(None), str(error)
    return seen, ""


async def _page_states(service: Service) -> dict[str, int]:
    found: Counter[str] = Counter()
    offset, total = 0, 1
    while offset < total:
        pages, total = await service.call("ListPages", "uu", offset, MOST_AT_ONCE)
        found.update(page[3] for page in pages)
        offset += MOST_AT_ONCE
    return dict(found)


def _write(path: Path, seen: Seen) -> Exit:
    from mcelogd.metrics import textfile

    try:
        textfile.replace(path, text.classic(families(seen)))
    except OSError as error:
        raise CtlError(f"cannot write {path}: {error.strerror}") from None
    return Exit.OK


class Reader:
    """What mcelog says, asked for by several threads at any time."""

    def __init__(self, options: argparse.Namespace) -> None:
        self._options = options
        self._lock = threading.Lock()
        self._seen = Seen(None)
        self._until = 0.0

    def page(self, accept: str) -> tuple[bytes, str]:
        """The metrics in the format that an Accept header asks for, and its Content-Type."""
        with self._lock:
            if time.monotonic() >= self._until:
                self._seen, _ = asyncio.run(look(self._options))
                self._until = time.monotonic() + FRESH_SECONDS
            seen = self._seen
        return text.negotiated(families(seen), accept)


def _serve(options: argparse.Namespace) -> Exit:
    from mcelogd.metrics import endpoint

    endpoint.serve(_listeners(), Reader(options).page, IDLE_SECONDS)
    return Exit.OK


def _listeners() -> list[socket.socket]:
    """The sockets that systemd passed; CtlError if there is none."""
    import socket

    from systemd.daemon import listen_fds

    found = [socket.socket(fileno=fd) for fd in listen_fds()]
    if not found:
        raise CtlError(
            "there is no socket to serve on: systemctl start mcelog-exporter.socket, or try it by"
            " systemd-socket-activate -l 127.0.0.1:9948 mcelogctl metrics --serve",
            Exit.USAGE,
        )
    return found
