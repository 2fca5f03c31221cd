# SPDX-License-Identifier: GPL-3.0-or-later
"""What a balancer makes of the apps of the web hosts behind it, what it refuses, and what it tells."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.filter.behind_balancers import behind_balancers
from ansible_collections.flaskhost.stack.plugins.filter.internal_addresses import internal_addresses
from ansible_collections.flaskhost.stack.plugins.module_utils._app_resolve import resolve
from ansible_collections.flaskhost.stack.plugins.modules import balancer_view, drained
from ansible_collections.flaskhost.stack.plugins.plugin_utils import _balancer
from ansible_collections.flaskhost.stack.plugins.plugin_utils._overview_text import render

LB = {"lb1": "10.0.0.5"}
WEB = {"web1": "10.0.0.11", "web2": "10.0.0.12"}


def app(name: str = "blog", **changed: Any) -> dict[str, Any]:
    return {"name": name, "source": {"path": "/src"}, "wsgi": "a:b", "domains": [f"{name}.test"], **changed}


def mistakes(
    by_host: dict[str, Any], balancers: dict[str, str] | None = None, web: dict[str, str] | None = None
) -> list[str]:
    return _balancer.mistakes(LB if balancers is None else balancers, WEB if web is None else web, by_host)


def test_addresses_inside() -> None:
    hosts = {"a": {"ansible_host": "192.0.2.1", "flaskhost_internal_address": "10.0.0.1"}, "b": {"ansible_host": "x"}}
    assert internal_addresses(["a", "b", "c"], {**hosts, "c": {}}) == {"a": "10.0.0.1", "b": "x", "c": "c"}


def test_apps_behind_a_balancer() -> None:
    (plain,) = resolve([app(tls={"mode": "acme"}, limits={"requests": 5})])
    assert plain["balancers"] == plain["hosts"] == []
    assert behind_balancers([plain], {}) == [plain]
    (behind,) = behind_balancers([plain], {"lb2": "10.0.0.6", **LB})
    assert behind["balancers"] == ["10.0.0.5", "10.0.0.6"]
    assert behind["tls"]["mode"] == "none"
    assert behind["tls"]["certificate"] == ""
    assert behind["tls"]["hsts"] == 0
    assert not any(behind["limits"].values()), "counted by the balancer"
    assert behind["url"] == "https://blog.test", "what visitors open"
    assert {key for key in plain if plain[key] != behind[key]} == {"balancers", "tls", "limits"}


def test_app_without_nginx_cannot_be_behind_a_balancer() -> None:
    (line,) = mistakes({"web1": [app(port=8000)], "web2": [app("gone", port=8000, state="absent")]})
    assert line == (
        "web1: the app blog answers on port 8000 by itself, but balancers reach apps through the nginx of their hosts. Remove port."
    )


def test_apps_of_a_balancer() -> None:
    found = _balancer.balanced(
        {"web1": [app(), app("shop")], "web2": [app(), app("gone", state="absent")]}, WEB, "192.0.2.1", "/inventory"
    )
    assert [(one["name"], [host["name"] for host in one["hosts"]]) for one in found] == [
        ("blog", ["web1", "web2"]), ("shop", ["web1"]),
    ]  # fmt: skip
    assert found[0]["hosts"][1] == {"name": "web2", "address": "10.0.0.12"}
    assert found[0]["tls"]["certificate"] == "/etc/ssl/flaskhost/blog.pem"
    (bare,) = _balancer.balanced({"web1": [app(domains=[])]}, WEB, "192.0.2.1")
    assert bare["url"] == "https://192.0.2.1"


def test_nothing_is_wrong_without_balancers_or_with_equal_hosts() -> None:
    assert mistakes({"web1": [app()], "web2": [app(timeout=3)]}, {}) == []
    assert mistakes({"web1": [app(), app("one")], "web2": [app()]}) == []
    assert mistakes({"web1": [app(workers=1)], "web2": [app(workers=9)]}) == []
    assert mistakes({"web1": "(missing)", "web2": ["no app"]}) == [], "told elsewhere"


def test_hosts_in_both_groups_and_none_at_all() -> None:
    (told,) = mistakes({"lb1": [app()]}, web=LB)
    assert told.startswith("lb1: is in the groups balancer and web")
    (told,) = mistakes({}, web={})
    assert "no host is in the group web" in told


def test_names_are_no_addresses() -> None:
    found = mistakes({}, {"lb1": "lb.example.com"}, {"web1": "web1"})
    assert [told.split(":")[0] for told in found] == ["web1", "lb1"]
    assert all("flaskhost_internal_address: 10.0.0.5" in told for told in found)
    assert mistakes({}, {"lb1": "2001:db8::5"}, {"web1": "2001:db8::11"}) == []


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("timeout", 60),
        ("domains", ["other.test"]),
        ("tls", {"mode": "none"}),
        ("max_body", "1g"),
        ("headers", {"A": "b"}),
    ],
)
def test_an_app_is_alike_on_all_hosts(key: str, value: Any) -> None:
    (told,) = mistakes({"web1": [app()], "web2": [app(**{key: value})]})
    assert told.startswith(f"web1, web2: app blog has another {key} on each")


def test_a_name_leads_to_one_app() -> None:
    (told,) = mistakes({"web1": [app()], "web2": [app("other", domains=["Blog.test"])]})
    assert "apps blog and other have the domain" in told
    (told,) = mistakes({"web1": [app(domains=[])], "web2": [app("other", domains=[])]})
    assert "no domains, and so all names" in told


def test_an_authority_asks_one_balancer() -> None:
    by_host = {host: [app(tls={"mode": "acme"}), app("two")] for host in WEB}
    assert mistakes(by_host) == []
    (told,) = mistakes(by_host, {**LB, "lb2": "10.0.0.6"})
    assert told.startswith("lb1, lb2: app blog has tls.mode acme")


# what a balancer tells


def test_requests_in_the_log() -> None:
    lines = [
        b'1.2.3.4 - - [x] "GET / HTTP/1.1" 200 4 "-" "me" "10.0.0.11:80" 100.000\n',
        b'1.2.3.4 - - [x] "GET / HTTP/1.1" 200 4 "-" "me" "10.0.0.12:80, 10.0.0.11:80" 101.500\n',
        b'1.2.3.4 - - [x] "GET / HTTP/1.1" 200 4 "-" "a \\"b\\" 10" "10.0.0.12:80" 99.000\n',
        b"half a line",
    ]
    assert balancer_view.requests(lines, 100) == {"10.0.0.11:80": (2, 0), "10.0.0.12:80": (0, 1)}


def test_view_of_hosts_that_do_not_answer(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(balancer_view, "LOGS", str(tmp_path))
    monkeypatch.setattr(balancer_view, "FLAGS", str(tmp_path))
    line = f'1.2.3.4 - - [x] "GET / HTTP/1.1" 200 4 "-" "me" "127.0.0.9:80" {time.time():.3f}\n'
    (tmp_path / "blog.access.log").write_text(line)
    (tmp_path / "blog").touch()
    found = _balancer.balanced({"web1": [app(tls={"mode": "none"})]}, {"web1": "127.0.0.9"})
    told = balancer_view.view(found[0], ["web1"], 60, 0.3)
    assert told["problems"] == ["closed for maintenance"]
    (host,) = told["hosts"]
    assert (host["host"], host["drained"], host["healthy"]) == ("web1", True, False)
    assert (host["answered"], host["failed"]) == (1, 0)
    assert host["seen"].startswith("no answer")


def test_table_of_balancers() -> None:
    host = {
        "host": "web1",
        "release": "r1",
        "healthy": True,
        "drained": False,
        "seen": "status 200",
        "answered": 12,
        "failed": 0,
    }
    away = {**host, "host": "web2", "healthy": False, "release": "", "seen": "no answer (timed out)", "failed": 3}
    told = {
        "app": "blog",
        "url": "https://blog.test",
        "certificate": "",
        "hosts": [host, away, {**host, "host": "web3", "drained": True}],
        "problems": [],
    }
    balancers: dict[str, Any] = {
        "lb1": {"apps": [told], "problems": []},
        "lb2": {"apps": [], "problems": ["it was not reached"]},
    }
    text = render({}, width=120, now=0, paint=lambda text, colour: text, balancers=balancers)
    rows = [" ".join(line.split()) for line in text.splitlines()]
    assert "web1 r1 12 0 gets visitors; status 200" in rows
    assert "web2 - 12 3 is tried again and again; no answer (timed out)" in rows
    assert "web3 r1 12 0 drained: gets nobody; status 200" in rows
    assert "lb2: it was not reached" in rows
    assert "HOST" not in render({}, width=120, now=0, paint=lambda text, colour: text)


def test_wait_for_the_last_connection() -> None:
    counts = [3, 1, 0]
    assert drained.wait(lambda: counts.pop(0), 5, 0.0) == 0
    assert counts == []
    assert drained.wait(lambda: 2, 0.05, 0.01) == 2
