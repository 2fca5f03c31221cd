# SPDX-License-Identifier: GPL-3.0-or-later
"""Render what a release needs to start, and the upstream file that gives it the traffic."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils._render import RenderingAction


class ActionModule(RenderingAction):
    """Action part of ``flaskhost.stack.release_serve``."""

    _VALID_ARGS = frozenset(["app", "release", "token", "former", "program", "upstream", "files"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        super().run(tmp, task_vars)
        variables, arguments = task_vars or {}, dict(self._task.args)
        names = {"upstream_live": arguments["release"], "upstream_previous": arguments.get("former") or ""}
        payload = {
            "files": self.render_entries(arguments.pop("files", None), variables),
            "program": self.render(arguments.pop("program"), {}, variables),
            "upstream": self.render(arguments.pop("upstream"), names, variables),
        }
        return self.execute_hidden(
            "flaskhost.stack.release_serve", {**arguments, "payload": json.dumps(payload)}, variables
        )
