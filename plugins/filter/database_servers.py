# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.database_servers; documented in database_servers.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain
from ansible_collections.flaskhost.stack.plugins.module_utils._database_servers import servers


def database_servers(database_hosts: Any, web_hosts: Any, primary: Any = "") -> dict[str, dict[str, Any]]:
    """Documented in database_servers.yml."""
    known = servers(plain(database_hosts or {}), str(plain(primary) or ""))
    names = sorted(known.names)
    return {str(web): {"address": known.default(str(web)), "names": names} for web in plain(web_hosts or [])}


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"database_servers": database_servers}
