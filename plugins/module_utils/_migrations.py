# SPDX-License-Identifier: GPL-3.0-or-later
"""Alembic revisions of a source tree, read without running any of its code."""

from __future__ import annotations

import ast
import hashlib
import os
import stat
import warnings
from typing import Any

# how far below the tree the directory with env.py may be
MAX_DEPTH = 4
MAX_BYTES = 2**20
_SKIPPED = frozenset(["node_modules", "site-packages", "venv"])


def revisions(tree: str) -> dict[str, tuple[str, ...]]:
    """All revisions in a tree, each with those that it follows. A file that cannot be read is left out."""
    found = {}
    for path in _files(tree):
        values = _assigned(path)
        revision = values.get("revision")
        if isinstance(revision, str) and revision:
            found[revision] = _names(values.get("down_revision"))
    return found


def heads(tree: str) -> list[str]:
    """The revisions that no other follows: where a database is after an upgrade."""
    known = revisions(tree)
    followed = {name for names in known.values() for name in names}
    return sorted(known.keys() - followed)


def fingerprint(tree: str) -> str:
    """A hash of everything that upgrades go by: what lies beside and below each env.py, and alembic.ini.

    Empty where that cannot be said: there is none, or something of it is no plain file.
    """
    known = hashlib.sha256()
    folders = sorted({os.path.dirname(os.path.dirname(path)) for path in _files(tree)})
    inner = []
    for folder in folders:
        for place, below, names in os.walk(folder):
            # what Python makes of them by itself
            below[:] = [name for name in below if name != "__pycache__"]
            found = (os.path.join(place, name) for name in (*names, *below))
            # a link to a directory is not followed, so it stays for what is read below
            inner += [path for path in found if os.path.islink(path) or not os.path.isdir(path)]
    settings = os.path.join(tree, "alembic.ini")
    for path in [*sorted(inner), *([settings] if os.path.lexists(settings) else [])]:
        content = _content(path)
        if content is None:
            return ""
        known.update(f"{os.path.relpath(path, tree)}\0{len(content)}\0".encode() + content)
    return known.hexdigest() if folders else ""


def _files(tree: str) -> list[str]:
    """Where revisions may be: ``versions/*.py`` beside an env.py. Links are not followed."""
    found = []
    for folder, folders, files in os.walk(tree):
        relative = os.path.relpath(folder, tree)
        depth = 0 if relative == os.curdir else relative.count(os.sep) + 1
        if os.path.basename(folder) == "versions" and os.path.isfile(os.path.join(os.path.dirname(folder), "env.py")):
            found += [os.path.join(folder, name) for name in files if name.endswith(".py")]
        inner = [name for name in folders if not name.startswith(".") and name not in _SKIPPED]
        if depth >= MAX_DEPTH:
            inner = [name for name in inner if name == "versions" and depth == MAX_DEPTH]
        folders[:] = inner
    return sorted(found)


def _assigned(path: str) -> dict[str, Any]:
    """The literal values that a file gives to ``revision`` and ``down_revision``."""
    values: dict[str, Any] = {}
    for node in _statements(path):
        targets = (
            node.targets if isinstance(node, ast.Assign) else [node.target] if isinstance(node, ast.AnnAssign) else []
        )
        names = {target.id for target in targets if isinstance(target, ast.Name)} & {"revision", "down_revision"}
        value = node.value if isinstance(node, (ast.Assign, ast.AnnAssign)) else None
        if not names or value is None:
            continue
        try:
            literal = ast.literal_eval(value)
        except (ValueError, TypeError, SyntaxError, MemoryError, RecursionError):
            continue
        values.update(dict.fromkeys(names, literal))
    return values


def _statements(path: str) -> list[ast.stmt]:
    """What a file consists of; nothing when it is no Python."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            return ast.parse(_content(path) or b"").body
    except (SyntaxError, ValueError, MemoryError, RecursionError):
        return []


def _content(path: str) -> bytes | None:
    """What is in a plain file that is not too large. It is the app's: nothing about it may hold us up."""
    try:
        handle = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
        with os.fdopen(handle, "rb") as stream:
            status = os.fstat(stream.fileno())
            if stat.S_ISREG(status.st_mode) and status.st_size <= MAX_BYTES:
                return stream.read(MAX_BYTES)
    except OSError:
        pass
    return None


def _names(value: Any) -> tuple[str, ...]:
    """A ``down_revision`` as a tuple."""
    if isinstance(value, str):
        return (value,) if value else ()
    return tuple(name for name in value if isinstance(name, str)) if isinstance(value, (tuple, list)) else ()
