# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.replication_mistakes; documented in replication_mistakes.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain
from ansible_collections.flaskhost.stack.plugins.module_utils._replication_plan import contradictions


def replication_mistakes(
    states: Any, addresses: Any, primary: Any, rebuilt: Any = "", engines: Any = None
) -> list[str]:
    """Documented in replication_mistakes.yml."""
    return contradictions(
        plain(states) or {},
        plain(addresses) or {},
        str(plain(primary)),
        str(plain(rebuilt) or ""),
        plain(engines) or {},
    )


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"replication_mistakes": replication_mistakes}
