# SPDX-License-Identifier: GPL-3.0-or-later
"""Connections to a host beside the one of the task: as somebody else, on another port, or a new one that proves something."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase

# sshd lets the key in, but PAM wants a new password first
_EXPIRED = "Password change required"


def way_in(action: ActionBase, user: str, port: int | None = None, fresh: bool = False) -> Any:
    """A connection with the settings of the task's own, but for these.

    :param fresh: opens a connection of its own, so that nothing is proven by one that was open before.
    """
    connection = action._shared_loader_obj.connection_loader.get(
        action._connection._load_name, action._play_context, new_stdin=None
    )
    connection._options = dict(action._connection._options)
    connection._options["remote_user"] = user
    # a host that is down is not tried again and again for every user
    connection._options["reconnection_retries"] = 0
    if port:
        connection._options["port"] = port
    if fresh:
        args = connection._options.get("ssh_extra_args") or ""
        connection._options["ssh_extra_args"] = f"{args} -o ControlMaster=no -o ControlPath=none".strip()
    return connection


def reason(text: str) -> str:
    """The last line of ssh's complaint, which is the one that matters."""
    lines = [line.strip() for line in text.strip().splitlines() if line.strip()]
    if _EXPIRED in text:
        return "its password has expired, and the host wants a new one before it lets even a key in: log in by hand once and give one"
    return lines[-1] if lines else "no answer"
