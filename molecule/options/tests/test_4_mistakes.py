# SPDX-License-Identifier: GPL-3.0-or-later
"""Mistakes of a person: in the inventory, and in a template of the site."""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import testinfra.host

from tests.support.stack import Run, Stack
from tests.support.web import ask

Host = testinfra.host.Host
OnB = Callable[..., Run]
GOOD = {"source": {"git": "https://example.com/x.git"}, "wsgi": "x:app"}
# ten kinds of mistakes: what is written, and what has to be told about it
MISTAKES: list[tuple[dict[str, Any], list[str]]] = [
    ({"name": "a1", "wokers": 3}, ["flask_apps[0].wokers (app a1)", "workers?"]),
    ({"name": "a2", "domains": "a2.test"}, ["flask_apps[1].domains (app a2)", "must be a list"]),
    ({"name": "a1", "domains": ["a3.test"]}, ["flask_apps[2].name (app a1)", "flask_apps[0] already"]),
    ({"name": "a4", "domains": ["a3.test"]}, ["flask_apps[3].domains[0] (app a4)", "'a3.test'"]),
    ({"name": "a5", "domains": ["a5.test"], "wsgi": "a5.app"}, ["flask_apps[4].wsgi (app a5)", "'a5.app'"]),
    (
        {"name": "a6", "domains": ["a6.test"], "database": {"engine": "mysql", "host": "db.example.com"}},
        ["flask_apps[5].database (app a6)", "vault_flask_apps.a6.database.password"],
    ),
    ({"name": "a7", "domains": ["a7.test"], "workers": 0}, ["flask_apps[6].workers (app a7)", "0"]),
    ({"name": "a8", "domains": ["a8.test"], "tls": {"mode": "selfsigned"}}, ["tls.mode (app a8)", "self_signed"]),
    ({"name": "www-data", "domains": ["a9.test"]}, ["flask_apps[8].name", "'www-data'"]),
    ({"name": "b1", "domains": ["b1.test"], "source": {"path": "nowhere"}}, ["source.path (app b1)", "does not exist"]),
]
# every file that a role might write (the worker of blog writes all the time), with the times of its content and of its attributes
FILES = "find /etc /srv /opt /usr/local /usr/share/flaskhost /var/www /home -path /srv/blog/shared/worker -prune -o -printf '%p %T@ %C@\\n' | sort | sha256sum"


def test_all_mistakes_are_told_before_any_host_is_touched(stack: Stack, hosts: dict[str, Host]) -> None:
    # a fixed moment: from one that moves along, sessions drop out meanwhile
    since = int(time.time()) - 1

    def state() -> list[tuple[str, int]]:
        logins = f"journalctl -o cat -t sshd -t sshd-session --since @{since} | grep -c 'session opened'"
        return [(host.check_output(FILES), int(host.run(logins).stdout)) for host in hosts.values()]

    state()  # opens the connections that the counting itself needs
    before = state()
    entries = [{**GOOD, **mistake} for mistake, _words in MISTAKES]
    run = stack.playbook("site", flask_apps=entries, vault_flask_apps={})
    assert run.code == 2
    lines = [line.strip() for line in run.output.splitlines() if line.strip().startswith("- options-a, options-b: ")]
    for _mistake, words in MISTAKES:
        assert [line for line in lines if all(word in line for word in words)], (words, run.output)
    assert "no host was touched" in run.output
    assert "logged in as" not in run.output
    assert state() == before


def test_a_broken_template_leaves_all_sites_serving(
    address: str, host: Host, on_b: OnB, tmp_path: Path, master: Callable[[str], str]
) -> None:
    site = "etc/nginx/flaskhost/sites/site.conf.j2"
    override = tmp_path / "nginx" / site
    override.parent.mkdir(parents=True)
    override.write_text(
        f'{{% extends "{site}" %}}{{% block server %}}{{% if item.name == "blog" %}}no_such_word;{{% endif %}}{{% endblock %}}'
    )

    def files() -> set[str]:
        return set(host.check_output("find /etc/nginx -type f -exec sha256sum {} +").splitlines())

    before, processes = files(), (master("blog"), master("blog2"))
    run = on_b("site", "--tags", "nginx", flaskhost_templates_dir=str(tmp_path))
    assert run.code == 2
    assert 'unknown directive "no_such_word" in /etc/nginx/flaskhost/sites/blog.conf' in run.output
    # the site that is not broken gets what the template says of it
    assert {line.split()[1] for line in files() ^ before} <= {"/etc/nginx/flaskhost/sites/blog2.conf"}
    assert host.run("nginx -t").rc == 0
    for name in ("blog.test", "blog2.test"):
        assert ask(address, name, "/healthz").status == 200
    assert (master("blog"), master("blog2")) == processes
