# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.plan; documented in plan.yml."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain
from ansible_collections.flaskhost.stack.plugins.module_utils._app_resolve import plan_of


def plan(flask_apps: Any, host: Any = None, database: Any = "", web: Any = True) -> dict[str, Any]:
    """Documented in plan.yml."""
    try:
        made = plan_of(plain(flask_apps or []), plain(host), plain(database) or "", bool(web))
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise AnsibleFilterError(
            f"flask_apps cannot be planned; flaskhost.stack.app_mistakes tells what is wrong with it: {error!r}"
        ) from error
    return {
        "memory_mb": made.memory,
        "cpus": made.cpus,
        "workers": made.workers,
        "buffer_pool_mb": made.pool,
        "performance_schema": made.performance_schema,
        "max_connections": made.connections,
        "needed_mb": made.needed,
        "fits": made.fits,
        "lines": made.lines(),
    }


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"plan": plan}
