# SPDX-License-Identifier: GPL-2.0-only
"""The page for Cockpit in a real browser: real cockpit-ws and bridge, real daemon, real polkit.

With MCELOG_SCREENSHOTS=DIRECTORY it leaves the pictures there that docs/cockpit.md shows.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from . import machine
from .cockpit_server import PASSWORD
from .stage import Stage, feed, staged

if TYPE_CHECKING:
    from collections.abc import Iterator

    from .webdriver import Browser

CONTRAST = Path(__file__).with_name("contrast.js").read_text("utf-8")
PICTURES = os.environ.get("MCELOG_SCREENSHOTS")

FAILING = "/org/mcelog/dimm/1_3_any"
"""P2-DIMMC1 of machine.history()."""
BUSY = "/org/mcelog/dimm/0_9_any"
"""P1-DIMMG1, with some errors today."""
TWO = ("/org/mcelog/dimm/1_1_0", "/org/mcelog/dimm/1_1_1")
"""P2-DIMMB1 and B2: which of them errs the processor does not say."""
THEIRS = "/org/mcelog/dimm/1_1_any"
STORM_PAGE = 0x7B3A5C << 12
NEXT_PAGE = 0x7B3A5D << 12


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    # Not in pytest's own directory: nobody's bridge has to find its package.
    with tempfile.TemporaryDirectory(prefix="mcelog-cockpit-") as directory, staged(Path(directory)) as stage:
        yield stage


@pytest.fixture(autouse=True)
def the_console_is_silent(stage: Stage) -> Iterator[None]:
    stage.browser.resize(1280, 900)
    stage.browser.prefer("light")
    yield
    assert stage.browser.complaints() == []


def picture(browser: Browser, name: str, width: int = 1100, height: int = 900) -> None:
    """For the documents, if somebody wants them."""
    if PICTURES is None:
        return
    assert shutil.which("pngquant"), "pictures need pngquant (apt install pngquant)"
    target = Path(PICTURES) / f"{name}.png"
    browser.resize(width, height, is_phone=width < 500)
    browser.js("window.focused = document.activeElement; window.focused.blur(); window.scrollTo(0, 0)")
    browser.screenshot(target)
    browser.js("window.focused.focus()")
    subprocess.run(["pngquant", "--force", "--strip", "--output", target, "64", target], check=True)


def tile(browser: Browser, path: str) -> tuple[str, str]:
    """Level of a DIMM on the map, and what is written on it."""
    script = (
        "const tile = document.querySelector(`.tile[data-key='${arguments[0]}']`);"
        "return tile && [tile.dataset.level, tile.innerText]"
    )
    level, text = browser.js(script, path) or ("", "")
    return level, text


def wait_level(browser: Browser, path: str, level: str) -> None:
    script = "return document.querySelector(arguments[0])?.dataset.level === arguments[1]"
    browser.wait(script, f".tile[data-key='{path}']", level, what=f"level {level} of {path}")


def tab_to(browser: Browser, key: str, most: int = 120) -> None:
    """Go there as somebody without a mouse does."""
    for _ in range(most):
        if browser.focused() == key:
            return
        browser.press("Tab")
    raise AssertionError(f"{key} cannot be reached with Tab; the last was {browser.focused()!r}")


def test_who_may_not_read_is_told_and_can_become_who_may(stage: Stage) -> None:
    """The first test: cockpit-ws ends a session that has no page for a while, and root's is to last."""
    browser = stage.open(stage.nobody)
    browser.wait_text("#notices", "You may not see")
    assert browser.js("return document.querySelectorAll('.tile, #events tr, #pages tr').length") == 0
    assert "Corrected errors" in browser.text("#verdict"), "totals are anybody's"
    browser.click("[data-key=turn-on]")
    browser.wait_text("dialog label", "Password")
    assert browser.js("return document.activeElement.id") == "answer"
    picture(browser, "cockpit-refused", height=420)
    browser.press("x", "Enter")
    browser.wait_text("dialog .problem", "Sorry, try again.")
    browser.press("Escape")
    browser.wait("return !document.querySelector('dialog')")
    assert "You may not see" in browser.text("#notices")
    browser.click("[data-key=turn-on]")
    browser.wait_text("dialog label", "Password")
    browser.press(*PASSWORD, "Enter")
    wait_level(browser, FAILING, "replace")
    assert browser.text("#notices") == ""


def test_the_failing_dimm_is_obvious(stage: Stage) -> None:
    browser = stage.open()
    level, text = tile(browser, FAILING)
    assert level == "replace"
    assert text.splitlines()[:2] == ["P2-DIMMC1", "Replace"]
    assert browser.text("#verdict h2") == "Replace P2-DIMMC1"
    assert "uncorrected error" in browser.text("#verdict p")
    assert tile(browser, "/org/mcelog/dimm/0_0_0")[0] == "quiet"
    assert tile(browser, BUSY)[0] == "many"
    picture(browser, "cockpit", height=860)


