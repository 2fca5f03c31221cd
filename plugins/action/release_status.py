# SPDX-License-Identifier: GPL-3.0-or-later
"""Say of each app whether a run has died there: only the control node knows whether the holder of a lock still lives."""

from __future__ import annotations

from typing import Any

from ansible.plugins.action import ActionBase
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _holder


class ActionModule(ActionBase):
    """Action part of ``flaskhost.stack.release_status``."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(["apps"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the host's part, then the control node's."""
        super().run(tmp, task_vars)
        result: dict[str, Any] = self._execute_module(
            module_name="flaskhost.stack.release_status", module_args=dict(self._task.args), task_vars=task_vars
        )
        for told in (result.get("apps") or {}).values():
            told["abandoned"] = abandoned(told["lock"], told["leftovers"])
        return result


def abandoned(lock: dict[str, Any], leftovers: list[str]) -> bool:
    """Whether something was left by a run that has died, which the next one tidies up.

    :param lock: what the holder wrote; empty when there is none.
    :param leftovers: what is there beside the live release.
    """
    # of a run on another machine nobody here knows whether it goes on
    return _holder.fate(lock) == _holder.DEAD if lock else bool(leftovers)
