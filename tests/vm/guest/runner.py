# SPDX-License-Identifier: GPL-2.0-only
"""Runs the planned scenarios inside the guest, each in a process of its own; verdicts go to the host's share.

SHARE/plan.json         names of the scenarios, in order
SHARE/state.json        how far it got, so that it goes on after a reboot of the guest
SHARE/results/NAME.log, NAME.journal, and NAME.json last: it is the verdict
"""

from __future__ import annotations

import faulthandler
import json
import os
import signal
import subprocess
import sys
import time
import traceback
from pathlib import Path
from typing import Any

from guest import journal, mce
from guest.clean import clean_start
from guest.registry import Scenario, Skip, scenarios
from guest.shell import SLOWNESS


class _Journal:
    """The system's journal, from one scenario's end to the next one's."""

    def __init__(self) -> None:
        self.cursor = ""
        self.take()

    def take(self) -> str:
        """All entries since the last call, as JSON lines."""
        journal.sync()
        since = f"--after-cursor={self.cursor}" if self.cursor else "--lines=1"
        command = ["journalctl", "-q", "-o", "json", "--all", since]
        text = subprocess.run(command, capture_output=True, text=True, check=False, timeout=120).stdout
        if text:
            self.cursor = json.loads(text.splitlines()[-1])["__CURSOR"]
        return text


def _in_child(scenario: Scenario, boot: int, log: Path) -> None:
    """Become the scenario; never returns."""
    os.setsid()
    out = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
    os.dup2(out, 1)
    os.dup2(out, 2)
    faulthandler.enable()
    status = 0
    try:
        if scenario.device and not mce.DEVICE.exists():
            raise Skip(f"this kernel has no {mce.DEVICE}")
        if scenario.tracefs and mce.DEVICE.exists():
            raise Skip(f"this kernel has {mce.DEVICE}")
        if boot == 0:
            clean_start()
        journal.begin()
        scenario.run(*([boot] if scenario.boots > 1 else []))
    except Skip as reason:
        print(f"SKIP: {reason}", flush=True)
        status = 77
    except BaseException:
        traceback.print_exc()
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(status)


def _wait(child: int, limit: float) -> int | None:
    """The child's exit status, or None if it had to be killed."""
    deadline = time.monotonic() + limit
    while time.monotonic() < deadline:
        done, status = os.waitpid(child, os.WNOHANG)
        if done:
            return os.waitstatus_to_exitcode(status)
        time.sleep(0.05)
    os.kill(child, signal.SIGABRT)  # leaves in the log where it was
    time.sleep(0.5)
    os.killpg(child, signal.SIGKILL)
    os.waitpid(child, 0)
    return None


def _last_line(log: Path) -> str:
    lines = log.read_text(errors="replace").strip().splitlines()
    return lines[-1] if lines else ""


def _verdict(status: int | None, scenario: Scenario, log: Path) -> tuple[str, str]:
    if status is None:
        return "failed", f"time limit of {scenario.limit:g} s"
    if status == 0:
        return "passed", ""
    if status == 77:
        return "skipped", _last_line(log).removeprefix("SKIP: ")
    return "failed", _last_line(log) or f"status {status}"


def run_one(scenario: Scenario, boot: int, results: Path, taken: _Journal) -> str:
    """Run one scenario (one of its boots) and leave its verdict; what it was."""
    started = time.monotonic()
    log = results / f"{scenario.name}.log"
    child = os.fork()
    if child == 0:
        _in_child(scenario, boot, log)
    status = _wait(child, scenario.limit * SLOWNESS)
    verdict, reason = _verdict(status, scenario, log)
    with (results / f"{scenario.name}.journal").open("a") as kept:
        kept.write(taken.take())
    if verdict != "passed" or boot + 1 == scenario.boots:
        answer = {
            "name": scenario.name,
            "verdict": verdict,
            "reason": reason,
            "seconds": time.monotonic() - started,
        }
        temporary = results / f".{scenario.name}.json"
        temporary.write_text(json.dumps(answer))
        temporary.rename(results / f"{scenario.name}.json")
    return verdict


def _save(share: Path, state: dict[str, Any]) -> None:
    (share / "state.json").write_text(json.dumps(state))


def _load(share: Path) -> dict[str, Any]:
    try:
        state: dict[str, Any] = json.loads((share / "state.json").read_text())
    except FileNotFoundError:
        state = {"next": 0, "boot": 0, "running": ""}
    return state


def run_plan(share: Path) -> str:
    """Run what is left of the plan; how the guest is to end: poweroff or reboot."""
    known = scenarios()
    plan = json.loads((share / "plan.json").read_text())
    state = _load(share)
    taken = _Journal()
    while state["next"] < len(plan):
        scenario = known[plan[state["next"]]]
        _save(share, state | {"running": scenario.name})
        verdict = run_one(scenario, state["boot"], share / "results", taken)
        if verdict == "passed" and state["boot"] + 1 < scenario.boots:
            _save(share, {"next": state["next"], "boot": state["boot"] + 1, "running": scenario.name})
            return "reboot"
        state = {"next": state["next"] + 1, "boot": 0, "running": ""}
        _save(share, state)
    (share / "done").touch()
    return "poweroff"


def main() -> None:
    end = run_plan(Path(sys.argv[1]))
    # a reboot is a part of the scenario and goes the whole way; at the end nobody waits for anything
    subprocess.run(["systemctl", *(["reboot"] if end == "reboot" else ["poweroff", "-ff"])], check=False)


if __name__ == "__main__":
    main()
