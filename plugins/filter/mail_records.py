# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.mail_records; documented in mail_records.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain
from ansible_collections.flaskhost.stack.plugins.module_utils._mail import records, zone_lines


def mail_records(domains: Any, **settings: Any) -> dict[str, Any]:
    """Documented in mail_records.yml."""
    found = records(plain(domains), **plain(settings))
    return {"records": found, "lines": zone_lines(found)}


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Filters by name."""
        return {"mail_records": mail_records}
