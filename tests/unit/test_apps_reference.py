# SPDX-License-Identifier: GPL-3.0-or-later
"""docs/apps.md says what the table of keys says, and the examples in both are free of mistakes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml
from ansible_collections.flaskhost.stack.plugins.module_utils._app_check import mistakes
from ansible_collections.flaskhost.stack.plugins.module_utils._app_schema import KEYS, Key

ROOT = Path(__file__).resolve().parents[2]
REFERENCE = ROOT / "docs" / "apps.md"


def test_reference_is_up_to_date() -> None:
    done = subprocess.run(
        [sys.executable, str(ROOT / "scripts" / "app-reference"), "--stdout"],
        check=True,
        capture_output=True,
        text=True,
    )
    assert REFERENCE.read_text(encoding="utf-8") == done.stdout, "run scripts/app-reference and commit docs/apps.md"


def test_each_key_is_in_the_reference() -> None:
    text = REFERENCE.read_text(encoding="utf-8")
    for key in KEYS:
        assert f"| `{key.path}` |" in text


def test_examples_of_the_reference_are_good() -> None:
    found: dict[str, Any] = {}
    for block in re.findall(r"```yaml\n(.*?)```", REFERENCE.read_text(encoding="utf-8"), re.DOTALL):
        found.update(yaml.safe_load(block))
    assert mistakes({"web1": found["flask_apps"]}, {"web1": found["vault_flask_apps"]}) == []


def _around(key: Key) -> dict[str, Any]:
    """An app that holds the example of one key."""
    app: dict[str, Any] = {"name": "blog", "source": {"git": "https://example.com/blog.git"}, "wsgi": "blog:app"}
    value: Any = yaml.safe_load(key.example)
    parts = key.path.split(".")
    last = parts[-1]
    if last.endswith("[]"):
        parts[-1], value = last[:-2], {last[:-2]: [value]}
    elif last.endswith("{}"):
        parts[-1], value = last[:-2], {last[:-2]: value}
    for part in reversed(parts[:-1]):
        value = {part[:-2]: [{"url": "/x", "path": "x", **value}]} if part.endswith("[]") else {part: value}
    if key.path == "source.path":
        value = {"source": {"path": "../blog"}}
    elif parts[0] == "source" and isinstance(value["source"], dict):
        value["source"] = {"git": "https://example.com/blog.git", **value["source"]}
    elif parts[0] == "tls" and len(parts) > 1 and parts[1] != "mode":
        value["tls"] = {"mode": "provided", "certificate": "x", "key": "x", **value["tls"]}
    elif parts[-1] == "burst":
        value["limits"]["requests"] = 10
    elif parts[0] == "snapshot":
        value |= {"database": {"engine": "mysql"}, "migrate": ["flask db upgrade"]}
    elif parts[0] == "database" and len(parts) > 1:
        value["database"] = {"engine": "mysql", **value["database"]}
    return {**app, **value}


@pytest.mark.parametrize("key", [key for key in KEYS if not key.vault_only], ids=lambda key: key.path)
def test_examples_of_the_table_are_good(key: Key) -> None:
    vault = {"blog": {"database": {"password": "x"}}} if key.path == "database.host" else {}
    assert mistakes({"web1": [_around(key)]}, {"web1": vault}, exists=lambda path: True) == []
