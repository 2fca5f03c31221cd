# SPDX-License-Identifier: GPL-3.0-or-later
"""Bad inventories: what a person can write wrong, and that the message names hosts, place, app, value and fix."""

from __future__ import annotations

import random
from copy import deepcopy
from typing import Any

import pytest
from ansible_collections.flaskhost.stack.plugins.module_utils._app_check import mistakes
from ansible_collections.flaskhost.stack.plugins.module_utils._app_plain import Missing
from ansible_collections.flaskhost.stack.plugins.module_utils._app_schema import BY_PATH, KEYS, RULES

GOOD: dict[str, Any] = {
    "name": "blog",
    "source": {"git": "https://example.com/blog.git", "version": "main"},
    "wsgi": "blog:create_app()",
    "domains": ["example.com", "www.example.com"],
}
FULL: dict[str, Any] = {
    "name": "shop",
    "state": "present",
    "source": {"path": "./shop", "subdir": "backend"},
    "wsgi": "shop.wsgi:create_app('production', debug=False)",
    "server": "gunicorn",
    "workers": 2,
    "threads": 4,
    "timeout": 60,
    "domains": ["xn--bcher-kva.example", "shop.local"],
    "tls": {"mode": "provided", "certificate": "shop.pem", "key": "shop.key"},
    "database": {"engine": "mysql", "name": "shop-live", "user": "shop", "host": "db.example.com", "port": 3307},
    "env": {"A": "x", "B": 1, "C": True, "D": 1.5, "EMPTY": "", "API_KEY": "abc"},
    "python": {
        "requirements": "requirements/prod.txt",
        "packages": ["sentry-sdk[flask]>=2", "a==1; python_version<'4'", "x @ https://e.com/x.whl"],
    },
    "build": ["flask translate compile", "npm ci && npm run build"],
    "migrate": ["flask db upgrade"],
    "processes": {"worker": "rq worker 'my tasks'", "beat-1": "beat"},
    "static": [{"url": "/static", "path": "shop/static", "expires": "max"}, {"url": "/media/", "path": "media"}],
    "shared": {"dirs": ["uploads", "var/data"], "files": ["config.ini", ".env"]},
    "healthcheck": {"path": "/healthz?full=1", "status": 204, "timeout": 5, "steady": 0},
    "watch": 3600,
    "watch_limit": 0,
    "watch_requests": 1000000,
    "keep_releases": 1,
    "max_body": "1g",
    "limits": {"requests": 20, "burst": 5, "connections": 10},
    "headers": {"Permissions-Policy": "camera=(), microphone=()", "X-Frame-Options": ""},
}
FULL_VAULT = {"shop": {"database": {"password": "p%w'\""}, "env": {"MAIL_PASSWORD": "x"}}}


def app(**changes: Any) -> dict[str, Any]:
    return {**deepcopy(GOOD), **changes}


def told(*apps: Any, vault: Any = None, **options: Any) -> list[str]:
    options.setdefault("exists", lambda path: True)
    return mistakes({"web1": list(apps)}, {"web1": vault}, **options)


def test_good_apps_have_no_mistakes() -> None:
    assert told(GOOD, FULL, vault=FULL_VAULT) == []
    assert told(app(), {"name": "gone", "state": "absent"}) == []
    assert mistakes({"web1": []}) == []
    assert mistakes({}) == []


def test_keys_without_a_value_count_as_not_given() -> None:
    assert told(app(env=None, database=None, build=None, workers=None, tls={"mode": None})) == []


