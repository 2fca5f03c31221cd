# SPDX-License-Identifier: GPL-3.0-or-later
"""What is on a box for an app between two deploys, and what should not be."""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.support.root import Root

_LOOK = (Path(__file__).parent / "look.py").read_text()


@dataclass(frozen=True)
class State:
    """An app on a box.

    :ivar live: the release that nginx's upstream names.
    :ivar releases: all that have a directory.
    :ivar groups: supervisor's groups.
    :ivar leftovers: in words, what no deploy should leave.
    :ivar record: RELEASE.json of the live release.
    :ivar kib: size of everything below the app's directory.
    :ivar history: the lines of history.jsonl.
    """

    live: str
    releases: list[str]
    groups: list[str]
    leftovers: list[str]
    record: dict[str, Any]
    kib: int
    history: list[dict[str, Any]]


def look(root: Root, app: str) -> State:
    """How it is now."""
    return State(**root.python(_LOOK, app))


def settled(root: Root, app: str, seconds: float = 10) -> State:
    """The same, once nothing is left, or after some seconds: nginx's former workers end a little later."""
    deadline = time.monotonic() + seconds
    while True:
        state = look(root, app)
        if not state.leftovers or time.monotonic() > deadline:
            return state
        time.sleep(0.3)
