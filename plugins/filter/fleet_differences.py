# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.fleet_differences; documented in fleet_differences.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils import _fleet


def fleet_differences(hosts: Any, hostvars: Any) -> str:
    """How the releases differ that hosts are to go to."""
    return _fleet.differences([str(host) for host in hosts], hostvars)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"fleet_differences": fleet_differences}
