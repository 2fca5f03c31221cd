# Copyright: (c) 2025, flaskhost contributors
# SPDX-License-Identifier: GPL-3.0-or-later
"""How mistakes in flask_apps are collected and worded: places, values without secrets, nearest names."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import Missing

HIDDEN = "(hidden)"
HOSTS_NAMED = 8
VALUE_LENGTH = 60
NAME_LENGTH = 40

_SECRET_NAME = re.compile(r"pass|pwd|secret|token|key|credential|private|auth|salt|dsn", re.IGNORECASE)
_SECRET_VALUE = re.compile(r"-----BEGIN|\$ANSIBLE_VAULT")
_LOGIN = re.compile(r"(?<=://)[^/@\s]+@")


class Report:
    """Every mistake once, with the hosts that have it: by host, then by app, then in the order found."""

    def __init__(self) -> None:
        self._hosts: dict[str, list[str]] = {}

    def add(self, host: str, text: str) -> None:
        hosts = self._hosts.setdefault(text, [])
        if host not in hosts:
            hosts.append(host)

    def lines(self) -> list[str]:
        order = list(dict.fromkeys(host for hosts in self._hosts.values() for host in hosts))
        ordered = sorted(self._hosts.items(), key=lambda item: (order.index(item[1][0]), _app_index(item[0])))
        return [f"{_listed(hosts)}: {text}" for text, hosts in ordered]


def _app_index(text: str) -> float:
    """Which entry a mistake is about; the vault comes last."""
    found = re.match(r"flask_apps\[(\d+)\]", text)
    return int(found.group(1)) if found else float("inf")


def _listed(hosts: list[str]) -> str:
    more = len(hosts) - HOSTS_NAMED
    return ", ".join(hosts) if more <= 0 else f"{', '.join(hosts[:HOSTS_NAMED])} and {more} more"


def looks_secret(path: str) -> bool:
    """Whether a key's name says that its value is nobody's business. `tls.key` is the name of a file."""
    return path != "tls.key" and bool(_SECRET_NAME.search(path.rsplit(".", maxsplit=1)[-1]))


def show(value: Any, secret: bool = False) -> str:
    """A value as a message may show it: short, and without anything secret."""
    if isinstance(value, Missing):
        return repr(value)
    if value is None:
        return "nothing"
    if isinstance(value, dict):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    if secret or (isinstance(value, str) and _SECRET_VALUE.search(value)):
        return HIDDEN
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        text = _LOGIN.sub(f"{HIDDEN}@", value)
        return repr(text if len(text) <= VALUE_LENGTH else f"{text[: VALUE_LENGTH - 3]}...")
    if isinstance(value, (int, float)):
        return str(value)[:VALUE_LENGTH]
    return f"a value of type {type(value).__name__}"


def label(name: Any) -> str:
    """The name of a key as a message may show it: what follows a = or : in it may be a secret in the wrong place."""
    text = re.sub(r"(?s)[=:\s].*", "...", str(name))
    return text if len(text) <= NAME_LENGTH else f"{text[: NAME_LENGTH - 3]}..."


def nearest(name: Any, known: Iterable[str]) -> str:
    """The known name a person most likely meant, or ''."""
    lowered = str(name).strip().lower().replace("-", "_")
    names = list(known)
    if lowered in names:
        return lowered
    found = difflib.get_close_matches(lowered, names, n=1, cutoff=0.6)
    return found[0] if found else ""


def one_of(names: Iterable[str]) -> str:
    return ", ".join(names)
