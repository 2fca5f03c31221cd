# SPDX-License-Identifier: GPL-3.0-or-later
"""Do a piece of Python as another user: what an app can lead elsewhere by a link must not be followed by root."""

from __future__ import annotations

import json
import os
import pwd
import select
import signal
import time
from collections.abc import Callable
from typing import Any


class FailedAsUser(Exception):
    """The piece of work raised something; this is its message."""


def as_user(user: str, work: Callable[[], Any], timeout: float) -> Any:
    """Run ``work`` in a child with the rights of ``user``. Files that are open stay open there.

    :param work: returns what JSON can carry.
    :param timeout: seconds after which the child is killed.
    :raises FailedAsUser: it raised, died, or took too long.
    """
    read, write = os.pipe()
    account = pwd.getpwnam(user)
    child = os.fork()
    if not child:
        os.close(read)
        _child(account, work, write)
    os.close(write)
    try:
        answer = _read(read, time.monotonic() + timeout)
    finally:
        os.close(read)
        # it has answered, or is not to go on
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if answer is None:
        raise FailedAsUser(f"it took longer than {timeout:g} s")
    try:
        told = json.loads(answer)
    except ValueError:
        raise FailedAsUser("it was killed") from None
    if "error" in told:
        raise FailedAsUser(told["error"])
    return told["result"]


def _child(account: pwd.struct_passwd, work: Callable[[], Any], write: int) -> None:
    """All that the child does. It never returns into the code of its parent."""
    try:
        if os.geteuid() == 0:
            os.setgroups([])
            os.setgid(account.pw_gid)
            os.setuid(account.pw_uid)
        os.umask(0o077)
        told = {"result": work()}
    except BaseException as error:
        told = {"error": str(error) or repr(error)}
    try:
        with os.fdopen(write, "w", encoding="utf-8") as stream:
            json.dump(told, stream)
    finally:
        os._exit(0)


def _read(handle: int, deadline: float) -> bytes | None:
    """All that comes until the end; None when it does not end in time."""
    found = b""
    while True:
        left = deadline - time.monotonic()
        if left <= 0 or not select.select([handle], [], [], left)[0]:
            return None
        part = os.read(handle, 65536)
        if not part:
            return found
        found += part
