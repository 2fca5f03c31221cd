# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.balancer_mistakes; documented in balancer_mistakes.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _balancer


def balancer_mistakes(balancers: Any, addresses: Any, by_host: Any) -> list[str]:
    """Documented in balancer_mistakes.yml."""
    return _balancer.mistakes(plain(balancers), plain(addresses), plain(by_host))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"balancer_mistakes": balancer_mistakes}
