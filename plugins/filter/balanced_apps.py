# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.balanced_apps; documented in balanced_apps.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _balancer


def balanced_apps(by_host: Any, addresses: Any, address: Any = "", base: Any = "") -> list[dict[str, Any]]:
    """Documented in balanced_apps.yml."""
    return _balancer.balanced(plain(by_host), plain(addresses), plain(address) or "", plain(base) or "")


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"balanced_apps": balanced_apps}
