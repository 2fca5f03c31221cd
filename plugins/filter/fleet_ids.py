# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.fleet_ids; documented in fleet_ids.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils import _fleet


def fleet_ids(hosts: Any, hostvars: Any) -> dict[str, str]:
    """The ids of live releases by their commit."""
    return _fleet.known_ids([str(host) for host in hosts], hostvars)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"fleet_ids": fleet_ids}
