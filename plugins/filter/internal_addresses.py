# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.internal_addresses; documented in internal_addresses.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils import _balancer


def internal_addresses(hosts: Any, hostvars: Any) -> dict[str, str]:
    """Documented in internal_addresses.yml."""
    return _balancer.internal_addresses([str(host) for host in hosts], hostvars)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"internal_addresses": internal_addresses}
