#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-only
"""What it costs to start: commands next to a Python that does nothing, and the daemon until it is ready.

    .venv/bin/python bench/start.py [ROUNDS]

Commands are started as the installed ones are: by the interpreter itself, with
-I. Nothing has to answer --client: what it loads is the same.
"""

from __future__ import annotations

import sys
import tempfile
import time
from typing import Final

from common import PYTHON, ROOT, Daemon, bare, imported, interleaved, machine, median, processes, ratio

ROUNDS = 25
DAEMON_ROUNDS = 5

ENTRY: Final = "import sys; sys.path.append({root!r}); from {module} import main; sys.exit(main())"
"""What data/mcelog.in and data/mcelogctl.in are, on one line."""

LOG: Final = """\
mce: [Hardware Error]: CPU 3: Machine Check: 0 Bank 7: 8c00004000010090
mce: [Hardware Error]: TSC 123 ADDR 1234000 MISC 86
mce: [Hardware Error]: PROCESSOR 0:50654 TIME 1700000000 SOCKET 0 APIC 3 microcode 2006e05
"""


NOTHING: Final = "python3 -I -c pass"


def main() -> None:
    rounds = int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS
    print(f"{rounds} rounds; {machine()}")
    spent = commands_in_turns(rounds)
    print(f"{'':34} {'ms':>6} {'ratio':>6}")
    for name, times in spent.items():
        print(f"{name:34} {median(times) * 1e3:6.1f} {ratio(times, spent[NOTHING]):6.2f}")
    daemon()


def commands_in_turns(rounds: int) -> dict[str, list[float]]:
    """Processor seconds of each command, in each round."""
    mcelog, mcelogctl = (
        [PYTHON, "-I", "-c", ENTRY.format(root=str(ROOT), module=module)]
        for module in ("mcelogd.quick", "mcelogd.ctl.main")
    )
    with tempfile.NamedTemporaryFile("w", suffix=".log") as log:
        log.write(LOG)
        log.flush()
        commands = {
            NOTHING: [PYTHON, "-I", "-c", "pass"],
            "python3 -I -c 'import typing'": [PYTHON, "-I", "-c", "import typing"],
            "mcelog --version": [*mcelog, "--version"],
            "mcelog --client": [*mcelog, "--client"],
            "mcelog --ascii, one record": [*mcelog, "--ascii", "--file", log.name],
            "mcelogctl --version": [*mcelogctl, "--version"],
            "mcelogctl --help": [*mcelogctl, "--help"],
        }
        return interleaved(commands, rounds)


def daemon() -> None:
    """Until READY=1, next to an interpreter that imports the same modules and does no more."""
    names = imported()
    seconds, cpu, least = [], [], []
    for _ in range(DAEMON_ROUNDS):
        start = time.perf_counter()
        with Daemon() as running:
            seconds.append(time.perf_counter() - start)
            cpu.append(processes.cpu_seconds(running.pid))
        least.append(bare(names).seconds)
    print(f"{'python3 that imports as much':34} {median(least) * 1e3:6.0f} {ratio(least, least):6.2f}")
    print(f"{'daemon until READY=1':34} {median(cpu) * 1e3:6.0f} {ratio(cpu, least):6.2f}")
    print(f"{'by the clock':34} {median(seconds) * 1e3:6.0f}")


if __name__ == "__main__":
    main()
