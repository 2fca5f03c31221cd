# SPDX-License-Identifier: GPL-3.0-or-later
"""The filter flaskhost.stack.release_config; documented in release_config.yml."""

from __future__ import annotations

import hashlib
import json
from typing import Any

# what a running release depends on; names, certificates, health checks and pruning do not touch it
_KEYS = (
    "wsgi",
    "server",
    "workers",
    "threads",
    "timeout",
    "drain",
    "database",
    "python",
    "build",
    "migrate",
    "processes",
    "shared",
)


def release_config(app: Any, environment: Any) -> str:
    """A hash that changes when the app must be started anew for its configuration to count."""
    kept = {key: app.get(key) for key in _KEYS}
    # where there is none, as before there could be one
    if app.get("port"):
        kept["port"] = app["port"]
    text = json.dumps([kept, environment], sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


class FilterModule:
    """Filters of this file."""

    def filters(self) -> dict[str, Any]:
        """By the names under which templates call them."""
        return {"release_config": release_config}
