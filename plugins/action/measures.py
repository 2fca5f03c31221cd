# SPDX-License-Identifier: GPL-3.0-or-later
"""Render the files of all measures on the control node and send everything in one call."""

from __future__ import annotations

import json
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible_collections.flaskhost.stack.plugins.plugin_utils._render import RenderingAction

_MEASURE_KEYS = frozenset(["name", "enabled", "sysctl", "files", "lines", "modes", "mounts"])


class ActionModule(RenderingAction):
    """Action part of ``flaskhost.stack.measures``: templates become contents."""

    _VALID_ARGS = frozenset(["measures", "validate", "units", "guard"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        super().run(tmp, task_vars)
        variables = task_vars or {}
        arguments = self._task.args
        measures = [self._measure(one, variables) for one in arguments.get("measures") or []]
        return self.execute_hidden(
            "flaskhost.stack.measures",
            {
                "payload": json.dumps(measures),
                "validate": arguments.get("validate"),
                "units": arguments.get("units") or [],
                **({"guard": arguments["guard"]} if arguments.get("guard") else {}),
            },
            variables,
        )

    def _measure(self, measure: Any, variables: dict[str, Any]) -> dict[str, Any]:
        unknown = sorted(set(measure) - _MEASURE_KEYS) if isinstance(measure, dict) else [measure]
        if unknown or not {"name", "enabled"} <= set(measure):
            raise AnsibleActionFail(
                f"a measure has name, enabled and some of {sorted(_MEASURE_KEYS)}, not {unknown or measure}"
            )
        if not isinstance(measure["enabled"], bool):
            raise AnsibleActionFail(f"{measure['name']}: enabled is {measure['enabled']!r}, but must be true or false")
        return {**measure, "files": self.render_entries(measure.get("files"), variables)}