# What a person wrote instead of GOOD's key, and the words that must be in the one message about it.
ONE_APP: list[tuple[str, dict[Any, Any], list[str]]] = [
    ("unknown key", {"wokers": 3}, ["flask_apps[0].wokers", "unknown key", "workers?"]),
    ("unknown key with a dash", {"keep-releases": 3}, ["flask_apps[0].keep-releases", "keep_releases?"]),
    ("unknown key without likeness", {"zzz": 3}, ["flask_apps[0].zzz", "Known here: build, database"]),
    ("unknown nested key", {"tls": {"mdoe": "acme"}}, ["flask_apps[0].tls.mdoe", "mode?"]),
    ("key of another place", {"version": "main"}, ["flask_apps[0].version", "source.version?"]),
    ("key that is no text", {True: 3}, ["flask_apps[0].True", "unknown key"]),
    (
        "list as text",
        {"domains": "example.com"},
        ["flask_apps[0].domains", "must be a list, not 'example.com'", "domains: [...]"],
    ),
    (
        "mapping as text",
        {"database": "mysql"},
        ["flask_apps[0].database", "must be a mapping, not 'mysql'", "database: {engine: mysql}"],
    ),
    ("mapping as list", {"env": [{"A": "b"}]}, ["flask_apps[0].env", "must be a mapping, not a list"]),
    ("list as mapping", {"static": {"/static": "static"}}, ["flask_apps[0].static", "must be a list, not a mapping"]),
    (
        "text as number",
        {"source": {"git": "https://e.com/x.git", "version": 1.0}},
        ["flask_apps[0].source.version", "not 1.0", "quotes"],
    ),
    ("no source", {"source": None}, ["flask_apps[0].source", "is missing", "source: {git:"]),
    ("empty source", {"source": {}}, ["flask_apps[0].source", "neither git nor path"]),
    (
        "two sources",
        {"source": {"git": "https://e.com/x.git", "path": "x"}},
        ["flask_apps[0].source", "both git and path"],
    ),
    (
        "version of a path",
        {"source": {"path": "x", "version": "main"}},
        ["flask_apps[0].source.version", "no meaning with path"],
    ),
    (
        "git option",
        {"source": {"git": "--upload-pack=touch /tmp/x"}},
        ["flask_apps[0].source.git", "'--upload-pack", "malformed"],
    ),
    ("git transport", {"source": {"git": "ext::sh -c id"}}, ["flask_apps[0].source.git", "malformed"]),
    ("git without path", {"source": {"git": "blog"}}, ["flask_apps[0].source.git", "'blog' is malformed", "https://"]),
    (
        "version option",
        {"source": {"git": "https://e.com/x.git", "version": "--all"}},
        ["flask_apps[0].source.version", "'--all'", "branch"],
    ),
    (
        "subdir outside",
        {"source": {"git": "https://e.com/x.git", "subdir": "../x"}},
        ["flask_apps[0].source.subdir", "'../x'"],
    ),
    ("no wsgi", {"wsgi": None}, ["flask_apps[0].wsgi", "is missing", "blog:create_app()"]),
    ("wsgi without callable", {"wsgi": "blog"}, ["flask_apps[0].wsgi", "'blog' is not module:callable", "blog:app"]),
    ("wsgi of a file", {"wsgi": "blog/app.py:app"}, ["flask_apps[0].wsgi", "a file instead of a module"]),
    ("wsgi with a dash", {"wsgi": "my-blog:app"}, ["flask_apps[0].wsgi", "malformed module 'my-blog'"]),
    ("wsgi with a keyword", {"wsgi": "import:app"}, ["flask_apps[0].wsgi", "malformed module 'import'"]),
    ("wsgi open bracket", {"wsgi": "blog:create_app("}, ["flask_apps[0].wsgi", "malformed callable"]),
    ("wsgi with a method", {"wsgi": "blog:app.run()"}, ["flask_apps[0].wsgi", "a call of a name"]),
    ("wsgi with code", {"wsgi": "blog:create_app(os.environ)"}, ["flask_apps[0].wsgi", "literal arguments"]),
    ("wsgi with stars", {"wsgi": "blog:create_app(**{})"}, ["flask_apps[0].wsgi", "literal arguments"]),
    (
        "uwsgi with arguments",
        {"wsgi": "blog:create_app(1)", "server": "uwsgi"},
        ["flask_apps[0].wsgi", "without any", "gunicorn"],
    ),
    ("server", {"server": "gunicron"}, ["flask_apps[0].server", "'gunicron' is unknown", "gunicorn?", "uwsgi"]),
    (
        "tls mode",
        {"tls": {"mode": "selfsigned"}},
        ["flask_apps[0].tls.mode", "'selfsigned'", "self_signed?", "acme, provided, none"],
    ),
    ("tls mode of YAML", {"tls": {"mode": False}}, ["flask_apps[0].tls.mode", "false is unknown", "none"]),
    (
        "acme without names",
        {"tls": {"mode": "acme"}, "domains": []},
        ["flask_apps[0].tls.mode", "has none", "self_signed"],
    ),
    (
        "acme for a name of the house",
        {"tls": {"mode": "acme"}, "domains": ["example.com", "intranet"]},
        ["flask_apps[0].domains[1]", "'intranet' has no dot", "self_signed"],
    ),
    (
        "acme for too many names",
        {"tls": {"mode": "acme"}, "domains": [f"n{n}.example.com" for n in range(101)]},
        ["flask_apps[0].domains", "101 names", "100"],
    ),
    (
        "certificate in another mode",
        {"tls": {"certificate": "x.pem"}},
        ["flask_apps[0].tls.certificate", "mode self_signed", "provided"],
    ),
    (
        "engine",
        {"database": {"engine": "mariadb"}},
        ["flask_apps[0].database.engine", "'mariadb' is unknown", "mysql, postgresql, sqlite, none"],
    ),
    (
        "database without engine",
        {"database": {"host": "10.0.0.5"}},
        ["flask_apps[0].database.host", "Say which engine"],
    ),
    (
        "database host with a scheme",
        {"database": {"engine": "mysql", "host": "tcp://x"}},
        ["flask_apps[0].database.host", "'tcp://x'", "IP address"],
    ),
    (
        "database port",
        {"database": {"engine": "mysql", "port": 70000}},
        ["flask_apps[0].database.port", "70000", "1 to 65535"],
    ),
    (
        "long database user",
        {"database": {"engine": "mysql", "user": "u" * 33}},
        ["flask_apps[0].database.user", "up to 31"],
    ),
    (
        "postgresql without a server",
        {"database": {"engine": "postgresql"}},
        ["flask_apps[0].database.engine", "no role for it yet"],
    ),
    ("zero workers", {"workers": 0}, ["flask_apps[0].workers", "0 is out of range", "1 to 1000 or auto"]),
    ("negative threads", {"threads": -1}, ["flask_apps[0].threads", "-1 is out of range"]),
    ("too many workers", {"workers": 1001}, ["flask_apps[0].workers", "1001 is out of range"]),
    ("boolean workers", {"workers": True}, ["flask_apps[0].workers", "not true"]),
    ("half a worker", {"workers": 1.5}, ["flask_apps[0].workers", "not 1.5"]),
    ("quoted workers", {"workers": "3"}, ["flask_apps[0].workers", "not '3'", "without quotes"]),
    ("workers in words", {"workers": "many"}, ["flask_apps[0].workers", "'many'", "auto"]),
    ("boolean timeout", {"timeout": False}, ["flask_apps[0].timeout", "not false"]),
    (
        "healthcheck path",
        {"healthcheck": {"path": "healthz"}},
        ["flask_apps[0].healthcheck.path", "'healthz'", "starts with /"],
    ),
    ("healthcheck status", {"healthcheck": {"status": 99}}, ["flask_apps[0].healthcheck.status", "99", "200 to 599"]),
    ("a watch without end", {"watch": 3601}, ["flask_apps[0].watch", "3601 is out of range", "0 to 3600"]),
    ("a watch of half a second", {"watch": 0.5}, ["flask_apps[0].watch", "0.5"]),
    ("more than all may fail", {"watch_limit": 101}, ["flask_apps[0].watch_limit", "0 to 100"]),
    ("judged by nothing", {"watch_requests": 0}, ["flask_apps[0].watch_requests", "0 is out of range"]),
    ("no release kept", {"keep_releases": 0}, ["flask_apps[0].keep_releases", "0 is out of range"]),
    (
        "static url",
        {"static": [{"url": "static", "path": "x"}]},
        ["flask_apps[0].static[0].url", "'static'", "starts with /"],
    ),
    ("static root", {"static": [{"url": "/", "path": "x"}]}, ["flask_apps[0].static[0].url", "more than /"]),
    (
        "absolute static path",
        {"static": [{"url": "/s", "path": "/etc"}]},
        ["flask_apps[0].static[0].path", "'/etc'", "relative"],
    ),
    (
        "static path upwards",
        {"static": [{"url": "/s", "path": "a/../../b"}]},
        ["flask_apps[0].static[0].path", "without .."],
    ),
    (
        "static path with nginx syntax",
        {"static": [{"url": "/s", "path": "a;}"}]},
        ["flask_apps[0].static[0].path", "'a;}'"],
    ),
    ("static without path", {"static": [{"url": "/s"}]}, ["flask_apps[0].static[0].path", "is missing"]),
    ("static as text", {"static": ["/static"]}, ["flask_apps[0].static[0]", "must be a mapping, not '/static'"]),
    (
        "static twice",
        {"static": [{"url": "/s", "path": "a"}, {"url": "/s/", "path": "b"}]},
        ["flask_apps[0].static[1].url", "static[0] already"],
    ),
    (
        "static expires",
        {"static": [{"url": "/s", "path": "a", "expires": "30 days"}]},
        ["flask_apps[0].static[0].expires", "'30 days'", "30d"],
    ),
    (
        "absolute shared path",
        {"shared": {"dirs": ["/var/uploads"]}},
        ["flask_apps[0].shared.dirs[0]", "'/var/uploads'"],
    ),
    ("shared path upwards", {"shared": {"files": ["../x"]}}, ["flask_apps[0].shared.files[0]", "'../x'"]),
    (
        "nested shared paths",
        {"shared": {"dirs": ["a"], "files": ["a/b"]}},
        ["flask_apps[0].shared.files[0]", "overlaps with shared.dirs[0]"],
    ),
    ("env name", {"env": {"MY-VAR": "x"}}, ["flask_apps[0].env.MY-VAR", "malformed", "letters, digits and _"]),
    ("env name of YAML", {"env": {False: "x"}}, ["flask_apps[0].env.False", "malformed"]),
    ("reserved env name", {"env": {"RELEASE_ID": "x"}}, ["flask_apps[0].env.RELEASE_ID", "another name"]),
    ("env list", {"env": {"HOSTS": ["a", "b"]}}, ["flask_apps[0].env.HOSTS", "one value, not a list"]),
    ("env without value", {"env": {"A": None}}, ["flask_apps[0].env.A", 'Write ""']),
    ("env with NUL", {"env": {"A": "x\0y"}}, ["flask_apps[0].env.A", "NUL", "base64"]),
    (
        "python file outside",
        {"python": {"requirements": "/etc/x.txt"}},
        ["flask_apps[0].python.requirements", "'/etc/x.txt'"],
    ),
    (
        "package option",
        {"python": {"packages": ["--index-url=x"]}},
        ["flask_apps[0].python.packages[0]", "'--index-url=x'", "as pip writes it"],
    ),
    ("build as text", {"build": "make"}, ["flask_apps[0].build", "must be a list, not 'make'"]),
    ("build item", {"build": [{"run": "make"}]}, ["flask_apps[0].build[0]", "must be a text, not a mapping"]),
    ("migrate item", {"migrate": ["flask db upgrade", 3]}, ["flask_apps[0].migrate[1]", "must be a text, not 3"]),
    (
        "snapshot in quotes",
        {"snapshot": "true", "migrate": ["x"], "database": {"engine": "sqlite"}},
        ["flask_apps[0].snapshot (app blog)", "must be true or false, not 'true'. Write it without quotes."],
    ),
    (
        "snapshot of nothing",
        {"snapshot": True, "migrate": ["x"], "database": {}, "env": {}},
        ["flask_apps[0].snapshot (app blog)", "no database", "Write database: {engine: mysql}, or remove it."],
    ),
    (
        "snapshot before nothing",
        {"snapshot": True, "migrate": [], "database": {"engine": "sqlite"}},
        [
            "flask_apps[0].snapshot (app blog)",
            "no migrate commands",
            "Write migrate: [flask db upgrade], or remove it.",
        ],
    ),
    (
        "snapshot of an unknown database",
        {"snapshot": True, "migrate": ["x"], "database": {}, "env": {"DATABASE_URL": "oracle://u:secret-part@h/x"}},
        ["flask_apps[0].snapshot (app blog)", "DATABASE_URL begins with oracle://; known are mariadb://"],
    ),
    (
        "snapshot of a relative file",
        {"snapshot": True, "migrate": ["x"], "database": {}, "env": {"DATABASE_URL": "sqlite:///blog.db"}},
        ["flask_apps[0].snapshot (app blog)", "names the relative file 'blog.db'; write it with its whole path"],
    ),
    ("empty command", {"build": [" "]}, ["flask_apps[0].build[0]", "not empty"]),
    ("process name", {"processes": {"Worker": "x"}}, ["flask_apps[0].processes.Worker", "malformed", "lower-case"]),
    ("process web", {"processes": {"web": ""}}, ["flask_apps[0].processes.web", "the app itself"]),
    ("process without command", {"processes": {"worker": ""}}, ["flask_apps[0].processes.worker", "not empty"]),
    (
        "process with open quotes",
        {"processes": {"worker": "rq 'x"}},
        ["flask_apps[0].processes.worker", "no closing quotation"],
    ),
    ("process in two lines", {"processes": {"worker": "a\nb"}}, ["flask_apps[0].processes.worker", "on one line"]),
    (
        "domain with a scheme",
        {"domains": ["https://example.com"]},
        ["flask_apps[0].domains[0]", "'https://example.com'", "without scheme"],
    ),
    ("domain in capitals", {"domains": ["Example.com"]}, ["flask_apps[0].domains[0]", "'Example.com'", "lower case"]),
    ("domain with a star", {"domains": ["*.example.com"]}, ["flask_apps[0].domains[0]", "'*.example.com'"]),
    ("domain with an underscore", {"domains": ["my_app.example.com"]}, ["flask_apps[0].domains[0]"]),
    ("address as domain", {"domains": ["192.168.56.10"]}, ["flask_apps[0].domains[0]", "'192.168.56.10'"]),
    ("domain twice", {"domains": ["example.com", "example.com"]}, ["flask_apps[0].domains[1]", "twice"]),
    ("body size", {"max_body": "16 MB"}, ["flask_apps[0].max_body", "'16 MB'", "max_body: 16m"]),
    ("hsts without tls", {"tls": {"mode": "none", "hsts": 60}}, ["flask_apps[0].tls.hsts", "mode none"]),
    ("hsts for ever", {"tls": {"hsts": 99999999}}, ["flask_apps[0].tls.hsts", "99999999"]),
    ("burst of nothing", {"limits": {"burst": 5}}, ["flask_apps[0].limits.burst", "requests: 20"]),
    ("limit", {"limits": {"requests": "many"}}, ["flask_apps[0].limits.requests", "'many'"]),
    ("name of a header", {"headers": {"X Frame": "x"}}, ["flask_apps[0].headers", "malformed", "letters, digits"]),
    ("value of a header", {"headers": {"X-A": 'say "a"; return 200'}}, ["flask_apps[0].headers.X-A"]),
    ("variable in a header", {"headers": {"X-A": "$http_cookie"}}, ["flask_apps[0].headers.X-A"]),
    ("header with a key", {"headers": {"strict-transport-security": "x"}}, ["flask_apps[0].headers", "tls.hsts"]),
    ("header of one answer", {"headers": {"Set-Cookie": "a=b"}}, ["flask_apps[0].headers", "Set-Cookie"]),
    ("state", {"state": "gone"}, ["flask_apps[0].state", "'gone' is unknown", "present, absent"]),
    (
        "undefined variable",
        {"wsgi": Missing("'target' is undefined")},
        ["flask_apps[0].wsgi", "not defined", "'target'"],
    ),
]


