# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.environments; documented in environments.yml."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain
from ansible_collections.flaskhost.stack.plugins.module_utils._app_resolve import (
    ResolveError,
    at_server,
    environment,
    merged,
    present,
)


def environments(
    flask_apps: Any, vault: Any = None, secrets: Any = None, database_server: Any = None
) -> dict[str, dict[str, str]]:
    """Documented in environments.yml."""
    apps, generated = plain(flask_apps or []), plain(secrets or {})
    if any("paths" in app for app in apps):
        raise AnsibleFilterError("environments needs flask_apps itself: resolved apps hold no environment.")
    try:
        placed = at_server(merged(apps, plain(vault)), plain(database_server))
        return {app["name"]: environment(app, generated.get(app["name"])) for app in present(placed)}
    except ResolveError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"environments": environments}
