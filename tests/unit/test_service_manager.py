# SPDX-License-Identifier: GPL-2.0-only
"""What is said to a service manager, heard at a socket of our own."""

from __future__ import annotations

import os
import socket
from typing import TYPE_CHECKING

import pytest

from mcelogd.service_manager import ServiceManager

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def heard(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.setblocking(False)
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "notify"))
        yield manager


@pytest.mark.parametrize(
    ("say", "expected"),
    [
        (ServiceManager.starting, b"EXTEND_TIMEOUT_USEC=90000000"),
        (lambda manager: manager.ready("reading"), b"READY=1\nSTATUS=reading"),
        (ServiceManager.alive, b"WATCHDOG=1"),
        (ServiceManager.stopping, b"STOPPING=1"),
    ],
)
def test_what_is_said(heard: socket.socket, say: Callable[[ServiceManager], None], expected: bytes) -> None:
    say(ServiceManager(os.environ, os.getpid()))
    assert heard.recv(1000) == expected


def test_nothing_where_there_is_none(heard: socket.socket) -> None:
    ServiceManager({}, os.getpid()).starting()
    with pytest.raises(BlockingIOError):
        heard.recv(1000)


def test_one_that_went_is_left_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "nobody"))
    manager = ServiceManager(os.environ, os.getpid())
    manager.alive()
    assert not manager.is_there
