# SPDX-License-Identifier: GPL-2.0-only
"""docs/fleet.md with TLS: its configuration as it stands there, and who may send entries by it.

The units themselves are for tests/vm/scenarios/fleet.py.
"""

from __future__ import annotations

import contextlib
import http.client
import os
import ssl
import subprocess
import textwrap
from typing import TYPE_CHECKING, NamedTuple

import pytest

from .conftest import wait_for
from .ctl_peers import JOURNAL_REMOTE, ROOT, journal
from .privatebus import need
from .test_fleet import A1, B1, UPLOAD, fail, tallied
from .test_metrics import Program, can_connect, free_port, unpacked_program

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MACHINES = ("db7", "db8", "web1")
NGINX = """\
daemon off;
pid {scratch}/pid;
error_log stderr;
events {{}}
http {{
    access_log off;
    {temporary}
    include {scratch}/site;
}}
"""
TEMPORARY = ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
HAS_ETC = 'mount -t tmpfs none /etc/systemd && cp "$1" "/etc/systemd/$2" && shift 2 && exec "$@"'


def documented(name: str) -> str:
    """A file of docs/fleet.md."""
    text = (ROOT / "docs/fleet.md").read_text().partition(f"`{name}`:\n\n")[2].partition("\n\n")[0]
    assert text
    return textwrap.dedent(text) + "\n"


def filled(name: str, **places: Path | str) -> str:
    """A file of docs/fleet.md with the test's own places in it."""
    text = documented(name)
    for old, new in places.items():
        assert PLACES[old] in text
        text = text.replace(PLACES[old], str(new))
    return text


PLACES = {
    "trust": "/etc/ssl/ca/trusted.pem",
    "collector": "/etc/ssl/certs/journal-remote.pem",
    "collector_key": "/etc/ssl/private/journal-remote.pem",
    "sender": "/etc/ssl/certs/journal-upload.pem",
    "sender_key": "/run/credentials/systemd-journal-upload.service/key",
    "listen": "listen 19532 ",
    "behind": "127.0.0.1:19531",
    "url": "https://collector.example",
}


# -- certificates ------------------------------------------------------------------------------


class Identity(NamedTuple):
    """A certificate and its key."""

    certificate: Path
    key: Path


class Authority:
    """Who signs certificates, each good for localhost."""

    def __init__(self, directory: Path, name: str) -> None:
        need("openssl", "openssl")
        self._directory = directory
        self._own = self._make(name)

    @property
    def certificate(self) -> Path:
        return self._own.certificate

    def sign(self, name: str) -> Identity:
        own = self._own
        return self._make(name, "-CA", str(own.certificate), "-CAkey", str(own.key))

    def _make(self, name: str, *signed: str) -> Identity:
        made = Identity(self._directory / f"{name}.pem", self._directory / f"{name}.key")
        request = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-noenc", "-subj", f"/CN={name}"]
        request += ["-addext", "subjectAltName=DNS:localhost", "-days", "2", *signed]
        if signed:
            request += ["-addext", "basicConstraints=critical,CA:FALSE"]
        subprocess.run(
            [*request, "-out", made.certificate, "-keyout", made.key], check=True, capture_output=True
        )
        return made


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("authority"), "fleet")


