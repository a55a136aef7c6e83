# SPDX-License-Identifier: GPL-2.0-only
"""The self test of a real mcelog, fed by a FIFO; the kernel's own injector is the VM layer's matter."""

from __future__ import annotations

import json
import socket
from typing import TYPE_CHECKING

import pytest

from mcelogd.decode import self_test
from mcelogd.record import MceRecord, pack

from .conftest import Scratch, memory_error, run_mcelog, wait_for
from .ctl_peers import ctl
from .journal_peer import parse
from .privatebus import PrivateBus, private_bus

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def bus() -> Iterator[PrivateBus]:
    with private_bus() as bus:
        yield bus


def on_bus(scratch: Scratch, bus: PrivateBus, *settings: str) -> Scratch:
    text = scratch.config.read_text().replace("bus = none", f"bus = {bus.address}")
    scratch.config.write_text("\n".join([*settings, text]))
    scratch.start()
    return scratch


def entries(peer: socket.socket) -> list[dict[str, str]]:
    """What the daemon has sent to the journal by now."""
    found = []
    while True:
        try:
            data = peer.recv(1 << 20)
        except BlockingIOError:
            return found
        found.append({name: value.decode() for name, value in parse(data)})


def test_each_link_says_whether_it_held(scratch: Scratch, bus: PrivateBus) -> None:
    on_bus(scratch, bus)
    ran = ctl("self-test", "--json", bus=bus)
    document = json.loads(ran.stdout)
    assert (ran.returncode, document["ok"]) == (1, False)
    held = {link["name"]: link["ok"] for link in document["links"]}
    assert held == {"injection": True, "source": True, "store": True, "journal": False}
    assert "no journald here" in document["links"][-1]["text"]
    assert "The injected error did not arrive." in ctl("self-test", bus=bus).stdout


def test_it_is_marked_everywhere_and_counted_nowhere(scratch: Scratch, bus: PrivateBus) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as peer:
        peer.bind(str(scratch.directory / "journal"))
        peer.setblocking(False)
        on_bus(scratch, bus, "unknown-error-trigger = no-such-trigger")
        scratch.send(memory_error(5))
        scratch.wait_stored(1)
        ctl("self-test", "--json", bus=bus)
        scratch.wait_stored(2)
        told = [entry for entry in entries(peer) if "MCE_MARKS" in entry]
    assert [(entry["MCE_MARKS"], entry["PRIORITY"], entry["MCE_SEVERITY"]) for entry in told] == [
        ("test", "6", "info")
    ]
    assert told[0]["MESSAGE"].startswith("Self test of mcelog: one injected record, no error")
    status = json.loads(ctl("status", "--json", bus=bus).stdout)["machine"]
    assert (status["corrected_errors"], status["uncorrected_errors"], status["records_read"]) == (1, 0, 2)
    assert len(json.loads(ctl("dimms", "--json", bus=bus).stdout)) == 1
    log = scratch.log.read_text()
    assert "Self test of mcelog, no hardware error\n" in log
    assert "Self test of mcelog: failed at: journal\n" in log
    assert "no-such-trigger'" not in log
    assert '"test"' in ctl("show", "2", "--json", bus=bus).stdout
    scratch.stop()
    # It is known for what it is by whoever looks at the record later, too.
    scratch.start()
    assert json.loads(ctl("status", "--json", bus=bus).stdout)["machine"]["corrected_errors"] == 1


def test_a_source_that_the_kernel_does_not_feed(scratch: Scratch, bus: PrivateBus) -> None:
    """A file of records gets none injected; the kernel's way is not open to a test in a container."""
    records = scratch.directory / "records"
    records.write_bytes(memory_error(1))
    text = scratch.config.read_text().replace("bus = none", f"bus = {bus.address}")
    scratch.config.write_text(text)
    scratch.start(device=str(records))
    scratch.wait_stored(1)
    links = json.loads(ctl("self-test", "--json", bus=bus).stdout)["links"]
    assert [(link["name"], link["ok"]) for link in links] == [("injection", False)]
    assert links[0]["text"] == "a file of records is read, and not what the kernel reports"


def test_the_record_does_not_survive_as_an_error(scratch: Scratch) -> None:
    """Found in the spool after a crash, in a log or in a file, it is known by its registers."""
    record = MceRecord(status=self_test.STATUS, misc=self_test.misc_of(7), cpuid=0x606A6)
    scratch.start()
    scratch.send(pack(record))
    scratch.wait_stored(1)
    wait_for(lambda: "Self test of mcelog, no" in scratch.log.read_text(), "its text")
    assert scratch.query("SELECT kind, severity FROM events") == [("unknown", "info")]
    assert scratch.query("SELECT count(*) FROM memory") == [(0,)]


def test_a_command_line_that_is_wrong() -> None:
    for words in (("x", "/dev/mcelog"), ("1",), (str(1 << 32), "/dev/mcelog")):
        ran = run_mcelog("--inject-self-test", *words)
        assert (ran.returncode, ran.stderr.count("\n")) == (1, 1)
        assert "use mcelogctl self-test" in ran.stderr
