# SPDX-License-Identifier: GPL-3.0-or-later
"""One deploy at a time per app and host."""

from __future__ import annotations

import contextlib
import json
import os
import time
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._releases import read_json

# a lock that no step has touched for this long belongs to nobody: longer than any step may take (build_timeout)
STALE_AFTER = 3600.0


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
    broken = False
    for _attempt in range(2):
        holder = read_json(path)
        if holder.get("token") == mine["token"]:
            return broken
        if os.path.exists(path):
            stale = time.time() - os.path.getmtime(path) > STALE_AFTER
            if not (stale or not holder or holder.get("token") == break_token):
                raise Held(holder)
            broken = True
            with contextlib.suppress(FileNotFoundError):
                os.unlink(path)
        if _create(path, mine):
            return broken
    raise Held(read_json(path))


def _create(path: str, mine: dict[str, Any]) -> bool:
    """Write the lock whole under another name, then link it: it is there completely, or not."""
    own = f"{path}.{mine['token']}"
    with open(own, "w", encoding="utf-8") as stream:
        json.dump(mine, stream)
    try:
        os.link(own, path)
    except FileExistsError:
        return False
    finally:
        os.unlink(own)
    return True


def release(path: str, token: str) -> bool:
    """Give back a lock that is mine; another's is left alone."""
    if read_json(path).get("token") != token:
        return False
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path)
    return True


def still_mine(path: str, token: str) -> bool:
    """Whether the lock is mine, and if so show that I am alive."""
    if read_json(path).get("token") != token:
        return False
    os.utime(path)
    return True


def in_words(holder: dict[str, Any]) -> str:
    """Who holds the lock, for people."""
    return (
        f"{holder.get('owner', 'somebody')} on {holder.get('controller', 'an unknown machine')} "
        f"(process {holder.get('pid', '?')}) since {holder.get('since', 'an unknown time')}: {holder.get('purpose', '?')}"
    )
