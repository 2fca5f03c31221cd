# SPDX-License-Identifier: GPL-3.0-or-later
"""Say who asks for the lock, and recognise a holder that died on this control node."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _holder


class ActionModule(ActionBase):
    """Action part of ``flaskhost.stack.release_begin``."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(
        ["app", "purpose", "wait", "min_free_mb", "rollback", "target", "force", "restore", "canary"]
    )

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        arguments["holder"] = _holder.holder(arguments.get("purpose", "deploy"))
        wait = arguments.pop("wait", 0)
        # without waiting first: the holder may be one of our own that is dead
        result = self._begin({**arguments, "wait": 0}, task_vars)
        found = result.get("holder")
        if result.get("failed") and isinstance(found, dict):
            if _holder.fate(found) == _holder.DEAD:
                result = self._begin({**arguments, "break_token": found["token"]}, task_vars)
            elif wait:
                result = self._begin({**arguments, "wait": wait}, task_vars)
        return result

    def _begin(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="flaskhost.stack.release_begin", module_args=arguments, task_vars=task_vars
        )
        return result
