# SPDX-License-Identifier: GPL-2.0-only
"""`mcelog`, the command line: which of its ways to run, and with what settings.

Each command imports only what it needs: `--client` and `--version` are run by
monitoring every few seconds, on machines that have other worries.
"""

from __future__ import annotations

import getopt
import os
import sys
from typing import TYPE_CHECKING, TextIO

from mcelogd import __version__
from mcelogd.config import DEFAULT_FILE, ConfigError, load
from mcelogd.settings import Settings, usage

if TYPE_CHECKING:
    from collections.abc import Callable

    from mcelogd.config import Config


def main() -> int:
    """Run the command; the exit status, as the C program has it."""
    _open_standard_descriptors()
    try:
        return run(sys.argv[1:])
    except ConfigError as error:
        _complain(str(error))
    except BrokenPipeError:
        # Whoever read our output has had enough.
        _discard_output()
    except KeyboardInterrupt:
        return 130
    return 1


def run(arguments: list[str]) -> int:
    """Parse `arguments` and run what they ask for."""
    names = [*Settings.long_options(), *Settings.command_names()]
    try:
        options, positional = getopt.gnu_getopt(arguments, "", names)
    except getopt.GetoptError as error:
        _complain(f"{error.msg}\n{usage()}")
        return 1
    commands = [
        name.removeprefix("--") for name, _ in options if name.removeprefix("--") in Settings.command_names()
    ]
    command = commands[0] if commands else ""
    if command == "help":
        sys.stderr.write(usage())
        return 0
    if command == "version":
        sys.stderr.write(f"mcelog {__version__}\n")
        return 0
    overrides = Settings.overrides(options)
    if command == "doctor":
        # A mcelog.conf that cannot be used is one of its findings.
        return _printing(_doctor, Settings.load(None, overrides))
    config = _config(overrides)
    if command in ("client", "ping", "history", "replaced", "acquit"):
        return _ask(command, positional, config)
    settings = Settings.load(config, overrides)
    if command == "check-config":
        return _printing(_check_config, settings)
    if not settings.daemon:
        for warning in settings.warnings:
            _complain(f"warning: {warning}")
    return _run_with(command, settings, positional, lambda: Settings.load(_config(overrides), overrides))


def _run_with(command: str, settings: Settings, positional: list[str], reread: Callable[[], Settings]) -> int:
    if command == "is-cpu-supported":
        return 0
    if command == "imc-log":
        return _switch_on_imc_log(settings)
    if command in ("prepare-source", "cleanup"):
        return _manage_source(command, settings)
    if command == "inject-self-test":
        return _inject_self_test(settings, positional)
    if command == "ascii":
        from mcelogd.oneshot import decode_text

        return _printing(decode_text, settings)
    if len(positional) > 1:
        _complain(f"one device at most, not {' '.join(positional)}\n{usage()}")
        return 1
    device = positional[0] if positional else ""
    from mcelogd import startup

    if settings.daemon:
        return startup.run_daemon(settings, device, reread)
    return startup.run_once(settings, device)


def _printing(command: Callable[[Settings], int], settings: Settings) -> int:
    """Run a command that prints; what it reads names its errors itself, so others are standard output's."""
    try:
        return command(settings)
    except BrokenPipeError:
        raise
    except OSError as error:
        _complain(f"cannot write to standard output: {error.strerror or error}")
        _discard_output()
        return 1


def _discard_output() -> None:
    """Python would try once more at exit, and complain."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 1)


def _config(overrides: dict[str, str | None]) -> Config:
    named = overrides.get("config-file")
    return load(named or DEFAULT_FILE, must_exist=named is not None)


def _ask(command: str, places: list[str], config: Config) -> int:
    from mcelogd import client

    path = Settings.socket_path.read(config)
    if command == "client":
        return client.run_client(path)
    if command == "ping":
        return client.run_ping(path)
    if command == "history":
        return client.run_command(path, command)
    if len(places) != 1 or not places[0].isprintable():
        _complain(f"--{command} needs one DIMM, as SOCKET/CHANNEL/DIMM; mcelog --client shows the numbers")
        return 1
    return client.run_command(path, f"{command} {places[0]}")


def _switch_on_imc_log(settings: Settings) -> int:
    if settings.no_imc_log:
        return 0
    from mcelogd.act import imc_log

    return imc_log.main(sysfs_root=settings.sysfs_root)


def _manage_source(command: str, settings: Settings) -> int:
    """Make or remove the kernel's buffers; nothing to make where records come from elsewhere."""
    from mcelogd.sources import SourceError, choice, tracefs

    try:
        if command == "cleanup":
            tracefs.cleanup(settings.tracefs_root)
        elif choice.is_tracefs(settings, ""):
            tracefs.prepare(settings.tracefs_root, settings.trace_buffer_size)
    except SourceError as error:
        _complain(str(error))
        return 1
    return 0


def _inject_self_test(settings: Settings, positional: list[str]) -> int:
    """The number of the test, and what the daemon reads."""
    number, source = positional if len(positional) == 2 else ("", "")
    if not number.isdigit() or int(number) >= 1 << 32:
        _complain(
            "--inject-self-test needs a number (32 bits) and the daemon's source; use mcelogctl self-test"
        )
        return 1
    from mcelogd.act import inject

    try:
        inject.inject(int(number), source, settings.record_length, sysfs_root=settings.sysfs_root)
    except inject.InjectError as error:
        _complain(f"self test: {error}")
        return error.status
    return 0


def _doctor(settings: Settings) -> int:
    import argparse

    from mcelogd.ctl.output import Output
    from mcelogd.doctor.report import report

    # Closed, it is None: the exit status is an answer, too.
    sys.stdout = sys.stdout or open(os.devnull, "w")  # noqa: SIM115, PTH123  # as long as we run
    output = Output(argparse.Namespace(json=settings.json, no_pager=True, no_legend=False))
    return report(output, settings.root, settings.config_file)


def _check_config(settings: Settings) -> int:
    """Print the settings in effect; warnings go to standard error and do not count as failure."""
    for line in settings.describe():
        print(line)
    for warning in settings.warnings:
        _complain(f"warning: {warning}")
    return 0


def _complain(message: str) -> None:
    stream: TextIO | None = sys.stderr
    if stream is not None:
        stream.write(f"mcelog: {message.rstrip()}\n")


def _open_standard_descriptors() -> None:
    """Started by the kernel there are no descriptors 0 to 2; the next files opened must not become them."""
    for descriptor in range(3):
        try:
            os.fstat(descriptor)
        except OSError:
            os.open(os.devnull, os.O_RDWR)
