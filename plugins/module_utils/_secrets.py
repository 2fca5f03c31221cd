# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""Secrets nobody gave: made once on the control node, kept in one JSON file per app, never changed again."""

from __future__ import annotations

import json
import os
import secrets
import stat
from collections.abc import Callable

from ansible_collections.flaskhost.stack.plugins.module_utils._app_schema import RULES

# Bytes of randomness of each secret: 48 bytes are 64 characters, 32 bytes 43 characters of base64.
SECRETS = {"secret_key": 48, "database_password": 32}


class SecretsError(ValueError):
    """A file of secrets that cannot be used; the text names it and says what to do."""


def _make(size: int) -> str:
    """URL-safe; starts with a letter or digit, so that no command takes it for an option."""
    while True:
        text = secrets.token_urlsafe(size)
        if text[0].isalnum():
            return text


def secrets_of(name: str, directory: str, make: Callable[[int], str] = _make) -> dict[str, str]:
    """The secrets of one app, made and stored at the first call. Two runs at the same time get the same ones."""
    if not RULES["name"].pattern.fullmatch(name):
        raise SecretsError(f"{name!r} is no name of an app: it must be {RULES['name'].says}.")
    path = os.path.join(directory, f"{name}.json")
    try:
        _prepare(directory)
        if not os.path.lexists(path):
            _store(path, json.dumps({kind: make(size) for kind, size in SECRETS.items()}, indent=2) + "\n")
        return _read(path)
    except OSError as error:
        raise SecretsError(
            f"the generated secrets of app {name} cannot be kept in {path}: {error.strerror or error}."
        ) from error


def _prepare(directory: str) -> None:
    """The directory for its owner only, with a .gitignore that keeps everything in it out of any repository."""
    os.makedirs(os.path.dirname(os.path.abspath(directory)), exist_ok=True)
    try:
        os.mkdir(directory, 0o700)
    except FileExistsError:
        _close(directory)
    ignore = os.path.join(directory, ".gitignore")
    if not os.path.lexists(ignore):
        _store(ignore, "# Generated secrets: back them up, but never commit them.\n*\n")


def _close(path: str) -> None:
    """Takes away what others may do with a file or directory."""
    mode = stat.S_IMODE(os.stat(path).st_mode)
    if mode & 0o077:
        os.chmod(path, mode & 0o700)


def _store(path: str, text: str) -> None:
    """Whole file or none, readable by its owner only; a file that another run stored meanwhile stays."""
    aside = f"{path}.{os.getpid()}.{secrets.token_hex(4)}"
    handle = os.open(aside, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        try:
            os.link(aside, path)
        except FileExistsError:
            pass
        except OSError:
            # Shared folders and FAT have no hard links: a small window remains, in which the last of two runs wins.
            if not os.path.lexists(path):
                os.rename(aside, path)
    finally:
        if os.path.lexists(aside):
            os.unlink(aside)


def _read(path: str) -> dict[str, str]:
    _close(path)
    with open(path, "rb") as file:
        raw = file.read()
    try:
        found = json.loads(raw)
    except ValueError:
        found = None
    if not isinstance(found, dict) or any(not isinstance(found.get(kind), str) or not found[kind] for kind in SECRETS):
        raise SecretsError(
            f"{path} is damaged: it must be JSON with the texts {' and '.join(SECRETS)}. "
            "Restore it from a backup. Deleting it makes new secrets, which end all sessions and change the password of the database."
        )
    return {kind: found[kind] for kind in SECRETS}