@pytest.fixture(scope="module")
def stranger(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """One that the collector does not know, whatever it calls itself."""
    return Authority(tmp_path_factory.mktemp("stranger"), "fleet")


# -- both ends ---------------------------------------------------------------------------------


class Collector(NamedTuple):
    """Where entries are sent to, and where they arrive."""

    port: int
    directory: Path


@pytest.fixture(scope="module")
def collector(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Collector]:
    scratch, port, behind = tmp_path_factory.mktemp("collector"), free_port(), free_port()
    identity, directory = authority.sign("collector"), scratch / "remote"
    directory.mkdir()
    site = filled(
        "/etc/nginx/conf.d/journal-remote.conf",
        trust=authority.certificate,
        collector=identity.certificate,
        collector_key=identity.key,
        listen=f"listen 127.0.0.1:{port} ",
        behind=f"127.0.0.1:{behind}",
    )
    receive = [str(JOURNAL_REMOTE), f"--listen-http=127.0.0.1:{behind}", f"--output={directory}"]
    with nginx(scratch, site), Program(receive, dict(os.environ), scratch / "log"):
        wait_for(lambda: can_connect(port) and can_connect(behind), "the collector")
        yield Collector(port, directory)


@contextlib.contextmanager
def nginx(scratch: Path, site: str) -> Iterator[None]:
    """It, with its own files in `scratch`."""
    (scratch / "site").write_text(site)
    temporary = " ".join(f"{name}_temp_path {scratch}/{name};" for name in TEMPORARY)
    (scratch / "nginx.conf").write_text(NGINX.format(scratch=scratch, temporary=temporary))
    argv = [unpacked_program("nginx"), "-e", "stderr", "-c", str(scratch / "nginx.conf")]
    with Program(argv, {"PATH": os.environ["PATH"]}, scratch / "nginx.log"):
        yield


def upload(source: Path, scratch: Path, port: int, trust: Path, identity: Identity) -> tuple[int, str]:
    """Send a journal with the settings of docs/fleet.md; the exit status, and what is said."""
    need(UPLOAD, "systemd-journal-remote")
    config = scratch / "journal-upload.conf"
    config.write_text(
        filled(
            "/etc/systemd/journal-upload.conf",
            url=f"https://localhost:{port}",
            trust=trust,
            sender=identity.certificate,
            sender_key=identity.key,
        )
    )
    send = [UPLOAD, f"--directory={source}", "--follow=no", f"--save-state={scratch}/state"]
    ran = subprocess.run(with_config(config, *send), capture_output=True, text=True, timeout=60, check=False)
    return ran.returncode, ran.stderr


def with_config(config: Path, *argv: str | Path) -> list[str]:
    """A command that finds that file, and no other, in /etc/systemd."""
    namespace = ["--mount"] if os.geteuid() == 0 else ["--user", "--map-root-user", "--mount"]
    return list(map(str, ["unshare", *namespace, "sh", "-c", HAS_ETC, "sh", config, config.name, *argv]))


def logged(directory: Path, name: str, errors: int) -> Path:
    """The journal of a machine with so many errors of one DIMM, and two of another."""
    directory.mkdir()
    with journal(directory, name) as one:
        fail(one, errors, **A1)
        fail(one, 2, **B1)
    return directory


# -- the tests ---------------------------------------------------------------------------------


def test_entries_of_machines_that_have_a_certificate(
    authority: Authority, collector: Collector, tmp_path: Path
) -> None:
    """Each with its own; and then the question that they are collected for."""
    for number, name in enumerate(MACHINES):
        source = logged(tmp_path / name, name, 3 + 10 * number)
        identity = authority.sign(name)
        sent = upload(source, source, collector.port, authority.certificate, identity)
        assert sent[0] == 0, sent
    wait_for(lambda: len(tallied(collector.directory)) == 6, "the entries")
    assert tallied(collector.directory, "--more-than", "3") == {
        ("web1", "A1"): (23, 0),
        ("db8", "A1"): (13, 0),
    }
    assert tallied(collector.directory, "--machine", "db7") == {("db7", "A1"): (3, 0), ("db7", "B1"): (2, 0)}


def test_a_sender_with_a_certificate_of_somebody_else_is_refused(
    authority: Authority, stranger: Authority, collector: Collector, tmp_path: Path
) -> None:
    source = logged(tmp_path / "evil", "evil", 3)
    status, said = upload(source, tmp_path, collector.port, authority.certificate, stranger.sign("db7"))
    assert (status, "SSL certificate error" in said) == (1, True), said
    # The same journal from one who may, so that what was refused is known not to come late.
    honest = upload(source, tmp_path, collector.port, authority.certificate, authority.sign("evil"))
    assert honest[0] == 0, honest
    wait_for(lambda: tallied(collector.directory, "--machine", "evil"), "the entries")
    assert tallied(collector.directory, "--machine", "evil")["evil", "A1"] == (3, 0)


def test_a_collector_with_a_certificate_of_somebody_else_gets_nothing(
    authority: Authority, stranger: Authority, collector: Collector, tmp_path: Path
) -> None:
    source = logged(tmp_path / "shy", "shy", 3)
    status, said = upload(source, tmp_path, collector.port, stranger.certificate, authority.sign("shy"))
    assert (status, "certificate" in said) == (1, True), said


def post(port: int, authority: Authority, identity: Identity | None = None, address: str = "") -> int:
    """Send no entries at all; the status of the answer."""
    context = ssl.create_default_context(cafile=authority.certificate)
    if identity is not None:
        context.load_cert_chain(*identity)
    connection = http.client.HTTPSConnection("localhost", port, context=context, source_address=(address, 0))
    with contextlib.closing(connection):
        connection.request("POST", "/upload", headers={"Content-Type": "application/vnd.fdo.journal"})
        return connection.getresponse().status


def test_who_has_no_certificate_is_refused(authority: Authority, collector: Collector) -> None:
    assert post(collector.port, authority, authority.sign("web2")) == 202
    assert post(collector.port, authority) == 400
    plain = http.client.HTTPConnection("localhost", collector.port)
    with contextlib.closing(plain):
        plain.request("POST", "/upload")
        assert plain.getresponse().status == 400


def test_each_address_has_a_file_of_its_own(authority: Authority, collector: Collector) -> None:
    for address in ("127.9.8.7", "127.9.8.8"):
        assert post(collector.port, authority, authority.sign("web3"), address) == 202
        wait_for((collector.directory / f"remote-{address}.journal").exists, "the file")


def test_systemd_checks_certificates_only_if_it_has_gnutls(
    authority: Authority, stranger: Authority, tmp_path: Path
) -> None:
    """Why nginx is needed: the collector's own setting for it is of no effect in Debian."""
    need(JOURNAL_REMOTE, "systemd-journal-remote")
    has_gnutls = (
        "+GNUTLS"
        in subprocess.run(["systemctl", "--version"], check=True, capture_output=True, text=True).stdout
    )
    identity, port = authority.sign("alone"), free_port()
    config = tmp_path / "journal-remote.conf"
    config.write_text(
        f"[Remote]\nServerKeyFile={identity.key}\nServerCertificateFile={identity.certificate}\n"
        f"TrustedCertificateFile={authority.certificate}\n"
    )
    receive = with_config(config, JOURNAL_REMOTE, f"--listen-https=127.0.0.1:{port}", f"--output={tmp_path}")
    with Program(receive, dict(os.environ), tmp_path / "log"):
        wait_for(lambda: can_connect(port), "the collector")
        assert (post(port, authority) == 202) is not has_gnutls
        assert (post(port, authority, stranger.sign("x")) == 202) is not has_gnutls