@pytest.mark.parametrize(("changes", "words"), [case[1:] for case in ONE_APP], ids=[case[0] for case in ONE_APP])
def test_one_mistake_in_one_app(changes: dict[str, Any], words: list[str]) -> None:
    lines = told({**app(), **changes})
    assert len(lines) == 1, lines
    assert lines[0].startswith("web1: ")
    assert "(app blog)" in lines[0]
    for word in words:
        assert word in lines[0]


NAMES = [
    (None, "is missing"),
    ("", "malformed"),
    ("Blog", "malformed"),
    ("1blog", "malformed"),
    ("a" * 25, "malformed"),
    ("../etc", "malformed"),
    ("blog\n", "malformed"),
    (3, "must be a text"),
    ("www-data", "system account"),
    ("mysql", "system account"),
]


@pytest.mark.parametrize(("name", "word"), NAMES)
def test_names(name: Any, word: str) -> None:
    lines = told(app(name=name))
    assert len(lines) == 1
    assert "flask_apps[0].name" in lines[0]
    assert word in lines[0]


# Whole values of flask_apps, vault_flask_apps and what is known beside them.
WHOLE: list[tuple[str, Any, Any, dict[str, Any], list[str]]] = [
    ("nothing", None, None, {}, ["flask_apps: must be a list, not nothing", "flask_apps: []"]),
    ("mapping", {"blog": GOOD}, None, {}, ["flask_apps: must be a list, not a mapping"]),
    ("text", "blog", None, {}, ["flask_apps: must be a list, not 'blog'"]),
    ("undefined", Missing("'x' is undefined"), None, {}, ["flask_apps: must be a list", "'x' is undefined"]),
    ("entry as text", ["blog"], None, {}, ["flask_apps[0]", "must be a mapping", "'blog'"]),
    (
        "same name",
        [GOOD, app(domains=["b.example.com"])],
        None,
        {},
        ["flask_apps[1].name (app blog)", "flask_apps[0] already"],
    ),
    (
        "same domain",
        [GOOD, app(name="shop", domains=["shop.example.com", "example.com"])],
        None,
        {},
        ["flask_apps[1].domains[1] (app shop)", "'example.com'", "(app blog)"],
    ),
    (
        "two without domains",
        [app(domains=[]), app(name="shop", domains=[])],
        None,
        {},
        ["flask_apps[1].domains (app shop)", "Only one app"],
    ),
    ("vault as list", [GOOD], [1], {}, ["vault_flask_apps: must be a mapping"]),
    (
        "vault entry as text",
        [GOOD],
        {"blog": "hunter2"},
        {},
        ["vault_flask_apps.blog (app blog): must be a mapping, not (hidden)"],
    ),
    ("vault of nobody", [GOOD], {"blgo": {}}, {}, ["vault_flask_apps.blgo", "no app blgo", "blog?"]),
    (
        "vault with a key that is not secret",
        [GOOD],
        {"blog": {"workers": 3}},
        {},
        ["vault_flask_apps.blog.workers", "Move it to the entry"],
    ),
    ("vault with an unknown key", [GOOD], {"blog": {"envv": {}}}, {}, ["vault_flask_apps.blog.envv", "env?"]),
    ("vault env", [GOOD], {"blog": {"env": {"A B": "x"}}}, {}, ["vault_flask_apps.blog.env.A...", "malformed"]),
    (
        "numeric password",
        [app(database={"engine": "mysql", "host": "10.0.0.5"})],
        {"blog": {"database": {"password": 123456}}},
        {},
        ["vault_flask_apps.blog.database.password", "not (hidden)", "quotes"],
    ),
    (
        "password without database",
        [GOOD],
        {"blog": {"database": {"password": "x"}}},
        {},
        ["flask_apps[0].database.engine", "engine none has no password"],
    ),
    (
        "external server without password",
        [app(database={"engine": "mysql", "host": "10.0.0.5"})],
        None,
        {"database_hosts": {"db1": ["10.0.0.6"]}},
        ["flask_apps[0].database (app blog)", "10.0.0.5", "vault_flask_apps.blog.database.password"],
    ),
    (
        "external PostgreSQL without password",
        [app(database={"engine": "postgresql", "host": "10.0.0.5"})],
        {},
        {},
        ["flask_apps[0].database (app blog)", "vault_flask_apps.blog.database.password"],
    ),
    (
        "our server with PostgreSQL",
        [app(database={"engine": "postgresql", "host": "10.0.0.6"})],
        None,
        {"database_hosts": {"db1": ["10.0.0.6"]}},
        ["flask_apps[0].database.engine", "no role for it yet"],
    ),
    (
        "no server here",
        [app(database={"engine": "mysql"})],
        None,
        {"database_hosts": {"db1": ["10.0.0.6"], "db2": ["10.0.0.7"]}},
        ["flask_apps[0].database.host", "web1 itself", "group db"],
    ),
    (
        "a replica",
        [app(database={"engine": "mysql", "host": "10.0.0.7"})],
        None,
        {"database_hosts": {"db1": ["10.0.0.6"], "db2": ["10.0.0.7"]}, "primary": "db1"},
        ["flask_apps[0].database.host", "'10.0.0.7' is db2, a replica", "primary on db1", "mysql_replication: false"],
    ),
    (
        "an unknown primary",
        [app(database={"engine": "mysql"})],
        None,
        {"database_hosts": {"db1": ["10.0.0.6"], "db2": ["10.0.0.7"]}, "primary": "db3"},
        ["group db: mysql_primary: 'db3' is no host of it", "db1, db2"],
    ),
    (
        "missing source",
        [app(source={"path": "nowhere"})],
        None,
        {"exists": lambda path: False, "base": "/inventory"},
        ["flask_apps[0].source.path", "'nowhere' does not exist", "/inventory/nowhere"],
    ),
    (
        "missing certificate",
        [app(tls={"mode": "provided", "certificate": "a.pem", "key": "a.key"})],
        None,
        {"exists": lambda path: path == "/inventory/a.key", "base": "/inventory"},
        ["flask_apps[0].tls.certificate", "/inventory/a.pem"],
    ),
    (
        "no key",
        [app(tls={"mode": "provided", "certificate": "a.pem"})],
        None,
        {},
        ["flask_apps[0].tls.key", "is missing"],
    ),
    (
        "same shared database by another name",
        [
            app(database={"engine": "mysql", "name": "x", "user": "a"}),
            app(name="shop", domains=["b.example.com"], database={"engine": "mysql", "name": "x"}),
        ],
        None,
        {},
        [],
    ),
]


