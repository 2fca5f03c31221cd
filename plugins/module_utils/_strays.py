# SPDX-License-Identifier: GPL-3.0-or-later
"""Processes of a release that nobody looks after any more: of a master that was killed, of a command whose run has died."""

from __future__ import annotations

import contextlib
import os
import pwd
import signal


def strays(user: str, release: str) -> list[int]:
    """Processes of an app's user that were started in a release, by their environment."""
    uid = pwd.getpwnam(user).pw_uid
    return [pid for pid in _pids() if _is(pid, uid, release)]


def end(user: str, release: str) -> list[int]:
    """Kill them. To be called when the release's programs have ended: what is there then listens to nobody."""
    found = []
    uid = pwd.getpwnam(user).pw_uid
    for pid in strays(user, release):
        with contextlib.suppress(OSError):
            # by descriptor: the number may be another process's by now
            handle = os.pidfd_open(pid)
            try:
                if _is(pid, uid, release):
                    signal.pidfd_send_signal(handle, signal.SIGKILL)
                    found.append(pid)
            finally:
                os.close(handle)
    return found


def _pids() -> list[int]:
    return [int(name) for name in os.listdir("/proc") if name.isdigit()]


def _is(pid: int, uid: int, release: str) -> bool:
    try:
        if os.stat(f"/proc/{pid}").st_uid != uid:
            return False
        with open(f"/proc/{pid}/environ", "rb") as stream:
            return f"RELEASE_ID={release}".encode() in stream.read().split(b"\0")
    except OSError:
        return False
