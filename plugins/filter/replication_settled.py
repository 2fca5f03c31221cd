# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.replication_settled; documented in replication_settled.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_plan import settled


def replication_settled(states: Any, addresses: Any, primary: Any) -> bool:
    """Documented in replication_settled.yml."""
    return settled(plain(states) or {}, plain(addresses) or {}, str(plain(primary)))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"replication_settled": replication_settled}