@pytest.mark.parametrize(
    ("apps", "vault", "options", "words"), [case[1:] for case in WHOLE], ids=[case[0] for case in WHOLE]
)
def test_one_mistake_in_the_whole(apps: Any, vault: Any, options: dict[str, Any], words: list[str]) -> None:
    lines = mistakes({"web1": apps}, {"web1": vault}, **{"exists": lambda path: True, **options})
    assert len(lines) == (1 if words else 0), lines
    for word in words:
        assert word in lines[0]


def test_names_that_meet_in_one_database_server() -> None:
    database = {"engine": "mysql", "host": "10.0.0.5"}
    vault = {"a-b": {"database": {"password": "x"}}, "a_b": {"database": {"password": "y"}}}
    lines = mistakes(
        {"web1": [app(name="a-b", database=database)], "web2": [app(name="a_b", database=database)]},
        {"web1": vault, "web2": vault},
    )
    assert len(lines) == 2
    assert all(line.startswith("web2: flask_apps[0].database.") and "app a-b (web1)" in line for line in lines)
    apart = mistakes(
        {
            "web1": [app(name="a-b", database={"engine": "mysql"})],
            "web2": [app(name="a_b", database={"engine": "mysql"})],
        }
    )
    assert apart == [], "two local servers have nothing in common"


