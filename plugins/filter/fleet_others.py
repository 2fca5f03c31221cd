# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.fleet_others; documented in fleet_others.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.plugin_utils import _fleet


def fleet_others(hosts: Any, hostvars: Any, host: str, present: Any) -> str:
    """What became of the other hosts."""
    return _fleet.others([str(one) for one in hosts], hostvars, str(host), [str(one) for one in present])


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"fleet_others": fleet_others}
