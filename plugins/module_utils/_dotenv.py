# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes a .env file that python-dotenv (1.0 and later) and Flask read back to exactly the same values."""

from __future__ import annotations

import re
from collections.abc import Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PLAIN = re.compile(r"[A-Za-z0-9_./:@%+,=~?&*!^|;()<>\[\]$\\-]+", re.ASCII)
# python-dotenv replaces ${...}, whatever the quotes. ${:-$} is a variable without a name, which cannot be set, so its
# default remains: a dollar sign that is not looked at again.
_VARIABLE = re.compile(r"\$(?=\{)")
_DOLLAR = "${:-$}"
_EMPTY = "${:-}"
_ESCAPES = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r"}


def dump(environment: Mapping[str, str]) -> str:
    """One line per variable, in the given order. Raises ValueError for what no environment can carry."""
    lines = []
    for name, value in environment.items():
        if not _NAME.fullmatch(name):
            raise ValueError(f"{name!r} is no name of an environment variable")
        if "\0" in value:
            raise ValueError(f"the value of {name} contains a NUL character")
        lines.append(f"{name}={_quoted(_VARIABLE.sub(lambda found: _DOLLAR, value))}\n")
    return "".join(lines)


def _quoted(value: str) -> str:
    if _PLAIN.fullmatch(value):
        return value
    text = "".join(_ESCAPES.get(letter, letter) for letter in value)
    # python-dotenv before 1.2.3 takes the quote after an escaped backslash for an escaped one.
    return f'"{text}{_EMPTY if value.endswith(chr(92)) else ""}"'
