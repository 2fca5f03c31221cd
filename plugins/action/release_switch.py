# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the upstream file that a switch writes."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils._render import RenderingAction


class ActionModule(RenderingAction):
    """Action part of ``flaskhost.stack.release_switch``."""

    _VALID_ARGS = frozenset(["app", "release", "token", "former", "template"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        super().run(tmp, task_vars)
        variables, arguments = task_vars or {}, dict(self._task.args)
        release, former = arguments["release"], arguments.get("former") or ""
        names = {"upstream_live": release, "upstream_previous": former}
        arguments["content"] = self.render(arguments.pop("template"), names, variables)
        return self.execute_hidden("flaskhost.stack.release_switch", arguments, variables)