def test_every_dimm_has_a_word_and_a_sign_besides_its_colour(stage: Stage) -> None:
    browser = stage.open()
    script = (
        "return [...document.querySelectorAll('.tile')].map(one => [one.dataset.level,"
        " one.querySelector('.state').innerText, one.querySelector('path').getAttribute('d')])"
    )
    tiles = [tuple(one) for one in browser.js(script)]
    assert len(tiles) == 20, "two sockets, eight channels each, two of them with a second DIMM"
    seen = {level: (word, sign) for level, word, sign in tiles}
    words, signs = zip(*seen.values(), strict=True)
    assert len(set(words)) == len(set(signs)) == len(seen) >= 4


def test_a_label_is_text_whatever_it_says(stage: Stage) -> None:
    browser = stage.open()
    assert machine.GIVEN_LABEL in browser.js("return document.querySelector('#map').textContent")
    assert browser.js("return document.querySelectorAll('img').length") == 0
    browser.click(".tile[data-key='/org/mcelog/dimm/1_4_0']")
    browser.wait_text("#dimm-title", machine.GIVEN_LABEL)


def test_a_dimm_tells_what_is_known_of_it(stage: Stage) -> None:
    browser = stage.open()
    browser.click("[data-key=details]")
    browser.wait_text("#dimm h2", "P2-DIMMC1")
    told = browser.text("#dimm")
    for part in ("64 GiB", "EX64G-3200R", "2 storms of corrected errors", "28 in 24h, limit 10", "One cell"):
        assert part in told
    assert browser.text("#events h2") == "Events of P2-DIMMC1"
    browser.click("[data-key=span-day]")
    browser.wait_text("#dimm figcaption", "15 events in the last 24 hours")
    picture(browser, "cockpit-dimm", height=1120)


def test_new_errors_show_without_a_reload(stage: Stage) -> None:
    browser = stage.open()
    browser.js("window.stillHere = true")
    shown = browser.js("return document.querySelectorAll('#events tbody tr').length")
    feed(stage.scratch, machine.error(1, 1, 0x200))
    wait_level(browser, THEIRS, "some")
    assert [tile(browser, path)[1].splitlines()[1] for path in TWO] == ["Maybe this one"] * 2
    browser.wait("return document.querySelectorAll('#events tbody tr').length > arguments[0]", shown)
    assert "page 0x200000" in browser.text("#events tbody tr")
    feed(stage.scratch, b"".join(machine.error(1, 1, 0x300 + n) for n in range(4)))
    wait_level(browser, THEIRS, "many")
    feed(stage.scratch, b"".join(machine.error(1, 1, 0x400 + n) for n in range(3)))
    browser.wait_text(f".tile[data-key='{THEIRS}']", "8 / 10 in 24h")
    assert browser.js("return window.stillHere")


def test_the_map_is_walked_with_arrow_keys(stage: Stage) -> None:
    browser = stage.open()
    tab_to(browser, "/org/mcelog/dimm/0_0_0")
    browser.press("ArrowDown")
    assert browser.focused() == "/org/mcelog/dimm/0_0_1"
    browser.press("ArrowRight", "ArrowRight")
    assert browser.focused() == "/org/mcelog/dimm/0_3_0"
    browser.press("Enter")
    browser.wait_text("#dimm-title", "P1-DIMMC1")
    assert browser.focused() == "/org/mcelog/dimm/0_3_0", "the keyboard stays where it was"


def test_a_page_is_taken_out_of_use_by_keyboard(stage: Stage) -> None:
    browser = stage.open()
    tab_to(browser, f"page-{STORM_PAGE}")
    browser.press("Enter")
    browser.wait_text("dialog h2", f"{STORM_PAGE:#x}")
    picture(browser, "cockpit-page", height=760)
    browser.resize(1280, 900)
    browser.js("document.querySelector('dialog input').focus()")
    browser.press("Enter")
    browser.wait_text("#toast", "is out of use")
    browser.wait_text("#pages", "1 out of use")
    assert not browser.js("return document.querySelector('dialog')")


def test_why_a_page_stays_in_use_is_said(stage: Stage) -> None:
    browser = stage.open()
    tab_to(browser, f"page-{NEXT_PAGE}")
    browser.press("Enter")
    browser.wait("return document.activeElement.type === 'radio'")
    browser.press("ArrowDown", "Enter")
    browser.wait("return document.querySelector('dialog .problem').innerText")
    browser.press("Escape")
    browser.wait("return !document.querySelector('dialog')")
    assert browser.focused() == f"page-{NEXT_PAGE}", "back to where the dialog was opened"


def test_counters_are_reset(stage: Stage) -> None:
    browser = stage.open()
    before = tile(browser, BUSY)
    assert before[0] == "many"
    browser.click(f".tile[data-key='{BUSY}']")
    browser.click("[data-key=ResetCounters]")
    browser.wait_text("dialog h2", "P1-DIMMG1")
    browser.press("Escape")
    browser.wait("return !document.querySelector('dialog')")
    assert tile(browser, BUSY) == before, "nothing happens to who changes their mind"
    browser.click("[data-key=ResetCounters]")
    browser.click("dialog button[type=submit]")
    browser.wait_text("#toast", "are zero")
    browser.wait("return document.querySelector('#dimm dd').innerText === '0'")


