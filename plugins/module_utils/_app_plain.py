# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Ansible's tagged and lazy values as plain Python ones; what is undefined stays visible instead of raising."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any


class Missing:
    """Stands for a value that refers to a variable nobody defined."""

    def __init__(self, why: str) -> None:
        self.why = why

    def __repr__(self) -> str:
        return f"undefined ({self.why})" if self.why else "undefined"


def plain(value: Any) -> Any:
    """A deep copy made of dict, list, str, int, float, bool and None; Missing for undefined; anything else as it is."""
    if type(value).__name__ in ("EncryptedString", "AnsibleVaultEncryptedUnicode"):
        return str(value)
    if hasattr(value, "_undefined_message") or hasattr(value, "_undefined_hint"):
        return Missing(str(getattr(value, "_undefined_message", None) or getattr(value, "_undefined_hint", None) or ""))
    if isinstance(value, Mapping):
        return {plain(name): plain(value[name]) for name in value}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, bool) or value is None:
        return value
    for kind in (str, int, float):
        if isinstance(value, kind):
            return kind(value)
    return value
