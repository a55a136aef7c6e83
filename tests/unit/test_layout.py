# SPDX-License-Identifier: GPL-2.0-only
"""The rules of the house that no other tool holds: imports, licence lines, sizes, paths in the docs."""

from __future__ import annotations

import ast
import functools
import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "mcelogd"

PURE = ("account", "ascii", "bulk", "cpu", "decode", "event", "jsontext", "marks", "message_ids", "rate")
PURE += ("act.caps", "dbus.wire", "dimms", "record", "render", "report", "ring", "store.rows")
PURE += ("metrics.families", "metrics.rows", "trigger_variables", "triggers")
PURE += ("earlier.dumps", "earlier.found", "earlier.merge", "earlier.messages")
PURE += ("doctor.checks", "doctor.checks_machine", "doctor.checks_memory", "doctor.checks_service")
PURE += ("doctor.checks_sources", "doctor.checks_surroundings", "doctor.checks_takers")
PURE += ("doctor.facts", "doctor.finding", "doctor.parse")
"""No side effects: what they do depends on their arguments alone."""

SETTINGS = ("config", "options", "settings", "values")
"""mcelog.conf and the command line, typed; that file, users and the working directory is all they ask for."""

USES = {"dbus_iface": "dbus"}
"""A package that a module may know beside its own."""

WIRING = ("__main__", "administration", "assembly", "catchup", "cli", "ctl", "daemon", "doctor", "intake")
WIRING += ("oneshot", "quick", "reload", "selftest_chain", "startup", "state", "takeover")
"""What puts the parts together. All others know the above and their own package only."""

IMPURE = """
    asyncio concurrent cysystemd dbus_next fcntl http io logging mmap multiprocessing os pathlib random
    select selectors shutil signal socket sqlite3 subprocess syslog systemd tempfile threading urllib
"""
FILE_ACCESS = "open print input exec eval"
CLOCKS = "clock_gettime localtime monotonic monotonic_ns now perf_counter time time_ns today"

LIGHT = ("ascii", "cli", "client", "config", "quick", "render", "settings")
"""Imported by `mcelog --client`, which monitoring starts every few seconds."""
HEAVY = ("argparse", "asyncio", "dataclasses", "inspect", "logging", "pathlib", "sqlite3", "subprocess")

LONGEST_FILE = 500
LONGEST_FUNCTION = 60


@functools.cache
def tracked(*patterns: str) -> list[Path]:
    """The project's files, those not yet added included; skipped in an unpacked archive."""
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout")
    command = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *patterns]
    listed = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True).stdout
    return sorted(ROOT / name for name in listed.split("\0") if name and (ROOT / name).is_file())


def name_of(path: Path) -> str:
    """decode.bits of mcelogd/decode/bits.py; a package goes by its own name."""
    name = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
    return name.removesuffix(".__init__") if name != "__init__" else ""


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py"))}