def test_a_server_of_ours_is_one_server_whatever_it_is_called() -> None:
    hosts = {
        "web1": [app(name="a-b", database={"engine": "mysql", "host": "10.0.0.5"})],
        "db1": [app(name="a_b", database={"engine": "mysql"})],
    }
    lines = mistakes(hosts, database_hosts={"db1": ["10.0.0.5"]})
    assert [line.split(" ")[1] for line in lines] == ["flask_apps[0].database.name", "flask_apps[0].database.user"]


def test_one_app_on_many_hosts_shares_its_database_and_its_password() -> None:
    apps = [app(database={"engine": "mysql", "host": "10.0.0.5"})]
    same = {"blog": {"database": {"password": "x"}}}
    assert mistakes({"web1": apps, "web2": apps}, {"web1": same, "web2": same}) == []
    lines = mistakes({"web1": apps, "web2": apps}, {"web1": same, "web2": {"blog": {"database": {"password": "y"}}}})
    assert len(lines) == 1
    assert "another password in vault_flask_apps of web1" in lines[0]


def test_the_vault_may_name_apps_of_other_hosts() -> None:
    assert mistakes({"web1": [GOOD], "web2": []}, {"web1": {"blog": {}}, "web2": {"blog": {}}}) == []


def test_a_whole_url_stands_in_for_the_password() -> None:
    external = app(database={"engine": "mysql", "host": "10.0.0.5"})
    assert told(external, vault={"blog": {"env": {"DATABASE_URL": "mysql://u:p@10.0.0.5/x"}}}) == []


