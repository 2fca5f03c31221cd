# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.nginx_name; documented in nginx_name.yml."""

from __future__ import annotations

from typing import Any


def nginx_name(name: Any) -> str:
    """An app's name as part of an nginx variable: one to one, so that ``a-b`` and ``a_b`` stay apart."""
    return str(name).replace("_", "_u").replace("-", "_d")


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"nginx_name": nginx_name}
