# SPDX-License-Identifier: GPL-2.0-only
"""The Debian and RPM packages: built for real; what is in them, and what the distributions' checkers say.

Installing, upgrading and purging is tests/vm/scenarios/package.py: that takes a machine.
"""

from __future__ import annotations

import os
import re
import subprocess
from typing import TYPE_CHECKING

import pytest

from mcelogd import __version__

from .test_units import ROOT, install, need

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

LAST_OF_C = "153+dfsg-1"
"""The last version of Debian's package of the C program."""
PRIVATE = "usr/lib/mcelog/cysystemd"


def run(command: Sequence[str | Path]) -> subprocess.CompletedProcess[str]:
    env = {**os.environ, "LC_ALL": "C.UTF-8"}
    return subprocess.run(command, check=False, capture_output=True, text=True, env=env, timeout=600)


def output(*command: str | Path) -> str:
    done = run(command)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


@pytest.fixture(scope="module")
def deb(tmp_path_factory: pytest.TempPathFactory) -> Path:
    need("dh")
    directory = tmp_path_factory.mktemp("deb")
    printed = output(ROOT / "tools/build-deb", "--output", directory)
    (made,) = directory.iterdir()
    assert printed == f"{made}\n"
    return made


@pytest.fixture(scope="module")
def content(deb: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What is in the package, unpacked."""
    root = tmp_path_factory.mktemp("content")
    output("dpkg-deb", "--raw-extract", deb, root / "deb")
    return root / "deb"


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What meson installs, apart from the modules' directory, whose place is the distribution's."""
    root = tmp_path_factory.mktemp("meson")
    install(root / "build", "-Dbytecompile=false", destdir=str(root / "to"))
    return {normal(path) for path in names(root / "to")}


def names(root: Path) -> set[str]:
    return {f"/{path.relative_to(root)}" for path in root.rglob("*") if not path.is_dir()}


def normal(path: str) -> str:
    """The same file's name, wherever a distribution keeps its like."""
    path = re.sub(r"^/(usr/)?lib/systemd/system/", "/usr/lib/systemd/system/", path)
    path = re.sub(r"^/.*/(site|dist)-packages/", "PYTHON/", path)
    path = re.sub(r"/zsh/[a-z-]+/", "/zsh/ITS-PLACE/", path)
    return re.sub(r"(/man/.*)\.gz$", r"\1", path)


def of_package(path: str) -> bool:
    """Whether it is in a package besides what meson installs."""
    return path.startswith(("/usr/share/doc/", "/usr/share/licenses/", "/DEBIAN/", f"/{PRIVATE}/")) or (
        path == "/usr/share/python3/runtime.d/mcelog.rtupdate"
    )


def field(deb: Path, name: str) -> str:
    return output("dpkg-deb", "--field", deb, name).strip()


def test_debian_package_has_what_meson_installs(content: Path, installed: set[str]) -> None:
    found = {normal(path) for path in names(content) if not of_package(path)}
    assert (sorted(found - installed), sorted(installed - found)) == ([], [])


def test_the_documents_are_there_as_they_are_written(content: Path) -> None:
    """With what they link to."""
    written = {path.relative_to(ROOT) for path in (ROOT / "docs").rglob("*") if path.is_file()}
    written.add((ROOT / "README.md").relative_to(ROOT))
    shipped = content / "usr/share/doc/mcelog"
    assert [str(path) for path in written if not (shipped / path).is_file()] == []
    assert (shipped / "docs/README.md").read_bytes() == (ROOT / "docs/README.md").read_bytes()


def test_lintian_finds_no_error(deb: Path) -> None:
    lintian = need("lintian")
    done = run([lintian, "--allow-root", "--fail-on", "error", deb])
    assert done.returncode == 0, done.stdout + done.stderr


def test_configuration_is_the_administrators(content: Path) -> None:
    """dpkg keeps what was changed: every file in /etc is a conffile."""
    conffiles = (content / "DEBIAN/conffiles").read_text().splitlines()
    assert sorted(conffiles) == sorted(path for path in names(content) if path.startswith("/etc/"))
    assert "/etc/mcelog/mcelog.conf" in conffiles


def test_package_takes_the_place_of_the_c_program(deb: Path) -> None:
    assert run(["dpkg", "--compare-versions", field(deb, "Version"), "gt", LAST_OF_C]).returncode == 0


def test_one_package_serves_every_supported_python(deb: Path, content: Path) -> None:
    """From Debian what Debian has, and no Python that is the building machine's."""
    depends = field(deb, "Depends")
    assert {"python3 (>= 3.11)", "python3-dbus-next", "python3-systemd"} <= set(depends.split(", "))
    assert "<<" not in depends
    assert not re.search(r"python3\.\d", depends)
    assert {path.name for path in (content / PRIVATE).glob("*.so")} == {"reader.abi3.so"}


def test_private_library_reads_the_journal(content: Path) -> None:
    """Nothing but the package's own directory is searched, as where no other copy is."""
    program = f"""
import sys
sys.path.append({str(content / PRIVATE)!r}.rpartition("/")[0])
from cysystemd.async_reader import AsyncJournalReader
from cysystemd.reader import JournalOpenMode, JournalReader, Rule
reader = JournalReader()
reader.open(JournalOpenMode.LOCAL_ONLY)
reader.add_filter(Rule("MESSAGE_ID", "0" * 32))
assert next(iter(reader), None) is None
"""
    assert output("/usr/bin/python3", "-SI", "-c", program) == ""


def test_program_knows_the_private_library(content: Path) -> None:
    program = (content / "usr/bin/mcelogctl").read_text()
    assert f'"/{PRIVATE.rpartition("/")[0]}"' in program


@pytest.mark.parametrize("script", ["preinst", "postinst", "prerm", "postrm"])
def test_maintainer_scripts(script: str, content: Path) -> None:
    """Put together by debhelper from ours and its own."""
    path = content / "DEBIAN" / script
    assert "#DEBHELPER#" not in path.read_text()
    output(need("shellcheck"), "--severity=error", path)


def test_only_the_daemon_is_enabled(content: Path) -> None:
    """The timer would exclude it."""
    script = (content / "DEBIAN/postinst").read_text()
    enabled = set(re.findall(r"was-enabled '(.*?)'", script)) - set(
        re.findall(r"debian-installed '(.*?)'", script)
    )
    assert enabled == {"mcelog.service", "mcelog.socket", "mcelog.path"}


def test_versions_are_the_programs() -> None:
    changelog = (ROOT / "packaging/debian/changelog").read_text()
    spec = (ROOT / "packaging/rpm/mcelog.spec").read_text()
    wanted = (ROOT / "packaging/cysystemd/requirements.txt").read_text()
    assert changelog.startswith(f"mcelog (1:{__version__}) ")
    assert re.findall(r"^Version: +(.*)$", spec, re.MULTILINE) == [__version__]
    (cysystemd,) = re.findall(r"^%global cysystemd (.*)$", spec, re.MULTILINE)
    assert f"cysystemd=={cysystemd} " in wanted


@pytest.mark.parametrize(
    ("tool", "arguments", "answer"),
    [
        ("build-deb", ["--version", "1 2"], "is no version that dpkg accepts"),
        ("build-deb", ["--output"], "--output needs a value"),
        ("build-deb", ["dist"], "unknown argument dist; see --help"),
        ("build-rpm", ["--version"], "unknown argument --version; see --help"),
    ],
)
def test_wrong_use_is_answered(tool: str, arguments: list[str], answer: str) -> None:
    done = run([ROOT / "tools" / tool, *arguments])
    assert done.returncode == 1
    assert answer in done.stderr


def test_rpm_package_has_what_meson_installs(tmp_path: Path, installed: set[str]) -> None:
    need("rpmbuild")
    output(ROOT / "tools/build-rpm", "--output", tmp_path)
    (rpm,) = tmp_path.iterdir()
    listed = output("rpm", "-qp", "--qf", "[%{FILEMODES:perms} %{FILENAMES}\n]", rpm).splitlines()
    files = {line.split()[1] for line in listed if not line.startswith("d")}
    found = {normal(path) for path in files if not of_package(path) and "__pycache__" not in path}
    assert (sorted(found - installed), sorted(installed - found)) == ([], [])
    assert f"/{PRIVATE}/reader.abi3.so" in files
    kept = output("rpm", "-qp", "--configfiles", rpm).split()
    assert sorted(kept) == sorted(path for path in files if path.startswith("/etc/"))
