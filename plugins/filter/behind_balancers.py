# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.behind_balancers; documented in behind_balancers.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _balancer


def behind_balancers(apps: Any, balancers: Any) -> list[dict[str, Any]]:
    """Documented in behind_balancers.yml."""
    return _balancer.behind(apps, plain(balancers or {}))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"behind_balancers": behind_balancers}
