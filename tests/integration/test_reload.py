# SPDX-License-Identifier: GPL-2.0-only
"""Reading mcelog.conf again: what takes effect at once, what is said of the rest, and nonsense in it."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

from .conftest import memory_error, wait_for

if TYPE_CHECKING:
    from .conftest import Scratch


def hang_up(scratch: Scratch, expected: str) -> None:
    assert scratch.process is not None
    scratch.process.send_signal(signal.SIGHUP)
    wait_for(lambda: expected in scratch.log.read_text(), expected)


def test_a_new_threshold_takes_effect_at_once(scratch: Scratch) -> None:
    scratch.start()
    scratch.config.write_text(
        scratch.config.read_text().replace("ce-error-threshold = 10 / 24h", "ce-error-threshold = 3 / 24h", 1)
    )
    hang_up(scratch, f"read {scratch.config} again")
    scratch.send(b"".join(memory_error(number) for number in range(3)))
    scratch.wait_stored(3)
    scratch.stop()
    assert "corrected DIMM memory error count exceeded threshold: 3 in 24h\n" in scratch.log.read_text()


def test_what_needs_a_restart_is_said(scratch: Scratch) -> None:
    scratch.start()
    scratch.config.write_text("max-corr-err-counters = 7\n" + scratch.config.read_text())
    hang_up(scratch, "max-corr-err-counters: takes effect when mcelog is started again")
    scratch.stop()


def test_nonsense_changes_nothing(scratch: Scratch) -> None:
    scratch.start()
    good = scratch.config.read_text()
    scratch.config.write_text(good.replace("10 / 24h", "many / day", 1))
    hang_up(scratch, "going on with the settings there were")
    scratch.config.write_text(good)
    scratch.send(memory_error(1))
    scratch.wait_stored(1)
    scratch.stop()
