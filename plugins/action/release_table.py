# SPDX-License-Identifier: GPL-3.0-or-later
"""Show what hosts tell of their apps, and write it as JSON. Runs on the control node alone."""

from __future__ import annotations

import datetime
import json
import os
from typing import Any

from ansible.errors import AnsibleActionFail
from ansible.plugins.action import ActionBase
from ansible.utils.color import stringc
from ansible.utils.display import Display
from ansible_collections.flaskhost.stack.plugins.module_utils._releases import write_text
from ansible_collections.flaskhost.stack.plugins.plugin_utils._overview_text import render


class ActionModule(ActionBase):
    """``flaskhost.stack.release_table``."""

    TRANSFERS_FILES = False
    _VALID_ARGS = frozenset(["hosts", "file", "balancers", "app"])

    def run(self, tmp: str | None = None, task_vars: dict[str, Any] | None = None) -> dict[str, Any]:
        """Nothing is done on a host."""
        super().run(tmp, task_vars)
        told = {host: _of_host(given) for host, given in self._task.args["hosts"].items()}
        chosen = str(self._task.args.get("app") or "")
        balancers = {
            name: _of_balancer(given, chosen) for name, given in (self._task.args.get("balancers") or {}).items()
        }
        now = datetime.datetime.now(datetime.timezone.utc)
        display = Display()
        width = int(os.environ.get("COLUMNS") or 0) or display.columns
        display.display(render(told, width=width, now=now.timestamp(), paint=_paint, balancers=balancers))
        path = self._task.args.get("file") or ""
        if path and not self._task.check_mode:
            document = {"made": now.strftime("%Y-%m-%dT%H:%M:%SZ"), "hosts": told}
            document |= {"balancers": balancers} if balancers else {}
            try:
                write_text(os.path.abspath(os.path.expanduser(path)), json.dumps(document, indent=1) + "\n")
            except OSError as error:
                raise AnsibleActionFail(f"flask_status_file={path}: it cannot be written: {error}") from error
        return {"changed": False}


def _of_host(given: Any) -> dict[str, Any]:
    """What one host told, or that it told nothing."""
    if not isinstance(given, dict) or "apps" not in given:
        why = given.get("msg") if isinstance(given, dict) else ""
        return {"reached": False, "apps": [], "problems": [str(why or "it was not reached; see above")]}
    return {"reached": True, "apps": given["apps"], "problems": [given["supervisor"]] if given["supervisor"] else []}


def _of_balancer(given: Any, app: str) -> dict[str, Any]:
    """What one balancer told of an app, or of all, or that it told nothing."""
    if not isinstance(given, dict) or "apps" not in given:
        why = given.get("msg") if isinstance(given, dict) else ""
        return {"reached": False, "apps": [], "problems": [str(why or "it was not reached; see above")]}
    return {"reached": True, "apps": [one for one in given["apps"] if app in ("", one["app"])], "problems": []}


def _paint(text: str, colour: str) -> str:
    return stringc(text, colour) if colour else text
