# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.app_mistakes; documented in app_mistakes.yml."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ansible.errors import AnsibleFilterError

try:
    from ansible.template import accept_lazy_markers
except ImportError:  # before ansible-core 2.19 undefined values arrive anyway

    def accept_lazy_markers(plugin: Any) -> Any:
        """Nothing to mark."""
        return plugin


from ansible_collections.flaskhost.stack.plugins.module_utils._acme_check import acme_mistakes
from ansible_collections.flaskhost.stack.plugins.module_utils._app_check import mistakes
from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain


@accept_lazy_markers
def app_mistakes(
    flask_apps_by_host: Any,
    vault_by_host: Any = None,
    base: Any = "",
    database_hosts: Any = None,
    acme_directories: Any = None,
    acme_authorities: Any = None,
    primary: Any = "",
) -> list[str]:
    """Documented in app_mistakes.yml."""
    if not isinstance(flask_apps_by_host, Mapping):
        raise AnsibleFilterError("app_mistakes needs a mapping of host names to what each host has in flask_apps.")
    folder = plain(base) or ""
    found = mistakes(
        plain(flask_apps_by_host),
        plain(vault_by_host or {}),
        folder,
        plain(database_hosts),
        primary=str(plain(primary) or ""),
    )
    return found + acme_mistakes(plain(acme_directories or {}), plain(acme_authorities or {}), folder)


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"app_mistakes": app_mistakes}
