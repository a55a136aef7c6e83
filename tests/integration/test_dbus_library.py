# SPDX-License-Identifier: GPL-2.0-only
"""What is wrong with dbus-next as a library; with ours before it, it is not.

As in test_dbus_repairs.py, dbus-next alone must fail. What is mended is mended
for a whole process, so each runs in one of its own.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

stock_fails = pytest.mark.parametrize(
    "library",
    [
        pytest.param("", marks=pytest.mark.xfail(strict=True), id="stock"),
        pytest.param("import mcelogd.dbus.library\n", id="ours"),
    ],
)


def run(code: str, *places: Path) -> None:
    """In an interpreter of its own, where every warning is an error."""
    path = [str(ROOT), *map(str, places), *os.environ.get("PYTHONPATH", "").split(os.pathsep)]
    environ = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, path))}
    subprocess.run([sys.executable, "-W", "error", "-c", code], env=environ, check=True)


@stock_fails
def test_no_string_makes_the_bus_throw_us_out(library: str) -> None:
    run(
        library
        + """if 1:
        from dbus_next import Message
        sent = Message.new_signal("/x", "a.b", "C", "s", ["DIMM\\0 \\ud800"])._marshall()
        assert sent.endswith("DIMM\ufffd ?\\0".encode())
        """
    )


@stock_fails
def test_not_every_signature_is_remembered(library: str) -> None:
    run(
        library
        + """if 1:
        from dbus_next.signature import SignatureTree
        for number in range(5000):
            SignatureTree._get(f"{number:b}".translate({48: "s", 49: "u"}))
        assert len(SignatureTree._cache) <= 1024
        assert len(SignatureTree._get("a{sv}").types) == 1
        """
    )


@stock_fails
def test_glib_is_not_loaded(library: str, tmp_path: Path) -> None:
    for name in ("__init__", "repository"):
        (tmp_path / "gi").mkdir(exist_ok=True)
        (tmp_path / f"gi/{name}.py").write_text("class GLib:\n    Source = object\n")
    run(library + "import sys, dbus_next; assert 'gi' not in sys.modules", tmp_path)
    run("import mcelogd.dbus.library; import gi.repository", tmp_path)


@stock_fails
@pytest.mark.parametrize(
    "later",
    [
        pytest.param("del typing.no_type_check_decorator", id="3.15"),
        pytest.param("typing.no_type_check_decorator = lambda _: warnings.warn('old')", id="3.13"),
    ],
)
def test_later_python_is_good_enough(library: str, later: str) -> None:
    run(
        f"""import typing, warnings
{later}
{library}
from dbus_next.service import ServiceInterface, method
class Service(ServiceInterface):
    @method()
    def Do(self) -> 's':
        return "done"
Service("a.b")
"""
    )
