# SPDX-License-Identifier: GPL-3.0-or-later
"""Make keys and certificates on the control node and send them in one call."""

from __future__ import annotations

import json
import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.flaskhost.stack.plugins.plugin_utils._render import RenderingAction
from ansible_collections.flaskhost.stack.plugins.plugin_utils._self_signed import make


class ActionModule(RenderingAction):
    """Action part of ``flaskhost.stack.self_signed``."""

    _VALID_ARGS = frozenset(["certificates", "days"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module fileset do the host's."""
        super().run(tmp, task_vars)
        days = int(self._task.args["days"])
        files: list[dict[str, Any]] = []
        for one in self._task.args["certificates"]:
            if not one["alternative_names"]:
                raise AnsibleActionFail(
                    f"self_signed: {one['name']} has no name; give at least one in alternative_names"
                )
            key, certificate = make(one["alternative_names"], days)
            folders = sorted({os.path.dirname(path) for path in (one["key"], one["certificate"])})
            files += [{"path": path, "state": "directory", "mode": "0755", "keep": True} for path in folders]
            files += [
                {"path": one["key"], "content": key, "mode": "0600", "secret": True},
                {"path": one["certificate"], "content": certificate, "mode": "0644"},
            ]
        payload = {"files": self.render_entries(files, {}), "purge": []}
        return self.execute_hidden("flaskhost.stack.fileset", {"payload": json.dumps(payload)}, task_vars or {})
