# SPDX-License-Identifier: GPL-3.0-or-later
"""Render what a release needs to start."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils._render import RenderingAction


class ActionModule(RenderingAction):
    """Action part of ``flaskhost.stack.release_boot``."""

    _VALID_ARGS = frozenset(["app", "release", "token", "template", "files"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        super().run(tmp, task_vars)
        variables, arguments = task_vars or {}, self._task.args
        payload = {
            "files": self.render_entries(arguments.get("files"), variables),
            "group": self.render(arguments["template"], {}, variables),
        }
        return self.execute_hidden(
            "flaskhost.stack.release_boot",
            {**{name: arguments[name] for name in ("app", "release", "token")}, "payload": json.dumps(payload)},
            variables,
        )
