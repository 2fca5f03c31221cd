# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.fleet_trouble; documented in fleet_trouble.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils import _fleet


def fleet_trouble(hosts: Any, hostvars: Any, names: Any, key: str = "") -> str:
    """Which hosts failed at a task, and why."""
    return _fleet.trouble([str(host) for host in hosts], hostvars, [str(name) for name in names], key)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"fleet_trouble": fleet_trouble}
