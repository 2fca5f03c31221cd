# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.waiting_releases; documented in waiting_releases.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.filter.release_config import release_config
from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain


def waiting_releases(status: Any, apps: Any, environments: Any) -> dict[str, list[str]]:
    """Documented in waiting_releases.yml."""
    found: dict[str, list[str]] = {"ours": [], "others": []}
    by_name, variables = {app["name"]: app for app in plain(apps) or []}, plain(environments) or {}
    for name, told in (plain(status) or {}).items():
        wanted = release_config(by_name[name], variables.get(name))
        live = told.get("record") or {}
        if not told.get("canary") or live.get("config") == wanted:
            continue
        canary: dict[str, Any] = next((record for record in told["releases"] if record["id"] == told["canary"]), {})
        visitors = sum(each["share"] for each in told["shares"] if each["release"] == told["canary"])
        same = canary.get("config") == wanted and canary.get("commit") == live.get("commit")
        found["ours" if same and not visitors else "others"].append(name)
    return found


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"waiting_releases": waiting_releases}
