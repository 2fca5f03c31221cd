# SPDX-License-Identifier: GPL-3.0-or-later
"""One deploy at a time per app and host."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._releases import (
    App,
    ReleaseError,
    read_json,
    utc_now,
    write_json,
)

# A lock that nothing has touched for this long is anybody's. Each step touches it when it begins, and before each command
# of the app. That is far longer than one of them usually takes, but nothing bounds it: a larger release_build_timeout may
# outlast it. So a run is told at its next step that it lost the lock, and stops there.
STALE_AFTER = 3 * 3600.0


class Held(Exception):
    """Another run holds the lock; ``holder`` is what it wrote."""

    def __init__(self, holder: dict[str, Any]) -> None:
        super().__init__("held")
        self.holder = holder


def take(path: str, mine: dict[str, Any], *, break_token: str = "") -> bool:
    """Take the lock, or raise Held. Taking it again with the same token is fine.

    :param path: the lock file.
    :param mine: at least ``token``; what the next run is told when this one holds the lock.
    :param break_token: token of a holder known to be dead.
    :returns: whether a stale lock was broken.
    """
    with _alone(path):
        holder = read_json(path)
        if holder.get("token") == mine["token"]:
            return False
        found = os.path.exists(path)
        if found:
            stale = time.time() - os.path.getmtime(path) > STALE_AFTER
            if not (stale or not holder or holder.get("token") == break_token):
                raise Held(holder)
        write_json(path, mine)
        return found


@contextlib.contextmanager
def _alone(path: str) -> Iterator[None]:
    """Nobody else looks at the lock or changes it meanwhile: two that find it stale must not both take it over.

    The kernel's lock on the directory is gone with the process, however that ends.
    """
    handle = os.open(os.path.dirname(path), os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield
    finally:
        os.close(handle)


def release(path: str, token: str) -> bool:
    """Give back a lock that is mine; another's is left alone."""
    if not os.path.exists(path):
        return False
    with _alone(path):
        if read_json(path).get("token") != token:
            return False
        os.unlink(path)
    return True


def still_mine(path: str, token: str, step: str = "") -> bool:
    """Whether the lock is mine, and if so show that I am alive.

    :param step: what is begun now, for whoever finds the lock held.
    """
    if not os.path.exists(path):
        return False
    with _alone(path):
        holder = read_json(path)
        if holder.get("token") != token:
            return False
        os.utime(path)
        if step:
            # half a lock after a power cut counts as none; a full disk must not keep a run from giving up in order
            with contextlib.suppress(OSError):
                write_json(path, {**holder, "step": step, "at": utc_now()}, durable=False)
    return True


def enter(app: App, token: str, step: str) -> None:
    """Begin a step, or go on with it, only while the lock of the app is mine.

    :param step: name of the step, for the error and for whoever finds the lock held.
    :raises ReleaseError: another run has the lock, or nobody.
    """
    if not still_mine(app.paths["lock"], token, step):
        raise ReleaseError(f"{step}: the lock of {app.name} was taken over by another run")


def in_words(holder: dict[str, Any]) -> str:
    """Who holds the lock, for people."""
    return (
        f"{holder.get('owner', 'somebody')} on {holder.get('controller', 'an unknown machine')} "
        f"(process {holder.get('pid', '?')}) since {holder.get('since', 'an unknown time')}: {holder.get('purpose', '?')}"
        + (f", at step {holder['step']} since {holder.get('at', '?')}" if holder.get("step") else "")
    )
