# SPDX-License-Identifier: GPL-3.0-or-later
"""Addresses of static files carry a hash of the content, so browsers may keep them for long."""

from __future__ import annotations

import hashlib
from functools import lru_cache
from pathlib import Path
from typing import Any

from flask import Flask, current_app


def init_app(app: Flask) -> None:
    app.url_defaults(add_version)


def add_version(endpoint: str, values: dict[str, Any]) -> None:
    """`url_for('static', filename='style.css')` becomes `/static/style.css?v=<hash>`."""
    if endpoint != "static" or "filename" not in values:
        return
    path = Path(current_app.static_folder or "", values["filename"])
    if path.is_file():
        values.setdefault("v", content_hash(path, path.stat().st_mtime_ns))


@lru_cache(maxsize=256)
def content_hash(path: Path, mtime: int) -> str:
    """`mtime` is part of the key only: an edited file is read again."""
    return hashlib.sha256(path.read_bytes()).hexdigest()[:12]
