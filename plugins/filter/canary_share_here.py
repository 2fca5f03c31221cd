# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.canary_share_here; documented in canary_share_here.yml."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _fleet


def canary_share_here(share: str, count: Any, app: Any, hosts: Any, host: str) -> str:
    """The share of a canary on one of several hosts."""
    names = [str(one) for one in hosts]
    mistake = _fleet.count_mistake(count, str(app or ""), len(names))
    if mistake:
        raise AnsibleFilterError(f"{mistake} Nothing was changed.")
    return _fleet.share_here(str(share), int(count or 0), names, str(host))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"canary_share_here": canary_share_here}
