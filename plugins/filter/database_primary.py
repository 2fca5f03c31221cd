# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.database_primary; documented in database_primary.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils import _database_hosts


def database_primary(hosts: Any, hostvars: Any) -> str:
    """Documented in database_primary.yml."""
    return _database_hosts.primary([str(host) for host in hosts], hostvars)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"database_primary": database_primary}
