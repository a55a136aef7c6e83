# SPDX-License-Identifier: GPL-2.0-only
"""mcelogctl self-test: through the kernel, the sandboxed service and the guest's journal."""

from __future__ import annotations

import json

from guest import service
from guest.registry import scenario
from guest.shell import run, wait_for


def _test() -> dict[str, bool]:
    """Which links held."""
    ran = run("mcelogctl", "self-test", "--json", check=False, limit=100)
    document = json.loads(ran.stdout)
    links = {link["name"]: link["ok"] for link in document["links"]}
    assert (ran.returncode == 0) == document["ok"] == all(links.values()), ran
    return links


@scenario(limit=180)
def a_record_comes_out_of_the_journal() -> None:
    """One record goes through the whole chain, and is no error anywhere."""
    service.start()
    assert list(_test()) == ["injection", "source", "store", "journal"]
    assert all(_test().values())
    entry = json.loads(
        run("journalctl", "-o", "json", "-n", "1", service.message_id("SELF_TEST_RECORD")).stdout
    )
    assert entry["MCE_MARKS"] == "test"
    status = json.loads(run("mcelogctl", "status", "--json").stdout)["machine"]
    assert (status["records_read"], status["corrected_errors"]) == (2, 0)
    assert "SOCKET" not in service.client()
    assert not run("journalctl", "-q", "-o", "cat", service.message_id("UNKNOWN_ERROR")).stdout


@scenario(limit=180)
def the_broken_link_is_named() -> None:
    """Without debugfs nothing can be injected; with it again, all is well."""
    service.start()
    run("systemctl", "stop", "sys-kernel-debug.mount")
    try:
        ran = run("mcelogctl", "self-test", check=False, limit=100)
    finally:
        run("systemctl", "start", "sys-kernel-debug.mount")
    assert ran.returncode == 1, ran
    assert "debugfs is not mounted" in ran.stdout, ran
    wait_for(lambda: run("journalctl", "-q", service.message_id("SELF_TEST")).stdout, "the result")
    assert all(_test().values())
