# SPDX-License-Identifier: GPL-3.0-or-later
"""Say who asks for the lock, and recognise a holder that died on this control node."""

from __future__ import annotations

import contextlib
import datetime
import getpass
import os
import socket
import uuid
from typing import Any

from ansible.plugins.action import ActionBase

_MACHINE_ID = "/etc/machine-id"
_BOOT_ID = "/proc/sys/kernel/random/boot_id"


class ActionModule(ActionBase):
    """Action part of ``flaskhost.stack.release_begin``."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(["app", "purpose", "wait", "min_free_mb", "rollback", "target", "force"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        # tasks run in forks of the ansible-playbook process
        run = os.getppid()
        arguments["holder"] = {
            "token": uuid.uuid4().hex,
            "owner": getpass.getuser(),
            "controller": socket.gethostname(),
            "node": _node(),
            "pid": run,
            "started": _started(run),
            "since": datetime.datetime.now(datetime.timezone.utc).strftime("%Y-%m-%d %H:%M:%S UTC"),
            "purpose": arguments.get("purpose", "deploy"),
        }
        wait = arguments.pop("wait", 0)
        # without waiting first: the holder may be one of our own that is dead
        result = self._begin({**arguments, "wait": 0}, task_vars)
        holder = result.get("holder")
        if result.get("failed") and isinstance(holder, dict):
            if holder.get("node") == _node() and not _alive(holder):
                result = self._begin({**arguments, "break_token": holder["token"]}, task_vars)
            elif wait:
                result = self._begin({**arguments, "wait": wait}, task_vars)
        return result

    def _begin(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="flaskhost.stack.release_begin", module_args=arguments, task_vars=task_vars
        )
        return result


def _node() -> str:
    """What tells this machine from any other whose process ids mean something else.

    Containers share names like ``runner``, clones share a machine id, and after a boot the ids begin anew.
    """
    namespace = ""
    with contextlib.suppress(OSError):
        namespace = os.readlink("/proc/self/ns/pid")
    return " ".join([socket.gethostname(), _read(_MACHINE_ID), _read(_BOOT_ID), namespace])


def _read(path: str) -> str:
    with contextlib.suppress(OSError), open(path, encoding="utf-8", errors="replace") as stream:
        return stream.read().strip()
    return ""


def _started(pid: int) -> str:
    """When a process began, in ticks of the kernel: tells it from a later one of the same number."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as stream:
            fields = stream.read().rpartition(")")[2].split()
    except OSError:
        return ""
    # a zombie runs no more
    return "" if fields[0] == "Z" else fields[19]


def _alive(holder: dict[str, Any]) -> bool:
    """Whether the run that holds the lock still goes on, on this machine."""
    try:
        pid = int(holder.get("pid", 0))
        os.kill(pid, 0)
    except (ValueError, ProcessLookupError):
        return False
    except PermissionError:
        return True
    return _started(pid) == holder.get("started", "")
