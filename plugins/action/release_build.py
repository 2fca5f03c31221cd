# SPDX-License-Identifier: GPL-3.0-or-later
"""Send the secret files of a release along with its build."""

from __future__ import annotations

import json
from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils._render import RenderingAction


class ActionModule(RenderingAction):
    """Action part of ``flaskhost.stack.release_build``."""

    _VALID_ARGS = frozenset(
        ["app", "release", "token", "python", "environment", "files", "commands", "timeout", "migrates"]
    )

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        super().run(tmp, task_vars)
        variables, arguments = task_vars or {}, dict(self._task.args)
        arguments["payload"] = json.dumps(self.render_entries(arguments.pop("files", None), variables))
        return self.execute_hidden("flaskhost.stack.release_build", arguments, variables)
