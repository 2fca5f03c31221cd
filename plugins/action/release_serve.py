# SPDX-License-Identifier: GPL-3.0-or-later
"""Render what a release needs to start, and the upstream file that gives it the traffic."""

from __future__ import annotations

import json
import secrets
from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils._render import RenderingAction


class ActionModule(RenderingAction):
    """Action part of ``flaskhost.stack.release_serve``."""

    _VALID_ARGS = frozenset(
        [
            "app",
            "release",
            "token",
            "former",
            "previous",
            "share",
            "preview",
            "steady",
            "watch",
            "phase",
            "program",
            "workers",
            "upstream",
            "files",
        ]
    )

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Do the control node's part, then have the module do the host's."""
        super().run(tmp, task_vars)
        arguments = dict(self._task.args)
        # worked out already; templates would do it again each time they name it
        variables = {**(task_vars or {}), "app": arguments.get("app")}
        program, workers = arguments.pop("program", None), arguments.pop("workers", None)
        upstream, files, phase = arguments.pop("upstream"), arguments.pop("files", None), arguments.get("phase")
        if phase == "switch":
            # as it was prepared
            program = files = None
        if arguments.get("share"):
            arguments["preview"] = arguments.get("preview") or secrets.token_hex(8)
        payload = {
            "files": self.render_entries(files, variables),
            "program": self.render(program, {}, variables) if program else None,
            "workers": self.render(workers, {}, variables) if workers else None,
        }
        # before its turn, too: a template that fails does so before any host has switched
        for name, names in _upstreams(arguments).items():
            payload[name] = self.render(upstream, names, variables)
        arguments.pop("previous", None)
        return self.execute_hidden(
            "flaskhost.stack.release_serve", {**arguments, "payload": json.dumps(payload)}, variables
        )


def _upstreams(arguments: dict[str, Any]) -> dict[str, dict[str, str]]:
    """What the template of the upstream file is told: for the switch, and of a canary for what may come of it."""
    release, former = arguments["release"], arguments.get("former") or ""
    previous = arguments.get("previous") or former
    if not arguments.get("share"):
        return {"upstream": {"upstream_live": release, "upstream_previous": previous}}
    back = {"upstream_live": former, "upstream_previous": previous}
    candidate = {
        "upstream_candidate": release,
        "upstream_share": arguments["share"],
        "upstream_preview": arguments["preview"],
    }
    whole = {"upstream_live": release, "upstream_previous": former}
    return {"upstream": {**back, **candidate}, "back": back, "whole": whole}
