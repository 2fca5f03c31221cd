# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.resolve_apps; documented in resolve_apps.yml."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain
from ansible_collections.flaskhost.stack.plugins.module_utils._app_resolve import at_server, merged, resolve


def resolve_apps(
    flask_apps: Any,
    vault: Any = None,
    host: Any = None,
    address: Any = "",
    base: Any = "",
    database: Any = "",
    database_server: Any = None,
) -> list[dict[str, Any]]:
    """Documented in resolve_apps.yml."""
    try:
        apps = at_server(merged(plain(flask_apps or []), plain(vault)), plain(database_server))
        return resolve(apps, plain(host), plain(address) or "", plain(base) or "", plain(database) or "")
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(
            f"flask_apps cannot be resolved; flaskhost.stack.app_mistakes tells what is wrong with it: {error!r}"
        ) from error


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"resolve_apps": resolve_apps}
