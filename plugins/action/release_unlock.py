# SPDX-License-Identifier: GPL-3.0-or-later
"""Tell whether the run that holds a lock still goes on, and have the lock removed if it does not."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.flaskhost.stack.plugins.module_utils._release_lock import in_words
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _holder

_OF_THE_RUN = {
    _holder.ALIVE: "That run still goes on; without the lock it stops at its next step.",
    _holder.DEAD: "That run is dead: its process on this machine is gone.",
    _holder.UNKNOWN: "Whether that run still goes on cannot be told from here; if it does, it stops at its next step.",
}


class ActionModule(ActionBase):
    """Action part of ``flaskhost.stack.release_unlock``."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(["app", "force"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        super().run(tmp, task_vars)
        app = self._task.args["app"]
        result = self._unlock({"app": app}, task_vars)
        if result.get("failed") or not result["locked"]:
            return result
        found = result["found"]
        fate = _holder.fate(found)
        held = f"{app['name']} was locked by {in_words(found)}." if found else f"The lock of {app['name']} was damaged."
        if fate == _holder.ALIVE and not self._task.args.get("force"):
            msg = (
                f"unlock: {held.replace('was', 'is', 1)} That run still goes on, on this machine. Wait for it, or end it; "
                "`-e flask_unlock_force=true` removes its lock all the same, and it stops at its next step."
            )
            return {**result, "failed": True, "msg": msg}
        if not self._task.check_mode:
            mine = _holder.holder("unlock")
            result = self._unlock({"app": app, "holder": mine, "break_token": found.get("token", "")}, task_vars)
        if result.get("failed"):
            return result
        what = "The lock would be removed" if self._task.check_mode else "The lock is removed"
        msg = f"{held} {_OF_THE_RUN[fate] if found else ''} {what}; the next deploy tidies up what that run left."
        return {**result, "changed": True, "msg": " ".join(msg.split())}

    def _unlock(self, arguments: dict[str, Any], task_vars: dict[str, Any] | None) -> dict[str, Any]:
        result: dict[str, Any] = self._execute_module(
            module_name="flaskhost.stack.release_unlock", module_args=arguments, task_vars=task_vars
        )
        return result
