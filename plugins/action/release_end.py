# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the group of workers that starts when a release has gone live."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils._render import RenderingAction


class ActionModule(RenderingAction):
    """Action part of ``flaskhost.stack.release_end``."""

    _VALID_ARGS = frozenset(
        [
            "app",
            "release",
            "token",
            "result",
            "former",
            "former_workers",
            "seconds",
            "who",
            "failure",
            "template",
            "keep_candidate",
        ]
    )

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        super().run(tmp, task_vars)
        variables, arguments = task_vars or {}, dict(self._task.args)
        template = arguments.pop("template", None)
        if template:
            arguments["payload"] = self.render(template, {}, variables)
        return self.execute_hidden("flaskhost.stack.release_end", arguments, variables)
