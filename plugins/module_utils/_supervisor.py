# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Writes commands into supervisor's program files so that supervisor 4.2 and later reads back exactly what was meant.

What stands between: configparser cuts a line at a ; or # after a space, even within quotes; `%` starts an expansion, and
`%(here)s` is replaced before any escape is looked at; commands are split as a shell would. Environments, which another
parser reads without any escape, go through the launcher and never stand in these files.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterable

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


def _one_line(text: str, what: str) -> None:
    if re.search(r"[\n\r\0]", text):
        raise ValueError(f"supervisor cannot hold {what}: it has a line break or a NUL character")
