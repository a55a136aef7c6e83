# SPDX-License-Identifier: GPL-2.0-only
"""Giving up root: `run-credentials-user` and `run-credentials-group` of mcelog.conf."""

from __future__ import annotations

import os
import pwd
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path


class CredentialsError(Exception):
    """We cannot become that user; the text says why."""


def group_of(uid: int) -> int:
    """The user's own group; one of the user's number for a user that has no entry."""
    try:
        return pwd.getpwuid(uid).pw_gid
    except KeyError:
        return uid


def become(uid: int | None, gid: int | None, files: Iterable[Path] = ()) -> None:
    """Become that user and group for good, and keep `files` writable; None stays as it is.

    Raises CredentialsError, and then nothing has changed.
    """
    if gid is None and uid is not None:
        gid = group_of(uid)
    user = os.geteuid() if uid is None else uid
    group = os.getegid() if gid is None else gid
    if (user, group) == (os.geteuid(), os.getegid()):
        return
    owners = [(path, path.stat()) for path in files]
    try:
        for path, _ in owners:
            os.chown(path, user, group)
        os.setgroups([group])
        os.setresgid(group, group, group)
        os.setresuid(user, user, user)
    except OSError as error:
        for path, before in owners:
            os.chown(path, before.st_uid, before.st_gid)
        raise CredentialsError(f"cannot become user {user}, group {group}: {error.strerror}") from error