def test_same_mistakes_of_hosts_are_told_once() -> None:
    bad = [app(wokers=1)]
    lines = mistakes({"web1": bad, "web2": bad, "web3": [app(workers=0)]})
    assert [line.split(": ")[0] for line in lines] == ["web1, web2", "web3"]
    many = mistakes({f"web{number}": bad for number in range(20)})
    assert len(many) == 1
    assert many[0].startswith("web0, web1, ")
    assert "web7 and 12 more: " in many[0]


def test_everything_is_told_at_once_and_in_order() -> None:
    changes: dict[str, Any] = {"workers": 0, "tls": {"mode": "x"}, "wsgi": "x", "build": 1, "env": {"PATH": "x"}}
    lines = told(app(**changes), app(name="shop", wokers=1, domains=["b.example.com"]), 3)
    assert len(lines) == len(changes) + 2
    assert [line[6 : line.index("]") + 1] for line in lines] == ["flask_apps[0]"] * len(changes) + [
        "flask_apps[1]",
        "flask_apps[2]",
    ]


HUNTER = "hunter2"
LEAKS: list[tuple[Any, Any]] = [
    ({"database": {"engine": "mysql", "password": HUNTER}}, None),
    ({"database": {"engine": "mysql", "pasword": HUNTER}}, None),
    ({"database": {"engine": "mysql", "password": [HUNTER]}}, None),
    ({"env": f"PASSWORD={HUNTER}"}, None),
    ({"env": [f"PASSWORD={HUNTER}"]}, None),
    ({"env": {f"PASSWORD={HUNTER}": None}}, None),
    ({"env": {"API_TOKEN": [HUNTER], "SECRET-KEY": HUNTER, "X_KEY": {"a": HUNTER}}}, None),
    ({"source": {"git": f"https://u:{HUNTER}@example.com/x.git"}}, None),
    ({"source": {"git": f"https://{HUNTER}@example.com/x.git"}}, None),
    ({"source": {"git": f"ssh://u:{HUNTER}@example.com/x.git"}}, None),
    ({"tls": {"mode": "acme", "key": f"-----BEGIN PRIVATE KEY-----\n{HUNTER}"}}, None),
    ({"secret_key": HUNTER}, None),
    ({}, {"blog": {"env": {"X": [HUNTER], "Y-": HUNTER}, "workers": HUNTER}}),
    ({}, {"blog": {"env": HUNTER, "database": HUNTER}}),
    ({}, {"blog": {"env": {"X": f"{HUNTER}\0"}, "database": {"password": f"{HUNTER}\n"}}}),
    ({}, HUNTER),
    ({}, {"blog": HUNTER}),
    ({}, [HUNTER]),
]


