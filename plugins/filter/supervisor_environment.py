# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.supervisor_environment; documented in supervisor_environment.yml."""

from __future__ import annotations

from typing import Any

from ansible.errors import AnsibleFilterError
from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain
from ansible_collections.flaskhost.stack.plugins.module_utils._supervisor import environment


def supervisor_environment(variables: Any) -> str:
    """Documented in supervisor_environment.yml."""
    try:
        return environment(plain(variables))
    except ValueError as error:
        raise AnsibleFilterError(str(error)) from None


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"supervisor_environment": supervisor_environment}
