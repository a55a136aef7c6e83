# SPDX-License-Identifier: GPL-2.0-only
"""A headless Chromium, driven by the WebDriver protocol (W3C) through Debian's chromedriver."""

from __future__ import annotations

import base64
import contextlib
import json
import subprocess
import time
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SECONDS = 60.0
"""Before a page that does not become what it should is given up; the machine may be busy."""

TRIES = 3
"""To start the browser."""

OPTIONS = """
    --headless=new --no-sandbox --disable-gpu --disable-quic --disable-dev-shm-usage --no-first-run
    --disable-background-networking --disable-component-update --disable-sync --disable-extensions
    --force-color-profile=srgb --hide-scrollbars --lang=en-GB --window-size=1280,900
"""
ELEMENT = "element-6066-11e4-a52e-4f735466cecf"
"""Under which key the protocol has an element."""

KEYS = {"Tab": "\ue004", "Enter": "\ue007", "Escape": "\ue00c", "Space": " ", "Shift": "\ue008"}
KEYS |= {"ArrowLeft": "\ue012", "ArrowUp": "\ue013", "ArrowRight": "\ue014", "ArrowDown": "\ue015"}


class Browser:
    """One window. Scripts are bodies of functions; what they return comes back."""

    def __init__(self, base: str, session: str) -> None:
        self.base = f"{base}/session/{session}"

    def _ask(self, method: str, path: str, body: object = None) -> Any:
        return ask(method, f"{self.base}/{path}", body)

    def open(self, url: str) -> None:
        self._ask("POST", "url", {"url": url})

    def js(self, script: str, *arguments: object) -> Any:
        return self._ask("POST", "execute/sync", {"script": script, "args": arguments})

    def text(self, selector: str) -> str:
        """What is to be read in the first such element; empty if there is none."""
        return str(self.js("return document.querySelector(arguments[0])?.innerText ?? ''", selector))

    def wait(self, script: str, *arguments: object, what: str = "") -> Any:
        """Until the script returns something; fail with what the page says if it never does."""
        end = time.monotonic() + SECONDS
        while not (found := self.js(script, *arguments)):
            if time.monotonic() > end:
                page = self.js("return document.body.innerText")
                raise AssertionError(f"timed out waiting for {what or script}; the page says:\n{page}")
            time.sleep(0.05)
        return found

    def wait_text(self, selector: str, text: str) -> None:
        script = "return (document.querySelector(arguments[0])?.innerText ?? '').includes(arguments[1])"
        self.wait(script, selector, text, what=f"{text!r} in {selector}")

    def click(self, selector: str) -> None:
        """As a user does; WebDriver refuses what is covered or out of sight."""
        element = self.wait("return document.querySelector(arguments[0])", selector)
        self._ask("POST", f"element/{element[ELEMENT]}/click", {})

    def press(self, *keys: str) -> None:
        """Type, wherever the keyboard is: names of KEYS, or characters."""
        for key in keys:
            value = KEYS.get(key, key)
            strokes = [{"type": kind, "value": value} for kind in ("keyDown", "keyUp")]
            self._ask("POST", "actions", {"actions": [{"type": "key", "id": "keyboard", "actions": strokes}]})

    def focused(self) -> str:
        """The data-key, or else the text, of what has the keyboard."""
        script = "const e = document.activeElement; return e.getAttribute('data-key') ?? e.innerText ?? ''"
        return str(self.js(script))

    def devtools(self, command: str, **parameters: object) -> Any:
        return self._ask("POST", "goog/cdp/execute", {"cmd": command, "params": parameters})

    def resize(self, width: int, height: int, *, is_phone: bool = False) -> None:
        metrics = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": is_phone}
        self.devtools("Emulation.setDeviceMetricsOverride", **metrics)

    def prefer(self, theme: str) -> None:
        """What the desktop prefers: light or dark."""
        feature = {"name": "prefers-color-scheme", "value": theme}
        self.devtools("Emulation.setEmulatedMedia", features=[feature])

    def screenshot(self, path: Path) -> None:
        path.write_bytes(base64.b64decode(self._ask("GET", "screenshot")))

    def complaints(self) -> list[str]:
        """What the console has had of warnings and errors since it was asked last."""
        entries = self._ask("POST", "se/log", {"type": "browser"})
        return [f"{one['level']}: {one['message']}" for one in entries]


def ask(method: str, url: str, body: object = None) -> Any:
    data = None if body is None else json.dumps(body).encode()
    request = urllib.request.Request(url, data, {"Content-Type": "application/json"}, method=method)
    try:
        with urllib.request.urlopen(request, timeout=2 * SECONDS) as reply:
            return json.load(reply)["value"]
    except urllib.error.HTTPError as error:
        with error:
            raise AssertionError(json.load(error)["value"]["message"]) from None


def _begin(base: str, wanted: object) -> str:
    """A session. chromedriver waits a minute for the browser, which a busy machine may not keep."""
    for _ in range(TRIES - 1):
        with contextlib.suppress(AssertionError):
            return str(ask("POST", f"{base}/session", wanted)["sessionId"])
    return str(ask("POST", f"{base}/session", wanted)["sessionId"])


@contextlib.contextmanager
def chromium(directory: Path) -> Iterator[Browser]:
    """A browser with a profile of its own, and its chromedriver."""
    with (directory / "chromedriver.log").open("w") as log:
        driver = subprocess.Popen(
            ["chromedriver", "--port=0"], stdout=subprocess.PIPE, stderr=log, text=True, cwd=directory
        )
    assert driver.stdout is not None
    try:
        started = next(line for line in driver.stdout if "started successfully on" in line)
        base = f"http://127.0.0.1:{started.split()[-1].rstrip('.')}"
        arguments = [*OPTIONS.split(), f"--user-data-dir={directory / 'profile'}"]
        wanted = {"goog:chromeOptions": {"args": arguments}, "goog:loggingPrefs": {"browser": "WARNING"}}
        wanted |= {"unhandledPromptBehavior": "dismiss"}
        session = _begin(base, {"capabilities": {"alwaysMatch": wanted}})
        try:
            yield Browser(base, session)
        finally:
            ask("DELETE", f"{base}/session/{session}")
    finally:
        driver.terminate()
        driver.wait(SECONDS)
        driver.stdout.close()
