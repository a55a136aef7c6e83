# SPDX-License-Identifier: GPL-2.0-only
"""docs/fleet.md with its units: this machine's events, sent with TLS to a collector, which it is, too."""

from __future__ import annotations

import json
import textwrap
from pathlib import Path

from guest import mce, service
from guest.registry import scenario
from guest.shell import run, wait_for

DOCUMENT = Path("/vm/tests/fleet.md")
CERTIFICATES, KEYS, TRUST = Path("/etc/ssl/certs"), Path("/etc/ssl/private"), Path("/etc/ssl/ca/trusted.pem")
AUTHORITY_KEY = Path("/run/vm-authority.key")
COLLECTOR = "collector.example"
SITES = Path("/etc/nginx/sites-enabled")
UPLOAD = "systemd-journal-upload.service"


def install(name: str) -> None:
    """Put a file of the document where it belongs."""
    edited = "systemctl edit "
    path = Path("/etc/systemd/system", f"{name.removeprefix(edited)}.d/override.conf")
    path = path if name.startswith(edited) else Path(name)
    text = DOCUMENT.read_text().partition(f"`{name}`:\n\n")[2].partition("\n\n")[0]
    assert text, f"no {name} in the document"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(textwrap.dedent(text) + "\n")


def do(command: str) -> None:
    """Run a command of the document."""
    assert f"\n# {command}\n" in DOCUMENT.read_text()
    run(*command.split(), limit=100)


def certify(name: str, certificate: Path, key: Path, *signed: str) -> None:
    """Make a certificate for `name`, signed by itself if not by another; only root may read its key."""
    request = [
        "openssl",
        "req",
        "-x509",
        "-newkey",
        "rsa:2048",
        "-noenc",
        "-days",
        "2",
        "-subj",
        f"/CN={name}",
    ]
    request += ["-addext", f"subjectAltName=DNS:{name}", "-out", str(certificate), "-keyout", str(key)]
    run(*request, *signed, limit=100)
    key.chmod(0o600)


def certify_all() -> None:
    """The authority, the collector and this machine."""
    TRUST.parent.mkdir(parents=True, exist_ok=True)
    certify("authority", TRUST, AUTHORITY_KEY)
    for end, name in (("remote", COLLECTOR), ("upload", "vm")):
        names = (CERTIFICATES / f"journal-{end}.pem", KEYS / f"journal-{end}.pem")
        certify(name, *names, "-CA", str(TRUST), "-CAkey", str(AUTHORITY_KEY))


def tallied() -> list[dict[str, object]]:
    """What the collected journals say of DIMMs."""
    command = ("mcelogctl", "events", "--machine", "all", "--by", "dimm", "--json")
    done = run(*command, check=False, limit=60, quiet=True)
    return [json.loads(line) for line in done.stdout.splitlines()]


def wait_for_collected(errors: int) -> None:
    wait_for(lambda: [one["corrected_errors"] for one in tallied()] == [errors], f"{errors} errors", 120)


@scenario(limit=400, alone=True)
def events_are_sent_with_tls() -> None:
    """By the units, configured as the document says, and not by one with a certificate of somebody else."""
    certify_all()
    with Path("/etc/hosts").open("a") as hosts:
        hosts.write(f"127.0.0.1 {COLLECTOR}\n")
    # Debian's own site listens by IPv6, too, which not every kernel here has.
    (SITES / "default").unlink(missing_ok=True)
    install("/etc/nginx/conf.d/journal-remote.conf")
    install("systemctl edit systemd-journal-remote.socket")
    install("systemctl edit systemd-journal-remote.service")
    install("/etc/systemd/journal-upload.conf")
    install("systemctl edit systemd-journal-upload.service")
    run("systemctl", "daemon-reload")
    do("systemctl enable --now systemd-journal-remote.socket")
    do("systemctl restart nginx")
    do("systemctl enable --now systemd-journal-upload")
    service.start()
    mce.inject(mce.RECORD, "--count", "3", "--step", "addr=4096")
    service.wait_for_stored(3)
    wait_for_collected(3)
    (machine,) = tallied()
    assert (machine["hostname"], machine["label"], machine["uncorrected_errors"]) == ("vm", "DIMM 0", 0)
    a_stranger_is_refused()


def a_stranger_is_refused() -> None:
    """Then what came meanwhile is sent with the right certificate again."""
    certificate, key = CERTIFICATES / "journal-upload.pem", KEYS / "journal-upload.pem"
    kept = certificate.read_text(), key.read_text()
    certify("vm", certificate, key)
    run("systemctl", "restart", UPLOAD)
    mce.inject(mce.RECORD, "--count", "2", "--step", "addr=8192")
    wait_for(lambda: service.prop("SubState", UPLOAD) == "auto-restart", "the refusal", 60)
    said = run("journalctl", "-u", UPLOAD, "-o", "cat", "--no-pager", "-n", "20").stdout
    assert "SSL certificate error" in said, said
    assert [one["corrected_errors"] for one in tallied()] == [3]
    certificate.write_text(kept[0])
    key.write_text(kept[1])
    run("systemctl", "restart", UPLOAD)
    wait_for_collected(5)
