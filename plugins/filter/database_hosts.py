# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.database_hosts; documented in database_hosts.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils import _database_hosts


def database_hosts(hosts: Any, hostvars: Any) -> dict[str, list[str]]:
    """Documented in database_hosts.yml."""
    return _database_hosts.addresses([str(host) for host in hosts], hostvars)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"database_hosts": database_hosts}
