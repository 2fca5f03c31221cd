# SPDX-License-Identifier: GPL-3.0-or-later
"""Who deployed what when: one line of JSON per run in an app's ``history.jsonl``, the newest last."""

from __future__ import annotations

import json
import os
import re
from typing import Any

from ansible_collections.flaskhost.stack.plugins.module_utils._releases import App, utc_now, write_text
from ansible_collections.flaskhost.stack.plugins.module_utils._steps import OPTIONAL_STEPS, STEPS

# lines that are kept; at ten deploys a day that is a quarter of a year, and some 400 KB
LINES = 1000
REASON_LENGTH = 200
_URL_PASSWORD = re.compile(r"(://[^:/@\s]*:)[^@\s]+@")


def history_file(app: App) -> str:
    """Where the history is."""
    return os.path.join(app.paths["root"], "history.jsonl")


def add(app: App, line: dict[str, Any]) -> None:
    """Add one line; the oldest beyond ``LINES`` go. The caller holds the lock.

    By rename, so that neither a crash nor a reader meets half a line. For root alone: a reason may tell of the inside.
    """
    lines = [*_lines(app), json.dumps(line, sort_keys=True)]
    write_text(history_file(app), "".join(f"{one}\n" for one in lines[-LINES:]), mode=0o600)


def read(app: App, count: int) -> tuple[list[dict[str, Any]], int]:
    """The newest ``count`` lines, newest first, and how many of all cannot be read."""
    found, damaged = [], 0
    for text in reversed(_lines(app)):
        try:
            line = json.loads(text)
        except ValueError:
            line = None
        if isinstance(line, dict):
            found.append(line)
        else:
            damaged += 1
    return found[:count], damaged


def _lines(app: App) -> list[str]:
    try:
        with open(history_file(app), encoding="utf-8", errors="replace") as stream:
            return [line.strip() for line in stream if line.strip()]
    except FileNotFoundError:
        return []


def died(app: App, holder: dict[str, Any], told: str) -> None:
    """Add the line that a run could not write itself.

    :param holder: its lock, which is being taken over or removed.
    :param told: how that came out.
    """
    add(
        app,
        {
            "release": "",
            "result": "died",
            "former": "",
            "who": f"{holder.get('owner', 'somebody')}@{holder.get('controller', 'unknown')}",
            "when": holder.get("at") or utc_now(),
            "purpose": holder.get("purpose", ""),
            "seconds": {},
            "step": holder.get("step", ""),
            "reason": f"it ended without a word; {told}",
        },
    )


def failure(message: str, step: str = "") -> dict[str, str]:
    """Step and reason of a failed run, from its error; the end of a command's output is left to the screen.

    :param message: begins with the name of the step, ``build: ...``, where the step itself has told it.
    :param step: the step to tell where the message does not begin with one.
    """
    first = next((line.strip() for line in message.splitlines() if line.strip()), "")
    head, colon, rest = first.partition(": ")
    if colon and head in (*STEPS, *OPTIONAL_STEPS):
        step, first = head, rest
    first = _URL_PASSWORD.sub(r"\1********@", first).rstrip(":")
    return {"step": step, "reason": first if len(first) <= REASON_LENGTH else f"{first[: REASON_LENGTH - 3]}..."}
