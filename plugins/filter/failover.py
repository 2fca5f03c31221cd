# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.failover; documented in failover.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils import _replication_plan
from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain


def failover(states: Any, primary: Any, absent: Any = None, skip: Any = False) -> dict[str, Any]:
    """Documented in failover.yml."""
    return _replication_plan.failover(
        plain(states) or {}, str(plain(primary)), plain(absent) or [], skip=bool(plain(skip))
    )


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"failover": failover}
