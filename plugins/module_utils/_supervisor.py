# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes values of supervisor's program files so that supervisor 4.2 and later reads back exactly what was meant.

What stands between: configparser cuts a line at a ; or # after a space, even within quotes; `%` starts an expansion, and
`%(here)s` is replaced before any escape is looked at; commands are split as a shell would, environments by another parser
without any escape.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_COMMENT = re.compile(r"(?<=\s)([;#])")
_HERE = "%(here)s"


def command(words: str | Iterable[str]) -> str:
    """The value of `command=` for a command line (split as a shell would, nothing expanded) or a list of arguments.

    Raises ValueError where supervisor has no way to say it.
    """
    arguments = shlex.split(words) if isinstance(words, str) else list(words)
    if not arguments:
        raise ValueError("the command is empty")
    return " ".join(_argument(argument) for argument in arguments)


def _argument(argument: str) -> str:
    _one_line(argument, "the command")
    quoted = _COMMENT.sub("'\"\\1\"'", shlex.quote(argument))
    return quoted.replace(_HERE, "%'\"(\"'here)s").replace("%", "%%")


def environment(variables: Mapping[str, str]) -> str:
    """The value of `environment=`. Raises ValueError, naming the variable, where supervisor has no way to say it."""
    return ",".join(f"{name}={_variable(name, value)}" for name, value in variables.items())


def _variable(name: str, value: str) -> str:
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name of an environment variable")
    _one_line(value, name)
    # supervisor strips every quote at both ends, and has no escape for a quote inside.
    quote = "'" if '"' in value else '"'
    if quote in value or value != value.strip("'\"") or _COMMENT.search(value) or _HERE in value:
        raise ValueError(
            f"supervisor cannot hold the value of {name}: it has quotes, comment signs or %(here)s in a place that cannot be escaped"
        )
    return f"{quote}{value}{quote}".replace("%", "%%")


def _one_line(text: str, what: str) -> None:
    if re.search(r"[\n\r\0]", text):
        raise ValueError(f"supervisor cannot hold {what}: it has a line break or a NUL character")
