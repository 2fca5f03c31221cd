# SPDX-License-Identifier: GPL-3.0-or-later
"""Render a whole set of files on the control node and send it in one call."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils._render import RenderingAction, check_purge


class ActionModule(RenderingAction):
    """Action part of ``flaskhost.stack.fileset``: templates become contents."""

    _VALID_ARGS = frozenset(["files", "purge", "validate", "apply", "units", "guard"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = self._task.args
        payload = {
            "files": self.render_entries(arguments.get("files"), variables),
            "purge": check_purge(arguments.get("purge")),
        }
        return self.execute_hidden(
            "flaskhost.stack.fileset",
            {
                "payload": json.dumps(payload),
                "validate": arguments.get("validate"),
                "apply": arguments.get("apply"),
                "units": arguments.get("units") or [],
                **({"guard": arguments["guard"]} if arguments.get("guard") else {}),
            },
            variables,
        )
