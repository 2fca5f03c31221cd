# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the files of supervisor groups and send them with the call."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils._render import RenderingAction


class ActionModule(RenderingAction):
    """Action part of ``flaskhost.stack.supervisor_groups``."""

    _VALID_ARGS = frozenset(["start", "stop", "wait", "drain", "drain_timeout"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = dict(self._task.args)
        start = [
            {"name": one["name"], "content": self.render(one["template"], one.get("vars") or {}, variables)}
            for one in arguments.pop("start", None) or []
        ]
        return self.execute_hidden(
            "flaskhost.stack.supervisor_groups", {**arguments, "payload": json.dumps(start)}, variables
        )
