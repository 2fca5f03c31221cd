# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.choose_apps; documented in choose_apps.yml."""

from __future__ import annotations

from typing import Any


def choose_apps(apps: Any, name: Any) -> list[Any]:
    """All apps, or the one of that name."""
    return [app for app in apps if not name or app["name"] == name]


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Filters by name."""
        return {"choose_apps": choose_apps}
