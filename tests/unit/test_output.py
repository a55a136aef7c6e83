# SPDX-License-Identifier: GPL-2.0-only
"""output.py: files that cannot be written, syslog that does not read."""

from __future__ import annotations

import io
import os
import socket
from pathlib import Path

import pytest

from mcelogd.output import FileSink, Output, StreamSink, SyslogSink


def test_every_sink_gets_it(tmp_path: Path) -> None:
    stream = io.StringIO()
    output = Output([StreamSink(stream), FileSink(tmp_path / "log")])
    output.write("one\n")
    assert stream.getvalue() == (tmp_path / "log").read_text() == "one\n"
    output.close()


def test_a_full_disk_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    from pathlib import Path

    sink = FileSink(Path("/dev/full"))
    for _ in range(3):
        sink.write("text\n")
    sink.close()
    assert caplog.messages == ["cannot write to /dev/full: No space left on device"]


def test_a_log_file_may_be_a_link_of_our_own(tmp_path: Path) -> None:
    (tmp_path / "first").symlink_to("second")
    (tmp_path / "second").symlink_to(tmp_path / "elsewhere")
    sink = FileSink(tmp_path / "first")
    sink.write("line\n")
    sink.close()
    assert (tmp_path / "elsewhere").read_text() == "line\n"


def test_the_standard_output_is_a_file_too() -> None:
    read, write = os.pipe()
    try:
        sink = FileSink(Path(f"/dev/fd/{write}"))
        sink.write("line\n")
        sink.close()
        assert os.read(read, 100) == b"line\n"
    finally:
        os.close(read)
        os.close(write)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can make another user's link")
def test_a_link_that_another_user_made_is_not_followed(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    precious = tmp_path / "precious"
    precious.write_text("as it was\n")
    log = tmp_path / "log"
    log.symlink_to(precious)
    os.lchown(log, 65534, 65534)
    with pytest.raises(OSError, match="another user"):
        FileSink(log)
    log.unlink()
    sink = FileSink(log)
    log.unlink()
    log.symlink_to(precious)
    os.lchown(log, 65534, 65534)
    sink.reopen()
    sink.write("line\n")
    assert precious.read_text() == "as it was\n"
    sink.close()
    assert "symbolic link" in caplog.text


def test_links_in_a_circle_and_a_fifo_nobody_reads_are_errors(tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to("circle")
    os.mkfifo(tmp_path / "fifo")
    for name in ("circle", "fifo"):
        with pytest.raises(OSError, match=r"symbolic links|No such device"):
            FileSink(tmp_path / name)


def test_a_closed_pipe_is_said_once(caplog: pytest.LogCaptureFixture) -> None:
    read, write = os.pipe()
    os.close(read)
    stream = os.fdopen(write, "w")
    sink = StreamSink(stream)
    for _ in range(3):
        sink.write("text\n")
    assert len(caplog.messages) == 1
    assert "Broken pipe" in caplog.messages[0]
    os.dup2(os.open(os.devnull, os.O_WRONLY), write)
    stream.close()


def test_what_a_closed_pipe_does_not_take_goes_elsewhere() -> None:
    read, write = os.pipe()
    os.close(read)
    stream, instead = os.fdopen(write, "w"), io.StringIO()
    sink = StreamSink(stream, StreamSink(instead))
    for line in ("one\n", "two\n"):
        sink.write(line)
    assert instead.getvalue() == "one\ntwo\n"
    assert sink.failed
    os.dup2(os.open(os.devnull, os.O_WRONLY), write)
    stream.close()


def test_syslog_lines(tmp_path: Path) -> None:
    listener = _listen(tmp_path / "log")
    sink = SyslogSink(path=str(tmp_path / "log"))
    sink.write("one\n\ntwo\n")
    assert [listener.recv(999) for _ in range(2)] == [
        b"<28>mcelog[%d]: one" % os.getpid(),
        b"<28>mcelog[%d]: two" % os.getpid(),
    ]
    sink.close()
    listener.close()


def test_syslog_that_does_not_read_is_not_waited_for(tmp_path: Path) -> None:
    listener = _listen(tmp_path / "log")
    sink = SyslogSink(path=str(tmp_path / "log"))
    sink.write("line\n" * 5000)
    taken = 0
    listener.setblocking(False)
    try:
        while listener.recv(999):
            taken += 1
    except BlockingIOError:
        pass
    assert 0 < taken < 5000
    sink.write("after\n")
    assert b"%d lines were dropped" % (5000 - taken) in listener.recv(999)
    assert listener.recv(999).endswith(b": after")
    sink.close()
    listener.close()


def test_syslog_that_was_restarted(tmp_path: Path) -> None:
    path = tmp_path / "log"
    sink = SyslogSink(path=str(path))
    sink.write("nobody there\n")
    listener = _listen(path)
    sink.write("first\n")
    listener.close()
    path.unlink()
    listener = _listen(path)
    sink.write("second\n")
    assert listener.recv(999).endswith(b"second")
    sink.close()
    listener.close()


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    listener.bind(str(path))
    return listener
