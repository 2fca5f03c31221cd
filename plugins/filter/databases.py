# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.databases; documented in databases.yml."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flaskhost.stack.plugins.module_utils import _app_resolve as resolve
from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain


def databases(
    flask_apps_by_host: Any,
    host: Any,
    names: Any = None,
    addresses: Any = None,
    vault_by_host: Any = None,
    secrets: Any = None,
    servers: Any = None,
    group: Any = None,
) -> list[dict[str, Any]]:
    """Documented in databases.yml."""
    by_host, vaults = plain(flask_apps_by_host or {}), plain(vault_by_host or {})
    try:
        used = plain(servers or {})
        apps = {
            web: resolve.at_server(resolve.merged(apps or [], vaults.get(web)), used.get(web))
            for web, apps in by_host.items()
        }
        return resolve.databases(
            apps, str(host), plain(names or []), plain(addresses or {}), plain(secrets or {}), plain(group or [])
        )
    except resolve.ResolveError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"databases": databases}