@functools.cache
def parsed(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"))


def statements(block: ast.AST) -> Iterator[ast.AST]:
    """All within a block, in others too. Going through every expression as well takes as long as parsing."""
    for part in ("body", "orelse", "handlers", "finalbody", "cases"):
        for node in getattr(block, part, ()):
            yield node
            if not (isinstance(node, ast.If) and ast.unparse(node.test) == "TYPE_CHECKING"):
                yield from statements(node)


def imported_by(node: ast.AST) -> set[str]:
    """Absolute names."""
    if isinstance(node, ast.Import):
        return {alias.name for alias in node.names}
    if not isinstance(node, ast.ImportFrom):
        return set()
    assert not node.level, "relative import"
    inside = {f"{node.module}.{alias.name}" for alias in node.names}
    return {name for name in inside if name.removeprefix("mcelogd.") in MODULES} or {str(node.module)}


@functools.cache
def imports(name: str) -> set[str]:
    """Names of what a module imports when it runs, `if TYPE_CHECKING:` left out."""
    return set().union(*map(imported_by, statements(parsed(MODULES[name]))))


@functools.cache
def own_imports(name: str) -> set[str]:
    """Modules of this project that a module needs, by their names within it."""
    return {full.removeprefix("mcelogd.") for full in imports(name) if full.startswith("mcelogd.")}


def within(name: str, places: tuple[str, ...]) -> bool:
    return any(name == place or name.startswith(f"{place}.") for place in places)


@pytest.mark.parametrize("name", [name for name in MODULES if within(name, PURE)])
def test_pure_modules_have_no_side_effects(name: str) -> None:
    assert {other for other in own_imports(name) if not within(other, PURE)} == set()
    assert {full.partition(".")[0] for full in imports(name)} & set(IMPURE.split()) == set()
    calls = [node.func for node in ast.walk(parsed(MODULES[name])) if isinstance(node, ast.Call)]
    named = {call.id for call in calls if isinstance(call, ast.Name)}
    assert named & set(FILE_ACCESS.split()) == set()
    assert {call.attr for call in calls if isinstance(call, ast.Attribute)} & set(CLOCKS.split()) == set()


@pytest.mark.parametrize("name", [name for name in MODULES if not within(name, PURE + WIRING)])
def test_modules_with_side_effects_do_not_know_each_other(name: str) -> None:
    package = (name.partition(".")[0], USES.get(name, name))
    assert {other for other in own_imports(name) if not within(other, PURE + SETTINGS + package)} == set()


@pytest.mark.parametrize("name", WIRING)
def test_wiring_is_imported_by_wiring_only(name: str) -> None:
    knows_it = {other for other in MODULES if within(name, tuple(own_imports(other)))}
    assert knows_it <= set(WIRING)


def test_no_import_cycle() -> None:
    left = {name: own_imports(name) - {name} for name in MODULES}
    while left:
        leaves = {name for name, needed in left.items() if not needed & left.keys()}
        assert leaves, f"these import each other: {sorted(left)}"
        left = {name: needed for name, needed in left.items() if name not in leaves}


@pytest.mark.parametrize("name", [name for name in LIGHT if name in MODULES])
def test_what_the_client_imports_is_light(name: str) -> None:
    """Beside what the interpreter itself loads at its start."""
    code = f"import sys; had = set(sys.modules); import mcelogd.{name}; print(*set(sys.modules) - had)"
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    command = [sys.executable, "-S", "-c", code]
    printed = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    assert set(printed.split()) & set(HEAVY) == set()


WITHOUT_LICENCE_LINE = {".md", ".bin", ".png", ".conf", ".json", ".txt", ".expected", ".entry", ".log"}
"""Documents, data, and the file that belongs to the administrator."""

NOWHERE_TO_PUT_IT = {"LICENSE", ".gitignore", "changelog", "copyright", "format"}
"""Texts, and files of Debian packaging whose form knows no comment."""


def test_every_source_file_names_its_licence() -> None:
    without = []
    for path in tracked():
        if path.suffix in WITHOUT_LICENCE_LINE and path.name != "meson_options.txt":
            continue
        if path.name in NOWHERE_TO_PUT_IT or "fixtures" in path.parts:
            continue
        head = path.read_text(encoding="utf-8").splitlines()[:2]
        if head and not any("SPDX-License-Identifier: GPL-2.0-only" in line for line in head):
            without.append(str(path.relative_to(ROOT)))
    assert without == []


def python_files() -> list[Path]:
    return [path for path in tracked("*.py") if path.suffix == ".py"]


def test_files_are_short() -> None:
    lines = {path: len(path.read_text(encoding="utf-8").splitlines()) for path in python_files()}
    assert {str(path): count for path, count in lines.items() if count > LONGEST_FILE} == {}


def test_functions_are_short() -> None:
    functions = (ast.FunctionDef, ast.AsyncFunctionDef)
    long = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}: {node.end_lineno - node.lineno + 1} lines"
        for path in python_files()
        for node in statements(parsed(path))
        if isinstance(node, functions) and (node.end_lineno or 0) - node.lineno >= LONGEST_FUNCTION
    ]
    assert long == []


DOCUMENTS = ("README.md", "CONTRIBUTING.md", "SECURITY.md", "docs/ARCHITECTURE.md")


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_path_in_the_documents_exists(document: str) -> None:
    """Paths are in backquotes or links; those of ARCHITECTURE.md may be relative to mcelogd/ or it."""
    text = (ROOT / document).read_text(encoding="utf-8")
    written = re.findall(r"`(?:\./)?([\w.-][\w./-]*)(?:::\w+)?`", text)
    written = [path for path in written if "/" in path or path.endswith((".py", ".md", ".toml"))]
    written += re.findall(r"\]\(([\w.-][\w./-]*)(?:#[\w-]*)?\)", text)
    assert written, "no path at all: is the pattern wrong?"
    places = (ROOT, PACKAGE, ROOT / "docs")
    assert [path for path in written if not any((place / path).exists() for place in places)] == []


@pytest.mark.parametrize("document", DOCUMENTS)
def test_every_tool_in_the_documents_can_be_run(document: str) -> None:
    named = set(re.findall(r"(?<![\w/])tools/[a-z][\w-]*(?=[ `\n]|$)", (ROOT / document).read_text("utf-8")))
    assert [tool for tool in named - {"tools/lib"} if not os.access(ROOT / tool, os.X_OK)] == []


def test_meson_installs_every_module(tmp_path: Path) -> None:
    meson = shutil.which("meson")
    if meson is None:
        assert not os.environ.get("CI"), "CI must have meson"
        pytest.skip("meson is not installed")
    subprocess.run([meson, "setup", tmp_path / "build", ROOT], check=True, capture_output=True)
    plan = json.loads((tmp_path / "build/meson-info/intro-install_plan.json").read_text("utf-8"))
    installed = {Path(path) for kind in plan.values() for path in kind}
    listed = {path for path in installed if path.is_relative_to(PACKAGE)}
    assert {str(path) for path in set(tracked("mcelogd/*.py")) ^ listed} == set(), (
        "not in git and meson.build both"
    )


def test_the_version_is_written_down_once() -> None:
    from mcelogd import __version__

    again = [path for path in tracked() if path.suffix in (".py", ".toml", ".build", ".md", ".service")]
    quoted = re.compile(rf"""["' ]v?{re.escape(__version__)}["'\s]""")
    found = [path for path in again if quoted.search(path.read_text(encoding="utf-8"))]
    assert found == [PACKAGE / "__init__.py"]
