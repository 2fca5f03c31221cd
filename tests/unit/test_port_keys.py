# SPDX-License-Identifier: GPL-3.0-or-later
"""Apps with a port of their own: what they may not have, and what is derived for them."""

from __future__ import annotations

from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.filter.release_config import release_config
from ansible_collections.flaskhost.stack.plugins.module_utils._app_check import mistakes
from ansible_collections.flaskhost.stack.plugins.module_utils._app_resolve import plan_of, resolve

DIRECT: dict[str, Any] = {"name": "blog", "source": {"path": "/src"}, "wsgi": "blog:app", "port": 80}
BEHIND: dict[str, Any] = {"name": "shop", "source": {"path": "/src"}, "wsgi": "shop:app", "domains": ["shop.test"]}


def told(*apps: dict[str, Any]) -> list[str]:
    return mistakes({"pi": list(apps)}, exists=lambda _path: True)


@pytest.mark.parametrize(
    "apps",
    [
        [DIRECT],
        [{**DIRECT, "tls": {"mode": "none"}, "domains": ["blog.home"], "static": [], "watch": 0}],
        # each with a port may be empty of names, beside one that has none either
        [{**DIRECT, "port": 8000}, {**DIRECT, "name": "wiki", "port": 8001}, {**BEHIND, "domains": []}],
        [{**DIRECT, "port": 8000, "domains": ["shop.test"]}, BEHIND],
        [DIRECT, {**BEHIND, "state": "absent"}],
    ],
)
def test_fine(apps: list[dict[str, Any]]) -> None:
    assert told(*apps) == []


@pytest.mark.parametrize(
    ("changes", "path", "says"),
    [
        ({"server": "uwsgi"}, "server", "Use server: gunicorn, or remove port"),
        ({"tls": {"mode": "acme"}, "domains": ["a.example"]}, "tls.mode", "acme is nginx's work"),
        ({"tls": {"mode": "self_signed"}}, "tls.mode", "self_signed is nginx's work"),
        ({"static": [{"url": "/static", "path": "static"}]}, "static", "remove port"),
        ({"limits": {"requests": 5}}, "limits", "remove port"),
        ({"headers": {"X-A": "b"}}, "headers", "remove port"),
        ({"max_body": "1m"}, "max_body", "remove port"),
        ({"watch": 5}, "watch", "remove port"),
        ({"port": 22}, "port", "22 belongs to ssh"),
        ({"port": 0}, "port", "out of range"),
        ({"port": 70000}, "port", "out of range"),
        ({"port": "80"}, "port", "Write it without quotes"),
        ({"port": True}, "port", "must be a whole number"),
    ],
)
def test_refused(changes: dict[str, Any], path: str, says: str) -> None:
    (line,) = told({**DIRECT, **changes})
    assert line.startswith(f"pi: flask_apps[0].{path} (app blog): ")
    assert says in line


def test_a_port_belongs_to_one() -> None:
    (line,) = told(DIRECT, {**DIRECT, "name": "wiki"})
    assert "flask_apps[1].port (app wiki): 80 belongs to flask_apps[0] (app blog) already" in line
    (line,) = told(BEHIND, {**DIRECT, "port": 443})
    assert "443 belongs to nginx, which flask_apps[0] (app shop) is behind" in line


def test_derived() -> None:
    (app,) = resolve([DIRECT], {"memory_mb": 512, "cpus": 4}, "192.168.1.5")
    assert (app["port"], app["threads"], app["tls"]["mode"], app["url"]) == (80, 4, "none", "http://192.168.1.5")
    (app,) = resolve([{**DIRECT, "port": 8000, "threads": 2, "domains": ["blog.home"]}])
    assert (app["threads"], app["url"]) == (2, "http://blog.home:8000")
    (app,) = resolve([{**DIRECT, "port": 8000}], address="fd00::5")
    assert app["url"] == "http://[fd00::5]:8000"


def test_plan_leaves_nginx_out_where_nobody_needs_it() -> None:
    def web(*apps: dict[str, Any]) -> str:
        return next(line for line in plan_of(apps, {"memory_mb": 512}).lines() if line.startswith("web"))

    assert web(DIRECT).endswith("24 MiB  supervisor")
    assert web(DIRECT, BEHIND).endswith("40 MiB  nginx, supervisor")
    assert web().endswith("40 MiB  nginx, supervisor")


def test_another_port_needs_a_new_release_and_none_is_as_it_was() -> None:
    def config(**changes: Any) -> str:
        (app,) = resolve([{**DIRECT, "threads": 1, **changes}])
        return str(release_config(app, {}))

    assert config() != config(port=8000)
    (behind,) = resolve([BEHIND])
    assert release_config(behind, {}) == release_config({key: behind[key] for key in behind if key != "port"}, {})
