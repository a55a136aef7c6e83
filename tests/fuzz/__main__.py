# SPDX-License-Identifier: GPL-2.0-only
"""`tools/fuzz`: one target, guided by coverage, until the time is up or something is found."""

from __future__ import annotations

import argparse
import logging
import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mcelogd", "json", "dbus_next"]):
    from .harness import check, inputs
    from .targets import TARGETS

LONGEST = 8192
"""Bytes of an input; longer ones find little that is new, and take long."""


def main() -> None:
    arguments = _arguments()
    target = TARGETS[arguments.target]
    work = Path(arguments.work or tempfile.mkdtemp(prefix="mcelog-fuzz-")) / target.name
    grown = work / "corpus"
    grown.mkdir(parents=True, exist_ok=True)
    for name, data in inputs(target).items():
        (grown / f"seed-{name}").write_bytes(data)
    print(f"{target.name}: {arguments.seconds} s; inputs and findings go to {work}", file=sys.stderr)
    options = [
        f"-max_total_time={arguments.seconds}",
        "-timeout=20",
        "-rss_limit_mb=1024",
        "-print_final_stats=1",
        f"-artifact_prefix={work}/finding-",
        f"-max_len={LONGEST}",
        str(grown),
    ]
    logging.disable()  # thousands of warnings a second
    atheris.Setup([sys.argv[0], *options], lambda data: check(target, data))
    atheris.Fuzz()


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="tools/fuzz", description=__doc__)
    parser.add_argument("target", choices=TARGETS, help="what is fuzzed")
    parser.add_argument("--seconds", type=int, default=600, help="how long (default: 600)")
    parser.add_argument("--work", help="directory for what is found (default: a new one)")
    return parser.parse_args()


if __name__ == "__main__":
    main()
