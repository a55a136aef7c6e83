# SPDX-License-Identifier: GPL-2.0-only
"""`mcelogctl doctor` and `mcelog --doctor`: from the machine to the report and the exit status."""

from __future__ import annotations

from typing import TYPE_CHECKING

from mcelogd.config import DEFAULT_FILE
from mcelogd.doctor.checks import examine
from mcelogd.doctor.finding import exit_status
from mcelogd.doctor.gather import gather
from mcelogd.doctor.text import document, lines

if TYPE_CHECKING:
    from mcelogd.ctl.output import Output


def report(output: Output, root: str = "/", config_file: str = DEFAULT_FILE) -> int:
    """Examine the machine whose file system is at `root`, print what was found; the exit status."""
    findings = examine(gather(root, config_file))
    if output.json:
        output.document(document(findings))
    else:
        output.lines(lines(findings, output.look()))
    return exit_status(findings)
