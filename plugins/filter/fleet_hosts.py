# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.fleet_hosts; documented in fleet_hosts.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils import _fleet


def fleet_hosts(hosts: Any, hostvars: Any, app: str = "") -> list[str]:
    """Those of the hosts that have an app."""
    return _fleet.with_app([str(host) for host in hosts], hostvars, str(app or ""))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"fleet_hosts": fleet_hosts}