def test_a_dimm_is_replaced(stage: Stage) -> None:
    browser = stage.open()
    browser.click(f".tile[data-key='{THEIRS}']")
    browser.click("[data-key=MarkReplaced]")
    browser.click("dialog button[type=submit]")
    browser.wait_text("#replaced", "8 corrected")
    for path in TWO:
        wait_level(browser, path, "quiet")


def test_an_event_is_explained(stage: Stage) -> None:
    browser = stage.open()
    browser.click("#events tbody button.link")
    browser.wait_text("dialog pre", "MCA: MEMORY CONTROLLER")
    browser.click("dialog summary")
    browser.wait_text("dialog table", "MCE_STATUS")
    browser.press("Escape")


def test_many_equal_events_are_one_line_until_each_is_wanted(stage: Stage) -> None:
    browser = stage.open()
    browser.click(f".tile[data-key='{FAILING}']")
    browser.wait_text("#events", "28 events since")
    rows = "return document.querySelectorAll('#events tbody tr').length"
    assert browser.js(rows) == 2
    browser.click("#events .fold")
    browser.wait(f"{rows} === 15")
    browser.click("[data-key=more-events]")
    browser.wait(f"{rows} === 29")


@pytest.mark.parametrize("theme", ["light", "dark"])
def test_all_text_can_be_read(stage: Stage, theme: str) -> None:
    browser = stage.browser
    browser.prefer(theme)
    stage.open()
    assert browser.js("return document.documentElement.classList.contains('dark')") == (theme == "dark")
    browser.click(f".tile[data-key='{FAILING}']")
    browser.wait_text("#dimm-title", "P2-DIMMC1")
    measured = browser.js(CONTRAST)
    assert measured["read"] > 100
    assert measured["found"] == []
    if theme == "dark":
        picture(browser, "cockpit-dark", height=860)


def test_the_theme_is_that_of_cockpits_menu(stage: Stage) -> None:
    browser = stage.open()
    dark = "return document.documentElement.classList.contains('dark')"
    tell = "window.dispatchEvent(new CustomEvent('cockpit-style', { detail: { style: arguments[0] } }))"
    browser.js(tell, "dark")
    assert browser.js(dark)
    browser.js(tell, "auto")
    assert not browser.js(dark)


def test_a_phone_needs_no_sideways_scrolling(stage: Stage) -> None:
    browser = stage.browser
    browser.resize(320, 640, is_phone=True)
    stage.open()
    browser.click(f".tile[data-key='{FAILING}']")
    browser.wait_text("#dimm-title", "P2-DIMMC1")
    wide = "return document.scrollingElement.scrollWidth"
    assert browser.js(wide) == 320
    browser.click(f"[data-key='page-{NEXT_PAGE}']")
    browser.wait_text("dialog h2", "out of use")
    assert browser.js(wide) == 320
    assert browser.js("return document.querySelector('dialog').getBoundingClientRect().right") <= 320
    browser.press("Escape")
    browser.wait("return !document.querySelector('dialog')")
    picture(browser, "cockpit-phone", 360, 740)


def test_mcelog_stops_and_is_started_from_the_page(stage: Stage) -> None:
    browser = stage.open()
    stage.end()
    browser.wait_text("#notices", "mcelog is not running")
    assert browser.text("#live") == "Not running"
    assert tile(browser, FAILING)[0] == "replace", "what was known stays to be seen"
    browser.click("[data-key=start]")
    browser.wait_text("#live", "Live")
    assert browser.text("#notices") == ""
    feed(stage.scratch, machine.error(0, 1, 0x500))
    wait_level(browser, "/org/mcelog/dimm/0_1_any", "some")


def test_mcelog_is_not_installed(stage: Stage) -> None:
    stage.end()
    stage.remove()
    browser = stage.browser
    browser.open(stage.root)
    browser.wait_text("#notices", "mcelog is not installed")
    assert "apt install mcelog" in browser.text("#notices")
    assert browser.text("#live") == "Not installed"
    stage.install()
    browser.click("[data-key=retry]")
    browser.wait_text("#notices", "mcelog is not running")


def test_a_machine_without_errors_says_so(stage: Stage) -> None:
    stage.end()
    shutil.rmtree(stage.scratch.state)
    stage.start()
    browser = stage.open()
    assert browser.text("#verdict h2") == "No memory errors"
    assert "has not recorded any hardware error" in browser.text("#verdict p")
    assert browser.text("#events p") == "No event is recorded."
    levels = browser.js("return [...document.querySelectorAll('.tile')].map(one => one.dataset.level)")
    assert set(levels) == {"quiet"}
