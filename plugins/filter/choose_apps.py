# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.choose_apps; documented in choose_apps.yml."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError


def choose_apps(apps: Any, name: Any, host: Any = "this host") -> list[Any]:
    """All apps, or the one of that name."""
    if not name:
        return list(apps)
    chosen = [app for app in apps if app["name"] == name]
    if not chosen:
        names = ", ".join(app["name"] for app in apps) or "none"
        raise AnsibleFilterError(f"flask_app={name}: {host} has no such app; it has {names}.")
    return chosen


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Filters by name."""
        return {"choose_apps": choose_apps}
