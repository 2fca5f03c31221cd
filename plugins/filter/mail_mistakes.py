# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.mail_mistakes; documented in mail_mistakes.yml."""

from __future__ import annotations

from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import plain
from ansible_collections.flaskhost.stack.plugins.module_utils._mail import mistakes


def mail_mistakes(settings: Any) -> list[str]:
    """Documented in mail_mistakes.yml."""
    return mistakes(plain(settings))


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """Filters by name."""
        return {"mail_mistakes": mail_mistakes}
