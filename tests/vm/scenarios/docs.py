# SPDX-License-Identifier: GPL-2.0-only
"""What the documents in the package have a reader type at a booted system; the rest is test_docs.py's."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

from guest import mce, service
from guest.documents import ELSEWHERE, Command, File, Step, complaint, steps
from guest.registry import scenario
from guest.service import message_id
from guest.shell import run, wait_for
from scenarios.package import PACKAGE

HOME = Path("/root/reader")
DOCUMENTS = HOME / "package/usr/share/doc/mcelog"
FIRST = "docs/install.md"
"""The page that installs what the others are about."""
MAILS = Path("/var/tmp/mails")
MAIL = Path("/usr/local/bin/mail")
RASDAEMON = Path("/etc/systemd/system/rasdaemon.service")

THRESHOLD = 10
"""Of a DIMM, in mcelog.conf as it is shipped."""
MEMORY = {"status": mce.CORRECTED_MEMORY | 1, "bank": 13, "cpuid": 0x606A6}


@scenario(limit=900, package=True, alone=True)
def every_command() -> None:
    """From the package alone: installed, told by mail of a DIMM that fails, and each page's commands work."""
    pages = _unpack()
    _stand_ins()
    complaints = _follow(pages.pop(FIRST))
    assert "a test" in MAILS.read_text()
    MAILS.unlink()
    _fail()
    wait_for(lambda: MAILS.exists() and "threshold" in MAILS.read_text(), "a mail about the DIMM")
    assert "memory of " in MAILS.read_text()
    for page in pages.values():
        complaints += _follow(page)
    assert complaints == "", complaints


def _unpack() -> dict[str, list[Step]]:
    """The pages of the package, and the package where they look for it."""
    (HOME / "dist").mkdir(parents=True)
    for place in (HOME, HOME / "dist"):
        shutil.copy(PACKAGE, place / "mcelog_1_amd64.deb")
    run("dpkg-deb", "--extract", str(PACKAGE), str(HOME / "package"), limit=120)
    files = sorted([DOCUMENTS / "README.md", *(DOCUMENTS / "docs").glob("*.md")])
    names = [str(path.relative_to(DOCUMENTS)) for path in files]
    return {name: steps(name, (DOCUMENTS / name).read_text()) for name in names}


def _stand_ins() -> None:
    """For what a reader has and the guest has not: a way to send mail, and rasdaemon."""
    MAIL.write_text(f'#!/bin/sh\n{{ echo "$@"; cat; }} >>{MAILS}\n')
    MAIL.chmod(0o755)
    unit = "[Service]\nExecStart=/bin/sleep infinity\n[Install]\nWantedBy=multi-user.target\n"
    RASDAEMON.write_text(unit)
    run("systemctl", "daemon-reload")
    run("systemctl", "enable", "--now", "rasdaemon")


def _follow(page: list[Step]) -> str:
    """Type it; what is not as the page says."""
    needed = [step for step in page if step.needs_a_boot]
    return "".join(_type(step) for step in needed)


def _type(step: Step) -> str:
    if isinstance(step, File):
        Path(step.path).write_text(step.text)
        return ""
    if step.text in ELSEWHERE:
        return ""
    assert not step.is_endless, step
    return _run(step)


def _run(command: Command) -> str:
    env = {**os.environ, "DEBIAN_FRONTEND": "noninteractive", "SYSTEMD_PAGER": "cat"}
    script = f"cd {HOME} && {command.text}"
    done = run("bash", "-o", "pipefail", "-c", script, check=False, limit=300, env=env)
    wrong = complaint(command, done.returncode, done.stdout)
    return f"{wrong}{done.stderr}\n" if wrong else ""


def _fail() -> None:
    """A DIMM fails, all over one bank, so often that its threshold is crossed."""
    for number in range(THRESHOLD + 1):
        place = 2 << 42 | (0x1C00 + 0x133 * number) << 19 | 40 * number << 9 | 0x86
        mce.inject({**MEMORY, "misc": place, "addr": 0x4C0000000 + 0x8000 * number})
    service.wait_for_stored(THRESHOLD + 1)
    wait_for(
        lambda: run("journalctl", "-q", message_id("MEMORY_DIAGNOSED"), quiet=True).stdout,
        "what mcelog thinks of the DIMM",
    )