@pytest.mark.parametrize(("changes", "vault"), LEAKS)
def test_no_message_shows_a_secret(changes: dict[str, Any], vault: Any) -> None:
    lines = told(app(**changes), vault=vault)
    assert lines
    assert not [line for line in lines if HUNTER in line]


def test_values_of_keys_that_are_not_secret_are_shown() -> None:
    assert "'/nowhere/blog.key'" in " ".join(
        told(
            app(tls={"mode": "provided", "certificate": "/a", "key": "/nowhere/blog.key"}),
            exists=lambda path: path == "/a",
        )
    )


ANYTHING: tuple[Any, ...] = (
    None,
    "",
    "x",
    -1,
    3,
    2.5,
    True,
    [],
    {},
    [None],
    {"a": 1},
    {1: 2},
    [[]],
    [{}],
    object(),
    Missing("y"),
    "\0",
    "a\nb",
    b"x",
)


def _broken(value: Any, chance: random.Random) -> Any:
    """A copy with some values replaced by anything, some keys renamed or lost."""
    if chance.random() < 0.15:
        return chance.choice(ANYTHING)
    if isinstance(value, dict):
        return {
            (chance.choice([1, "zz", None, f"{name}s"]) if chance.random() < 0.1 else name): _broken(item, chance)
            for name, item in value.items()
        }
    if isinstance(value, list):
        return [_broken(item, chance) for item in value]
    return value


def test_nothing_a_person_writes_breaks_the_check() -> None:
    chance = random.Random(2)
    for _ in range(600):
        apps, vault = _broken([GOOD, FULL, GOOD], chance), _broken(FULL_VAULT, chance)
        lines = mistakes(
            {"web1": apps, "web2": [GOOD]},
            {"web1": vault},
            database_hosts={"db": ["10.0.0.1"]},
            exists=lambda path: True,
        )
        assert not [line for line in lines if "\n" in line]


def test_table_is_sound() -> None:
    assert len(BY_PATH) == len(KEYS)
    for key in KEYS:
        assert not key.rule or key.rule in RULES, key.path
        assert key.kind in ("text", "integer", "boolean", "workers", "choice", "list", "mapping", "scalar")
        assert key.text.endswith("."), key.path
        assert key.example, key.path
        assert (key.kind == "choice") == bool(key.choices), key.path
        assert key.kind != "list" or f"{key.path}[]" in BY_PATH, key.path


def test_a_deploy_key_belongs_into_the_vault() -> None:
    key = "-----BEGIN OPENSSH PRIVATE KEY-----\nsecret-part\n-----END OPENSSH PRIVATE KEY-----\n"
    source = {"git": "git@example.com:me/blog.git"}
    app = {"name": "blog", "source": source, "wsgi": "blog:app"}
    assert mistakes({"web": [app]}, {"web": {"blog": {"source": {"deploy_key": key}}}}) == []
    told = mistakes({"web": [{**app, "source": {**source, "deploy_key": key}}]})
    assert len(told) == 1
    assert "source.deploy_key" in told[0]
    assert "vault_flask_apps" in told[0]
    assert "secret-part" not in told[0]
    assert mistakes({"web": [app]}, {"web": {"blog": {"source": {"deploy_key": "~/.ssh/id"}}}})


def test_a_web_host_without_the_variable_is_told_so_before_its_apps_are_stopped() -> None:
    (told,) = mistakes({"web1": "(missing)"})
    assert told.startswith("web1: flask_apps: is not there")
    assert "mistyped" in told
    assert mistakes({"web1": []}) == []
